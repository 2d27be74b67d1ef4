"""Runs parameter sets over the spans of a search and returns figures, never curves.

What the search's own kernel cannot express is run by the engine itself, set by set, with the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backtesting.engine import BacktestResult, run_backtest
from backtesting.metrics import SMALLEST_FALL, YEAR_US, Metrics
from backtesting.search.bindings import Bindings, Bound, refusal_of
from backtesting.search.kernel import COUNTS, blocks_of, run_bitmaps, terms_in_doubles
from backtesting.search.samples import SAMPLED, describe_samples
from backtesting.search.signals import CacheTooSmall, SharedSignals
from backtesting.search.spans import Sampling, Span, sampling_of
from bots.orders import Costs, RulesFrom, TradingRules
from data.errors import InvalidInput, RejectedError
from data.models import FloatArray, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Protection, Signals, Sizing, Strategy
from strategies.rules import RuleStrategy

# What a trial keeps of a span; names and meanings are those of `backtesting.metrics.Metrics`.
FIGURES: Final = (
    "final_equity",
    "total_return",
    "cagr",
    "sharpe",
    "sortino",
    "calmar",
    "volatility",
    "max_drawdown",
    "trades",
    "win_rate",
    "profit_factor",
    "expectancy",
    "average_trade",
    "exposure",
    "fees_paid",
    "ambiguous_exits",
    "refused_orders",
)
BLOCKS: Final = 12  # spans of equal length whose returns are summed for the probability of overfitting

_NO_TRIPS = np.empty((0, 3), dtype=np.int64)
_COUNT = {name: column for column, name in enumerate(COUNTS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Everything a process needs to run trials; made of plain values, so it can be sent to one."""

    document: Mapping[str, Any]
    where: str
    timeframe: Timeframe | None
    fixed: Mapping[str, float]  # parameters that do not vary but differ from their defaults
    varied: tuple[str, ...]
    capital: Decimal
    costs: Costs
    rules: TradingRules
    close_at_end: bool
    spans: tuple[Span, ...]  # the first one is what trials are described by
    ohlcv: Ohlcv
    finer: Ohlcv | None
    later_rules: tuple[RulesFrom, ...] = ()
    engine_only: bool = False  # run every trial by the engine itself, to compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Figures of k parameter sets; a set that could not be run has NaN everywhere and says why."""

    figures: FloatArray  # shape (k, spans, FIGURES)
    blocks: FloatArray  # shape (k, BLOCKS, 2): sum and sum of squares of the first span's returns
    refusals: tuple[tuple[int, str], ...]
    by_engine: int  # how many were run by the engine itself


