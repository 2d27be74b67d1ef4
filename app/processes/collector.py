"""What the process of one venue's collector is made of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from app.composition import bus_at, now_us
from app.installation import RunningServices
from config.settings import Settings
from data.collectors.rest import RestTransport, VenueRest
from data.collectors.rest_binance import BinanceTransport
from data.collectors.rest_okx import OkxTransport
from data.collectors.settings import VenueSettings
from data.collectors.trade_collector import run_collector
from data.exchanges.registry import EXCHANGES
from database.repositories.market_repository import MarketRepository
from messaging.redis_publisher import RedisPublisher


async def collect(settings: Settings, services: RunningServices, venue: VenueSettings) -> None:
    """Record one venue until cancelled."""
    adapter = EXCHANGES[venue.exchange](venue.channel)
    transport, ws_url = venue_at(settings, venue.exchange)
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
            journal_folder=settings.candlewick_home / "journal" / venue.exchange,
        )


def venue_at(settings: Settings, exchange: str) -> tuple[RestTransport, str]:
    """How to reach a venue: its REST transport and the base of its streams."""
    venues: dict[str, tuple[Callable[[str], RestTransport], str, str]] = {
        "okx": (OkxTransport, settings.okx_rest_url, settings.okx_ws_url),
        "binance": (BinanceTransport, settings.binance_rest_url, settings.binance_ws_url),
    }
    transport, rest_url, ws_url = venues[exchange]
    return transport(rest_url), ws_url
