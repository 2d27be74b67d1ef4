"""A real collector on a venue that is given, without the venue's REST. Run by bench_latency.py.

python -m benchmarks.latency_collector DATABASE_URL REDIS_URL WS_URL MARKETS FOLDER
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

import uvloop

from data.collectors.rest import VenueRest
from data.collectors.settings import VenueSettings
from data.collectors.trade_collector import run_collector
from data.exchanges.base import RestRequest
from data.exchanges.binance import BinanceAdapter
from data.timeframes import Timeframe
from database.repositories.market_repository import MarketRepository
from messaging.redis_bus import RedisBus
from messaging.redis_publisher import RedisPublisher


class QuietRest:
    """Satisfies `RestTransport` with the symbols alone: no history, no candles."""

    def __init__(self, markets: int) -> None:
        self._markets = markets

    async def get(self, request: RestRequest) -> object:
        if request.path == "exchangeInfo":
            return {
                "symbols": [
                    {
                        "symbol": f"T{number}USDT",
                        "status": "TRADING",
                        "baseAsset": f"T{number}",
                        "quoteAsset": "USDT",
                        "filters": [],
                    }
                    for number in range(self._markets)
                ]
            }
        return {"serverTime": time.time_ns() // 1_000_000} if request.path == "time" else []

    async def close(self) -> None:
        return


async def main(database_url: str, redis_url: str, ws_url: str, markets: int, folder: Path) -> None:
    adapter, bus, writer = BinanceAdapter(), RedisBus(redis_url), MarketRepository(database_url)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    ready = asyncio.create_task(asyncio.to_thread(adapter.make_ready))
    try:
        await run_collector(
            adapter,
            VenueRest(adapter, QuietRest(markets)),
            writer,
            RedisPublisher(bus),
            VenueSettings(
                exchange="binance",
                symbols=tuple(f"T{number}-USDT" for number in range(markets)),
                channel="trade",
                timeframes=tuple(Timeframe),
            ),
            ws_url=ws_url,
            malformed_folder=folder / "malformed",
            journal_folder=folder / "journal",
            clock_us=lambda: time.time_ns() // 1_000,
        )
    except asyncio.CancelledError:
        await ready
        await writer.close()
        await bus.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5])))
