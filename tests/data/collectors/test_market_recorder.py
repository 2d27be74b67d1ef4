from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.collectors.market_recorder import MarketRecorder
from data.collectors.unsaved import UnsavedBatches
from data.models import Candle, Market, Trade, TradeRun
from data.sequencing import MissingRange
from data.stores import MarketBatch
from data.timeframes import Timeframe
from tests.data.trade_series import MARKET, SECOND_US, START_US, UNHURRIED, trade, trade_series

FRAMES = (Timeframe.S1, Timeframe.M1)


def at(second: float, trade_id: int) -> Trade:
    return trade(trade_id, START_US + round(second * SECOND_US))


def drained(unsaved: UnsavedBatches) -> list[MarketBatch]:
    batches = []
    while (batch := unsaved.first()) is not None:
        unsaved.saved()
        batches.append(batch)
    return batches


def openings(candles: Sequence[Candle]) -> list[tuple[str, int]]:
    return [(candle.timeframe.value, (candle.opened_at_us - START_US) // SECOND_US) for candle in candles]


def recorder_and_batches() -> tuple[MarketRecorder, UnsavedBatches]:
    unsaved = UnsavedBatches()
    return MarketRecorder(MARKET, FRAMES, unsaved), unsaved


def test_trades_that_wait_for_a_missing_one_make_no_candles_yet() -> None:
    recorder, unsaved = recorder_and_batches()
    recorder.accept([at(0.0, 1), at(1.0, 2)])
    recorder.accept([at(3.0, 4), at(65.0, 5)])
    (batch,) = drained(unsaved)
    assert [each.trade_id for each in batch.trades] == [1, 2]
    assert recorder.sequencer.missing() == MissingRange(3, 3)

    closed_a_minute = recorder.accept([at(2.0, 3)])

    (batch,) = drained(unsaved)
    assert closed_a_minute is False  # the minute it closed was joined half-way
    assert openings(batch.candles) == [("1s", 1), ("1s", 2), ("1s", 3)]
    assert recorder.take_uncovered() == [(Timeframe.S1, START_US), (Timeframe.M1, START_US)]


def test_closing_a_covered_minute_is_reported() -> None:
    recorder, _ = recorder_and_batches()
    recorder.accept([at(-1.0, 1)])
    assert recorder.accept([at(0.5, 2)]) is False
    assert recorder.accept([at(60.5, 3)]) is True


def test_the_clock_closes_nothing_while_trades_may_be_missing() -> None:
    recorder, unsaved = recorder_and_batches()
    recorder.accept([at(-1.0, 1), at(0.0, 2)])
    drained(unsaved)
    assert recorder.verified is False
    recorder.advance(START_US + 3_600 * SECOND_US)
    assert drained(unsaved) == []

    recorder.verified = True
    recorder.accept([at(2.0, 4)])
    recorder.advance(START_US + 3_600 * SECOND_US)
    assert drained(unsaved) == []

    recorder.accept([at(1.0, 3)])
    drained(unsaved)
    assert recorder.advance(START_US + 3_600 * SECOND_US) is True
    (batch,) = drained(unsaved)
    assert openings(batch.candles) == [("1s", 2), ("1m", 0)]


def test_a_hole_ends_a_run_begins_another_and_uncovers_the_minute() -> None:
    recorder, unsaved = recorder_and_batches()
    recorder.accept([at(-1.0, 1), at(0.0, 2), at(1.0, 3)])
    recorder.accept([at(10.0, 6)])
    recorder.give_up(MissingRange(4, 5), "history_unavailable", 77)
    recorder.accept([at(20.0, 7), at(61.0, 8), at(121.0, 9)])

    (batch,) = drained(unsaved)
    assert [(gap.first_id, gap.last_id, gap.reason, gap.found_at_us) for _, gap in batch.gaps] == [
        (4, 5, "history_unavailable", 77)
    ]
    assert [run for _, run in batch.runs] == [
        TradeRun(first_id=1, last_id=3, first_at_us=START_US - SECOND_US, last_at_us=START_US + SECOND_US),
        TradeRun(
            first_id=6,
            last_id=9,
            first_at_us=START_US + 10 * SECOND_US,
            last_at_us=START_US + 121 * SECOND_US,
        ),
    ]
    assert openings(batch.candles) == [("1s", 0), ("1s", 20), ("1s", 61), ("1m", 60)]


def test_forming_candles_say_whether_they_are_covered() -> None:
    recorder, _ = recorder_and_batches()
    recorder.accept([at(10.0, 1), at(11.5, 2)])
    assert [
        (update.candle.timeframe, update.closed, update.covered) for update in recorder.forming_updates()
    ] == [(Timeframe.S1, False, True), (Timeframe.M1, False, False)]


def test_a_late_trade_is_recorded_and_remembered_for_mending() -> None:
    recorder, unsaved = recorder_and_batches()
    recorder.accept([at(0.0, 1), at(5.0, 2), at(3.5, 3)])
    (batch,) = drained(unsaved)
    assert [each.trade_id for each in batch.trades] == [1, 2, 3]
    assert recorder.late_us == [START_US + 3_500_000]
    run = recorder.run
    assert run is not None
    assert run.last_at_us == START_US + 5 * SECOND_US


@UNHURRIED
@given(trades=trade_series(), cuts=st.lists(st.integers(1, 7), max_size=40), size=st.integers(1, 6))
def test_the_runs_of_each_batch_speak_of_stored_trades_only(
    trades: Sequence[Trade], cuts: list[int], size: int
) -> None:
    unsaved = UnsavedBatches(batch_trades=size)
    recorders = [MarketRecorder(Market("okx", symbol), FRAMES, unsaved) for symbol in ("A-B", "C-D")]
    start = 0
    for number, cut in enumerate([*cuts, len(trades)]):
        recorders[number % 2].accept(trades[start : start + cut])
        start += cut
    stored: set[tuple[str, int]] = set()
    symbols = {recorder.market: index for index, recorder in enumerate(recorders)}
    batches = drained(unsaved)
    for batch in batches:
        for market, run in batch.runs:
            assert market in symbols
            assert run.last_id >= run.first_id
        stored |= {("", each.trade_id) for each in batch.trades}
        newest = max((run.last_id for _, run in batch.runs), default=0)
        assert all(("", trade_id) in stored for trade_id in [newest] if newest)
    assert unsaved.trades == 0
    assert all(len(batch.trades) < size + 8 or len(batches) == 1 for batch in batches[:-1])


def test_replacing_candles_leaves_other_markets_alone() -> None:
    unsaved = UnsavedBatches()
    mine = MarketRecorder(MARKET, FRAMES, unsaved)
    other_market = Market("okx", "ETH-USDT")
    other = MarketRecorder(other_market, FRAMES, unsaved)
    mine.accept([at(0.0, 1), at(1.0, 2), at(2.0, 3)])
    other.accept(
        [
            Trade(
                exchange="okx",
                symbol="ETH-USDT",
                trade_id=each.trade_id,
                price=5.0,
                quantity=1.0,
                taker_side=each.taker_side,
                traded_at_us=each.traded_at_us,
            )
            for each in (at(0.0, 1), at(1.0, 2), at(2.0, 3))
        ]
    )
    waiting, has_gap = unsaved.of_market(MARKET)
    assert ([each.trade_id for each in waiting], has_gap) == ([1, 2, 3], False)
    unsaved.replace_candles(MARKET, [])
    (batch,) = drained(unsaved)
    assert [candle.symbol for candle in batch.candles] == ["ETH-USDT"]


@pytest.mark.parametrize("size", [1, 3])
def test_what_should_be_stored_at_once_is_announced(size: int) -> None:
    calls: list[int] = []
    unsaved = UnsavedBatches(batch_trades=size, on_urgent=lambda: calls.append(1))
    recorder = MarketRecorder(MARKET, FRAMES, unsaved)
    for number in range(6):
        recorder.accept([at(number / 10, number + 1)])
    assert len(calls) == 6 // size
