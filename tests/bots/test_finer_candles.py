from __future__ import annotations

import numpy as np
import pytest

from bots.bot_loading import BotLoader
from bots.config import BotConfig
from bots.finer_candles import finer_candles
from bots.paper_bot import candles_of
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Strategy
from tests.bots.bot_fakes import BTC, MemoryCandles, ScriptedStrategy

HOUR_US = Timeframe.H1.us
START_US = 480_000 * HOUR_US


def random_seconds(hours: int, seed: int = 7) -> Ohlcv:
    """A candle each second, without a hole, from `START_US` on."""
    rng = np.random.default_rng(seed)
    count = hours * 3_600
    close = np.round(100 + rng.normal(0, 0.05, count).cumsum(), 2)
    opened = np.concatenate([close[:1], close[:-1]])
    return Ohlcv(
        timeframe=Timeframe.S1,
        opened_at_us=START_US + Timeframe.S1.us * np.arange(count, dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close),
        low=np.minimum(opened, close),
        close=close,
        volume=np.round(rng.uniform(0.001, 2.0, count), 5),
    )


def folded(ohlcv: Ohlcv, timeframe: Timeframe) -> Ohlcv:
    """The same without holes in a larger time frame."""
    size = timeframe.us // ohlcv.timeframe.us
    shape = (len(ohlcv) // size, size)
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=ohlcv.opened_at_us[::size],
        open=ohlcv.open[::size],
        high=ohlcv.high.reshape(shape).max(axis=1),
        low=ohlcv.low.reshape(shape).min(axis=1),
        close=ohlcv.close[size - 1 :: size],
        volume=ohlcv.volume.reshape(shape).sum(axis=1),
    )


SECONDS = random_seconds(3)
MINUTES = folded(SECONDS, Timeframe.M1)
HOURS = folded(MINUTES, Timeframe.H1)


def test_the_smallest_time_frame_that_covers_a_candle_wholly_is_taken() -> None:
    # The seconds begin in the middle of the second hour: there the minutes decide, and seconds after it.
    begun = SECONDS.rows(5_400, len(SECONDS))
    reader = MemoryCandles((BTC, begun), (BTC, MINUTES))

    found = finer_candles(reader, BTC, HOURS)

    assert found is not None
    assert found.timeframe is Timeframe.S1
    expected = np.concatenate([MINUTES.opened_at_us[:120], SECONDS.opened_at_us[7_200:]])
    np.testing.assert_array_equal(found.opened_at_us, expected)
    np.testing.assert_array_equal(found.low, np.concatenate([MINUTES.low[:120], SECONDS.low[7_200:]]))


def test_of_many_candles_each_gets_what_it_would_get_alone() -> None:
    holes = np.flatnonzero(np.arange(len(SECONDS)) != 4_000)
    torn = Ohlcv(
        timeframe=Timeframe.S1,
        **{
            name: getattr(SECONDS, name)[holes]
            for name in ("opened_at_us", "open", "high", "low", "close", "volume")
        },
    )
    reader = MemoryCandles((BTC, torn), (BTC, MINUTES))
    loader = BotLoader(reader, no_strategy)

    together = finer_candles(reader, BTC, HOURS)
    alone = [loader.finer(candle) for candle in candles_of(HOURS, BTC)]

    assert together is not None
    assert [found.timeframe.value for found in alone if found is not None] == ["1s", "1m", "1s"]
    np.testing.assert_array_equal(
        together.opened_at_us, np.concatenate([found.opened_at_us for found in alone if found is not None])
    )


def no_strategy(config: BotConfig, source: str) -> Strategy:
    return ScriptedStrategy({})


@pytest.mark.parametrize("lacking", ["a volume", "a high", "a low"])
def test_candles_that_are_not_all_of_it_decide_nothing(lacking: str) -> None:
    changed = {
        "a volume": {"volume": HOURS.volume * (1 + 1e-8)},
        "a high": {"high": HOURS.high + 0.01},
        "a low": {"low": HOURS.low - 0.01},
    }[lacking]
    columns = {
        name: getattr(HOURS, name) for name in ("opened_at_us", "open", "high", "low", "close", "volume")
    }
    hours = Ohlcv(timeframe=Timeframe.H1, **(columns | changed))

    assert finer_candles(MemoryCandles((BTC, MINUTES)), BTC, HOURS) is not None
    assert finer_candles(MemoryCandles((BTC, MINUTES)), BTC, hours) is None


def test_time_frames_that_do_not_divide_or_are_too_many_are_left_out() -> None:
    fives = folded(MINUTES, Timeframe.M5)
    reader = MemoryCandles((BTC, folded(MINUTES, Timeframe.M3)))
    assert finer_candles(reader, BTC, fives) is None

    reader = MemoryCandles((BTC, SECONDS), (BTC, MINUTES))
    found = finer_candles(reader, BTC, HOURS, most=1_000)
    assert found is not None
    assert found.timeframe is Timeframe.M1
    assert finer_candles(reader, BTC, HOURS.rows(0, 0)) is None