class Evaluator:
    """Runs parameter sets of one `Work`. Not safe for several threads at once; each makes its own."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._bindings = Bindings(work.document, work.where, work.timeframe)
        self._defaults = self._bindings.defaults() | dict(work.fixed)
        self._signals = SharedSignals(work.ohlcv)
        self._samplings = [sampling_of(work.ohlcv, span) for span in work.spans]
        self._columns = [
            np.require(column, dtype=np.float64, requirements=("C", "W"))
            for column in (work.ohlcv.open, work.ohlcv.high, work.ohlcv.low, work.ohlcv.close)
        ]
        self._blocks = blocks_of(*self._columns[1:])
        self._terms: dict[tuple[Protection, Sizing], FloatArray] = {}

    def evaluate(self, values: FloatArray) -> Outcome:
        """The figures of parameter sets, shape (k, varied)."""
        bound: list[Bound | None] = []
        refusals: list[tuple[int, str]] = []
        for index, row in enumerate(values.tolist()):
            try:
                bound.append(self._bindings.of(self._values(row)))
            except InvalidInput as error:
                bound.append(None)
                refusals.append((index, refusal_of(error)))
        figures = np.full((len(values), len(self._work.spans), len(FIGURES)), np.nan)
        blocks = np.zeros((len(values), BLOCKS, 2))
        simple = [
            index
            for index, each in enumerate(bound)
            if each is not None and each.is_simple and not (self._work.engine_only or self._work.later_rules)
        ]
        to_engine = {index for index, each in enumerate(bound) if each is not None} - set(simple)
        self._run_simple(simple, bound, figures, blocks)
        if self._work.finer is not None:
            # Finer candles decide what comes first, which only the engine looks up.
            ambiguous = figures[simple, :, FIGURES.index("ambiguous_exits")].max(axis=1, initial=0.0)
            to_engine |= {index for index, count in zip(simple, ambiguous, strict=True) if count > 0}
        for index in sorted(to_engine):
            try:
                self._run_by_engine(self._values(values[index].tolist()), figures[index], blocks[index])
            except RejectedError as error:
                figures[index] = np.nan
                refusals.append((index, error.reason))
        return Outcome(
            figures=figures, blocks=blocks, refusals=tuple(sorted(refusals)), by_engine=len(to_engine)
        )

    def _values(self, row: Sequence[float]) -> dict[str, float]:
        return self._defaults | dict(zip(self._work.varied, row, strict=True))

    def _run_simple(
        self, indices: Sequence[int], bound: Sequence[Bound | None], figures: FloatArray, blocks: FloatArray
    ) -> None:
        sets = [each for index in indices if (each := bound[index]) is not None]
        if not sets:
            return
        try:
            signals = self._signals.of([each.rules for each in sets])
        except CacheTooSmall:
            if len(indices) == 1:
                raise
            half = len(indices) // 2
            self._run_simple(indices[:half], bound, figures, blocks)
            self._run_simple(indices[half:], bound, figures, blocks)
            return
        counts = np.empty((len(sets), len(COUNTS)))
        sampled = np.empty((len(sets), len(SAMPLED)))
        no_blocks = np.empty((0, 2))
        for number, (span, sampling) in enumerate(zip(self._work.spans, self._samplings, strict=True)):
            samples = np.empty(len(sampling.rows))
            for k, (each, words) in enumerate(zip(sets, signals, strict=True)):
                opens, highs, lows, closes = self._columns
                run_bitmaps(
                    opens,
                    highs,
                    lows,
                    closes,
                    self._blocks,
                    words.long_entry,
                    words.long_exit,
                    words.short_entry,
                    words.short_exit,
                    self._terms_of(each),
                    span.start,
                    span.stop,
                    sampling.rows,
                    samples,
                    counts[k],
                    _NO_TRIPS,
                )
                describe_samples(
                    samples,
                    sampling.periods_per_year,
                    sampled[k],
                    blocks[indices[k]] if number == 0 else no_blocks,
                )
            figures[indices, number] = self._figures(counts, sampled, span)

    def _terms_of(self, bound: Bound) -> FloatArray:
        key = bound.protection, bound.sizing
        terms = self._terms.get(key)
        if terms is None:
            work = self._work
            terms = terms_in_doubles(
                float(work.capital),
                work.costs,
                work.rules,
                bound.protection,
                bound.sizing,
                close_at_end=work.close_at_end,
            )
            self._terms[key] = terms
        return terms

    def _figures(self, counts: FloatArray, sampled: FloatArray, span: Span) -> FloatArray:
        """`FIGURES` of each set over one span."""
        column = {name: counts[:, at] for name, at in _COUNT.items()}
        capital = float(self._work.capital)
        opened = self._work.ohlcv.opened_at_us
        length_us = int(opened[span.stop - 1]) + self._work.ohlcv.timeframe.us - int(opened[span.start])
        final, trades = column["final_equity"], column["trades"]
        sharpe, sortino, volatility = sampled.T
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            cagr = np.where(final > 0, np.expm1(np.log(final / capital) * (YEAR_US / length_us)), -1.0)
            cagr[~np.isfinite(cagr)] = np.nan
            per_trade = np.where(trades > 0, trades, np.nan)
            loss = np.where(column["gross_loss"] > 0, column["gross_loss"], np.nan)
            fall = column["max_drawdown"]
            drawdown = np.where(fall < SMALLEST_FALL, 0.0, fall)
            found = {
                "final_equity": final,
                "total_return": final / capital - 1.0,
                "cagr": cagr,
                "sharpe": sharpe,
                "sortino": sortino,
                "calmar": cagr / np.where(drawdown > 0, drawdown, np.nan),
                "volatility": volatility,
                "max_drawdown": drawdown,
                "trades": trades,
                "win_rate": column["wins"] / per_trade,
                "profit_factor": column["gross_profit"] / loss,
                "expectancy": (column["gross_profit"] - column["gross_loss"]) / per_trade,
                "average_trade": column["return_sum"] / per_trade,
                "exposure": column["exposed"] / (span.stop - span.start),
                "fees_paid": column["fees_paid"],
                "ambiguous_exits": column["ambiguous_exits"],
                "refused_orders": column["refused_orders"],
            }
        return np.stack([found[name] for name in FIGURES], axis=1)

    def _run_by_engine(self, values: Mapping[str, float], figures: FloatArray, blocks: FloatArray) -> None:
        strategy = RuleStrategy(self._bindings.definition(values))
        signals = strategy.signals(self._work.ohlcv)
        for number, (span, sampling) in enumerate(zip(self._work.spans, self._samplings, strict=True)):
            result = run_span(self._work, strategy, signals, span)
            figures[number] = figures_of(result.metrics)
            if number == 0:
                samples = samples_of(result, sampling, span)
                describe_samples(samples, sampling.periods_per_year, np.empty(len(SAMPLED)), blocks)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A strategy whose signals over a part of the candles are known already."""

    strategy: Strategy
    prepared: Signals

    def __getattr__(self, name: str) -> Any:
        return getattr(self.strategy, name)

    def signals(self, ohlcv: Ohlcv) -> Signals:
        """The signals of the part, computed with everything before it in sight."""
        return self.prepared


def run_span(
    work: Work, strategy: Strategy, signals: Signals, span: Span, *, capital: Decimal | None = None
) -> BacktestResult:
    """The engine over the rows of `span`, from a flat account; `signals` are those of the whole series."""
    part = slice(span.start, span.stop)
    columns: dict[str, Any] = {field.name: getattr(signals, field.name) for field in fields(signals)}
    cut: dict[str, Any] = {name: None if column is None else column[part] for name, column in columns.items()}
    prepared = Signals(**cut)
    return run_backtest(
        _Prepared(strategy, prepared),
        work.ohlcv.rows(span.start, span.stop),
        capital=work.capital if capital is None else capital,
        costs=work.costs,
        rules=work.rules,
        later_rules=work.later_rules,
        close_at_end=work.close_at_end,
        finer=work.finer,
    )


def figures_of(metrics: Metrics) -> FloatArray:
    """`FIGURES` of an exact run."""
    return np.array([float(getattr(metrics, name)) for name in FIGURES])


def samples_of(result: BacktestResult, sampling: Sampling, span: Span) -> FloatArray:
    """The equity of an exact run over `span` at the sample rows."""
    curve = np.concatenate(([float(result.capital)], result.equity))
    picked: NDArray[np.float64] = curve[sampling.rows - span.start + 1]
    return picked
