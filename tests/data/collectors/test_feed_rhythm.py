from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data.collectors.feed_rhythm import FeedRhythm

SECOND_US = 1_000_000


def rhythm_of(*pauses_us: int) -> FeedRhythm:
    rhythm = FeedRhythm()
    at_us = 1
    rhythm.note(at_us)
    for pause_us in pauses_us:
        at_us += pause_us
        rhythm.note(at_us)
    return rhythm


def test_nothing_is_said_of_a_market_that_traded_a_few_times() -> None:
    assert FeedRhythm().usual_pause_s() is None
    assert rhythm_of(*[SECOND_US] * 19).usual_pause_s() is None


@given(pause_us=st.integers(1, 3_600 * SECOND_US))
def test_a_steady_market_has_its_own_pause_up_to_a_power_of_two(pause_us: int) -> None:
    pause_s = rhythm_of(*[pause_us] * 50).usual_pause_s()
    assert pause_s is not None
    assert pause_us <= pause_s * SECOND_US <= 2 * pause_us


def test_a_rare_long_pause_is_not_the_usual_one() -> None:
    pauses = ([SECOND_US] * 150 + [600 * SECOND_US]) * 4
    assert rhythm_of(*pauses).usual_pause_s() == 2**20 / SECOND_US


def test_trades_of_one_moment_and_late_ones_teach_nothing() -> None:
    rhythm = rhythm_of(*[SECOND_US] * 50)
    last_at_us = rhythm.last_at_us
    for _ in range(1_000):
        rhythm.note(last_at_us)
    rhythm.note(last_at_us - 60 * SECOND_US)
    assert rhythm.last_at_us == last_at_us
    assert rhythm.usual_pause_s() == 2**20 / SECOND_US


def test_a_market_that_became_quieter_is_believed_after_a_while() -> None:
    lively = [SECOND_US // 10] * 5_000
    assert (rhythm_of(*lively).usual_pause_s() or 0) < 0.2
    assert (rhythm_of(*lively, *[30 * SECOND_US] * 100).usual_pause_s() or 0) > 30
