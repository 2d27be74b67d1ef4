"""A basket: several symbols held at their weights with one capital. Closes in, orders and fills out. No I/O.

Only candles count that all its symbols have. It decides at their common close; its orders are filled at the
first prices of the next common candle, sells before buys. See docs/decisions/0012-order-ladders.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_DOWN, Context, Decimal
from enum import StrEnum

import msgspec

from bots.journal import JournalEntry, entry_of
from bots.ladders.basket_deals import Deal, purchase, sale
from bots.ladders.settings import RebalanceSettings
from bots.ladders.steps import quantity_for, refusal_of
from bots.ledger import EXACT, Ledger, LedgerState, cost_of, exact_price, fee_of, slippage_of
from bots.orders import ClosedTrade, Costs, Fill, Order, OrderReason, OrderStatus, PositionSide, TradingRules
from bots.recorded_depth import OpenDepth
from bots.risk.approval import Approved
from bots.risk.gate import Proposal
from data.errors import InvalidInput, Problem, RejectedError
from data.models import Side
from data.timeframes import floor_to

_ZERO, _ONE = Decimal(0), Decimal(1)
_SHARES = Context(prec=60, rounding=ROUND_DOWN)
_LEAST_MOVE = Decimal("1e-6")  # of the capital: less is left alone, whatever a venue would take


class Asks(StrEnum):
    """What asks for a rebalance. Stored with decisions: names stay."""

    NOTHING = ""
    BEGIN = "begin"  # nothing was bought yet, or what was decided was called off
    CALENDAR = "calendar"  # the first close of an interval
    THRESHOLD = "threshold"  # a part is too far from its weight


class BasketDue(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A market order for the next common open."""

    part: int  # number of the symbol
    order: Order
    notional: Decimal  # what a buy may spend, its fee included; 0 for a sell


class BasketState(msgspec.Struct, frozen=True, kw_only=True):
    """One capital and what it holds; all tuples are in the order of the weights."""

    cash: Decimal
    books: tuple[LedgerState, ...]  # of each symbol's own fills; capital 0
    sequence: int = 0  # of the newest order
    due: tuple[BasketDue, ...] = ()
    opened_at_us: int | None = None  # the candle whose open was run but not its close
    last_opened_at_us: int | None = None
    last_closes_at_us: int | None = None
    closes: tuple[Decimal, ...] = ()  # at the newest common close
    rebalanced_us: int | None = None  # the newest close that was decided on; None while nothing was bought
    rebalances: int = 0
    finished: str = ""  # why nothing more is done; empty while it works
    gap_loss: Decimal = _ZERO  # what the stop lost beyond its level
    most_paid_in: Decimal = _ZERO  # of the capital, at one moment
    most_orders: int = 0


