"""Judges a search: runs its best again by the engine, walks its tests, and weighs how much was luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from backtesting.engine import BacktestResult
from backtesting.manifest import data_hash, iso_time
from backtesting.metrics import Metrics, cagr, max_drawdown, returns_of, sharpe_ratio
from backtesting.search.bindings import Bindings
from backtesting.search.pictures import heat_map_of, parallel_of
from backtesting.search.result import EquityPoint, OutOfSample, SearchResult, Segment, TopTrial
from backtesting.search.spans import Fold, Sampling, Scheme, Span, sampling_of
from backtesting.search.spec import SearchData, SearchSpec, search_id
from backtesting.search.table import Point, Trials, TrialTable
from backtesting.search.trials import FIGURES, Work, run_span, samples_of
from backtesting.statistics.bootstrap import bootstrap
from backtesting.statistics.deflated_sharpe import deflated_sharpe
from backtesting.statistics.gate import Evidence, Verdict, verdict_of
from backtesting.statistics.overfitting import probability_of_overfitting
from backtesting.statistics.stability import stability_of
from backtesting.statistics.trade_order import shuffled_trades
from data.models import FloatArray, IntArray, Ohlcv
from strategies.rules import RuleStrategy

_FEW = 5  # refusals that are told
_MOST_POINTS = 2_000  # of the equity out of sample


def result_of(
    spec: SearchSpec,
    data: SearchData,
    work: Work,
    folds: Sequence[Fold],
    trials: Trials,
    candidates: Sequence[Sequence[Point]],
) -> SearchResult:
    """The result of a search whose `trials` are done; fold i may pick among `candidates[i]` only.

    Every trial that was ever made counts, also those that an earlier, shorter search left in the log.
    """
    table = trials.table()
    described = work.spans[0]
    sampling = sampling_of(data.ohlcv, described)
    best = table.best(spec.metric)
    bindings = Bindings(spec.document, spec.where, spec.timeframe)
    exact = _Exact(spec, work, bindings, table)
    runs = [exact.run(trial, described) for trial in best[: spec.top]]
    out_of_sample = _out_of_sample(spec, data, folds, table, candidates, exact) if folds else None
    evidence = None
    if best:
        evidence = _evidence(spec, table, best[0], runs[0], sampling, described, out_of_sample)
    refused = [refusal for refusal in table.refusals if refusal]
    columns = data.ohlcv.opened_at_us
    return SearchResult(
        search=search_id(spec, data),
        strategy=bindings.base.name,
        method=spec.method,
        metric=spec.metric,
        scheme=spec.split.scheme,
        seed=spec.seed,
        axes=spec.axes,
        candles=described.stop - described.start,
        timeframe=data.ohlcv.timeframe,
        starts_at=iso_time(int(columns[described.start])),
        ends_at=_closes_at(data.ohlcv, described.stop),
        data_hash=data_hash(data.ohlcv),
        trials=len(table),
        refused=len(refused),
        refusals=tuple(dict.fromkeys(refused))[:_FEW],
        by_engine=trials.by_engine,
        undefined=table.ran() - len(best),
        top=tuple(
            _top_trial(spec, table, trial, rank, run)
            for rank, (trial, run) in enumerate(zip(best, runs, strict=False), 1)
        ),
        out_of_sample=out_of_sample,
        heat_map=heat_map_of(spec, table),
        parallel=parallel_of(spec, table, best),
        evidence=evidence,
        verdict=_no_verdict(table) if evidence is None else verdict_of(evidence),
    )


class _Exact:
    """Runs trials by the engine."""

    def __init__(self, spec: SearchSpec, work: Work, bindings: Bindings, table: TrialTable) -> None:
        self._spec, self._work, self._bindings, self._table = spec, work, bindings, table

    def parameters(self, trial: int) -> dict[str, float]:
        varied = zip(self._work.varied, self._table.values[trial].tolist(), strict=True)
        return self._spec.fixed | dict(varied)

    def run(self, trial: int, span: Span, capital: Decimal | None = None) -> BacktestResult:
        definition = self._bindings.definition(self._bindings.defaults() | self.parameters(trial))
        strategy = RuleStrategy(definition)
        # Of all candles up to the end of the span: indicators are warm where it begins.
        seen = self._work.ohlcv.rows(0, span.stop)
        return run_span(self._work, strategy, strategy.signals(seen), span, capital=capital)


def _top_trial(
    spec: SearchSpec, table: TrialTable, trial: int, rank: int, result: BacktestResult
) -> TopTrial:
    final = result.metrics.final_equity
    ranked = float(table.figure("final_equity")[trial])
    varied = {axis.name: float(value) for axis, value in zip(spec.axes, table.values[trial], strict=True)}
    return TopTrial(
        rank=rank,
        parameters=spec.fixed | varied,
        figures=_figures(result.metrics),
        difference=abs(ranked - final) / abs(final) if final else math.inf,
        same_trades=int(table.figure("trades")[trial]) == result.metrics.trades,
    )


def _evidence(
    spec: SearchSpec,
    table: TrialTable,
    best: int,
    result: BacktestResult,
    sampling: Sampling,
    span: Span,
    out_of_sample: OutOfSample | None,
) -> Evidence:
    returns = returns_of(samples_of(result, sampling, span))
    pnl = np.array([float(trade.pnl) for trade in result.trades])
    before = float(result.capital) + np.concatenate(([0.0], np.cumsum(pnl)))[:-1] if len(pnl) else pnl
    gains = pnl[before > 0] / before[before > 0]
    judged = [index for index, refusal in enumerate(table.refusals) if not refusal]
    blocks = table.blocks[judged]
    return Evidence(
        deflated_sharpe=deflated_sharpe(
            returns,
            table.figure("sharpe") / math.sqrt(sampling.periods_per_year),
            trials=len(judged),
        ),
        overfitting=probability_of_overfitting(blocks, len(returns) // blocks.shape[1]),
        bootstrap=bootstrap(returns, periods_per_year=sampling.periods_per_year, seed=spec.seed),
        trade_order=shuffled_trades(gains, seed=spec.seed),
        stability=stability_of(
            table.points,
            table.score(spec.metric),
            best,
            np.array([len(axis.values) for axis in spec.axes]),
        ),
        trades=result.metrics.trades,
        out_of_sample_return=None if out_of_sample is None else out_of_sample.total_return,
    )


def _out_of_sample(
    spec: SearchSpec,
    data: SearchData,
    folds: Sequence[Fold],
    table: TrialTable,
    candidates: Sequence[Sequence[Point]],
    exact: _Exact,
) -> OutOfSample:
    """Trade each fold's test with what was best on its past, on one account."""
    index_of = {point: index for index, point in enumerate(map(tuple, table.points.tolist()))}
    capital = spec.capital
    curve: list[FloatArray] = []
    segments = []
    trades = untested = 0
    for number, fold in enumerate(folds):
        span = number + 1 if spec.split.scheme is not Scheme.SPLIT else 0
        ranked = table.best(spec.metric, span, [index_of[point] for point in candidates[number]])
        if not ranked or capital <= 0:
            untested += 1
            curve.append(np.full(fold.test.stop - fold.test.start, float(capital)))
            continue
        result = exact.run(ranked[0], fold.test, capital)
        curve.append(result.equity)
        trades += result.metrics.trades
        # What is still held is counted as sold at the mark: the next test begins flat.
        capital = Decimal(repr(float(result.equity[-1])))
        segments.append(
            Segment(
                train_from=iso_time(int(data.ohlcv.opened_at_us[fold.train.start])),
                train_to=_closes_at(data.ohlcv, fold.train.stop),
                test_from=iso_time(int(data.ohlcv.opened_at_us[fold.test.start])),
                test_to=_closes_at(data.ohlcv, fold.test.stop),
                parameters=exact.parameters(ranked[0]),
                train_metric=_known(float(table.figure(spec.metric, span)[ranked[0]])),
                test_metric=_known(float(getattr(result.metrics, spec.metric))),
                test_figures=_figures(result.metrics),
            )
        )
    tested = Span(start=folds[0].test.start, stop=folds[-1].test.stop)
    sampling = sampling_of(data.ohlcv, tested)
    opened = data.ohlcv.opened_at_us[tested.start : tested.stop]
    at_us = np.concatenate(([opened[0]], opened + data.ohlcv.timeframe.us))
    equity = np.concatenate(([float(spec.capital)], *curve))
    samples = equity[sampling.rows - tested.start + 1]
    returns = returns_of(samples)
    growth = cagr(float(spec.capital), float(equity[-1]), int(at_us[-1] - at_us[0]))
    trained = [
        float(table.figure("cagr", span)[ranked[0]])
        for span, ranked in (
            (span, table.best(spec.metric, span))
            for span in (range(1) if spec.split.scheme is Scheme.SPLIT else range(1, len(folds) + 1))
        )
        if ranked
    ]
    learned = float(np.mean(trained)) if trained else math.nan
    return OutOfSample(
        segments=tuple(segments),
        untested=untested,
        total_return=float(equity[-1]) / float(spec.capital) - 1.0,
        cagr=_known(growth),
        sharpe=_known(sharpe_ratio(returns, periods_per_year=sampling.periods_per_year)),
        max_drawdown=max_drawdown(equity, at_us)[0],
        trades=trades,
        efficiency=_known(growth / learned) if learned > 0 else None,
        bootstrap=bootstrap(returns, periods_per_year=sampling.periods_per_year, seed=spec.seed),
        equity=tuple(
            EquityPoint(time=iso_time(int(at_us[row])), equity=float(equity[row]))
            for row in _thinned(np.union1d(sampling.rows - tested.start + 1, [len(equity) - 1]))
        ),
    )


def _thinned(rows: IntArray) -> IntArray:
    """At most a few thousand of the rows, first and last among them."""
    if len(rows) <= _MOST_POINTS:
        return rows
    picked: IntArray = rows[np.linspace(0, len(rows) - 1, _MOST_POINTS).astype(int)]
    return picked


def _no_verdict(table: TrialTable) -> Verdict:
    sentence = f"Nothing to judge: in none of {len(table):,} trials is the metric defined."
    return Verdict(passes=False, sentence=sentence, checks=())


def _closes_at(ohlcv: Ohlcv, stop: int) -> str:
    return iso_time(int(ohlcv.opened_at_us[stop - 1]) + ohlcv.timeframe.us)


def _figures(metrics: Metrics) -> dict[str, float | None]:
    return {name: _known(float(getattr(metrics, name))) for name in FIGURES}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
