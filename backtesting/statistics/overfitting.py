"""How often the best of the trials on one half of the time is below the middle on the other half.

Source: Bailey, Borwein, López de Prado and Zhu (2017), "The Probability of Backtest Overfitting", Journal of
Computational Finance 20(4): combinatorially symmetric cross-validation.
"""

from __future__ import annotations

from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from data.models import FloatArray

_MOST_CELLS = 4_000_000  # ratios held at a time


class Overfitting(msgspec.Struct, frozen=True, kw_only=True):
    """`probability` is the share of splits in which the best fell to the lower half elsewhere."""

    probability: float
    probability_of_loss: float  # share of splits in which the best lost money elsewhere
    splits: int
    trials: int


def probability_of_overfitting(blocks: FloatArray, periods_in_block: int) -> Overfitting | None:
    """From the sum and the sum of squares of every trial's returns in each of b blocks, shape (n, b, 2).

    None for fewer than two trials or blocks too short for a deviation. A trial without a trade has the
    ratio 0.
    """
    count, spans, _ = blocks.shape
    half = spans // 2
    if count < 2 or half < 1 or periods_in_block * half < 2:
        return None
    splits = np.array(list(combinations(range(spans), half)))
    chosen = np.zeros((len(splits), spans))
    np.put_along_axis(chosen, splits, 1.0, axis=1)
    chosen = np.ascontiguousarray(chosen)
    at_once = max(1, _MOST_CELLS // count)
    low = losses = 0
    for start in range(0, len(chosen), at_once):
        inside = chosen[start : start + at_once]
        best = _ratios(blocks, inside, periods_in_block * half).argmax(axis=1)
        outside = _ratios(blocks, 1.0 - inside, periods_in_block * (spans - half))
        reached = np.take_along_axis(outside, best[:, None], axis=1)
        # Its rank among all, equals sharing the middle of theirs.
        ranks = (outside < reached).sum(axis=1) + ((outside == reached).sum(axis=1) + 1) / 2
        low += int((ranks <= (count + 1) / 2).sum())
        losses += int((reached < 0).sum())
    return Overfitting(
        probability=low / len(chosen),
        probability_of_loss=losses / len(chosen),
        splits=len(chosen),
        trials=count,
    )


def _ratios(blocks: FloatArray, chosen: FloatArray, periods: int) -> NDArray[np.float64]:
    """Sharpe ratios per period of every trial over the chosen blocks, shape (splits, trials)."""
    total = chosen @ blocks[:, :, 0].T
    squares = chosen @ blocks[:, :, 1].T
    mean = total / periods
    variance = np.maximum(squares / periods - mean**2, 0.0)
    ratios = np.zeros_like(mean)
    # What is left of equal squares after rounding is no variation.
    np.divide(mean, np.sqrt(variance), out=ratios, where=variance > 1e-12 * squares / periods)
    return ratios
