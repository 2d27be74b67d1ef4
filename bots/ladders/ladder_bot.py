"""A bot with several orders, as the runner steps it: a paper bot whose account follows a ladder."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import msgspec

from bots.bot_life import FinerCandles
from bots.config import BotConfig
from bots.entry_gates import EntryGate
from bots.gates import Gate, GateVerdict
from bots.ladders.account import LadderAccount
from bots.ladders.inside import TradeReader, inside_of
from bots.ladders.plans import ladder_account, plan_of
from bots.ladders.settings import LadderSettings
from bots.ladders.state import EXIT_TAG, LadderState
from bots.ladders.strategy import LadderStrategy
from bots.lifecycle import ACTIVE, BotState
from bots.orders import PositionSide
from bots.paper_bot import PaperBot, SavedAccount
from bots.risk.gate import Proposal
from bots.stores import BotRecord
from data.models import Candle, Ohlcv
from strategies.base import Decision


class SavedLadder(SavedAccount, frozen=True, kw_only=True):
    """As a paper bot's, with the ladder's state."""

    state: LadderState  # type: ignore[assignment]  # stands where an account's state does


class LadderBot(PaperBot):
    """Everything of a bot's life is a paper bot's; only what happens inside a candle differs."""

    saved_type = SavedLadder

    def __init__(
        self,
        record: BotRecord,
        config: BotConfig,
        strategy: LadderStrategy,
        trades: TradeReader | None = None,
        **terms: Any,
    ) -> None:
        """As a paper bot; `trades` are asked what filled limit orders, where they are stored."""
        self._ladder = strategy
        self._trade_reader = trades
        super().__init__(record, config, strategy, **terms)

    @property
    def _account_of_ladder(self) -> LadderAccount:
        return cast(LadderAccount, self._account)

    def restart_clock(self, at_us: int) -> None:
        """Start anew: what waited is withdrawn, and a ladder that has ended begins again."""
        self._cancel("the bot was started anew", exits=True)
        state = self._account_of_ladder.state
        if state.ledger.quantity == 0:
            fresh = plan_of(self._settings, self._rules, self.config.costs).start()
            state = msgspec.structs.replace(state, plan=fresh, finished="")
            self._account = self._new_account(state)
        super().restart_clock(at_us)

    def take(self, candle: Candle, finer: FinerCandles, gates: Sequence[EntryGate] = ()) -> None:
        """The next closed candle; its trades, or `finer` candles, are asked where an order may be filled."""

        def inside(closed: Candle) -> Ohlcv | None:
            # The account takes trades as well, where a paper bot's takes candles only.
            return cast("Ohlcv | None", inside_of(closed, self._trade_reader, finer(closed)))

        super().take(candle, inside, gates)
        why = self._account_of_ladder.finished
        if why and self.state in ACTIVE and not self.has_position:
            self.move(BotState.STOPPED, at_us=candle.closes_at_us, why=why, health=f"it has ended: {why}")

    def halt(self, why: str) -> None:
        """Withdraw what would open or enlarge a position; exits stay."""
        self._cancel(why, exits=False)

    def _new_account(self, state: Any) -> Any:
        if isinstance(state, LadderState) and state.last_price is None:
            state = None  # its prices were put on the steps of an instrument that was not known yet
        return ladder_account(
            self._settings,
            capital=self.config.capital,
            costs=self.config.costs,
            rules=self._rules,
            state=state,
        )

    @property
    def _settings(self) -> LadderSettings:
        return self._ladder.settings

    def _is_ambiguous(self, candle: Candle) -> bool:
        return self._account_of_ladder.may_act_inside(candle.low, candle.high)

    def _cancel(self, why: str, *, exits: bool) -> None:
        done = self._account_of_ladder.withdraw(why, exits=exits)
        if not done.is_empty:
            self._checkpoint_us = None
            self._news.changed = True
            self._take_in(done)

    def _own_verdict(self, decision: Decision, proposal: Proposal | None) -> GateVerdict:
        # A ladder enlarges its position without being told to: not saying anything is no leave.
        if self.state is not BotState.RUNNING:
            return GateVerdict(gate=Gate.PAUSED, detail=f"{self.state}: no new orders")
        if self._entries_after_us is not None:
            return GateVerdict(gate=Gate.OUTAGE, detail="made up for after an outage: no new orders")
        return super()._own_verdict(decision, proposal)

    def _in_use(self) -> Decimal:
        return self._account_of_ladder.committed

    def _levels(self, side: PositionSide) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
        account = self._account_of_ladder
        exits = [one.price for one in account.state.resting if one.tag == EXIT_TAG]
        return account.stop_price, exits[0] if exits else None, None
