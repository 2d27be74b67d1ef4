"""Giving the store what the journal holds: after a crash of ours, or of its server."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import structlog

from data.collectors.journal import Journal, Position, journals_in
from data.collectors.restoring import mended_candles
from data.collectors.unsaved import by_itself, joined
from data.errors import InstallationError
from data.models import Market
from data.stores import MarketBatch, MarketWriter
from data.timeframes import Timeframe, floor_to

log = structlog.get_logger()

_BATCH_TRADES = 5_000


async def store_again(
    writer: MarketWriter, journal: Journal, timeframes: Collection[Timeframe], end: Position
) -> int:
    """Store what the journal holds before `end`, in order, and return how many trades that were.

    Nothing is released: to repeat it is harmless. What a record's runs say of trades before it is left out,
    for the store may lack them; runs that touch become one there. Raises TransientError.
    """
    late: dict[Market, set[int]] = {}
    stored = 0
    place = journal.begin
    while place < end:
        page = journal.read(place, _BATCH_TRADES)
        place = page.end
        if not page.records:
            continue
        for record in page.records:
            for market, times in record.late:
                late.setdefault(market, set()).update(times)
        batch = joined([by_itself(record.batch) for record in page.records])
        await writer.save(batch)
        stored += len(batch.trades)
    for market, late_us in late.items():
        await _mend(writer, market, timeframes, late_us)
    if stored:
        log.info("journal_stored", trades=stored)
    return stored


async def store_orphans(
    writer: MarketWriter, folder: Path, own: Path, timeframes: Collection[Timeframe]
) -> int:
    """Store what journals below `folder` hold that no process has, and return how many trades that were.

    They are of processes that are no more in the plan. Call it when those that are have taken theirs, of
    which `own` is one. Raises TransientError.
    """
    stored = 0
    for orphan in journals_in(folder):
        if orphan == own:
            continue
        journal = Journal(orphan)
        try:
            journal.open()
        except InstallationError:
            continue  # its process lives
        try:
            stored += await store_again(writer, journal, timeframes, journal.end)
            journal.release(journal.end)
        finally:
            journal.close()
    return stored


async def _mend(
    writer: MarketWriter, market: Market, timeframes: Collection[Timeframe], late_us: Collection[int]
) -> None:
    run = await writer.last_run(market)
    if run is None:
        return
    candles = await mended_candles(
        writer,
        market,
        timeframes,
        late_us,
        closed_by_us=floor_to(run.last_at_us, Timeframe.S1),
        covers=lambda opened_at_us: opened_at_us > run.first_at_us,
    )
    if candles:
        await writer.save(MarketBatch(trades=[], candles=candles, runs=[]))
