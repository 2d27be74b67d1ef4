"""The equity curve's text says what its points are."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, lists, tuples

from backtesting.equity_json import equity_json
from backtesting.manifest import iso_time


@pytest.mark.parametrize("first_us", [0, 951_782_340_000_000, 1_735_689_540_000_000])
def test_the_text_is_that_of_the_points(first_us: int) -> None:
    at_us = first_us + np.arange(0, 40) * 1_861_000_000
    equity = np.geomspace(1e-9, 1e21, 40) / 3
    points = [
        {"time": iso_time(at), "equity": value}
        for at, value in zip(at_us.tolist(), equity.tolist(), strict=True)
    ]
    assert bytes(equity_json(at_us, equity)) == orjson.dumps(points)


@settings(deadline=None)  # the first call may compile
@given(
    points=lists(
        tuples(integers(0, 253_402_300_799), floats(allow_infinity=False)), min_size=1, max_size=20
    ).map(sorted)
)
def test_each_second_until_the_year_9999_has_its_date_and_each_double_its_shortest_text(
    points: list[tuple[int, float]],
) -> None:
    at_us = np.array([at * 1_000_000 for at, _ in points])
    expected = [{"time": iso_time(at * 1_000_000), "equity": value} for at, value in points]
    text = equity_json(at_us, np.array([value for _, value in points]))
    assert bytes(text) == orjson.dumps(expected)


def test_a_curve_without_points_is_an_empty_list() -> None:
    assert bytes(equity_json(np.empty(0, dtype=np.int64), np.empty(0))) == b"[]"
