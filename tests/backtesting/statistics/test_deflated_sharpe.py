from __future__ import annotations

import math

import numpy as np
import pytest

from backtesting.statistics.deflated_sharpe import (
    deflated_sharpe,
    expected_maximum_of_normals,
    probabilistic_sharpe,
)


def test_the_papers_own_example() -> None:
    # Bailey and Lopez de Prado (2014), "A numerical example": 100 trials whose yearly ratios vary by 1/2,
    # 1,250 days, yearly ratio 2.5, skewness -3, kurtosis 10: threshold 0.1132 a day, probability 0.9004.
    threshold = math.sqrt(0.5 / 250) * expected_maximum_of_normals(100)
    assert threshold == pytest.approx(0.1132, abs=5e-5)
    probability = probabilistic_sharpe(2.5 / math.sqrt(250), threshold, 1_250, -3, 10)
    assert probability == pytest.approx(0.9004, abs=5e-5)


@pytest.mark.parametrize("count", [2, 10, 1_000])
def test_the_expected_maximum_is_that_of_drawn_numbers(count: int) -> None:
    drawn = np.random.default_rng(1).normal(size=(4_000, count)).max(axis=1).mean()
    assert expected_maximum_of_normals(count) == pytest.approx(drawn, abs=0.08)


def test_more_trials_make_the_same_returns_worth_less() -> None:
    random = np.random.default_rng(2)
    returns = random.normal(0.001, 0.01, 500)
    others = random.normal(0, 0.045, 50)
    found = [deflated_sharpe(returns, others, trials=trials).probability for trials in (1, 10, 100, 10_000)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.8
    assert found[-1] < 0.5


@pytest.mark.parametrize("returns", [[], [0.1, 0.1], [0.0] * 50, [0.1, math.nan, 0.2, 0.1]])
def test_nothing_is_said_of_returns_that_say_nothing(returns: list[float]) -> None:
    assert math.isnan(deflated_sharpe(np.array(returns), np.array([0.1, 0.2]), trials=2).probability)
