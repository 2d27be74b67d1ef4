"""What a market order pays as it goes through the levels of a recorded order book; exact decimals, no I/O.

The rules stand in docs/decisions/0014-fills-by-recorded-depth.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

import msgspec

from bots.ledger import EXACT, exact_price
from bots.orders import DepthUse
from data.models import BookLevel, Side

_ONE = Decimal(1)
_PRICE_DIGITS: Final = 15  # of a price that no tick rounds: a double gives them back
_QUANTITY_DIGITS: Final = 15
_MOST_DECIMALS: Final = 20  # half of those that cash is counted in
_DOWN = Context(prec=_PRICE_DIGITS, rounding=ROUND_FLOOR)
_UP = Context(prec=_PRICE_DIGITS, rounding=ROUND_CEILING)


class BookWalk:
    """One side of a snapshot, the asks for buys, for the orders of one moment: what one takes is gone."""

    def __init__(
        self,
        snapshot_us: int,
        levels: Sequence[BookLevel],
        side: Side,
        *,
        tick: Decimal | None,
        slippage: Decimal,
    ) -> None:
        """`levels` has the best first, at least one with a quantity.

        What they do not hold is filled behind the last of them, at its price worsened by `slippage`, a
        fraction. Prices are rounded to the `tick` against the order, to 15 digits without one.
        """
        self._snapshot_us = snapshot_us
        self._digest = hashlib.sha256(msgspec.json.encode(levels)).hexdigest()[:16]
        self._buys = side is Side.BUY
        self._left = [
            (exact_price(one.price), exact_price(one.quantity)) for one in levels if one.quantity > 0
        ]
        self._tick = tick
        self.touch = self._left[0][0]
        self.behind = EXACT.multiply(self._left[-1][0], _ONE + slippage if self._buys else _ONE - slippage)

    def price(self, quantity: Decimal) -> Decimal:
        """The quantity-weighted average of what a quantity above 0 takes, rounded against the order."""
        taken, beyond = self._through(quantity)
        cost = EXACT.multiply(beyond, self.behind)
        for price, part in taken:
            cost = EXACT.add(cost, EXACT.multiply(price, part))
        if self._tick is None:
            return (_UP if self._buys else _DOWN).divide(cost, quantity)
        return self._on_tick(cost, EXACT.multiply(quantity, self._tick), self._tick)

    @property
    def lowest(self) -> Decimal:
        """No quantity gets a price below this one; 0 for sells where the tick is larger than the price."""
        if self._buys:
            return self.touch
        return (
            _DOWN.plus(self.behind)
            if self._tick is None
            else self._on_tick(self.behind, self._tick, self._tick)
        )

    def _on_tick(self, cost: Decimal, of_a_tick: Decimal, tick: Decimal) -> Decimal:
        steps, rest = EXACT.divmod(cost, of_a_tick)
        return EXACT.multiply(EXACT.add(steps, _ONE) if rest and self._buys else steps, tick)

    def most(
        self,
        budget: Decimal,
        spends: Callable[[Decimal, Decimal], Decimal],
        *,
        step: Decimal,
        at_most: Decimal,
    ) -> Decimal:
        """The largest number of whole `step`s up to `at_most` that the budget pays for; 0 if not even one.

        `spends` tells what a quantity at an average price ties up.
        """
        # Whole numbers: `fits` steps are known to fit, `too_many` are not, or were not asked for.
        fits, too_many = 0, int(EXACT.divide_int(at_most, step)) + 1
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            quantity = EXACT.multiply(step, Decimal(middle))
            if spends(quantity, self.price(quantity)) <= budget:
                fits = middle
            else:
                too_many = middle
        return EXACT.multiply(step, Decimal(fits))

    def take(self, quantity: Decimal) -> DepthUse:
        """Take a quantity out of the levels: the next order finds what is left."""
        taken, beyond = self._through(quantity)
        left = self._left[len(taken) :]
        if taken and (rest := EXACT.subtract(self._left[len(taken) - 1][1], taken[-1][1])):
            left.insert(0, (taken[-1][0], rest))
        self._left = left
        return DepthUse(
            snapshot_us=self._snapshot_us,
            digest=self._digest,
            levels=tuple(taken),
            beyond=beyond,
            behind=self.behind if beyond else Decimal(0),
        )

    def _through(self, quantity: Decimal) -> tuple[list[tuple[Decimal, Decimal]], Decimal]:
        """Price and quantity of each level that is touched, and what lies beyond all of them."""
        taken = []
        for price, there in self._left:
            if not quantity:
                break
            part = min(there, quantity)
            taken.append((price, part))
            quantity = EXACT.subtract(quantity, part)
        return taken, quantity


def step_of(lot: Decimal | None, quantity: Decimal) -> Decimal:
    """The lot; without one the last of 15 digits of about that quantity."""
    if lot is not None:
        return lot
    decimals = max(0, _QUANTITY_DIGITS - 1 - quantity.adjusted())
    return Decimal(1).scaleb(-min(decimals, _MOST_DECIMALS))
