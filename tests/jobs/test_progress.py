from __future__ import annotations

import pytest

from jobs.model import JobProgress
from jobs.progress import ProgressTeller


class Listener:
    """Hears what a job tells, by a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.published: list[JobProgress] = []
        self.stored: list[JobProgress] = []
        self.tell = ProgressTeller(
            publish=self.published.append, store=self.stored.append, now_us=lambda: self.now_us
        )


@pytest.fixture
def listener() -> Listener:
    return Listener()


def test_pages_hear_at_most_four_times_a_second_and_the_database_once(listener: Listener) -> None:
    for step in range(2_001):
        listener.tell(step, 1_000_000, "trials")
        listener.now_us += 1_000

    assert len(listener.published) == 1 + 8
    assert len(listener.stored) == 1 + 2


def test_the_end_of_a_stage_is_told_whenever_it_comes(listener: Listener) -> None:
    listener.tell(0, 2, "reading")
    listener.now_us += 10
    listener.tell(2, 2, "reading")
    listener.now_us += 10
    listener.tell(0, 5, "writing")

    assert [(told.done, told.message) for told in listener.stored] == [
        (0, "reading"),
        (2, "reading"),
        (0, "writing"),
    ]
    assert listener.published == listener.stored


def test_the_estimate_counts_what_this_attempt_did_and_not_what_it_found(listener: Listener) -> None:
    listener.tell(600, 1_000, "trials")
    listener.now_us += 10_000_000
    listener.tell(700, 1_000, "trials")

    assert listener.stored[-1].rate == pytest.approx(10.0)
    assert listener.stored[-1].left_s == pytest.approx(30.0)


def test_nothing_is_estimated_before_anything_is_known(listener: Listener) -> None:
    listener.tell(0, 100, "trials")
    listener.now_us += 5_000_000
    listener.tell(0, 100, "trials")
    listener.now_us += 5_000_000
    listener.tell(7, 0, "trials")

    assert [told.left_s for told in listener.stored] == [None, None, None]
    assert [told.rate for told in listener.stored][:2] == [None, None]
