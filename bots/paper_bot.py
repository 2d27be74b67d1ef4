"""One paper bot on one market without its surroundings: candles and wishes in, steps to store out. No I/O.

The same candles give the same orders, fills and equity whether they come one by one as they close, in a heap
after an outage, or with a `kill -9` between any two steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from bots.bot_life import BotLife, FinerCandles
from bots.config import BotConfig, FillRule
from bots.entry_gates import EntryGate, EntryWish, ask
from bots.funding import FundingReader, PerpetualFunding, not_settled
from bots.gates import PASSED, Gate, GateVerdict
from bots.ledger import EXACT, LedgerState, cost_of
from bots.life_records import SavedLife
from bots.lifecycle import ACTIVE, BotState
from bots.orders import GROWING, OrderStatus, PositionSide, TradingRules
from bots.paper_account import AccountState, AccountStep, PaperAccount
from bots.recorded_depth import BookReader, MarketDepth
from bots.risk.gate import Proposal, pass_gate
from bots.risk.state import observe
from bots.stores import MOST_FRESH, AccountSummary, BotRecord
from bots.views import EquityPoint, PositionView
from data.models import Candle, Instrument, Market, Ohlcv
from data.timeframes import Timeframe, floor_to
from strategies.base import Decision, Strategy

# Recursive averages have forgotten where they began, to the last bit of a double, within this many warm-ups.
_WARMUPS = 20
_LEAST_HISTORY = 200
MOST_HISTORY = 50_000  # candles replayed into a strategy; about a second
_DAY_US = 86_400_000_000


class SavedAccount(SavedLife, frozen=True, kw_only=True):
    """What a bot keeps beside its row's columns: the account, and where its strategy's history begins."""

    rules: TradingRules  # as they were at the last start
    state: AccountState


def rules_of(instrument: Instrument | None) -> TradingRules:
    """What orders on that instrument obey; nothing is rounded where it is unknown."""
    if instrument is None:
        return TradingRules()
    return TradingRules(
        tick_size=instrument.tick_size,
        lot_size=instrument.lot_size,
        min_quantity=instrument.min_quantity,
        min_notional=instrument.min_notional,
    )


def history_wanted(strategy: Strategy) -> int:
    """How many candles to replay before a bot's first decision."""
    return min(MOST_HISTORY, strategy.warmup * _WARMUPS + _LEAST_HISTORY)


def first_traded(newest_us: int, timeframe: Timeframe, started_us: int) -> int:
    """The earliest open of a candle that a bot started at `started_us` may trade on.

    `newest_us` is the open of the newest stored candle. Where stored candles keep up with our clock, that is
    the first that closes after the start; those before it may still be on their way into the store. A store
    that lags days behind holds another time (a recording, replayed): there, the candle after the newest.
    """
    newest_close = newest_us + timeframe.us
    if abs(started_us - newest_close) <= max(_DAY_US, 2 * timeframe.us):
        return floor_to(started_us, timeframe)
    return newest_close


