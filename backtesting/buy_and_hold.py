"""What it was worth to buy at the first open and do nothing, without costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.models import FloatArray, IntArray, Ohlcv


def held_in_equal_parts(markets: Sequence[Ohlcv], at_us: IntArray) -> FloatArray:
    """Value at each time of 1 spent in equal parts, each at its market's first open, shape of `at_us`.

    A part is worth what it cost until its market's first close, and keeps its last close's value afterwards.
    """
    worth = np.zeros(len(at_us))
    for ohlcv in markets:
        closed = np.searchsorted(ohlcv.opened_at_us + ohlcv.timeframe.us, at_us, side="right")
        worth += np.concatenate(([1.0], ohlcv.close / ohlcv.open[0]))[closed]
    return worth / len(markets)
