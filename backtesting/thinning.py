"""Fewer points of a long line that look the same."""

from __future__ import annotations

import numpy as np

from data.models import FloatArray, IntArray


def thinned(values: FloatArray, most: int) -> IntArray:
    """Rows to draw, ascending: all, or the lowest and highest of equal stretches, and the ends."""
    count = len(values)
    if count <= most:
        return np.arange(count)
    width = -(-count // (most // 2 - 1))
    whole = count // width * width
    stretches = values[:whole].reshape(-1, width)
    starts = np.arange(0, whole, width)
    rows = np.concatenate(
        (starts + stretches.argmin(axis=1), starts + stretches.argmax(axis=1), [0, count - 1])
    )
    return np.unique(rows)
