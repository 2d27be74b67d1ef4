"""The ledger of trade ids as plain arithmetic: which ids are stored, which are known to be missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from data.models import BoolArray, IntArray, TradeGap, TradeRun


def merge_runs(runs: Iterable[TradeRun]) -> list[TradeRun]:
    """The same ids in as few runs as there are: runs that touch or overlap become one. Ascending."""
    merged: list[TradeRun] = []
    for run in sorted(runs, key=lambda run: (run.first_id, run.last_id)):
        before = merged[-1] if merged else None
        if before is None or run.first_id > before.last_id + 1:
            merged.append(run)
            continue
        merged[-1] = TradeRun(
            first_id=before.first_id,
            last_id=max(before.last_id, run.last_id),
            first_at_us=before.first_at_us,
            last_at_us=max(before.last_at_us, run.last_at_us),
        )
    return merged


def open_gaps(gaps: Iterable[TradeGap], runs: Sequence[TradeRun]) -> list[TradeGap]:
    """What is left of the gaps where no run has the ids. `runs` are as `merge_runs` gives them.

    Where gaps overlap, the one found last tells the reason for the ids they share.
    """
    left: list[TradeGap] = []
    for gap in sorted(gaps, key=lambda gap: gap.found_at_us, reverse=True):
        taken = [(run.first_id, run.last_id) for run in runs]
        taken += [(other.first_id, other.last_id) for other in left]
        for first_id, last_id in _without(gap.first_id, gap.last_id, sorted(taken)):
            left.append(
                TradeGap(first_id=first_id, last_id=last_id, reason=gap.reason, found_at_us=gap.found_at_us)
            )
    return sorted(left, key=lambda gap: gap.first_id)


def ids_in_runs(trade_ids: IntArray, runs: Sequence[TradeRun]) -> BoolArray:
    """Which ids a run has; `runs` are as `merge_runs` gives them. Shape (n,)."""
    firsts = np.array([run.first_id for run in runs], dtype=np.int64)
    lasts = np.array([run.last_id for run in runs], dtype=np.int64)
    at = np.searchsorted(firsts, trade_ids, side="right") - 1
    inside: BoolArray = at >= 0
    inside[inside] = trade_ids[inside] <= lasts[at[inside]]
    return inside


def runs_of(trade_ids: IntArray, traded_at_us: IntArray) -> list[TradeRun]:
    """The runs that trades form, given in id order without duplicates, both of shape (n,).

    A run's `last_at_us` is the newest time in it: a venue's times need not follow its ids.
    """
    if len(trade_ids) == 0:
        return []
    breaks = np.flatnonzero(np.diff(trade_ids) != 1)
    starts = np.concatenate(([0], breaks + 1))
    ends = np.concatenate((breaks, [len(trade_ids) - 1]))
    return [
        TradeRun(
            first_id=int(trade_ids[start]),
            last_id=int(trade_ids[end]),
            first_at_us=int(traded_at_us[start]),
            last_at_us=int(newest),
        )
        for start, end, newest in zip(starts, ends, np.maximum.reduceat(traded_at_us, starts), strict=True)
    ]


def _without(first: int, last: int, taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of `[first, last]` outside the ascending ranges of `taken`, bounds included."""
    parts = []
    at = first
    for taken_first, taken_last in taken:
        if taken_last < at:
            continue
        if taken_first > last:
            break
        if taken_first > at:
            parts.append((at, taken_first - 1))
        at = max(at, taken_last + 1)
    if at <= last:
        parts.append((at, last))
    return parts
