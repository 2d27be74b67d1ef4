"""A bot's account on paper: candles and decisions in, orders, fills and closed trades out.

It steps through the very kernel that a backtest runs over whole arrays. Call `open_candle` at a candle's
first trade (or leave it out), `close_candle` when it closes and `decide` with what the strategy said of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np

from bots import fill_records, fills
from bots.booking import Event, events_of, fill_of, refusal_sentence, rules_at
from bots.depth_fills import DepthOpen
from bots.funding import funding_of
from bots.journal import JournalEntry, entry_of
from bots.ledger import Ledger, LedgerState, exact, exact_price
from bots.orders import (
    GROWING,
    ClosedTrade,
    Costs,
    DepthUse,
    Fill,
    Order,
    OrderReason,
    OrderStatus,
    PositionSide,
    RulesFrom,
    TradingRules,
)
from bots.recorded_depth import OpenDepth
from bots.risk.approval import Approved
from bots.risk.gate import Proposal
from data.errors import RejectedError
from data.models import Candle, FundingRate, Ohlcv, Side
from strategies.base import Decision, Protection, Sizing


class EquityPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The account at one moment, in quote currency."""

    at_us: int
    price: Decimal  # the position is marked at
    cash: Decimal
    equity: Decimal


class AccountStep(msgspec.Struct, frozen=True, kw_only=True):
    """What one call did to the account. Store it together with the state after it."""

    orders: tuple[Order, ...] = ()  # new ones, and earlier ones whose status changed
    fills: tuple[Fill, ...] = ()
    trades: tuple[ClosedTrade, ...] = ()
    equity: EquityPoint | None = None
    entries: tuple[JournalEntry, ...] = ()  # of the books, one for each fill

    @property
    def is_empty(self) -> bool:
        return not (self.orders or self.fills or self.trades or self.equity or self.entries)


