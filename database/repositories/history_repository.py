"""Where backfill and repair put what they fetch after the fact; asyncio."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from data.collectors.backfill import AlteredTrades, Hole, Rebuilt
from data.coverage import (
    ABSENT_AT_VENUE,
    ALTERED,
    DELETED,
    NOT_RECORDED,
    Span,
    TradeRepair,
    VenueOutage,
    union_of,
    without,
)
from data.models import Market, Trade, TradeGap, TradeRun
from data.stores import MarketBatch
from data.timeframes import Timeframe, floor_to, to_datetime
from database.engine import database_errors
from database.features import Retention
from database.market_queries import as_candles, candle_table
from database.outages import stopped_minutes
from database.proving import MarketProof, changed_since, prove
from database.rebuilding import checked_runs, touched_candles
from database.repositories.market_repository import MarketRepository
from database.trade_ledger import merge_runs
from database.trade_writes import columns_of, replace_trades, storing_trades

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

    async def build_candles(self, market: Market) -> Rebuilt:
        """Build the candles again that repairs have touched and that have ended since."""
        with database_errors(self._url):
            market_id = (await self._market_ids({market}))[market]
            pending = await self._pending_repairs(market_id)
            runs = await self.runs(market)
            if not pending or not runs:
                return Rebuilt()
            until_us = max(run.last_at_us for run in runs)
            built = 0
            told: list[Span] = []
            for since_us, rows in itertools.groupby(pending, key=lambda row: row[1]):
                spans = [span for span, _ in rows]
                found = await self._build_touched(market, runs, spans, since_us)
                if found:
                    built, told = built + found, told + spans
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
            return Rebuilt(candles=built, spans=_minutes_of(told))

    async def altered(self, market: Market, *, since_us: int, again: bool) -> list[AlteredTrades]:
        """Where the store holds other trades than were written, of that time and later; ascending.

        What could not be mended before is told only where `again` is set.
        """
        with database_errors(self._url):
            return await asyncio.to_thread(self._altered, market, since_us, again)

    async def replace_trades(
        self, market: Market, altered: AlteredTrades, trades: Sequence[Trade], repair: TradeRepair
    ) -> None:
        """Let `trades` stand for all that is stored under these ids, and note it, in one transaction."""
        with database_errors(self._url):
            ids = await self._market_ids({market})
            async with self._engine.begin() as connection:
                await replace_trades(
                    connection, ids[market], altered.first_id, altered.last_id, *columns_of(trades, ids)
                )
                await _save_repair(connection, ids[market], repair)

    async def mend_candles(self, market: Market, *, since_us: int) -> Rebuilt:
        """Build the candles again that are not what their trades make, of that time and later.

        Candles whose trades are absent or altered stay as they are: those trades would not make them right.
        """
        with database_errors(self._url):
            runs = await self.runs(market)
            if not runs:
                return Rebuilt()
            proof = await asyncio.to_thread(self._prove, market, since_us)
            wrong = [found for found in proof.differences if not proof.doubts(found)]
            if not wrong:
                return Rebuilt()
            market_id = (await self._market_ids({market}))[market]
            for timeframe in {found.timeframe for found in wrong}:
                opened = {found.opened_at_us for found in wrong if found.timeframe is timeframe}
                parts = touched_candles(
                    self._reads, market, runs, [timeframe], [(at, at) for at in opened], closed_after_us=0
                )
                while (part := await asyncio.to_thread(next, parts, None)) is not None:
                    candles = [candle for candle in as_candles(part, market) if candle.opened_at_us in opened]
                    await self.save(MarketBatch(trades=[], candles=candles, runs=[]))
            strange = [found for found in wrong if found.field == "row" and found.rebuilt is None]
            async with self._engine.begin() as connection:
                for found in strange:
                    await connection.exec_driver_sql(
                        f"DELETE FROM {candle_table(found.timeframe)} WHERE market_id = %s "
                        "AND timeframe_s = %s AND opened_at = %s AND NOT from_venue",
                        (market_id, found.timeframe.seconds, to_datetime(found.opened_at_us)),
                    )
            spans = [(found.opened_at_us, found.opened_at_us + found.timeframe.us - 1) for found in wrong]
            return Rebuilt(
                candles=len({(found.timeframe, found.opened_at_us) for found in wrong}),
                spans=_minutes_of(spans),
            )

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

    async def note_outages(self, exchange: str, since_us: int) -> int:
        """Note when the venue or a market of it had stopped, from that time on; how many spans were found.

        It is told by the collectors' health, by the venue's own word, and by what was not traded.
        """
        with database_errors(self._url):
            markets = [market for market in await self.recorded_markets() if market.exchange == exchange]
            found = await asyncio.to_thread(stopped_minutes, self._reads, markets, since_us)
        for market, outage in found:
            await self.save_outage(market, outage)
        return len(found)

    async def recorded_markets(self) -> list[Market]:
        """Every market whose trades were recorded, in order of name."""
        return await asyncio.to_thread(self._reads.recorded_markets)

    def _holes(self, market: Market, search: bool) -> list[Hole]:
        expires_us = self._expires_us()
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

    def _prove(self, market: Market, since_us: int) -> MarketProof:
        return prove(self._reads, market, tuple(Timeframe), start_us=since_us, expires_us=self._expires_us())

    def _altered(self, market: Market, since_us: int, again: bool) -> list[AlteredTrades]:
        known = [
            repair.touches()
            for repair in self._reads.repairs(market)
            if repair.repaired_at_us is None and (repair.reason != ALTERED or not again)
        ]
        minutes = union_of(
            (changed.minute_us, changed.minute_us + Timeframe.M1.us)
            for changed in changed_since(self._reads, market, since_us, expires_us=self._expires_us())
        )
        runs = merge_runs(self._reads.runs(market))
        found = []
        for start_us, end_us in minutes:
            ids = self._reads.ids_around(market, start_us, end_us)
            if ids is None or without((start_us, end_us), known) != [(start_us, end_us)]:
                continue
            # The ledger alone says which ids belong to the store.
            found += [
                AlteredTrades(
                    first_id=max(ids[0], run.first_id),
                    last_id=min(ids[1], run.last_id),
                    start_us=start_us,
                    end_us=end_us - 1,
                )
                for run in runs
                if run.first_id <= ids[1] and run.last_id >= ids[0]
            ]
        return found

    def _expires_us(self) -> int:
        days = self._retention.trades_days
        return 0 if days is None else self._clock_us() - days * _DAY_US

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


def _minutes_of(spans: Sequence[Span]) -> list[Span]:
    """The whole minutes that the spans touch, as few spans as there are."""
    return union_of(
        (floor_to(start_us, Timeframe.M1), floor_to(end_us, Timeframe.M1) + Timeframe.M1.us)
        for start_us, end_us in spans
    )


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
