from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest

from data.models import Market, Ohlcv
from data.stores import MarketBatch
from data.timeframes import Timeframe
from database.engine import libpq_url
from database.features import (
    HYPERTABLES,
    Retention,
    ServerFeatures,
    TimescaleState,
    apply_retention,
    apply_timescale_features,
    find_features,
    timescale_statements,
)
from database.migrate import migrate
from database.repositories.candle_repository import CandleRepository
from database.repositories.market_repository import MarketRepository
from tests.database.market_builders import candle_of, trade_of

FULL = ServerFeatures(server_version=180006, timescaledb="2.29.2", licence="timescale")
DAY_US = 86_400_000_000
NOW_US = 1_800_000_000_000_000

TABLES = frozenset(spec.table for spec in HYPERTABLES)
KEPT_DAYS = {
    "trades": 90.0,
    "trade_digests": 90.0,
    "second_candles": 30.0,
    "venue_candles": 90.0,
    "quotes": 14.0,
    "books": 7.0,
    "mark_prices": 30.0,
}
SETTLED = TimescaleState(
    hypertables=TABLES, columnstores=TABLES, columnstore_policies=TABLES, retention_days=KEPT_DAYS
)


def test_a_full_timescaledb_gets_hypertables_compression_and_retention() -> None:
    statements = timescale_statements(FULL, TimescaleState(), Retention())

    assert statements[:4] == [
        "SELECT create_hypertable('trades', by_range('traded_at', INTERVAL '1 days'), if_not_exists => true, "
        "migrate_data => true, create_default_indexes => false)",
        "ALTER TABLE trades SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'market_id', "
        "timescaledb.orderby = 'trade_id')",
        "CALL add_columnstore_policy('trades', after => INTERVAL '1 day', if_not_exists => true)",
        "SELECT add_retention_policy('trades', drop_after => INTERVAL '90 days', if_not_exists => true)",
    ]
    assert (
        "ALTER TABLE second_candles SET (timescaledb.enable_columnstore, "
        "timescaledb.segmentby = 'market_id,timeframe_s', timescaledb.orderby = 'opened_at')"
    ) in statements
    assert "SELECT add_retention_policy('second_candles', drop_after => INTERVAL '30 days', " in "".join(
        statements
    )
    assert not any("retention_policy('candles'" in statement for statement in statements)
    assert (
        "SELECT create_hypertable('books', by_range('at', INTERVAL '1 days'), if_not_exists => true, "
        "migrate_data => true, create_default_indexes => false)"
    ) in statements
    assert (
        "ALTER TABLE quotes SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'market_id', "
        "timescaledb.orderby = 'at')"
    ) in statements
    for table, days in KEPT_DAYS.items():
        assert (
            f"SELECT add_retention_policy('{table}', drop_after => INTERVAL '{days:g} days', "
            "if_not_exists => true)"
        ) in statements


def test_a_server_where_all_is_on_needs_nothing() -> None:
    assert timescale_statements(FULL, SETTLED, Retention()) == []


def test_another_retention_replaces_the_policy_and_none_removes_it() -> None:
    statements = timescale_statements(FULL, SETTLED, Retention(trades_days=7, second_candles_days=None))

    assert statements == [
        "SELECT remove_retention_policy('trades', if_exists => true)",
        "SELECT add_retention_policy('trades', drop_after => INTERVAL '7 days', if_not_exists => true)",
        "SELECT remove_retention_policy('second_candles', if_exists => true)",
    ]


def test_the_apache_edition_gets_hypertables_alone() -> None:
    apache = ServerFeatures(server_version=170011, timescaledb="2.19.3", licence="apache")

    statements = timescale_statements(apache, TimescaleState(), Retention())

    assert len(statements) == len(TABLES)
    assert all(statement.startswith("SELECT create_hypertable(") for statement in statements)


def test_plain_postgresql_gets_nothing() -> None:
    plain = ServerFeatures(server_version=180006, timescaledb=None, licence=None)

    assert timescale_statements(plain, TimescaleState(), Retention()) == []


