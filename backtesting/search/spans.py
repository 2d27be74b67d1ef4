"""Which candles a trial is judged on: all, a part to learn from, or the folds of a walk forward."""

from __future__ import annotations

from enum import StrEnum

import msgspec
import numpy as np

from backtesting.metrics import CANDLES, DAY_US, MIDNIGHTS, SHORTEST_DAILY_US, YEAR_US
from data.errors import InvalidInput, Problem
from data.models import IntArray, Ohlcv

FEWEST_CANDLES = 20  # in each part; fewer say nothing


class Scheme(StrEnum):
    WHOLE = "whole"  # all candles
    SPLIT = "split"  # learn on the first part, test on the rest
    ANCHORED = "anchored"  # folds; each learns on everything before it
    ROLLING = "rolling"  # folds; each learns on a window of the same length before it


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Rows `start` up to `stop`."""

    start: int
    stop: int


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """Learn on `train`, then trade `test`, which begins where `train` ends."""

    train: Span
    test: Span


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """How a search divides its candles."""

    scheme: Scheme = Scheme.WHOLE
    folds: int = 5  # of a walk forward
    test_fraction: float = 0.3  # of a split


def folds_of(split: Split, candles: int) -> tuple[Fold, ...]:
    """The folds of `candles` rows; none where the whole span is searched. Raises InvalidInput.

    A walk forward of k folds cuts the candles into k + 1 equal parts; fold i tests on part i + 1.
    """
    if split.scheme is Scheme.WHOLE:
        return ()
    if split.scheme is Scheme.SPLIT:
        if not 0 < split.test_fraction < 1:
            raise _wrong("test_fraction", split.test_fraction, "give a fraction above 0 and below 1")
        cut = candles - round(candles * split.test_fraction)
        folds: tuple[Fold, ...] = (Fold(train=Span(start=0, stop=cut), test=Span(start=cut, stop=candles)),)
    else:
        if not 1 <= split.folds <= 1_000:
            raise _wrong("folds", split.folds, "give a whole number from 1 to 1000")
        cuts = np.linspace(0, candles, split.folds + 2).astype(int).tolist()
        folds = tuple(
            Fold(
                train=Span(start=0 if split.scheme is Scheme.ANCHORED else cuts[fold], stop=cuts[fold + 1]),
                test=Span(start=cuts[fold + 1], stop=cuts[fold + 2]),
            )
            for fold in range(split.folds)
        )
    if any(span.stop - span.start < FEWEST_CANDLES for fold in folds for span in (fold.train, fold.test)):
        expected = f"each part needs at least {FEWEST_CANDLES} candles: give more candles or fewer folds"
        raise _wrong("candles", candles, expected)
    return folds


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """At which closes equity is sampled for Sharpe and the like, as `backtesting.metrics` does it."""

    rows: IntArray  # of the whole series; `start - 1` is the capital before the first candle
    periods_per_year: float
    kind: str


def sampling_of(ohlcv: Ohlcv, span: Span) -> Sampling:
    """The sample rows of a run over `span`."""
    opened = ohlcv.opened_at_us[span.start : span.stop]
    closes = opened + ohlcv.timeframe.us
    starts_at, ends_at = int(opened[0]), int(closes[-1])
    length = ends_at - starts_at
    if length < SHORTEST_DAILY_US:
        rows = np.arange(span.start - 1, span.stop, dtype=np.int64)
        return Sampling(rows=rows, periods_per_year=YEAR_US * len(opened) / length, kind=CANDLES)
    midnights = np.arange(-(-starts_at // DAY_US) * DAY_US, ends_at + 1, DAY_US)
    rows = np.searchsorted(closes, midnights, side="right").astype(np.int64) - 1 + span.start
    return Sampling(rows=rows, periods_per_year=365.0, kind=MIDNIGHTS)


def _wrong(field: str, value: object, expected: str) -> InvalidInput:
    return InvalidInput(Problem(where="search", field=field, value=str(value), expected=expected))
