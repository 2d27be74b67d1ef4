"""The equity curve's text says what its points are."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

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
    assert bytes(equity_json(at_us, equity)) == msgspec.json.encode(points)


def test_a_curve_without_points_is_an_empty_list() -> None:
    assert bytes(equity_json(np.empty(0, dtype=np.int64), np.empty(0))) == b"[]"
