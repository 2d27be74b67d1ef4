from __future__ import annotations

import numpy as np
import pytest

from backtesting.search.space import (
    Axis,
    axis_of,
    check_axes,
    declared_axes,
    grid_points,
    random_points,
    size_of,
    values_at,
)
from data.errors import InvalidInput
from tests.backtesting.search.documents import crossover


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fast=5:8:1", (5, 6, 7, 8)),
        ("fast=5:8", (5, 6, 7, 8)),
        ("fast=0.1:0.3:0.1", (0.1, 0.2, 0.3)),
        ("fast=1:10:4", (1, 5, 9)),
        ("fast=13,5,8,5", (5, 8, 13)),
        ("fast=7", (7,)),
    ],
)
def test_a_range_is_read(text: str, values: tuple[float, ...]) -> None:
    assert axis_of(text) == Axis(name="fast", values=tuple(map(float, values)))


NO_RANGES = "fast fast= =1:2:3 fast=a:b:c fast=5:1:1 fast=1:5:0 fast=1:5:-1 fast=1:2:3:4 fast=nan fast=1,inf"


@pytest.mark.parametrize("text", [*NO_RANGES.split(), "fast=0:1e9:1"])
def test_a_range_that_makes_no_sense_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="--param"):
        axis_of(text)


def test_without_ranges_those_of_the_file_hold() -> None:
    document = crossover()
    document["parameters"] |= {
        "share": {"default": 0.5, "min": 0.0, "max": 1.0},
        "free": {"default": 3},
    }
    axes = {axis.name: axis.values for axis in declared_axes(document, "f", without=("slow",))}
    assert list(axes) == ["fast", "share"]
    assert axes["fast"] == tuple(map(float, range(2, 51)))
    assert axes["share"] == tuple(step / 100 for step in range(101))


@pytest.mark.parametrize(
    ("axes", "field"),
    [
        ([Axis(name="quick", values=(1, 2))], "parameters.quick"),
        ([Axis(name="fast", values=(1, 2))], "parameters.fast"),
        ([Axis(name="slow", values=(100, 150, 250))], "parameters.slow"),
        ([Axis(name="fast", values=(5.5, 6.5))], "parameters.fast"),
        ([Axis(name="fast", values=(5,)), Axis(name="fast", values=(6,))], "fast"),
        ([], "parameters"),
    ],
)
def test_values_that_the_file_does_not_allow_are_named(axes: list[Axis], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_axes(axes, crossover(), "file.json")
    assert [problem.field for problem in refused.value.problems] == [field]


@pytest.mark.parametrize("lengths", [(5,), (40, 37), (3, 20, 5), (2, 2, 17, 33)])
def test_a_grid_has_every_point_once(lengths: tuple[int, ...]) -> None:
    axes = [Axis(name=str(n), values=tuple(map(float, range(length)))) for n, length in enumerate(lengths)]
    points = np.concatenate(list(grid_points(axes)))
    assert len(points) == size_of(axes)
    assert set(map(tuple, points.tolist())) == set(np.ndindex(*lengths))
    np.testing.assert_array_equal(values_at(axes, points), points.astype(float))


def test_random_points_are_different_and_follow_the_seed() -> None:
    axes = [Axis(name=name, values=tuple(map(float, range(30)))) for name in "ab"]
    points = random_points(axes, 100, 7)
    assert len(set(map(tuple, points.tolist()))) == 100
    np.testing.assert_array_equal(points, random_points(axes, 100, 7))
    assert points.tolist() != random_points(axes, 100, 8).tolist()
    assert len(random_points(axes, 5_000, 7)) == 900
