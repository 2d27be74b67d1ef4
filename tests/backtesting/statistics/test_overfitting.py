from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from backtesting.statistics.overfitting import probability_of_overfitting
from data.models import FloatArray


def blocks_of(returns: FloatArray, spans: int) -> tuple[FloatArray, int]:
    """Sums of what trials (rows) returned in each span, and how many periods one has."""
    length = returns.shape[1] // spans
    cut = returns[:, : length * spans].reshape(len(returns), spans, length)
    return np.stack([cut.sum(axis=2), (cut**2).sum(axis=2)], axis=2), length


def slow_probability(returns: FloatArray, spans: int) -> float:
    """The definition, word for word, over the returns themselves."""
    length = returns.shape[1] // spans
    low = []
    for inside in combinations(range(spans), spans // 2):
        rows = np.concatenate([np.arange(length) + span * length for span in inside])
        other = np.setdiff1d(np.arange(length * spans), rows)
        best = np.argmax(returns[:, rows].mean(1) / returns[:, rows].std(1))
        outside = returns[:, other].mean(1) / returns[:, other].std(1)
        rank = (outside <= outside[best]).sum() / (len(returns) + 1)
        low.append(np.log(rank / (1 - rank)) <= 1e-12)
    return float(np.mean(low))


@pytest.mark.parametrize("seed", range(4))
def test_sums_give_what_the_definition_gives(seed: int) -> None:
    returns = np.random.default_rng(seed).normal(0.0002 * seed, 0.01, (9, 120))
    found = probability_of_overfitting(*blocks_of(returns, 6))
    assert found is not None
    assert found.splits == 20
    assert found.probability == slow_probability(returns, 6)


def test_noise_is_overfitted_in_about_half_of_the_splits_and_an_edge_hardly_ever() -> None:
    random = np.random.default_rng(3)
    noise = []
    for _ in range(60):
        found = probability_of_overfitting(*blocks_of(random.normal(0, 0.01, (20, 360)), 12))
        assert found is not None
        noise.append(found.probability)
    assert 0.4 < np.mean(noise) < 0.6
    edge = random.normal(0, 0.01, (20, 360))
    edge[7] += 0.004
    found = probability_of_overfitting(*blocks_of(edge, 12))
    assert found is not None
    assert found.probability < 0.02


def test_trials_without_a_trade_do_not_upset_it() -> None:
    random = np.random.default_rng(4)
    returns = np.concatenate([np.zeros((5, 240)), random.normal(0.002, 0.01, (5, 240))])
    found = probability_of_overfitting(*blocks_of(returns, 12))
    assert found is not None
    assert 0 <= found.probability < 0.5


def test_one_trial_cannot_be_overfitted() -> None:
    assert probability_of_overfitting(np.ones((1, 12, 2)), 30) is None
    assert probability_of_overfitting(np.ones((5, 12, 2)), 0) is None
