"""How likely a Sharpe ratio is real, given how many were tried to find it.

Source: Bailey and López de Prado (2014), "The Deflated Sharpe Ratio", Journal of Portfolio Management 40(5).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from scipy.special import ndtr, ndtri

from data.models import FloatArray


class DeflatedSharpe(msgspec.Struct, frozen=True, kw_only=True):
    """Sharpe ratios are per period here, not per year."""

    probability: float  # that the true ratio is above 0 although the best of `trials` was picked
    sharpe: float
    expected_maximum: float  # the best ratio that `trials` without any edge would show
    trials: int
    periods: int
    skewness: float
    kurtosis: float  # 3 for a normal distribution


def deflated_sharpe(returns: FloatArray, trial_sharpes: FloatArray, *, trials: int) -> DeflatedSharpe:
    """The deflated Sharpe ratio of per-period `returns`, shape (n,).

    `trial_sharpes` are the per-period ratios of the trials, of which those that are NaN had no trade;
    `trials` is how many were made. Probability NaN for fewer than three returns or returns that do not vary.
    """
    known = trial_sharpes[np.isfinite(trial_sharpes)]
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    threshold = spread * expected_maximum_of_normals(trials)
    count = len(returns)
    if count < 3 or not np.isfinite(returns).all() or np.ptp(returns) == 0:
        undefined = math.nan
        return DeflatedSharpe(
            probability=undefined,
            sharpe=undefined,
            expected_maximum=threshold,
            trials=trials,
            periods=count,
            skewness=undefined,
            kurtosis=undefined,
        )
    sharpe = float(returns.mean() / returns.std(ddof=1))
    apart = returns - returns.mean()
    second = float((apart**2).mean())
    third, fourth = float((apart**3).mean()) / second**1.5, float((apart**4).mean()) / second**2
    return DeflatedSharpe(
        probability=probabilistic_sharpe(sharpe, threshold, count, third, fourth),
        sharpe=sharpe,
        expected_maximum=threshold,
        trials=trials,
        periods=count,
        skewness=third,
        kurtosis=fourth,
    )


def expected_maximum_of_normals(count: int) -> float:
    """The expected greatest of `count` independent standard normal numbers; 0 for one.

    An approximation for large counts; within 0.06 of the truth from two on.
    """
    if count <= 1:
        return 0.0
    return float(
        (1 - np.euler_gamma) * ndtri(1 - 1 / count) + np.euler_gamma * ndtri(1 - 1 / (count * math.e))
    )


def probabilistic_sharpe(
    sharpe: float, threshold: float, periods: int, skewness: float, kurtosis: float
) -> float:
    """The probability that the true per-period ratio is above `threshold`, both per period."""
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    # Far from normal the approximation of the variance can fall below 0: then nothing can be said.
    if variance <= 0:
        return math.nan
    return float(ndtr((sharpe - threshold) * math.sqrt(periods - 1) / math.sqrt(variance)))
