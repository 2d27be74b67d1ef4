from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.models import TradeGap, TradeRun
from database.trade_ledger import merge_runs, open_gaps, runs_of

spans = st.tuples(st.integers(1, 60), st.integers(0, 15))


def run_of(first_id: int, last_id: int) -> TradeRun:
    return TradeRun(first_id=first_id, last_id=last_id, first_at_us=first_id * 10, last_at_us=last_id * 10)


def gap_of(first_id: int, last_id: int, found_at_us: int = 0) -> TradeGap:
    return TradeGap(
        first_id=first_id, last_id=last_id, reason=f"found at {found_at_us}", found_at_us=found_at_us
    )


def ids_of(rows: list[TradeRun] | list[TradeGap]) -> set[int]:
    return {trade_id for row in rows for trade_id in range(row.first_id, row.last_id + 1)}


@given(st.lists(spans, max_size=12))
def test_merged_runs_hold_the_same_ids_apart_from_each_other(given_spans: list[tuple[int, int]]) -> None:
    runs = [run_of(first, first + length) for first, length in given_spans]

    merged = merge_runs(runs)

    assert ids_of(merged) == ids_of(runs)
    assert all(before.last_id + 1 < after.first_id for before, after in pairwise(merged))
    assert all((run.first_at_us, run.last_at_us) == (run.first_id * 10, run.last_id * 10) for run in merged)


@given(st.lists(spans, max_size=8), st.lists(spans, max_size=8))
def test_open_gaps_are_the_missing_ids_that_no_run_has_each_told_once(
    gap_spans: list[tuple[int, int]], run_spans: list[tuple[int, int]]
) -> None:
    gaps = [gap_of(first, first + length, number) for number, (first, length) in enumerate(gap_spans)]
    runs = merge_runs(run_of(first, first + length) for first, length in run_spans)

    left = open_gaps(gaps, runs)

    assert ids_of(left) == ids_of(gaps) - ids_of(runs)
    assert sum(gap.last_id - gap.first_id + 1 for gap in left) == len(ids_of(left))


def test_of_two_reasons_for_the_same_ids_the_later_stands() -> None:
    left = open_gaps([gap_of(1, 10, 1), gap_of(4, 6, 2)], [])

    assert [(gap.first_id, gap.last_id, gap.found_at_us) for gap in left] == [
        (1, 3, 1),
        (4, 6, 2),
        (7, 10, 1),
    ]


def test_runs_begin_anew_where_an_id_is_absent() -> None:
    ids = np.array([5, 6, 7, 10, 12, 13])

    assert runs_of(ids, ids * 10) == [run_of(5, 7), run_of(10, 10), run_of(12, 13)]
    assert runs_of(ids[:0], ids[:0]) == []


def test_a_runs_last_time_is_its_newest_whatever_its_last_id_has() -> None:
    found = runs_of(np.array([5, 6, 7, 9, 10]), np.array([50, 90, 70, 100, 95]))

    assert [(run.first_id, run.last_id, run.first_at_us, run.last_at_us) for run in found] == [
        (5, 7, 50, 90),
        (9, 10, 100, 100),
    ]
    later = TradeRun(first_id=8, last_id=8, first_at_us=80, last_at_us=80)
    assert [(run.first_id, run.last_at_us) for run in merge_runs([*found, later])] == [(5, 100)]
    assert merge_runs([found[0], later])[0].last_at_us == 90
