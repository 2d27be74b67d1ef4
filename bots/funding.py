"""Funding of perpetuals: what a position pays or gets at a funding time. Live and in backtests alike."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

from data.models import FundingRate

_WIDE = Context(prec=160, rounding=ROUND_HALF_EVEN)
_SMALLEST = Decimal("1e-40")  # what the kernel counts cash in


def funding_of(quantity: Decimal, price: Decimal, rate: float) -> Decimal:
    """What a position of `quantity` (negative when short) receives, in quote currency; below 0: it pays.

    At a positive rate longs pay shorts. To 1e-40.
    """
    paid = _WIDE.multiply(_WIDE.multiply(quantity, price), Decimal(repr(float(rate))))
    return _WIDE.minus(_WIDE.quantize(paid, _SMALLEST)) if paid else Decimal(0)


def due(rates: Sequence[FundingRate], after_us: int, until_us: int) -> list[FundingRate]:
    """Settled rates of `(after_us, until_us]`, ascending.

    A funding time that falls on the close of a candle belongs to that candle: whoever holds a position at the
    close pays, and whoever enters at the next open does not.
    """
    return sorted(
        (rate for rate in rates if rate.settled and after_us < rate.funding_at_us <= until_us),
        key=lambda rate: rate.funding_at_us,
    )
