"""Which minutes of a market are complete, as far as the ledger of trade ids tells: plain arithmetic."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec
import numpy as np

from data.models import BoolArray, IntArray, TradeGap, TradeRun
from data.timeframes import Timeframe, floor_to

Span = tuple[int, int]  # start and end (exclusive), in microseconds

# Why trades were fetched later than they came, beside the reasons that gaps have.
HISTORY = "history"  # nothing was missing: they are older or newer than what was recorded
DELETED = "deleted_from_store"
ALTERED = "altered_in_store"
# Why minutes are missing, beside the same.
ABSENT_AT_VENUE = "absent_at_venue"  # asked for after the fact, and the venue has not got them
NOT_RECORDED = "not_recorded"  # between two runs, and nothing tells why
NEVER_RECORDED = "never_recorded"  # no trade of the market was ever stored
BEFORE_RECORDING = "before_recording"
NOT_YET_RECORDED = "not_yet_recorded"
VENUE_SILENT = "no_trade_in_the_venues_candles"
# Why a venue was down although the ids prove that no trade was missed.
UNREACHABLE = "unreachable"  # nobody's trades came meanwhile, nor were any told later
HALTED = "halted"  # the venue said so
_STOPPED = frozenset({UNREACHABLE, HALTED})


class MinuteState(StrEnum):
    """Each minute of a recorded market is in exactly one of these."""

    COMPLETE = "complete"  # every trade of it is stored; without trades it was really empty
    REPAIRED = "repaired"  # the same, but some of it was missing for a while
    VENUE_DOWN = "venue_down"  # the venue itself did not trade
    MISSING = "missing"


class TradeRepair(msgspec.Struct, frozen=True, kw_only=True):
    """Ids that were fetched later than they came, or should have been.

    They happened between the trades at `start_us` and `end_us`, which both stood in the store.
    """

    first_id: int
    last_id: int
    start_us: int
    end_us: int
    reason: str  # why they were missing
    repaired_at_us: int | None  # None: the store has lost them and the venue does not give them

    def touches(self) -> Span:
        """The whole minutes in which they may lie."""
        return floor_to(self.start_us, Timeframe.M1), floor_to(self.end_us, Timeframe.M1) + Timeframe.M1.us


class VenueOutage(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which the venue did not trade this market although it usually does."""

    start_us: int
    end_us: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpan:
    """Minutes in a row that are in one state for one reason."""

    start_us: int
    end_us: int
    state: MinuteState
    reason: str  # empty where there is nothing to explain

    @property
    def minutes(self) -> int:
        return (self.end_us - self.start_us) // Timeframe.M1.us


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
    complete = union_of(_whole_intervals(run, timeframe) for run in runs)
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


def minute_states(
    runs: Sequence[TradeRun],
    gaps: Sequence[TradeGap],
    repairs: Sequence[TradeRepair] = (),
    outages: Sequence[VenueOutage] = (),
    *,
    start_us: int | None = None,
    end_us: int | None = None,
) -> list[StateSpan]:
    """The state of every minute of `[start_us, end_us)`, ascending, without a hole; equal neighbours merged.

    Unless given, the bounds are the end of the minute in which recording began and the opening of the one
    that the last trade lies in; minutes outside of those are missing. Bounds inside a minute widen to the
    whole of it. Nothing where no whole minute lies between the first trade and the last.
    """
    if not runs:
        return []
    # A hole may be younger than the last complete minute, or older than the first one.
    recorded = (
        floor_to(min(run.first_at_us for run in runs), Timeframe.M1) + Timeframe.M1.us,
        floor_to(max(run.last_at_us for run in runs), Timeframe.M1),
    )
    if recorded[0] >= recorded[1]:
        return []
    complete = coverage_of(runs).complete
    first_us = recorded[0] if start_us is None else floor_to(start_us, Timeframe.M1)
    last_us = recorded[1] if end_us is None else -floor_to(-end_us, Timeframe.M1)
    lost = [(*repair.touches(), repair.reason) for repair in repairs if repair.repaired_at_us is None]
    mended = [
        (*repair.touches(), repair.reason)
        for repair in repairs
        if repair.repaired_at_us is not None and repair.reason != HISTORY
    ]
    down = [
        (-floor_to(-outage.start_us, Timeframe.M1), floor_to(outage.end_us, Timeframe.M1), outage.reason)
        for outage in outages
    ]
    stopped = [span for span in down if span[2] in _STOPPED]
    inside = _Ranges((*span, "") for span in complete)
    told = _GapReasons(runs, gaps)
    reasons = _Ranges(
        (start_us, end_us, told.between(start_us, end_us)) for start_us, end_us in without(recorded, complete)
    )
    layers = (
        # What is told first stands: a loss inside a run overrules the run, a proof by ids all that follows.
        # Of a venue that had stopped the ids prove only that there was nothing to miss.
        _Layer(MinuteState.MISSING, _Ranges(lost), within=None),
        _Layer(MinuteState.VENUE_DOWN, _Ranges(stopped), within=inside),
        _Layer(MinuteState.REPAIRED, _Ranges(mended), within=inside),
        _Layer(MinuteState.COMPLETE, inside, within=None),
        _Layer(
            MinuteState.VENUE_DOWN,
            _Ranges(span for span in down if span[2] not in _STOPPED),
            within=None,
        ),
        _Layer(MinuteState.MISSING, reasons, within=None),
    )
    bounds = {first_us, last_us}
    for layer in layers:
        bounds.update(at_us for at_us in layer.ranges.bounds() if first_us < at_us < last_us)
    spans: list[StateSpan] = []
    for from_us, to_us in itertools.pairwise(sorted(bounds)):
        state, reason = _state_at(from_us, layers, recorded)
        if spans and (spans[-1].state, spans[-1].reason) == (state, reason):
            from_us = spans.pop().start_us
        spans.append(StateSpan(start_us=from_us, end_us=to_us, state=state, reason=reason))
    return spans


