"""From a bot's settings to the strategy that the runner steps."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bots.config import BotConfig
from bots.ladders.settings import RebalanceSettings, entry_of
from bots.ladders.strategy import BasketStrategy, LadderStrategy
from data.timeframes import Timeframe
from strategies.base import Strategy

DEFAULT_TIMEFRAME = Timeframe.M1


def ladder_strategy(
    config: BotConfig, load: Callable[[BotConfig], Strategy]
) -> LadderStrategy | BasketStrategy:
    """The ladder or basket of a config that has one; `load` reads the strategy that begins its rounds."""
    if config.ladder is None:
        raise ValueError(f"the bot {config.name} follows a strategy")
    if isinstance(config.ladder, RebalanceSettings):
        return BasketStrategy(config.ladder, config.timeframe or DEFAULT_TIMEFRAME)
    entry = entry_of(config.ladder)
    if entry is None:
        return LadderStrategy(config.ladder, config.timeframe or DEFAULT_TIMEFRAME)
    strategy = load(msgspec.structs.replace(config, strategy=entry, ladder=None))
    return LadderStrategy(config.ladder, strategy.timeframe, strategy)
