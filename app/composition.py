"""The wiring that commands and processes share; what one process is made of is in `app.processes`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from app.installation import Installation
from app.services import database_in_reach
from bots.service import BotService
from config.settings import Settings
from database.repositories.bot_repository import BotRepository
from database.repositories.candle_repository import CandleRepository
from database.repositories.market_repository import MarketRepository
from messaging.redis_bus import RedisBus
from messaging.wake_up import RunnerWakeUp


def now_us() -> int:
    """Our clock, in microseconds since the epoch. Candles and fills never use it."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The repositories over one database."""

    url: str
    candle_repository: CandleRepository
    market_repository: MarketRepository
    bots: BotService


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """This installation's database for one command: configured, running, or started for this while."""
    installation = Installation(settings.candlewick_home)
    with database_in_reach(settings, installation) as url, ExitStack() as stack:
        candles = CandleRepository(url)
        stack.callback(candles.close)
        bots = BotRepository(url)
        stack.callback(bots.close)
        running = installation.running()
        announce = None
        if running is not None and running.redis_url:
            announce = RunnerWakeUp(running.redis_url)
            stack.callback(announce.close)
        yield Store(
            url=url,
            candle_repository=candles,
            market_repository=MarketRepository(url),
            bots=BotService(bots, clock=now_us, announce=announce),
        )


@asynccontextmanager
async def bus_at(url: str) -> AsyncIterator[RedisBus]:
    """A connection to the bus, closed at the end."""
    bus = RedisBus(url)
    try:
        yield bus
    finally:
        await bus.close()
