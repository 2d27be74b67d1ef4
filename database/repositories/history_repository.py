"""Where backfill and repair put what they fetch after the fact; asyncio."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from data.collectors.backfill import Hole
from data.coverage import ABSENT_AT_VENUE, DELETED, NOT_RECORDED, Span, TradeRepair, VenueOutage, without
from data.models import Market, Trade, TradeGap, TradeRun
from data.stores import MarketBatch
from data.timeframes import Timeframe, floor_to, to_datetime
from database.engine import database_errors
from database.features import Retention
from database.market_queries import as_candles
from database.rebuilding import checked_runs, touched_candles
from database.repositories.market_repository import MarketRepository
from database.trade_ledger import merge_runs
from database.trade_writes import storing_trades

_DAY_US = Timeframe.D1.us


class HistoryRepository(MarketRepository):
    """Satisfies `data.collectors.backfill.HistoryStore`, beside collectors that go on recording."""

    def __init__(
        self,
        url: str,
        *,
        clock_us: Callable[[], int],
        retention: Retention | None = None,
        application_name: str = "candlewick history",
    ) -> None:
        """What is older than `retention` by `clock_us` is neither missed nor built."""
        super().__init__(url, application_name=application_name)
        self._clock_us, self._retention = clock_us, retention or Retention()

    async def runs(self, market: Market) -> list[TradeRun]:
        """Runs of stored ids, ascending, joined where they touch."""
        return merge_runs(await asyncio.to_thread(self._reads.runs, market))

    async def holes(self, market: Market, *, search: bool) -> list[Hole]:
        """Ids that the store lacks between its first and its last, ascending, and should still keep.

        The ledger tells of them; with `search` every id is looked for, to find what was deleted behind it.
        """
        return await asyncio.to_thread(self._holes, market, search)

    async def save_fetched(
        self,
        market: Market,
        trades: Sequence[Trade],
        *,
        runs: Sequence[TradeRun] = (),
        gaps: Sequence[TradeGap] = (),
        repairs: Sequence[TradeRepair] = (),
    ) -> None:
        """Store trades and what is to be noted of them, in one transaction.

        A repair joins the one right above it, and takes the place of losses that it makes good.
        """
        batch = MarketBatch(
            trades=trades,
            candles=[],
            runs=[(market, run) for run in runs],
            gaps=[(market, gap) for gap in gaps],
        )
        with database_errors(self._url):
            ids = await self._market_ids({market})

            async def work(connection: AsyncConnection, repeats: bool) -> None:
                # Without a run to note they are trades that the ledger has and the store has lost.
                await self._store(connection, batch, ids, repeats=repeats, written_anew=bool(runs))
                # A loss may lie inside a range made good, so losses are told last.
                for repair in sorted(repairs, key=lambda repair: repair.repaired_at_us is None):
                    await _save_repair(connection, ids[market], repair)

            await storing_trades(self._engine, work)

    async def build_candles(self, market: Market) -> int:
        """Build the candles again that repairs have touched and that have ended since; how many."""
        with database_errors(self._url):
            market_id = (await self._market_ids({market}))[market]
            pending = await self._pending_repairs(market_id)
            runs = await self.runs(market)
            if not pending or not runs:
                return 0
            until_us = max(run.last_at_us for run in runs)
            built = 0
            for since_us, rows in itertools.groupby(pending, key=lambda row: row[1]):
                spans = [span for span, _ in rows]
                built += await self._build_touched(market, runs, spans, since_us)
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(
                    "UPDATE trade_repairs SET candles_until = %s WHERE market_id = %s "
                    "AND repaired_at IS NOT NULL AND (start_at, end_at) IN "
                    "(SELECT * FROM unnest(%s::timestamptz[], %s::timestamptz[]))",
                    (
                        to_datetime(until_us),
                        market_id,
                        [to_datetime(span[0]) for span, _ in pending],
                        [to_datetime(span[1]) for span, _ in pending],
                    ),
                )
            return built

    async def fetched_klines(self, market: Market, timeframe: Timeframe) -> list[Span]:
        """Spans whose candles were fetched already, ascending."""
        return await asyncio.to_thread(self._reads.fetched_klines, market, timeframe)

    async def save_fetched_klines(self, market: Market, timeframe: Timeframe, span: Span) -> None:
        """Note that the venue's candles of `span` are stored; joined with the spans that it touches."""
        with database_errors(self._url):
            market_id = (await self._market_ids({market}))[market]
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(
                    """
                    WITH touching AS (
                        DELETE FROM fetched_klines
                        WHERE market_id = %s AND timeframe_s = %s AND start_at <= %s AND end_at >= %s
                        RETURNING start_at, end_at
                    )
                    INSERT INTO fetched_klines
                    SELECT %s, %s, least(min(start_at), %s::timestamptz),
                        greatest(max(end_at), %s::timestamptz)
                    FROM touching
                    ON CONFLICT (market_id, timeframe_s, start_at) DO UPDATE SET end_at = excluded.end_at
                    """,
                    (
                        *(market_id, timeframe.seconds, to_datetime(span[1]), to_datetime(span[0])),
                        *(market_id, timeframe.seconds, to_datetime(span[0]), to_datetime(span[1])),
                    ),
                )

    async def save_outage(self, market: Market, outage: VenueOutage) -> None:
        """Note that the venue did not trade the market."""
        with database_errors(self._url):
            market_id = (await self._market_ids({market}))[market]
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(
                    "INSERT INTO venue_outages (market_id, start_at, end_at, reason) VALUES (%s, %s, %s, %s) "
                    "ON CONFLICT (market_id, start_at) DO UPDATE SET end_at = excluded.end_at, "
                    "reason = excluded.reason",
                    (market_id, to_datetime(outage.start_us), to_datetime(outage.end_us), outage.reason),
                )

    async def recorded_markets(self) -> list[Market]:
        """Every market whose trades were recorded, in order of name."""
        return await asyncio.to_thread(self._reads.recorded_markets)

    def _holes(self, market: Market, search: bool) -> list[Hole]:
        days = self._retention.trades_days
        expires_us = 0 if days is None else self._clock_us() - days * _DAY_US
        gaps = self._reads.gaps(market)
        holes: list[Hole] = []
        for before, after in itertools.pairwise(merge_runs(self._reads.runs(market))):
            if after.first_at_us >= expires_us:
                holes += _between(before, after, gaps)
        if search:
            holes += self._deleted(market, expires_us)
        return sorted(holes, key=lambda hole: hole.first_id)

    def _deleted(self, market: Market, expires_us: int) -> list[Hole]:
        runs, faults = checked_runs(self._reads, market, expires_us=expires_us)
        absent = [(before + 1, after - 1) for before, after in faults if after > before + 1]
        lost = [
            (repair.first_id, repair.last_id + 1)
            for repair in self._reads.repairs(market)
            if repair.repaired_at_us is None
        ]
        neighbours = {trade_id for first_id, last_id in absent for trade_id in (first_id - 1, last_id + 1)}
        times_us = self._reads.times_of_ids(market, neighbours)
        holes = []
        for first_id, last_id in absent:
            run = next(run for run in runs if run.first_id <= last_id and run.last_id >= first_id)
            is_known_loss = not without((first_id, last_id + 1), lost)
            holes.append(
                Hole(
                    first_id=first_id,
                    last_id=last_id,
                    before_us=times_us.get(first_id - 1, run.first_at_us),
                    after_us=times_us.get(last_id + 1, run.last_at_us),
                    reason=ABSENT_AT_VENUE if is_known_loss else DELETED,
                    in_run=True,
                )
            )
        return holes

    async def _pending_repairs(self, market_id: int) -> list[tuple[Span, int]]:
        """Times between which repaired ids lie, and up to when their candles are built; by the latter."""
        async with self._engine.begin() as connection:
            rows = await connection.exec_driver_sql(
                """
                SELECT (extract(epoch FROM start_at) * 1000000)::bigint AS start_us,
                    (extract(epoch FROM end_at) * 1000000)::bigint AS end_us,
                    coalesce((extract(epoch FROM candles_until) * 1000000)::bigint, 0) AS until_us
                FROM trade_repairs
                WHERE market_id = %s AND repaired_at IS NOT NULL
                    AND (candles_until IS NULL OR candles_until < end_at + INTERVAL '7 days')
                ORDER BY until_us, start_us
                """,
                (market_id,),
            )
            return [((row["start_us"], row["end_us"]), row["until_us"]) for row in rows.mappings()]

    async def _build_touched(
        self, market: Market, runs: Sequence[TradeRun], spans: Sequence[Span], since_us: int
    ) -> int:
        days = self._retention.second_candles_days
        kept_us = 0 if days is None else floor_to(self._clock_us(), Timeframe.D1) - days * _DAY_US
        parts = touched_candles(self._reads, market, runs, Timeframe, spans, closed_after_us=since_us)
        built = 0
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            candles = [
                candle
                for candle in as_candles(part, market)
                if candle.timeframe is not Timeframe.S1 or candle.opened_at_us >= kept_us
            ]
            if candles:
                await self.save(MarketBatch(trades=[], candles=candles, runs=[]))
                built += len(candles)
        return built


