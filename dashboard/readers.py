"""What the pages need from outside; `app` hands over what satisfies these protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from bots.views import AuditView, BotView, DecisionView, EquityCurve, FillView, SignalView, TradeView
from data.messages import CollectorHealth
from data.models import Market
from data.stores import CandleReader
from data.timeframes import Timeframe
from strategies.base import Strategy


class MarketReader(CandleReader, Protocol):
    """Stored candles and instruments. Synchronous and safe to call from several threads at once."""


class HealthReader(Protocol):
    """The last thing each collector said of itself, for pages opened between two messages."""

    async def last_health(self) -> Sequence[CollectorHealth]:
        """One entry per collector that was ever heard of lately. Raises TransientError."""
        ...


class LiveBus(Protocol):
    """News from the other processes."""

    def subscribe(self, patterns: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        """Topics and payloads that match, for ever: an implementation reconnects by itself."""
        ...


class StrategyShelf(Protocol):
    """Strategies whose lines can be drawn over a chart. Synchronous."""

    def names(self) -> Sequence[str]:
        """Names a person may choose from, in order."""
        ...

    def strategy(self, name: str, timeframe: Timeframe) -> Strategy:
        """The strategy with its default parameters on that time frame. Raises InvalidInput."""
        ...


class BotDesk(Protocol):
    """What pages ask of bots: `bots.service.BotService` as far as they use it. Synchronous.

    Methods with a name raise InvalidInput for an unknown bot, and all TransientError without the database.
    """

    def list_bots(self) -> list[BotView]: ...
    def bot(self, name: str) -> BotView: ...
    def start(self, name: str, *, who: str, why: str = "") -> BotView: ...
    def pause(self, name: str, *, who: str, why: str = "") -> BotView: ...
    def stop(self, name: str, *, who: str, why: str = "", flatten: bool = False) -> BotView: ...
    def fills(self, name: str | None = None, limit: int = 100) -> list[FillView]: ...
    def trades(self, name: str | None = None, limit: int = 100) -> list[TradeView]: ...
    def audit(self, name: str | None = None, limit: int = 100) -> list[AuditView]: ...
    def decisions(
        self, name: str, limit: int = 100, *, saying_something: bool = False
    ) -> list[DecisionView]: ...
    def equity(
        self, name: str, *, start_us: int | None = None, end_us: int | None = None, max_points: int = 2_000
    ) -> EquityCurve: ...
    def signals(
        self,
        market: Market,
        timeframe: Timeframe,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 2_000,
    ) -> list[SignalView]: ...
