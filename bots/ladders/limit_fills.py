"""When a resting limit order is filled, and how much of it: by trades where they are known, else by candles.

A trade fills an order only when its price goes *through* the order's, never when it merely touches it: the
queue before us at our own price is not known. Orders of one's own share what was traded, the better price
first, at the same price the older order first, and together never take more than was traded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from bots.ladders.state import Resting
from bots.ladders.steps import part_of
from bots.ledger import EXACT
from bots.orders import TradingRules
from data.models import Side


class Traded:
    """What was traded at one moment, or inside one candle, and is not taken yet. Base currency."""

    def __init__(self, quantity: Decimal, rules: TradingRules) -> None:
        self._left = quantity
        self._rules = rules

    def take(self, wanted: Decimal) -> Decimal:
        """As much of `wanted` as is left, in whole lots."""
        taken = wanted if wanted <= self._left else part_of(self._left, self._rules)
        self._left = EXACT.subtract(self._left, taken)
        return taken


def goes_through(order: Resting, low: Decimal, high: Decimal) -> bool:
    """Whether prices between `low` and `high` go through the order's."""
    return low < order.price if order.order.side is Side.BUY else high > order.price


def in_turn(resting: Iterable[Resting]) -> Iterator[Resting]:
    """Orders by price, then time: buys from the highest, sells from the lowest."""
    return iter(sorted(resting, key=_rank))


def _rank(resting: Resting) -> tuple[Decimal, int]:
    price = resting.price
    return (-price if resting.order.side is Side.BUY else price), resting.order.sequence


def through(resting: Sequence[Resting], low: Decimal, high: Decimal) -> list[Resting]:
    """Those that prices between `low` and `high` go through, in their turn."""
    return list(in_turn(one for one in resting if goes_through(one, low, high)))
