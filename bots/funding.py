"""Funding of perpetuals: what a position pays or gets at a funding time. Live and in backtests alike."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, Protocol, runtime_checkable

from data.models import FundingRate, Market
from data.timeframes import to_datetime

_WIDE = Context(prec=160, rounding=ROUND_HALF_EVEN)
_SMALLEST = Decimal("1e-40")  # what the kernel counts cash in


# Both venues pay on whole hours only, every 1 to 8 of them: other candles need no look into the store.
_HOUR_US: Final = 3_600_000_000

# A venue settles a rate within moments, and collectors ask for it until they have it. A candle that waited
# for so long, by the candles stored since, is taken without.
SETTLES_US: Final = 600_000_000


@runtime_checkable
class FundingReader(Protocol):
    """Stored funding rates. Synchronous; raises TransientError."""

    def funding(self, market: Market, start_us: int, end_us: int) -> Sequence[FundingRate]:
        """Rates that are paid in `[start_us, end_us)`, ascending; those to come are expected only."""
        ...


class PerpetualFunding:
    """The funding times of one market, as they are stored; a market that is no perpetual has none."""

    def __init__(self, market: Market, reader: FundingReader | None) -> None:
        """Without a `reader` nothing is known of any."""
        self._market = market
        self._reader = reader if market.is_perpetual else None

    def within(self, after_us: int, until_us: int) -> Sequence[FundingRate]:
        """Rates of `(after_us, until_us]`, settled or expected, ascending."""
        if self._reader is None or after_us >= until_us or until_us // _HOUR_US == after_us // _HOUR_US:
            return ()
        return self._reader.funding(self._market, after_us + 1, until_us + 1)

    def settled(self, after_us: int, until_us: int) -> Sequence[FundingRate]:
        """The settled ones of them."""
        return [rate for rate in self.within(after_us, until_us) if rate.settled]

    def is_awaited(self, after_us: int, until_us: int, *, known_us: int) -> bool:
        """Whether what happens at `until_us` must wait for a rate of `(after_us, until_us]` that is expected.

        A bot that did not wait would book it later than one that makes up for the same candle afterwards.
        `known_us` is the close of the newest stored candle.
        """
        if known_us >= until_us + SETTLES_US:
            return False
        return any(not rate.settled for rate in self.within(after_us, until_us))


def not_settled(rate: FundingRate) -> str:
    """Why nothing was booked of a rate that is expected only."""
    at = f"{to_datetime(rate.funding_at_us):%Y-%m-%d %H:%M} UTC"
    market = f"{rate.exchange}:{rate.symbol}"
    return f"{market} was to pay at {at}, and no settled rate is stored; is its funding channel on?"


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
