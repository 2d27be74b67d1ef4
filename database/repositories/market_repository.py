"""Where collectors and imports put market data; asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from data.files.trade_columns import TradeColumns
from data.models import Candle, Instrument, InstrumentVersion, Market, Ohlcv, Trade, TradeRun
from data.stores import MarketBatch
from data.timeframes import Timeframe, to_us
from database.binary_arrays import doubles, integers, times
from database.engine import async_engine, database_errors
from database.instrument_writes import keep_versions, save_events
from database.ledger_writes import check_runs_go_on, save_gaps, save_runs, take_back_candles, tidy_ledger
from database.market_numbers import MarketNumbers
from database.market_queries import MarketReads, as_candles, candle_table
from database.trade_ledger import ids_in_runs, merge_runs
from database.trade_writes import columns_of, insert_trades, picked, storing_trades

# Rows in one transaction of an import: long enough to be fast, short enough to let others in.
_IMPORT_ROWS = 50_000

_INSERT_CANDLES = """
    INSERT INTO {table} AS old
        (market_id, timeframe_s, opened_at, open, high, low, close, volume, trades, from_venue)
    SELECT *, {from_venue} FROM unnest(%b::integer[], %b::integer[], %b::timestamptz[],
        %b::float8[], %b::float8[], %b::float8[], %b::float8[], %b::float8[], %b::integer[])
    ON CONFLICT (market_id, timeframe_s, opened_at) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, trades = excluded.trades, from_venue = excluded.from_venue
    {condition}
"""
_UNLESS_BUILT = "WHERE old.from_venue"
_UNLESS_BUILT_OR_EQUAL = """
    WHERE old.from_venue AND (old.open, old.high, old.low, old.close, old.volume)
        IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
"""


class MarketRepository:
    """Satisfies `data.stores.MarketWriter`. All of it is harmless to repeat.

    Commits do not wait for the disk: a crash of the server can lose the last fraction of a second, whole
    batches at a time, and the ledger of runs with them. The next batch notices it (StoreFellBehind).
    """

    def __init__(self, url: str, *, application_name: str = "candlewick market data") -> None:
        self._url = url
        self._engine = async_engine(url, application_name=application_name, synchronous_commit=False)
        event.listen(self._engine.sync_engine, "connect", _lift_decompression_limit)
        self._reads = MarketReads(url)
        self._numbers = MarketNumbers(self._engine)

    async def close(self) -> None:
        await self._engine.dispose()
        self._reads.close()

    async def save_instruments(self, instruments: Sequence[Instrument]) -> None:
        """Store each instrument whose rules differ from the newest stored ones, as valid from now on.

        What changed by that becomes events of the market.
        """
        if not instruments:
            return
        newest = {instrument.market: instrument for instrument in instruments}
        with database_errors(self._url):
            ids = await self._market_ids(newest)
            async with self._engine.begin() as connection:
                now = await connection.exec_driver_sql("SELECT clock_timestamp()")
                now_us = to_us(now.scalar_one())
                versions = [
                    InstrumentVersion(instrument=instrument, valid_from_us=now_us)
                    for instrument in newest.values()
                ]
                await save_events(connection, await keep_versions(connection, versions, ids), ids)

    async def save(self, batch: MarketBatch) -> None:
        """Store the batch in one transaction. Trades already there stay as they are, candles are replaced.

        A run grows the stored run with the same first_id or begins a new one; runs that touch become one, and
        a gap keeps only the ids that no run has. Raises TransientError while the database cannot answer, and
        StoreFellBehind when it has not got the trades that a run says were stored before.
        """
        markets = {Market(trade.exchange, trade.symbol) for trade in batch.trades}
        markets |= {Market(candle.exchange, candle.symbol) for candle in batch.candles}
        markets |= {market for market, _ in batch.runs} | {market for market, _ in batch.gaps}
        if not markets:
            return
        with database_errors(self._url):
            ids = await self._market_ids(markets)

            async def work(connection: AsyncConnection, repeats: bool) -> None:
                await check_runs_go_on(connection, batch, ids)
                await self._store(connection, batch, ids, repeats=repeats)

            await storing_trades(self._engine, work)

    async def save_history(self, candles: Sequence[Candle]) -> None:
        """Store a venue's own candles where no candle built from trades stands."""
        with database_errors(self._url):
            ids = await self._market_ids({Market(candle.exchange, candle.symbol) for candle in candles})
            for start in range(0, len(candles), _IMPORT_ROWS):
                part = candles[start : start + _IMPORT_ROWS]
                async with self._engine.begin() as connection:
                    await _upsert_candles(connection, part, ids, from_venue=True)

    async def import_candles(self, market: Market, ohlcv: Ohlcv) -> int:
        """Store candles from elsewhere like a venue's own, and return how many rows changed or came new.

        Candles built from trades stay as they are. Where a file does not say how many trades a candle holds,
        the store keeps 0.
        """
        with database_errors(self._url):
            market_id = (await self._market_ids({market}))[market]
            stored = 0
            for start in range(0, len(ohlcv), _IMPORT_ROWS):
                part = ohlcv.rows(start, min(start + _IMPORT_ROWS, len(ohlcv)))
                count = len(part)
                sql = _INSERT_CANDLES.format(
                    table=candle_table(ohlcv.timeframe),
                    from_venue="true",
                    condition=_UNLESS_BUILT_OR_EQUAL,
                )
                async with self._engine.begin() as connection:
                    result = await connection.exec_driver_sql(
                        sql,
                        (
                            integers(np.full(count, market_id)),
                            integers(np.full(count, ohlcv.timeframe.seconds)),
                            times(part.opened_at_us),
                            doubles(part.open),
                            doubles(part.high),
                            doubles(part.low),
                            doubles(part.close),
                            doubles(part.volume),
                            integers(np.zeros(count)),
                        ),
                    )
                    stored += result.rowcount
            return stored

    async def import_trades(self, market: Market, columns: TradeColumns) -> int:
        """Store trades from elsewhere, without touching the ledger, and return how many were new.

        A trade whose id is stored already is left out whatever its time says: archives give the same trade's
        time in other units than the stream did.
        """
        with database_errors(self._url):
            market_id = (await self._market_ids({market}))[market]
            runs = merge_runs(await asyncio.to_thread(self._reads.runs, market))
            stored = 0
            for start in range(0, len(columns), _IMPORT_ROWS):
                part = columns.rows(start, min(start + _IMPORT_ROWS, len(columns)))
                stored_ids = (
                    await asyncio.to_thread(
                        self._reads.trades_of_ids, market, int(part.trade_id[0]), int(part.trade_id[-1])
                    )
                ).trade_id
                new = ~np.isin(part.trade_id, stored_ids, assume_unique=True)
                # What the ledger has was written before, and lost: the digests tell of it still.
                known = ids_in_runs(part.trade_id, runs)
                for mask, written_anew in ((new & ~known, True), (new & known, False)):
                    if mask.any():
                        stored += await self._import_rows(market_id, picked(part, mask), written_anew)
            return stored

    async def _import_rows(self, market_id: int, rows: TradeColumns, written_anew: bool) -> int:
        stored = 0

        async def work(connection: AsyncConnection, repeats: bool) -> None:
            nonlocal stored
            stored = await insert_trades(
                connection,
                np.full(len(rows), market_id),
                rows,
                repeats=repeats,
                written_anew=written_anew,
            )

        await storing_trades(self._engine, work)
        return stored

    async def last_run(self, market: Market) -> TradeRun | None:
        """The newest run of stored trade ids, or None for a market never recorded."""
        runs = await asyncio.to_thread(self._reads.runs, market, newest=1)
        return runs[-1] if runs else None

    async def trades_between(self, market: Market, start_us: int, end_us: int) -> list[Trade]:
        """Stored trades of `[start_us, end_us)`, in id order."""
        columns = await asyncio.to_thread(self._reads.trades, market, start_us, end_us)
        return columns.trades(market)

    async def candles_between(
        self, market: Market, timeframe: Timeframe, start_us: int, end_us: int
    ) -> list[Candle]:
        """Stored candles built from trades that open in `[start_us, end_us)`, ascending."""
        built = await asyncio.to_thread(self._reads.built_candles, market, timeframe, start_us, end_us)
        return as_candles(built, market)

    @staticmethod
    async def _store(
        connection: AsyncConnection,
        batch: MarketBatch,
        ids: dict[Market, int],
        *,
        repeats: bool,
        written_anew: bool = True,
    ) -> None:
        """The batch, inside a transaction that may store more. Trades are as `insert_trades` takes them."""
        if batch.trades:
            market_ids, columns = columns_of(batch.trades, ids)
            await insert_trades(connection, market_ids, columns, repeats=repeats, written_anew=written_anew)
        await _upsert_candles(connection, batch.candles, ids, from_venue=False)
        crowded = await save_runs(connection, batch.runs, ids)
        await save_gaps(connection, batch.gaps, ids)
        crowded |= {ids[market] for market, _ in batch.gaps}
        for market_id in sorted(crowded):
            await tidy_ledger(connection, market_id)
        await take_back_candles(connection, batch.gaps, ids)

    async def _market_ids(self, markets: Collection[Market]) -> dict[Market, int]:
        return await self._numbers.of(markets)


