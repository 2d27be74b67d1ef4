"""What the views of the Bots page read and ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bots.bot_loading import StrategyLoader
from dashboard.market_day import MarketDays
from dashboard.readers import BotDesk, MarketReader, RiskReader, StrategyShelf
from data.models import Market

PATH = "/bots"
WHO = "web page"  # in the audit; there are no users yet


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSources:
    """What the page reads. `load_strategy` is the runner's own check of a bot's strategy."""

    bots: BotDesk
    market: MarketReader
    days: MarketDays
    risk: RiskReader
    shelf: StrategyShelf
    load_strategy: StrategyLoader
    now_us: Callable[[], int]
    seconds: Callable[[], float]

    def decimals(self, market: Market | None) -> int:
        """Of a price of that market."""
        day = self.days.day(market) if market else None
        return day.decimals if day else 2
