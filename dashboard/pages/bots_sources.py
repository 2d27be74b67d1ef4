"""What the views of the Bots page read and ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bots.bot_loading import StrategyLoader
from dashboard.market_day import MarketDays
from dashboard.readers import BotDesk, MarketReader, RiskReader, StrategyDesk, StrategyShelf
from data.models import Market
from strategies.versions import StrategyKind

PATH = "/bots"
SHOWN_HASH = 12  # letters of a hash that name a version
WHO = "web page"  # in the audit; there are no users yet


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSources:
    """What the page reads. `load_strategy` is the runner's own check of a bot's strategy."""

    bots: BotDesk
    market: MarketReader
    days: MarketDays
    risk: RiskReader
    shelf: StrategyShelf
    saved: StrategyDesk | None  # without it bots run the shelf's files alone
    load_strategy: StrategyLoader
    now_us: Callable[[], int]
    seconds: Callable[[], float]

    def strategies(self) -> list[str]:
        """What a bot may follow: saved strategies as they are now ("trend@4be1c0…"), then files."""
        saved = [] if self.saved is None else self.saved.list_strategies()
        return [*(f"{one.name}@{one.newest[:SHOWN_HASH]}" for one in saved), *self.shelf.names()]

    def rules_of(self, strategy: str) -> str:
        """The JSON of a strategy; empty for one in Python. Raises InvalidInput."""
        if "@" in strategy and self.saved is not None:
            version = self.saved.show(strategy)
            return version.content if version.kind is StrategyKind.JSON else ""
        return "" if strategy.endswith(".py") else self.shelf.text(strategy)

    def decimals(self, market: Market | None) -> int:
        """Of a price of that market."""
        day = self.days.day(market) if market else None
        return day.decimals if day else 2
