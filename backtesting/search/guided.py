"""A guided search: Optuna proposes points from what the trials before were worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from backtesting.search.space import Axis, size_of
from data.models import IntArray

# Asked for at once. Fixed, so that proposals do not depend on how many workers there are.
BATCH = 8


def guided_points(
    axes: Sequence[Axis],
    *,
    trials: int,
    seed: int,
    run: Callable[[IntArray], Sequence[float]],
) -> dict[tuple[int, ...], None]:
    """Ask `run` for the scores of proposed points, shape (k, axes), until `trials` different ones were tried.

    A score is better when larger, NaN where it is not defined. Returns the points in the order of proposal.
    The same seed and scores give the same points.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 * BATCH)
    )
    space: dict[str, BaseDistribution] = {
        axis.name: IntDistribution(0, len(axis.values) - 1) for axis in axes
    }
    wanted = min(trials, size_of(axes))
    random = np.random.default_rng(seed)
    lengths = [len(axis.values) for axis in axes]
    tried: dict[tuple[int, ...], float] = {}
    while len(tried) < wanted:
        asked = [study.ask(space) for _ in range(BATCH)]
        proposed = [tuple(int(trial.params[axis.name]) for axis in axes) for trial in asked]
        fresh = dict.fromkeys(point for point in proposed if point not in tried)
        while len(fresh) < min(BATCH, size_of(axes) - len(tried)):
            # What is proposed twice gives its place to a point drawn at random.
            point = tuple(random.integers(0, lengths).tolist())
            if point not in tried:
                fresh.setdefault(point)
        points = list(fresh)[: wanted - len(tried)]
        tried.update(zip(points, run(np.array(points, dtype=np.int64)), strict=True))
        for trial, point in zip(asked, proposed, strict=True):
            score = tried.get(point, math.nan)
            if math.isfinite(score):
                study.tell(trial, score)
            else:
                study.tell(trial, state=TrialState.FAIL)
        for point in points:
            if point not in proposed and math.isfinite(tried[point]):
                names = (axis.name for axis in axes)
                params = dict(zip(names, point, strict=True))
                study.add_trial(create_trial(params=params, distributions=space, value=tried[point]))
    return dict.fromkeys(tried)
