"""The one place that wires: it reads Settings, picks implementations and hands them to those who need them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.installation import Installation
from app.services import database_in_reach
from bots.service import BotService
from config.settings import Settings
from database.repositories.bot_repository import BotRepository
from database.repositories.candle_repository import CandleRepository
from database.repositories.market_repository import MarketRepository


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
