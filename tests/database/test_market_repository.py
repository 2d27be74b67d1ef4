from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import count
from typing import Any

import numpy as np
import psycopg
import pytest
import pytest_asyncio

from data.errors import TransientError
from data.files.trade_columns import TradeColumns
from data.models import (
    Candle,
    Instrument,
    InstrumentKind,
    Market,
    Ohlcv,
    Trade,
    TradeGap,
    TradeRun,
)
from data.stores import MarketBatch
from data.timeframes import Timeframe
from database.engine import libpq_url
from database.proving import prove
from database.repositories.candle_repository import CandleRepository
from database.repositories.market_repository import MarketRepository
from embedded.postgres import EmbeddedPostgres
from tests.database.market_builders import candle_of, trade_of

pytestmark = pytest.mark.integration

START_US = 1_723_161_300_000_001  # 2024-08-08 23:55:00.000001
_names = count(1)


@pytest.fixture
def market() -> Market:
    """A market no other test has touched."""
    return Market("binance", f"COIN{next(_names)}-USDT")


@pytest_asyncio.fixture
async def writer(store_url: str) -> AsyncIterator[MarketRepository]:
    repository = MarketRepository(store_url)
    yield repository
    await repository.close()


@pytest.fixture
def reader(store_url: str) -> CandleRepository:
    return CandleRepository(store_url)


@pytest.fixture(autouse=True)
def _close_reader(reader: CandleRepository) -> object:
    yield
    reader.close()


def trades_of(market: Market, first_id: int, last_id: int) -> list[Trade]:
    return [
        trade_of(market, trade_id, at_us=START_US + trade_id) for trade_id in range(first_id, last_id + 1)
    ]


def run_of(first_id: int, last_id: int) -> TradeRun:
    return TradeRun(
        first_id=first_id, last_id=last_id, first_at_us=START_US + first_id, last_at_us=START_US + last_id
    )


def batch_of(
    *,
    trades: list[Trade] | None = None,
    candles: list[Candle] | None = None,
    runs: list[tuple[Market, TradeRun]] | None = None,
    gaps: list[tuple[Market, TradeGap]] | None = None,
) -> MarketBatch:
    return MarketBatch(trades=trades or [], candles=candles or [], runs=runs or [], gaps=gaps or [])


async def test_trades_come_back_as_they_were_to_the_microsecond_and_the_last_bit(
    writer: MarketRepository, market: Market
) -> None:
    trades = trades_of(market, 1, 500)

    await writer.save(batch_of(trades=trades))

    assert await writer.trades_between(market, START_US, START_US + 1_000) == trades


async def test_a_range_of_trades_holds_its_start_and_not_its_end(
    writer: MarketRepository, market: Market
) -> None:
    await writer.save(batch_of(trades=trades_of(market, 1, 10)))

    found = await writer.trades_between(market, START_US + 3, START_US + 6)

    assert [trade.trade_id for trade in found] == [3, 4, 5]


