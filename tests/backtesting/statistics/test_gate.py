"""The gate on strategies whose edge is known, because it was planted or left out."""

from __future__ import annotations

import math

import numpy as np

from backtesting.statistics.bootstrap import bootstrap
from backtesting.statistics.deflated_sharpe import deflated_sharpe
from backtesting.statistics.gate import LEAST_PROBABILITY, Evidence, verdict_of
from backtesting.statistics.overfitting import probability_of_overfitting
from backtesting.statistics.stability import stability_of
from backtesting.statistics.trade_order import shuffled_trades
from data.models import FloatArray

DAYS, SIDE, SPANS = 1_096, 5, 12  # three years; a search over 5 x 5 parameter sets
POINTS = np.array([(x, y) for x in range(SIDE) for y in range(SIDE)])


def trials(random: np.random.Generator, yearly_sharpe: float) -> FloatArray:
    """Daily returns of a search: neighbours are alike, fat tails, an edge that is highest in the middle."""
    shared = random.standard_t(5, DAYS) * 0.8
    along = random.normal(0, 0.5, (2, SIDE, DAYS))
    noise = shared + along[0][POINTS[:, 0]] + along[1][POINTS[:, 1]] + random.normal(0, 0.5, (25, DAYS))
    noise *= 0.02 / noise.std()
    hump = 1 - 0.1 * np.abs(POINTS - 2).max(axis=1)
    returns: FloatArray = noise + (yearly_sharpe / math.sqrt(365) * 0.02 * hump)[:, None]
    return returns


def passes(returns: FloatArray, seed: int) -> bool:
    """Whether the best of a search passes the gate."""
    sharpes = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
    best = int(np.argmax(sharpes))
    length = DAYS // SPANS
    cut = returns[:, : length * SPANS].reshape(len(returns), SPANS, length)
    blocks = np.stack([cut.sum(axis=2), (cut**2).sum(axis=2)], axis=2)
    chosen = returns[best]
    deflated = deflated_sharpe(chosen, sharpes, trials=len(returns))
    if deflated.probability < LEAST_PROBABILITY:
        # The gate wants this and everything else; the rest need not be computed a thousand times.
        return False
    return verdict_of(
        Evidence(
            deflated_sharpe=deflated,
            overfitting=probability_of_overfitting(blocks, length),
            bootstrap=bootstrap(chosen, periods_per_year=365, seed=seed, resamples=100),
            # Trades of five days each.
            trade_order=shuffled_trades(chosen[:1_095].reshape(-1, 5).sum(axis=1), seed=seed, shuffles=100),
            stability=stability_of(POINTS, sharpes, best, np.array([SIDE, SIDE])),
            trades=219,
            out_of_sample_return=None,
        )
    ).passes


def test_of_a_thousand_random_strategies_at_most_five_in_a_hundred_pass() -> None:
    random = np.random.default_rng(20_261_121)
    passed = sum(passes(trials(random, 0.0), seed) for seed in range(1_000))
    assert passed <= 50


def test_of_a_hundred_with_a_planted_edge_at_least_eighty_pass() -> None:
    random = np.random.default_rng(7)
    passed = sum(passes(trials(random, 3.0), seed) for seed in range(100))
    assert passed >= 80


def test_what_is_not_defined_has_not_been_shown() -> None:
    nothing = np.zeros(300)
    verdict = verdict_of(
        Evidence(
            deflated_sharpe=deflated_sharpe(nothing, np.array([math.nan]), trials=1),
            overfitting=None,
            bootstrap=None,
            trade_order=None,
            stability=None,
            trades=0,
            out_of_sample_return=None,
        )
    )
    assert not verdict.passes
    assert [check.passed for check in verdict.checks] == [False, False, False]