class BasketStep(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened within one call; numbers tell the symbol."""

    orders: tuple[tuple[int, Order], ...] = ()
    fills: tuple[tuple[int, Fill], ...] = ()
    trades: tuple[tuple[int, ClosedTrade], ...] = ()
    entries: tuple[JournalEntry, ...] = ()  # of the books, one for each fill
    equity: Decimal | None = None  # at the close


class BasketAccount:
    """One account over several instruments, long only."""

    def __init__(
        self,
        settings: RebalanceSettings,
        *,
        capital: Decimal,
        costs: Costs,
        rules: Sequence[TradingRules],
        state: BasketState | None = None,
        shares_money: bool = False,
    ) -> None:
        """Start with `capital` in quote currency, or go on from `state`; `rules` in order of the weights.

        Where it `shares_money` with others, buys get no more than `reserved` has set aside for them and what
        the sales before them brought. Raises InvalidInput where a weight of the capital is too little for its
        instrument.
        """
        self._settings = settings
        self._symbols = tuple(settings.weights)
        self._weights = tuple(settings.weights.values())
        self._capital = capital
        self._costs = costs
        self._shares_money = shares_money
        self._rules = tuple(rules)
        self._least = EXACT.multiply(capital, _LEAST_MOVE)
        self._check_minima()
        if state is None:
            empty = LedgerState(capital=_ZERO, cash=_ZERO)
            state = BasketState(cash=capital, books=tuple(empty for _ in self._weights))
        self._cash = state.cash
        self._ledgers = [Ledger(books) for books in state.books]
        self._due = list(state.due)
        self._sequence = state.sequence
        self._carried = state
        self._orders: dict[int, tuple[int, Order]] = {}
        self._fills: list[tuple[int, Fill]] = []
        self._trades: list[tuple[int, ClosedTrade]] = []
        self._entries: list[JournalEntry] = []

    @property
    def state(self) -> BasketState:
        return msgspec.structs.replace(
            self._carried,
            cash=self._cash,
            books=tuple(ledger.state for ledger in self._ledgers),
            sequence=self._sequence,
            due=tuple(self._due),
        )

    @property
    def opened_at_us(self) -> int | None:
        """The candle whose open was run but not its close; None between candles."""
        return self._carried.opened_at_us

    @property
    def ledgers(self) -> Sequence[Ledger]:
        """The books of each symbol, for reading."""
        return self._ledgers

    @property
    def cash(self) -> Decimal:
        return self._cash

    @property
    def finished(self) -> str:
        return self._carried.finished

    @property
    def holds(self) -> bool:
        return any(ledger.quantity for ledger in self._ledgers)

    @property
    def due(self) -> Sequence[BasketDue]:
        """Orders that wait for the next common open."""
        return self._due

    @property
    def closes(self) -> Sequence[Decimal]:
        """Of each symbol at the newest common close; none before the first."""
        return self._carried.closes

    def books(self) -> LedgerState:
        """The books of all symbols as one: what the journal of all fills sums up to."""
        parts = [ledger.state for ledger in self._ledgers]

        def total(amounts: Iterable[Decimal]) -> Decimal:
            found = _ZERO
            for amount in amounts:
                found = EXACT.add(found, amount)
            return found

        return LedgerState(
            capital=self._capital,
            cash=self._cash,
            cost=total(cost_of(part) for part in parts),
            fees=total(part.fees for part in parts),
            realised=total(part.realised for part in parts),
            slippage=total(part.slippage for part in parts),
            turnover=total(part.turnover for part in parts),
        )

    def equity(self) -> Decimal:
        """Cash and all positions at the newest common closes."""
        return self._equity(self._carried.closes) if self._carried.closes else self._cash

    def in_use(self) -> list[Decimal]:
        """Of each symbol what its position has cost, and what its waiting buy may spend."""
        found = [cost_of(ledger.state) for ledger in self._ledgers]
        for waiting in self._due:
            found[waiting.part] = EXACT.add(found[waiting.part], waiting.notional)
        return found

    def reserved(self) -> Decimal:
        """The cost of all positions, and what waiting buys need beyond what the sales before them bring.

        The money of a sale that waits is nobody else's: it may still be called off.
        """
        return EXACT.add(cost_of(self.books()), self._needed())

    def needs(self, buys: Decimal) -> Decimal:
        """What buys of that much need beyond what the sales bring that `decide` would order now."""
        return self._beyond(buys, self._sales(self.moves()))

    def _needed(self) -> Decimal:
        sales = {
            waiting.part: waiting.order.quantity
            for waiting in self._due
            if waiting.order.quantity is not None
        }
        return self._beyond(sum((waiting.notional for waiting in self._due), _ZERO), sales)

    def _beyond(self, buys: Decimal, sales: Mapping[int, Decimal]) -> Decimal:
        if not buys:
            return _ZERO
        # Never more than its own cash: with less than they may spend, buys are made smaller.
        return max(_ZERO, min(self._cash, EXACT.subtract(buys, self._brought_by(sales))))

    def _brought_by(self, sales: Mapping[int, Decimal]) -> Decimal:
        """What they bring at the newest closes, slippage and fees paid."""
        value = _ZERO
        for part, quantity in sales.items():
            value = EXACT.add(value, EXACT.multiply(quantity, self._carried.closes[part]))
        return EXACT.multiply(value, self._kept)

    @property
    def _kept(self) -> Decimal:
        """Of a sale's value after slippage and fees."""
        return EXACT.multiply(
            _ONE - self._costs.slippage_bps.scaleb(-4), _ONE - self._costs.fee_bps.scaleb(-4)
        )

    def verify(self) -> None:
        """Raise AssertionError unless the books of all symbols make up the cash."""
        cash = self._capital
        for ledger in self._ledgers:
            ledger.verify()
            cash = EXACT.add(cash, ledger.cash)
        if cash != self._cash:
            raise AssertionError(f"the account has {self._cash}, its books {cash}")

    # Candles

    def open_candles(
        self, opened_at_us: int, prices: Sequence[float], depths: Sequence[OpenDepth] = ()
    ) -> BasketStep:
        """The first prices of the next common candle: orders that are due are filled.

        With `depths`, one of each symbol, through the recorded books, where there are some.
        """
        carried = self._carried
        last = carried.last_opened_at_us
        if carried.opened_at_us is not None or (last is not None and opened_at_us <= last):
            raise RejectedError(f"the candle of {opened_at_us} us does not follow the one before")
        self._carried = msgspec.structs.replace(carried, opened_at_us=opened_at_us)
        at = [exact_price(price) for price in prices]
        set_aside, before = self._needed() if self._shares_money else None, self._cash
        due, self._due = self._due, []
        for waiting in due:
            if not waiting.notional:
                self._sell(waiting, opened_at_us, at[waiting.part], depths)
        free = self._cash
        if set_aside is not None:
            free = min(free, EXACT.add(set_aside, EXACT.subtract(free, before)))
        self._buy([waiting for waiting in due if waiting.notional], opened_at_us, at, free, depths)
        self._note_use(len(due))
        if carried.finished:
            self._note_gap()
        return self._take_step()

    def close_candles(self, closes_at_us: int, closes: Sequence[float]) -> BasketStep:
        """All candles of one time have closed: the equity there, and whether the stop is reached."""
        carried = self._carried
        if carried.opened_at_us is None:
            raise RejectedError(f"the candles that close at {closes_at_us} us were not opened")
        marks = tuple(exact_price(close) for close in closes)
        self._carried = msgspec.structs.replace(
            carried,
            opened_at_us=None,
            last_opened_at_us=carried.opened_at_us,
            last_closes_at_us=closes_at_us,
            closes=marks,
        )
        self._ask_the_stop(marks)
        return self._take_step(self._equity(marks))

    def _ask_the_stop(self, marks: Sequence[Decimal]) -> None:
        stop = self._stop_value()
        if stop is None or not self.holds:
            return
        if not self._carried.finished and self._sold_value(marks) <= stop:
            why = f"sold at these closes it is worth {stop} or less: the stop was reached"
            self._carried = msgspec.structs.replace(self._carried, finished=why)
        if self._carried.finished and not self._due:
            # Also where its sales were called off before they were made.
            for part, ledger in enumerate(self._ledgers):
                if ledger.quantity:
                    self._order(part, Side.SELL, OrderReason.STOP_LOSS, quantity=ledger.quantity)

    def asks(self) -> Asks:
        """What at the newest close asks for a rebalance."""
        carried, settings = self._carried, self._settings
        if carried.finished or carried.last_closes_at_us is None:
            return Asks.NOTHING
        if carried.rebalanced_us is None:
            return Asks.BEGIN
        every, now_us = settings.every, carried.last_closes_at_us
        if every is not None and floor_to(now_us, every) > floor_to(carried.rebalanced_us, every):
            return Asks.CALENDAR
        if settings.threshold is None:
            return Asks.NOTHING
        equity = self._equity(carried.closes)
        allowed = EXACT.multiply(settings.threshold, equity)
        parts = zip(self._weights, self._values(), strict=True)
        is_far = any(
            EXACT.subtract(value, EXACT.multiply(weight, equity)).copy_abs() >= allowed
            for weight, value in parts
        )
        return Asks.THRESHOLD if is_far else Asks.NOTHING

    def moves(self) -> list[Decimal]:
        """Quote currency that `decide` would buy of each symbol now, below 0 for a sale."""
        return self._moves() if self.asks() else [_ZERO] * len(self._weights)

    def proposals(self) -> list[tuple[int, Proposal]]:
        """What `decide` would newly buy, by number of the symbol, for the gate to judge."""
        values = self._values() if self._carried.closes else []
        buys = [(part, amount) for part, amount in enumerate(self.moves()) if amount > 0]
        return [
            (
                part,
                Proposal(
                    reason=OrderReason.ADD_ON if self._ledgers[part].quantity else OrderReason.ENTRY,
                    side=PositionSide.LONG,
                    at_us=self._carried.last_closes_at_us or 0,
                    notional=amount,
                    held=values[part],
                    waiting=number,
                ),
            )
            for number, (part, amount) in enumerate(buys)
        ]

    def decide(self, approved: Approved) -> BasketStep:
        """At a common close: orders that bring each symbol back to its weight; buys only where they may."""
        carried = self._carried
        if carried.opened_at_us is not None or approved.decision.opened_at_us != carried.last_opened_at_us:
            raise RejectedError(
                f"a decision on the candle of {approved.decision.opened_at_us} us, not the one closed"
            )
        if self.asks():
            self._rebalance(may_buy=approved.may_enter)
        return self._take_step()

    def abandon_open(self) -> None:
        """Forget that candles were opened whose closes will not come; what they filled stays."""
        self._carried = msgspec.structs.replace(self._carried, opened_at_us=None)

    def withdraw(self, why: str, *, exits: bool) -> BasketStep:
        """Call off the buys that wait, and sells too if `exits`; the next close asks for them again."""
        gone = [waiting for waiting in self._due if waiting.notional or exits]
        if gone:
            self._call_off(gone, why)
            self._carried = msgspec.structs.replace(self._carried, rebalanced_us=None)
        return self._take_step()

    def flatten(
        self,
        at_us: int,
        prices: Sequence[float | None],
        *,
        reason: OrderReason,
        depths: Sequence[OpenDepth] = (),
    ) -> BasketStep:
        """Sell at once at `prices`, worsened by slippage, what has one; orders that wait are called off.

        With `depths` as in `open_candles`.
        """
        self._call_off(list(self._due), "the basket was sold")
        for part, (ledger, price) in enumerate(zip(self._ledgers, prices, strict=True)):
            if ledger.quantity and price is not None:
                self._order(part, Side.SELL, reason, quantity=ledger.quantity, at_us=at_us)
                self._sell(self._due.pop(), at_us, exact_price(price), depths)
        marks = [
            close if price is None else exact_price(price)
            for price, close in zip(prices, self._carried.closes or [_ZERO] * len(prices), strict=True)
        ]
        return self._take_step(self._equity(marks))

    # Orders

    def _call_off(self, gone: Sequence[BasketDue], why: str) -> None:
        for waiting in gone:
            cancelled = msgspec.structs.replace(waiting.order, status=OrderStatus.CANCELLED, refusal=why)
            self._orders[cancelled.sequence] = (waiting.part, cancelled)
        self._due = [waiting for waiting in self._due if waiting not in gone]

    def _rebalance(self, *, may_buy: bool) -> None:
        moves = self._moves()
        sales = self._sales(moves)
        for part, amount in enumerate(moves):
            if amount < 0:
                self._order(part, Side.SELL, OrderReason.EXIT_SIGNAL, quantity=sales[part])
            elif amount > 0 and may_buy:
                reason = OrderReason.ADD_ON if self._ledgers[part].quantity else OrderReason.ENTRY
                self._order(part, Side.BUY, reason, notional=amount)
        if may_buy or not any(amount > 0 for amount in moves):
            # Where buys were kept back the weights are not restored: the next close tries again.
            self._carried = msgspec.structs.replace(
                self._carried,
                rebalanced_us=self._carried.last_closes_at_us,
                rebalances=self._carried.rebalances + any(moves),
            )

    def _sales(self, moves: Sequence[Decimal]) -> dict[int, Decimal]:
        """How much is sold, by number of the symbol."""
        closes = self._carried.closes
        return {
            part: min(
                self._ledgers[part].quantity, quantity_for(amount.copy_abs(), closes[part], self._rules[part])
            )
            for part, amount in enumerate(moves)
            if amount < 0
        }

    def _moves(self) -> list[Decimal]:
        """Quote currency to buy of each symbol, below 0 to sell; 0 where the venue would not take it."""
        closes = self._carried.closes
        equity = self._equity(closes)
        moves = []
        for weight, value, close, rules in zip(
            self._weights, self._values(), closes, self._rules, strict=True
        ):
            amount = EXACT.subtract(EXACT.multiply(weight, equity), value)
            quantity = quantity_for(amount.copy_abs(), close, rules)
            too_little = amount.copy_abs() < self._least or bool(refusal_of(quantity, close, rules))
            moves.append(_ZERO if too_little else amount)
        return moves

    def _order(
        self,
        part: int,
        side: Side,
        reason: OrderReason,
        *,
        quantity: Decimal | None = None,
        notional: Decimal = _ZERO,
        at_us: int | None = None,
    ) -> None:
        self._sequence += 1
        order = Order(
            sequence=self._sequence,
            side=side,
            position_side=PositionSide.LONG,
            reason=reason,
            status=OrderStatus.PENDING,
            decided_at_us=(self._carried.last_closes_at_us or 0) if at_us is None else at_us,
            quantity=quantity,
            symbol=self._symbols[part],
        )
        self._due.append(BasketDue(part=part, order=order, notional=notional))
        self._orders[order.sequence] = (part, order)

    def _sell(self, due: BasketDue, at_us: int, price: Decimal, depths: Sequence[OpenDepth]) -> None:
        quantity = due.order.quantity
        assert quantity is not None
        depth = depths[due.part] if depths else None
        self._book(due, sale(quantity, price, depth, rules=self._rules[due.part], costs=self._costs), at_us)

    def _buy(
        self,
        due: Sequence[BasketDue],
        at_us: int,
        prices: Sequence[Decimal],
        free: Decimal,
        depths: Sequence[OpenDepth],
    ) -> None:
        """Each gets what it may spend, or all the same share of it where what is `free` does not go round."""
        asked = sum((waiting.notional for waiting in due), _ZERO)
        for waiting in due:
            part = waiting.part
            amount = waiting.notional
            if free < asked:
                amount = _SHARES.divide(_SHARES.multiply(amount, max(free, _ZERO)), asked)
            depth = depths[part] if depths else None
            deal = purchase(amount, prices[part], depth, rules=self._rules[part], costs=self._costs)
            refusal = refusal_of(deal.quantity, deal.price, self._rules[part])
            if not refusal and amount < self._least:
                refusal = f"only {free} is free for {asked}"
            if refusal:
                refused = msgspec.structs.replace(waiting.order, status=OrderStatus.REFUSED, refusal=refusal)
                self._orders[refused.sequence] = (part, refused)
            else:
                self._book(waiting, deal, at_us)

    def _book(self, due: BasketDue, deal: Deal, at_us: int) -> None:
        order = msgspec.structs.replace(due.order, status=OrderStatus.FILLED, quantity=deal.quantity)
        fill = Fill(
            order_sequence=order.sequence,
            side=order.side,
            position_side=order.position_side,
            reason=order.reason,
            price=deal.price,
            quantity=deal.quantity,
            fee=fee_of(deal.price, deal.quantity, self._costs, maker=False),
            slippage=slippage_of(order.side, deal.price, deal.reference, deal.quantity),
            filled_at_us=at_us,
            symbol=order.symbol,
            depth=deal.use,
        )
        ledger = self._ledgers[due.part]
        before = ledger.cash
        booking = ledger.book(fill)
        self._cash = EXACT.add(self._cash, EXACT.subtract(ledger.cash, before))
        self._orders[order.sequence] = (due.part, order)
        self._fills.append((due.part, fill))
        self._entries.append(entry_of(booking, at_us=at_us, order_sequence=order.sequence))
        if booking.closed is not None:
            closed = msgspec.structs.replace(booking.closed, symbol=order.symbol)
            self._trades.append((due.part, closed))

    # Figures

    def _values(self) -> list[Decimal]:
        closes = self._carried.closes
        return [
            EXACT.multiply(ledger.quantity, close)
            for ledger, close in zip(self._ledgers, closes, strict=True)
        ]

    def _equity(self, marks: Sequence[Decimal]) -> Decimal:
        equity = self._cash
        for ledger, mark in zip(self._ledgers, marks, strict=True):
            equity = EXACT.add(equity, EXACT.multiply(ledger.quantity, mark))
        return equity

    def _stop_value(self) -> Decimal | None:
        loss = self._settings.stop_loss
        return None if loss is None else EXACT.multiply(self._capital, _ONE - loss)

    def _sold_value(self, marks: Sequence[Decimal]) -> Decimal:
        """Cash once everything is sold at these prices, slippage and fees paid."""
        value = EXACT.subtract(self._equity(marks), self._cash)
        return EXACT.add(self._cash, EXACT.multiply(value, self._kept))

    def _note_use(self, orders: int) -> None:
        carried = self._carried
        self._carried = msgspec.structs.replace(
            carried,
            most_paid_in=max(carried.most_paid_in, EXACT.subtract(self._capital, self._cash)),
            most_orders=max(carried.most_orders, orders),
        )

    def _note_gap(self) -> None:
        """What the sale at the stop brought less than its level."""
        stop = self._stop_value()
        if stop is not None and not self.holds and self._cash < stop:
            lost = EXACT.subtract(stop, self._cash)
            self._carried = msgspec.structs.replace(self._carried, gap_loss=lost)

    def _check_minima(self) -> None:
        for symbol, weight, rules in zip(self._settings.weights, self._weights, self._rules, strict=True):
            amount = weight * self._capital
            if amount < rules.min_notional:
                expected = f"is {amount} of the capital, below the minimum notional {rules.min_notional}"
                raise InvalidInput(
                    Problem(
                        where="settings",
                        field=f"settings.weights.{symbol}",
                        value=str(weight),
                        expected=expected,
                    )
                )

    def _take_step(self, equity: Decimal | None = None) -> BasketStep:
        step = BasketStep(
            orders=tuple(self._orders.values()),
            fills=tuple(self._fills),
            trades=tuple(self._trades),
            entries=tuple(self._entries),
            equity=equity,
        )
        self._orders, self._fills, self._trades, self._entries = {}, [], [], []
        return step
