"""The one place that wires: it reads Settings, picks implementations and hands them over."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from app.installation import Installation, RunningServices
from app.services import database_in_reach
from bots.service import BotService
from config.settings import Settings
from data.collectors.rest import RestTransport, VenueRest
from data.collectors.rest_binance import BinanceTransport
from data.collectors.rest_okx import OkxTransport
from data.collectors.settings import VenueSettings
from data.collectors.trade_collector import run_collector
from data.exchanges.registry import EXCHANGES
from database.repositories.bot_repository import BotRepository
from database.repositories.candle_repository import CandleRepository
from database.repositories.market_repository import MarketRepository
from messaging.redis_bus import RedisBus
from messaging.redis_publisher import RedisPublisher


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
    with database_in_reach(settings, installation) as url, store_at(url) as store:
        yield store


@contextmanager
def store_at(url: str) -> Iterator[Store]:
    """The repositories over a database that is there and migrated."""
    candles = CandleRepository(url)
    bots = BotRepository(url)
    try:
        yield Store(
            url=url,
            candle_repository=candles,
            market_repository=MarketRepository(url),
            bots=BotService(bots, clock=now_us),
        )
    finally:
        candles.close()
        bots.close()


@asynccontextmanager
async def bus_at(url: str) -> AsyncIterator[RedisBus]:
    """A connection to the bus, closed at the end."""
    bus = RedisBus(url)
    try:
        yield bus
    finally:
        await bus.close()


async def collect(settings: Settings, services: RunningServices, venue: VenueSettings) -> None:
    """Record one venue until cancelled."""
    adapter = EXCHANGES[venue.exchange](venue.channel)
    transport, ws_url = _venue_at(settings, venue.exchange)
    async with AsyncExitStack() as stack:
        rest = VenueRest(adapter, transport)
        stack.push_async_callback(rest.close)
        writer = MarketRepository(services.database_url, application_name=f"candlewick {venue.exchange}")
        stack.push_async_callback(writer.close)
        bus = await stack.enter_async_context(bus_at(services.redis_url))
        await run_collector(
            adapter,
            rest,
            writer,
            RedisPublisher(bus),
            venue,
            ws_url=ws_url,
            malformed_folder=settings.candlewick_home / "malformed",
            clock_us=now_us,
        )


def _venue_at(settings: Settings, exchange: str) -> tuple[RestTransport, str]:
    """How to reach a venue: its REST transport and the base of its streams."""
    if exchange == "okx":
        return OkxTransport(settings.okx_rest_url), settings.okx_ws_url
    return BinanceTransport(settings.binance_rest_url), settings.binance_ws_url
