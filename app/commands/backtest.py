"""`candlewick backtest`: one strategy over the candles of a file or of the store."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click
import msgspec

from app.commands.assignments import parameters_of
from app.commands.moments import Moment, moment_us
from backtesting.document import document_of, encoded, equity_csv, metrics_document, trades_csv
from backtesting.engine import BacktestResult, run_backtest
from backtesting.manifest import Manifest, Source, differences, iso_time, manifest_of
from bots.finer_candles import finer_candles
from bots.orders import Costs, TradingRules
from data.errors import InvalidInput, Problem
from data.files.candle_files import read_candles
from data.models import Market, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.higher_timeframe import fold
from strategies.loader import load_strategy

# Finer candles are read whole: a year of minutes, a day or two of seconds.
_MOST_FINER = 1_000_000


class DecimalNumber(click.ParamType[Any]):
    """An exact decimal number."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            number = Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not number.is_finite():
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run as asked for."""

    source: Source
    parameters: Mapping[str, float | str]
    timeframe: Timeframe | None
    capital: Decimal
    costs: Costs
    rules: TradingRules | None  # None: the instrument's, where one is known
    overrides: dict[str, Decimal]  # fields of the rules that stand on the command line
    rounding: bool
    close_at_end: bool


@click.command()
@click.option("--strategy", metavar="FILE", help="Strategy file, or the name of a template.")
@click.option("--candles", metavar="FILE", help="Candle file: CSV (also .gz) or Parquet.")
@click.option("--venue", type=click.Choice(("binance", "okx")), help="Read the store instead.")
@click.option("--symbol", help="BASE-QUOTE, such as BTC-USDT.")
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
@click.option("--close-at-end", is_flag=True, help="Close an open position at the last close.")
@click.option(
    "--finer", metavar="FILE", help="Candles of a smaller time frame that decide between stop and target."
)
@click.option(
    "--out", metavar="DIR", help="Write result.json, trades.csv, equity.csv, manifest.json and report.html."
)
@click.option(
    "--manifest",
    "manifest_file",
    metavar="FILE",
    help="Repeat the run of this manifest and check that the result is the same.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    *,
    strategy: str | None,
    candles: str | None,
    venue: str | None,
    symbol: str | None,
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
    close_at_end: bool,
    finer: str | None,
    out: str | None,
    manifest_file: str | None,
    as_json: bool,
) -> None:
    """Run a strategy over the candles of a file or of the store.

    Orders are filled at the open of the candle after their signal. Candles of a smaller time frame than the
    strategy's are folded up, and then decide between stop and target inside one candle.
    """
    expected = None if manifest_file is None else _read_manifest(Path(manifest_file))
    if expected is not None:
        # Files may have moved since: what is given on the command line says where they are now.
        moved = {"strategy": strategy, "candles": candles, "finer": finer}
        source = msgspec.structs.replace(
            expected.source, **{name: path for name, path in moved.items() if path is not None}
        )
        request = Request(
            source=source,
            parameters=dict(expected.parameters),
            timeframe=expected.timeframe,
            capital=expected.capital,
            costs=expected.costs,
            rules=expected.rules,
            overrides={},
            rounding=expected.rounding,
            close_at_end=expected.close_at_end,
        )
    else:
        _check_usage(strategy, candles, venue, symbol)
        if no_rounding and (tick_size is not None or lot_size is not None):
            raise click.UsageError("--no-rounding contradicts --tick-size and --lot-size.")
        steps = {"tick_size": tick_size, "lot_size": lot_size, "min_notional": min_notional}
        request = Request(
            source=Source(
                strategy=strategy or "",
                candles=candles,
                venue=venue,
                symbol=symbol,
                start=None if start is None else iso_time(start),
                end=None if end is None else iso_time(end),
                finer=finer,
            ),
            parameters=parameters_of(params),
            timeframe=None if timeframe is None else Timeframe(timeframe),
            capital=capital,
            costs=Costs(fee_bps=fee_bps, maker_fee_bps=maker_fee_bps, slippage_bps=slippage_bps),
            rules=None,
            overrides={name: step for name, step in steps.items() if step is not None},
            rounding=not no_rounding,
            close_at_end=close_at_end,
        )
    result = _run(request)
    manifest = manifest_of(result, request.source)
    changed = [] if expected is None else differences(expected, manifest)
    if out is not None:
        _write_folder(Path(out), result, manifest)
    if as_json:
        sys.stdout.buffer.write(encoded(document_of(result, manifest)) + b"\n")
    else:
        click.echo(_table(result, manifest))
    if expected is not None:
        for difference in changed:
            click.echo(f"not the same run: {difference}", err=True)
        if changed:
            sys.exit(1)
        click.echo(f"the same result: {manifest.result_hash}", err=True)


def _check_usage(strategy: str | None, candles: str | None, venue: str | None, symbol: str | None) -> None:
    if strategy is None:
        raise click.UsageError("Missing option '--strategy', or '--manifest' to repeat a run.")
    if (candles is None) == (venue is None and symbol is None):
        raise click.UsageError("Give either '--candles FILE' or '--venue' and '--symbol'.")
    if candles is None and (venue is None or symbol is None):
        raise click.UsageError("The store's candles need both '--venue' and '--symbol'.")


def _read_manifest(path: Path) -> Manifest:
    """The manifest in a file of its own or in a result. Raises InvalidInput."""
    try:
        content = path.read_bytes()
        document = msgspec.json.decode(content, type=dict[str, msgspec.Raw], strict=True)
        return msgspec.json.decode(document.get("manifest", content), type=Manifest)
    except OSError as error:
        expected = f"it cannot be read: {error.strerror}"
        raise InvalidInput(Problem(where=str(path), field="", value="", expected=expected)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        expected = f"give a manifest.json or result.json of an earlier run: {error}"
        raise InvalidInput(Problem(where=str(path), field="", value="", expected=expected)) from error


def _run(request: Request) -> BacktestResult:
    strategy = load_strategy(strategy_path(request.source.strategy), request.parameters, request.timeframe)
    ohlcv, finer, known = read_market(request.source, strategy)
    return run_backtest(
        strategy,
        ohlcv,
        capital=request.capital,
        costs=request.costs,
        rules=rules_in_force(request.rules or known, request.overrides, rounding=request.rounding),
        close_at_end=request.close_at_end,
        finer=finer,
    )


def read_market(source: Source, strategy: Strategy) -> tuple[Ohlcv, Ohlcv | None, TradingRules | None]:
    """Candles of the strategy's time frame within the span asked for, finer ones, the instrument's rules.

    Raises InvalidInput where there are none.
    """
    stored_finer = None
    if source.candles is not None:
        read, known = _read_file(Path(source.candles), strategy), None
    else:
        read, stored_finer, known = _read_store(source, strategy)
    read = _between(read, source)
    ohlcv, finer = _of_timeframe(read, strategy, source.candles or f"{source.venue}:{source.symbol}")
    if source.finer is not None:
        finer = read_candles(Path(source.finer), tell=_note)
    elif stored_finer is not None:
        finer = stored_finer
    return ohlcv, finer, known


def rules_in_force(
    known: TradingRules | None, overrides: Mapping[str, Decimal], *, rounding: bool
) -> TradingRules:
    """The instrument's rules with what the command line says of them; says so where nothing is rounded."""
    rules = msgspec.structs.replace(known or TradingRules(), **overrides)
    if not rounding:
        return TradingRules(min_notional=rules.min_notional)
    if rules.tick_size is None and rules.lot_size is None:
        click.echo(
            "no instrument is known: prices and quantities are not rounded (see --tick-size)", err=True
        )
    return rules


