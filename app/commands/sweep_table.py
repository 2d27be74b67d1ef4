"""A search's result for a person to read."""

from __future__ import annotations

from collections.abc import Iterator

from backtesting.search.result import OutOfSample, SearchResult
from backtesting.statistics.bootstrap import Interval
from backtesting.statistics.gate import Evidence

_COLUMNS = (
    ("sharpe", "Sharpe", "plain"),
    ("total_return", "return", "percent"),
    ("max_drawdown", "drawdown", "percent"),
    ("trades", "trades", "whole"),
    ("win_rate", "won", "percent"),
    ("profit_factor", "profit factor", "plain"),
)


def table_of(result: SearchResult) -> str:
    """The best trials, the tests, the evidence and the verdict."""
    return "\n".join(_lines(result))


def _lines(result: SearchResult) -> Iterator[str]:
    yield (
        f"{result.strategy}, {result.method} search {result.search} by {result.metric} on {result.candles:,} "
        f"candles of {result.timeframe}, {result.starts_at} to {result.ends_at}"
    )
    counted = f"{result.trials:,} trials"
    if result.refused:
        counted += f", {result.refused:,} of them refused ({result.refusals[0]})"
    if result.undefined:
        counted += f", {result.undefined:,} without a {result.metric}"
    yield counted
    yield ""
    if result.top:
        yield from _top(result)
    if result.out_of_sample is not None:
        yield from _tests(result.out_of_sample, result.metric)
    if result.evidence is not None:
        yield from _evidence(result.evidence)
    for check in result.verdict.checks:
        found = "-" if check.found is None else f"{check.found:,.4g}"
        yield f"  {'pass' if check.passed else 'FAIL'}  {check.name:<28}{found:>10}   {check.demand}"
    yield ""
    yield result.verdict.sentence


def _top(result: SearchResult) -> Iterator[str]:
    names = list(result.top[0].parameters)
    columns = [column for column in _COLUMNS if column[0] != result.metric]
    shown = [(result.metric, result.metric, _kind(result.metric)), *columns]
    head = "".join(f"{name:>12}" for name in names) + "".join(f"{label:>15}" for _, label, _ in shown)
    yield f"  {'':>4}{head}"
    for trial in result.top:
        values = "".join(f"{trial.parameters[name]:>12g}" for name in names)
        figures = "".join(f"{_shown(trial.figures[name], kind):>15}" for name, _, kind in shown)
        yield f"  {trial.rank:>4}{values}{figures}"
    apart = max(trial.difference for trial in result.top)
    same = all(trial.same_trades for trial in result.top)
    trades = "the same trades" if same else "OTHER TRADES"
    yield f"  run again by the engine: {trades}, equity within {apart:.1e}"
    yield ""


def _tests(tests: OutOfSample, metric: str) -> Iterator[str]:
    yield "  out of sample: picked on the past of each test alone"
    for segment in tests.segments:
        values = ", ".join(f"{name} {value:g}" for name, value in segment.parameters.items())
        before, then = _shown(segment.train_metric, "plain"), _shown(segment.test_metric, "plain")
        yield f"    {segment.test_from} to {segment.test_to}: {values}; {metric} {before} before, {then} then"
    if tests.untested:
        yield f"    {tests.untested} tests had no trial to pick"
    yield (
        f"    together: return {tests.total_return:,.2%}, Sharpe {_shown(tests.sharpe, 'plain')}, largest "
        f"drawdown {tests.max_drawdown:,.2%}, {tests.trades:,} trades"
    )
    yield ""


def _evidence(evidence: Evidence) -> Iterator[str]:
    if evidence.bootstrap is not None:
        yield f"  {'95 % of resamples':<24}{'from':>12}{'median':>12}{'to':>12}"
        yield _interval("Sharpe", evidence.bootstrap.sharpe, "plain")
        yield _interval("return", evidence.bootstrap.total_return, "percent")
        yield _interval("drawdown", evidence.bootstrap.max_drawdown, "percent")
    if evidence.trade_order is not None:
        order = evidence.trade_order
        yield (
            f"  in {order.shuffles:,} orders of its {order.trades:,} trades the largest drawdown is "
            f"{order.median_drawdown:.2%} in the middle, {order.drawdown_95:.2%} in one of twenty"
        )
    yield ""


def _interval(name: str, interval: Interval, kind: str) -> str:
    values = "".join(f"{_shown(value, kind):>12}" for value in (interval.low, interval.median, interval.high))
    return f"    {name:<22}{values}"


def _kind(metric: str) -> str:
    percents = ("total_return", "cagr", "win_rate", "max_drawdown", "average_trade")
    return "percent" if metric in percents else "plain"


def _shown(value: float | None, kind: str) -> str:
    if value is None:
        return "-"
    if kind == "percent":
        return f"{value:,.2%}"
    return f"{value:,.0f}" if kind == "whole" else f"{value:,.2f}"
