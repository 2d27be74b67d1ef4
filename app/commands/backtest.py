"""`candlewick backtest`: one strategy over the candles of a file or of the store."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from app.backtest_inputs import (
    Inputs,
    is_basket_file,
    is_ladder_file,
    load_asked_strategy,
    read_inputs,
    rules_for,
    span_texts,
)
from app.commands.assignments import parameters_of
from app.commands.backtest_output import hand_out
from app.commands.decimal_number import DecimalNumber
from app.commands.lazy_group import LazyGroup
from app.commands.moments import Moment
from app.garbage import few_collections
from backtesting.engine import BacktestResult, run_backtest
from backtesting.insides import run_with_insides
from backtesting.manifest import Manifest, Source, differences, iso_time, manifest_of
from backtesting.prepared import Prepared
from bots.finest_data import FinestRows
from bots.orders import Costs, RulesFrom, TradingRules
from bots.risk.limits import NO_LIMITS, Limits
from data.coverage import Span
from data.errors import InvalidInput, Problem
from data.models import Market
from data.timeframes import Timeframe
from strategies.base import Strategy

if TYPE_CHECKING:
    from backtesting.portfolio_document import PortfolioManifest
    from backtesting.workers import Workers

_PARTS = {
    "compare": (
        "app.commands.backtest_compare:compare",
        "Compare two finished runs: manifests, metrics, equity, and trade by trade.",
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run as asked for."""

    source: Source
    parameters: Mapping[str, float | str]
    timeframe: Timeframe | None
    capital: Decimal
    costs: Costs
    rules: TradingRules | None  # None: the instrument's, where one is known
    limits: Limits = NO_LIMITS
    later_rules: tuple[RulesFrom, ...]
    overrides: dict[str, Decimal]  # fields of the rules that stand on the command line
    rounding: bool
    close_at_end: bool
    allow_missing: bool


@click.group(cls=LazyGroup, parts=_PARTS, invoke_without_command=True)
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    metavar="FILE",
    help="Strategy file, or the name of a template. Repeatable.",
)
@click.option(
    "--bot",
    "bot_file",
    metavar="FILE",
    help="A bot's file instead: its strategy or ladder, market, capital and costs.",
)
@click.option(
    "--candles",
    "candle_files",
    multiple=True,
    metavar="FILE",
    help="Candle file: CSV (also .gz) or Parquet. Repeatable, with a --symbol each.",
)
@click.option("--venue", type=click.Choice(("binance", "okx")), help="Read the store instead.")
@click.option(
    "--symbol", "symbols", multiple=True, help="BASE-QUOTE, such as BTC-USDT. Several share one capital."
)
@click.option("--from", "start", type=Moment(), help="First candle to run, ISO 8601, UTC.")
@click.option("--to", "end", type=Moment(), help="Run candles that open before this time.")
@click.option(
    "--timeframe", type=click.Choice([item.value for item in Timeframe]), help="Instead of the strategy's."
)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Set a parameter. Repeatable.")
@click.option("--capital", type=DecimalNumber(), default="10000", show_default=True, help="Quote currency.")
@click.option("--fee-bps", type=DecimalNumber(), default="10", show_default=True, help="Taker fee.")
@click.option(
    "--maker-fee-bps", type=DecimalNumber(), default="10", show_default=True, help="Take-profits pay it."
)
@click.option(
    "--slippage-bps",
    type=DecimalNumber(),
    default="0",
    show_default=True,
    help="Worsens market and stop fills.",
)
@click.option("--no-rounding", is_flag=True, help="Do not put prices and quantities on a tick and a lot.")
@click.option("--tick-size", type=DecimalNumber(), help="Price step, instead of the instrument's.")
@click.option("--lot-size", type=DecimalNumber(), help="Quantity step, instead of the instrument's.")
@click.option(
    "--min-notional",
    type=DecimalNumber(),
    help="Smallest order in quote currency, instead of the instrument's.",
)
@click.option("--allow-missing", is_flag=True, help="Run over minutes that the store does not know.")
@click.option("--close-at-end", is_flag=True, help="Close an open position at the last close.")
@click.option(
    "--finer",
    metavar="FILE",
    help="Trades, or candles of a smaller time frame, that decide between stop and target.",
)
@click.option(
    "--out",
    metavar="DIR",
    help="Write report.html, result.json, manifest.json, and trades and equity as CSV and Parquet.",
)
@click.option(
    "--each",
    is_flag=True,
    help="Give every strategy on every symbol a capital of its own: as many independent runs. With --out "
    "each has a folder, and the same command goes on where it was stopped.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Send the work of several runs to this Dask cluster.")
