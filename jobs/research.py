"""Stored research as people see it: backtests that were kept, and searches with everything they found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np

from backtesting.search.result import SearchResult
from backtesting.search.spec import SearchSpec, TrialRow
from backtesting.thinning import thinned
from data.models import FloatArray, IntArray

EQUITY_FILE = "equity.parquet"  # in a run's folder: at_us, equity
MOST_POINTS = 2_000  # of the curve that is kept with a run


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityColumns:
    """An equity curve: times in UTC microseconds, ascending, and quote currency, both of shape (n,)."""

    at_us: IntArray
    equity: FloatArray

    def __len__(self) -> int:
        return len(self.at_us)

    def drawdown(self) -> FloatArray:
        """How far below its highest so far, as a fraction of at least 0, shape (n,)."""
        highest = np.maximum.accumulate(self.equity)
        share = np.divide(self.equity, highest, out=np.ones(len(self)), where=highest > 0)
        return 1.0 - share

    def between(self, start_us: int | None, end_us: int | None) -> EquityColumns:
        """The points in `[start_us, end_us)`."""
        first = 0 if start_us is None else int(np.searchsorted(self.at_us, start_us))
        last = len(self) if end_us is None else int(np.searchsorted(self.at_us, end_us))
        return EquityColumns(at_us=self.at_us[first:last], equity=self.equity[first:last])

    def thinned(self, most: int = MOST_POINTS) -> EquityColumns:
        """At most about `most` points that look the same: the extremes of equal stretches, and the ends."""
        rows = thinned(self.equity, most)
        return EquityColumns(at_us=self.at_us[rows], equity=self.equity[rows])

    def as_document(self) -> dict[str, list[Any]]:
        """As it is kept in JSON."""
        return {"at_us": self.at_us.tolist(), "equity": self.equity.tolist()}


def columns_of(document: Mapping[str, Any]) -> EquityColumns:
    """What `as_document` made."""
    return EquityColumns(
        at_us=np.array(document["at_us"], dtype=np.int64),
        equity=np.array(document["equity"], dtype=np.float64),
    )


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One kept backtest as a list shows it."""

    id: int
    saved_at_us: int
    strategy: str
    strategy_hash: str
    markets: tuple[str, ...]  # "binance:BTC-USDT", or the file's name
    timeframes: tuple[str, ...]
    starts_at: str  # ISO 8601
    ends_at: str
    parameters: dict[str, float]  # of the first leg
    metrics: dict[str, Any]  # as in a backtest's JSON; null where not defined


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One kept backtest with everything that is kept of it."""

    summary: RunSummary
    manifest: dict[str, Any]  # JSON values
    metrics: dict[str, Any]
    trades: list[dict[str, Any]]  # as in a backtest's JSON
    open_trade: dict[str, Any] | None
    refused_orders: list[dict[str, Any]]
    ambiguity: dict[str, Any]
    legs: list[dict[str, Any]]  # of a run over several symbols
    equity: EquityColumns  # thinned out; `ResearchService.equity` has every point
    folder: str | None  # with result.json, trades.csv, equity.csv, manifest.json and report.html
    report: str | None  # the HTML report's path


class SearchSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One kept search as a list shows it."""

    id: str
    strategy: str
    market: str
    method: str
    scheme: str
    metric: str
    begun_at_us: int
    finished_at_us: int | None  # None: still going on, or stopped
    trials: int
    verdict: str  # one sentence; empty until it is finished


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchView:
    """One kept search. `result` has heat map, segments, statistics and verdict; None until it is finished."""

    summary: SearchSummary
    spec: SearchSpec
    source: dict[str, Any]
    result: SearchResult | None
    trials: list[TrialRow]  # every one


class ResearchReader(Protocol):
    """Kept research. Synchronous. Methods with a name raise InvalidInput for what is unknown."""

    def runs(self, search: str = "", limit: int = 100) -> list[RunSummary]: ...
    def run(self, id: int) -> RunView: ...
    def equity(
        self,
        id: int,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        max_points: int = MOST_POINTS,
    ) -> EquityColumns: ...
    def searches(self, limit: int = 100) -> list[SearchSummary]: ...
    def search(self, id: str) -> SearchView: ...
    def delete(self, id: int | str) -> None: ...
