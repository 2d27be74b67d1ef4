"""PostgreSQL arrays in the wire's binary form, made from numpy columns in one step.

A batch of any size is then one statement: `INSERT ... SELECT FROM unnest(%b, %b, ...)`. Times cross as whole
microseconds, doubles bit by bit. Source: PostgreSQL 18 sources, `array_send` and the `*_send` functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from psycopg.adapt import Dumper
from psycopg.pq import Format

# Microseconds from the Unix epoch to 2000-01-01, where PostgreSQL's clock starts.
_POSTGRES_EPOCH_US = 946_684_800_000_000


@dataclass(frozen=True, slots=True)
class BinaryArray:
    """One column of values, ready to send."""

    array_type: int  # the oid of the array's type in pg_type
    data: bytes


class ArrayDumper(Dumper):
    """Hands a `BinaryArray` to psycopg; registered on each connection of `database.engine`."""

    format = Format.BINARY

    def get_key(self, obj: Any, format: Any) -> Any:
        return (BinaryArray, obj.array_type)

    def upgrade(self, obj: Any, format: Any) -> Dumper:
        dumper = ArrayDumper(BinaryArray, self.connection)
        dumper.oid = obj.array_type
        return dumper

    def dump(self, obj: Any) -> bytes:
        data: bytes = obj.data
        return data


def bigints(values: ArrayLike) -> BinaryArray:
    return _array(1016, 20, np.asarray(values), ">i8")


def integers(values: ArrayLike) -> BinaryArray:
    return _array(1007, 23, np.asarray(values), ">i4")


def smallints(values: ArrayLike) -> BinaryArray:
    return _array(1005, 21, np.asarray(values), ">i2")


def doubles(values: ArrayLike) -> BinaryArray:
    return _array(1022, 701, np.asarray(values), ">f8")


def times(values_us: Sequence[int] | NDArray[np.int64]) -> BinaryArray:
    """A `timestamptz[]` of microseconds since the Unix epoch."""
    return _array(1185, 1184, np.asarray(values_us, dtype=np.int64) - _POSTGRES_EPOCH_US, ">i8")


def _array(array_type: int, element_type: int, values: NDArray[Any], dtype: str) -> BinaryArray:
    count = len(values)
    elements = np.empty(count, dtype=[("size", ">i4"), ("value", dtype)])
    elements["size"] = np.dtype(dtype).itemsize
    elements["value"] = values
    # Dimensions, "has nulls", element type, then the one dimension: its length and its lower bound. An empty
    # array has no dimension at all.
    header = [1, 0, element_type, count, 1] if count else [0, 0, element_type]
    return BinaryArray(array_type, np.array(header, dtype=">i4").tobytes() + elements.tobytes())
