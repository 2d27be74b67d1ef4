"""At what a basket's orders are filled at an open: its first price with slippage, or the recorded book."""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal

import msgspec

from bots.book_walk import BookWalk, step_of
from bots.ladders.steps import quantity_for, worsened
from bots.ledger import EXACT
from bots.orders import Costs, DepthUse, TradingRules
from bots.recorded_depth import OpenDepth
from data.models import Side

_ONE = Decimal(1)
_UP = Context(prec=60, rounding=ROUND_UP)


class Deal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an order gets, before anybody asks whether the venue takes it."""

    quantity: Decimal
    price: Decimal
    reference: Decimal  # before slippage, depth and rounding
    use: DepthUse | None = None


def sale(
    quantity: Decimal, price: Decimal, depth: OpenDepth | None, *, rules: TradingRules, costs: Costs
) -> Deal:
    """Sell that much at an open whose first price is `price`."""
    walk = _walk(depth, Side.SELL, rules, costs)
    if isinstance(walk, BookWalk):
        got = walk.price(quantity)
        return Deal(quantity=quantity, price=got, reference=walk.touch, use=walk.take(quantity))
    got = worsened(price, buys=False, slippage_bps=costs.slippage_bps, rules=rules)
    return Deal(quantity=quantity, price=got, reference=price, use=walk)


def purchase(
    amount: Decimal, price: Decimal, depth: OpenDepth | None, *, rules: TradingRules, costs: Costs
) -> Deal:
    """Buy as much as `amount` pays for, fee included; the quantity is 0 where it does not pay for a lot."""
    with_fee = _ONE + costs.fee_bps.scaleb(-4)
    walk = _walk(depth, Side.BUY, rules, costs)
    if not isinstance(walk, BookWalk):
        paid = worsened(price, buys=True, slippage_bps=costs.slippage_bps, rules=rules)
        quantity = quantity_for(amount, EXACT.multiply(paid, with_fee), rules)
        return Deal(quantity=quantity, price=paid, reference=price, use=walk)

    def spends(quantity: Decimal, average: Decimal) -> Decimal:
        return EXACT.multiply(EXACT.multiply(quantity, average), with_fee)

    at_most = _UP.divide(max(amount, Decimal(0)), EXACT.multiply(walk.lowest, with_fee))
    step = step_of(rules.lot_size, at_most)
    quantity = walk.most(amount, spends, step=step, at_most=at_most)
    paid = walk.price(quantity or step)
    use = walk.take(quantity) if quantity else None
    return Deal(quantity=quantity, price=paid, reference=walk.touch, use=use)


def _walk(
    depth: OpenDepth | None, side: Side, rules: TradingRules, costs: Costs
) -> BookWalk | DepthUse | None:
    if depth is None:
        return None
    return depth.walk(side, tick=rules.tick_size, slippage=costs.slippage_bps.scaleb(-4))
