"""Whether the best parameters lie on a plateau or on a spike."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from data.models import FloatArray, IntArray

_REACH = 0.05  # of an axis, and at least one step: what counts as next to the best


class Stability(msgspec.Struct, frozen=True, kw_only=True):
    """How the trials beside the best did."""

    score: float  # share of the neighbours that reach half of the best; NaN without neighbours
    neighbours: int
    median: float  # of the neighbours' metric
    best: float


def stability_of(points: IntArray, metric: FloatArray, best: int, lengths: IntArray) -> Stability:
    """`points`, shape (n, axes), are steps along axes of `lengths` steps; of `metric` larger is better.

    A neighbour is within one step, or a twentieth of the axis where that is more, on every axis. Where the
    best is not above 0 no neighbour reaches half of it. A neighbour that could not be judged did not.
    """
    reach = np.maximum(1, np.round(_REACH * lengths)).astype(np.int64)
    near = (np.abs(points - points[best]) <= reach).all(axis=1)
    near[best] = False
    beside = metric[near]
    found = float(metric[best])
    if len(beside) == 0:
        return Stability(score=math.nan, neighbours=0, median=math.nan, best=found)
    known = beside[~np.isnan(beside)]
    reached = known >= found / 2 if found > 0 else np.zeros(len(known), dtype=np.bool_)
    return Stability(
        score=float(reached.sum() / len(beside)),
        neighbours=len(beside),
        median=float(np.median(known)) if len(known) else math.nan,
        best=found,
    )
