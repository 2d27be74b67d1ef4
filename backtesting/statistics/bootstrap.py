"""How far the figures of a run could have come out differently: the stationary block bootstrap.

Source: Politis and Romano (1994), "The Stationary Bootstrap", JASA 89(428).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from data.models import FloatArray, IntArray

RESAMPLES = 1_000
_MOST_CELLS = 2_000_000  # returns held at a time
_MOST_WORK = 10_000_000  # returns drawn in all


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """The middle 95 % of the resampled figures."""

    low: float
    median: float
    high: float


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """Intervals of the main figures of a run. Fractions; the Sharpe ratio per year."""

    sharpe: Interval
    total_return: Interval
    volatility: Interval
    max_drawdown: Interval  # of the sampled equity
    probability_of_loss: float  # share of resamples that end below where they began
    resamples: int
    block: float  # mean length of a block, in periods


def bootstrap(
    returns: FloatArray, *, periods_per_year: float, seed: int, resamples: int = RESAMPLES
) -> Bootstrap | None:
    """Resample per-period returns, shape (n,), in blocks of random length that keep what hangs together.

    Blocks are n ** (1 / 3) periods long on average and go round the end. Tens of thousands of returns are
    resampled less often than asked, but at least 200 times. None for fewer than ten returns.
    """
    count = len(returns)
    if count < 10 or not np.isfinite(returns).all():
        return None
    resamples = min(resamples, max(200, _MOST_WORK // count))
    random = np.random.default_rng(seed)
    block = count ** (1 / 3)
    parts = []
    at_once = max(1, _MOST_CELLS // count)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        parts.append(_figures(returns[_indices(random, rows, count, block)], periods_per_year))
    sharpe, total, deviation, fall = np.concatenate(parts, axis=1)
    return Bootstrap(
        sharpe=_interval(sharpe),
        total_return=_interval(total),
        volatility=_interval(deviation),
        max_drawdown=_interval(fall),
        probability_of_loss=float((total < 0).mean()),
        resamples=resamples,
        block=block,
    )


def _indices(random: np.random.Generator, rows: int, count: int, block: float) -> IntArray:
    """Indices of resampled periods, shape (rows, count): each goes on after the one before or jumps."""
    jumps = random.random((rows, count)) < 1 / block
    jumps[:, 0] = True
    targets = random.integers(0, count, (rows, count))
    at = np.arange(count)
    begun = np.maximum.accumulate(np.where(jumps, at, 0), axis=1)
    found: IntArray = (np.take_along_axis(targets, begun, axis=1) + at - begun) % count
    return found


def _figures(returns: FloatArray, periods_per_year: float) -> FloatArray:
    """Sharpe ratio, total return, volatility and largest drawdown of each row, shape (4, rows)."""
    yearly = math.sqrt(periods_per_year)
    deviation = returns.std(axis=1, ddof=1)
    sharpe = np.zeros(len(returns))
    np.divide(returns.mean(axis=1), deviation, out=sharpe, where=deviation > 0)
    equity = np.cumprod(1 + np.maximum(returns, -1.0), axis=1)
    peaks = np.maximum(np.maximum.accumulate(equity, axis=1), 1.0)
    fall = (1 - equity / peaks).max(axis=1)
    return np.stack([sharpe * yearly, equity[:, -1] - 1, deviation * yearly, fall])


def _interval(values: FloatArray) -> Interval:
    low, median, high = np.quantile(values, [0.025, 0.5, 0.975])
    return Interval(low=float(low), median=float(median), high=float(high))
