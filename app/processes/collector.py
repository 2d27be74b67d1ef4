"""What the process of a collector is made of: one shard, or all of a venue's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog

from app.composition import bus_at, now_us
from app.installation import RunningServices
from app.processes.collector_shards import settings_file
from config.settings import Settings
from data.collectors.collector_manager import CollectorPlan, plan_collectors, plan_named
from data.collectors.rest import RestTransport, VenueRest, shared_limits
from data.collectors.rest_binance import BinanceTransport
from data.collectors.rest_okx import OkxTransport
from data.collectors.settings import VenueSettings
from data.collectors.settings_file import SettingsFile, ShardSettings
from data.collectors.trade_collector import run_collector
from data.exchanges.base import ExchangeAdapter
from data.exchanges.registry import adapter_for, products
from database.repositories.channel_repository import ChannelRepository
from database.repositories.market_repository import MarketRepository
from messaging.redis_publisher import RedisPublisher

log = structlog.get_logger()

_LOOK_S = 0.5
_CATCHING_UP_S = 10.0


async def collect(
    settings: Settings,
    services: RunningServices,
    plan: CollectorPlan,
    file: SettingsFile,
    *,
    restarts: int = 0,
) -> None:
    """Record one shard until cancelled, following the settings' file. `file` is this shard's own."""
    exchange = plan.settings.exchange
    adapter = adapter_for(exchange, plan.product, _channel_at(plan))
    adapter.limits = shared_limits(adapter.limits, plan.share)
    transport, ws_url = venue_at(settings, exchange, plan.product)
    name = plan.name.replace("collector-", "candlewick ", 1)
    async with AsyncExitStack() as stack:
        rest = VenueRest(adapter, transport)
        stack.push_async_callback(rest.close)
        writer = MarketRepository(services.database_url, application_name=name)
        stack.push_async_callback(writer.close)
        channels = ChannelRepository(services.database_url, application_name=f"{name} channels")
        stack.push_async_callback(channels.close)
        bus = await stack.enter_async_context(bus_at(services.redis_url))
        ready = asyncio.create_task(_make_ready(adapter))
        ready.add_done_callback(_tell_not_ready)
        stack.callback(ready.cancel)
        await run_collector(
            adapter,
            rest,
            writer,
            RedisPublisher(bus),
            plan.settings,
            ws_url=ws_url,
            malformed_folder=settings.candlewick_home / "malformed",
            clock_us=now_us,
            journal_folder=settings.candlewick_home / "journal" / plan.name,
            channel_writer=channels,
            funding_reader=channels,
            source=_source(file, plan),
            shard=plan.name,
            restarts=restarts,
        )


async def _make_ready(adapter: ExchangeAdapter) -> None:
    """Load compiled code once a collector that came back has caught up: it reads without until then."""
    await asyncio.sleep(_CATCHING_UP_S)
    await asyncio.to_thread(adapter.make_ready)


def _tell_not_ready(getting_ready: asyncio.Task[None]) -> None:
    """A collector reads without compiled code as well: slower, and no trade is lost."""
    if not getting_ready.cancelled() and (error := getting_ready.exception()) is not None:
        log.error("compiled_code_not_loaded", exc_info=error)


async def collect_venue(settings: Settings, services: RunningServices, exchange: str) -> None:
    """Record all shards of one venue in this process until cancelled, those that are added later as well."""
    file = settings_file(settings)
    venues: dict[str, VenueSettings] | None = file.load()
    running: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as tasks:
        while True:
            if venues is not None:
                plans = plan_collectors(venues, (exchange,)) if exchange in venues else []
                for plan in plans:
                    if plan.name not in running:
                        running[plan.name] = tasks.create_task(
                            collect(settings, services, plan, settings_file(settings))
                        )
                for name in running.keys() - {plan.name for plan in plans}:
                    running.pop(name).cancel()
            await asyncio.sleep(_LOOK_S)
            venues = file.changed()


def venue_at(settings: Settings, exchange: str, product: str = "") -> tuple[RestTransport, str]:
    """How to reach a product of a venue, its first unless named: REST and the base of its streams."""
    venues: dict[tuple[str, str], tuple[Callable[[], RestTransport], str]] = {
        ("okx", "okx"): (lambda: OkxTransport(settings.okx_rest_url), settings.okx_ws_url),
        ("binance", "spot"): (
            lambda: BinanceTransport(settings.binance_rest_url),
            settings.binance_ws_url,
        ),
        ("binance", "usdm"): (
            lambda: BinanceTransport(settings.binance_futures_rest_url, futures=True),
            settings.binance_futures_ws_url,
        ),
    }
    transport, ws_url = venues[exchange, product or products(exchange)[0]]
    return transport(), ws_url


def _channel_at(plan: CollectorPlan) -> str | None:
    """The kind of trade stream that the settings name, where this product has it; else its best."""
    known = adapter_for(plan.settings.exchange, plan.product).channels
    return plan.settings.channel if plan.settings.channel in known else None


def _source(file: SettingsFile, plan: CollectorPlan) -> ShardSettings:
    def part_of(venues: dict[str, VenueSettings]) -> VenueSettings | None:
        found = plan_named(venues, plan.name)
        return None if found is None else found.settings

    return ShardSettings(file, part_of, plan.settings)