_NOTHING = AccountStep()  # on most candles nothing happens, for hundreds of bots at once


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far add-ons and targets of the open position have come."""

    levels_from: Decimal  # the price that levels hang on
    started_at: Decimal  # the first fill's price
    last_price: Decimal  # the newest entry's or add-on's
    entered: Decimal  # quantity of the entry
    bought: Decimal  # and of the add-ons with it
    sold: Decimal  # of what targets have taken
    targets_done: int
    adds_done: int


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """All that an account carries from step to step; JSON keeps every digit."""

    ledger: LedgerState
    sequence: int = 0  # of the newest order
    pending: tuple[Order, ...] = ()  # wait for the next candle's open, in this order
    extreme: float = 0.0  # best price of completed candles since entry; the entry price before the first
    extreme_is_entry: bool = False
    opened_at_us: int | None = None  # the candle whose open was run but not its close
    last_opened_at_us: int | None = None  # the last candle that was closed
    last_closes_at_us: int | None = None
    exposed_candles: int = 0  # candles in which a position was held after the open
    progress: Progress | None = None  # of the open position; None in states of old: entered, no more


class PaperAccount:
    """One account. Deterministic: the same steps from the same state give the same results."""

    def __init__(
        self,
        *,
        capital: Decimal,
        costs: Costs,
        rules: TradingRules,
        protection: Protection,
        sizing: Sizing,
        later_rules: Sequence[RulesFrom] = (),
        state: AccountState | None = None,
        target_first: bool = False,
    ) -> None:
        """Start with `capital` in quote currency, or go on from `state`. Raises InvalidInput.

        `later_rules` replace `rules` for candles that open at their times or after. With `target_first` an
        exit that nothing decides is read as the target: not by the rules, but to show how much hangs on them.
        """
        self._costs = costs
        self._protection = protection
        self._sizing = sizing
        self._rules = rules
        self._later_rules = tuple(later_rules)
        self._terms = fill_records.terms_of(costs, rules, protection, sizing, later_rules=later_rules)
        self._terms["target_first"] = target_first
        start = state or AccountState(ledger=LedgerState(capital=capital, cash=capital))
        self._ledger = Ledger(start.ledger)
        self._sequence = start.sequence
        self._pending = list(start.pending)
        self._opened_at_us = start.opened_at_us
        self._last_opened_at_us = start.last_opened_at_us
        self._last_closes_at_us = start.last_closes_at_us
        self._kernel = kernel_state(start, self._terms)
        self._events = np.zeros(fill_records.EVENTS_PER_CANDLE, dtype=fill_records.EVENT)

    @property
    def state(self) -> AccountState:
        kernel = self._kernel[0]
        return AccountState(
            ledger=self._ledger.state,
            sequence=self._sequence,
            pending=tuple(self._pending),
            extreme=float(kernel["extreme"]),
            extreme_is_entry=bool(kernel["extreme_is_entry"]),
            opened_at_us=self._opened_at_us,
            last_opened_at_us=self._last_opened_at_us,
            last_closes_at_us=self._last_closes_at_us,
            exposed_candles=int(kernel["exposed"]),
            progress=progress_of(self._kernel),
        )

    @property
    def opened_at_us(self) -> int | None:
        """The candle whose open was run but not its close; None between candles."""
        return self._opened_at_us

    @property
    def ledger(self) -> Ledger:
        """The books, for reading."""
        return self._ledger

    @property
    def position_side(self) -> PositionSide | None:
        """None when flat."""
        if self._ledger.quantity == 0:
            return None
        return PositionSide.LONG if self._ledger.quantity > 0 else PositionSide.SHORT

    @property
    def pending(self) -> Sequence[Order]:
        """Orders that wait for the next candle's open."""
        return tuple(self._pending)

    def open_candle(self, opened_at_us: int, price: float, depth: OpenDepth | None = None) -> AccountStep:
        """A new candle's first trade: due orders are filled, and exits whose level the price jumped over.

        With `depth` market orders go through the recorded book, where there is one; see `bots.depth_fills`.
        """
        if self._opened_at_us is not None:
            raise RejectedError(f"the candle of {self._opened_at_us} us is still open")
        self._check_newer(opened_at_us)
        self._opened_at_us = opened_at_us
        terms = fill_records.terms_at(self._terms, opened_at_us)
        if depth is not None:
            opening = DepthOpen(self._kernel, terms, opened_at_us, price, depth, self._events)
            return self._booked(opening.run(), opening.uses)
        count = fills.open_candle(self._kernel, terms, opened_at_us, price, self._events)
        return self._booked(count)

    def close_candle(self, candle: Candle, finer: Ohlcv | None = None) -> AccountStep:
        """A candle has closed: exits inside it, the trailing stop, and the equity at its close.

        Runs the candle's open first where `open_candle` was not called for it. `finer` data (trades,
        candles of a smaller time frame) decide between stop and target where both lie inside this one.
        """
        if self._opened_at_us not in (None, candle.opened_at_us):
            raise RejectedError(
                f"the candle of {candle.opened_at_us} us closes while that of {self._opened_at_us} us is open"
            )
        self._check_newer(candle.opened_at_us)
        self._opened_at_us = None
        self._last_opened_at_us, self._last_closes_at_us = candle.opened_at_us, candle.closes_at_us
        count = fills.close_candle(
            self._kernel,
            fill_records.terms_at(self._terms, candle.opened_at_us),
            candle.opened_at_us,
            candle.closes_at_us,
            candle.open,
            candle.high,
            candle.low,
            fill_records.finer_columns(finer),
            self._events,
        )
        step = self._booked(count)
        return msgspec.structs.replace(step, equity=self._marked(candle.closes_at_us, candle.close))

    def is_undecided(self, candle: Candle) -> bool:
        """Whether the candle that closes holds a stop and a target, so that only finer data tell the first.

        Its open was called before.
        """
        protection = self._protection
        if self._ledger.quantity == 0 or not (protection.take_profit or protection.targets):
            return False
        if protection.stop_loss is None and protection.trailing_stop is None:
            return False
        count = fills.close_candle(
            fill_records.copy_of(self._kernel),
            fill_records.terms_at(self._terms, candle.opened_at_us),
            candle.opened_at_us,
            candle.closes_at_us,
            candle.open,
            candle.high,
            candle.low,
            fill_records.finer_columns(None),
            self._events,
        )
        return bool(self._events["ambiguous"][:count].any())

    def proposal(self, decision: Decision) -> Proposal | None:
        """The entry or add-on that `decide` would order for the next open, for the gate to judge."""
        side = self.position_side
        if side is None:
            if decision.long_entry is decision.short_entry:
                return None
        elif self._sizing.add_ons is None and not (decision.long_entry or decision.short_entry):
            return None
        kernel = fill_records.copy_of(self._kernel)
        terms = fill_records.terms_at(self._terms, decision.opened_at_us)
        at_us = self._last_closes_at_us or 0
        fills.decide(kernel, terms, at_us, decision.close, fill_records.said_of(decision), self._events)
        price = exact_price(decision.close)
        entry = int(kernel["pending_entry"][0])
        if entry:
            return Proposal(
                reason=OrderReason.ENTRY,
                side=PositionSide.LONG if entry == fill_records.LONG else PositionSide.SHORT,
                at_us=at_us,
                notional=self._sizing.value * self._ledger.equity(price),
                held=Decimal(0),
                waiting=self._waiting_to_grow,
            )
        progress = progress_of(kernel)
        if kernel["pending_add"][0] and side is not None and progress is not None:
            assert self._sizing.add_ons is not None
            wanted = exact_price(self._sizing.add_ons.size) * progress.entered * price
            return Proposal(
                reason=OrderReason.ADD_ON,
                side=side,
                at_us=at_us,
                notional=min(wanted, max(self._ledger.cash, Decimal(0))),
                held=self._ledger.quantity.copy_abs() * price,
                waiting=self._waiting_to_grow,
            )
        return None

    @property
    def _waiting_to_grow(self) -> int:
        return sum(order.reason in GROWING for order in self._pending)

    def decide(self, approved: Approved) -> AccountStep:
        """Turn the signals of the candle just closed into orders for the next open, as the gate lets them."""
        decision = approved.decision
        closes_at_us = self._last_closes_at_us
        if (
            self._opened_at_us is not None
            or closes_at_us is None
            or decision.opened_at_us != self._last_opened_at_us
        ):
            raise RejectedError(
                f"a decision on the candle of {decision.opened_at_us} us, "
                f"which is not the one just closed ({self._last_opened_at_us} us)"
            )
        if self._pending:
            raise RejectedError(f"the candle of {decision.opened_at_us} us was decided already")
        count = fills.decide(
            self._kernel,
            fill_records.terms_at(self._terms, decision.opened_at_us),
            closes_at_us,
            decision.close,
            fill_records.said_of(decision if approved.may_enter else _without_entries(decision)),
            self._events,
        )
        if not approved.may_add:
            self._kernel["pending_add"] = 0
        step = self._booked(count)
        side = self.position_side
        if self._kernel["pending_exit"][0] and side is not None:
            closing = Side.SELL if side is PositionSide.LONG else Side.BUY
            self._wait(closing, side, OrderReason.EXIT_SIGNAL, closes_at_us, self._ledger.quantity.copy_abs())
        entry = int(self._kernel["pending_entry"][0])
        if entry == fill_records.LONG:
            self._wait(Side.BUY, PositionSide.LONG, OrderReason.ENTRY, closes_at_us, None)
        elif entry == fill_records.SHORT:
            self._wait(Side.SELL, PositionSide.SHORT, OrderReason.ENTRY, closes_at_us, None)
        if self._kernel["pending_add"][0] and side is not None:
            opening = Side.BUY if side is PositionSide.LONG else Side.SELL
            self._wait(opening, side, OrderReason.ADD_ON, closes_at_us, None)
        return msgspec.structs.replace(step, orders=step.orders + tuple(self._pending))

    def fund(self, rate: FundingRate, price: float) -> AccountStep:
        """Book what the open position pays or gets at a funding time; `price` is the last close before it."""
        amount = funding_of(self._ledger.quantity, exact_price(price), rate.rate)
        if amount == 0:
            return AccountStep()
        booking = self._ledger.book_funding(amount)
        fill_records.set_cash(self._kernel, self._ledger.cash)
        return AccountStep(entries=(entry_of(booking, at_us=rate.funding_at_us),))

    def flatten(
        self,
        at_us: int,
        price: float,
        *,
        reason: OrderReason = OrderReason.FLATTEN,
        depth: OpenDepth | None = None,
    ) -> AccountStep:
        """Leave the market at once at `price`, worsened by slippage, and cancel what is pending.

        With `depth` through the recorded book, as in `open_candle`.
        """
        cancelled = tuple(
            msgspec.structs.replace(order, status=OrderStatus.CANCELLED) for order in self._pending
        )
        self._pending = []
        terms = fill_records.terms_at(self._terms, at_us)
        if depth is None:
            number = fill_records.REASON_NUMBERS[reason]
            step = self._booked(
                fills.close_position(self._kernel, terms, 0, at_us, price, number, self._events)
            )
        else:
            leaving = DepthOpen(self._kernel, terms, at_us, price, depth, self._events)
            step = self._booked(leaving.leave(reason), leaving.uses)
        return msgspec.structs.replace(
            step, orders=cancelled + step.orders, equity=self._marked(at_us, price)
        )

    def _check_newer(self, opened_at_us: int) -> None:
        if self._last_opened_at_us is not None and opened_at_us <= self._last_opened_at_us:
            raise RejectedError(
                f"the candle of {opened_at_us} us comes after that of {self._last_opened_at_us} us was closed"
            )

    def _wait(
        self, side: Side, position: PositionSide, reason: OrderReason, at_us: int, quantity: Decimal | None
    ) -> None:
        self._sequence += 1
        self._pending.append(
            Order(
                sequence=self._sequence,
                side=side,
                position_side=position,
                reason=reason,
                status=OrderStatus.PENDING,
                decided_at_us=at_us,
                quantity=quantity,
            )
        )

    def _marked(self, at_us: int, price: float) -> EquityPoint:
        mark = exact_price(price)
        return EquityPoint(at_us=at_us, price=mark, cash=self._ledger.cash, equity=self._ledger.equity(mark))

    def _booked(self, count: int, uses: Sequence[DepthUse | None] = ()) -> AccountStep:
        """Book what the kernel wrote and give every event its order; `uses` of the book stand beside them."""
        fill_records.raise_error(self._kernel)
        if count == 0:
            return _NOTHING
        orders, filled, trades, entries = [], [], [], []
        for number, event in enumerate(events_of(self._events[:count])):
            order = self._order_of(event)
            if event.refusal == fill_records.ACCEPTED:
                fill = fill_of(event, order.sequence, self._costs)
                if uses:
                    fill = msgspec.structs.replace(fill, depth=uses[number])
                booking = self._ledger.book(fill)
                filled.append(fill)
                entries.append(entry_of(booking, at_us=fill.filled_at_us, order_sequence=order.sequence))
                if booking.closed is not None:
                    trades.append(booking.closed)
            orders.append(order)
        if filled and fill_records.cash_of(self._kernel) != self._ledger.cash:
            raise AssertionError(
                f"the kernel counts {fill_records.cash_of(self._kernel)}, the books {self._ledger.cash}"
            )
        return AccountStep(
            orders=tuple(orders), fills=tuple(filled), trades=tuple(trades), entries=tuple(entries)
        )

    def _order_of(self, event: Event) -> Order:
        """The event's order as it stands now: the one that waited for it, or a new one."""
        refused = event.refusal != fill_records.ACCEPTED
        rules = rules_at(self._rules, self._later_rules, event.at_us)
        refusal = refusal_sentence(event, self._ledger.cash, rules) if refused else ""
        status = OrderStatus.REFUSED if refused else OrderStatus.FILLED
        if self._pending and self._pending[0].reason is event.reason:
            waited = self._pending.pop(0)
            return msgspec.structs.replace(waited, status=status, quantity=event.quantity, refusal=refusal)
        self._sequence += 1
        return Order(
            sequence=self._sequence,
            side=event.side,
            position_side=event.position_side,
            reason=event.reason,
            status=status,
            decided_at_us=event.at_us,
            quantity=event.quantity,
            refusal=refusal,
        )


