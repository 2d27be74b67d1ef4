"""The part of `candlewick backtest` that runs several symbols or strategies with one capital."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.backtest_inputs import is_basket_file, load_asked_strategy, read_inputs, rules_for, span_texts
from backtesting.document import metrics_document
from backtesting.insides import run_legs_with_insides
from backtesting.manifest import Source
from backtesting.portfolio import Leg, PortfolioResult, run_portfolio
from backtesting.portfolio_document import PortfolioManifest, portfolio_manifest
from backtesting.prepared import Prepared
from bots.finest_data import FinestRows
from bots.orders import Costs, RulesFrom, TradingRules
from data.timeframes import Timeframe
from strategies.base import Strategy

if TYPE_CHECKING:
    from backtesting.workers import Workers

LoadStrategy = Callable[[str, Mapping[str, float | str], Timeframe | None], Strategy]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRequest:
    """One leg as asked for."""

    symbol: str
    source: Source
    parameters: Mapping[str, float | str]
    timeframe: Timeframe | None
    rules: TradingRules | None  # None: the instrument's, where one is known
    later_rules: tuple[RulesFrom, ...] = ()
    allow_missing: bool = False


def leg_requests(
    strategies: Sequence[str],
    candles: Sequence[str],
    venue: str | None,
    symbols: Sequence[str],
    span: tuple[str | None, str | None],
    parameters: Mapping[str, float | str],
    timeframe: Timeframe | None,
    *,
    allow_missing: bool,
) -> list[LegRequest]:
    """Every strategy on every symbol, in the order given; candle files are named by symbols. UsageError."""
    if candles and symbols and len(candles) != len(symbols):
        raise click.UsageError("Give one '--symbol' for each '--candles', in the same order.")
    if len(candles) > 1 and not symbols:
        raise click.UsageError("Several '--candles' need a '--symbol' each, in the same order.")
    names = list(symbols) or [Path(candles[0]).name.partition(".")[0]]
    files: list[str | None] = [*candles] if candles else [None] * len(names)
    return [
        LegRequest(
            symbol=name,
            source=Source(
                strategy=strategy,
                candles=file,
                venue=None if file else venue,
                symbol=name,
                start=span[0],
                end=span[1],
            ),
            parameters=parameters,
            timeframe=timeframe,
            rules=None,
            allow_missing=allow_missing,
        )
        for strategy in strategies
        for name, file in zip(names, files, strict=True)
    ]


def repeated_legs(expected: PortfolioManifest) -> list[LegRequest]:
    """The legs of a run that is to be repeated."""
    return [
        LegRequest(
            symbol=leg.symbol,
            source=leg.source,
            parameters=dict(leg.parameters),
            timeframe=leg.timeframe,
            rules=leg.rules,
            later_rules=leg.later_rules,
            allow_missing=bool(leg.missing),
        )
        for leg in expected.legs
    ]


def run_legs_asked(
    requests: Sequence[LegRequest],
    *,
    capital: Decimal,
    costs: Costs,
    overrides: Mapping[str, Decimal],
    rounding: bool,
    close_at_end: bool,
    load: LoadStrategy = load_asked_strategy,
    workers: Workers | None = None,
) -> tuple[PortfolioResult, PortfolioManifest]:
    """Read, run and stamp; `load` finds the strategy that a leg's source names. Raises InvalidInput.

    `workers` compute the legs' signals, by default this thread; the run itself is one, for its legs share
    their capital.
    """
    if is_basket_file(Path(requests[0].source.strategy)):
        from app.basket_files import run_basket_asked

        result, manifest, _ = run_basket_asked(
            requests,
            capital=capital,
            costs=costs,
            overrides=overrides,
            rounding=rounding,
            close_at_end=close_at_end,
        )
        return result, manifest
    legs: list[Leg] = []
    insides, missing = [], []
    for request in requests:
        strategy = load(request.source.strategy, request.parameters, request.timeframe)
        inputs = read_inputs(request.source, strategy, allow_missing=request.allow_missing)
        given = None if request.rules is None else (request.rules, request.later_rules)
        rules, later = rules_for(inputs, given, overrides, rounding=rounding)
        legs.append(
            Leg(
                symbol=request.symbol,
                strategy=strategy,
                ohlcv=inputs.ohlcv,
                rules=rules,
                later_rules=later,
            )
        )
        insides.append(inputs.inside)
        missing.append(span_texts(inputs.missing))

    legs = _with_signals(legs, workers)

    def run(finer: Sequence[FinestRows | None]) -> PortfolioResult:
        decided = [replace(leg, finer=own) for leg, own in zip(legs, finer, strict=True)]
        return run_portfolio(decided, capital=capital, costs=costs, close_at_end=close_at_end)

    series = [(leg.ohlcv, inside) for leg, inside in zip(legs, insides, strict=True)]
    result = run_legs_with_insides(run, series)
    sources = [request.source for request in requests]
    return result, portfolio_manifest(result, sources, missing, rounding=rounding)


def _with_signals(legs: Sequence[Leg], workers: Workers | None) -> list[Leg]:
    """The legs with what their strategies say: a run that is repeated need not ask again."""
    if workers is None:
        said = {number: leg.strategy.signals(leg.ohlcv) for number, leg in enumerate(legs)}
    else:
        # What starts processes is slow to import, and a run of its own needs none.
        from app.backtest_runs import SignalsTask, signals_task
        from backtesting.recipes import recipe_of
        from backtesting.workers import Pieces, spread

        tasks = (
            (number, SignalsTask(recipe=recipe_of(leg.strategy), ohlcv=leg.ohlcv))
            for number, leg in enumerate(legs)
        )
        said = dict(spread(Pieces(call=signals_task, total=len(legs)), tasks, workers))
    return [replace(leg, strategy=Prepared(leg.strategy, said[number])) for number, leg in enumerate(legs)]


def leg_lines(result: PortfolioResult) -> Iterator[str]:
    """A table of the legs: gain, trades and share of winners of each."""
    yield f"  {'symbol':<14}{'strategy':<26}{'gain':>14}{'trades':>9}{'won':>9}"
    for part in result.legs:
        values = metrics_document(part.metrics)
        won = values["win_rate"]
        share = f"{won:.1%}" if isinstance(won, float) else "-"
        yield (
            f"  {part.leg.symbol:<14}{part.leg.strategy.name[:24]:<26}{float(part.gain[-1]):>14,.2f}"
            f"{part.metrics.trades:>9,}{share:>9}"
        )
