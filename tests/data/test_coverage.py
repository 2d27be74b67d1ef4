from __future__ import annotations

import numpy as np

from data.coverage import (
    StateSpan,
    TradeRepair,
    VenueOutage,
    coverage_of,
    covered,
    minute_counts,
    minute_states,
)
from data.models import TradeGap, TradeRun
from data.timeframes import Timeframe

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


def hole_between(first: TradeRun, second: TradeRun, reason: str) -> TradeGap:
    return TradeGap(first_id=first.last_id + 1, last_id=second.first_id - 1, reason=reason, found_at_us=0)


def repair_of(start_us: int, end_us: int, *, repaired: bool = True, reason: str = "lost") -> TradeRepair:
    return TradeRepair(
        first_id=3,
        last_id=4,
        start_us=start_us,
        end_us=end_us,
        reason=reason,
        repaired_at_us=1 if repaired else None,
    )


def told(spans: list[StateSpan]) -> list[tuple[int, int, str, str]]:
    """Spans in minutes."""
    return [
        (span.start_us // MINUTE_US, span.end_us // MINUTE_US, span.state.value, span.reason)
        for span in spans
    ]


def test_every_minute_is_in_one_state_and_the_hole_has_its_reason() -> None:
    first, second = run_of(1, 3 * MINUTE_US + 5), run_of(5 * MINUTE_US + 7, 9 * MINUTE_US, first_id=50)

    found = minute_states([first, second], [hole_between(first, second, "venue_unreachable")])

    assert told(found) == [
        (1, 3, "complete", ""),
        (3, 6, "missing", "venue_unreachable"),
        (6, 9, "complete", ""),
    ]
    assert minute_counts(found) == {"complete": 5, "repaired": 0, "venue_down": 0, "missing": 3}


def test_a_hole_is_told_although_no_minute_is_complete_before_or_after_it() -> None:
    first, second = run_of(1, 2 * MINUTE_US - 1), run_of(3 * MINUTE_US + 7, 4 * MINUTE_US + 9, first_id=50)
    third = run_of(6 * MINUTE_US + 1, 7 * MINUTE_US + 1, first_id=90)
    gaps = [hole_between(first, second, "cut off"), hole_between(second, third, "absent_at_venue")]

    assert told(minute_states([first, second, third], gaps)) == [
        (1, 7, "missing", "absent_at_venue, cut off"),
    ]
    assert told(minute_states([run_of(1, 3 * MINUTE_US), third], [])) == [
        (1, 3, "complete", ""),
        (3, 7, "missing", "not_recorded"),
    ]
    assert minute_states([run_of(1, MINUTE_US + 1)], []) == []


def test_repaired_minutes_are_those_the_fetched_trades_may_lie_in() -> None:
    found = minute_states([run_of(1, 9 * MINUTE_US)], [], [repair_of(3 * MINUTE_US + 5, 4 * MINUTE_US + 1)])

    assert told(found) == [(1, 3, "complete", ""), (3, 5, "repaired", "lost"), (5, 9, "complete", "")]


def test_history_fetched_before_recording_began_is_complete() -> None:
    found = minute_states([run_of(1, 9 * MINUTE_US)], [], [repair_of(0, 8 * MINUTE_US, reason="history")])

    assert told(found) == [(1, 9, "complete", "")]


def test_what_the_store_has_lost_for_good_is_missing_although_the_ledger_has_it() -> None:
    repairs = [repair_of(3 * MINUTE_US, 3 * MINUTE_US + 9, repaired=False, reason="deleted_from_store")]

    found = minute_states([run_of(1, 9 * MINUTE_US)], [], repairs)

    assert (3, 4, "missing", "deleted_from_store") in told(found)


def test_an_outage_explains_missing_minutes_and_never_those_proven_by_ids() -> None:
    runs = [run_of(1, 3 * MINUTE_US + 5), run_of(6 * MINUTE_US, 9 * MINUTE_US, first_id=50)]
    outage = VenueOutage(start_us=2 * MINUTE_US, end_us=5 * MINUTE_US + 9, reason="maintenance")

    assert told(minute_states(runs, [], outages=[outage])) == [
        (1, 3, "complete", ""),
        (3, 5, "venue_down", "maintenance"),
        (5, 7, "missing", "not_recorded"),
        (7, 9, "complete", ""),
    ]


def test_asked_for_minutes_outside_of_the_recording_are_missing() -> None:
    found = minute_states([run_of(1, 3 * MINUTE_US)], [], start_us=-5, end_us=4 * MINUTE_US + 1)

    assert told(found) == [
        (-1, 1, "missing", "before_recording"),
        (1, 3, "complete", ""),
        (3, 5, "missing", "not_yet_recorded"),
    ]