def _without_entries(decision: Decision) -> Decision:
    return msgspec.structs.replace(decision, long_entry=False, short_entry=False)


def kernel_state(state: AccountState, terms: fill_records.Records) -> fill_records.Records:
    """The kernel's record of an account. Raises InvalidInput for amounts it cannot count."""
    kernel = fill_records.flat_state(state.ledger.cash)
    row = kernel[0]
    books = state.ledger
    if books.quantity != 0:
        quantity_m, quantity_d = fill_records.mantissa_of(books.quantity.copy_abs(), "account", "quantity")
        row["side"] = fill_records.LONG if books.quantity > 0 else fill_records.SHORT
        row["quantity_m"], row["quantity_d"] = quantity_m, quantity_d
        row["quantity"] = quantity_m / 10.0**quantity_d
        _put_progress(kernel, state.progress, books)
        row["extreme"] = state.extreme
        row["extreme_is_entry"] = state.extreme_is_entry
        fills.arm(kernel, terms)
    for order in state.pending:
        if order.reason is OrderReason.ADD_ON:
            row["pending_add"] = 1
        elif order.reason is not OrderReason.ENTRY:
            row["pending_exit"] = 1
        elif order.position_side is PositionSide.LONG:
            row["pending_entry"] = fill_records.LONG
        else:
            row["pending_entry"] = fill_records.SHORT
    row["opened"] = state.opened_at_us is not None
    row["exposed"] = state.exposed_candles
    return kernel