def strategy_path(name_or_path: str) -> Path:
    """The strategy's file, or that of the template of this name."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    # Settings are slow to import, and a plain file needs none.
    from config.settings import load_settings
    from strategies.templates import find_strategy_file

    return find_strategy_file(name_or_path, load_settings().candlewick_strategies)


def _note(sentence: str) -> None:
    click.echo(sentence, err=True)


def _read_file(path: Path, strategy: Strategy) -> Ohlcv:
    try:
        return read_candles(path, tell=_note)
    except InvalidInput as first:
        # A file of several time frames, or of one candle, can be read once the time frame is named.
        try:
            return read_candles(path, strategy.timeframe, tell=_note)
        except InvalidInput:
            raise first from None


def _read_store(source: Source, strategy: Strategy) -> tuple[Ohlcv, Ohlcv | None, TradingRules | None]:
    """Candles of the strategy's time frame or the next smaller one, finer ones, the instrument's rules."""
    # The database's libraries take longer to import than a run over a file lasts.
    from app.composition import open_store
    from bots.paper_bot import rules_of
    from config.settings import load_settings

    market = Market(source.venue or "", source.symbol or "")
    with open_store(load_settings()) as store:
        repository = store.candle_repository
        start_us, end_us = _us(source.start), _us(source.end)
        smaller = [frame for frame in Timeframe if strategy.timeframe.us % frame.us == 0]
        for timeframe in sorted(smaller, key=lambda frame: -frame.us):
            ohlcv = repository.candles(market, timeframe, start_us=start_us, end_us=end_us)
            if len(ohlcv):
                break
        folded, _ = _of_timeframe(ohlcv, strategy, str(market))
        finer = finer_candles(repository, market, folded, most=_MOST_FINER)
        instrument = repository.instrument(market)
        known = ", ".join(map(str, repository.markets()))
    if len(ohlcv) == 0:
        expected = (
            f"no candles for {strategy.timeframe} are stored in this span; there are some of: {known or '-'}"
        )
        raise InvalidInput(Problem(where="--symbol", field="", value=str(market), expected=expected))
    return ohlcv, finer, None if instrument is None else rules_of(instrument)


def _us(moment: str | None) -> int | None:
    return None if moment is None else moment_us(moment)


def _between(ohlcv: Ohlcv, source: Source) -> Ohlcv:
    """The candles that open in the span. Raises InvalidInput where there are none."""
    first_us, last_us = _us(source.start), _us(source.end)
    first = 0 if first_us is None else int(ohlcv.opened_at_us.searchsorted(first_us))
    last = len(ohlcv) if last_us is None else int(ohlcv.opened_at_us.searchsorted(last_us))
    if first >= last:
        oldest, newest = iso_time(int(ohlcv.opened_at_us[0])), iso_time(int(ohlcv.opened_at_us[-1]))
        span = f"{source.start or 'the beginning'} to {source.end or 'the end'}"
        expected = f"there are no candles in it: they open from {oldest} to {newest}"
        raise InvalidInput(Problem(where="--from, --to", field="", value=span, expected=expected))
    return ohlcv.rows(first, last)


def _of_timeframe(ohlcv: Ohlcv, strategy: Strategy, where: str) -> tuple[Ohlcv, Ohlcv | None]:
    """Candles of the strategy's time frame, and those they were folded from."""
    if ohlcv.timeframe is strategy.timeframe:
        return ohlcv, None
    if strategy.timeframe.us % ohlcv.timeframe.us:
        expected = f"the strategy needs candles of {strategy.timeframe}, or of a time frame that divides it"
        raise InvalidInput(
            Problem(where=where, field="timeframe", value=str(ohlcv.timeframe), expected=expected)
        )
    return fold(ohlcv, strategy.timeframe).candles, ohlcv


