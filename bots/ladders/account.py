"""The account of a bot with several orders: candles, trades and decisions in, orders and fills out. No I/O.

Call `open_candle` at a candle's first trade (or leave it out), `close_candle` when it closes and `decide`
with what the gate let through. The same steps from the same state give the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from bots.funding import funding_of
from bots.journal import JournalEntry, entry_of
from bots.ladders.limit_fills import Traded, through
from bots.ladders.plan import Plan, Want, Wish
from bots.ladders.state import Due, LadderState, Resting
from bots.ladders.steps import worsened
from bots.ladders.worst_case import WorstCase
from bots.ledger import EXACT, Ledger, LedgerState, exact_price, fee_of, slippage_of
from bots.orders import (
    ClosedTrade,
    Costs,
    Fill,
    LimitOrder,
    Order,
    OrderReason,
    OrderStatus,
    PositionSide,
    TradingRules,
)
from bots.paper_account import AccountStep, EquityPoint
from bots.risk.approval import Approved
from bots.risk.gate import Proposal
from data.errors import RejectedError
from data.models import Candle, FundingRate, Ohlcv, Side, Trade
from strategies.base import Decision

_ZERO, _ONE = Decimal(0), Decimal(1)
Inside = Sequence[Trade] | Ohlcv


class _Step:
    """What has happened within one call."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.fills: list[Fill] = []
        self.trades: list[ClosedTrade] = []
        self.entries: list[JournalEntry] = []

    def result(self, equity: EquityPoint | None = None) -> AccountStep:
        return AccountStep(
            orders=tuple(self.orders.values()),
            fills=tuple(self.fills),
            trades=tuple(self.trades),
            equity=equity,
            entries=tuple(self.entries),
        )


