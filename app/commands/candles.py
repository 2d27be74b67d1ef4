"""`candlewick candles`: candles from trades, without a database."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click
import numpy as np

from data.candles import BuiltCandles, candles_from_trades
from data.errors import InvalidInput, Problem
from data.exchanges.registry import EXCHANGES
from data.files.candle_files import opened_at_text, write_built_candles
from data.files.frame_trades import FrameTrades, is_frame_file, read_frame_trades
from data.files.trade_files import TradeFile, read_trades
from data.models import Market
from data.timeframes import Timeframe

_SYMBOL = re.compile(r"[A-Z0-9]+-[A-Z0-9]+(-PERP)?")


class SymbolType(click.ParamType[str]):
    """BASE-QUOTE, perpetuals BASE-QUOTE-PERP."""

    name = "symbol"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _SYMBOL.fullmatch(str(value)):
            self.fail(f"{value!r} is no symbol; expected one like BTC-USDT or BTC-USDT-PERP", param, ctx)
        return str(value)


class TimeframesType(click.ParamType[tuple[Timeframe, ...]]):
    """A list of time frames with commas between them."""

    name = "timeframes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Timeframe, ...]:
        if isinstance(value, tuple):
            return value
        names = [name.strip() for name in str(value).split(",")]
        known = {timeframe.value: timeframe for timeframe in Timeframe}
        unknown = [name for name in names if name not in known]
        if unknown:
            self.fail(
                f"{', '.join(unknown)!r} is no time frame; expected some of {' '.join(known)}", param, ctx
            )
        return tuple(dict.fromkeys(known[name] for name in names))


class ContractSizeType(click.ParamType[Decimal]):
    """A decimal above 0."""

    name = "decimal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            size = Decimal(str(value))
        except InvalidOperation:
            size = Decimal("NaN")
        if not size.is_finite() or size <= 0:
            self.fail(f"{value!r} is no contract size; expected a number above 0", param, ctx)
        return size


exchange_option = click.option(
    "--exchange", required=True, type=click.Choice(sorted(EXCHANGES)), help="The venue the trades are from."
)
symbol_option = click.option(
    "--symbol", required=True, type=SymbolType(), help="BTC-USDT; perpetuals BTC-USDT-PERP."
)
contract_size_option = click.option(
    "--contract-size",
    type=ContractSizeType(),
    help="Base currency of one contract, where the file counts contracts.",
)


@click.group()
def command() -> None:
    """Build candles from trades, without a database."""


@command.command()
@click.option(
    "--trades",
    "source",
    required=True,
    type=click.Path(path_type=Path),
    help="Trades (.csv, .csv.gz, .parquet, .json), or raw frames (.log, .jsonl, also .gz, or a folder).",
)
@exchange_option
@symbol_option
@click.option("--timeframes", required=True, type=TimeframesType(), help="Time frames with commas: 1s,1m,1h.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write: .csv, .csv.gz or .parquet. It is replaced if it is there.",
)
@contract_size_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def build(
    source: Path,
    exchange: str,
    symbol: str,
    timeframes: tuple[Timeframe, ...],
    out: Path,
    contract_size: Decimal | None,
    as_json: bool,
) -> None:
    """Build candles of one market from a file of its trades or of raw frames.

    The file gets the columns timeframe, opened_at, open, high, low, close, volume and trades. The first and
    the last interval of each time frame are kept although the trades may be only a part of theirs; the
    summary names them, and every other interval that lacks trade ids.
    """
    market = Market(exchange, symbol)
    found = trades_of_file(source, market, contract_size)
    columns = found.columns
    built = candles_from_trades(columns.price, columns.quantity, columns.traded_at_us, timeframes)
    try:
        write_built_candles(out, [built[timeframe] for timeframe in timeframes])
    except InvalidInput as error:
        raise _as_option("--out", error) from error
    summary = {
        "exchange": exchange,
        "symbol": symbol,
        "out": str(out),
        "trades": len(columns),
        "duplicates": found.duplicates,
        "malformed": found.malformed if isinstance(found, FrameTrades) else 0,
        "refused": found.refused,
        "missing_ids": int(columns.trade_id[-1] - columns.trade_id[0]) + 1 - len(columns),
        "first_trade_id": int(columns.trade_id[0]),
        "last_trade_id": int(columns.trade_id[-1]),
        "first_trade_at": opened_at_text(int(columns.traded_at_us.min())),
        "last_trade_at": opened_at_text(int(columns.traded_at_us.max())),
        "timeframes": {
            timeframe.value: {
                "rows": len(built[timeframe].ohlcv),
                "possibly_partial": _possibly_partial(built[timeframe], found),
            }
            for timeframe in timeframes
        },
    }
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        _print(summary)


def trades_of_file(path: Path, market: Market, contract_size: Decimal | None) -> TradeFile | FrameTrades:
    """The market's trades in a file of either kind. Raises InvalidInput."""
    if is_frame_file(path):
        return read_frame_trades(path, market, contract_size=contract_size)
    return read_trades(path, contract_size=contract_size)


def _possibly_partial(built: BuiltCandles, found: TradeFile | FrameTrades) -> list[str]:
    """Intervals whose trades may not all be in the file: the first, the last, and those beside absent ids."""
    columns, ohlcv = found.columns, built.ohlcv
    before = np.flatnonzero(np.diff(columns.trade_id) > 1)
    # Absent ids were traded somewhere between the trades on their two sides, which touch these candles.
    first = np.searchsorted(ohlcv.opened_at_us, columns.traded_at_us[before], side="right") - 1
    last = np.searchsorted(ohlcv.opened_at_us, columns.traded_at_us[before + 1], side="right") - 1
    change = np.zeros(len(ohlcv) + 1, dtype=np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, np.maximum(first, last) + 1, -1)
    partial = np.cumsum(change[:-1]) > 0
    partial[[0, -1]] = True
    return [opened_at_text(int(at_us)) for at_us in ohlcv.opened_at_us[partial]]


def _as_option(option: str, error: InvalidInput) -> InvalidInput:
    """The same problems, said of the option that brought the file in."""
    return InvalidInput(
        *(
            Problem(where=option, field=problem.field, value=problem.where, expected=problem.expected)
            for problem in error.problems
        )
    )


def _print(summary: dict[str, Any]) -> None:
    click.echo(f"{summary['trades']} trades of {summary['exchange']}:{summary['symbol']}")
    click.echo(f"  from {summary['first_trade_at']} to {summary['last_trade_at']}")
    for name, words in (
        ("duplicates", "repeated, left out"),
        ("malformed", "messages that do not parse, left out"),
        ("refused", "trades a double cannot hold exactly, left out"),
        ("missing_ids", "trade ids absent between the first and the last"),
    ):
        if summary[name]:
            click.echo(f"  {summary[name]} {words}")
    for timeframe, found in summary["timeframes"].items():
        partial = found["possibly_partial"]
        shown = ", ".join(partial[:4]) + (f" and {len(partial) - 4} more" if len(partial) > 4 else "")
        click.echo(f"{timeframe:>4}: {found['rows']} candles, possibly partial: {shown}")
    click.echo(f"written to {summary['out']}")
