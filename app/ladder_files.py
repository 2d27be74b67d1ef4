"""Bot files as a backtest reads them: a ladder is a strategy there, and any bot brings its terms along."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import msgspec

from app.backtest_inputs import Inputs
from backtesting.engine import BacktestResult
from backtesting.ladders import LadderFigures, run_ladder
from backtesting.manifest import Source
from bots.bot_loading import find_strategy
from bots.bot_manager import strategies_in
from bots.config import BotConfig, load_bot
from bots.ladders.strategy import LadderStrategy
from bots.orders import Costs, TradingRules
from bots.risk.limits import NO_LIMITS, BotLimits, Limits
from data.models import Market


def ladder_of(path: Path) -> tuple[LadderStrategy, BotConfig]:
    """The ladder that a bot's file describes. Raises InvalidInput."""
    from app.strategy_desk import saved_at_need
    from config.settings import load_settings

    config = load_bot(path)
    settings = load_settings()
    saved = saved_at_need(settings)
    strategy = strategies_in(settings.candlewick_strategies, saved=saved)(config, str(path))
    assert isinstance(strategy, LadderStrategy)
    return strategy, config


class BotAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A bot's file for one run."""

    config: BotConfig
    strategy: str  # the file to run: the bot's own for a ladder, else that of its strategy


def bot_asked(path: Path) -> BotAsked:
    """What a bot's file asks of a backtest. Raises InvalidInput."""
    config = load_bot(path)
    if config.ladder is not None:
        return BotAsked(config=config, strategy=str(path))
    from config.settings import load_settings

    if "@" in config.strategy:
        return BotAsked(config=config, strategy=config.strategy)
    found = find_strategy(config.strategy, load_settings().candlewick_strategies, str(path))
    return BotAsked(config=config, strategy=str(found))


def limits_asked(config: BotConfig) -> Limits:
    """The limits of a bot's file, laid over its profile in the risk file. Raises InvalidInput."""
    if config.limits == BotLimits():
        return NO_LIMITS
    from bots.risk.profiles import load_risk_book
    from config.settings import load_settings

    return load_risk_book(load_settings().candlewick_risk).limits_of(config)


def run_ladder_file(
    strategy: LadderStrategy,
    config: BotConfig,
    source: Source,
    inputs: Inputs,
    rules: TradingRules,
    *,
    capital: Decimal,
    costs: Costs,
    close_at_end: bool,
) -> tuple[BacktestResult, LadderFigures]:
    """Run a bot's ladder; over the store its trades say what filled limit orders."""
    limits = limits_asked(config)
    with ExitStack() as stack:
        trades = None
        market = config.market
        if source.candles is None:
            from app.composition import open_store
            from config.settings import load_settings

            market = Market(source.venue or "", source.symbol or "")
            trades = stack.enter_context(open_store(load_settings())).candle_repository
        return run_ladder(
            strategy,
            inputs.ohlcv,
            capital=capital,
            costs=costs,
            rules=rules,
            market=market,
            limits=limits,
            close_at_end=close_at_end,
            finer=inputs.finer,
            trades=trades,
        )
