"""What equity sampled at midnights says of a run, without keeping the samples."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from backtesting.search.bitmaps import compiled
from data.models import FloatArray

# What the sampled equity says, in the order of `describe_samples`' output.
SAMPLED: Final = ("sharpe", "sortino", "volatility")


@compiled
def describe_samples(samples: FloatArray, periods_per_year: float, out: FloatArray, blocks: Any) -> None:
    """`SAMPLED` of the returns between neighbouring samples, as `backtesting.metrics` defines them.

    `blocks`, shape (b, 2), gets the sum and the sum of squares of the returns of each of b spans of equal
    length; returns that do not fill a span are left out at the end.
    """
    count = len(samples) - 1
    total = squares = shortfall = 0.0
    lowest, highest = np.inf, -np.inf
    length = count // len(blocks) if len(blocks) else 0
    blocks[:] = 0.0
    for i in range(count):
        change = samples[i + 1] / samples[i] - 1.0 if samples[i] > 0.0 else np.nan
        total += change
        lowest, highest = min(lowest, change), max(highest, change)
        if change < 0.0:
            shortfall += change * change
        if length > 0 and i < length * len(blocks):
            blocks[i // length, 0] += change
            blocks[i // length, 1] += change * change
    out[:] = np.nan
    if count < 2 or total != total:
        return
    mean = total / count
    for i in range(count):
        change = samples[i + 1] / samples[i] - 1.0
        squares += (change - mean) ** 2
    deviation = np.sqrt(squares / (count - 1))
    yearly = np.sqrt(periods_per_year)
    if highest > lowest:
        out[0] = mean / deviation * yearly
    if shortfall > 0.0:
        out[1] = mean / np.sqrt(shortfall / count) * yearly
    out[2] = deviation * yearly
