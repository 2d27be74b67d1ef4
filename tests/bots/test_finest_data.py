"""What lies inside a candle: its trades where all are stored, else smaller candles."""

from __future__ import annotations

import numpy as np

from bots.finest_data import FinestRows, candles_within, finest, spans_of, trade_rows
from data.models import Ohlcv
from data.timeframes import Timeframe
from tests.bots.bot_fakes import BTC, MINUTE, T0, MemoryCandles, minutes
from tests.bots.trade_fakes import MemoryTrades, candles_from, trades_of, walking_trades

TRADES = walking_trades(3, T0, Timeframe.M1, 40)
MINUTES = candles_from(TRADES, Timeframe.M1)


def inside(ohlcv: Ohlcv | None, at_us: int) -> list[float]:
    """Prices of the rows in the minute of that time."""
    assert ohlcv is not None
    rows = (ohlcv.opened_at_us >= at_us) & (ohlcv.opened_at_us < at_us + MINUTE)
    return [float(price) for price in ohlcv.close[rows]]


def prices(at_us: int) -> list[float]:
    """Of the minute's trades, those in a row at one price once."""
    rows = (TRADES.traded_at_us >= at_us) & (TRADES.traded_at_us < at_us + MINUTE)
    found = TRADES.price[rows].tolist()
    return [price for number, price in enumerate(found) if number == 0 or price != found[number - 1]]


def test_trades_stand_in_order_of_id_with_their_own_times() -> None:
    found = finest(MemoryTrades(TRADES), BTC, MINUTES)
    assert found is not None
    assert (found.trades, found.candles, found.timeframe) == (len(TRADES), 0, Timeframe.S1)
    assert np.all(np.diff(found.opened_at_us) >= 0)
    for at_us in MINUTES.opened_at_us.tolist():
        assert inside(found, at_us) == prices(at_us)
    np.testing.assert_allclose(found.volume.sum(), TRADES.quantity.sum(), rtol=1e-12)


def test_trades_of_a_part_of_a_candle_do_not_decide_and_smaller_candles_do_where_they_cover_it() -> None:
    missing = int(np.flatnonzero(MINUTES.volume > np.median(MINUTES.volume))[3])
    at_us = int(MINUTES.opened_at_us[missing])
    lost = int(np.flatnonzero(TRADES.traded_at_us >= at_us)[0])
    seconds = candles_from(TRADES, Timeframe.S1)
    partly = TRADES.taken(np.delete(np.arange(len(TRADES)), lost))

    alone = finest(MemoryTrades(partly), BTC, MINUTES)
    with_seconds = finest(MemoryTrades(partly, (BTC, seconds)), BTC, MINUTES)

    assert inside(alone, at_us) == []
    assert isinstance(with_seconds, FinestRows)
    within = (seconds.opened_at_us >= at_us) & (seconds.opened_at_us < at_us + MINUTE)
    assert inside(with_seconds, at_us) == seconds.close[within].tolist()
    assert with_seconds.candles == within.sum()
    other = int(MINUTES.opened_at_us[missing + 1])
    assert inside(alone, other) == inside(with_seconds, other) == prices(other)


def test_a_trade_whose_time_runs_back_takes_the_time_before_it() -> None:
    trades = trades_of([(T0 + 5, 10.0, 1.0), (T0 + 3, 12.0, 1.0), (T0 + 9, 11.0, 1.0)])
    found, told = trade_rows(
        trades, candles_from(trades_of([(T0, 10, 1), (T0, 12, 1), (T0, 11, 1)]), Timeframe.M1)
    )
    assert told.tolist() == [True]
    assert found is not None
    assert found.close.tolist() == [10.0, 12.0, 11.0]
    assert (found.opened_at_us - T0).tolist() == [5, 5, 9]


def test_trades_in_a_row_at_one_price_are_one_row_but_not_across_candles() -> None:
    rows = [(T0, 10.0, 1.0), (T0 + 1, 10.0, 2.0), (T0 + 2, 11.0, 1.0), (T0 + MINUTE, 11.0, 4.0)]
    trades = trades_of(rows)
    found, _ = trade_rows(trades, candles_from(trades, Timeframe.M1))
    assert found is not None
    assert found.close.tolist() == [10.0, 11.0, 11.0]
    assert found.volume.tolist() == [3.0, 1.0, 4.0]
    assert found.trades == 4


def test_many_candles_are_read_at_once_and_those_in_a_row_as_one_span() -> None:
    reader = MemoryTrades(TRADES)
    wanted = MINUTES.taken(np.array([0, 1, 2, 4]))
    together = finest(reader, BTC, wanted)
    assert len(reader.asked) == 1
    assert reader.asked[0] == spans_of(wanted)
    assert reader.asked[0][0] == (T0, T0 + 3 * MINUTE)
    alone = [finest(reader, BTC, wanted.rows(row, row + 1)) for row in range(4)]
    assert together is not None
    np.testing.assert_array_equal(
        together.close, np.concatenate([one.close for one in alone if one is not None])
    )


def test_where_nothing_is_stored_there_is_nothing() -> None:
    assert finest(MemoryCandles(), BTC, MINUTES) is None
    assert finest(MemoryTrades(trades_of([])), BTC, MINUTES) is None
    assert finest(MemoryTrades(TRADES), BTC, MINUTES.rows(0, 0)) is None


def test_given_candles_are_taken_as_they_are() -> None:
    parts = minutes([100.0, 101.0, 102.0, 103.0], timeframe=Timeframe.S1)
    found = candles_within(parts, minutes([100.0, 101.0]).rows(0, 1))
    assert found is not None
    assert (found.trades, found.candles, found.timeframe) == (0, 4, Timeframe.S1)
    assert candles_within(parts, minutes([100.0, 101.0]).rows(1, 2)) is None