class PaperBot(BotLife):
    """A bot on one market with at most one position; see `BotLife`."""

    saved_type: type[SavedAccount] = SavedAccount

    def __init__(
        self,
        record: BotRecord,
        config: BotConfig,
        strategy: Strategy,
        books: BookReader | None = None,
        *,
        funding: FundingReader | None = None,
    ) -> None:
        """Go on from `record`, or begin. Raises InvalidInput for terms that make no sense to the account.

        `books` are asked where market orders are filled by the recorded depth, `funding` what a position in a
        perpetual pays.
        """
        saved = None if record.account is None else msgspec.json.decode(record.account, type=self.saved_type)
        super().__init__(record, config, strategy, saved)
        self._rules = TradingRules() if saved is None else saved.rules
        self._account = self._new_account(None if saved is None else saved.state)
        self._stream = strategy.stream()
        self._seen: tuple[float, float, float, float] | None = None
        self._depth = MarketDepth(config.market, books) if config.fill is FillRule.DEPTH else None
        self._funding = PerpetualFunding(config.market, funding)

    @property
    def has_position(self) -> bool:
        return self._account.position_side is not None

    @property
    def waits_for_an_open(self) -> bool:
        """Whether something happens at the next candle's first trade, before that candle closes."""
        return self.state in ACTIVE and bool(self._account.pending or self._must_flatten)

    @property
    def is_between_candles(self) -> bool:
        """Whether no candle's open was traded on whose close is still to come."""
        return self._account.opened_at_us is None

    # Beginning

    def begin(self, history: Ohlcv, rules: TradingRules, at_us: int) -> None:
        """Start afresh on `history`, the newest stored candles: what closed before the start only warms up.

        `rules` hold from now on. `at_us` is the start, where the bot does not know of one.
        """
        self._rules = rules
        self._account = self._new_account(self._account.state)
        self._checkpoint_us = None
        self._stream = self.strategy.stream()
        started_us = at_us if self.started_us is None else self.started_us
        self.trade_from_us = first_traded(int(history.opened_at_us[-1]), self.timeframe, started_us)
        if self.last_candle_us is not None:
            # A candle that was traded on once is never traded on again.
            self.trade_from_us = max(self.trade_from_us, self.last_candle_us + self.timeframe.us)
        known = int(history.opened_at_us.searchsorted(self.trade_from_us))
        seen = history.rows(max(0, known - history_wanted(self.strategy)), known)
        self.warm_from_us = int(seen.opened_at_us[0]) if len(seen) else self.trade_from_us
        self.replay(seen)
        if len(seen):
            newest = int(seen.opened_at_us[-1])
            self.last_candle_us = newest if self.last_candle_us is None else max(self.last_candle_us, newest)
        self._news.changed = True

    def begin_on(self, histories: Sequence[Ohlcv], rules: Sequence[TradingRules], at_us: int) -> str:
        self.begin(histories[0], rules[0], at_us)
        return ""

    def replay(self, history: Ohlcv) -> None:
        """Show the strategy candles again that it has decided on before; nothing is traded."""
        for candle in candles_of(history, self.market):
            self._stream.update(candle)
            self._last_price = candle.close

    def rewarm(self, history: Ohlcv) -> None:
        """Show a new strategy the candles up to the last one taken; trading goes on behind it."""
        self.warm_from_us = int(history.opened_at_us[0]) if len(history) else self.last_candle_us
        self.replay(history)
        self._news.changed = True

    # Trading

    def feed(
        self,
        fresh: Mapping[Market, Ohlcv],
        forming: Mapping[Market, Candle],
        finer: FinerCandles,
        gates: Sequence[EntryGate],
    ) -> bool:
        stored, taken = fresh.get(self.market), self.taken_until_us
        if taken is None:
            return False
        if stored is not None:
            first = int(stored.opened_at_us.searchsorted(taken, side="right"))
            last = min(len(stored), first + MOST_FRESH)
            known_us = int(stored.opened_at_us[-1]) + self.timeframe.us if len(stored) else 0
            unseen = stored.rows(first, last) if last - first < len(stored) else stored
            for candle in candles_of(unseen, self.market):
                if self.state not in ACTIVE or self._waits_for_the_store(candle, known_us):
                    return False
                self.take(candle, finer, gates)
            if last < len(stored):
                return True
        begun, newest = forming.get(self.market), self.last_candle_us
        if (
            begun is not None
            and newest is not None
            and begun.opened_at_us > newest
            and self.waits_for_an_open
            and (self._depth is None or self._depth.is_known(begun.opened_at_us))
            and not self._funding.is_awaited(
                newest + self.timeframe.us, begun.opened_at_us, known_us=begun.opened_at_us
            )
        ):
            self.open(begun.opened_at_us, begun.open)
        return False

    def take(self, candle: Candle, finer: FinerCandles, gates: Sequence[EntryGate] = ()) -> None:
        """The next closed candle. `finer` is asked where stop and target both lie inside it.

        `gates` are asked before an entry is ordered; see `bots.entry_gates`.
        """
        self._news.changed = True
        if self.trade_from_us is None or candle.opened_at_us < self.trade_from_us:
            self._stream.update(candle)
            self._last_price, self.last_candle_us = candle.close, candle.opened_at_us
            return
        self.open(candle.opened_at_us, candle.open)
        if self.state not in ACTIVE:
            return  # its position was closed at this open, and with that it has stopped
        closed = self._account.close_candle(candle, finer(candle) if self._is_ambiguous(candle) else None)
        self._take_in(closed)
        self._pay_funding(candle.opened_at_us, candle.closes_at_us, candle.close)
        point = self._point(candle.closes_at_us, candle.close)
        self._news.equity.append(point)
        self.risk = observe(self._risk_state, candle.closes_at_us, point.equity, self.limits)
        before_us = self.last_candle_us
        self._last_price, self.last_candle_us = candle.close, candle.opened_at_us
        decision = self._stream.update(candle)
        self._seen = (candle.open, candle.high, candle.low, candle.volume)
        if self.state is BotState.STOPPING:
            self._settle_stop(candle.closes_at_us)
        else:
            self._decide(decision, None if before_us is None else before_us + self.timeframe.us, gates)
        if self._entries_after_us is not None and candle.opened_at_us >= self._entries_after_us:
            self._after_outage()

    def open(self, opened_at_us: int, price: float) -> None:
        """The first trade of a candle: orders that waited for it are filled. Harmless to repeat."""
        opened = self._account.opened_at_us
        if opened == opened_at_us:
            return
        self._news.changed = True
        if opened is not None:
            # The candle that was begun live was never stored: its interval had a hole. What it filled stays.
            self._abandon_open_candle()
        self._news.opened_candle_us = opened_at_us
        # Candles without a trade have no row, and funding is paid all the same: here, once. The open of a
        # candle that was begun and never stored has paid for what was before it.
        paid_until_us = max(self._taken_close_us or opened_at_us, opened or 0)
        self._pay_funding(paid_until_us, opened_at_us, self._last_price)
        if self._must_flatten:
            self._take_in(self._left_at_open(opened_at_us, price))
            self._flatten_at_open = False
            self._checkpoint_us = None
        self._take_checkpoint(opened_at_us)
        self._take_in(self._opened(opened_at_us, price))
        if self.state is BotState.STOPPING and not self.has_position:
            self._news.equity.append(self._point(opened_at_us, price))
            self._settle_stop(opened_at_us)

    def _opened(self, opened_at_us: int, price: float) -> AccountStep:
        if self._depth is None:
            return self._account.open_candle(opened_at_us, price)
        return self._account.open_candle(opened_at_us, price, self._depth.at(opened_at_us))

    def _left_at_open(self, opened_at_us: int, price: float) -> AccountStep:
        if self._depth is None:
            return self._account.flatten(opened_at_us, price)
        return self._account.flatten(opened_at_us, price, depth=self._depth.at(opened_at_us))

    def _waits_for_the_store(self, candle: Candle, known_us: int) -> bool:
        """Whether this stored candle may fill orders, or pay funding, by what is still to be stored."""
        if not self._may_hold:
            return False
        if self._depth is not None and self._depth.is_awaited(candle.opened_at_us, known_us=known_us):
            return True
        after_us = min(self._taken_close_us or candle.opened_at_us, candle.opened_at_us)
        return self._funding.is_awaited(after_us, candle.closes_at_us, known_us=known_us)

    @property
    def _may_hold(self) -> bool:
        """Whether there may be a position at the close of the next candle."""
        return self.has_position or bool(self._account.pending)

    def _pay_funding(self, after_us: int, until_us: int, price: float | None) -> None:
        """Book what the position held now pays or gets for the funding times of `(after_us, until_us]`."""
        if price is None or not self.has_position:
            return
        for rate in self._funding.within(after_us, until_us):
            if rate.settled:
                self._take_in(self._account.fund(rate, price))
            else:
                self.note("funding not booked", at_us=until_us, why=not_settled(rate))

    # A person's wishes

    def halt(self, why: str) -> None:
        """Call off what would open or enlarge a position at the next open; exits stay."""
        if any(order.reason in GROWING for order in self._account.pending):
            self._cancel(why, exits=False)
            self._news.changed = True

    def close_now(self, forming: Mapping[Market, Candle], *, why: str, at_us: int) -> None:
        candle = forming.get(self.market)
        if candle is None:
            self.flatten_at_open()
        else:
            self.flatten_now(candle.opened_at_us, candle.open, candle.close, why=why, at_us=at_us)

    def flatten_at_open(self) -> None:
        """Close the position at the next open."""
        self._flatten_at_open = self.has_position

    def flatten_now(
        self, opened_at_us: int, open_price: float, price: float, *, why: str, at_us: int
    ) -> None:
        """Close the position at once at `price`, inside the candle that opened at `opened_at_us`."""
        if self.last_candle_us is not None and opened_at_us <= self.last_candle_us:
            return
        self.open(opened_at_us, open_price)
        if not self.has_position:
            return
        self._take_in(self._account.flatten(opened_at_us, price))
        self._checkpoint_us = None
        self._news.equity.append(self._point(opened_at_us, price))
        self.note("flattened", at_us=at_us, why=why)

    # Figures

    def summary(self) -> AccountSummary:
        """The account's figures, the position marked at the last processed close."""
        ledger = self._account.ledger
        price = float(ledger.entry_price) if self._last_price is None else self._last_price
        return AccountSummary(
            point=self._point(self._taken_close_us, price),
            position=self._position(price),
            realised_pnl=self._profit,
            fees_paid=ledger.state.fees,
            trades=self._trades,
            wins=self._wins,
        )

    def _saved(self) -> SavedAccount:
        return SavedAccount(rules=self._rules, state=self._account.state, **self._life)

    def _ledger_state(self) -> LedgerState:
        return self._account.ledger.state

    def _in_use(self) -> Decimal:
        waits = any(order.reason in GROWING for order in self._account.pending)
        return EXACT.add(cost_of(self._ledger_state()).copy_abs(), self._promised if waits else Decimal(0))

    def _new_account(self, state: AccountState | None) -> PaperAccount:
        return PaperAccount(
            capital=self.config.capital,
            costs=self.config.costs,
            rules=self._rules,
            protection=self.strategy.protection,
            sizing=self.strategy.sizing,
            state=state,
        )

    def _abandon_open_candle(self) -> None:
        state = self._account.state
        if state.opened_at_us is not None:
            self._account = self._new_account(msgspec.structs.replace(state, opened_at_us=None))

    # Deciding

    def _decide(self, decision: Decision, seen_until_us: int | None, gates: Sequence[EntryGate]) -> None:
        proposal = self._account.proposal(decision)

        def others() -> GateVerdict:
            assert proposal is not None
            return ask(gates, self._entry_wish(decision, proposal, seen_until_us))

        passage = pass_gate(
            decision,
            proposal,
            limits=self.limits,
            state=self._risk_state,
            rules=self._rules,
            own=self._own_verdict(decision, proposal),
            others=others if gates else None,
        )
        self.risk = passage.state
        verdict = passage.verdict
        done = self._account.decide(passage.approved)
        self._take_in(done)
        if proposal is not None and verdict.passes:
            self._promised = proposal.notional
        if verdict.passes and not decision.says_nothing:
            verdict = self._account_verdict(done)
        self._tell_decision(decision, passage, verdict, done.orders, seen=self._seen)

    def _own_verdict(self, decision: Decision, proposal: Proposal | None) -> GateVerdict:
        """Whether the bot's own state keeps it from entering."""
        if proposal is None and not (decision.long_entry or decision.short_entry):
            return PASSED
        return self._state_verdict()

    def _account_verdict(self, done: AccountStep) -> GateVerdict:
        """Why the account made no order of a signal."""
        if any(order.status is OrderStatus.REFUSED for order in done.orders):
            return GateVerdict(gate=Gate.CONTRADICTION)
        if done.orders:
            return PASSED
        side = self._account.position_side
        gate = Gate.NO_POSITION if side is None else Gate.POSITION_OPEN
        return GateVerdict(gate=gate, detail=f"nothing to do: {side or 'no position'}")

    def _entry_wish(self, decision: Decision, entry: Proposal, seen_until_us: int | None) -> EntryWish:
        return EntryWish(
            bot_id=self.bot_id,
            bot=self.name,
            market=self.market,
            timeframe=self.timeframe,
            side=entry.side,
            notional=entry.notional,
            share=self._sub_ledger(),
            opened_at_us=decision.opened_at_us,
            closes_at_us=decision.opened_at_us + self.timeframe.us,
            close=decision.close,
            seen_until_us=seen_until_us,
            account=self.summary(),
        )

    def _cancel(self, why: str, *, exits: bool) -> None:
        """Call off entries that wait for the next open, and exits too if `exits`."""
        state = self._account.state
        gone = [order for order in state.pending if exits or order.reason in GROWING]
        if not gone:
            return
        self._checkpoint_us = None
        kept = tuple(order for order in state.pending if order not in gone)
        self._account = self._new_account(msgspec.structs.replace(state, pending=kept))
        for order in gone:
            self._news.orders[order.sequence] = msgspec.structs.replace(
                order, status=OrderStatus.CANCELLED, refusal=why
            )

    def _take_in(self, done: AccountStep) -> None:
        if done.orders or done.fills or done.trades or done.entries:
            self._book(done.orders, done.fills, done.trades, done.entries)

    def _point(self, at_us: int, price: float) -> EquityPoint:
        ledger = self._account.ledger
        return EquityPoint(
            at_us=at_us,
            equity=ledger.equity(Decimal(repr(price))),
            cash=ledger.cash,
            position=ledger.quantity,
        )

    def _position(self, price: float) -> PositionView | None:
        side = self._account.position_side
        if side is None:
            return None
        ledger = self._account.ledger
        stop, target, trailing = self._levels(side)
        return PositionView(
            side=side,
            quantity=abs(ledger.quantity),
            entry_price=ledger.entry_price,
            entry_at_us=ledger.state.entry_at_us,
            stop_price=stop,
            target_price=target,
            trailing_price=trailing,
            unrealised_pnl=ledger.unrealised(Decimal(repr(price))),
        )

    def _levels(self, side: PositionSide) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
        """Stop-loss, take-profit and trailing stop of the open position, before rounding to the tick."""
        state = self._account.state
        entry = state.ledger.entry_price
        extreme = entry if state.extreme_is_entry else Decimal(repr(state.extreme))
        towards = 1 if side is PositionSide.LONG else -1
        protection = self.strategy.protection

        def level(base: Decimal, fraction: float | None, direction: int) -> Decimal | None:
            if fraction is None:
                return None
            return EXACT.multiply(base, 1 + direction * Decimal(repr(fraction)))

        return (
            level(entry, protection.stop_loss, -towards),
            level(entry, protection.take_profit, towards),
            level(extreme, protection.trailing_stop, -towards),
        )

    def _is_ambiguous(self, candle: Candle) -> bool:
        """Whether a stop and a target both lie inside the candle: then finer data may tell."""
        return self._account.is_undecided(candle)


def candles_of(ohlcv: Ohlcv, market: Market) -> Sequence[Candle]:
    """The rows as candles; how many trades made each is not known."""
    columns: tuple[Any, ...] = (
        ohlcv.opened_at_us,
        ohlcv.open,
        ohlcv.high,
        ohlcv.low,
        ohlcv.close,
        ohlcv.volume,
    )
    return [
        Candle(
            exchange=market.exchange,
            symbol=market.symbol,
            timeframe=ohlcv.timeframe,
            opened_at_us=opened_at_us,
            open=open_price,
            high=high,
            low=low,
            close=close,
            volume=volume,
            trades=0,
        )
        for opened_at_us, open_price, high, low, close, volume in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]
