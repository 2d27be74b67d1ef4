"""Why an entry is refused, in words a person can check with a pocket calculator.

The kernel in `bots.fills` decides by the same rule on whole numbers.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal

from bots.orders import TradingRules

_WIDE = Context(prec=120, rounding=ROUND_DOWN)


def refusal_of(quantity: Decimal, price: Decimal, cash: Decimal, rules: TradingRules) -> str:
    """Why an entry of this quantity at this price is refused, as a sentence; empty where it is not."""
    if cash <= 0:
        return f"there is no cash to trade with: {_plain(cash)}"
    if price <= 0:
        return f"the price rounds to {_plain(price)}"
    if quantity <= 0:
        step = "" if rules.lot_size is None else f" of {_plain(rules.lot_size)}"
        return f"{_plain(cash)} does not pay for one lot{step} at {_plain(price)}"
    if quantity < rules.min_quantity:
        return f"the quantity {_plain(quantity)} is below the minimum quantity {_plain(rules.min_quantity)}"
    notional = _WIDE.multiply(quantity, price)
    if notional < rules.min_notional:
        return (
            f"{_plain(quantity)} at {_plain(price)} is worth {_plain(notional)}, "
            f"below the minimum notional {_plain(rules.min_notional)}"
        )
    return ""


def refused_part_of(quantity: Decimal, price: Decimal, rules: TradingRules) -> str:
    """Why a target's part of a position cannot be sold by itself, as a sentence."""
    smallest = f"the minimum quantity {_plain(rules.min_quantity)}"
    if quantity > 0 and quantity >= rules.min_quantity:
        smallest = f"the minimum notional {_plain(rules.min_notional)}"
    elif rules.lot_size is not None and rules.min_quantity < rules.lot_size:
        smallest = f"one lot of {_plain(rules.lot_size)}"
    return f"the target's part of {_plain(quantity)} at {_plain(price)} is below {smallest}"


def _plain(value: Decimal) -> str:
    text = f"{value:.12f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
    return text or "0"