@pytest.mark.integration
def test_the_embedded_server_is_plain_and_stays_so(store_url: str) -> None:
    features = apply_timescale_features(store_url)

    assert features.server_version >= 180000
    assert features == find_features(store_url)
    assert not features.hypertables


@pytest.mark.integration
async def test_retention_deletes_what_is_older_and_keeps_the_rest(store_url: str) -> None:
    market = Market("okx", "OLD-USDT")
    writer, reader = MarketRepository(store_url), CandleRepository(store_url)
    trades = [trade_of(market, day, at_us=NOW_US - day * DAY_US) for day in (1, 89, 91, 200)]
    opened = [NOW_US - day * DAY_US for day in (1, 29, 31, 200)]
    candles = [
        candle_of(market, at_us, timeframe=timeframe)
        for timeframe in (Timeframe.S1, Timeframe.M1)
        for at_us in opened
    ]
    await writer.save(MarketBatch(trades=trades, candles=candles, runs=[]))

    deleted = apply_retention(store_url, Retention(), NOW_US)

    assert {table: rows for table, rows in deleted.items() if rows} == {
        "trades": 2,
        "trade_digests": 2,
        "second_candles": 2,
    }
    assert {"quotes", "books", "mark_prices", "venue_candles", "collector_figures"} < deleted.keys()
    assert reader.trades(market).trade_id.tolist() == [1, 89]
    assert reader.candles(market, Timeframe.S1).opened_at_us.tolist() == [opened[1], opened[0]]
    assert len(reader.candles(market, Timeframe.M1)) == 4
    await writer.close()
    reader.close()


def policies(url: str) -> int:
    with psycopg.connect(libpq_url(url)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema()"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.integration
async def test_timescaledb_runs_the_same_store() -> None:
    url = os.environ.get("TEST_TIMESCALE_URL")
    if not url:
        pytest.skip("TEST_TIMESCALE_URL names no TimescaleDB server (an empty database on one is needed)")
    migrate(url)
    with ThreadPoolExecutor() as pool:
        for features in pool.map(apply_timescale_features, [url] * 3):
            assert features.hypertables
    market = Market("okx", "SCALE-USDT")
    writer, reader = MarketRepository(url), CandleRepository(url)
    batch = MarketBatch(
        trades=[trade_of(market, 1, at_us=NOW_US)], candles=[candle_of(market, NOW_US)], runs=[]
    )

    await writer.save(batch)
    await writer.save(batch)

    assert reader.trades(market).trades(market) == batch.trades
    assert await writer.candles_between(market, Timeframe.M1, 0, 2**60) == batch.candles
    assert policies(url) == (len(TABLES) + len(KEPT_DAYS) if features.policies else 0)
    await writer.close()
    reader.close()


@pytest.mark.integration
async def test_scattered_candles_replace_compressed_ones() -> None:
    url = os.environ.get("TEST_TIMESCALE_URL")
    if not url:
        pytest.skip("TEST_TIMESCALE_URL names no TimescaleDB server (an empty database on one is needed)")
    migrate(url)
    if not apply_timescale_features(url).policies:
        pytest.skip("the Apache edition compresses nothing")
    market, minute_us, count = Market("okx", "PACKED-USDT"), 60_000_000, 150_000
    writer, reader = MarketRepository(url), CandleRepository(url)
    prices = np.full(count, 5.0)
    opened_at_us = NOW_US + np.arange(count) * minute_us
    await writer.import_candles(
        market,
        Ohlcv(
            timeframe=Timeframe.M1,
            opened_at_us=opened_at_us,
            open=prices,
            high=prices,
            low=prices,
            close=prices,
            volume=prices,
        ),
    )
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        for (chunk,) in connection.execute("SELECT show_chunks('candles')::text").fetchall():
            connection.execute(f"CALL convert_to_columnstore('{chunk}', if_not_columnstore => true)")

    candles = [candle_of(market, int(at_us), close=2.5) for at_us in opened_at_us[::1_000]]
    await writer.save(MarketBatch(trades=[], candles=candles, runs=[]))

    assert await writer.candles_between(market, Timeframe.M1, 0, 2**60) == candles
    assert len(reader.candles(market, Timeframe.M1)) == count
    await writer.close()
    reader.close()
