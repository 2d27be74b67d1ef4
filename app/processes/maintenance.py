"""Keeping the store whole beside the collectors: holes are fetched, what is past its time is deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from app.composition import bus_at, now_us
from app.installation import running_in
from app.processes.collector import venue_at
from app.retention import kept_days
from app.venue_addresses import at_own_venue
from config.settings import Settings
from data.collectors.backfill import Announce, Backfill, BackfillTuning, Fetched, OnProgress, tell_rebuilt
from data.collectors.backoff import Backoff
from data.collectors.rest import VenueRest, shared_limits
from data.errors import InvalidInput, Problem, TradingError, TransientError
from data.exchanges.base import ExchangeAdapter
from data.exchanges.registry import EXCHANGES, adapter_for, product_of, products
from data.messages import RepairNews
from data.models import Market
from data.timeframes import Timeframe
from data.topics import repairs_topic
from database.features import Retention, apply_retention
from database.repositories.history_repository import HistoryRepository
from messaging.redis_publisher import RedisPublisher

log = structlog.get_logger()

# Of a collector's budget: it fetches from the same address, comes first, and leaves a third of the limits.
_SHARE = 0.5
# What was recorded in these last days is proven whole by the daily search; `data repair` proves all.
_CHECKED_US = 2 * Timeframe.D1.us


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenancePlan:
    """How often, in seconds, and for how long data is kept."""

    repair_every_s: float = 3_600.0
    retry_s: float = 15.0  # after a repair that failed; doubled each time, up to the hour
    build_every_s: float = 10.0  # candles that were in the making during a repair and have ended since
    search_every_s: float = 86_400.0  # for what was deleted or altered behind the ledger, which reads all
    retention_every_s: float = 86_400.0
    look_s: float = 5.0
    retention: Retention = field(default_factory=Retention)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRepair:
    """What a repair did for one market."""

    market: Market
    fetched: Fetched
    failure: str  # why it was not finished; empty where it was


@asynccontextmanager
async def venue_history(
    settings: Settings, exchange: str, product: str = ""
) -> AsyncIterator[tuple[ExchangeAdapter, VenueRest]]:
    """A venue's REST interface at half the pace that collectors may go: with theirs it keeps the limits."""
    settings = at_own_venue(settings)
    adapter = adapter_for(exchange, product or products(exchange)[0])
    adapter.limits = shared_limits(adapter.limits, _SHARE)
    rest = VenueRest(adapter, venue_at(settings, exchange, adapter.product)[0])
    try:
        yield adapter, rest
    finally:
        await rest.close()


class Histories:
    """The REST interfaces in use, one for each product of a venue: its markets share the limits."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        """They are closed with `stack`."""
        self._settings, self._stack = settings, stack
        self._open: dict[tuple[str, str], tuple[ExchangeAdapter, VenueRest]] = {}

    async def of(self, market: Market) -> tuple[ExchangeAdapter, VenueRest]:
        key = market.exchange, product_of(market.exchange, market.symbol)
        if key not in self._open:
            self._open[key] = await self._stack.enter_async_context(venue_history(self._settings, *key))
        return self._open[key]


@asynccontextmanager
async def repair_announcer(settings: Settings) -> AsyncIterator[Announce]:
    """Tells the bus what was repaired, where there is one: who reads candles reads them again."""
    running = running_in(settings.candlewick_home)
    url = running.redis_url if running is not None else ""
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
    if not url:
        yield _unheard
        return
    async with bus_at(url) as bus:
        publisher = RedisPublisher(bus)

        async def announce(news: RepairNews) -> None:
            await publisher.publish(repairs_topic(Market(news.exchange, news.symbol)), news)

        yield announce


async def _unheard(news: RepairNews) -> None:
    log.debug("repair_not_announced", symbol=news.symbol)


async def market_backfill(
    histories: Histories,
    store: HistoryRepository,
    market: Market,
    *,
    tuning: BackfillTuning | None = None,
    announce: Announce,
) -> Backfill:
    """What fetches this market's past. Raises InvalidInput where the venue does not trade it."""
    adapter, rest = await histories.of(market)
    instruments = [
        instrument
        for instrument in await rest.instruments([market.symbol])
        if instrument.symbol == market.symbol
    ]
    if not instruments:
        raise InvalidInput(
            Problem(
                where="--symbol",
                field="",
                value=market.symbol,
                expected=f"expected a symbol that {market.exchange} trades, like BTC-USDT",
            )
        )
    adapter.use(instruments)
    await store.save_instruments(instruments)
    return Backfill(
        rest,
        store,
        market,
        page_ids=adapter.limits.history_page,
        clock_us=now_us,
        tuning=tuning,
        announce=announce,
    )


