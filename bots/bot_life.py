"""What every bot has, whatever it holds: its state, its wishes, its settings, and the steps that are stored.

No clock, no I/O. What an account is, and what happens at a candle, is said by `bots.paper_bot` for one market
and by `bots.ladders.basket_bot` for several.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from bots.accounts import SharePart, SubLedger
from bots.config import BotConfig, as_document
from bots.definitions import definition_of
from bots.entry_gates import EntryGate
from bots.gates import PASSED, Gate, GateVerdict
from bots.journal import JournalEntry
from bots.ledger import EXACT, LedgerState, cost_of
from bots.life_records import News, SavedLife
from bots.lifecycle import ACTIVE, BotState, checked
from bots.orders import ClosedTrade, Fill, Order, OrderReason, OrderStatus, TradingRules
from bots.risk.gate import Passage
from bots.risk.state import RiskState, begin
from bots.stores import (
    AccountSummary,
    BotEvent,
    BotRecord,
    BotStep,
    Checkpoint,
    DecisionMade,
    LimitBroken,
    PartSaid,
)
from data.models import Candle, Market, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Decision, Strategy

_DAY_US = 86_400_000_000

# The wish to stop is fulfilled, and with it the wish to close the position.
_STAY_STOPPED = (BotState.STOPPED, BotState.STOPPED)

Series = tuple[Market, Timeframe]
FinerCandles = Callable[[Candle], Ohlcv | None]


class BotLife(ABC):
    """A bot between two commits. Every method may add to the step that `step` then hands out."""

    def __init__(
        self, record: BotRecord, config: BotConfig, strategy: Strategy, saved: SavedLife | None
    ) -> None:
        """Go on from `record`, of whose account `saved` was read, or begin."""
        self.bot_id = record.bot_id
        self.name = record.name
        self.config = config
        self.strategy = strategy
        self.state = record.state
        self.health = record.health
        self.number = record.step
        self.last_candle_us = record.last_candle_us
        self.started_us = record.started_at_us
        # In force from the next candle on; whoever runs the bot sets them.
        self.limits = config.limits.own
        self.limits_problem = ""  # why none were found: nothing is entered then
        self.together: Mapping[str, tuple[str, ...]] = {}  # by symbol of its own: those that move with it
        self.ruled_by: object = None  # what these came from
        self.risk = None if saved is None else saved.risk
        self._promised = Decimal(0) if saved is None else saved.promised
        self._trades = 0 if saved is None else saved.trades
        self._wins = 0 if saved is None else saved.wins
        self._profit = Decimal(0) if saved is None else saved.profit
        self.warm_from_us = None if saved is None else saved.warm_from_us
        self.trade_from_us = None if saved is None else saved.trade_from_us
        self._last_price: float | None = None
        self._entries_after_us: int | None = None
        self._flatten_at_open = False
        # None: the next open takes one, because something else than candles has changed the account.
        is_as_before = saved is not None and record.strategy_version == strategy.version
        self._checkpoint_us = saved.checkpoint_us if saved is not None and is_as_before else None
        self.version = record.applied  # of its settings; one that was refused counts as seen
        self._applied: int | None = None
        self._from_file = False
        self._is_described = False  # whether a step was handed out that holds the config
        self._news = News()

    @property
    def market(self) -> Market:
        """The one it follows; of several the first."""
        return self.config.market

    @property
    def markets(self) -> tuple[Market, ...]:
        """All that it follows."""
        return (self.market,)

    @property
    def timeframe(self) -> Timeframe:
        return self.strategy.timeframe

    @cached_property
    def series(self) -> tuple[Series, ...]:
        """The candles it reads."""
        return tuple((market, self.timeframe) for market in self.markets)

    @property
    @abstractmethod
    def has_position(self) -> bool: ...

    @property
    @abstractmethod
    def waits_for_an_open(self) -> bool:
        """Whether something happens at the next candle's first trade, before that candle closes."""

    @property
    @abstractmethod
    def is_between_candles(self) -> bool:
        """Whether no candle's open was traded on whose close is still to come."""

    @property
    def taken_until_us(self) -> int | None:
        """Candles that open later are news to the bot; None while it has not begun."""
        if self.last_candle_us is None:
            return None if self.trade_from_us is None else self.trade_from_us - 1
        return self.last_candle_us

    @property
    def is_warm(self) -> bool:
        return self.warm_from_us is not None

    @property
    def has_news(self) -> bool:
        """Whether there is anything to store."""
        return self._news.changed

    # Candles

    @abstractmethod
    def begin_on(self, histories: Sequence[Ohlcv], rules: Sequence[TradingRules], at_us: int) -> str:
        """Start afresh on the newest stored candles of each market, none of them empty.

        What closed before the start only warms up. `rules` of each hold from now on. `at_us` is the start,
        where the bot does not know of one. Returns what it waits for, in words; empty once it has begun.
        """

    @abstractmethod
    def feed(
        self,
        fresh: Mapping[Market, Ohlcv],
        forming: Mapping[Market, Candle],
        finer: FinerCandles,
        gates: Sequence[EntryGate],
    ) -> bool:
        """Take stored candles, at most a step's worth; whether more of them wait.

        `fresh` has the oldest that opened after `taken_until_us`, `forming` those in the making.
        """

    def restart_clock(self, at_us: int) -> None:
        """Start anew at `at_us`, with the account as it is: what was missed until then is not traded."""
        self.started_us = at_us
        self.warm_from_us = self.trade_from_us = None
        self._abandon_open_candle()
        self._news.changed = True

    def hold_entries_until(self, opened_at_us: int) -> None:
        """After an outage: no new entries on candles up to that one, and then close the position."""
        self._entries_after_us = opened_at_us
        taken = self.taken_until_us
        if taken is not None and taken >= opened_at_us:
            self._after_outage()

    @abstractmethod
    def _abandon_open_candle(self) -> None:
        """Forget that a candle was begun whose close will not come; what it filled stays."""

    def _take_checkpoint(self, opened_at_us: int) -> None:
        """Keep how the bot stood before this candle: each UTC day, and after each change from outside."""
        taken = self._checkpoint_us
        if taken is not None and taken // _DAY_US == opened_at_us // _DAY_US:
            return
        self._checkpoint_us = opened_at_us
        self._news.checkpoints.append(
            Checkpoint(
                opened_at_us=opened_at_us,
                config=as_document(self.config),
                strategy_version=self.strategy.version,
                account=msgspec.json.encode(self._saved()),
            )
        )

    # Settings

    def settings_applied(self, version: int, *, at_us: int | None = None) -> None:
        """From now on by this version of its settings; with `at_us` while it runs, between two candles.

        An entry that waits for the next open was decided by the old settings: it is called off. The position
        stays, under the new strategy's levels.
        """
        self.version, self._applied = version, version
        self._checkpoint_us = None
        self._news.changed = True
        if at_us is not None:
            self.note("settings applied", at_us=at_us, why=f"version {version}")
            self._cancel("the bot was edited", exits=False)

    def settings_from_file(self, version: int) -> None:
        """Its file was read, and differs from the settings that were in force."""
        self.version, self._from_file = version, True
        self._news.changed = True

    def settings_refused(self, version: int, *, at_us: int, why: str) -> None:
        """A version of its settings cannot be used: it goes on with those it has."""
        self.version = version
        self.note("settings refused", at_us=at_us, why=why)
        self.report(f"goes on with its old settings: {why}")

    # A person's wishes

    @abstractmethod
    def halt(self, why: str) -> None:
        """Call off what would open or enlarge a position; exits stay."""

    @abstractmethod
    def close_now(self, forming: Mapping[Market, Candle], *, why: str, at_us: int) -> None:
        """Close what it holds at the newest prices of candles in the making, else at the next open."""

    @abstractmethod
    def _cancel(self, why: str, *, exits: bool) -> None:
        """Call off entries that wait for the next open, and exits too if `exits`."""

    def move(
        self,
        target: BotState,
        *,
        at_us: int,
        why: str,
        health: str = "",
        settle: tuple[BotState, BotState] | None = None,
    ) -> None:
        """Go to another state. Raises IllegalTransition where the table does not lead there."""
        self.state = checked(self.state, target)
        self.health = health
        if target is BotState.STOPPED:
            settle = settle or _STAY_STOPPED
        self._news.settle = settle or self._news.settle
        self._news.changed = True
        self._news.events.append(BotEvent(at_us=at_us, who="runner", what=str(target), why=why))
        if target is not BotState.RUNNING:
            # A bot that stands still must not trade on an old decision when it is started again.
            self._cancel(f"the bot was {target}", exits=target not in ACTIVE)
        if target is BotState.STOPPING and not self.has_position:
            self._settle_stop(at_us)

    def fulfil_stop(self) -> None:
        """The bot stands still and has no position: nothing is left to do of a wish to stop."""
        self._news.settle = _STAY_STOPPED
        self._news.changed = True

    def note(self, what: str, *, at_us: int, why: str) -> None:
        """Write something into the audit."""
        self._news.events.append(BotEvent(at_us=at_us, who="runner", what=what, why=why))
        self._news.changed = True

    def report(self, health: str) -> None:
        """Say how the bot is, if that is news."""
        if health != self.health:
            self.health = health
            self._news.changed = True

    @property
    def _must_flatten(self) -> bool:
        return self.has_position and (self._flatten_at_open or self.state is BotState.STOPPING)

    def _after_outage(self) -> None:
        self._entries_after_us = None
        self._cancel("the bot closes its position after a restart", exits=False)
        self._flatten_at_open = self.has_position
        self._news.changed = True

    def _settle_stop(self, at_us: int) -> None:
        """A bot that was to close its position first has stopped once it is flat."""
        if self.has_position:
            return
        self.state = checked(self.state, BotState.STOPPED)
        self.health = ""
        self._news.settle = _STAY_STOPPED
        self._news.events.append(
            BotEvent(at_us=at_us, who="runner", what="stopped", why="the position is closed")
        )
        self._news.changed = True

    # Deciding

    @property
    def _risk_state(self) -> RiskState:
        return begin(self.config.capital) if self.risk is None else self.risk

    def _state_verdict(self) -> GateVerdict:
        """Whether the bot's own state keeps it from entering."""
        if self.state is not BotState.RUNNING:
            return GateVerdict(gate=Gate.PAUSED, detail=f"{self.state}: no new entries")
        if self._entries_after_us is not None:
            return GateVerdict(gate=Gate.OUTAGE, detail="made up for after an outage: no new entries")
        if self.limits_problem:
            return GateVerdict(gate=Gate.LIMIT, detail=f"no limits: {self.limits_problem}")
        return PASSED

    def _tell_decision(
        self,
        decision: Decision,
        passage: Passage,
        verdict: GateVerdict,
        orders: Sequence[Order],
        *,
        seen: tuple[float, float, float, float] | None = None,
        parts: Sequence[PartSaid] = (),
    ) -> None:
        """Keep a decision with what came of it; `verdict` is what is told of it in the end."""
        told = _told_of(orders) if orders else []
        if not verdict.passes and verdict.gate is not Gate.CONTRADICTION:
            told.append(verdict.detail)
        violations = passage.verdict.violations
        self._news.violations.extend(
            LimitBroken(
                opened_at_us=decision.opened_at_us,
                at_us=decision.opened_at_us + self.timeframe.us,
                violation=violation,
            )
            for violation in violations
        )
        self._news.decisions.append(
            DecisionMade(
                decision=decision,
                outcome="; ".join(told),
                seen=seen,
                gate=verdict.gate,
                orders=tuple(order.sequence for order in orders),
                violations=violations,
                parts=tuple(parts),
            )
        )

    def _book(
        self,
        orders: Sequence[Order],
        fills: Sequence[Fill],
        trades: Sequence[ClosedTrade],
        entries: Sequence[JournalEntry],
    ) -> None:
        # Only the newest word on an order counts.
        self._news.orders.update((order.sequence, order) for order in orders)
        self._news.fills.extend(fills)
        self._news.closed.extend(trades)
        self._news.entries.extend(entries)
        for trade in trades:
            self._trades += 1
            self._wins += trade.pnl > 0
            self._profit = EXACT.add(self._profit, trade.pnl)

    # Storing

    @abstractmethod
    def summary(self) -> AccountSummary:
        """The account's figures, positions marked at the last processed close."""

    @abstractmethod
    def _saved(self) -> SavedLife: ...

    @property
    def _life(self) -> dict[str, Any]:
        """The fields of `SavedLife`, for `_saved`."""
        return {
            "trades": self._trades,
            "wins": self._wins,
            "profit": self._profit,
            "warm_from_us": self.warm_from_us,
            "trade_from_us": self.trade_from_us,
            "checkpoint_us": self._checkpoint_us,
            "risk": self.risk,
            "promised": self._promised,
        }

    @property
    def _taken_close_us(self) -> int:
        """The close of the last candle taken; 0 before the first."""
        return 0 if self.last_candle_us is None else self.last_candle_us + self.timeframe.us

    @abstractmethod
    def _ledger_state(self) -> LedgerState:
        """Those of all that it holds."""

    @abstractmethod
    def _in_use(self) -> Decimal:
        """What its positions have cost and what its waiting orders may cost, in quote currency."""

    def _parts(self) -> tuple[SharePart, ...]:
        """The same by symbol, of a bot with several."""
        return ()

    def _sub_ledger(self) -> SubLedger | None:
        """What the bot has in use of its account, where it has one together with others."""
        if self.config.account is None:
            return None
        books, risk, parts = self._ledger_state(), self._risk_state, self._parts()
        return SubLedger(
            account=self.config.account,
            in_use=self._in_use(),
            gained=EXACT.subtract(EXACT.add(books.cash, cost_of(books)), self.config.capital),
            equity_gained=EXACT.subtract(risk.equity, self.config.capital),
            at_us=self._taken_close_us,
            ordered_at_us=risk.ordered_at_us,
            together=() if parts else self.together.get(self.market.symbol, ()),
            parts=parts,
        )

    def step(self, at_us: int) -> BotStep:
        """Everything since the last step, to be stored as one."""
        self.number += 1
        step = BotStep(
            bot_id=self.bot_id,
            step=self.number,
            at_us=at_us,
            state=self.state,
            health=self.health,
            settle=self._news.settle,
            config=None if self._is_described else as_document(self.config),
            applied=self._applied,
            from_file=self._from_file,
            strategy=None if self._is_described else self.strategy.name,
            strategy_version=None if self._is_described else self.strategy.version,
            market=self.market,
            timeframe=self.timeframe,
            started_at_us=self.started_us,
            account=msgspec.json.encode(self._saved()),
            summary=self.summary(),
            last_candle_us=self.last_candle_us,
            last_price=self._last_price,
            opened_candle_us=self._news.opened_candle_us,
            orders=tuple(self._news.orders.values()),
            fills=tuple(self._news.fills),
            trades=tuple(self._news.closed),
            equity=tuple(self._news.equity),
            decisions=tuple(self._news.decisions),
            events=tuple(self._news.events),
            checkpoints=tuple(self._news.checkpoints),
            definition=None if self._is_described else definition_of(self.strategy),
            entries=tuple(self._news.entries),
            violations=tuple(self._news.violations),
            sub_ledger=self._sub_ledger(),
        )
        self._news = News()
        self._is_described = True
        self._applied, self._from_file = None, False
        return step


_KINDS = {OrderReason.ENTRY: "entry", OrderReason.ADD_ON: "add-on"}


def _told_of(orders: Sequence[Order]) -> list[str]:
    # A ladder withdraws or places many at once.
    counts = Counter(_told(order) for order in orders)
    return [words if count == 1 else f"{words} ({count} times)" for words, count in counts.items()]


def _told(order: Order) -> str:
    kind = _KINDS.get(order.reason, "exit")
    what = f"{order.symbol} {kind}" if order.symbol else f"{order.position_side} {kind}"
    if order.status is OrderStatus.REFUSED:
        return f"{what} refused: {order.refusal}"
    if order.status is OrderStatus.CANCELLED:
        return f"{what} cancelled"
    return f"{what} ordered"
