"""Mean and deviation of sliding windows, each window added up afresh.

Running sums, which are faster, keep the rounding errors of prices that have long left the window: at 60,000
a deviation of a cent drowns in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from data.models import FloatArray

MAX_WINDOW = 1_000  # candles; the time per candle grows with the window


def sliding_mean_deviation(values: FloatArray, period: int) -> tuple[FloatArray, FloatArray]:
    """Mean and population deviation of the last `period` values, each of shape (n,), NaN before the first.

    The deviation of equal values is exactly 0.
    """
    means = np.full(len(values), np.nan)
    deviations = np.full(len(values), np.nan)
    windows = len(values) - period + 1
    if windows <= 0:
        return means, deviations
    # Value by value over all windows at once: the order, and so the bits, of `mean_deviation`.
    total = np.zeros(windows)
    for k in range(period):
        total += values[k : k + windows]
    mean = total / period
    squares, flat = np.zeros(windows), np.ones(windows, dtype=np.bool_)
    for k in range(period):
        away = values[k : k + windows] - mean
        squares += away * away
        flat &= values[k : k + windows] == values[:windows]
    means[period - 1 :] = mean
    deviations[period - 1 :] = np.where(flat, 0.0, np.sqrt(squares / period))
    return means, deviations


def mean_deviation(window: Sequence[float]) -> tuple[float, float]:
    """The same of one window, oldest value first, bit for bit."""
    total = 0.0
    for value in window:
        total += value
    mean = total / len(window)
    squares, first, flat = 0.0, window[0], True
    for value in window:
        away = value - mean
        squares += away * away
        flat = flat and value == first
    return mean, 0.0 if flat else math.sqrt(squares / len(window))
