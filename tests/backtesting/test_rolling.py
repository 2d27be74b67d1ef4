"""A Sharpe ratio that moves, against the plain one of each window."""

from __future__ import annotations

import statistics
from itertools import pairwise

import numpy as np
import pytest

from backtesting.metrics import DAY_US
from backtesting.rolling import MOST_WINDOWS, rolling_sharpe


def test_each_window_has_the_sharpe_of_its_own_days() -> None:
    daily = np.cumprod(1 + np.random.default_rng(1).normal(0, 0.02, 121)).astype(np.float64)
    found = rolling_sharpe(daily, np.arange(121) * DAY_US)
    assert (found.window, found.unit) == (30, "days")
    assert len(found.sharpe) == 91
    assert found.at_us[-1] == 120 * DAY_US
    returns = [after / before - 1 for before, after in pairwise(daily.tolist())]
    for end, sharpe in zip((found.at_us // DAY_US).tolist(), found.sharpe.tolist(), strict=True):
        part = returns[end - 30 : end]
        assert sharpe == pytest.approx(statistics.mean(part) / statistics.stdev(part) * 365**0.5)


def test_short_runs_are_taken_from_candles_and_long_ones_have_few_windows() -> None:
    minutes = 100.0 + np.sin(np.arange(10_001) / 50)
    found = rolling_sharpe(minutes, np.arange(10_001) * 60_000_000)
    assert (found.window, found.unit) == (2_500, "candles")
    assert len(found.sharpe) <= MOST_WINDOWS
    assert found.at_us[-1] == 10_000 * 60_000_000


def test_a_run_of_a_few_candles_has_none() -> None:
    assert len(rolling_sharpe(np.array([1.0, 2.0, 1.0]), np.arange(3) * DAY_US).sharpe) == 0
