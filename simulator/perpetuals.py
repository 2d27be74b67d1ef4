"""Mark and index prices and funding rates of made-up derivatives: the same whenever and however asked."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from simulator.markets import Market
from simulator.noise import noise_key, uniform

FUNDING_MS = 8 * 3_600_000
_EIGHT_PLACES = Decimal("0.00000001")
_USUAL_RATE = 0.0001  # in eight hours, the interest part of both venues
_RATE_SPREAD = 0.0006
_MARK_SPREAD = 0.0002  # of the price, between mark and last trade
_INDEX_SPREAD = 0.0004


@dataclass(frozen=True, slots=True)
class Marks:
    """What a venue marks a derivative by, in quote currency, at a whole second."""

    at_ms: int
    mark: Decimal
    index: Decimal


def marks_at(market: Market, at_ms: int) -> Marks | None:
    """The prices of the second that holds `at_ms`; None before the first trade."""
    second_ms = at_ms - at_ms % 1000
    last_id = market.tape.first_id_at(second_ms) - 1
    last = market.tape.trades(last_id, last_id)
    if not len(last):
        return None
    price = Decimal(int(last.price[0])).scaleb(-market.instrument.price_decimals)
    return Marks(
        second_ms,
        _near(market, "mark", second_ms, price, _MARK_SPREAD),
        _near(market, "index", second_ms, price, _INDEX_SPREAD),
    )


def funding_rate(market: Market, paid_at_ms: int) -> Decimal:
    """What longs pay at that moment, a fraction; the forecast before it is the same."""
    draw = _draw(market, "funding", paid_at_ms // FUNDING_MS)
    return Decimal(_USUAL_RATE + (draw - 0.5) * _RATE_SPREAD).quantize(_EIGHT_PLACES)


def next_funding_ms(at_ms: int) -> int:
    """The first moment of payment after `at_ms`."""
    return (at_ms // FUNDING_MS + 1) * FUNDING_MS


def settled_fundings(market: Market, *, before_ms: int, now_ms: int, count: int) -> list[tuple[int, Decimal]]:
    """The newest `count` payments before `before_ms` that have been made, the newest first."""
    if market.synthetic is None:
        return []
    last = min(now_ms // FUNDING_MS, (before_ms - 1) // FUNDING_MS)
    first = max(market.synthetic.listed_at_ms // FUNDING_MS + 1, last - count + 1)
    return [
        (number * FUNDING_MS, funding_rate(market, number * FUNDING_MS))
        for number in range(last, first - 1, -1)
    ]


def _near(market: Market, name: str, second_ms: int, price: Decimal, spread: float) -> Decimal:
    shift = Decimal((_draw(market, name, second_ms // 1000) - 0.5) * spread)
    return (price * (1 + shift)).quantize(Decimal(1).scaleb(-market.instrument.price_decimals - 2))


def _draw(market: Market, name: str, place: int) -> float:
    instrument = market.instrument
    return float(uniform(noise_key(instrument.venue, instrument.venue_symbol, name), np.array([place]))[0])
