"""A grid: it buys at every price of a range and sells what each price bought one price higher."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from bots.ladders.plan import Want, Wish
from bots.ladders.settings import GridSettings, Spacing
from bots.ladders.state import GridState, Rung
from bots.ladders.steps import price_down, quantity_for, refusal_of
from bots.ledger import EXACT, LedgerState
from bots.orders import OrderReason, PositionSide, TradingRules
from data.errors import InvalidInput, Problem
from data.models import Side
from strategies.base import Decision

_ZERO = Decimal(0)


class GridProfit(msgspec.Struct, frozen=True, kw_only=True):
    """Where a grid's gain is: `realised + inventory - fees` is its equity less its capital, exactly."""

    realised: Decimal  # of what rungs sold over what they paid, before fees
    inventory: Decimal  # of what rungs hold over what they paid, at the mark
    fees: Decimal


class Grid:
    """One grid on one instrument."""

    side = PositionSide.LONG

    def __init__(self, settings: GridSettings, rules: TradingRules) -> None:
        """Raises InvalidInput where tick, lot or minima leave no such grid."""
        self._settings = settings
        self._rules = rules
        self._ratio = (settings.upper / settings.lower) ** (1 / Decimal(settings.levels - 1))
        self._levels = grid_levels(settings, rules)
        if len(set(self._levels)) < len(self._levels) or self._levels[0] <= 0:
            value = f"{settings.levels} prices from {settings.lower} to {settings.upper}"
            expected = f"must lie further apart than the tick {rules.tick_size}"
            raise InvalidInput(
                Problem(where="settings", field="settings.levels", value=value, expected=expected)
            )
        for price in self._levels[:-1]:
            if refusal := refusal_of(quantity_for(settings.order_notional, price, rules), price, rules):
                raise InvalidInput(
                    Problem(
                        where="settings",
                        field="settings.order_notional",
                        value=str(settings.order_notional),
                        expected=f"is too little: {refusal}",
                    )
                )

    def start(self) -> GridState:
        return GridState(
            levels=self._levels,
            rungs=tuple(self._rung(price) for price in self._levels[:-1]),
            stop=self._settings.stop_price,
        )

    def stop(self, plan: GridState) -> Decimal | None:
        return plan.stop if plan.begun else None

    def wanted(self, plan: GridState, books: LedgerState) -> Sequence[Want]:
        if not plan.begun:
            return ()
        wants = []
        for tag, rung in enumerate(plan.rungs):
            if rung.is_full:
                price = plan.levels[tag + 1]
                wants.append(Want(tag=tag, side=Side.SELL, price=price, quantity=rung.held, opens=False))
            else:
                missing = EXACT.subtract(rung.quantity, rung.held)
                wants.append(Want(tag=tag, side=Side.BUY, price=rung.price, quantity=missing, opens=True))
        return wants

    def limit_filled(
        self, plan: GridState, want: Want, quantity: Decimal, books: LedgerState, pnl: Decimal
    ) -> GridState:
        rung = plan.rungs[want.tag]
        realised = plan.realised
        if want.opens:
            held = EXACT.add(rung.held, quantity)
            rung = msgspec.structs.replace(
                rung, held=held, cost_price=want.price, is_full=held == rung.quantity
            )
        else:
            gain = EXACT.multiply(EXACT.subtract(want.price, rung.cost_price), quantity)
            realised = EXACT.add(realised, gain)
            held = EXACT.subtract(rung.held, quantity)
            rung = self._rung(rung.price) if held == 0 else msgspec.structs.replace(rung, held=held)
        rungs = (*plan.rungs[: want.tag], rung, *plan.rungs[want.tag + 1 :])
        return msgspec.structs.replace(plan, rungs=rungs, realised=realised)

    def market_quantity(
        self, plan: GridState, wish: Wish, price: Decimal, books: LedgerState
    ) -> Decimal | str:
        total = _ZERO
        for rung in plan.rungs:
            if rung.price >= price:
                total = EXACT.add(total, self._start_quantity(rung, price))
        return total or f"no rung lies above {price}"

    def market_filled(self, plan: GridState, price: Decimal, quantity: Decimal) -> GridState:
        rungs = tuple(
            rung
            if rung.price < price
            else Rung(
                price=rung.price,
                quantity=rung.quantity,
                held=self._start_quantity(rung, price),
                cost_price=price,
                is_full=True,
            )
            for rung in plan.rungs
        )
        return msgspec.structs.replace(plan, rungs=rungs, begun=True)

    def entry_missed(self, plan: GridState) -> GridState:
        return msgspec.structs.replace(plan, begun=True)

    def left(self, plan: GridState, price: Decimal, pnl: Decimal) -> GridState:
        realised = plan.realised
        for rung in plan.rungs:
            gain = EXACT.multiply(EXACT.subtract(price, rung.cost_price), rung.held)
            realised = EXACT.add(realised, gain)
        rungs = tuple(self._rung(rung.price) for rung in plan.rungs)
        return msgspec.structs.replace(plan, rungs=rungs, realised=realised)

    def decide(
        self, plan: GridState, close: Decimal, decision: Decision, books: LedgerState, *, may_grow: bool
    ) -> tuple[GridState, Wish | None]:
        if not plan.begun:
            if not may_grow:
                return plan, None
            above = sum(rung.price >= close for rung in plan.rungs)
            if self._settings.buy_at_start and above:
                notional = EXACT.multiply(self._settings.order_notional, Decimal(above))
                return plan, Wish(reason=OrderReason.ENTRY, notional=notional)
            return msgspec.structs.replace(plan, begun=True), None
        while self._settings.trailing_up and books.quantity == 0 and close > self._next_level(plan):
            plan = self._shifted(plan)
        return plan, None

    def finished(self, plan: GridState, books: LedgerState, *, stopped: bool) -> str:
        return f"the grid's stop at {plan.stop} was reached" if stopped else ""

    def profit(self, plan: GridState, books: LedgerState, mark: Decimal) -> GridProfit:
        """The gain so far in its parts, the inventory at `mark`."""
        inventory = _ZERO
        for rung in plan.rungs:
            gain = EXACT.multiply(EXACT.subtract(mark, rung.cost_price), rung.held)
            inventory = EXACT.add(inventory, gain)
        return GridProfit(realised=plan.realised, inventory=inventory, fees=books.fees)

    def _rung(self, price: Decimal) -> Rung:
        return Rung(price=price, quantity=quantity_for(self._settings.order_notional, price, self._rules))

    def _start_quantity(self, rung: Rung, price: Decimal) -> Decimal:
        return quantity_for(self._settings.order_notional, max(rung.price, price), self._rules)

    def _next_level(self, plan: GridState) -> Decimal:
        top, below = plan.levels[-1], plan.levels[-2]
        if self._settings.spacing is Spacing.ARITHMETIC:
            return EXACT.add(top, EXACT.subtract(top, below))
        return price_down(top * self._ratio, self._rules)

    def _shifted(self, plan: GridState) -> GridState:
        """One rung is taken off below and put on above; the stop moves by as much as the lowest price."""
        levels = (*plan.levels[1:], self._next_level(plan))
        stop = plan.stop
        if stop is not None:
            stop = EXACT.add(stop, EXACT.subtract(levels[0], plan.levels[0]))
        rungs = (*plan.rungs[1:], self._rung(levels[-2]))
        return msgspec.structs.replace(plan, levels=levels, rungs=rungs, stop=stop, shifts=plan.shifts + 1)


def grid_levels(settings: GridSettings, rules: TradingRules) -> tuple[Decimal, ...]:
    """The grid's prices, ascending, each on the tick at or below its place."""
    last = settings.levels - 1
    if settings.spacing is Spacing.ARITHMETIC:
        width = settings.upper - settings.lower
        places = [settings.lower + width * number / last for number in range(last)]
    else:
        ratio = settings.upper / settings.lower
        places = [settings.lower * ratio ** (Decimal(number) / last) for number in range(last)]
    return tuple(price_down(place, rules) for place in (*places, settings.upper))
