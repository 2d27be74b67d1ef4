"""Trades into their table and the digests of their minutes, inside a caller's transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from data.files.trade_columns import BUY, SELL, TradeColumns
from data.models import BoolArray, IntArray, Market, Side, Trade
from data.timeframes import Timeframe, floor_to, to_datetime, to_us
from database.binary_arrays import bigints, doubles, integers, smallints, times
from database.trade_digests import add_digests, digests_of, renew_digests

_INSERT_TRADES = """
    INSERT INTO trades (market_id, trade_id, traded_at, price, quantity, taker_side)
    SELECT * FROM unnest(%b::integer[], %b::bigint[], %b::timestamptz[], %b::float8[], %b::float8[],
        %b::smallint[])
    ON CONFLICT DO NOTHING
"""


class SomeWereStored(Exception):
    """Some of the trades stand already; which ones was not asked."""


async def storing_trades(
    engine: AsyncEngine, work: Callable[[AsyncConnection, bool], Awaitable[None]]
) -> None:
    """Do `work` in one transaction; once more, and told that trades repeat, if some were stored before.

    Asking for each row whether it is new would cost every batch what only repeated ones need.
    """
    try:
        async with engine.begin() as connection:
            await work(connection, False)
    except SomeWereStored:
        async with engine.begin() as connection:
            await work(connection, True)


async def insert_trades(
    connection: AsyncConnection,
    market_ids: IntArray,
    trades: TradeColumns,
    *,
    repeats: bool,
    written_anew: bool = True,
) -> int:
    """Store trades that are not stored yet, in any order, and return how many.

    They are added to the digests of their minutes unless not `written_anew`: those are trades that the store
    has lost and its digests still tell. Raises SomeWereStored where some stand, unless `repeats`.
    """
    columns = (
        integers(market_ids),
        bigints(trades.trade_id),
        times(trades.traded_at_us),
        doubles(trades.price),
        doubles(trades.quantity),
        smallints(trades.taker_side),
    )
    if not repeats:
        result = await connection.exec_driver_sql(_INSERT_TRADES, columns)
        if result.rowcount != len(trades):
            raise SomeWereStored
        if written_anew:
            await add_digests(connection, digests_of(market_ids, trades))
        return len(trades)
    result = await connection.exec_driver_sql(f"{_INSERT_TRADES} RETURNING market_id, trade_id", columns)
    stored = {(row.market_id, row.trade_id) for row in result}
    if written_anew and stored:
        keys = list(zip(market_ids.tolist(), trades.trade_id.tolist(), strict=True))
        # An id that stands twice in one batch is stored once, as it came first.
        first = {key: number for number, key in reversed(list(enumerate(keys)))}
        rows = np.array(sorted(first[key] for key in stored), dtype=np.int64)
        await add_digests(connection, digests_of(market_ids[rows], picked(trades, rows)))
    return len(stored)


async def replace_trades(
    connection: AsyncConnection,
    market_id: int,
    first_id: int,
    last_id: int,
    market_ids: IntArray,
    trades: TradeColumns,
) -> None:
    """Let `trades` stand for all that is stored under these ids, and the digests tell of them."""
    gone = await connection.exec_driver_sql(
        "DELETE FROM trades WHERE market_id = %s AND trade_id BETWEEN %s AND %s RETURNING traded_at",
        (market_id, first_id, last_id),
    )
    minutes_us = {floor_to(to_us(at), Timeframe.M1) for at in gone.scalars()}
    minutes_us |= {floor_to(at_us, Timeframe.M1) for at_us in trades.traded_at_us.tolist()}
    await insert_trades(connection, market_ids, trades, repeats=True, written_anew=False)
    found = await connection.exec_driver_sql(
        """
        SELECT trade_id, traded_at, price, quantity, taker_side
        FROM unnest(%s::timestamptz[]) AS minutes (at)
        JOIN trades ON market_id = %s AND traded_at >= at AND traded_at < at + INTERVAL '1 minute'
        """,
        ([to_datetime(minute_us) for minute_us in sorted(minutes_us)], market_id),
    )
    rows = found.all()
    stored = TradeColumns(
        trade_id=np.array([row.trade_id for row in rows], dtype=np.int64),
        traded_at_us=np.array([to_us(row.traded_at) for row in rows], dtype=np.int64),
        price=np.array([row.price for row in rows], dtype=np.float64),
        quantity=np.array([row.quantity for row in rows], dtype=np.float64),
        taker_side=np.array([row.taker_side for row in rows], dtype=np.int8),
    )
    await renew_digests(connection, market_id, sorted(minutes_us), stored)


def columns_of(trades: Sequence[Trade], ids: Mapping[Market, int]) -> tuple[IntArray, TradeColumns]:
    """Values as columns, and the number of each one's market."""
    numbers = {(market.exchange, market.symbol): market_id for market, market_id in ids.items()}
    market_ids = np.array([numbers[trade.exchange, trade.symbol] for trade in trades], dtype=np.int64)
    return market_ids, TradeColumns(
        trade_id=np.array([trade.trade_id for trade in trades], dtype=np.int64),
        traded_at_us=np.array([trade.traded_at_us for trade in trades], dtype=np.int64),
        price=np.array([trade.price for trade in trades], dtype=np.float64),
        quantity=np.array([trade.quantity for trade in trades], dtype=np.float64),
        taker_side=np.array(
            [BUY if trade.taker_side is Side.BUY else SELL for trade in trades], dtype=np.int8
        ),
    )


def picked(trades: TradeColumns, rows: BoolArray | IntArray) -> TradeColumns:
    """The rows that a mask or numbers name."""
    return TradeColumns(
        trade_id=trades.trade_id[rows],
        traded_at_us=trades.traded_at_us[rows],
        price=trades.price[rows],
        quantity=trades.quantity[rows],
        taker_side=trades.taker_side[rows],
    )
