"""Baskets as a backtest reads them: a bot's file with weights, and the candles of each of its symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import click

from app.backtest_inputs import read_inputs, rules_for, span_texts
from app.commands.backtest_portfolio import LegRequest
from app.ladder_files import limits_asked
from backtesting.baskets import BasketFigures, run_basket
from backtesting.manifest import Source
from backtesting.portfolio import Leg, PortfolioResult
from backtesting.portfolio_document import PortfolioManifest, portfolio_manifest
from bots.config import BotConfig, load_bot
from bots.ladders.loading import DEFAULT_TIMEFRAME
from bots.ladders.settings import RebalanceSettings
from bots.ladders.strategy import BasketStrategy
from bots.orders import Costs
from data.errors import InvalidInput, Problem


def basket_requests(
    path: str,
    config: BotConfig,
    candles: Sequence[str],
    venue: str | None,
    symbols: Sequence[str],
    span: tuple[str | None, str | None],
    *,
    allow_missing: bool,
) -> list[LegRequest]:
    """A leg for each weight, in their order; without `symbols` files stand in that order. UsageError."""
    names = list(symbols) or list(config.symbols)
    files: list[str | None] = [*candles] if candles else [None] * len(names)
    if len(files) != len(names):
        raise click.UsageError(f"Give one '--candles' for each of {', '.join(names)}, in this order.")
    found = dict(zip(names, files, strict=True))
    if len(found) != len(names) or set(found) != set(config.symbols):
        raise click.UsageError(
            f"The basket's symbols are {', '.join(config.symbols)}: give each of them once."
        )
    return [
        LegRequest(
            symbol=symbol,
            source=Source(
                strategy=path,
                candles=found[symbol],
                venue=None if found[symbol] else venue or config.venue,
                symbol=symbol,
                start=span[0],
                end=span[1],
            ),
            parameters={},
            timeframe=config.timeframe,
            rules=None,
            allow_missing=allow_missing,
        )
        for symbol in config.symbols
    ]


def run_basket_asked(
    requests: Sequence[LegRequest],
    *,
    capital: Decimal,
    costs: Costs,
    overrides: Mapping[str, Decimal],
    rounding: bool,
    close_at_end: bool,
) -> tuple[PortfolioResult, PortfolioManifest, BasketFigures]:
    """Read, run and stamp the basket whose file the requests name. Raises InvalidInput."""
    path = Path(requests[0].source.strategy)
    config = load_bot(path)
    if not isinstance(config.ladder, RebalanceSettings):
        expected = "must be rebalance: the run that is repeated was a basket's"
        raise InvalidInput(Problem(where=str(path), field="type", value="another", expected=expected))
    strategy = BasketStrategy(config.ladder, requests[0].timeframe or config.timeframe or DEFAULT_TIMEFRAME)
    legs, missing = [], []
    for request in requests:
        inputs = read_inputs(request.source, strategy, allow_missing=request.allow_missing)
        given = None if request.rules is None else (request.rules, request.later_rules)
        rules, _ = rules_for(inputs, given, overrides, rounding=rounding)
        legs.append(Leg(symbol=request.symbol, strategy=strategy, ohlcv=inputs.ohlcv, rules=rules))
        missing.append(span_texts(inputs.missing))
    result, figures = run_basket(
        strategy,
        legs,
        capital=capital,
        costs=costs,
        limits=limits_asked(config),
        close_at_end=close_at_end,
    )
    for leg, count in zip(legs, figures.left_out, strict=True):
        if count:
            click.echo(
                f"{leg.symbol}: {count:,} candles are left out, which another symbol has not", err=True
            )
    if figures.finished:
        click.echo(f"it has ended: {figures.finished}", err=True)
    sources = [request.source for request in requests]
    return result, portfolio_manifest(result, sources, missing, rounding=rounding), figures
