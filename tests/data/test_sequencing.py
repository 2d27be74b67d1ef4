from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.models import Trade, TradeGap, TradeRun
from data.sequencing import MissingRange, TradeSequencer
from tests.data.trade_series import SECOND_US, START_US, UNHURRIED, trade


def numbered(*trade_ids: int) -> list[Trade]:
    return [trade(trade_id, START_US + trade_id * SECOND_US) for trade_id in trade_ids]


def ids(trades: Sequence[Trade]) -> list[int]:
    return [each.trade_id for each in trades]


def stored_run(first_id: int, last_id: int) -> TradeRun:
    return TradeRun(
        first_id=first_id,
        last_id=last_id,
        first_at_us=START_US + first_id * SECOND_US,
        last_at_us=START_US + last_id * SECOND_US,
    )


@st.composite
def messy_streams(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    """How many trades there are (ids 1 to n), and messages with some of them, shuffled and repeated."""
    count = draw(st.integers(1, 40))
    kept = draw(st.sets(st.integers(1, count)))
    repeated = draw(st.lists(st.sampled_from(sorted(kept)), max_size=20)) if kept else []
    order = draw(st.permutations([*sorted(kept), *repeated]))
    sizes = draw(st.lists(st.integers(1, 5), max_size=60))
    messages, at = [], 0
    for size in [*sizes, len(order)]:
        messages.append(list(order[at : at + size]))
        at += size
    return count, [message for message in messages if message]


@UNHURRIED
@given(stream=messy_streams())
def test_shuffled_repeated_and_dropped_trades_come_out_once_each_in_order_once_history_fills_in(
    stream: tuple[int, list[list[int]]],
) -> None:
    count, messages = stream
    sequencer = TradeSequencer(stored_run(0, 0))
    out = [one for message in messages for one in sequencer.accept(numbered(*message))]
    while (missing := sequencer.missing()) is not None:
        # History comes in pages, which overlap what is there already.
        out += sequencer.accept(numbered(*range(missing.first_id, min(missing.last_id + 2, count + 1))))
    arrived = max((one for message in messages for one in message), default=0)
    assert ids(out) == list(range(1, len(out) + 1))
    assert len(out) >= arrived
    assert sequencer.waiting == 0
    if out:
        assert sequencer.run == stored_run(0, len(out))


@UNHURRIED
@given(stream=messy_streams())
def test_without_history_every_id_is_either_given_once_or_reported_in_a_gap(
    stream: tuple[int, list[list[int]]],
) -> None:
    _, messages = stream
    sequencer = TradeSequencer(stored_run(0, 0))
    out: list[int] = []
    gaps: list[TradeGap] = []
    runs: list[TradeRun] = []
    for message in messages:
        out += ids(sequencer.accept(numbered(*message)))
    while (missing := sequencer.missing()) is not None:
        gap, ended, released = sequencer.give_up(missing, "history_unavailable", 7)
        gaps.append(gap)
        runs += [ended] if ended else []
        out += ids(released)
    runs += [sequencer.run] if sequencer.run else []
    arrived = {one for message in messages for one in message}
    assert out == sorted(arrived)
    lost = [one for gap in gaps for one in range(gap.first_id, gap.last_id + 1)]
    assert sorted([*out, *lost]) == list(range(1, max(arrived, default=0) + 1))
    # The runs are exactly the stretches of ids without a hole (and 0, which was stored before).
    assert [one for run in runs for one in range(run.first_id, run.last_id + 1)] == [0, *out]


@UNHURRIED
@given(stream=messy_streams())
def test_how_trades_are_cut_into_calls_changes_nothing(stream: tuple[int, list[list[int]]]) -> None:
    _, messages = stream
    together, singly = TradeSequencer(stored_run(0, 0)), TradeSequencer(stored_run(0, 0))
    for message in messages:
        out = ids(together.accept(numbered(*message)))
        assert out == [one for each in message for one in ids(singly.accept(numbered(each)))]
        assert (together.run, together.missing(), together.waiting, together.duplicates) == (
            singly.run,
            singly.missing(),
            singly.waiting,
            singly.duplicates,
        )


def test_a_market_never_recorded_begins_with_its_first_trade() -> None:
    sequencer = TradeSequencer()
    assert sequencer.next_id is None
    assert sequencer.run is None
    assert ids(sequencer.accept(numbered(50))) == [50]
    assert sequencer.accept(numbered(49)) == ()
    assert (sequencer.before_run, sequencer.duplicates) == (1, 0)
    assert sequencer.run == stored_run(50, 50)


def test_a_run_goes_on_after_a_restart_and_what_is_stored_is_a_duplicate() -> None:
    sequencer = TradeSequencer(stored_run(10, 20))
    assert sequencer.accept(numbered(20)) == ()
    assert sequencer.duplicates == 1
    assert sequencer.accept(numbered(25)) == ()
    assert sequencer.missing() == MissingRange(21, 24)
    assert ids(sequencer.accept(numbered(24, 23, 22, 21))) == [21, 22, 23, 24, 25]
    assert sequencer.run == stored_run(10, 25)


def test_only_the_part_of_a_hole_that_cannot_be_had_is_given_up() -> None:
    sequencer = TradeSequencer(stored_run(1, 9))
    sequencer.accept(numbered(20))
    assert ids(sequencer.accept(numbered(10, 11, 15, 16))) == [10, 11]
    assert sequencer.missing() == MissingRange(12, 14)
    gap, ended, released = sequencer.give_up(MissingRange(12, 14), "history_unavailable", 99)
    assert gap == TradeGap(first_id=12, last_id=14, reason="history_unavailable", found_at_us=99)
    assert ended == stored_run(1, 11)
    assert ids(released) == [15, 16]
    assert sequencer.run == stored_run(15, 16)
    assert sequencer.missing() == MissingRange(17, 19)


def test_two_gaps_in_a_row_end_one_run_once() -> None:
    sequencer = TradeSequencer(stored_run(1, 9))
    sequencer.accept(numbered(30))
    _, ended, released = sequencer.give_up(MissingRange(10, 19), "history_unavailable", 0)
    assert (ended, ids(released)) == (stored_run(1, 9), [])
    assert sequencer.run is None
    _, ended, released = sequencer.give_up(MissingRange(20, 29), "history_unavailable", 0)
    assert (ended, ids(released)) == (None, [30])
    assert sequencer.run == stored_run(30, 30)


def test_ids_that_are_not_missing_cannot_be_given_up() -> None:
    sequencer = TradeSequencer(stored_run(1, 9))
    with pytest.raises(ValueError, match="not the beginning of what is missing"):
        sequencer.give_up(MissingRange(10, 11), "history_unavailable", 0)
    sequencer.accept(numbered(15))
    with pytest.raises(ValueError, match="not the beginning of what is missing"):
        sequencer.give_up(MissingRange(11, 14), "history_unavailable", 0)
    with pytest.raises(ValueError, match="not the beginning of what is missing"):
        sequencer.give_up(MissingRange(10, 15), "history_unavailable", 0)


def test_ids_known_to_exist_are_missing_before_any_later_trade_comes() -> None:
    sequencer = TradeSequencer(stored_run(1, 9))
    sequencer.expect_through(12)
    assert sequencer.missing() == MissingRange(10, 12)
    assert ids(sequencer.accept(numbered(10))) == [10]
    assert ids(sequencer.accept(numbered(13))) == []
    assert ids(sequencer.accept(numbered(11, 12))) == [11, 12, 13]
    assert sequencer.missing() is None


def test_what_waits_is_bounded_and_says_so() -> None:
    sequencer = TradeSequencer(stored_run(1, 1), max_waiting=3)
    sequencer.accept(numbered(5, 6))
    assert not sequencer.full
    sequencer.accept(numbered(7))
    assert sequencer.full
    sequencer.give_up(MissingRange(2, 4), "venue_unreachable", 0)
    assert not sequencer.full


def test_a_runs_last_time_is_the_newest_in_it_although_ids_and_times_disagree() -> None:
    sequencer = TradeSequencer()
    sequencer.accept([trade(1, 10 * SECOND_US)])
    sequencer.accept([trade(2, 12 * SECOND_US)])
    sequencer.accept([trade(3, 11 * SECOND_US)])
    run = sequencer.run
    assert run is not None
    assert (run.first_at_us, run.last_at_us) == (10 * SECOND_US, 12 * SECOND_US)
    sequencer.accept([trade(4, 14 * SECOND_US), trade(5, 13 * SECOND_US)])
    run = sequencer.run
    assert run is not None
    assert run.last_at_us == 14 * SECOND_US
