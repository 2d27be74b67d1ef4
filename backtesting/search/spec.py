"""What a search is asked to do, and the names by which it is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from backtesting.engine import ENGINE_VERSION
from backtesting.manifest import data_hash
from backtesting.search.space import Axis
from backtesting.search.spans import Split
from bots.orders import Costs, RulesFrom, TradingRules
from data.models import Ohlcv
from data.timeframes import Timeframe

# What a search can rank by. All but the drawdown are better when larger.
METRICS = (
    "sharpe",
    "sortino",
    "calmar",
    "total_return",
    "cagr",
    "profit_factor",
    "expectancy",
    "average_trade",
    "win_rate",
    "max_drawdown",
)
SMALLER_IS_BETTER = ("max_drawdown",)
DEFAULT_TRIALS = 200  # of a random or guided search


class Method(StrEnum):
    GRID = "grid"
    RANDOM = "random"
    GUIDED = "guided"


class SearchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A search over the parameters of one strategy document."""

    document: dict[str, Any]
    where: str  # names the document in messages
    timeframe: Timeframe | None = None  # instead of the document's own
    axes: tuple[Axis, ...]
    fixed: dict[str, float] = {}
    method: Method = Method.GRID
    trials: int = DEFAULT_TRIALS  # of a random or guided search, for each fold where it is guided
    seed: int = 0
    metric: str = "sharpe"
    top: int = 20
    split: Split = Split()
    capital: Decimal = Decimal(10_000)
    costs: Costs = Costs()
    rules: TradingRules = TradingRules()
    later_rules: tuple[RulesFrom, ...] = ()  # that replaced `rules` from their times on
    close_at_end: bool = False


class SearchData(msgspec.Struct, frozen=True, kw_only=True):
    """The candles of the strategy's time frame, and finer ones where there are any."""

    ohlcv: Ohlcv
    finer: Ohlcv | None = None


class TrialRow(msgspec.Struct, frozen=True, kw_only=True):
    """One trial as it is stored: enough to go on without running it again."""

    point: tuple[int, ...]  # steps along the axes
    values: tuple[float, ...]
    figures: tuple[tuple[float | None, ...], ...] = ()  # FIGURES of each span; empty where it was refused
    blocks: tuple[tuple[float, float], ...] = ()
    refusal: str = ""


class TrialLog(Protocol):
    """Where trials are kept while a search runs, so that one that was stopped can go on."""

    def read(self) -> Iterable[TrialRow]:
        """The trials kept so far."""
        ...

    def add(self, rows: Sequence[TrialRow]) -> None:
        """Keep these trials before anything else happens."""
        ...


def search_id(spec: SearchSpec, data: SearchData) -> str:
    """Equal for searches whose trials are the same trials: 16 hex digits.

    How many are tried and how they are ranked is left out, so that a search can be made longer.
    """
    decisive = {
        "document": spec.document,
        "timeframe": spec.timeframe,
        "axes": spec.axes,
        "fixed": spec.fixed,
        "split": spec.split,
        "capital": spec.capital,
        "costs": spec.costs,
        "rules": spec.rules,
        "later_rules": spec.later_rules,
        "close_at_end": spec.close_at_end,
        "engine": ENGINE_VERSION,
        "data": data_hash(data.ohlcv),
        "finer": None if data.finer is None else data_hash(data.finer),
    }
    return hashlib.sha256(msgspec.json.encode(decisive, order="deterministic")).hexdigest()[:16]
