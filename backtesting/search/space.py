"""The parameter sets a search may try."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from data.errors import InvalidInput, Problem
from data.models import FloatArray, IntArray
from strategies.definition_reader import read_definition

MOST_VALUES = 100_000  # of one parameter
_TILE = 16  # values of a parameter that trials next to each other share indicators of


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter and the values it may take, ascending."""

    name: str
    values: tuple[float, ...]


def axis_of(text: str) -> Axis:
    """An axis from "fast=5:50:1" (first, last, step; the step may be left out) or "fast=5,8,13".

    Raises InvalidInput.
    """
    name, equals, range_text = text.partition("=")
    expected = "give NAME=FIRST:LAST:STEP or NAME=VALUE,VALUE,..."
    try:
        if not (equals and name):
            raise ValueError
        if ":" in range_text:
            first, last, step = (*(float(part) for part in range_text.split(":")), 1.0)[:3]
            if range_text.count(":") > 2:
                raise ValueError
            return Axis(name=name, values=stepped(first, last, step))
        values = sorted({float(part) for part in range_text.split(",")})
        if not all(map(math.isfinite, values)):
            raise ValueError
    except ValueError:
        raise InvalidInput(Problem(where="--param", field="", value=text, expected=expected)) from None
    return Axis(name=name, values=tuple(values))


def stepped(first: float, last: float, step: float) -> tuple[float, ...]:
    """From `first` to `last` in steps; 0.1 and 0.3 in steps of 0.1 gives 0.3, not 0.30000000000000004.

    Raises ValueError where there are none, or too many.
    """
    if not (math.isfinite(first) and math.isfinite(last) and math.isfinite(step) and step > 0):
        raise ValueError
    count = math.floor((last - first) / step + 1e-9) + 1
    if not 1 <= count <= MOST_VALUES:
        raise ValueError
    return tuple(float(f"{first + step * number:.12g}") for number in range(count))


def declared_axes(document: Mapping[str, Any], where: str, *, without: Sequence[str] = ()) -> list[Axis]:
    """The ranges that a strategy declares; a parameter without min and max, or with one value, stays.

    A range without a step takes whole numbers, or a hundred steps where its ends are fractions.
    """
    axes = []
    for name, declared in read_definition(document, where).parameters.items():
        low, high = declared.minimum, declared.maximum
        if name in without or low is None or high is None or low == high:
            continue
        whole = low.is_integer() and high.is_integer() and declared.default.is_integer()
        step = declared.step or (1.0 if whole else (high - low) / 100)
        try:
            axes.append(Axis(name=name, values=stepped(low, high, step)))
        except ValueError:
            expected = f"it declares too many values: give --param {name}=FIRST:LAST:STEP"
            at = f"parameters.{name}"
            raise InvalidInput(Problem(where=where, field=at, value="", expected=expected)) from None
    return axes


def check_axes(axes: Sequence[Axis], document: Mapping[str, Any], where: str) -> None:
    """Raise InvalidInput for axes that are unknown, stand twice, or leave what the document allows."""
    problems = []
    names = [axis.name for axis in axes]
    for name in {name for name in names if names.count(name) > 1}:
        problems.append(Problem(where="--param", field=name, value="", expected="give it once"))
    if not axes:
        expected = "it declares no parameter with min and max: give --param NAME=FIRST:LAST:STEP"
        problems.append(Problem(where=where, field="parameters", value="", expected=expected))
    for axis in axes:
        for value in axis.values:
            found = _problems_with(document, where, axis.name, value)
            problems.extend(found)
            if found:
                break
    if problems:
        raise InvalidInput(*problems)


def _problems_with(document: Mapping[str, Any], where: str, name: str, value: float) -> list[Problem]:
    """What the document says against a value by itself; whether values go together is seen trial by trial."""
    try:
        read_definition(document, where, {name: value})
    except InvalidInput as error:
        return [problem for problem in error.problems if problem.field == f"parameters.{name}"]
    return []


def size_of(axes: Sequence[Axis]) -> int:
    """How many sets the whole grid has."""
    return math.prod(len(axis.values) for axis in axes)


def values_at(axes: Sequence[Axis], points: IntArray) -> FloatArray:
    """The values at grid points, shape (k, axes)."""
    columns = [np.array(axis.values)[points[:, column]] for column, axis in enumerate(axes)]
    return np.stack(columns, axis=1)


def grid_points(axes: Sequence[Axis]) -> Iterator[IntArray]:
    """All grid points, tile by tile, so that neighbours in time share indicators. Each of shape (k, axes).

    A tile spans sixteen values of the last two parameters and one value of those before.
    """
    lengths = [len(axis.values) for axis in axes]
    tiled = lengths[-2:]
    for outer in np.ndindex(*lengths[:-2]):
        for corner in np.ndindex(*(-(-length // _TILE) for length in tiled)):
            ranges = [
                np.arange(tile * _TILE, min((tile + 1) * _TILE, length))
                for tile, length in zip(corner, tiled, strict=True)
            ]
            inner = np.stack([side.ravel() for side in np.meshgrid(*ranges, indexing="ij")], axis=1)
            before = np.tile(np.array(outer, dtype=np.int64), (len(inner), 1))
            yield np.concatenate([before, inner], axis=1).astype(np.int64)


def random_points(axes: Sequence[Axis], count: int, seed: int) -> IntArray:
    """`count` different grid points drawn evenly, all of them where there are no more, shape (k, axes)."""
    size = size_of(axes)
    if count >= size:
        return np.concatenate(list(grid_points(axes)))
    random = np.random.default_rng(seed)
    lengths = np.array([len(axis.values) for axis in axes])
    seen: dict[tuple[int, ...], None] = {}
    while len(seen) < count:
        drawn = random.integers(0, lengths, size=(2 * (count - len(seen)) + 16, len(axes)))
        for point in drawn.tolist():
            if len(seen) < count:
                seen.setdefault(tuple(point))
    # Sorted, neighbours share indicators; which points were drawn stays what it is.
    return np.array(sorted(seen), dtype=np.int64)
