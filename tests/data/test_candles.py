from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.candles import (
    CandleBuilder,
    CandleCascade,
    candles_from_trades,
    fold_candles,
    seconds_from_trades,
    sources_of,
)
from data.errors import LateTrade
from data.models import Candle, Trade
from data.timeframes import Timeframe, floor_to
from tests.data.trade_series import MARKET, SECOND_US, START_US, UNHURRIED, trade, trade_series, trades_at

ALL = tuple(Timeframe)
BEFORE_US = START_US - 1
FOREVER_US = 2**62


def closed_by(cascade: CandleCascade, trades: Iterable[Trade]) -> list[Candle]:
    return [candle for each in trades for candle in cascade.add(each)]


def referee(trades: Sequence[Trade], timeframe: Timeframe) -> dict[int, Candle]:
    """Candles by the definition: the trades of each interval, looked up one interval at a time."""
    intervals: dict[int, list[Trade]] = {}
    for each in trades:
        intervals.setdefault(floor_to(each.traded_at_us, timeframe), []).append(each)
    return {
        opened_at_us: Candle(
            exchange=MARKET.exchange,
            symbol=MARKET.symbol,
            timeframe=timeframe,
            opened_at_us=opened_at_us,
            open=inside[0].price,
            high=max(each.price for each in inside),
            low=min(each.price for each in inside),
            close=inside[-1].price,
            volume=math.fsum(each.quantity for each in inside),
            trades=len(inside),
        )
        for opened_at_us, inside in intervals.items()
    }


def assert_same(actual: Candle, expected: Candle) -> None:
    assert actual.volume == pytest.approx(expected.volume, rel=1e-12, abs=0)
    for field in ("timeframe", "opened_at_us", "open", "high", "low", "close", "trades"):
        assert getattr(actual, field) == getattr(expected, field), field


def assert_same_candles(actual: Iterable[Candle], expected: Iterable[Candle]) -> None:
    found = {(candle.timeframe, candle.opened_at_us): candle for candle in actual}
    wanted = {(candle.timeframe, candle.opened_at_us): candle for candle in expected}
    assert found.keys() == wanted.keys()
    for key, candle in wanted.items():
        assert_same(found[key], candle)


@UNHURRIED
@given(trades=trade_series())
def test_every_candle_of_every_time_frame_is_what_its_trades_say(trades: Sequence[Trade]) -> None:
    cascade = CandleCascade(MARKET, ALL, BEFORE_US)
    closed = closed_by(cascade, trades)
    closed += cascade.advance(FOREVER_US)
    for timeframe in ALL:
        of_frame = [candle for candle in closed if candle.timeframe is timeframe]
        assert [candle.opened_at_us for candle in of_frame] == sorted(referee(trades, timeframe))
    assert_same_candles(closed, [c for timeframe in ALL for c in referee(trades, timeframe).values()])


@UNHURRIED
@given(trades=trade_series())
def test_the_candles_in_the_making_are_what_the_trades_so_far_say(trades: Sequence[Trade]) -> None:
    cascade = CandleCascade(MARKET, ALL, BEFORE_US)
    for seen, each in enumerate(trades, start=1):
        cascade.add(each)
        newest = [
            referee(trades[:seen], timeframe)[floor_to(each.traded_at_us, timeframe)] for timeframe in ALL
        ]
        assert_same_candles(cascade.forming(), newest)


@UNHURRIED
@given(trades=trade_series(), frames=st.sets(st.sampled_from(ALL), min_size=1))
def test_a_time_frame_has_the_same_candles_whatever_others_are_built(
    trades: Sequence[Trade], frames: set[Timeframe]
) -> None:
    cascade = CandleCascade(MARKET, frames, BEFORE_US)
    closed = [*closed_by(cascade, trades), *cascade.advance(FOREVER_US)]
    assert_same_candles(closed, [c for timeframe in frames for c in referee(trades, timeframe).values()])


@UNHURRIED
@given(trades=trade_series(), data=st.data())
def test_the_bulk_function_agrees_with_the_cascade_also_when_trades_are_out_of_time_order(
    trades: Sequence[Trade], data: st.DataObject
) -> None:
    jitter = data.draw(st.lists(st.integers(-3 * SECOND_US, 0), min_size=len(trades), max_size=len(trades)))
    moved = [
        trade(each.trade_id, each.traded_at_us + late_us, each.price, each.quantity)
        for each, late_us in zip(trades, jitter, strict=True)
    ]
    built = candles_from_trades(
        np.array([each.price for each in moved]),
        np.array([each.quantity for each in moved]),
        np.array([each.traded_at_us for each in moved]),
        ALL,
    )
    seconds = seconds_from_trades(MARKET, moved)
    assert list(built) == list(ALL)
    for timeframe, columns in built.items():
        expected = seconds if timeframe is Timeframe.S1 else fold_candles(MARKET, timeframe, seconds)
        ohlcv = columns.ohlcv
        assert ohlcv.timeframe is timeframe
        assert ohlcv.opened_at_us.tolist() == [candle.opened_at_us for candle in expected]
        for name in ("open", "high", "low", "close"):
            assert getattr(ohlcv, name).tolist() == [getattr(candle, name) for candle in expected]
        assert columns.trades.tolist() == [candle.trades for candle in expected]
        np.testing.assert_allclose(ohlcv.volume, [c.volume for c in expected], rtol=1e-12, atol=0)


