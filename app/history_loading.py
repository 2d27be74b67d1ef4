"""A market's history into the store, from its venue or from a file: for commands and jobs alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from typing import Any

from app.composition import Store, now_us
from app.processes.maintenance import Histories, market_backfill, repair_announcer
from config.settings import Settings
from data.collectors.backfill import Fetched, OnProgress
from data.coverage import Span
from data.files.candle_files import opened_at_text
from data.files.trade_columns import TradeColumns
from data.models import Market
from data.stores import MarketBatch
from data.timeframes import Timeframe
from database.market_queries import as_candles
from database.rebuilding import rebuilt_candles
from database.repositories.history_repository import HistoryRepository
from database.trade_ledger import runs_of

# A venue has a second's candle for each second: too many to fetch unasked.
USUAL_TIMEFRAMES = tuple(timeframe for timeframe in Timeframe if timeframe is not Timeframe.S1)

# Told what is fetched now; gives what is told how much of it is there.
Watch = Callable[[str], AbstractContextManager[OnProgress]]


async def backfilled(
    settings: Settings,
    url: str,
    market: Market,
    span: Span,
    *,
    timeframes: tuple[Timeframe, ...],
    trades: bool,
    watch: Watch,
) -> dict[str, Any]:
    """Fetch the venue's candles of `span`, and with `trades` its trades; a summary as JSON values.

    What is stored is not fetched again. Raises InvalidInput for a market that the venue does not trade.
    """
    start_us, end_us = span
    store = HistoryRepository(url, clock_us=now_us)
    candles: dict[str, int] = {}
    fetched = None
    try:
        async with AsyncExitStack() as stack:
            announce = await stack.enter_async_context(repair_announcer(settings))
            fetcher = await market_backfill(Histories(settings, stack), store, market, announce=announce)
            for timeframe in timeframes:
                with watch(f"{market} {timeframe}") as tell:
                    candles[timeframe.value] = await fetcher.fetch_klines(
                        timeframe, start_us, end_us, on_progress=tell
                    )
            if trades:
                with watch(f"{market} trades") as tell:
                    fetched = fetched_row(await fetcher.fetch_trades(start_us, end_us, on_progress=tell))
    finally:
        await store.close()
    return {
        "market": str(market),
        "from": opened_at_text(start_us),
        "to": opened_at_text(end_us),
        "candles": candles,
        "trades": fetched,
    }


def fetched_row(fetched: Fetched) -> dict[str, int]:
    """What was fetched of one market, by the names that people see."""
    return {
        "holes": fetched.holes,
        "ids_missing": fetched.wanted,
        "trades_stored": fetched.stored,
        "absent_at_venue": fetched.absent,
        "ids_altered": fetched.altered,
        "ids_mended": fetched.mended,
        "candles_built": fetched.candles,
    }


async def import_trades(store: Store, market: Market, columns: TradeColumns) -> dict[str, Any]:
    """Store trades, enter them into the ledger of ids, and build the candles that they complete."""
    writer, reader = store.market_repository, store.candle_repository
    stored = await writer.import_trades(market, columns)
    runs = runs_of(columns.trade_id, columns.traded_at_us)
    await writer.save(MarketBatch(trades=[], candles=[], runs=[(market, run) for run in runs]))
    candles = 0
    for span in rebuilt_candles(
        reader,
        market,
        reader.runs(market),
        Timeframe,
        start_us=int(columns.traded_at_us.min()),
        end_us=int(columns.traded_at_us.max()) + 1,
    ):
        found = as_candles(span.built, market)
        await writer.save(MarketBatch(trades=[], candles=found, runs=[]))
        candles += len(found)
    return {"new_trades": stored, "runs": len(runs), "candles_built": candles}


async def closing_writer(store: Store, work: Any) -> Any:
    """Await `work` and leave no connection behind in the loop that ends with it."""
    try:
        return await work
    finally:
        await store.market_repository.close()
