"""What the process that runs the bots is made of."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from app.composition import bus_at, now_us
from app.installation import Installation, RunningServices
from app.processes.strategy_check import python_strategies
from app.strategy_desk import saved_strategies, strategy_service
from bots.bot_manager import run_bots
from bots.crash_note import CrashNote
from bots.emergency import EmergencyWatch
from bots.feed_watch import FeedWatch
from bots.risk.desk_rules import DeskRules
from bots.shards import WHOLE, Shard
from config.settings import Settings
from database.repositories.bot_repository import BotRepository
from database.repositories.candle_repository import CandleRepository
from database.repositories.coverage_repository import CoverageRepository
from database.repositories.fresh_candles import FreshCandles
from database.repositories.market_facts_repository import MarketFactsRepository
from database.repositories.risk_repository import RiskRepository
from database.repositories.strategy_repository import StrategyRepository

_SWITCH_S = 0.0005


async def run_paper_bots(
    settings: Settings, services: RunningServices, stop: asyncio.Event, shard: Shard = WHOLE
) -> None:
    """Run the bots of this installation, or those of a shard, until `stop` is set."""
    # The thread that stores steps mostly waits for the server. Each answer would else wait for up to 5 ms
    # more, while the other thread, which decides, holds Python's lock.
    sys.setswitchinterval(_SWITCH_S)
    async with AsyncExitStack() as stack:
        store = BotRepository(services.database_url)
        stack.callback(store.close)
        candles = CandleRepository(services.database_url)
        stack.callback(candles.close)
        fresh = FreshCandles(services.database_url)
        stack.callback(fresh.close)
        facts = MarketFactsRepository(services.database_url)
        stack.callback(facts.close)
        coverage = CoverageRepository(services.database_url)
        stack.callback(coverage.close)
        risk = RiskRepository(services.database_url)
        stack.callback(risk.close)
        strategies = StrategyRepository(services.database_url)
        stack.callback(strategies.close)
        note = CrashNote(Installation(settings.candlewick_home).run / f"{shard.name}.hand")
        stack.callback(note.close)
        bus = await stack.enter_async_context(bus_at(services.redis_url))
        await run_bots(
            store,
            candles,
            bus,
            bots_folder=settings.candlewick_bots,
            strategies_folder=settings.candlewick_strategies,
            clock=now_us,
            stop=stop,
            python=python_strategies(),
            saved=saved_strategies(strategy_service(strategies)),
            fresh=fresh,
            feeds=FeedWatch(facts, coverage),
            emergency=EmergencyWatch(risk),
            rules=DeskRules(settings.candlewick_risk, risk, now_us),
            shard=shard,
            note=note,
        )