async def test_saving_the_same_batch_again_changes_nothing(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    minute_us = 1_723_161_300_000_000
    batch = batch_of(
        trades=trades_of(market, 1, 20),
        candles=[candle_of(market, minute_us, close=5.0)],
        runs=[(market, run_of(1, 20))],
        gaps=[(market, TradeGap(first_id=30, last_id=35, reason="venue_unreachable", found_at_us=START_US))],
    )
    await writer.save(batch)
    before = (
        reader.trades(market).trades(market),
        await writer.candles_between(market, Timeframe.M1, 0, 2**60),
    )
    ledger = (reader.runs(market), reader.gaps(market))

    await writer.save(batch)

    assert reader.trades(market).trades(market) == before[0] == batch.trades
    assert await writer.candles_between(market, Timeframe.M1, 0, 2**60) == before[1] == batch.candles
    assert (reader.runs(market), reader.gaps(market)) == ledger == ([run_of(1, 20)], [batch.gaps[0][1]])


async def test_a_batch_that_repeats_a_trade_or_a_candle_is_stored_once_the_later_candle_standing(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    trades = trades_of(market, 1, 3)
    candles = [candle_of(market, 60_000_000, close=1.5), candle_of(market, 60_000_000, close=2.5)]

    await writer.save(batch_of(trades=trades + trades, candles=candles))

    assert len(reader.trades(market)) == 3
    assert reader.built_candles(market, Timeframe.M1).ohlcv.close.tolist() == [2.5]


async def test_a_candle_that_is_saved_again_is_replaced(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    await writer.save(batch_of(candles=[candle_of(market, 60_000_000, close=1.5)]))
    await writer.save(batch_of(candles=[candle_of(market, 60_000_000, close=2.5)]))

    assert await writer.candles_between(market, Timeframe.M1, 0, 120_000_000) == [
        candle_of(market, 60_000_000, close=2.5)
    ]


async def test_a_venues_own_candles_never_replace_those_built_from_trades(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    await writer.save(batch_of(candles=[candle_of(market, 60_000_000, close=1.5)]))

    await writer.save_history([candle_of(market, 0, close=7.0), candle_of(market, 60_000_000, close=8.0)])

    assert reader.candles(market, Timeframe.M1).close.tolist() == [7.0, 1.5]
    assert reader.built_candles(market, Timeframe.M1).ohlcv.close.tolist() == [1.5]


async def test_a_candle_built_from_trades_replaces_the_venues_own(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    await writer.save_history([candle_of(market, 0, close=7.0)])
    await writer.save(batch_of(candles=[candle_of(market, 0, close=1.5)]))

    assert reader.built_candles(market, Timeframe.M1).ohlcv.close.tolist() == [1.5]


async def test_one_second_candles_read_like_all_others(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    second = candle_of(market, 1_000_000, close=1.5, timeframe=Timeframe.S1)
    minute = candle_of(market, 0, close=2.5)

    await writer.save(batch_of(candles=[second, minute]))

    assert reader.candles(market, Timeframe.S1).opened_at_us.tolist() == [1_000_000]
    assert await writer.candles_between(market, Timeframe.S1, 0, 2_000_000) == [second]
    assert reader.candles(market, Timeframe.M1).opened_at_us.tolist() == [0]
    assert market in reader.markets()


async def test_the_newest_candles_come_in_ascending_order(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    opened = [minute * 60_000_000 for minute in range(10)]
    await writer.save(batch_of(candles=[candle_of(market, at, close=1.0 + at) for at in opened]))

    newest = reader.candles(market, Timeframe.M1, limit=3)

    assert newest.opened_at_us.tolist() == opened[-3:]
    assert newest.close.tolist() == [1.0 + at for at in opened[-3:]]
    assert (
        reader.candles(market, Timeframe.M1, end_us=opened[5], limit=2).opened_at_us.tolist() == opened[3:5]
    )
    assert reader.candles(market, Timeframe.M1, start_us=opened[8]).opened_at_us.tolist() == opened[8:]


async def test_a_run_grows_and_never_shrinks(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    for last_id in (10, 20, 15):
        await writer.save(batch_of(runs=[(market, run_of(1, last_id))]))

    assert reader.runs(market) == [run_of(1, 20)]
    assert await writer.last_run(market) == run_of(1, 20)


async def test_the_last_run_is_the_one_with_the_newest_ids(writer: MarketRepository, market: Market) -> None:
    assert await writer.last_run(market) is None

    await writer.save(batch_of(runs=[(market, run_of(50, 60))]))
    await writer.save(batch_of(runs=[(market, run_of(1, 20))]))

    assert await writer.last_run(market) == run_of(50, 60)


async def test_a_fetched_gap_joins_the_runs_beside_it_and_goes_from_the_ledger(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    gap = TradeGap(first_id=101, last_id=109, reason="venue_unreachable", found_at_us=START_US)
    await writer.save(batch_of(runs=[(market, run_of(1, 100))]))
    await writer.save(batch_of(runs=[(market, run_of(110, 120))], gaps=[(market, gap)]))
    assert reader.runs(market) == [run_of(1, 100), run_of(110, 120)]
    assert reader.gaps(market) == [gap]

    await writer.save(batch_of(runs=[(market, run_of(101, 109))]))

    assert reader.runs(market) == [run_of(1, 120)]
    assert reader.gaps(market) == []


async def test_a_gap_fetched_in_part_keeps_the_rest(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    gap = TradeGap(first_id=101, last_id=109, reason="venue_unreachable", found_at_us=START_US)
    await writer.save(
        batch_of(runs=[(market, run_of(1, 100)), (market, run_of(110, 120))], gaps=[(market, gap)])
    )

    await writer.save(batch_of(runs=[(market, run_of(1, 104))]))

    assert reader.runs(market) == [run_of(1, 104), run_of(110, 120)]
    assert [(found.first_id, found.last_id) for found in reader.gaps(market)] == [(105, 109)]


async def test_a_collector_that_goes_on_with_a_run_joined_meanwhile_grows_the_joined_run(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    await writer.save(batch_of(runs=[(market, run_of(1, 100)), (market, run_of(110, 120))]))
    await writer.save(batch_of(runs=[(market, run_of(101, 109))]))

    await writer.save(batch_of(runs=[(market, run_of(110, 130))]))

    assert reader.runs(market) == [run_of(1, 130)]


async def test_runs_that_touch_inside_one_batch_are_joined(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    await writer.save(batch_of(runs=[(market, run_of(11, 20)), (market, run_of(1, 10))]))

    assert reader.runs(market) == [run_of(1, 20)]


async def test_two_writers_that_begin_with_the_same_new_market_agree_on_it(
    store_url: str, reader: CandleRepository, market: Market
) -> None:
    writers = [MarketRepository(store_url) for _ in range(4)]
    await asyncio.gather(
        *(
            writer.save(batch_of(trades=trades_of(market, 1, 100), runs=[(market, run_of(1, 100))]))
            for writer in writers
        )
    )
    for writer in writers:
        await writer.close()

    assert len(reader.trades(market)) == 100
    assert reader.runs(market) == [run_of(1, 100)]


async def test_imported_trades_leave_out_ids_that_are_stored_with_another_time(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    await writer.save(batch_of(trades=trades_of(market, 1, 10)))
    columns = TradeColumns(
        trade_id=np.arange(5, 15),
        traded_at_us=np.arange(5, 15) + START_US + 999,
        price=np.full(10, 0.1),
        quantity=np.full(10, 0.2),
        taker_side=np.full(10, -1, dtype=np.int8),
    )

    assert await writer.import_trades(market, columns) == 4
    assert await writer.import_trades(market, columns) == 0
    assert reader.trades(market).trade_id.tolist() == list(range(1, 15))


async def test_imported_candles_stand_beside_built_ones_and_a_second_import_changes_nothing(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    await writer.save(batch_of(candles=[candle_of(market, 60_000_000, close=1.5)]))
    prices = np.array([1.0, 2.0, 3.0])
    ohlcv = Ohlcv(
        timeframe=Timeframe.M1,
        opened_at_us=np.array([0, 60_000_000, 120_000_000]),
        open=prices,
        high=prices,
        low=prices,
        close=prices,
        volume=prices,
    )

    assert await writer.import_candles(market, ohlcv) == 2
    assert await writer.import_candles(market, ohlcv) == 0
    assert reader.candles(market, Timeframe.M1).close.tolist() == [1.0, 1.5, 3.0]


def instrument_of(market: Market, tick_size: str) -> Instrument:
    return Instrument(
        exchange=market.exchange,
        symbol=market.symbol,
        venue_symbol="COINUSDT",
        kind=InstrumentKind.SPOT,
        base="COIN",
        quote="USDT",
        tick_size=Decimal(tick_size),
        lot_size=Decimal("0.00001"),
        min_quantity=Decimal("0.00001"),
        min_notional=Decimal(5),
    )


async def test_an_instrument_is_stored_anew_only_when_its_rules_change(
    writer: MarketRepository, reader: CandleRepository, market: Market, store_url: str
) -> None:
    assert reader.instrument(market) is None

    for tick_size in ("0.01", "0.010", "0.02", "0.01"):
        await writer.save_instruments([instrument_of(market, tick_size)])

    assert reader.instrument(market) == instrument_of(market, "0.01")
    with psycopg.connect(libpq_url(store_url)) as connection:
        versions = connection.execute(
            "SELECT tick_size::text FROM instruments JOIN markets USING (market_id) WHERE symbol = %s "
            "ORDER BY valid_from",
            (market.symbol,),
        ).fetchall()
    assert versions == [("0.01",), ("0.02",), ("0.01",)]


def test_a_market_that_was_never_stored_reads_as_empty(reader: CandleRepository) -> None:
    unknown = Market("okx", "NEVER-USDT")

    assert len(reader.candles(unknown, Timeframe.H1)) == 0
    assert len(reader.candles(unknown, Timeframe.H1, limit=5)) == 0
    assert len(reader.trades(unknown)) == 0
    assert reader.runs(unknown) == []
    assert unknown not in reader.markets()


async def test_a_server_that_goes_away_is_a_transient_error_and_all_works_again_once_it_is_back(
    postgres: EmbeddedPostgres, writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    batch = batch_of(trades=trades_of(market, 1, 5), runs=[(market, run_of(1, 5))])
    await writer.save(batch)
    assert len(reader.trades(market)) == 5

    postgres.stop()
    with pytest.raises(TransientError):
        await writer.save(batch)
    with pytest.raises(TransientError):
        reader.trades(market)
    postgres.start()

    await writer.save(batch_of(trades=trades_of(market, 6, 9), runs=[(market, run_of(1, 9))]))
    assert len(reader.trades(market)) == 9
    assert reader.runs(market) == [run_of(1, 9)]


async def test_a_restart_between_two_reads_or_two_writes_goes_unnoticed(
    postgres: EmbeddedPostgres, writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    await writer.save(batch_of(trades=trades_of(market, 1, 5)))
    assert len(reader.trades(market)) == 5

    postgres.stop()
    postgres.start()

    assert len(reader.trades(market)) == 5
    await writer.save(batch_of(trades=trades_of(market, 6, 9)))
    assert len(reader.trades(market)) == 9


async def test_a_candle_that_ended_before_its_last_trades_were_found_lost_is_taken_back(
    writer: MarketRepository, reader: CandleRepository, market: Market
) -> None:
    opened_us = START_US - START_US % 60_000_000
    frames = (Timeframe.S1, Timeframe.M1)
    candles = [
        candle_of(market, opened_us + step * frame.us, timeframe=frame)
        for frame in frames
        for step in (-1, 0)
    ]
    await writer.save(batch_of(candles=candles, runs=[(market, run_of(1, 100))]))
    gap = TradeGap(first_id=101, last_id=109, reason="history_unavailable", found_at_us=START_US)
    after = (market, run_of(110, 120))

    await writer.save(batch_of(runs=[(market, run_of(1, 100)), after], gaps=[(market, gap)]))
    left = [reader.candles(market, frame).opened_at_us.tolist() for frame in frames]
    await writer.save(batch_of(candles=candles, runs=[(market, run_of(101, 109))]))
    await writer.save(batch_of(runs=[(market, run_of(1, 100))], gaps=[(market, gap)]))

    assert left == [[opened_us - frame.us] for frame in frames]
    # Told again of a gap that was filled meanwhile, it takes nothing back.
    assert [len(reader.candles(market, frame)) for frame in frames] == [2, 2]


async def test_trades_that_are_stored_while_a_market_is_proven_are_no_finding(
    writer: MarketRepository, store_url: str, market: Market
) -> None:
    loop = asyncio.get_running_loop()

    class WhileRecording(CandleRepository):
        """Ten more trades come after each look at them."""

        last_id = 10

        def trades(self, *arguments: Any, **named: Any) -> TradeColumns:
            found = super().trades(*arguments, **named)
            first_id, self.last_id = self.last_id + 1, self.last_id + 10
            more = batch_of(
                trades=trades_of(market, first_id, self.last_id), runs=[(market, run_of(1, self.last_id))]
            )
            asyncio.run_coroutine_threadsafe(writer.save(more), loop).result(10)
            return found

    await writer.save(batch_of(trades=trades_of(market, 1, 10), runs=[(market, run_of(1, 10))]))
    reader = WhileRecording(store_url)
    try:
        proof = await asyncio.to_thread(prove, reader, market, (Timeframe.M1,), expires_us=0)
    finally:
        await asyncio.to_thread(reader.close)

    assert proof.changed == []
