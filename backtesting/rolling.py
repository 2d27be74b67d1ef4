"""A ratio over a window that moves with time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from backtesting.metrics import CANDLES, midnights, returns_of, samples_of, sharpe_ratio
from data.models import FloatArray, IntArray

MOST_WINDOWS = 400  # more are left out evenly, the last is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingSharpe:
    """`sharpe` of the `window` returns that end at `at_us`, shape (n,); NaN where they do not vary."""

    window: int  # returns in one window
    unit: str  # "days", or "candles" where the run's own Sharpe is taken from candles
    at_us: IntArray
    sharpe: FloatArray


def rolling_sharpe(curve: FloatArray, at_us: IntArray) -> RollingSharpe:
    """From the samples that the run's own Sharpe ratio takes, over a quarter of the run, at most 90 days.

    `curve` starts with the capital. Empty for a run of fewer than 8 returns.
    """
    sampling, rows, per_year = samples_of(at_us)
    unit = "candles" if sampling == CANDLES else "days"
    sampled_at_us = at_us if sampling == CANDLES else midnights(at_us)
    returns = returns_of(curve[rows])
    window = len(returns) // 4 if unit == "candles" else min(90, len(returns) // 4)
    if window < 2:
        return RollingSharpe(window=window, unit=unit, at_us=np.empty(0, np.int64), sharpe=np.empty(0))
    step = max(1, math.ceil((len(returns) - window + 1) / MOST_WINDOWS))
    ends = np.arange(len(returns), window - 1, -step)[::-1]
    values = [sharpe_ratio(returns[end - window : end], periods_per_year=per_year) for end in ends.tolist()]
    return RollingSharpe(window=window, unit=unit, at_us=sampled_at_us[ends], sharpe=np.array(values))
