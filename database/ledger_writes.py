"""The ledger of trade ids in its tables, inside the transaction that stores the trades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from data.errors import StoreFellBehind
from data.models import Market, TradeGap, TradeRun
from data.stores import MarketBatch
from database.binary_arrays import bigints, integers, times
from database.trade_ledger import merge_runs, open_gaps

_Row = TypeVar("_Row", TradeRun, TradeGap)

# The outer SELECT sees the table as it was before: it lists the markets whose ledger needs more than one
# run grown or begun, because runs now touch or a known gap has been filled.
_SAVE_RUNS = """
    WITH new AS (
        SELECT * FROM unnest(%b::integer[], %b::bigint[], %b::bigint[], %b::timestamptz[], %b::timestamptz[])
            AS columns (market_id, first_id, last_id, first_at, last_at)
    ), saved AS (
        INSERT INTO trade_runs AS old (market_id, first_id, last_id, first_at, last_at)
        SELECT * FROM new
        ON CONFLICT (market_id, first_id) DO UPDATE SET last_id = excluded.last_id, last_at = excluded.last_at
        WHERE old.last_id < excluded.last_id
    )
    SELECT old.market_id FROM new JOIN trade_runs old USING (market_id)
    WHERE old.first_id <> new.first_id AND old.first_id <= new.last_id + 1 AND old.last_id >= new.first_id - 1
    UNION
    SELECT gap.market_id FROM new JOIN trade_gaps gap USING (market_id)
    WHERE gap.first_id <= new.last_id AND gap.last_id >= new.first_id
"""
_LACKING = """
    SELECT need.market_id, need.before_id
    FROM unnest(%b::integer[], %b::bigint[], %b::bigint[]) AS need (market_id, first_id, before_id)
    WHERE NOT EXISTS (
        SELECT FROM trade_runs run
        WHERE run.market_id = need.market_id AND run.first_id <= need.first_id
            AND run.last_id >= need.before_id
    )
    ORDER BY need.market_id LIMIT 1