async def repair_markets(
    settings: Settings,
    store: HistoryRepository,
    markets: Sequence[Market],
    *,
    search: bool = True,
    again: bool = False,
    check_since_us: int | None = None,
    tuning: BackfillTuning | None = None,
    watch: Callable[[Market], OnProgress] | None = None,
) -> list[MarketRepair]:
    """Fetch what the store lacks of each market; one that fails does not keep the others waiting for ever.

    Then it is noted when their venues had stopped. It never touches a collector: both may run at once. Raises
    TransientError while the store is away.
    """
    repairs = []
    async with AsyncExitStack() as stack:
        histories = Histories(settings, stack)
        announce = await stack.enter_async_context(repair_announcer(settings))
        for market in markets:
            fetched, failure = Fetched(), ""
            told = {} if watch is None else {"on_progress": watch(market)}
            try:
                backfill = await market_backfill(histories, store, market, tuning=tuning, announce=announce)
                fetched = await backfill.repair(
                    search=search, again=again, check_since_us=check_since_us, **told
                )
            except TradingError as error:
                failure = str(error)
                log.warning("repair_failed", market=str(market), error=failure)
            repairs.append(MarketRepair(market=market, fetched=fetched, failure=failure))
    for exchange in {market.exchange for market in markets}:
        await store.note_outages(exchange, now_us() - _CHECKED_US)
    return repairs


async def maintain(settings: Settings, database_url: str, plan: MaintenancePlan | None = None) -> NoReturn:
    """Repair at once and then hourly, delete once a day what is past its time; until cancelled.

    A candle that was in the making while trades of it were repaired is built within seconds of its end.

    How long data is kept is followed as it is set. Where the database has jobs of its own for retention, they
    do that part, by what was set when the installation started.
    """
    plan = plan or MaintenancePlan()
    kept = await _kept(database_url, plan.retention)
    store = _history(database_url, kept)
    clock = time.monotonic
    repair_at_s = search_at_s = retention_at_s = clock()
    build_at_s = clock() + plan.build_every_s
    backoff = Backoff(plan.retry_s, plan.repair_every_s)
    try:
        while True:
            before, kept = kept, await _kept(database_url, kept)
            if kept != before:
                # Repair must not fetch again what is deleted on purpose.
                await store.close()
                store = _history(database_url, kept)
            if clock() >= repair_at_s:
                search = clock() >= search_at_s
                if await _repair_all(settings, store, search=search):
                    backoff.reset()
                    repair_at_s = clock() + plan.repair_every_s
                else:
                    repair_at_s = clock() + backoff.next_s()
                if search:
                    search_at_s = clock() + plan.search_every_s
            if clock() >= build_at_s:
                await build_ended(settings, store)
                build_at_s = clock() + plan.build_every_s
            if clock() >= retention_at_s:
                await _retain(database_url, kept)
                retention_at_s = clock() + plan.retention_every_s
            await asyncio.sleep(plan.look_s)
    finally:
        await store.close()


async def build_ended(settings: Settings, store: HistoryRepository) -> int:
    """Build the candles that repairs have touched and that have ended since, and tell; how many they are."""
    built = 0
    try:
        async with repair_announcer(settings) as announce:
            for market in await store.recorded_markets():
                rebuilt = await store.build_candles(market)
                await tell_rebuilt(announce, market, rebuilt)
                built += rebuilt.candles
    except TransientError as error:
        log.warning("candles_not_built", error=str(error))
    return built


async def _repair_all(settings: Settings, store: HistoryRepository, *, search: bool) -> bool:
    try:
        markets = [market for market in await store.recorded_markets() if market.exchange in EXCHANGES]
    except TransientError as error:
        log.warning("repair_failed", error=str(error))
        return False
    check_since_us = now_us() - _CHECKED_US if search else None
    try:
        repairs = await repair_markets(settings, store, markets, search=search, check_since_us=check_since_us)
    except TransientError as error:
        log.warning("repair_failed", error=str(error))
        return False
    return not any(repair.failure for repair in repairs)


def _history(database_url: str, kept: Retention) -> HistoryRepository:
    return HistoryRepository(
        database_url, clock_us=now_us, retention=kept, application_name="candlewick maintenance"
    )


async def _kept(database_url: str, before: Retention) -> Retention:
    """How long data is kept now; while the database is away, what was in force before."""
    try:
        return await asyncio.to_thread(kept_days, database_url)
    except TransientError:
        return before


async def _retain(database_url: str, retention: Retention) -> None:
    try:
        deleted = await asyncio.to_thread(apply_retention, database_url, retention, now_us())
    except TransientError as error:
        log.warning("retention_failed", error=str(error))
        return
    log.info("retention_applied", **deleted)
