"""Independent runs of backtests, each whole in itself, so that any process can do it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.run_files import run_files
from backtesting.document import metrics_document
from backtesting.engine import run_backtest
from backtesting.manifest import Manifest, Source, manifest_of
from backtesting.recipes import Recipe, made_from
from bots.finest_data import FinestRows
from bots.orders import Costs, RulesFrom, TradingRules
from data.models import IntArray, Ohlcv
from strategies.base import Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask:
    """One strategy over one series; made of plain values."""

    recipe: Recipe
    ohlcv: Ohlcv
    capital: Decimal
    costs: Costs
    rules: TradingRules
    later_rules: tuple[RulesFrom, ...]
    close_at_end: bool
    source: Source
    missing: tuple[tuple[str, str], ...]
    finer: FinestRows | None = None
    # Whether to be content with candles of which nothing tells what came first inside.
    is_last: bool = False
    with_files: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAnswer:
    """What came of a run, or the candles of whose inside it must know more before anything did."""

    undecided: IntArray
    metrics: dict[str, Any]
    manifest: Manifest | None  # None: it must know more
    files: dict[str, bytes]


def run_task(task: RunTask) -> RunAnswer:
    """Run the backtest. The same as a run of its own, whoever does it."""
    result = run_backtest(
        made_from(task.recipe),
        task.ohlcv,
        capital=task.capital,
        costs=task.costs,
        rules=task.rules,
        later_rules=task.later_rules,
        close_at_end=task.close_at_end,
        finer=task.finer,
    )
    if len(result.undecided) and not task.is_last:
        return RunAnswer(undecided=result.undecided, metrics={}, manifest=None, files={})
    manifest = manifest_of(result, task.source, task.missing)
    return RunAnswer(
        undecided=result.undecided,
        metrics=metrics_document(result.metrics),
        manifest=manifest,
        files=run_files(result, manifest) if task.with_files else {},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsTask:
    """What a strategy says of one series; made of plain values."""

    recipe: Recipe
    ohlcv: Ohlcv


def signals_task(task: SignalsTask) -> Signals:
    """The signals, for a run that shares its capital with others."""
    return made_from(task.recipe).signals(task.ohlcv)
