from __future__ import annotations

from itertools import pairwise

import pytest

from backtesting.search.spans import Scheme, Span, Split, folds_of
from data.errors import InvalidInput


@pytest.mark.parametrize("scheme", [Scheme.ANCHORED, Scheme.ROLLING])
@pytest.mark.parametrize("folds", [1, 4, 7])
def test_tests_follow_their_past_and_each_other(scheme: Scheme, folds: int) -> None:
    found = folds_of(Split(scheme=scheme, folds=folds), 1_003)
    assert len(found) == folds
    assert found[-1].test.stop == 1_003
    for fold in found:
        assert fold.train.stop == fold.test.start
    for before, after in pairwise(found):
        assert before.test.stop == after.test.start


def test_an_anchored_past_grows_and_a_rolling_one_does_not() -> None:
    anchored = folds_of(Split(scheme=Scheme.ANCHORED, folds=3), 400)
    rolling = folds_of(Split(scheme=Scheme.ROLLING, folds=3), 400)
    assert [fold.train for fold in anchored] == [Span(start=0, stop=stop) for stop in (100, 200, 300)]
    assert [fold.train for fold in rolling] == [Span(start=stop - 100, stop=stop) for stop in (100, 200, 300)]


def test_a_split_tests_the_end() -> None:
    [fold] = folds_of(Split(scheme=Scheme.SPLIT, test_fraction=0.25), 400)
    assert (fold.train, fold.test) == (Span(start=0, stop=300), Span(start=300, stop=400))


@pytest.mark.parametrize(
    ("split", "field"),
    [
        (Split(scheme=Scheme.SPLIT, test_fraction=1.0), "test_fraction"),
        (Split(scheme=Scheme.SPLIT, test_fraction=0.001), "candles"),
        (Split(scheme=Scheme.ROLLING, folds=0), "folds"),
        (Split(scheme=Scheme.ROLLING, folds=100), "candles"),
    ],
)
def test_a_division_that_says_nothing_is_refused(split: Split, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        folds_of(split, 400)
    assert refused.value.problems[0].field == field