def _write_folder(folder: Path, result: BacktestResult, manifest: Manifest) -> None:
    """All files or none: they are written beside the folder's own and renamed when complete."""
    # Plotly is needed for a report alone.
    from backtesting.report import report_html

    files = {
        "result.json": encoded(document_of(result, manifest)),
        "trades.csv": trades_csv(result).encode(),
        "equity.csv": "".join(equity_csv(result)).encode(),
        "manifest.json": encoded(manifest),
        "report.html": report_html(result, manifest).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parts = {folder / name: folder / f".{name}.part" for name in files}
        for part, content in zip(parts.values(), files.values(), strict=True):
            part.write_bytes(content)
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        expected = f"give a folder that can be written: {error.strerror}"
        raise InvalidInput(Problem(where="--out", field="", value=str(folder), expected=expected)) from error
    click.echo(f"wrote {', '.join(files)} to {folder}", err=True)


_SHOWN = (
    ("final_equity", "final equity", "money"),
    ("total_return", "return", "percent"),
    ("buy_and_hold_return", "buy and hold", "percent"),
    ("cagr", "per year (CAGR)", "percent"),
    ("volatility", "volatility", "percent"),
    ("sharpe", "Sharpe", "plain"),
    ("sortino", "Sortino", "plain"),
    ("calmar", "Calmar", "plain"),
    ("max_drawdown", "largest drawdown", "percent"),
    ("max_drawdown_duration", "longest drawdown", "days"),
    ("trades", "trades", "whole"),
    ("win_rate", "won", "percent"),
    ("profit_factor", "profit factor", "plain"),
    ("expectancy", "mean profit", "money"),
    ("best_trade", "best trade", "percent"),
    ("worst_trade", "worst trade", "percent"),
    ("exposure", "time in the market", "percent"),
    ("fees_paid", "fees", "money"),
    ("slippage_paid", "slippage, rounding", "money"),
    ("ambiguous_exits", "ambiguous exits", "whole"),
    ("refused_orders", "refused orders", "whole"),
)


def _table(result: BacktestResult, manifest: Manifest) -> str:
    values = metrics_document(result.metrics)
    lines = [
        f"{manifest.strategy} on {manifest.candles:,} candles of {manifest.timeframe}, "
        f"{manifest.starts_at} to {manifest.ends_at}",
        "",
    ]
    lines += [f"  {label:<20}{_shown(values[name], kind):>16}" for name, label, kind in _SHOWN]
    lines += ["", f"  result {manifest.result_hash}"]
    return "\n".join(lines)


def _shown(value: float | int | str | None, kind: str) -> str:
    if not isinstance(value, (float, int)):
        return "-"
    if kind == "percent":
        return f"{value:,.2%}"
    if kind == "days":
        return f"{value / 86_400:,.1f} days"
    return f"{value:,}" if kind == "whole" else f"{value:,.2f}"