def minute_counts(spans: Iterable[StateSpan]) -> dict[MinuteState, int]:
    """How many minutes are in each state."""
    counts = dict.fromkeys(MinuteState, 0)
    for span in spans:
        counts[span.state] += span.minutes
    return counts


def union_of(spans: Iterable[Span]) -> list[Span]:
    """The same times in as few spans as there are; ascending. Empty spans are left out."""
    joined: list[Span] = []
    for span in sorted(spans):
        if span[0] >= span[1]:
            continue
        if joined and span[0] <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], span[1]))
        else:
            joined.append(span)
    return joined


def without(whole: Span, taken: Iterable[Span]) -> list[Span]:
    """The parts of `whole` that `taken` leaves, ascending."""
    parts: list[Span] = []
    at_us = whole[0]
    for start_us, end_us in union_of(taken):
        if start_us >= whole[1]:
            break
        if start_us > at_us:
            parts.append((at_us, start_us))
        at_us = max(at_us, end_us)
    if at_us < whole[1]:
        parts.append((at_us, whole[1]))
    return parts


class _Ranges:
    """Spans with a reason each; where they overlap, the one that begins last speaks."""

    def __init__(self, ranges: Iterable[tuple[int, int, str]]) -> None:
        edges: list[tuple[int, int, str]] = []
        for start_us, end_us, reason in sorted(ranges):
            if start_us >= end_us:
                continue
            if edges and start_us < edges[-1][1]:
                before = edges.pop()
                if before[0] < start_us:
                    edges.append((before[0], start_us, before[2]))
                end_us = max(end_us, before[1])
            edges.append((start_us, end_us, reason))
        self._ranges = edges
        self._starts = [start_us for start_us, _, _ in edges]

    def bounds(self) -> Iterable[int]:
        return itertools.chain(self._starts, (end_us for _, end_us, _ in self._ranges))

    def reason_at(self, at_us: int) -> str | None:
        """None outside of all of them."""
        number = bisect_right(self._starts, at_us) - 1
        if number < 0 or at_us >= self._ranges[number][1]:
            return None
        return self._ranges[number][2]


@dataclass(frozen=True, slots=True)
class _Layer:
    state: MinuteState
    ranges: _Ranges
    within: _Ranges | None  # where else it must lie to count


def _state_at(at_us: int, layers: Iterable[_Layer], recorded: Span) -> tuple[MinuteState, str]:
    for layer in layers:
        reason = layer.ranges.reason_at(at_us)
        if reason is not None and (layer.within is None or layer.within.reason_at(at_us) is not None):
            return layer.state, reason
    return MinuteState.MISSING, BEFORE_RECORDING if at_us < recorded[0] else NOT_YET_RECORDED


class _GapReasons:
    """Why ids between runs are absent, where the ledger says so; found by halving, for many holes."""

    def __init__(self, runs: Sequence[TradeRun], gaps: Sequence[TradeGap]) -> None:
        by_start = sorted(runs, key=lambda run: run.first_at_us)
        self._starts = [run.first_at_us for run in by_start]
        self._last_ids = list(itertools.accumulate((run.last_id for run in by_start), max))
        by_end = sorted(runs, key=lambda run: run.last_at_us)
        self._ends = [run.last_at_us for run in by_end]
        self._first_ids = list(itertools.accumulate((run.first_id for run in reversed(by_end)), min))[::-1]
        self._gaps = sorted(gaps, key=lambda gap: gap.first_id)
        self._gap_first_ids = [gap.first_id for gap in self._gaps]
        self._gap_last_ids = list(itertools.accumulate((gap.last_id for gap in self._gaps), max))

    def between(self, start_us: int, end_us: int) -> str:
        """The reasons for what is absent between the runs on both sides of a hole."""
        before = bisect_left(self._starts, start_us)
        after = bisect_left(self._ends, end_us)
        if before == 0 or after == len(self._ends):
            return NOT_RECORDED
        first_id, last_id = self._last_ids[before - 1] + 1, self._first_ids[after] - 1
        reasons = set()
        number = bisect_right(self._gap_first_ids, last_id) - 1
        while number >= 0 and self._gap_last_ids[number] >= first_id:
            if self._gaps[number].last_id >= first_id:
                reasons.add(self._gaps[number].reason)
            number -= 1
        return ", ".join(sorted(reasons)) or NOT_RECORDED


def _whole_intervals(run: TradeRun, timeframe: Timeframe) -> Span:
    # The first trade may not have been the first of its moment, so the interval must open after it.
    return floor_to(run.first_at_us, timeframe) + timeframe.us, floor_to(run.last_at_us, timeframe)
