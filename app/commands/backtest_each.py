"""The part of `candlewick backtest` that runs every strategy on every symbol with a capital of its own."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec

from app.backtest_inputs import Inputs, load_asked_strategy, read_inputs, rules_for, span_texts
from app.backtest_runs import RunAnswer, RunTask, run_task
from app.commands.backtest_portfolio import LegRequest
from app.commands.telling import Teller
from app.run_files import write_folder
from backtesting.engine import ENGINE_VERSION
from backtesting.insides import InsideOf
from backtesting.manifest import Manifest, data_hash
from backtesting.recipes import recipe_of
from backtesting.workers import Pieces, Workers, spread
from bots.orders import Costs
from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe
from strategies.base import Strategy

SUMMARY_FILE, TABLE_FILE = "runs.json", "runs.csv"
_MANIFEST_FILE, _RESULT_FILE = "manifest.json", "result.json"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One of the runs, when it is done."""

    symbol: str
    strategy: str
    folder: str | None  # below `--out`
    metrics: dict[str, Any]
    manifest: Manifest


class _Kept(msgspec.Struct, frozen=True):
    """What an earlier start left of a run."""

    metrics: dict[str, Any]
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsAsked:
    """Independent runs as asked for; each has the whole capital."""

    requests: Sequence[LegRequest]
    capital: Decimal
    costs: Costs
    overrides: Mapping[str, Decimal]
    rounding: bool
    close_at_end: bool
    out: Path | None


