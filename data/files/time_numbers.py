"""Times that a file writes as numbers since 1970: the unit they count in, and those that cannot be meant."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from data.models import BoolArray, FloatArray, IntArray
from data.timeframes import to_us

A_TIME = "a time: ISO 8601 like 2024-08-08T23:55:00Z, or a number since 1970"

# A number's unit follows from its size: below each bound it counts seconds, ms, us, and nanoseconds above.
# Each bound is the year 5138 in its unit, and 1973 in the next one.
_SECONDS_BELOW, _MILLISECONDS_BELOW, _MICROSECONDS_BELOW = 1e11, 1e14, 1e17
# 2001-09-09 in seconds: no venue is as old. Smaller numbers are ms of a series that begins near 1970.
_SECONDS_FROM = 1e9
_MILLISECOND_US = 1_000.0
_APART = 100  # times; neighbours of one series never lie so far apart, two units do by a thousand
_FIRST_US = to_us(datetime.min.replace(tzinfo=UTC))
LAST_US = to_us(datetime.max.replace(tzinfo=UTC))


class UnlikelyTime(ValueError):
    """A number that cannot be its row's time; `row` counts from 0, `expected` says what would be right."""

    def __init__(self, row: int, expected: str) -> None:
        super().__init__(f"row {row}; expected {expected}")
        self.row, self.expected = row, expected


def microseconds_of(numbers: IntArray | FloatArray, unit_us: float | None = None) -> IntArray:
    """Microseconds since the epoch of finite numbers that count `unit_us` microseconds each.

    Without `unit_us` the unit follows from the column: seconds where all lie from 1e9 up to 1e11, else
    milliseconds below 1e14, microseconds below 1e17, nanoseconds above. Raises UnlikelyTime where numbers of
    two units stand in one column, and for a time that is not within the years 1 to 9999.
    """
    if not len(numbers):
        return np.empty(0, dtype=np.int64)
    smallest, largest = float(numbers.min()), float(numbers.max())
    if unit_us is None:
        unit_us, bound = _unit_us(smallest, largest)
        if smallest < bound <= largest:
            _check_one_unit(numbers, numbers < bound)
    if not (smallest * unit_us >= _FIRST_US and largest * unit_us <= LAST_US):
        at_us = numbers.astype(np.float64) * unit_us
        row = int(np.argmax((at_us < _FIRST_US) | (at_us > LAST_US)))
        raise UnlikelyTime(row, f"{A_TIME}, within the years 1 to 9999")
    if numbers.dtype.kind == "f" and (largest >= 2**63 or not np.array_equal(numbers, np.trunc(numbers))):
        rounded: IntArray = np.rint(numbers * unit_us).astype(np.int64)
        return rounded
    whole: IntArray = numbers.astype(np.int64, copy=False)
    return whole * int(unit_us) if unit_us >= 1 else whole // round(1 / unit_us)


def _unit_us(smallest: float, largest: float) -> tuple[float, float]:
    """Microseconds in the unit of a column between these, and below what its numbers may be of another."""
    size = max(abs(smallest), abs(largest))
    if size < _SECONDS_BELOW:
        return (1_000_000.0 if smallest >= _SECONDS_FROM else _MILLISECOND_US), _SECONDS_FROM
    if size < _MILLISECONDS_BELOW:
        return _MILLISECOND_US, _SECONDS_BELOW
    if size < _MICROSECONDS_BELOW:
        return 1.0, _MILLISECONDS_BELOW
    return 0.001, _MICROSECONDS_BELOW


def _check_one_unit(numbers: IntArray | FloatArray, small: BoolArray) -> None:
    next_above = numbers[~small].min()
    if float(next_above) > _APART * max(float(numbers[small].max()), 1.0):
        raise UnlikelyTime(
            int(np.argmax(small)), f"a time of the same unit in every row; another row has {next_above}"
        )
