"""Saved strategies for one command: the service, its database and the process that checks Python."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from app.composition import now_us, open_store
from app.processes.strategy_check import python_strategies
from bots.bot_loading import SavedStrategies, StrategyLoader
from bots.bot_manager import strategies_in
from config.settings import Settings
from data.timeframes import Timeframe
from database.repositories.strategy_repository import StrategyRepository
from strategies.base import Strategy
from strategies.loader import load_strategy
from strategies.lookahead import YEAR_OF_5M, candles_to_try, prove_streamed
from strategies.rules import RuleStrategy
from strategies.service import StrategyService
from strategies.versions import Badge, StrategyStore


def strategy_service(store: StrategyStore) -> StrategyService:
    """The service over `store`, for a process that lives on or for one command."""
    # The time of this thread: on a busy machine a proof is slower, not shorter.
    return StrategyService(
        store, python_strategies(), clock=now_us, stopwatch=time.thread_time, proof_candles=YEAR_OF_5M
    )


def saved_strategies(service: StrategyService) -> SavedStrategies:
    """Saved strategies as bots load them."""

    def load(reference: str, parameters: Mapping[str, float], timeframe: Timeframe | None) -> Strategy | None:
        name = reference.rpartition("@")[0] or reference
        if all(one.name != name for one in service.list_strategies(archived=True)):
            return None
        return service.load(reference, parameters, timeframe)

    return load


@contextmanager
def bot_strategies(settings: Settings, database_url: str) -> Iterator[StrategyLoader]:
    """Loads what bots name: files, and the strategies that are saved in that database."""
    with closing(StrategyRepository(database_url)) as repository:
        saved = saved_strategies(strategy_service(repository))
        yield strategies_in(settings.candlewick_strategies, python_strategies(), saved)


def saved_at_need(settings: Settings) -> SavedStrategies:
    """Saved strategies for a run over files: the store is opened only where one is named."""

    def load(reference: str, parameters: Mapping[str, float], timeframe: Timeframe | None) -> Strategy | None:
        with open_strategies(settings) as service:
            return saved_strategies(service)(reference, parameters, timeframe)

    return load


@contextmanager
def open_strategies(settings: Settings) -> Iterator[StrategyService]:
    """The saved strategies of this installation, for one command."""
    with open_store(settings) as store, closing(StrategyRepository(store.url)) as repository:
        yield strategy_service(repository)


def load_any(
    path: Path,
    parameters: Mapping[str, float | str] | None = None,
    timeframe: Timeframe | str | None = None,
) -> Strategy:
    """The strategy in a `.json` or `.py` file. Raises InvalidInput, also for Python that is refused."""
    if path.suffix == ".py":
        return python_strategies().load(path, parameters, timeframe)
    return load_strategy(path, parameters, timeframe)


def prove_rules(strategy: RuleStrategy) -> Badge:
    """The look-ahead proof of a file that is not saved."""
    return prove_streamed(strategy, candles_to_try(strategy), clock=time.thread_time)