def progress_of(kernel: fill_records.Records) -> Progress | None:
    """How far the position in the kernel's record has come; None when flat."""
    row = kernel[0]
    if row["side"] == 0:
        return None
    decimals = int(row["quantity_d"])
    return Progress(
        levels_from=exact(int(row["entry_m"]), int(row["entry_d"])),
        started_at=exact(int(row["start_m"]), int(row["start_d"])),
        last_price=exact(int(row["last_m"]), int(row["last_d"])),
        entered=exact(int(row["first_m"]), decimals),
        bought=exact(int(row["bought_m"]), decimals),
        sold=exact(int(row["sold_m"]), decimals),
        targets_done=int(row["targets_done"]),
        adds_done=int(row["adds_done"]),
    )


def _put_progress(kernel: fill_records.Records, progress: Progress | None, books: LedgerState) -> None:
    row = kernel[0]
    if progress is None:
        quantity = books.quantity.copy_abs()
        progress = Progress(
            levels_from=books.entry_price,
            started_at=books.entry_price,
            last_price=books.entry_price,
            entered=quantity,
            bought=quantity,
            sold=Decimal(0),
            targets_done=0,
            adds_done=0,
        )
    for field, price in (
        ("entry", progress.levels_from),
        ("start", progress.started_at),
        ("last", progress.last_price),
    ):
        row[f"{field}_m"], row[f"{field}_d"] = fill_records.mantissa_of(price, "account", field)
    decimals = int(row["quantity_d"])
    for field, quantity in (
        ("first_m", progress.entered),
        ("bought_m", progress.bought),
        ("sold_m", progress.sold),
    ):
        row[field] = int(quantity.scaleb(decimals))
    row["targets_done"], row["adds_done"] = progress.targets_done, progress.adds_done