@click.option("--workers", type=click.IntRange(min=1), help="How many cores to use; all by default.")
@click.option(
    "--manifest",
    "manifest_file",
    metavar="FILE",
    help="Repeat the run of this manifest and check that the result is the same.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
@few_collections()
def command(
    ctx: click.Context,
    *,
    strategies: tuple[str, ...],
    bot_file: str | None,
    candle_files: tuple[str, ...],
    venue: str | None,
    symbols: tuple[str, ...],
    start: int | None,
    end: int | None,
    timeframe: str | None,
    params: tuple[str, ...],
    capital: Decimal,
    fee_bps: Decimal,
    maker_fee_bps: Decimal,
    slippage_bps: Decimal,
    no_rounding: bool,
    tick_size: Decimal | None,
    lot_size: Decimal | None,
    min_notional: Decimal | None,
    allow_missing: bool,
    close_at_end: bool,
    finer: str | None,
    out: str | None,
    each: bool,
    scheduler: str | None,
    workers: int | None,
    manifest_file: str | None,
    as_json: bool,
) -> None:
    """Run a strategy over the candles of a file or of the store.

    Orders are filled at the open of the candle after their signal. Candles of a smaller time frame than the
    strategy's are folded up, and then decide between stop and target inside one candle. Over the store, its
    trades decide, or else its smaller candles.
    """
    if ctx.invoked_subcommand is not None:
        return
    expected = None if manifest_file is None else _read_manifest(Path(manifest_file))
    costs = Costs(fee_bps=fee_bps, maker_fee_bps=maker_fee_bps, slippage_bps=slippage_bps)
    steps = {"tick_size": tick_size, "lot_size": lot_size, "min_notional": min_notional}
    overrides = {name: step for name, step in steps.items() if step is not None}
    parameters = parameters_of(params)
    span = (None if start is None else iso_time(start), None if end is None else iso_time(end))
    chosen = None if timeframe is None else Timeframe(timeframe)
    limits = NO_LIMITS
    if bot_file is not None:
        if strategies or params or manifest_file is not None:
            raise click.UsageError("'--bot' brings its strategy: give no --strategy, --param or --manifest.")
        # Bots bring what runs them along; a strategy's file needs none of it.
        from app.ladder_files import bot_asked, limits_asked

        asked = bot_asked(Path(bot_file))
        strategies = (asked.strategy,)
        limits = limits_asked(asked.config)
        parameters = {name: repr(value) for name, value in asked.config.parameters.items()}
        capital, costs, chosen = asked.config.capital, asked.config.costs, asked.config.timeframe
        if is_basket_file(Path(bot_file)):
            if finer is not None:
                raise click.UsageError("A basket trades at opens only: --finer tells it nothing.")
            from app.basket_files import basket_requests, run_basket_asked

            held, stamp_of_all, used = run_basket_asked(
                basket_requests(
                    bot_file, asked.config, candle_files, venue, symbols, span, allow_missing=allow_missing
                ),
                capital=capital,
                costs=costs,
                overrides=overrides,
                rounding=not no_rounding,
                close_at_end=close_at_end,
            )
            hand_out(held, stamp_of_all, out, as_json=as_json, ladder=used)
            return
        if not candle_files and venue is None and not symbols:
            venue, symbols = asked.config.venue, (asked.config.symbol,)
    if expected is None:
        _check_usage(strategies, candle_files, venue, symbols)
        if no_rounding and (tick_size is not None or lot_size is not None):
            raise click.UsageError("--no-rounding contradicts --tick-size and --lot-size.")
    several = expected is None and (len(strategies) > 1 or len(symbols) > 1 or len(candle_files) > 1)
    repeated = expected if isinstance(expected, Manifest) else None
    splits = each or several or expected is not repeated
    if not splits and (workers is not None or scheduler is not None):
        raise click.UsageError("--workers and --scheduler go with several strategies or symbols.")
    if splits:
        # Nothing of it is needed by a run of its own, which is to start fast.
        from app.commands.backtest_portfolio import leg_requests, repeated_legs, run_legs_asked

        legs = partial(
            leg_requests,
            strategies,
            candle_files,
            venue,
            symbols,
            span,
            parameters,
            chosen,
            allow_missing=allow_missing,
        )
        if each:
            if bot_file is not None or manifest_file is not None or finer is not None:
                raise click.UsageError("--each goes with --strategy, not with --bot, --manifest or --finer.")
            from app.commands.backtest_each import RunsAsked, each_asked

            each_asked(
                RunsAsked(
                    requests=legs(),
                    capital=capital,
                    costs=costs,
                    overrides=overrides,
                    rounding=not no_rounding,
                    close_at_end=close_at_end,
                    out=None if out is None else Path(out),
                ),
                _hands(workers, scheduler),
                as_json=as_json,
            )
            return
        if not (expected is None or isinstance(expected, Manifest)):
            from backtesting.portfolio_document import portfolio_differences

            result, manifest = run_legs_asked(
                repeated_legs(expected),
                capital=expected.capital,
                costs=expected.costs,
                overrides={},
                rounding=expected.rounding,
                close_at_end=expected.close_at_end,
                workers=_hands(workers, scheduler),
            )
            hand_out(result, manifest, out, as_json=as_json)
            _compare(portfolio_differences(expected, manifest), manifest.result_hash)
            return
        if finer is not None:
            raise click.UsageError("--finer goes with one symbol; the store finds what is finer by itself.")
        result, manifest = run_legs_asked(
            legs(),
            capital=capital,
            costs=costs,
            overrides=overrides,
            rounding=not no_rounding,
            close_at_end=close_at_end,
            workers=_hands(workers, scheduler),
        )
        hand_out(result, manifest, out, as_json=as_json)
        return
    if repeated is not None:
        # Files may have moved since: what is given on the command line says where they are now.
        moved = {"strategy": _only(strategies), "candles": _only(candle_files), "finer": finer}
        source = msgspec.structs.replace(
            repeated.source, **{name: path for name, path in moved.items() if path is not None}
        )
        request = Request(
            source=source,
            parameters=dict(repeated.parameters),
            timeframe=repeated.timeframe,
            capital=repeated.capital,
            costs=repeated.costs,
            rules=repeated.rules,
            later_rules=repeated.later_rules,
            overrides={},
            rounding=repeated.rounding,
            close_at_end=repeated.close_at_end,
            allow_missing=bool(repeated.missing),
            limits=repeated.limits,
        )
    else:
        request = Request(
            source=Source(
                strategy=strategies[0],
                candles=_only(candle_files),
                venue=venue,
                symbol=_only(symbols),
                start=span[0],
                end=span[1],
                finer=finer,
            ),
            parameters=parameters,
            timeframe=chosen,
            capital=capital,
            costs=costs,
            rules=None,
            later_rules=(),
            overrides=overrides,
            rounding=not no_rounding,
            close_at_end=close_at_end,
            allow_missing=allow_missing,
            limits=limits,
        )
    single, missing, figures = _run(request)
    stamp = manifest_of(single, request.source, span_texts(missing), request.limits)
    hand_out(single, stamp, out, as_json=as_json, ladder=figures)
    if repeated is not None:
        _compare(differences(repeated, stamp), stamp.result_hash)


def _hands(workers: int | None, scheduler: str | None) -> Workers:
    # What starts processes is slow to import, and a run of its own needs none.
    from backtesting.workers import Workers

    return Workers(count=workers, scheduler=scheduler)


def _only(given: tuple[str, ...]) -> str | None:
    return given[0] if given else None


def _compare(changed: list[str], result_hash: str) -> None:
    """Say whether a repeated run gave the same; exit 1 where it did not."""
    for difference in changed:
        click.echo(f"not the same run: {difference}", err=True)
    if changed:
        sys.exit(1)
    click.echo(f"the same result: {result_hash}", err=True)


def _check_usage(
    strategies: tuple[str, ...], candles: tuple[str, ...], venue: str | None, symbols: tuple[str, ...]
) -> None:
    if not strategies:
        raise click.UsageError("Missing option '--strategy', or '--manifest' to repeat a run.")
    if candles and venue is not None:
        raise click.UsageError("Give either '--candles FILE' or '--venue' and '--symbol'.")
    if not candles and venue is None and not symbols:
        raise click.UsageError("Give either '--candles FILE' or '--venue' and '--symbol'.")
    if not candles and (venue is None or not symbols):
        raise click.UsageError("The store's candles need both '--venue' and '--symbol'.")


def _read_manifest(path: Path) -> Manifest | PortfolioManifest:
    """The manifest in a file of its own or in a result. Raises InvalidInput."""
    try:
        content = path.read_bytes()
        document = msgspec.json.decode(content, type=dict[str, msgspec.Raw], strict=True)
        if "manifest" in document:
            content = bytes(document["manifest"])
            document = msgspec.json.decode(content, type=dict[str, msgspec.Raw], strict=True)
        if "legs" in document:
            from backtesting.portfolio_document import PortfolioManifest

            return msgspec.json.decode(content, type=PortfolioManifest)
        return msgspec.json.decode(content, type=Manifest)
    except OSError as error:
        expected = f"it cannot be read: {error.strerror}"
        raise InvalidInput(Problem(where=str(path), field="", value="", expected=expected)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        expected = f"give a manifest.json or result.json of an earlier run: {error}"
        raise InvalidInput(Problem(where=str(path), field="", value="", expected=expected)) from error


def _run(request: Request) -> tuple[BacktestResult, tuple[Span, ...], msgspec.Struct | None]:
    """The run, the minutes the store did not know, and what a ladder used of its worst case."""
    if is_ladder_file(Path(request.source.strategy)):
        from app.ladder_files import ladder_of, run_ladder_file

        ladder, config = ladder_of(Path(request.source.strategy))
        # A ladder's orders may be filled in any candle.
        inputs = read_inputs(request.source, ladder, allow_missing=request.allow_missing, whole_finer=True)
        given = None if request.rules is None else (request.rules, request.later_rules)
        rules, _ = rules_for(inputs, given, request.overrides, rounding=request.rounding)
        done, figures = run_ladder_file(
            ladder,
            config,
            request.source,
            inputs,
            rules,
            capital=request.capital,
            costs=request.costs,
            close_at_end=request.close_at_end,
        )
        return done, inputs.missing, figures
    strategy = load_asked_strategy(request.source.strategy, request.parameters, request.timeframe)
    inputs = read_inputs(request.source, strategy, allow_missing=request.allow_missing)
    given = None if request.rules is None else (request.rules, request.later_rules)
    rules, later = rules_for(inputs, given, request.overrides, rounding=request.rounding)
    prepared = Prepared(strategy, strategy.signals(inputs.ohlcv))
    if not request.limits.is_empty:
        return _run_limited(request, prepared, inputs, rules, later), inputs.missing, None

    def run(finer: FinestRows | None) -> BacktestResult:
        return run_backtest(
            prepared,
            inputs.ohlcv,
            capital=request.capital,
            costs=request.costs,
            rules=rules,
            later_rules=later,
            close_at_end=request.close_at_end,
            finer=finer,
        )

    return run_with_insides(run, inputs.ohlcv, inputs.inside), inputs.missing, None


def _run_limited(
    request: Request, strategy: Strategy, inputs: Inputs, rules: TradingRules, later: tuple[RulesFrom, ...]
) -> BacktestResult:
    """Candle by candle, as a bot: only asked for where there is something to be kept back."""
    from backtesting.limited import run_limited_backtest

    kept_back: Counter[str] = Counter()

    def run(finer: FinestRows | None) -> BacktestResult:
        limited, violations = run_limited_backtest(
            strategy,
            inputs.ohlcv,
            market=Market(request.source.venue or "", request.source.symbol or ""),
            capital=request.capital,
            costs=request.costs,
            rules=rules,
            limits=request.limits,
            close_at_end=request.close_at_end,
            finer=finer,
            later_rules=later,
        )
        kept_back.clear()
        kept_back.update(violation.limit for violation in violations)
        return limited

    result = run_with_insides(run, inputs.ohlcv, inputs.inside)
    for limit, count in sorted(kept_back.items()):
        click.echo(f"{limit} kept back {count} entries", err=True)
    return result
