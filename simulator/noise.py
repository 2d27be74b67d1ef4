"""Deterministic noise: the same key and place give the same value, whatever was asked before.

Only additions, multiplications, divisions and integer arithmetic are used, so a value does not depend on the
length of the array it is computed in, as vectorised transcendental functions may.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from data.models import FloatArray, IntArray

UIntArray = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def noise_key(*parts: object) -> np.uint64:
    """A key of 64 bits for a place in the tree of names `parts`."""
    digest = hashlib.blake2b("/".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def hashed(key: np.uint64, places: IntArray) -> UIntArray:
    """64 well mixed bits for each place. Source: Steele et al. (2014), SplitMix, OOPSLA."""
    bits = places.astype(np.uint64) * _GOLDEN + key
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    return bits ^ (bits >> np.uint64(31))


def uniform(key: np.uint64, places: IntArray) -> FloatArray:
    """A number in [0, 1) for each place."""
    return (hashed(key, places) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def smooth_noise(key: np.uint64, at: FloatArray, period: float) -> FloatArray:
    """A smooth curve in [-1, 1] with a random value every `period`, at each place of `at`."""
    cells = np.floor(at / period)
    inside = at / period - cells
    lattice = cells.astype(np.int64)
    low, high = int(lattice.min()), int(lattice.max())
    if high - low < len(at):
        values = 2.0 * uniform(key, np.arange(low, high + 2)) - 1.0
        left, right = values[lattice - low], values[lattice - low + 1]
    else:
        left, right = 2.0 * uniform(key, lattice) - 1.0, 2.0 * uniform(key, lattice + 1) - 1.0
    weight = inside * inside * (3.0 - 2.0 * inside)
    return left + (right - left) * weight


def linear_noise(key: np.uint64, at: FloatArray, period: int) -> FloatArray:
    """A broken line in [-1, 1] with a random value every `period`, at each place of `at`."""
    cells = np.floor(at / period)
    inside = at / period - cells
    lattice = cells.astype(np.int64)
    left, right = 2.0 * uniform(key, lattice) - 1.0, 2.0 * uniform(key, lattice + 1) - 1.0
    return left + (right - left) * inside
