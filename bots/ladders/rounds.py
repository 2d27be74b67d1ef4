"""Rounds: a position that is entered once, added to, and left as a whole. DCA bots and pyramids are such."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from bots.ladders.plan import Want, Wish
from bots.ladders.settings import IMMEDIATELY, DcaSettings, PyramidSettings, towards
from bots.ladders.state import EXIT_TAG, RoundState, Rung
from bots.ladders.steps import price_down, price_up, quantity_for, refusal_of
from bots.ladders.worst_case import loss_when_stopped, pyramid_stages, round_capital, safety_orders
from bots.ledger import EXACT, LedgerState
from bots.orders import Costs, OrderReason, PositionSide, TradingRules
from data.models import Side
from strategies.base import Decision

_ONE = Decimal(1)


class _Rounds:
    """What DCA bots and pyramids do alike."""

    def __init__(self, settings: DcaSettings | PyramidSettings, rules: TradingRules, costs: Costs) -> None:
        self._common = settings
        self._rules = rules
        self._costs = costs
        self._towards = towards(settings.side)
        self._opening = Side.BUY if settings.side is PositionSide.LONG else Side.SELL
        self._closing = Side.SELL if settings.side is PositionSide.LONG else Side.BUY
        self._needed = round_capital(settings, costs)

    @property
    def side(self) -> PositionSide:
        return self._common.side

    def start(self) -> RoundState:
        return RoundState()

    def stop(self, plan: RoundState) -> Decimal | None:
        return plan.stop

    def entry_missed(self, plan: RoundState) -> RoundState:
        return plan

    def left(self, plan: RoundState, price: Decimal, pnl: Decimal) -> RoundState:
        return self._after_closing(plan, pnl, is_flat=True)

    def finished(self, plan: RoundState, books: LedgerState, *, stopped: bool) -> str:
        if plan.base_price is not None:
            return ""
        if plan.losing_rounds >= self._common.losing_rounds:
            return f"{plan.losing_rounds} of {plan.rounds} rounds lost, which is as many as may"
        if plan.rounds and books.cash < self._needed:
            return f"{books.cash} is left, and a whole round may need {self._needed}"
        return ""

    def _wants_entry(self, decision: Decision) -> bool:
        if self._common.entry == IMMEDIATELY:
            return True
        long = self._common.side is PositionSide.LONG
        return decision.long_entry if long else decision.short_entry

    def _after_closing(self, plan: RoundState, pnl: Decimal, *, is_flat: bool) -> RoundState:
        gain = EXACT.add(plan.gain, pnl)
        if not is_flat:
            return msgspec.structs.replace(plan, gain=gain)
        return RoundState(losing_rounds=plan.losing_rounds + (gain < 0), rounds=plan.rounds + 1)

    def _beyond(self, price: Decimal, fraction: Decimal) -> Decimal:
        """A price further along the way that is a gain; a negative fraction lies against it."""
        return EXACT.multiply(price, _ONE + self._towards * fraction)

    def _passive(self, price: Decimal, *, opens: bool) -> Decimal:
        """On the tick, no nearer to the market."""
        buys = (self._opening if opens else self._closing) is Side.BUY
        return price_down(price, self._rules) if buys else price_up(price, self._rules)

    def _exit(self, take_profit: Decimal | None, books: LedgerState) -> Sequence[Want]:
        quantity = books.quantity.copy_abs()
        if take_profit is None or quantity == 0:
            return ()
        price = self._passive(self._beyond(books.entry_price, take_profit), opens=False)
        if refusal_of(quantity, price, self._rules):
            return ()  # what is left is too small to be sold by itself
        return (Want(tag=EXIT_TAG, side=self._closing, price=price, quantity=quantity, opens=False),)


class Dca(_Rounds):
    """Safety orders against the entry, one exit for all at a distance from the average price."""

    def __init__(self, settings: DcaSettings, rules: TradingRules, costs: Costs) -> None:
        super().__init__(settings, rules, costs)
        self._settings = settings

    def wanted(self, plan: RoundState, books: LedgerState) -> Sequence[Want]:
        if plan.base_price is None:
            return ()
        wants = []
        for tag, rung in enumerate(plan.rungs):
            missing = EXACT.subtract(rung.quantity, rung.held)
            if missing > 0:
                wants.append(
                    Want(tag=tag, side=self._opening, price=rung.price, quantity=missing, opens=True)
                )
        return (*wants, *self._exit(self._settings.take_profit, books))

    def limit_filled(
        self, plan: RoundState, want: Want, quantity: Decimal, books: LedgerState, pnl: Decimal
    ) -> RoundState:
        if not want.opens:
            return self._after_closing(plan, pnl, is_flat=books.quantity == 0)
        rung = plan.rungs[want.tag]
        held = EXACT.add(rung.held, quantity)
        rung = msgspec.structs.replace(rung, held=held, cost_price=want.price, is_full=held == rung.quantity)
        rungs = (*plan.rungs[: want.tag], rung, *plan.rungs[want.tag + 1 :])
        return msgspec.structs.replace(plan, rungs=rungs, newest_price=want.price)

    def market_quantity(
        self, plan: RoundState, wish: Wish, price: Decimal, books: LedgerState
    ) -> Decimal | str:
        quantity = quantity_for(wish.notional, price, self._rules)
        return refusal_of(quantity, price, self._rules) or quantity

    def market_filled(self, plan: RoundState, price: Decimal, quantity: Decimal) -> RoundState:
        rungs = []
        for distance, notional in safety_orders(self._settings):
            level = self._passive(self._beyond(price, -distance), opens=True)
            wanted = quantity_for(notional, level, self._rules)
            if not refusal_of(wanted, level, self._rules):
                rungs.append(Rung(price=level, quantity=wanted))
        loss = self._settings.stop_loss
        return msgspec.structs.replace(
            plan,
            base_price=price,
            newest_price=price,
            rungs=tuple(rungs),
            stop=None if loss is None else self._beyond(price, -loss),
        )

    def decide(
        self, plan: RoundState, close: Decimal, decision: Decision, books: LedgerState, *, may_grow: bool
    ) -> tuple[RoundState, Wish | None]:
        if plan.base_price is None and may_grow and self._wants_entry(decision):
            return plan, Wish(reason=OrderReason.ENTRY, notional=self._settings.base_notional)
        return plan, None


class Pyramid(_Rounds):
    """Add-ons on the way up (down, when short), under a stop that each of them takes along."""

    def __init__(self, settings: PyramidSettings, rules: TradingRules, costs: Costs) -> None:
        super().__init__(settings, rules, costs)
        self._settings = settings
        self._most_loss = max(stage.loss for stage in pyramid_stages(settings, costs))

    def wanted(self, plan: RoundState, books: LedgerState) -> Sequence[Want]:
        return () if plan.base_price is None else self._exit(self._settings.take_profit, books)

    def limit_filled(
        self, plan: RoundState, want: Want, quantity: Decimal, books: LedgerState, pnl: Decimal
    ) -> RoundState:
        return self._after_closing(plan, pnl, is_flat=books.quantity == 0)

    def market_quantity(
        self, plan: RoundState, wish: Wish, price: Decimal, books: LedgerState
    ) -> Decimal | str:
        quantity = quantity_for(wish.notional, price, self._rules)
        if refusal := refusal_of(quantity, price, self._rules):
            return refusal
        cost = EXACT.add(_cost(books).copy_abs(), EXACT.multiply(quantity, price))
        held = EXACT.add(books.quantity.copy_abs(), quantity)
        fee = EXACT.multiply(EXACT.multiply(quantity, price), self._costs.fee_bps.scaleb(-4))
        stop = self._stop_after(plan, price)
        loss = loss_when_stopped(
            cost=cost,
            quantity=held,
            stop=stop,
            paid=EXACT.subtract(EXACT.add(books.entry_fee, fee), plan.gain),
            side=self._settings.side,
            costs=self._costs,
        )
        if loss > self._most_loss:
            return f"stopped at {stop} the round would lose {loss:.8f}, above its limit {self._most_loss:.8f}"
        return quantity

    def market_filled(self, plan: RoundState, price: Decimal, quantity: Decimal) -> RoundState:
        return msgspec.structs.replace(
            plan,
            base_price=price if plan.base_price is None else plan.base_price,
            newest_price=price,
            adds=0 if plan.base_price is None else plan.adds + 1,
            stop=self._stop_after(plan, price),
        )

    def decide(
        self, plan: RoundState, close: Decimal, decision: Decision, books: LedgerState, *, may_grow: bool
    ) -> tuple[RoundState, Wish | None]:
        settings = self._settings
        long = settings.side is PositionSide.LONG
        if plan.base_price is None:
            if may_grow and self._wants_entry(decision):
                return plan, Wish(reason=OrderReason.ENTRY, notional=settings.first_notional)
            return plan, None
        if settings.entry != IMMEDIATELY and (decision.long_exit if long else decision.short_exit):
            return plan, Wish(reason=OrderReason.EXIT_SIGNAL)
        asked = decision.long_add if long else decision.short_add
        reached = self._beyond(plan.newest_price, settings.every)
        far_enough = close >= reached if long else close <= reached
        if may_grow and plan.adds < settings.add_ons and far_enough and (asked or not settings.add_rule):
            notional = EXACT.multiply(settings.add_notional, settings.volume_scale**plan.adds)
            return plan, Wish(reason=OrderReason.ADD_ON, notional=notional)
        return plan, None

    def _stop_after(self, plan: RoundState, price: Decimal) -> Decimal:
        stop = self._beyond(price, -self._settings.stop_loss)
        if plan.stop is None:
            return stop
        return max(stop, plan.stop) if self._settings.side is PositionSide.LONG else min(stop, plan.stop)


def _cost(books: LedgerState) -> Decimal:
    return EXACT.multiply(books.quantity, books.entry_price) if books.cost is None else books.cost
