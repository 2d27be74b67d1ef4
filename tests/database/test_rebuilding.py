from __future__ import annotations

import msgspec
import numpy as np
import pytest

from data.candles import BuiltCandles, candles_from_trades
from data.models import Candle, Market
from data.stores import MarketBatch
from data.timeframes import Timeframe, floor_to
from database.market_queries import as_candles
from database.rebuilding import differences, rebuilt_candles
from database.repositories.candle_repository import CandleRepository
from database.repositories.market_repository import MarketRepository
from database.trade_ledger import runs_of
from tests.database.market_builders import trade_of

WEEK_US = Timeframe.W1.us
MONDAY_US = floor_to(1_723_161_300_000_000, Timeframe.W1)


def built_of(count: int) -> BuiltCandles:
    at_us = MONDAY_US + np.arange(count * 10) * 6_000_000
    price = 100 + np.sin(np.arange(count * 10))
    return candles_from_trades(price, np.full(count * 10, 0.1), at_us, [Timeframe.M1])[Timeframe.M1]


def without_volume(candle: Candle) -> Candle:
    return msgspec.structs.replace(candle, volume=0.0)


def test_equal_candles_do_not_differ() -> None:
    assert differences(built_of(20), built_of(20)) == []


@pytest.mark.parametrize("field", ["open", "high", "low", "close", "volume", "trades"])
def test_a_changed_value_is_named_with_both_sides(field: str) -> None:
    stored, rebuilt = built_of(20), built_of(20)
    column = stored.trades if field == "trades" else getattr(stored.ohlcv, field)
    column[7] += 1

    (found,) = differences(stored, rebuilt)

    assert (found.field, found.opened_at_us) == (field, MONDAY_US + 7 * Timeframe.M1.us)
    assert found.stored is not None
    assert found.rebuilt is not None
    assert found.stored - found.rebuilt == pytest.approx(1)


def test_a_volume_may_differ_by_the_order_of_its_sum_alone() -> None:
    stored = built_of(5)
    stored.ohlcv.volume[2] *= 1 + 1e-12

    assert differences(stored, built_of(5)) == []


def test_a_candle_that_stands_on_one_side_alone_is_told() -> None:
    found = differences(built_of(3), built_of(5))

    assert [(difference.field, difference.stored, difference.rebuilt) for difference in found] == [
        ("row", None, 1.0),
        ("row", None, 1.0),
    ]


@pytest.mark.integration
async def test_candles_rebuilt_from_the_store_are_those_of_all_trades_at_once(store_url: str) -> None:
    market = Market("binance", "REBUILD-USDT")
    # Two weeks and a bit, a trade every 50 minutes, with a hole of ids in the second week.
    trades = [
        trade_of(market, number, at_us=MONDAY_US - 1_000_000 + number * 3_000_000_000)
        for number in range(480)
        if not 300 <= number < 305
    ]
    ids = np.array([trade.trade_id for trade in trades])
    at_us = np.array([trade.traded_at_us for trade in trades])
    runs = runs_of(ids, at_us)
    writer, reader = MarketRepository(store_url), CandleRepository(store_url)
    await writer.save(MarketBatch(trades=trades, candles=[], runs=[(market, run) for run in runs]))
    everything = candles_from_trades(
        np.array([trade.price for trade in trades]),
        np.array([trade.quantity for trade in trades]),
        at_us,
        Timeframe,
    )

    found: dict[Timeframe, list[Candle]] = {timeframe: [] for timeframe in Timeframe}
    for span in rebuilt_candles(
        reader, market, reader.runs(market), Timeframe, start_us=int(at_us[0]), end_us=int(at_us[-1]) + 1
    ):
        found[span.built.ohlcv.timeframe] += as_candles(span.built, market)
    await writer.close()
    reader.close()

    for timeframe in Timeframe:
        expected = [
            candle
            for candle in as_candles(everything[timeframe], market)
            if any(
                run.first_at_us < candle.opened_at_us and candle.closes_at_us <= run.last_at_us
                for run in runs
            )
        ]
        assert [without_volume(candle) for candle in found[timeframe]] == [
            without_volume(candle) for candle in expected
        ]
        np.testing.assert_allclose(
            [candle.volume for candle in found[timeframe]], [candle.volume for candle in expected]
        )
    assert len(found[Timeframe.W1]) == 1
    assert len(found[Timeframe.D1]) == 15


@pytest.mark.integration
async def test_ids_that_are_absent_or_stored_twice_are_found(store_url: str) -> None:
    market = Market("binance", "FAULTS-USDT")
    writer, reader = MarketRepository(store_url), CandleRepository(store_url)
    trades = [trade_of(market, number, at_us=MONDAY_US + number) for number in (3, 4, 5, 9, 10)]
    twice = trade_of(market, 4, at_us=MONDAY_US + 999)
    await writer.save(MarketBatch(trades=[*trades, twice], candles=[], runs=[]))

    assert reader.id_faults(market, 3, 5) == [(4, 4)]
    assert reader.id_faults(market, 1, 12) == [(0, 3), (4, 4), (5, 9), (10, 13)]
    assert reader.id_faults(market, 9, 10) == []
    await writer.close()
    reader.close()