def test_the_bulk_function_makes_no_candles_of_no_trades() -> None:
    built = candles_from_trades(np.zeros(0), np.zeros(0), np.zeros(0, np.int64), [Timeframe.M1, Timeframe.W1])
    assert {timeframe: len(columns.ohlcv) for timeframe, columns in built.items()} == {
        Timeframe.M1: 0,
        Timeframe.W1: 0,
    }


@UNHURRIED
@given(
    trades=trade_series(min_size=2), cut=st.integers(1, 59), frames=st.sets(st.sampled_from(ALL), min_size=1)
)
def test_a_cascade_restored_at_any_cut_goes_on_like_one_that_never_stopped(
    trades: Sequence[Trade], cut: int, frames: set[Timeframe]
) -> None:
    before, after = trades[: min(cut, len(trades) - 1)], trades[min(cut, len(trades) - 1) :]
    unbroken = CandleCascade(MARKET, frames)
    stored = closed_by(unbroken, before)
    last_at_us = before[-1].traded_at_us

    reads = CandleCascade.restore_reads(frames, last_at_us)
    restored = CandleCascade.restored(
        MARKET,
        frames,
        covered_from_us=before[0].traded_at_us,
        last_at_us=last_at_us,
        candles={
            timeframe: [
                candle
                for candle in stored
                if candle.timeframe is timeframe and start_us <= candle.opened_at_us < end_us
            ]
            for timeframe, start_us, end_us in reads.candles
        },
        trades=[each for each in before if each.traded_at_us >= reads.trades_from_us],
    )

    assert_same_candles(
        [candle for candle in restored.forming() if restored.covers(candle.opened_at_us)],
        [candle for candle in unbroken.forming() if unbroken.covers(candle.opened_at_us)],
    )
    assert_same_candles(
        [*closed_by(restored, after), *restored.advance(FOREVER_US)],
        [*closed_by(unbroken, after), *unbroken.advance(FOREVER_US)],
    )


