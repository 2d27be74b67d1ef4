"""What the pages need from outside; `app` hands over what satisfies these protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bots.accounts import AccountView
from bots.config import BotConfig
from bots.emergency import EmergencyReport
from bots.risk.exposure import Correlations
from bots.risk.profiles import RiskBook
from bots.risk.views import DrawdownView, ExposureView, LimitsView, LimitUse, ViolationView
from bots.views import (
    AuditView,
    BotView,
    DecisionView,
    EquityCurve,
    FillView,
    OrderView,
    SignalView,
    TradeView,
    VersionView,
)
from data.messages import CollectorHealth
from data.models import Market
from data.stores import CandleReader
from data.timeframes import Timeframe
from jobs.model import JobKind, JobState, JobView
from jobs.research import ResearchReader
from strategies.base import Strategy
from strategies.service import Difference
from strategies.versions import StrategyKind, StrategySummary, StrategyVersion


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

    def text(self, name: str) -> str:
        """The file of that name as it is written. Raises InvalidInput."""
        ...


class BotDesk(Protocol):
    """What pages ask of bots: `bots.service.BotService` as far as they use it. Synchronous.

    Methods with a name raise InvalidInput for an unknown bot, and all TransientError without the database.
    """

    def list_bots(self) -> list[BotView]: ...
    def create(
        self, config: BotConfig, *, who: str, why: str = "", start: bool = False, source: str = ""
    ) -> BotView: ...
    def bot(self, name: str) -> BotView: ...
    def start(self, name: str, *, who: str, why: str = "") -> BotView: ...
    def pause(self, name: str, *, who: str, why: str = "") -> BotView: ...
    def stop(self, name: str, *, who: str, why: str = "", flatten: bool = False) -> BotView: ...
    def clone(
        self,
        name: str,
        to: str,
        *,
        changes: Mapping[str, Any] | None = None,
        who: str,
        why: str = "",
        start: bool = False,
    ) -> BotView: ...
    def edit(self, name: str, config: BotConfig, *, who: str, why: str = "") -> BotView: ...
    def revert(self, name: str, *, to: int | None = None, who: str, why: str = "") -> BotView: ...
    def settings(self, name: str) -> tuple[str, dict[str, Any]]: ...
    def versions(self, name: str) -> list[VersionView]: ...
    def delete(self, name: str, *, who: str, why: str = "") -> None: ...
    def fills(self, name: str | None = None, limit: int = 100) -> list[FillView]: ...
    def orders(self, name: str | None = None, limit: int = 100) -> list[OrderView]: ...
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


class EmergencyStop(Protocol):
    """The stop of the whole desk: `bots.emergency.EmergencyDesk`. Synchronous; raises TransientError."""

    def engage(self, who: str, why: str = "", *, flatten: bool = True) -> EmergencyReport: ...
    def release(self, who: str, why: str = "") -> bool: ...
    def state(self) -> EmergencyReport: ...


class RiskReader(Protocol):
    """Risk for people: `bots.risk.desk.RiskDesk`. Synchronous.

    Raises TransientError without the database, and InvalidInput for a risk file that cannot be used.
    """

    def book(self) -> RiskBook: ...
    def correlations(self, markets: Sequence[Market] | None = None) -> Correlations: ...
    def exposures(self) -> list[ExposureView]: ...
    def cluster_exposures(self) -> list[ExposureView]: ...
    def drawdowns(self) -> list[DrawdownView]: ...
    def limits(self) -> list[LimitsView]: ...
    def uses(self) -> list[LimitUse]: ...
    def violations(self, bot: str | None = None, limit: int = 100) -> list[ViolationView]: ...
    def accounts(self) -> list[AccountView]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyDesk:
    """Risk and the emergency stop: what every page's header and the page on risk need."""

    stop: EmergencyStop
    risk: RiskReader


class StrategyDesk(Protocol):
    """Saved strategies: `strategies.service.StrategyService` as far as pages use it. Synchronous.

    Methods with a name raise InvalidInput for an unknown one, and all TransientError without the database.
    """

    def list_strategies(self, *, archived: bool = False) -> list[StrategySummary]: ...
    def history(self, name: str) -> list[StrategyVersion]: ...
    def show(self, reference: str) -> StrategyVersion: ...
    def diff(self, before: str, after: str) -> list[Difference]: ...
    def save(
        self, name: str, content: str, kind: StrategyKind, *, who: str, why: str = "", where: str = ""
    ) -> StrategyVersion: ...
    def clone(self, reference: str, to: str, *, who: str, why: str = "") -> StrategyVersion: ...
    def delete(self, name: str) -> None: ...


class JobDesk(Protocol):
    """Jobs: `jobs.service.JobService` as far as pages use it. Synchronous; raises as that does."""

    def start(self, kind: JobKind | str, arguments: Mapping[str, Any], who: str) -> JobView: ...
    def jobs(
        self, limit: int = 100, kind: JobKind | str | None = None, state: JobState | str | None = None
    ) -> list[JobView]: ...
    def job(self, id: int) -> JobView: ...
    def cancel(self, id: int, who: str) -> JobView: ...
    def retry(self, id: int, who: str = "") -> JobView: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ResearchDesk:
    """What the pages of strategies and backtests need together."""

    strategies: StrategyDesk
    jobs: JobDesk
    research: ResearchReader
