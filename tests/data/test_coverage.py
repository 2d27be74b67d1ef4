from __future__ import annotations

import numpy as np

from data.models import TradeRun
from data.timeframes import Timeframe
from data.coverage import coverage_of, covered

MINUTE_US = Timeframe.M1.us


def run_of(first_at_us: int, last_at_us: int, first_id: int = 1) -> TradeRun:
    return TradeRun(first_id=first_id, last_id=first_id + 10, first_at_us=first_at_us, last_at_us=last_at_us)


def test_the_minutes_in_which_a_run_begins_and_ends_are_not_complete() -> None:
    found = coverage_of([run_of(30_000_000, 5 * MINUTE_US + 1)])

    assert found.complete == ((MINUTE_US, 5 * MINUTE_US),)
    assert (found.complete_count, found.missing_count) == (4, 0)


def test_a_first_trade_on_the_stroke_may_have_had_others_of_its_moment_before_it() -> None:
    found = coverage_of([run_of(MINUTE_US, 3 * MINUTE_US)])

    assert found.complete == ((2 * MINUTE_US, 3 * MINUTE_US),)


def test_a_run_that_fills_no_interval_covers_nothing() -> None:
    assert coverage_of([run_of(1, 2 * MINUTE_US - 1)]).complete == ()
    assert coverage_of([]).complete == ()
    assert not covered(np.array([0, MINUTE_US]), Timeframe.M1, []).any()


def test_what_lies_between_runs_is_missing_in_whole_minutes() -> None:
    runs = [run_of(1, 3 * MINUTE_US + 5), run_of(5 * MINUTE_US + 7, 9 * MINUTE_US, first_id=50)]

    found = coverage_of(runs)

    assert found.complete == ((MINUTE_US, 3 * MINUTE_US), (6 * MINUTE_US, 9 * MINUTE_US))
    assert found.missing == ((3 * MINUTE_US, 6 * MINUTE_US),)
    assert found.missing_count == 3


def test_runs_that_overlap_in_time_are_counted_once() -> None:
    found = coverage_of([run_of(0, 5 * MINUTE_US), run_of(2 * MINUTE_US, 4 * MINUTE_US, first_id=50)])

    assert found.complete == ((MINUTE_US, 5 * MINUTE_US),)


def test_a_candle_is_covered_when_its_whole_interval_lies_in_one_run() -> None:
    runs = [run_of(1, 10 * MINUTE_US), run_of(11 * MINUTE_US, 30 * MINUTE_US, first_id=50)]
    opened = np.arange(0, 30, 5) * MINUTE_US

    assert covered(opened, Timeframe.M5, runs).tolist() == [False, True, False, True, True, True]
