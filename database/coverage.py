"""Which minutes of a market are complete, as far as the ledger of trade ids tells: plain arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.models import BoolArray, IntArray, TradeRun
from data.timeframes import Timeframe, floor_to

Span = tuple[int, int]  # start and end (exclusive), in microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Intervals of one time frame from the first complete one to the last."""

    timeframe: Timeframe
    complete: tuple[Span, ...]  # whole intervals, ascending and apart
    missing: tuple[Span, ...]  # what lies between

    @property
    def complete_count(self) -> int:
        return sum(end_us - start_us for start_us, end_us in self.complete) // self.timeframe.us

    @property
    def missing_count(self) -> int:
        return sum(end_us - start_us for start_us, end_us in self.missing) // self.timeframe.us


def coverage_of(runs: Sequence[TradeRun], timeframe: Timeframe = Timeframe.M1) -> Coverage:
    """Every interval that lies wholly inside a run is complete; every other one between them is missing.

    The interval in which recording began is neither, nor is the one in the making.
    """
    complete: list[Span] = []
    for span in sorted(_whole_intervals(run, timeframe) for run in runs):
        if span[0] >= span[1]:
            continue
        if complete and span[0] <= complete[-1][1]:
            complete[-1] = (complete[-1][0], max(complete[-1][1], span[1]))
        else:
            complete.append(span)
    missing = [(before[1], after[0]) for before, after in itertools.pairwise(complete)]
    return Coverage(timeframe=timeframe, complete=tuple(complete), missing=tuple(missing))


def covered(opened_at_us: IntArray, timeframe: Timeframe, runs: Sequence[TradeRun]) -> BoolArray:
    """Which candles lie wholly inside a run; shape (n,)."""
    spans = coverage_of(runs, timeframe).complete
    if not spans:
        return np.zeros(len(opened_at_us), dtype=np.bool_)
    starts, ends = np.array(spans).T
    at = np.searchsorted(starts, opened_at_us, side="right") - 1
    inside: BoolArray = (at >= 0) & (opened_at_us < ends[at])
    return inside


def _whole_intervals(run: TradeRun, timeframe: Timeframe) -> Span:
    # The first trade may not have been the first of its moment, so the interval must open after it.
    return floor_to(run.first_at_us, timeframe) + timeframe.us, floor_to(run.last_at_us, timeframe)
