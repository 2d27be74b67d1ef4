"""Falls from a peak with their dates, against a plain walk along the curve."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists

from backtesting.drawdowns import Drawdown, underwater, worst_drawdowns
from backtesting.metrics import max_drawdown


def walked(curve: list[float]) -> list[tuple[int, int, int | None, float]]:
    """(peak, trough, recovery, depth) of every fall, step by step."""
    found: list[tuple[int, int, int | None, float]] = []
    peak = trough = 0
    for row in range(1, len(curve) + 1):
        if row < len(curve) and curve[row] < curve[peak]:
            if trough == peak or curve[row] < curve[trough]:
                trough = row
            continue
        if trough != peak:
            back = row if row < len(curve) else None
            found.append((peak, trough, back, 1 - curve[trough] / curve[peak]))
        peak = trough = row
    return found


def rows(found: list[Drawdown]) -> list[tuple[int, int, int | None]]:
    return [(one.peak_at_us, one.trough_at_us, one.recovered_at_us) for one in found]


@given(values=lists(integers(1, 12), min_size=1, max_size=60))
def test_every_fall_has_its_peak_trough_and_recovery(values: list[int]) -> None:
    curve = [float(value) for value in values]
    expected = sorted(walked(curve), key=lambda one: -one[3])
    found = worst_drawdowns(np.array(curve), np.arange(len(curve)), 100)
    assert sorted(rows(found), key=str) == sorted([one[:3] for one in expected], key=str)
    assert [one.depth for one in found] == pytest.approx([one[3] for one in expected])


def test_the_deepest_is_the_largest_drawdown_and_an_open_one_ends_with_the_run() -> None:
    curve = np.array([100.0, 90.0, 100.0, 120.0, 60.0, 110.0])
    at_us = np.arange(6) * 10
    first, second = worst_drawdowns(curve, at_us, 5)
    assert first.depth == max_drawdown(curve, at_us)[0] == 0.5
    assert (first.peak_at_us, first.trough_at_us, first.recovered_at_us, first.ended_at_us) == (
        30,
        40,
        None,
        50,
    )
    assert (first.peak, first.trough) == (120.0, 60.0)
    assert (second.peak_at_us, second.recovered_at_us) == (0, 20)
    assert worst_drawdowns(curve, at_us, 1) == [first]
    assert underwater(curve).tolist() == pytest.approx([0, -0.1, 0, 0, -0.5, -1 / 12])


def test_a_curve_that_never_falls_has_none() -> None:
    assert worst_drawdowns(np.array([1.0, 1.0, 2.0]), np.arange(3), 10) == []


@pytest.mark.parametrize(
    ("run", "hours", "cut"), [("btcusdt_1h_sma_24_96_long_only", 1, 1), ("goog_sma_10_30_long_short", 24, 1)]
)
def test_published_runs_have_the_published_falls(shared_data: Path, run: str, hours: int, cut: int) -> None:
    """Depth and longest duration as that package tells them of the same curve."""
    folder = shared_data / "reference" / "backtests" / "backtesting_py"
    stats = json.loads((folder / f"{run}_stats.json").read_text())["stats"]
    with gzip.open(folder / f"{run}_equity.csv.gz", "rt") as file:
        lines = [line.rstrip("\n").split(",") for line in file][cut:]
    times = np.array([line[0] for line in lines], dtype="datetime64[us]").astype(np.int64)
    found = worst_drawdowns(np.array([float(line[1]) for line in lines]), times, 10_000)
    assert -100 * found[0].depth == pytest.approx(stats["Max. Drawdown [%]"], rel=1e-9)
    assert -100 * np.mean([one.depth for one in found]) == pytest.approx(stats["Avg. Drawdown [%]"], rel=1e-9)
    days, clock = stats["Max. Drawdown Duration"].split(" days ")
    expected_h = int(days) * 24 + int(clock[:2])
    longest = max(one.ended_at_us - one.peak_at_us for one in found)
    assert longest == expected_h * 3_600_000_000
