"""Days and months of a run, against a plain walk through its candles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from backtesting.calendar_returns import daily_returns, monthly_returns

HOUR_US = 3_600_000_000
START = datetime(2024, 1, 30, 22, tzinfo=UTC)


def walked(key: str, equity: list[float]) -> list[float]:
    """Returns by the calendar period in which each candle lies, one candle after the other."""
    ends: dict[str, float] = {}
    for number, value in enumerate(equity):
        opened = START + timedelta(hours=number)
        ends[opened.strftime(key)] = value
    returns, before = [], 100.0
    for value in ends.values():
        returns.append(value / before - 1.0)
        before = value
    return returns


def test_days_and_months_are_those_of_the_candles_within_them() -> None:
    equity = (100.0 + 20.0 * np.sin(np.arange(24 * 40) / 17)).tolist()
    closes_at_us = int(START.timestamp()) * 1_000_000 + HOUR_US * (np.arange(len(equity)) + 1)
    days = daily_returns(100.0, np.array(equity), closes_at_us)
    months = monthly_returns(100.0, np.array(equity), closes_at_us)
    assert days.returns.tolist() == pytest.approx(walked("%Y-%m-%d", equity))
    assert months.returns.tolist() == pytest.approx(walked("%Y-%m", equity))
    assert months.periods.tolist() == [54 * 12, 54 * 12 + 1, 54 * 12 + 2]
    assert (days.best, days.worst) == (max(days.returns), min(days.returns))
    assert np.prod(1 + months.returns) == pytest.approx(equity[-1] / 100.0)


def test_a_period_that_begins_with_nothing_has_no_return() -> None:
    closes_at_us = np.array([1, 2]) * 24 * HOUR_US
    found = daily_returns(100.0, np.array([0.0, 5.0]), closes_at_us)
    assert found.returns[0] == -1.0
    assert np.isnan(found.returns[1])
    assert (found.best, found.worst) == (-1.0, -1.0)
