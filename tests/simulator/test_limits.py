"""Rate limits by a clock that is handed in."""

from __future__ import annotations

from simulator.limits import SlidingWindow, WeightBudget


def test_a_window_lets_through_what_fits_and_forgets_what_has_passed() -> None:
    window = SlidingWindow(limit=2, window_s=2.0)
    assert [window.take(now) for now in (0.0, 1.0, 1.5, 2.0, 2.5, 3.0)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_weight_is_counted_by_the_minute_of_the_clock() -> None:
    budget = WeightBudget(limit=100)
    assert (budget.take(60, 120.0).used, budget.take(40, 150.0).status) == (60, 200)
    refused = budget.take(1, 170.5)
    assert (refused.status, refused.retry_after_s) == (429, 10)
    assert budget.take(1, 180.0).status == 200


def test_who_goes_on_while_refused_is_banned() -> None:
    budget = WeightBudget(limit=1)
    verdicts = [budget.take(1, 60.0).status for _ in range(60)]
    assert verdicts[:2] == [200, 429]
    assert verdicts[-1] == 418
    assert budget.take(1, 121.0).status == 418
    assert budget.take(1, 181.0).status == 200
