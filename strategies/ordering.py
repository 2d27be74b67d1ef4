"""How two columns stand to each other, row by row: compiled, for the rules over whole arrays.

One pass over the two columns serves every comparison, cross and slope that reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.kernel_cache import compiled

GREATER = 1
LESS = 2
EQUAL = 4


@compiled
def _order(left: Any, right: Any) -> Any:
    found = np.empty(len(left), dtype=np.uint8)
    for i in range(len(left)):
        a, b = left[i], right[i]
        # Infinite values, quotients by nothing, are missing as NaN is: both make this difference NaN.
        known = (a - a) + (b - b) == 0.0
        found[i] = known * ((a > b) * GREATER + (a < b) * LESS + (a == b) * EQUAL)
    return found


@compiled
def _order_to(left: Any, bound: float) -> Any:
    found = np.empty(len(left), dtype=np.uint8)
    for i in range(len(left)):
        a = left[i]
        known = a - a == 0.0
        found[i] = known * ((a > bound) * GREATER + (a < bound) * LESS + (a == bound) * EQUAL)
    return found


def order_of(left: NDArray[np.float64], right: NDArray[np.float64] | float) -> NDArray[np.uint8]:
    """GREATER, LESS or EQUAL as `left` is to `right` on each row, 0 where one is missing; shape (n,)."""
    plain = np.require(left, dtype=np.float64, requirements=("C", "W"))
    if isinstance(right, np.ndarray):
        found: NDArray[np.uint8] = _order(plain, np.require(right, dtype=np.float64, requirements=("C", "W")))
        return found
    bounded: NDArray[np.uint8] = _order_to(plain, float(right))
    return bounded
