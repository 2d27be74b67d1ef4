"""What the Market page reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.chart_data import ChartData
from dashboard.live_hub import LiveHub
from dashboard.market_day import MarketDays
from dashboard.market_request import MarketRequest, resolve
from dashboard.readers import BotDesk, MarketReader
from dashboard.saved_views import ViewShelf
from data.models import Market
from data.stores import CoverageReader


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSources:
    """Everything behind the page. Synchronous readers, to be called in a thread."""

    market: MarketReader
    chart: ChartData
    days: MarketDays
    bots: BotDesk
    hub: LiveHub
    now_us: Callable[[], int]
    coverage: CoverageReader | None = None  # None: nothing is said of it
    views: ViewShelf | None = None  # None: nothing can be saved

    def resolve(self, request: Mapping[str, Any] | None) -> MarketRequest:
        """The request with what exists filled in. Reads the store."""
        return resolve(request or {}, self.market.markets(), self.chart.overlay_choices())

    def decimals(self, market: Market) -> int:
        """Of a price."""
        day = self.days.day(market)
        return day.decimals if day else 2
