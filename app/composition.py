"""The one place that wires: it reads Settings, picks implementations and hands them over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.installation import Installation, RunningServices
from app.services import database_in_reach
from app.strategy_shelf import StrategyShelf
from bots.bot_manager import run_bots
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
from messaging.health_board import HealthBoard
from messaging.redis_bus import RedisBus
from messaging.redis_publisher import RedisPublisher
from messaging.wake_up import RunnerWakeUp

if TYPE_CHECKING:
    from fastapi import FastAPI


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


async def run_paper_bots(settings: Settings, services: RunningServices, stop: asyncio.Event) -> None:
    """Run the bots of this installation until `stop` is set."""
    async with AsyncExitStack() as stack:
        store = BotRepository(services.database_url)
        stack.callback(store.close)
        candles = CandleRepository(services.database_url)
        stack.callback(candles.close)
        bus = await stack.enter_async_context(bus_at(services.redis_url))
        await run_bots(
            store,
            candles,
            bus,
            bots_folder=settings.candlewick_bots,
            strategies_folder=settings.candlewick_strategies,
            clock=now_us,
            stop=stop,
        )


@contextmanager
def web_page(settings: Settings, services: RunningServices, *, host: str) -> Iterator[FastAPI]:
    """The web application, ready to be served by uvicorn in this process."""
    # Dash and its components take a second to import, which only this process should pay.
    from dashboard.gate import LOOPBACK_HOSTS
    from dashboard.web import build_web

    with ExitStack() as stack:
        candles = CandleRepository(services.database_url)
        stack.callback(candles.close)
        store = BotRepository(services.database_url)
        stack.callback(store.close)
        wake_up = RunnerWakeUp(services.redis_url)
        stack.callback(wake_up.close)
        bus = RedisBus(services.redis_url)
        yield build_web(
            market=candles,
            bots=BotService(store, clock=now_us, announce=wake_up),
            strategies=StrategyShelf(settings.candlewick_strategies),
            health=HealthBoard(bus, tuple(EXCHANGES)),
            bus=bus,
            now_us=now_us,
            allowed_hosts=(*LOOPBACK_HOSTS, host, *settings.allowed_hosts),
        )
