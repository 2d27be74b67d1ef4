"""What the web process is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from fastapi import FastAPI

from app.composition import now_us
from app.desk_rooms import open_rooms
from app.installation import Mode, RunningServices
from app.job_desk import open_jobs
from app.research_desk import open_research
from app.saved_views import SavedViews
from app.strategy_desk import bot_strategies, strategy_service
from app.strategy_shelf import StrategyShelf
from bots.emergency import EmergencyDesk
from bots.risk.desk import RiskDesk
from bots.service import BotService
from config.settings import Settings
from dashboard.gate import LOOPBACK_HOSTS
from dashboard.readers import ResearchDesk, SafetyDesk
from dashboard.web import build_web
from database.repositories.bot_repository import BotRepository
from database.repositories.candle_repository import CandleRepository
from database.repositories.chart_layout_repository import ChartLayoutRepository
from database.repositories.coverage_repository import CoverageRepository
from database.repositories.market_facts_repository import MarketFactsRepository
from database.repositories.risk_repository import RiskRepository
from database.repositories.strategy_repository import StrategyRepository
from messaging.health_board import HealthBoard
from messaging.redis_bus import RedisBus
from messaging.wake_up import RunnerWakeUp


@contextmanager
def web_page(settings: Settings, services: RunningServices, *, host: str) -> Iterator[FastAPI]:
    """The web application, ready to be served by uvicorn in this process."""
    with ExitStack() as stack:
        candles = CandleRepository(services.database_url)
        stack.callback(candles.close)
        coverage = CoverageRepository(services.database_url)
        stack.callback(coverage.close)
        facts = MarketFactsRepository(services.database_url)
        stack.callback(facts.close)
        layouts = ChartLayoutRepository(services.database_url)
        stack.callback(layouts.close)
        store = BotRepository(services.database_url)
        stack.callback(store.close)
        wake_up = RunnerWakeUp(services.redis_url)
        stack.callback(wake_up.close)
        bus = RedisBus(services.redis_url)
        saved = StrategyRepository(services.database_url)
        stack.callback(saved.close)
        bots = BotService(store, clock=now_us, announce=wake_up)
        risk = RiskRepository(services.database_url)
        stack.callback(risk.close)
        safety = SafetyDesk(
            stop=EmergencyDesk(risk, bots, clock=now_us, announce=wake_up),
            risk=RiskDesk(risk, store, candles, risk_file=settings.candlewick_risk, clock=now_us),
        )
        lab = ResearchDesk(
            strategies=strategy_service(saved),
            jobs=stack.enter_context(open_jobs(services.database_url, services.redis_url)),
            research=stack.enter_context(open_research(services.database_url, settings.candlewick_home)),
        )
        yield build_web(
            market=candles,
            bots=bots,
            safety=safety,
            strategies=StrategyShelf(settings.candlewick_strategies),
            load_strategy=stack.enter_context(bot_strategies(settings, services.database_url)),
            health=HealthBoard(bus),
            bus=bus,
            lab=lab,
            coverage=coverage,
            tape=facts,
            views=SavedViews(layouts),
            rooms=stack.enter_context(open_rooms(settings, services, lab.jobs)),
            now_us=now_us,
            simulated=services.mode is Mode.SIMULATED,
            allowed_hosts=(*LOOPBACK_HOSTS, host, *settings.allowed_hosts),
        )