@dataclass(slots=True)
class _Session:
    """The runs on their way."""

    asked: RunsAsked
    strategies: list[Strategy]
    kept: dict[int, Run] = field(default_factory=dict)
    under_way: dict[int, tuple[RunTask, InsideOf]] = field(default_factory=dict)
    read: tuple[tuple[object, ...], Inputs] | None = None

    def tasks(self) -> Iterator[tuple[int, RunTask]]:
        """The runs that are still to be done; those that are not are kept."""
        for number, request in sorted(enumerate(self.asked.requests), key=_by_series):
            task, inputs = self._prepared(number, request)
            kept = self._kept(number, task)
            if kept is not None:
                self.kept[number] = kept
                continue
            self.under_way[number] = task, InsideOf(inputs.ohlcv, inputs.inside)
            yield number, task

    def again(self, number: int, answer: RunAnswer) -> RunTask | None:
        """The run with what is known of the inside of the candles it asks for; None once it is done."""
        if answer.manifest is not None:
            return None
        task, series = self.under_way[number]
        found = series.ask(answer.undecided)
        task = replace(task, finer=series.finer, is_last=not found)
        self.under_way[number] = task, series
        return task

    def done(self, number: int, answer: RunAnswer) -> Run:
        """The run, its folder written."""
        del self.under_way[number]
        assert answer.manifest is not None
        folder = self._folder(number)
        if folder is not None:
            write_folder(folder, answer.files)
        return self._run(number, answer.metrics, answer.manifest)

    def _prepared(self, number: int, request: LegRequest) -> tuple[RunTask, Inputs]:
        strategy = self.strategies[number]
        inputs = self._inputs(request, strategy)
        rules, later = rules_for(inputs, None, self.asked.overrides, rounding=self.asked.rounding)
        task = RunTask(
            recipe=recipe_of(strategy),
            ohlcv=inputs.ohlcv,
            capital=self.asked.capital,
            costs=self.asked.costs,
            rules=rules,
            later_rules=later,
            close_at_end=self.asked.close_at_end,
            source=request.source,
            missing=span_texts(inputs.missing),
            with_files=self.asked.out is not None,
        )
        return task, inputs

    def _inputs(self, request: LegRequest, strategy: Strategy) -> Inputs:
        """The candles of the request; strategies over the same ones follow each other and share them."""
        key = (*_series_of(request), strategy.timeframe)
        if self.read is None or self.read[0] != key:
            found = read_inputs(request.source, strategy, allow_missing=request.allow_missing)
            self.read = key, found
        return self.read[1]

    def _kept(self, number: int, task: RunTask) -> Run | None:
        """The run as its folder holds it, where that was made of the very same."""
        folder = self._folder(number)
        if folder is None or not (folder / _MANIFEST_FILE).exists():
            return None
        try:
            kept = msgspec.json.decode((folder / _RESULT_FILE).read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return None  # not finished, or not by this program: it is made anew
        manifest = kept.manifest
        found = (manifest.engine_version, manifest.strategy_hash, manifest.data_hash, manifest.capital)
        wanted = (ENGINE_VERSION, task.recipe.version, data_hash(task.ohlcv), task.capital)
        terms = (manifest.costs, manifest.rules, manifest.later_rules, manifest.close_at_end)
        if found != wanted or terms != (task.costs, task.rules, task.later_rules, task.close_at_end):
            return None
        return self._run(number, kept.metrics, manifest)

    def _folder(self, number: int) -> Path | None:
        name = self._name(number)
        return None if self.asked.out is None or name is None else self.asked.out / name

    def _name(self, number: int) -> str | None:
        if self.asked.out is None:
            return None
        name = f"{self.strategies[number].name}-{self.asked.requests[number].symbol}"
        return re.sub(r"[^\w.-]+", "_", name)

    def _run(self, number: int, metrics: dict[str, Any], manifest: Manifest) -> Run:
        return Run(
            symbol=self.asked.requests[number].symbol,
            strategy=self.strategies[number].name,
            folder=self._name(number),
            metrics=metrics,
            manifest=manifest,
        )


def each_asked(asked: RunsAsked, workers: Workers, *, as_json: bool) -> None:
    """Run, and print the document or a table. Raises InvalidInput."""
    runs = run_each(asked, workers)
    if as_json:
        sys.stdout.buffer.write(runs_document(runs) + b"\n")
    else:
        click.echo("\n".join([f"{len(runs)} runs, each with a capital of its own", "", *run_lines(runs)]))


def run_each(asked: RunsAsked, workers: Workers) -> list[Run]:
    """All runs, in the order asked for, told of as they are done. Raises InvalidInput.

    With a folder each run's is written when it is done, and runs whose folder holds them are not run again.
    """
    strategies = [
        load_asked_strategy(request.source.strategy, request.parameters, request.timeframe)
        for request in asked.requests
    ]
    _check_names(asked.requests, strategies)
    session = _Session(asked, strategies)
    total = len(asked.requests)
    runs: dict[int, Run] = {}
    tell = Teller("runs")
    pieces = Pieces(call=run_task, again=session.again, total=total)
    for number, answer in spread(pieces, session.tasks(), workers):
        runs[number] = session.done(number, answer)
        tell(len(runs) + len(session.kept), total)
    if session.kept:
        click.echo(f"{len(session.kept)} runs were done already and are kept", err=True)
    runs |= session.kept
    done = [runs[number] for number in range(total)]
    if asked.out is not None:
        write_folder(asked.out, {SUMMARY_FILE: runs_document(done), TABLE_FILE: _table(done).encode()})
    return done


def runs_document(runs: Sequence[Run]) -> bytes:
    """`runs`: symbol, strategy, folder, metrics and manifest of each, as JSON."""
    return msgspec.json.Encoder(decimal_format="number").encode({"runs": runs})


def run_lines(runs: Sequence[Run]) -> Iterator[str]:
    """A table of the runs."""
    yield f"  {'symbol':<14}{'strategy':<26}{'return':>10}{'drawdown':>10}{'Sharpe':>8}{'trades':>8}"
    for run in runs:
        figures = run.metrics
        sharpe = figures["sharpe"]
        shown = f"{sharpe:.2f}" if isinstance(sharpe, float) else "-"
        yield (
            f"  {run.symbol:<14}{run.strategy[:24]:<26}{figures['total_return']:>10.2%}"
            f"{figures['max_drawdown']:>10.2%}{shown:>8}{figures['trades']:>8,}"
        )


def _table(runs: Sequence[Run]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(runs[0].metrics)
    writer.writerow(["symbol", "strategy", "folder", *names, "result_hash"])
    for run in runs:
        figures = (run.metrics[name] for name in names)
        writer.writerow([run.symbol, run.strategy, run.folder, *figures, run.manifest.result_hash])
    return text.getvalue()


def _check_names(requests: Sequence[LegRequest], strategies: Sequence[Strategy]) -> None:
    seen: set[tuple[str, str, Timeframe]] = set()
    for request, strategy in zip(requests, strategies, strict=True):
        name = (request.symbol, strategy.name, strategy.timeframe)
        if name in seen:
            raise InvalidInput(
                Problem(
                    where="--each",
                    field="",
                    value=f"{strategy.name} on {request.symbol}",
                    expected="each symbol runs each strategy once",
                )
            )
        seen.add(name)


def _series_of(request: LegRequest) -> tuple[object, ...]:
    source = request.source
    return source.candles, source.venue, source.symbol, source.start, source.end


def _by_series(numbered: tuple[int, LegRequest]) -> tuple[str, ...]:
    return tuple(str(part) for part in _series_of(numbered[1]))
