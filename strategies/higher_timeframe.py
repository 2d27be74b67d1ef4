"""Candles of a higher time frame folded from a strategy's own, over arrays or one by one alike.

A higher candle is visible to a base candle when it has closed by that candle's close. The first interval
counts only if the series covers it from its open. An interval without base candles gives no higher candle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.models import Candle, IntArray, Ohlcv
from data.timeframes import Timeframe, floor_to, to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedCandles:
    """`candles` are the closed higher candles, `visible` the index of the last one each base row sees.

    `visible` has shape (base rows,) and is -1 where none has closed yet.
    """

    candles: Ohlcv
    visible: IntArray


def fold(base: Ohlcv, higher: Timeframe) -> FoldedCandles:
    """The higher candles of `base`, whose time frame divides `higher`."""
    opened = base.opened_at_us
    if not len(opened):
        return FoldedCandles(candles=_fold_groups(base, higher, opened, opened), visible=opened)
    # Weeks do not begin at the epoch, so the first interval says where the others lie.
    origin = floor_to(int(opened[0]), higher)
    bucket = opened - (opened - origin) % higher.us
    starts = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    group = np.zeros(len(opened), dtype=np.int64)
    group[starts[1:]] = 1
    np.cumsum(group, out=group)
    closes_it = opened + base.timeframe.us >= bucket + higher.us
    visible = group - np.where(closes_it, 0, 1)
    candles = _fold_groups(base, higher, starts, bucket[starts], group)
    first = 0 if opened[0] == origin else 1
    last = int(visible[-1]) + 1
    return FoldedCandles(
        candles=candles.rows(first, max(first, last)), visible=np.maximum(visible - first, -1)
    )


def left_out(base: Ohlcv, folded: Ohlcv) -> list[str]:
    """Sentences on base candles at the ends that are in none of the candles folded from them."""
    if not len(folded):
        return []
    first_us = int(folded.opened_at_us[0])
    end_us = int(folded.opened_at_us[-1]) + folded.timeframe.us
    before = int(base.opened_at_us.searchsorted(first_us))
    after = len(base) - int(base.opened_at_us.searchsorted(end_us))
    told = []
    for count, side, edge_us in ((before, "before", first_us), (after, "from", end_us)):
        if count:
            edge = to_datetime(edge_us).isoformat().replace("+00:00", "Z")
            told.append(
                f"left out: {count} of the {base.timeframe} candles, those {side} {edge}, "
                f"because they do not fill a {folded.timeframe} candle"
            )
    return told


def _fold_groups(
    base: Ohlcv, higher: Timeframe, starts: IntArray, opened: IntArray, group: IntArray | None = None
) -> Ohlcv:
    if group is None:
        return Ohlcv(
            timeframe=higher,
            opened_at_us=opened,
            open=base.open,
            high=base.high,
            low=base.low,
            close=base.close,
            volume=base.volume,
        )
    ends = np.append(starts[1:], len(group)) - 1
    return Ohlcv(
        timeframe=higher,
        opened_at_us=opened,
        open=base.open[starts],
        high=np.maximum.reduceat(base.high, starts),
        low=np.minimum.reduceat(base.low, starts),
        close=base.close[ends],
        # bincount adds one after the other, as a stream does; reduceat's pairwise sums end in other bits.
        volume=np.bincount(group, weights=base.volume).astype(np.float64, copy=False),
    )


class HigherCandleFold:
    """The same, fed base candles in ascending order."""

    def __init__(self, base: Timeframe, higher: Timeframe) -> None:
        self._base_us = base.us
        self._higher = higher
        self._bucket_us: int | None = None
        self._counts = False  # the interval now folded is covered from its open
        self._is_open = False
        self._values = (0.0, 0.0, 0.0, 0.0, 0.0)

    def update(self, candle: Candle) -> list[tuple[int, float, float, float, float, float]]:
        """Higher candles closed by this candle's close, as opened_at_us, open, high, low, close, volume."""
        closed = []
        opened_at_us = candle.opened_at_us
        if self._bucket_us is None:
            self._bucket_us = floor_to(opened_at_us, self._higher)
            self._counts = opened_at_us == self._bucket_us
        elif opened_at_us >= self._bucket_us + self._higher.us:
            if self._is_open and self._counts:
                closed.append((self._bucket_us, *self._values))
            self._bucket_us = floor_to(opened_at_us, self._higher)
            self._counts, self._is_open = True, False
        self._add(candle)
        if opened_at_us + self._base_us >= self._bucket_us + self._higher.us:
            if self._counts:
                closed.append((self._bucket_us, *self._values))
            self._is_open = False
        return closed

    def _add(self, candle: Candle) -> None:
        if not self._is_open:
            self._values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
            self._is_open = True
            return
        open_, high, low, _, volume = self._values
        self._values = (
            open_,
            candle.high if candle.high > high else high,
            candle.low if candle.low < low else low,
            candle.close,
            volume + candle.volume,
        )