@UNHURRIED
@given(
    trades=trade_series(),
    steps_back=st.lists(st.integers(-90 * SECOND_US, 0), min_size=40, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_trades_added_together_make_the_candles_of_trades_added_one_by_one(
    trades: Sequence[Trade], steps_back: list[int], cuts: list[int]
) -> None:
    moved = [
        msgspec.structs.replace(each, traded_at_us=each.traded_at_us + back)
        for each, back in zip(trades, steps_back, strict=False)
    ]
    together, singly = CandleCascade(MARKET, Timeframe), CandleCascade(MARKET, Timeframe)
    late: list[Trade] = []
    late_singly: list[Trade] = []
    edges = [0, *sorted(cuts), len(moved)]
    for start, end in pairwise(edges):
        closed: list[Candle] = []
        for each in moved[start:end]:
            try:
                closed += singly.add(each)
            except LateTrade:
                late_singly.append(each)
        assert list(together.add_all(moved[start:end], late)) == closed
        assert together.forming() == singly.forming()
        assert together.take_uncovered() == singly.take_uncovered()
    assert late == late_singly


def test_candles_of_intervals_that_were_joined_half_way_are_not_returned() -> None:
    cascade = CandleCascade(MARKET, [Timeframe.S1, Timeframe.M1])
    closed = closed_by(cascade, trades_at(30.2, 30.7, 31.0, 59.0, 60.0, 61.0, 125.0))
    assert [(candle.timeframe.value, (candle.opened_at_us - START_US) // SECOND_US) for candle in closed] == [
        ("1s", 31),
        ("1s", 59),
        ("1s", 60),
        ("1s", 61),
        ("1m", 60),
    ]
    assert cascade.take_uncovered() == [
        (Timeframe.S1, START_US + 30 * SECOND_US),
        (Timeframe.M1, START_US),
    ]
    assert cascade.take_uncovered() == []


def test_a_candle_that_opens_with_the_first_trade_is_not_covered_but_the_next_is() -> None:
    # Trades of the same moment may have come before the first one we saw.
    cascade = CandleCascade(MARKET, [Timeframe.S1])
    assert not closed_by(cascade, trades_at(0.0, 0.5, 1.0))
    assert [candle.opened_at_us for candle in cascade.advance(FOREVER_US)] == [START_US + SECOND_US]


def test_a_hole_uncovers_the_candles_it_touches_and_no_others() -> None:
    cascade = CandleCascade(MARKET, [Timeframe.S1, Timeframe.M1], BEFORE_US)
    first, second, *later = trades_at(1.0, 2.0, 2.5, 3.0, 61.0, 121.0)
    closed = closed_by(cascade, [first, second])
    cascade.mark_hole(later[0].traded_at_us)
    closed += closed_by(cascade, later)
    assert [(candle.timeframe.value, (candle.opened_at_us - START_US) // SECOND_US) for candle in closed] == [
        ("1s", 1),
        ("1s", 3),
        ("1s", 61),
        ("1m", 60),
    ]


def test_a_late_trade_is_refused_and_changes_nothing() -> None:
    cascade = CandleCascade(MARKET, ALL, BEFORE_US)
    closed_by(cascade, trades_at(1.0, 2.0, 3.0))
    standing = cascade.forming()
    with pytest.raises(LateTrade) as caught:
        cascade.add(trade(4, START_US + 2 * SECOND_US + 999_999, price=9_999.0))
    assert (caught.value.trade_id, caught.value.opened_at_us) == (4, START_US + 3 * SECOND_US)
    assert cascade.forming() == standing


def test_a_restored_cascade_refuses_late_trades_too() -> None:
    # Its minute began with the last trade, so nothing of that minute was folded when it was restored.
    restored = CandleCascade.restored(
        MARKET,
        [Timeframe.S1, Timeframe.M1],
        covered_from_us=BEFORE_US,
        last_at_us=START_US + 120 * SECOND_US,
        candles={},
        trades=[trade(9, START_US + 120 * SECOND_US)],
    )
    restored.advance(START_US + 121 * SECOND_US)
    with pytest.raises(LateTrade):
        restored.add(trade(10, START_US + 119 * SECOND_US))


def test_a_hole_before_a_trade_out_of_time_order_uncovers_what_is_in_the_making() -> None:
    cascade = CandleCascade(MARKET, [Timeframe.S1], BEFORE_US)
    closed_by(cascade, trades_at(1.0, 2.5))
    cascade.mark_hole(START_US + SECOND_US + 900_000)
    assert not closed_by(cascade, trades_at(3.0))


def test_the_venues_clock_closes_candles_of_a_quiet_market() -> None:
    cascade = CandleCascade(MARKET, [Timeframe.S1, Timeframe.M1], BEFORE_US)
    closed_by(cascade, trades_at(1.0))
    assert not cascade.advance(START_US + 2 * SECOND_US - 1)
    assert [candle.timeframe for candle in cascade.advance(START_US + 2 * SECOND_US)] == [Timeframe.S1]
    assert [candle.timeframe for candle in cascade.forming()] == [Timeframe.M1]
    assert [candle.timeframe for candle in cascade.advance(START_US + 60 * SECOND_US)] == [Timeframe.M1]
    assert cascade.forming() == []


def test_a_trade_behind_the_clock_is_late_only_where_a_candle_was_closed() -> None:
    cascade = CandleCascade(MARKET, [Timeframe.S1, Timeframe.M1], BEFORE_US)
    closed_by(cascade, trades_at(1.0))
    cascade.advance(START_US + 75 * SECOND_US)
    with pytest.raises(LateTrade):
        cascade.add(trade(2, START_US + 59 * SECOND_US))
    # No candle of 01:10 was closed, for there was none, so its first trade is welcome.
    assert not cascade.add(trade(2, START_US + 70 * SECOND_US))


def test_each_time_frame_is_folded_from_the_largest_that_divides_it() -> None:
    names = {frame.value: source.value for frame, source in sources_of(ALL).items()}
    assert names == {
        "1m": "1s",
        "3m": "1m",
        "5m": "1m",
        "15m": "5m",
        "30m": "15m",
        "1h": "30m",
        "2h": "1h",
        "4h": "2h",
        "6h": "2h",
        "12h": "6h",
        "1d": "12h",
        "1w": "1d",
    }


def test_a_builder_gives_the_finished_candle_when_the_next_interval_begins() -> None:
    builder = CandleBuilder(MARKET, Timeframe.M1)
    first, second, third = trades_at(1.0, 59.0, 60.0)
    assert builder.add(first) is None
    assert builder.add(second) is None
    finished = builder.add(third)
    assert finished is not None
    assert (finished.open, finished.close, finished.volume, finished.trades) == (101.0, 102.0, 2.0, 2)