"""
_MICROSECONDS = "(extract(epoch FROM {0}) * 1000000)::bigint"


async def check_runs_go_on(connection: AsyncConnection, batch: MarketBatch, ids: dict[Market, int]) -> None:
    """See that the store has what the batch's runs say was stored before. Raises StoreFellBehind.

    A server that crashed may have undone its last commits; a run grown over that would claim trades that
    nobody has. A batch without trades, as of an import that stored them before, is believed.
    """
    if not batch.trades:
        return
    first_ids: dict[tuple[str, str], list[int]] = {}
    for trade in batch.trades:
        first_ids.setdefault((trade.exchange, trade.symbol), []).append(trade.trade_id)
    needs = []
    for market, run in batch.runs:
        own = np.asarray(first_ids.get((market.exchange, market.symbol), ()), dtype=np.int64)
        own = own[(own >= run.first_id) & (own <= run.last_id)]
        before_id = int(own.min()) - 1 if len(own) else run.last_id
        if before_id >= run.first_id:
            needs.append((market, run.first_id, before_id))
    if not needs:
        return
    result = await connection.exec_driver_sql(
        _LACKING,
        (
            integers([ids[market] for market, _, _ in needs]),
            bigints([first_id for _, first_id, _ in needs]),
            bigints([before_id for _, _, before_id in needs]),
        ),
    )
    lacking = result.first()
    if lacking is not None:
        market = next(market for market, _, _ in needs if ids[market] == lacking.market_id)
        raise StoreFellBehind(str(market), lacking.before_id)


async def save_runs(
    connection: AsyncConnection, runs: Sequence[tuple[Market, TradeRun]], ids: dict[Market, int]
) -> set[int]:
    """Store the runs and return the numbers of the markets whose ledger wants tidying."""
    by_market: dict[int, list[TradeRun]] = {}
    for market, run in runs:
        by_market.setdefault(ids[market], []).append(run)
    # Runs that touch inside one batch are joined here: the statement cannot see its own rows.
    rows = [(market_id, run) for market_id, found in by_market.items() for run in merge_runs(found)]
    if not rows:
        return set()
    result = await connection.exec_driver_sql(
        _SAVE_RUNS,
        (
            integers([market_id for market_id, _ in rows]),
            bigints([run.first_id for _, run in rows]),
            bigints([run.last_id for _, run in rows]),
            times([run.first_at_us for _, run in rows]),
            times([run.last_at_us for _, run in rows]),
        ),
    )
    return set(result.scalars())


async def save_gaps(
    connection: AsyncConnection, gaps: Sequence[tuple[Market, TradeGap]], ids: dict[Market, int]
) -> None:
    """Store the gaps; one with the same first id is replaced."""
    # Of two reasons for the same gap the later one stands.
    rows = {(ids[market], gap.first_id): gap for market, gap in gaps}
    if not rows:
        return
    await connection.exec_driver_sql(
        """
        INSERT INTO trade_gaps (market_id, first_id, last_id, reason, found_at)
        SELECT * FROM unnest(%b::integer[], %b::bigint[], %b::bigint[], %s::text[], %b::timestamptz[])
        ON CONFLICT (market_id, first_id) DO UPDATE SET
            last_id = excluded.last_id, reason = excluded.reason, found_at = excluded.found_at
        """,
        (
            integers([market_id for market_id, _ in rows]),
            bigints([gap.first_id for gap in rows.values()]),
            bigints([gap.last_id for gap in rows.values()]),
            [gap.reason for gap in rows.values()],
            times([gap.found_at_us for gap in rows.values()]),
        ),
    )


async def take_back_candles(
    connection: AsyncConnection, gaps: Sequence[tuple[Market, TradeGap]], ids: dict[Market, int]
) -> None:
    """Delete built candles that hold the last trade before a gap, unless its ids have come meanwhile.

    The clock closes a candle when nothing is known to be missing; that its last trades were lost shows later.
    The ledger is tidy.
    """
    if not gaps:
        return
    known = (integers([ids[market] for market, _ in gaps]), bigints([gap.first_id for _, gap in gaps]))
    for table in ("candles", "second_candles"):
        await connection.exec_driver_sql(
            f"""
            DELETE FROM {table} candle
            USING unnest(%b::integer[], %b::bigint[]) AS known (market_id, first_id),
                trade_gaps gap, trade_runs run
            WHERE gap.market_id = known.market_id AND gap.first_id = known.first_id
                AND run.market_id = known.market_id AND run.last_id = known.first_id - 1
                AND candle.market_id = known.market_id AND NOT candle.from_venue
                AND candle.opened_at BETWEEN run.last_at - interval '8 days' AND run.last_at
                AND candle.opened_at + candle.timeframe_s * interval '1 second' > run.last_at
            """,
            known,
        )


async def tidy_ledger(connection: AsyncConnection, market_id: int) -> None:
    """Join the market's runs that touch, and take the ids that runs have out of its gaps."""
    # The lock keeps a second writer of the same market from joining the same runs at once.
    await connection.exec_driver_sql(
        "SELECT FROM markets WHERE market_id = %s FOR NO KEY UPDATE", (market_id,)
    )
    found = await connection.exec_driver_sql(
        f"SELECT first_id, last_id, {_MICROSECONDS.format('first_at')} AS first_at_us, "
        f"{_MICROSECONDS.format('last_at')} AS last_at_us FROM trade_runs WHERE market_id = %s",
        (market_id,),
    )
    runs = [TradeRun(**row) for row in found.mappings()]
    joined = merge_runs(runs)
    stale, fresh = _difference(runs, joined)
    if stale:
        await connection.exec_driver_sql(
            "DELETE FROM trade_runs WHERE market_id = %s AND first_id = ANY(%b)",
            (market_id, bigints([run.first_id for run in stale])),
        )
    if fresh:
        await connection.exec_driver_sql(
            "INSERT INTO trade_runs "
            "SELECT %s, * FROM unnest(%b::bigint[], %b::bigint[], %b::timestamptz[], %b::timestamptz[])",
            (
                market_id,
                bigints([run.first_id for run in fresh]),
                bigints([run.last_id for run in fresh]),
                times([run.first_at_us for run in fresh]),
                times([run.last_at_us for run in fresh]),
            ),
        )
    found = await connection.exec_driver_sql(
        f"SELECT first_id, last_id, reason, {_MICROSECONDS.format('found_at')} AS found_at_us "
        "FROM trade_gaps WHERE market_id = %s",
        (market_id,),
    )
    gaps = [TradeGap(**row) for row in found.mappings()]
    stale_gaps, fresh_gaps = _difference(gaps, open_gaps(gaps, joined))
    if stale_gaps:
        await connection.exec_driver_sql(
            "DELETE FROM trade_gaps WHERE market_id = %s AND first_id = ANY(%b)",
            (market_id, bigints([gap.first_id for gap in stale_gaps])),
        )
    if fresh_gaps:
        await connection.exec_driver_sql(
            "INSERT INTO trade_gaps "
            "SELECT %s, * FROM unnest(%b::bigint[], %b::bigint[], %s::text[], %b::timestamptz[])",
            (
                market_id,
                bigints([gap.first_id for gap in fresh_gaps]),
                bigints([gap.last_id for gap in fresh_gaps]),
                [gap.reason for gap in fresh_gaps],
                times([gap.found_at_us for gap in fresh_gaps]),
            ),
        )


def _difference(before: Sequence[_Row], after: Sequence[_Row]) -> tuple[list[_Row], list[_Row]]:
    """What to delete from the store and what to insert, to come from `before` to `after`."""
    there, wanted = set(before), set(after)
    return [row for row in before if row not in wanted], [row for row in after if row not in there]
