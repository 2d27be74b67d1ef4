"""The runner that `benchmarks.bench_signals` measures: the product's own, wired as `app` wires it."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from bots.bot_manager import run_bots
from bots.crash_note import CrashNote
from bots.feed_watch import FeedWatch
from bots.shards import WHOLE, Shard
from database.repositories.bot_repository import BotRepository
from database.repositories.candle_repository import CandleRepository
from database.repositories.coverage_repository import CoverageRepository
from database.repositories.fresh_candles import FreshCandles
from database.repositories.market_facts_repository import MarketFactsRepository
from messaging.redis_bus import RedisBus


async def serve(url: str, redis_url: str, home: Path, shard: Shard = WHOLE) -> None:
    """Run the bots of a shard until told to end."""
    sys.setswitchinterval(0.0005)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        bus = RedisBus(redis_url)
        stack.push_async_callback(bus.close)
        store, candles, fresh = BotRepository(url), CandleRepository(url), FreshCandles(url)
        facts, coverage = MarketFactsRepository(url), CoverageRepository(url)
        for close in (store.close, candles.close, fresh.close, facts.close, coverage.close):
            stack.callback(close)
        await run_bots(
            store,
            candles,
            bus,
            bots_folder=home / "bots",
            strategies_folder=home / "strategies",
            clock=lambda: time.time_ns() // 1_000,
            stop=stop,
            fresh=fresh,
            feeds=FeedWatch(facts, coverage),
            shard=shard,
            note=CrashNote(home / f"{shard.name}.hand"),
        )


if __name__ == "__main__":
    given = sys.argv[4] if len(sys.argv) > 4 else "1/1"
    number, of = (int(text) for text in given.split("/"))
    asyncio.run(serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Shard(number=number - 1, of=of)))
