"""Prices on the tick and quantities on the lot, exactly."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Context, Decimal

from bots.ledger import EXACT
from bots.orders import TradingRules

_ONE = Decimal(1)
_BPS = Decimal("0.0001")
_DOWN = Context(prec=60, rounding=ROUND_DOWN)
_LOTS = Context(prec=15, rounding=ROUND_DOWN)
_PRICES_DOWN = Context(prec=17, rounding=ROUND_FLOOR)
_PRICES_UP = Context(prec=17, rounding=ROUND_CEILING)


def price_down(price: Decimal, rules: TradingRules) -> Decimal:
    """The nearest price at or below; 17 significant digits without a tick."""
    if rules.tick_size is None:
        return _PRICES_DOWN.plus(price)
    return EXACT.multiply(_on_step(price, rules.tick_size), rules.tick_size)


def price_up(price: Decimal, rules: TradingRules) -> Decimal:
    """The nearest price at or above; 17 significant digits without a tick."""
    if rules.tick_size is None:
        return _PRICES_UP.plus(price)
    steps = _on_step(price, rules.tick_size)
    below = EXACT.multiply(steps, rules.tick_size)
    return below if below == price else EXACT.add(below, rules.tick_size)


def quantity_for(notional: Decimal, price: Decimal, rules: TradingRules) -> Decimal:
    """How much `notional` buys at `price`, rounded down to the lot (15 significant digits without one)."""
    if price <= 0:
        return Decimal(0)
    quantity = _DOWN.divide(notional, price)
    if rules.lot_size is None:
        return _LOTS.plus(quantity)
    return EXACT.multiply(_on_step(quantity, rules.lot_size), rules.lot_size)


def part_of(quantity: Decimal, rules: TradingRules) -> Decimal:
    """The part of a quantity that whole lots make up."""
    if rules.lot_size is None:
        return _LOTS.plus(quantity)
    return EXACT.multiply(_on_step(quantity, rules.lot_size), rules.lot_size)


def worsened(price: Decimal, *, buys: bool, slippage_bps: Decimal, rules: TradingRules) -> Decimal:
    """A market price after slippage, on the tick against us."""
    slip = EXACT.multiply(slippage_bps, _BPS)
    moved = EXACT.multiply(price, _ONE + slip if buys else _ONE - slip)
    if buys:
        return price_up(moved, rules)
    return price_down(moved, rules)


def refusal_of(quantity: Decimal, price: Decimal, rules: TradingRules) -> str:
    """Why the venue would not take this order, as a sentence; empty where it would."""
    if quantity <= 0:
        return "the amount does not pay for one lot"
    if quantity < rules.min_quantity:
        return f"the quantity {quantity} is below the minimum quantity {rules.min_quantity}"
    if EXACT.multiply(quantity, price) < rules.min_notional:
        return f"{quantity} at {price} is below the minimum notional {rules.min_notional}"
    return ""


def _on_step(value: Decimal, step: Decimal) -> Decimal:
    """How many whole steps lie in a value of at least 0."""
    return (value / step).to_integral_value(ROUND_FLOOR) if value % step else value / step
