from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings

from data.models import Ohlcv
from data.timeframes import Timeframe, to_us
from strategies.higher_timeframe import HigherCandleFold, fold, left_out
from tests.strategies.naive import naive_fold
from tests.strategies.series import MONDAY_US, candle_series, candles_of, ohlcv_of

MINUTE_US = 60_000_000


def at_minutes(*minutes: int) -> Ohlcv:
    """Five-minute candles that open so many minutes after midnight, closing at 1, 2, 3 ..."""
    closes = [float(number) for number in range(1, len(minutes) + 1)]
    rows = [(close, close + 1.0, close - 1.0, close, 1.0) for close in closes]
    return ohlcv_of([MONDAY_US + minute * MINUTE_US for minute in minutes], rows, Timeframe.M5)


def test_a_higher_candle_is_visible_from_the_candle_that_closes_with_it() -> None:
    folded = fold(at_minutes(0, 5, 10, 15, 20), Timeframe.M15)
    assert folded.visible.tolist() == [-1, -1, 0, 0, 0]
    assert folded.candles.close.tolist() == [3]
    assert (folded.candles.open[0], folded.candles.high[0], folded.candles.low[0]) == (1, 4, 0)


def test_a_higher_candle_whose_last_part_had_no_trades_is_visible_from_the_next_candle() -> None:
    folded = fold(at_minutes(0, 5, 15, 50), Timeframe.M15)
    assert folded.visible.tolist() == [-1, -1, 0, 1]
    assert folded.candles.close.tolist() == [2, 3]


def test_a_first_interval_not_covered_from_its_open_is_not_used() -> None:
    folded = fold(at_minutes(5, 10, 15, 20, 25), Timeframe.M15)
    assert folded.visible.tolist() == [-1, -1, -1, -1, 0]
    assert folded.candles.close.tolist() == [5]


def test_candles_at_the_ends_that_fill_no_higher_one_are_told() -> None:
    base = at_minutes(*range(5, 50, 5))
    told = left_out(base, fold(base, Timeframe.M15).candles)
    assert [sentence.split(",")[0] for sentence in told] == [
        "left out: 2 of the 5m candles",
        "left out: 1 of the 5m candles",
    ]
    assert "before 2024-01-01T00:15:00Z" in told[0]
    assert "from 2024-01-01T00:45:00Z" in told[1]


def test_nothing_is_told_where_all_candles_fold() -> None:
    base = at_minutes(*range(0, 30, 5))
    assert left_out(base, fold(base, Timeframe.M15).candles) == []
    assert left_out(at_minutes(5), fold(at_minutes(5), Timeframe.M15).candles) == []


def test_one_candle_may_end_two_higher_ones() -> None:
    base = at_minutes(0, 25)
    assert fold(base, Timeframe.M15).visible.tolist() == [-1, 1]
    folder = HigherCandleFold(Timeframe.M5, Timeframe.M15)
    assert [len(folder.update(candle)) for candle in candles_of(base)] == [0, 2]


def test_weeks_open_on_monday() -> None:
    days = [to_us(datetime(2024, 1, day, tzinfo=UTC)) for day in range(6, 17)]
    base = ohlcv_of(days, [(1.0, 1.0, 1.0, float(day), 1.0) for day in range(6, 17)], Timeframe.D1)
    folded = fold(base, Timeframe.W1)
    assert folded.candles.opened_at_us.tolist() == [to_us(datetime(2024, 1, 8, tzinfo=UTC))]
    assert folded.candles.close.tolist() == [14]
    assert folded.visible.tolist() == [-1] * 8 + [0] * 3


def test_nothing_folds_to_nothing() -> None:
    folded = fold(at_minutes(), Timeframe.H1)
    assert len(folded.candles) == len(folded.visible) == 0


@pytest.mark.parametrize("higher", [Timeframe.M15, Timeframe.H1, Timeframe.W1])
@given(base=candle_series())
@settings(max_examples=25, deadline=None)
def test_arrays_streams_and_a_naive_fold_agree(higher: Timeframe, base: Ohlcv) -> None:
    folded = fold(base, higher)
    expected, seen = naive_fold(base, higher)
    assert folded.visible.tolist() == seen
    folder = HigherCandleFold(base.timeframe, higher)
    closed, counts = [], []
    for candle in candles_of(base):
        closed.extend(folder.update(candle))
        counts.append(len(closed) - 1)
    assert counts == seen
    table = np.array(closed, dtype=np.float64).reshape(len(closed), 6)
    for column, name in enumerate(("opened_at_us", "open", "high", "low", "close", "volume")):
        np.testing.assert_array_equal(getattr(folded.candles, name), getattr(expected, name))
        np.testing.assert_array_equal(table[:, column], getattr(expected, name))