def _between(before: TradeRun, after: TradeRun, gaps: Sequence[TradeGap]) -> list[Hole]:
    """The ids between two runs, cut where the reason changes."""
    first_id, last_id = before.last_id + 1, after.first_id - 1
    known = [
        (max(gap.first_id, first_id), min(gap.last_id, last_id), gap.reason)
        for gap in gaps
        if gap.first_id <= last_id and gap.last_id >= first_id
    ]
    unknown = without((first_id, last_id + 1), [(start, end + 1) for start, end, _ in known])
    return [
        Hole(
            first_id=start,
            last_id=end,
            before_us=before.last_at_us,
            after_us=after.first_at_us,
            reason=reason,
        )
        for start, end, reason in sorted(
            [*known, *((start, end - 1, NOT_RECORDED) for start, end in unknown)]
        )
    ]


async def _save_repair(connection: AsyncConnection, market_id: int, repair: TradeRepair) -> None:
    last_id, end_at = repair.last_id, to_datetime(repair.end_us)
    if repair.repaired_at_us is not None:
        await connection.exec_driver_sql(
            "DELETE FROM trade_repairs WHERE market_id = %s AND repaired_at IS NULL "
            "AND first_id <= %s AND last_id >= %s",
            (market_id, repair.last_id, repair.first_id),
        )
        above = await connection.exec_driver_sql(
            "DELETE FROM trade_repairs WHERE market_id = %s AND first_id = %s AND reason = %s "
            "AND repaired_at IS NOT NULL AND candles_until IS NULL RETURNING last_id, end_at",
            (market_id, repair.last_id + 1, repair.reason),
        )
        for row in above.mappings():
            last_id, end_at = row["last_id"], row["end_at"]
    await connection.exec_driver_sql(
        """
        INSERT INTO trade_repairs (market_id, first_id, last_id, start_at, end_at, reason, repaired_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (market_id, last_id) DO UPDATE SET
            first_id = least(trade_repairs.first_id, excluded.first_id),
            start_at = least(trade_repairs.start_at, excluded.start_at),
            end_at = greatest(trade_repairs.end_at, excluded.end_at),
            reason = excluded.reason, repaired_at = excluded.repaired_at, candles_until = NULL
        """,
        (
            market_id,
            repair.first_id,
            last_id,
            to_datetime(repair.start_us),
            end_at,
            repair.reason,
            None if repair.repaired_at_us is None else to_datetime(repair.repaired_at_us),
        ),
    )
