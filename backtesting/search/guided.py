"""A guided search: Optuna proposes points from what the trials before were worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import TrialState

from backtesting.search.space import Axis, size_of
from data.models import IntArray

# Asked for at once. Fixed, so that proposals do not depend on how many workers there are.
BATCH = 8
_MOST_REPEATS = 20  # batches in a row that propose nothing new


def guided_points(
    axes: Sequence[Axis],
    *,
    trials: int,
    seed: int,
    run: Callable[[IntArray], Sequence[float]],
) -> dict[tuple[int, ...], None]:
    """Ask `run` for the scores of proposed points, shape (k, axes), until `trials` different ones were tried.

    A score is better when larger, NaN where it is not defined. Returns the points in the order of proposal.
    Ends early where nothing new is proposed any more. The same seed and scores give the same points.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 * BATCH)
    )
    space: dict[str, BaseDistribution] = {
        axis.name: IntDistribution(0, len(axis.values) - 1) for axis in axes
    }
    wanted = min(trials, size_of(axes))
    tried: dict[tuple[int, ...], float] = {}
    repeats = 0
    while len(tried) < wanted and repeats < _MOST_REPEATS:
        asked = [study.ask(space) for _ in range(BATCH)]
        proposed = [tuple(int(trial.params[axis.name]) for axis in axes) for trial in asked]
        fresh = [point for point in dict.fromkeys(proposed) if point not in tried][: wanted - len(tried)]
        if fresh:
            scores = run(np.array(fresh, dtype=np.int64))
            tried.update(zip(fresh, scores, strict=True))
        repeats = 0 if fresh else repeats + 1
        for trial, point in zip(asked, proposed, strict=True):
            score = tried.get(point, math.nan)
            if math.isfinite(score):
                study.tell(trial, score)
            else:
                study.tell(trial, state=TrialState.FAIL)
    return dict.fromkeys(tried)