class LadderAccount:
    """One account with one ladder on one instrument."""

    def __init__(
        self,
        *,
        capital: Decimal,
        costs: Costs,
        rules: TradingRules,
        plan: Plan[Any],
        limits: WorstCase,
        state: LadderState | None = None,
    ) -> None:
        """Start with `capital` in quote currency, or go on from `state`."""
        self._costs = costs
        self._rules = rules
        self._rules_of_plan = plan
        self._limits = limits
        if state is None:
            state = LadderState(ledger=LedgerState(capital=capital, cash=capital), plan=plan.start())
        self._ledger = Ledger(state.ledger)
        self._plan = state.plan
        self._resting = list(state.resting)
        self._due = list(state.due)
        self._carried = state
        self._sequence = state.sequence
        self._last = state.last_price
        self._growing = state.growing
        self._finished = state.finished
        self._step = _Step()
        long = plan.side is PositionSide.LONG
        self._opening = Side.BUY if long else Side.SELL
        self._closing = Side.SELL if long else Side.BUY

    @property
    def state(self) -> LadderState:
        return msgspec.structs.replace(
            self._carried,
            ledger=self._ledger.state,
            plan=self._plan,
            sequence=self._sequence,
            resting=tuple(self._resting),
            due=tuple(self._due),
            last_price=self._last,
            growing=self._growing,
            finished=self._finished,
        )

    @property
    def opened_at_us(self) -> int | None:
        """The candle whose open was run but not its close; None between candles."""
        return self._carried.opened_at_us

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
        """Market orders that wait for the next candle's open."""
        return tuple(due.order for due in self._due)

    @property
    def resting(self) -> Sequence[LimitOrder]:
        """Limit orders in the market, in the order in which they were placed."""
        return tuple(resting.order for resting in self._resting)

    @property
    def finished(self) -> str:
        """Why the ladder has ended; empty while it works."""
        return self._finished

    @property
    def stop_price(self) -> Decimal | None:
        """Where everything is closed, before slippage."""
        return self._rules_of_plan.stop(self._plan)

    @property
    def committed(self) -> Decimal:
        """What is bound now: the position at cost with its fees, and orders that would enlarge it."""
        return self._committed()

    def may_act_inside(self, low: float, high: float) -> bool:
        """Whether prices between `low` and `high` fill an order that rests now, or reach the stop."""
        lowest, highest = exact_price(low), exact_price(high)
        return self._stop_is_reached(lowest, highest) or bool(through(self._resting, lowest, highest))

    # Candles

    def open_candle(self, opened_at_us: int, price: float) -> AccountStep:
        """A new candle's first trade: market orders that are due are filled, the one that closes first."""
        carried = self._carried
        if carried.opened_at_us is not None:
            raise RejectedError(f"the candle of {carried.opened_at_us} us is still open")
        self._check_newer(opened_at_us)
        self._carried = msgspec.structs.replace(carried, opened_at_us=opened_at_us)
        at = exact_price(price)
        self._last = at
        due, self._due = self._due, []
        for waiting in due:
            if waiting.notional:
                self._open_at_market(waiting, opened_at_us, at)
            elif self._ledger.quantity:
                self._close_at_market(opened_at_us, at, waiting.order.reason, order=waiting.order)
        self._reconcile(opened_at_us)
        if self._ledger.quantity:
            exposed = self._carried.exposed_candles + 1
            self._carried = msgspec.structs.replace(self._carried, exposed_candles=exposed)
        return self._take_step()

    def close_candle(self, candle: Candle, inside: Inside | None = None) -> AccountStep:
        """A candle has closed: limit orders and the stop inside it, and the equity at its close.

        `inside` are all trades of the candle, or candles of a smaller time frame that cover it; without it
        the candle itself tells what it can (see docs/decisions/0012-order-ladders.md).
        """
        opened = self._carried.opened_at_us
        if opened is None:
            self._keep(self.open_candle(candle.opened_at_us, candle.open))
        elif opened != candle.opened_at_us:
            raise RejectedError(
                f"the candle of {candle.opened_at_us} us closes while that of {opened} us is open"
            )
        if inside is None:
            self._bar(candle.opened_at_us, candle.open, candle.high, candle.low, candle.close, candle.volume)
        elif isinstance(inside, Ohlcv):
            columns = (inside.opened_at_us, inside.open, inside.high, inside.low, inside.close, inside.volume)
            for row in zip(*(column.tolist() for column in columns), strict=True):
                self._bar(*row)
        else:
            for trade in inside:
                self._trade(trade)
        close = exact_price(candle.close)
        self._last = close
        self._carried = msgspec.structs.replace(
            self._carried,
            opened_at_us=None,
            last_opened_at_us=candle.opened_at_us,
            last_closes_at_us=candle.closes_at_us,
        )
        return self._take_step(self._marked(candle.closes_at_us, close))

    def fund(self, rate: FundingRate, price: float) -> AccountStep:
        """Book what the open position pays or gets at a funding time; see `PaperAccount.fund`."""
        amount = funding_of(self._ledger.quantity, exact_price(price), rate.rate)
        if amount == 0:
            return AccountStep()
        return AccountStep(entries=(entry_of(self._ledger.book_funding(amount), at_us=rate.funding_at_us),))

    def proposal(self, decision: Decision) -> Proposal | None:
        """What `decide` would newly order to enlarge the position, for the gate to judge; None for nothing.

        `notional` is the largest of these orders, `held` what the position is worth with all others filled.
        """
        if self._finished:
            return None
        close = exact_price(decision.close)
        plan, wish = self._rules_of_plan.decide(
            self._plan, close, decision, self._ledger.state, may_grow=True
        )
        amounts = []
        is_new = False
        found = {(one.tag, one.order.side): one for one in self._resting}
        if wish is not None and wish.notional:
            amounts.append(wish.notional)
            is_new = True
        for want in self._rules_of_plan.wanted(plan, self._ledger.state):
            if want.opens and _may_rest(want, close):
                amounts.append(EXACT.multiply(want.price, want.quantity))
                resting = found.get((want.tag, want.side))
                is_new |= (
                    resting is None
                    or not _serves(resting, want)
                    or resting.order.sequence > self._carried.asked_until
                )
        if not is_new:
            return None
        largest = max(amounts)
        others = EXACT.subtract(sum(amounts, _ZERO), largest)
        return Proposal(
            reason=OrderReason.ENTRY if self._ledger.quantity == 0 else OrderReason.ADD_ON,
            side=self._rules_of_plan.side,
            at_us=self._carried.last_closes_at_us or 0,
            notional=largest,
            held=EXACT.add(EXACT.multiply(self._ledger.quantity.copy_abs(), close), others),
            waiting=len(amounts) - 1,
        )

    def decide(self, approved: Approved) -> AccountStep:
        """At a candle's close: orders for the next open, and limit orders as far as the gate lets them."""
        decision = approved.decision
        carried = self._carried
        if carried.opened_at_us is not None or decision.opened_at_us != carried.last_opened_at_us:
            raise RejectedError(f"a decision on the candle of {decision.opened_at_us} us, not the one closed")
        at_us = carried.last_closes_at_us or 0
        if self._finished:
            return self._take_step()
        self._growing = approved.may_enter
        self._plan, wish = self._rules_of_plan.decide(
            self._plan,
            exact_price(decision.close),
            decision,
            self._ledger.state,
            may_grow=approved.may_enter,
        )
        if wish is not None:
            self._wait(wish, at_us)
        self._reconcile(at_us)
        self._carried = msgspec.structs.replace(self._carried, asked_until=self._sequence)
        return self._take_step()

    # What people and limits ask

    def withdraw(self, why: str, *, exits: bool) -> AccountStep:
        """Take orders that enlarge the position out of the market; with `exits` all others too."""
        self._growing = False
        self._cancel_due([due for due in self._due if exits or due.notional], why)
        for resting in list(self._resting):
            if exits or resting.order.side is self._opening:
                self._cancel(resting, why)
        return self._take_step()

    def flatten(self, at_us: int, price: float, *, reason: OrderReason = OrderReason.FLATTEN) -> AccountStep:
        """Leave the market at once at `price`, worsened by slippage, and withdraw every order."""
        self._cancel_due(self._due, "the position was closed")
        for resting in list(self._resting):
            self._cancel(resting, "the position was closed")
        mark = exact_price(price)
        self._last = mark
        self._growing = False
        if self._ledger.quantity:
            self._close_at_market(at_us, mark, reason)
        return self._take_step(self._marked(at_us, mark))

    # Inside a candle

    def _bar(self, at_us: int, open_: float, high: float, low: float, close: float, volume: float) -> None:
        """What a candle alone proves: orders that enlarge first, then the stop, then exits."""
        opens, highest, lowest, closes = (exact_price(price) for price in (open_, high, low, close))
        traded = Traded(exact_price(volume), self._rules)
        before = self._sequence
        self._fill_through(lowest, highest, at_us, traded, self._opening, until=before)
        if self._stop_is_reached(lowest, highest):
            exits = through([one for one in self._resting if self._closes(one)], lowest, highest)
            held = self._ledger.quantity != 0
            self._run_stop(at_us, opens, ambiguous=bool(exits) and held)
        self._fill_through(lowest, highest, at_us, traded, self._closing, until=before)
        # The close came after whatever placed an order inside this candle: beyond its price it was passed.
        while self._fill_through(closes, closes, at_us, traded, None, until=None):
            continue
        self._last = closes
        self._reconcile(at_us)

    def _trade(self, trade: Trade) -> None:
        price = exact_price(trade.price)
        traded = Traded(exact_price(trade.quantity), self._rules)
        before = self._sequence
        at_us = trade.traded_at_us
        self._fill_through(price, price, at_us, traded, self._opening, until=before)
        if self._stop_is_reached(price, price):
            self._run_stop(at_us, price, ambiguous=False)
        self._fill_through(price, price, at_us, traded, self._closing, until=before)
        self._last = price

    def _fill_through(
        self, low: Decimal, high: Decimal, at_us: int, traded: Traded, side: Side | None, *, until: int | None
    ) -> bool:
        """Fill orders that prices went through, of one side, placed up to the sequence `until`."""
        some = False
        eligible = [
            one
            for one in self._resting
            if (side is None or one.order.side is side) and (until is None or one.order.sequence <= until)
        ]
        for resting in through(eligible, low, high):
            if resting not in self._resting:
                continue  # a fill before it has changed what is wanted
            quantity = traded.take(resting.order.quantity or _ZERO)
            if quantity > 0:
                self._fill_resting(resting, quantity, at_us)
                some = True
        return some

    def _fill_resting(self, resting: Resting, quantity: Decimal, at_us: int) -> None:
        order = resting.order
        opens = order.side is self._opening
        left = EXACT.subtract(order.quantity or _ZERO, quantity)
        place = self._resting.index(resting)
        self._resting.pop(place)
        self._say(msgspec.structs.replace(order, status=OrderStatus.FILLED, quantity=quantity))
        if left > 0:
            # What is left keeps its place in the queue, under a number of its own.
            self._sequence += 1
            rest = msgspec.structs.replace(order, sequence=self._sequence, quantity=left)
            self._resting.insert(place, msgspec.structs.replace(resting, order=rest))
            self._say(rest)
        pnl = self._book(order, quantity, resting.price, resting.price, at_us, maker=True)
        want = Want(tag=resting.tag, side=order.side, price=resting.price, quantity=quantity, opens=opens)
        self._plan = self._rules_of_plan.limit_filled(
            self._plan, want, quantity, self._ledger.state, pnl or _ZERO
        )
        self._last = resting.price
        self._after_fill(at_us, stopped=False)

    def _stop_is_reached(self, low: Decimal, high: Decimal) -> bool:
        stop = self.stop_price
        if stop is None or self._finished:
            return False
        return low <= stop if self._opening is Side.BUY else high >= stop

    def _run_stop(self, at_us: int, first: Decimal, *, ambiguous: bool) -> None:
        """Close everything at the stop, or at `first` where that lies beyond it already."""
        stop = self.stop_price
        assert stop is not None
        beyond = first < stop if self._opening is Side.BUY else first > stop
        for resting in list(self._resting):
            self._cancel(resting, "the stop was reached")
        self._cancel_due(self._due, "the stop was reached")
        if self._ledger.quantity:
            self._close_at_market(
                at_us, first if beyond else stop, OrderReason.STOP_LOSS, ambiguous=ambiguous, stopped=True
            )
        else:
            self._after_fill(at_us, stopped=True)

    # Orders and fills

    def _open_at_market(self, due: Due, at_us: int, price: Decimal) -> None:
        buys = self._opening is Side.BUY
        paid = worsened(price, buys=buys, slippage_bps=self._costs.slippage_bps, rules=self._rules)
        books = self._ledger.state
        wish = Wish(reason=due.order.reason, notional=due.notional)
        quantity = self._rules_of_plan.market_quantity(self._plan, wish, paid, books)
        if not isinstance(quantity, str):
            needs = EXACT.multiply(quantity, paid) + fee_of(paid, quantity, self._costs, maker=False)
            if self._committed() + needs > self._limits.capital:
                quantity = f"it would bind more than the {self._limits.capital} that were promised"
            elif self._free_cash() < needs:
                quantity = f"{self._free_cash()} is free, it needs {needs}"
        if isinstance(quantity, str):
            self._say(msgspec.structs.replace(due.order, status=OrderStatus.REFUSED, refusal=quantity))
            self._plan = self._rules_of_plan.entry_missed(self._plan)
            return
        self._say(msgspec.structs.replace(due.order, status=OrderStatus.FILLED, quantity=quantity))
        self._book(due.order, quantity, paid, price, at_us, maker=False)
        self._plan = self._rules_of_plan.market_filled(self._plan, paid, quantity)
        self._note_use()

    def _close_at_market(
        self,
        at_us: int,
        price: Decimal,
        reason: OrderReason,
        *,
        order: Order | None = None,
        ambiguous: bool = False,
        stopped: bool = False,
    ) -> None:
        buys = self._closing is Side.BUY
        got = worsened(price, buys=buys, slippage_bps=self._costs.slippage_bps, rules=self._rules)
        quantity = self._ledger.quantity.copy_abs()
        self._note_gap(got, quantity)
        if order is None:
            self._sequence += 1
            order = Order(
                sequence=self._sequence,
                side=self._closing,
                position_side=self._rules_of_plan.side,
                reason=reason,
                status=OrderStatus.FILLED,
                decided_at_us=at_us,
            )
        self._say(msgspec.structs.replace(order, status=OrderStatus.FILLED, quantity=quantity))
        pnl = self._book(order, quantity, got, price, at_us, maker=False, ambiguous=ambiguous)
        self._plan = self._rules_of_plan.left(self._plan, got, pnl or _ZERO)
        self._after_fill(at_us, stopped=stopped)

    def _book(
        self,
        order: Order,
        quantity: Decimal,
        price: Decimal,
        reference: Decimal,
        at_us: int,
        *,
        maker: bool,
        ambiguous: bool = False,
    ) -> Decimal | None:
        """Enter a fill into the books; what it closed, net of fees."""
        reason = order.reason
        if order.side is self._opening:
            reason = OrderReason.ADD_ON if self._ledger.quantity else OrderReason.ENTRY
        fill = Fill(
            order_sequence=order.sequence,
            side=order.side,
            position_side=order.position_side,
            reason=reason,
            price=price,
            quantity=quantity,
            fee=fee_of(price, quantity, self._costs, maker=maker),
            slippage=slippage_of(order.side, price, reference, quantity),
            filled_at_us=at_us,
            ambiguous=ambiguous,
        )
        booking = self._ledger.book(fill)
        self._step.fills.append(fill)
        self._step.entries.append(entry_of(booking, at_us=at_us, order_sequence=order.sequence))
        if booking.closed is None:
            return None
        self._step.trades.append(booking.closed)
        return booking.closed.pnl

    def _after_fill(self, at_us: int, *, stopped: bool) -> None:
        self._finished = self._finished or self._rules_of_plan.finished(
            self._plan, self._ledger.state, stopped=stopped
        )
        self._note_use()
        self._reconcile(at_us)

    def _reconcile(self, at_us: int) -> None:
        """Make the orders in the market those that the plan wants."""
        wants = () if self._finished else self._rules_of_plan.wanted(self._plan, self._ledger.state)
        found = {(one.tag, one.order.side): one for one in self._resting}
        missing, kept = [], set()
        for want in wants:
            if want.opens and not self._growing:
                continue
            resting = found.get((want.tag, want.side))
            if resting is not None and _serves(resting, want):
                kept.add(resting.order.sequence)
            else:
                missing.append(want)
        for resting in [one for one in self._resting if one.order.sequence not in kept]:
            self._cancel(resting, self._finished or "another order takes its place")
        for want in missing:
            if not want.opens or (self._last is not None and _may_rest(want, self._last)):
                self._place(want, at_us)
        if self._finished:
            self._cancel_due(self._due, self._finished)
        self._note_use()

    def _place(self, want: Want, at_us: int) -> None:
        if len(self._resting) + len(self._due) >= self._limits.orders:
            return
        if want.opens:
            needs = EXACT.multiply(want.price, want.quantity)
            needs = EXACT.add(needs, fee_of(want.price, want.quantity, self._costs, maker=True))
            if self._committed() + needs > self._limits.capital:
                return
        self._sequence += 1
        reason = OrderReason.TAKE_PROFIT
        if want.opens:
            reason = OrderReason.ADD_ON if self._ledger.quantity else OrderReason.ENTRY
        order = LimitOrder(
            sequence=self._sequence,
            side=want.side,
            position_side=self._rules_of_plan.side,
            reason=reason,
            status=OrderStatus.PENDING,
            decided_at_us=at_us,
            quantity=want.quantity,
            limit_price=want.price,
        )
        self._resting.append(Resting(order=order, tag=want.tag))
        self._say(order)

    def _wait(self, wish: Wish, at_us: int) -> None:
        opens = wish.notional > 0
        self._sequence += 1
        order = Order(
            sequence=self._sequence,
            side=self._opening if opens else self._closing,
            position_side=self._rules_of_plan.side,
            reason=wish.reason,
            status=OrderStatus.PENDING,
            decided_at_us=at_us,
            quantity=None if opens else self._ledger.quantity.copy_abs(),
        )
        self._due.append(Due(order=order, notional=wish.notional))
        self._say(order)

    def _cancel(self, resting: Resting, why: str) -> None:
        self._resting.remove(resting)
        self._say(msgspec.structs.replace(resting.order, status=OrderStatus.CANCELLED, refusal=why))

    def _cancel_due(self, gone: Sequence[Due], why: str) -> None:
        for due in list(gone):
            self._due.remove(due)
            self._say(msgspec.structs.replace(due.order, status=OrderStatus.CANCELLED, refusal=why))

    def _closes(self, resting: Resting) -> bool:
        return resting.order.side is self._closing

    # Figures

    def _committed(self) -> Decimal:
        """What is bound now: the position at cost with its fees, and orders that would enlarge it."""
        books = self._ledger.state
        cost = EXACT.multiply(books.quantity, books.entry_price) if books.cost is None else books.cost
        bound = EXACT.add(cost.copy_abs(), books.entry_fee)
        for resting in self._resting:
            if resting.order.side is self._opening:
                quantity = resting.order.quantity or _ZERO
                bound = EXACT.add(bound, EXACT.multiply(resting.price, quantity))
                bound = EXACT.add(bound, fee_of(resting.price, quantity, self._costs, maker=True))
        return bound

    def _free_cash(self) -> Decimal:
        """Cash that no short position stands for."""
        books = self._ledger.state
        if books.quantity >= 0:
            return books.cash
        cost = EXACT.multiply(books.quantity, books.entry_price) if books.cost is None else books.cost
        return EXACT.subtract(books.cash, EXACT.multiply(Decimal(2), cost.copy_abs()))

    def _note_use(self) -> None:
        committed, waiting = self._committed(), len(self._resting) + len(self._due)
        carried = self._carried
        if committed > carried.most_committed or waiting > carried.most_orders:
            self._carried = msgspec.structs.replace(
                carried,
                most_committed=max(committed, carried.most_committed),
                most_orders=max(waiting, carried.most_orders),
            )

    def _note_gap(self, price: Decimal, quantity: Decimal) -> None:
        """What a market exit loses beyond the stop with its slippage."""
        stop = self.stop_price
        if stop is None:
            return
        slip = self._costs.slippage_bps.scaleb(-4)
        if self._closing is Side.SELL:
            beyond = EXACT.subtract(EXACT.multiply(stop, _ONE - slip), price)
        else:
            beyond = EXACT.subtract(price, EXACT.multiply(stop, _ONE + slip))
            # Buying back for more costs more of a fee as well.
            beyond = EXACT.multiply(beyond, _ONE + self._costs.fee_bps.scaleb(-4))
        if beyond > 0:
            lost = EXACT.add(self._carried.gap_loss, EXACT.multiply(beyond, quantity))
            self._carried = msgspec.structs.replace(self._carried, gap_loss=lost)

    def _check_newer(self, opened_at_us: int) -> None:
        last = self._carried.last_opened_at_us
        if last is not None and opened_at_us <= last:
            raise RejectedError(f"the candle of {opened_at_us} us comes after that of {last} us was closed")

    def _marked(self, at_us: int, mark: Decimal) -> EquityPoint:
        return EquityPoint(at_us=at_us, price=mark, cash=self._ledger.cash, equity=self._ledger.equity(mark))

    def _say(self, order: Order) -> None:
        self._step.orders[order.sequence] = order

    def _keep(self, done: AccountStep) -> None:
        """Take back what an inner call handed out: it is part of this one."""
        self._step.orders.update((order.sequence, order) for order in done.orders)
        self._step.fills.extend(done.fills)
        self._step.trades.extend(done.trades)
        self._step.entries.extend(done.entries)

    def _take_step(self, equity: EquityPoint | None = None) -> AccountStep:
        done, self._step = self._step, _Step()
        return done.result(equity)


def _serves(resting: Resting, want: Want) -> bool:
    order = resting.order
    return order.limit_price == want.price and order.quantity == want.quantity


def _may_rest(want: Want, last: Decimal) -> bool:
    """An order that enlarges the position is not sent where it would take instead of wait."""
    return last > want.price if want.side is Side.BUY else last < want.price
