from __future__ import annotations

import msgspec
import numpy as np

from dashboard.forming_candles import completed, step_of
from dashboard.live_views import ChartView, candle_patches
from dashboard.theme import DARK
from data.messages import CandleUpdate
from data.models import Candle, Market, Ohlcv
from data.timeframes import SECOND_US, Timeframe

MINUTE_US = 60 * SECOND_US
OPEN_US = 1_795_003_200 * SECOND_US  # a full hour


def minute(number: int, opened: float, *, volume: float = 1.0) -> Candle:
    """The minute so many after the hour; it moves from `opened` one up, one down and back."""
    return Candle(
        exchange="binance",
        symbol="BTC-USDT",
        timeframe=Timeframe.M1,
        opened_at_us=OPEN_US + number * MINUTE_US,
        open=opened,
        high=opened + 1,
        low=opened - 1,
        close=opened,
        volume=volume,
        trades=4,
    )


def stored(*candles: Candle) -> Ohlcv:
    return Ohlcv(
        timeframe=Timeframe.M1,
        opened_at_us=np.array([one.opened_at_us for one in candles], dtype=np.int64),
        open=np.array([one.open for one in candles], dtype=np.float64),
        high=np.array([one.high for one in candles], dtype=np.float64),
        low=np.array([one.low for one in candles], dtype=np.float64),
        close=np.array([one.close for one in candles], dtype=np.float64),
        volume=np.array([one.volume for one in candles], dtype=np.float64),
    )


def live(candle: Candle, *, covered: bool = True) -> CandleUpdate:
    return CandleUpdate(candle=candle, closed=False, covered=covered)


def hour(of: Candle) -> Candle:
    """An hour in the making of which only this minute was seen."""
    return msgspec.structs.replace(of, timeframe=Timeframe.H1, opened_at_us=OPEN_US)


def test_an_hour_is_its_stored_minutes_and_the_one_in_the_making() -> None:
    now = minute(3, 95.0, volume=0.5)
    drawn = completed(hour(now), stored(minute(0, 100.0), minute(1, 110.0), minute(2, 105.0)), [live(now)])
    assert drawn.note == ""
    assert drawn.candle == msgspec.structs.replace(hour(now), open=100.0, high=111.0, low=94.0, volume=3.5)


def test_a_minute_that_is_stored_and_came_live_counts_once() -> None:
    ended, now = minute(1, 110.0, volume=2.0), minute(2, 105.0)
    drawn = completed(hour(now), stored(minute(0, 100.0), ended), [live(ended, covered=False), live(now)])
    assert drawn.candle.volume == 4.0
    assert drawn.note == ""


def test_a_minute_not_stored_yet_is_taken_from_the_bus() -> None:
    drawn = completed(
        hour(minute(2, 105.0)),
        stored(minute(0, 100.0)),
        [live(minute(1, 120.0)), live(minute(2, 105.0))],
    )
    assert (drawn.candle.high, drawn.candle.volume) == (121.0, 3.0)


def test_minutes_of_other_hours_do_not_count() -> None:
    now = minute(1, 100.0)
    drawn = completed(
        hour(now),
        stored(minute(-1, 500.0), minute(0, 100.0), minute(60, 1.0)),
        [live(now), live(minute(61, 1.0))],
    )
    assert (drawn.candle.high, drawn.candle.low, drawn.candle.volume) == (101.0, 99.0, 2.0)


def test_minutes_that_do_not_reach_back_to_the_open_say_since_when() -> None:
    now = minute(21, 100.0)
    drawn = completed(hour(now), stored(minute(20, 90.0)), [live(now)])
    assert (drawn.note, drawn.since_us) == ("partial", OPEN_US + 20 * MINUTE_US)
    assert drawn.candle.open == 90.0


def test_since_when_is_told_to_the_browser_which_writes_it() -> None:
    now = minute(21, 100.0)
    view = ChartView(Market(now.exchange, now.symbol), Timeframe.H1, "ema", "dark")
    drawn = completed(hour(now), stored(minute(20, 90.0)), [live(now)])
    for patch in candle_patches(drawn, view, DARK):
        assert (patch.body["note"], patch.body["since"]) == (
            "partial",
            (OPEN_US + 20 * MINUTE_US) // 1_000_000,
        )


def test_a_live_minute_that_is_not_covered_leaves_the_hour_partial() -> None:
    now = minute(1, 100.0)
    assert completed(hour(now), stored(minute(0, 100.0)), [live(now, covered=False)]).note == "partial"


def test_a_candle_nothing_smaller_is_known_of_stays_and_says_so() -> None:
    drawn = completed(hour(minute(1, 100.0)), stored(), [])
    assert drawn.candle == hour(minute(1, 100.0))
    assert drawn.note == "partial"


def test_a_minute_is_completed_from_seconds_and_a_second_from_nothing() -> None:
    assert step_of(Timeframe.M1) is Timeframe.S1
    assert step_of(Timeframe.S1) is None
    assert {step_of(frame) for frame in Timeframe if frame.seconds > 60} == {Timeframe.M1}
