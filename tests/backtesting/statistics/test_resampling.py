from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from backtesting.statistics.bootstrap import bootstrap
from backtesting.statistics.stability import stability_of
from backtesting.statistics.trade_order import shuffled_trades


def test_the_interval_is_about_as_wide_as_theory_says() -> None:
    returns = np.random.default_rng(1).normal(0.0005, 0.01, 730)
    found = bootstrap(returns, periods_per_year=365, seed=1)
    assert found is not None
    # A yearly ratio over y years has a standard error of about 1 / sqrt(y).
    assert found.sharpe.high - found.sharpe.low == pytest.approx(2 * 1.96 / math.sqrt(2), rel=0.15)
    actual = returns.mean() / returns.std(ddof=1) * math.sqrt(365)
    assert found.sharpe.low < actual < found.sharpe.high
    assert found.sharpe.median == pytest.approx(actual, abs=0.15)


def test_blocks_keep_what_hangs_together() -> None:
    random = np.random.default_rng(2)
    # Ten days alike in a row: as a total they vary far more than days by themselves would.
    runs = np.repeat(random.normal(0, 0.01, 100), 10)
    found = bootstrap(runs, periods_per_year=365, seed=1)
    mixed = bootstrap(random.permutation(runs), periods_per_year=365, seed=1)
    assert found is not None
    assert mixed is not None
    assert found.sharpe.high - found.sharpe.low > 1.7 * (mixed.sharpe.high - mixed.sharpe.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    returns = np.random.default_rng(1).normal(0, 0.01, 100)
    assert bootstrap(returns, periods_per_year=365, seed=3) == bootstrap(
        returns, periods_per_year=365, seed=3
    )
    assert bootstrap(returns, periods_per_year=365, seed=3) != bootstrap(
        returns, periods_per_year=365, seed=4
    )
    assert bootstrap(returns[:9], periods_per_year=365, seed=3) is None


def test_orders_of_trades_have_the_drawdowns_that_all_orders_have() -> None:
    gains = np.array([0.1, -0.2, 0.05, -0.1, 0.3])
    falls = []
    for order in permutations(gains):
        equity = np.concatenate(([1.0], np.cumprod(1 + np.array(order))))
        falls.append((1 - equity / np.maximum.accumulate(equity)).max())
    found = shuffled_trades(gains, seed=1, shuffles=20_000)
    assert found is not None
    assert found.median_drawdown == pytest.approx(np.median(falls), abs=0.02)
    assert found.worst_drawdown == pytest.approx(max(falls))
    assert shuffled_trades(gains[:4], seed=1) is None


def test_losing_more_than_half_is_ruin() -> None:
    found = shuffled_trades(np.array([-0.6, 0.1, 0.1, 0.1, 0.1]), seed=1)
    assert found is not None
    assert found.probability_of_ruin == 1.0


def test_a_plateau_scores_high_and_a_spike_low() -> None:
    points = np.array([(x, y) for x in range(9) for y in range(9)])
    lengths = np.array([9, 9])
    distance = np.abs(points - 4).max(axis=1)
    centre = int(np.argmin(distance))
    plateau = stability_of(points, 2.0 - 0.2 * distance, centre, lengths)
    assert (plateau.score, plateau.neighbours) == (1.0, 8)
    spike = stability_of(points, np.where(distance == 0, 2.0, 0.1), centre, lengths)
    assert spike.score == 0.0
    half = np.where(distance == 0, 2.0, np.where(points[:, 0] < 4, 1.5, np.nan))
    assert stability_of(points, half, centre, lengths).score == 3 / 8
    assert stability_of(points, -1.0 - distance, centre, lengths).score == 0.0


def test_long_axes_have_a_wider_neighbourhood() -> None:
    points = np.arange(100)[:, None]
    found = stability_of(points, -np.abs(points[:, 0] - 50.0) / 20 + 2, 50, np.array([100]))
    assert found.neighbours == 10
    alone = stability_of(points[:1], np.ones(1), 0, np.array([1]))
    assert alone.neighbours == 0
    assert math.isnan(alone.score)