def _lift_decompression_limit(connection: Any, _record: Any) -> None:
    """Let one transaction replace candles anywhere in TimescaleDB's compressed chunks.

    By default it refuses those that unpack more than 100,000 rows; scattered candles unpack 1,000 each, and
    trying again would never help. A plain server takes the setting as one it does not know.
    """
    cursor = connection.cursor()
    cursor.execute("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
    cursor.close()
    # The driver opened a transaction for the SET; a rollback would undo it.
    connection.commit()


async def _upsert_candles(
    connection: AsyncConnection, candles: Iterable[Candle], ids: dict[Market, int], *, from_venue: bool
) -> None:
    by_table: dict[str, dict[tuple[int, Timeframe, int], Candle]] = {}
    for candle in candles:
        # One statement may write a row only once; of two versions the later one stands.
        key = (ids[Market(candle.exchange, candle.symbol)], candle.timeframe, candle.opened_at_us)
        by_table.setdefault(candle_table(candle.timeframe), {})[key] = candle
    for table, rows in by_table.items():
        newest = rows.values()
        await connection.exec_driver_sql(
            _INSERT_CANDLES.format(
                table=table,
                from_venue="true" if from_venue else "false",
                condition=_UNLESS_BUILT if from_venue else "",
            ),
            (
                integers([market_id for market_id, _, _ in rows]),
                integers([timeframe.seconds for _, timeframe, _ in rows]),
                times([opened_at_us for _, _, opened_at_us in rows]),
                doubles([candle.open for candle in newest]),
                doubles([candle.high for candle in newest]),
                doubles([candle.low for candle in newest]),
                doubles([candle.close for candle in newest]),
                doubles([candle.volume for candle in newest]),
                integers([candle.trades for candle in newest]),
            ),
        )
