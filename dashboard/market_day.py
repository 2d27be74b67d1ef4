"""The last 24 hours of a market, from its stored candles and on its own clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dashboard.number_formats import price_decimals
from dashboard.timed_cache import TimedCache
from data.models import FloatArray, Market, Ohlcv
from data.stores import CandleReader
from data.timeframes import SECOND_US, Timeframe

DAY_US = 86_400 * SECOND_US
SPARK_POINTS = 48
# The finest time frame whose candles reach back a whole day is used: history is short in the fine ones.
_LADDER = (Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketDay:
    """Figures of `[at_us - 24 h, at_us)`. Those that need a whole day are None where less is stored."""

    market: Market
    decimals: int  # of a price
    at_us: int  # close of the newest stored candle
    last: float
    reference: float | None  # price 24 h before `at_us`
    high: float | None
    low: float | None
    volume: float | None  # base currency
    closes: FloatArray  # evenly thinned, for a sparkline; as much of the day as is stored

    def change_rate(self, last: float) -> float | None:
        """`last` over the price 24 h ago minus 1."""
        return last / self.reference - 1 if self.reference else None


def _joined(coarse: Ohlcv, fine: Ohlcv) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """High, low, close and volume of a series and of the finer candles after its last close."""
    after = np.searchsorted(fine.opened_at_us, coarse.opened_at_us[-1] + coarse.timeframe.us) if coarse else 0
    tail = fine.rows(int(after), len(fine))
    return (
        np.concatenate((coarse.high, tail.high)),
        np.concatenate((coarse.low, tail.low)),
        np.concatenate((coarse.close, tail.close)),
        np.concatenate((coarse.volume, tail.volume)),
    )


def thinned(values: FloatArray, points: int) -> FloatArray:
    """At most `points` of the values, evenly spaced, first and last kept."""
    if len(values) <= points:
        return values
    chosen: FloatArray = values[np.linspace(0, len(values) - 1, points).round().astype(int)]
    return chosen


def read_market_day(reader: CandleReader, market: Market) -> MarketDay | None:
    """The figures of a market, or None while it has no candles. Reads the store: call it in a thread."""
    newest = reader.candles(market, Timeframe.M1, limit=1)
    if not len(newest):
        newest = next(
            (found for frame in Timeframe if len(found := reader.candles(market, frame, limit=1))), newest
        )
    if not len(newest):
        return None
    at_us = int(newest.opened_at_us[-1]) + newest.timeframe.us
    start_us = at_us - DAY_US
    fine = reader.candles(market, Timeframe.M1, start_us=start_us, end_us=at_us)
    for timeframe in _LADDER:
        # The close of the last candle that had closed 24 h ago is the price of that moment.
        before = reader.candles(market, timeframe, end_us=start_us - timeframe.us + 1, limit=1)
        if len(before):
            series = (
                fine
                if timeframe is Timeframe.M1
                else reader.candles(market, timeframe, start_us=start_us, end_us=at_us)
            )
            break
    else:
        before, series = fine.rows(0, 0), fine
    high, low, close, volume = _joined(series, fine)
    last = float(newest.close[-1])
    whole = bool(len(before)) and bool(len(close))
    return MarketDay(
        market=market,
        decimals=price_decimals(reader.instrument(market), close if len(close) else newest.close),
        at_us=at_us,
        last=last,
        reference=float(before.close[-1]) if whole else None,
        high=float(high.max()) if whole else None,
        low=float(low.min()) if whole else None,
        volume=float(volume.sum()) if whole else None,
        closes=thinned(close, SPARK_POINTS),
    )


class MarketDays:
    """The figures of all markets, a few seconds old at most. Reads the store: call it in a thread."""

    def __init__(
        self, reader: CandleReader, *, seconds: Callable[[], float], max_age_s: float = 15.0
    ) -> None:
        """`seconds` is a clock that never steps back."""
        self._reader = reader
        self._days = TimedCache[Market, MarketDay | None](
            lambda market: read_market_day(reader, market), seconds=seconds, max_age_s=max_age_s
        )

    def day(self, market: Market) -> MarketDay | None:
        """The market's figures; None while it has no candles."""
        return self._days.get(market)

    def all(self) -> list[MarketDay]:
        """Every market that has candles, in order of name."""
        return [day for market in self._reader.markets() if (day := self.day(market)) is not None]

    def remembered(self, market: Market) -> MarketDay | None:
        """What was read last, however old: for live updates, which must not wait for the store."""
        return self._days.remembered(market)
