"""`candlewick data import` and `export`: files into the store and out of it."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from app.commands.candles import contract_size_option, exchange_option, symbol_option, trades_of_file
from app.commands.data_options import from_option, json_option, timeframe_choice, to_option
from app.composition import now_us, open_store
from app.history_loading import closing_writer, import_trades
from app.retention import kept_days
from config.settings import load_settings
from data.errors import InvalidInput, Problem
from data.files.candle_files import opened_at_text, read_candles, write_candles
from data.files.frame_trades import FrameTrades
from data.files.trade_columns import TradeColumns
from data.files.trade_files import write_trades
from data.models import Market
from data.timeframes import Timeframe
from database.features import Retention

_DAY_US = Timeframe.D1.us


@click.command("import")
@click.option("--candles", "candle_file", type=click.Path(path_type=Path), help="A file of candles.")
@click.option(
    "--trades", "trade_file", type=click.Path(path_type=Path), help="A file of trades or of raw frames."
)
@exchange_option
@symbol_option
@click.option(
    "--timeframe", type=timeframe_choice, help="Of the candles, where the file's smallest step is not it."
)
@contract_size_option
@json_option
def import_(
    candle_file: Path | None,
    trade_file: Path | None,
    exchange: str,
    symbol: str,
    timeframe: str | None,
    contract_size: Decimal | None,
    as_json: bool,
) -> None:
    """Load candles, trades or raw frames of one market into the store. Harmless to repeat.

    Candles from a file never replace candles built from trades. Trades are entered into the ledger of ids,
    and the candles that they complete are built.
    """
    if (candle_file is None) == (trade_file is None):
        raise click.UsageError("give either --candles FILE or --trades FILE")
    market = Market(exchange, symbol)
    if candle_file is not None:
        wanted = None if timeframe is None else Timeframe(timeframe)
        ohlcv = read_candles(candle_file, wanted, tell=lambda sentence: click.echo(sentence, err=True))
        with open_store(load_settings()) as store:
            stored = asyncio.run(closing_writer(store, store.market_repository.import_candles(market, ohlcv)))
        summary: dict[str, Any] = {
            "market": str(market),
            "timeframe": ohlcv.timeframe.value,
            "candles": len(ohlcv),
            "new_or_changed": stored,
            "from": opened_at_text(int(ohlcv.opened_at_us[0])),
            "to": opened_at_text(int(ohlcv.opened_at_us[-1])),
        }
    else:
        assert trade_file is not None
        found = trades_of_file(trade_file, market, contract_size)
        with open_store(load_settings()) as store:
            built = asyncio.run(closing_writer(store, import_trades(store, market, found.columns)))
            kept = kept_days(store.url)
        summary = {
            "market": str(market),
            "trades": len(found.columns),
            "duplicates": found.duplicates,
            "malformed": found.malformed if isinstance(found, FrameTrades) else 0,
            "refused": found.refused,
            **built,
        }
        _warn_of_retention(found.columns, kept)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    for name, value in summary.items():
        click.echo(f"{name.replace('_', ' ')}: {value}")


@click.command("export")
@exchange_option
@symbol_option
@click.option("--timeframe", type=timeframe_choice, help="Export candles of this time frame.")
@click.option("--trades", is_flag=True, help="Export trades.")
@from_option
@to_option
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The file: .csv, .csv.gz, .parquet."
)
@json_option
def export(
    exchange: str,
    symbol: str,
    timeframe: str | None,
    trades: bool,
    start_us: int | None,
    end_us: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Write stored candles or trades of one market to a file."""
    if (timeframe is None) != trades:
        raise click.UsageError("give either --timeframe or --trades")
    market = Market(exchange, symbol)
    with open_store(load_settings()) as store:
        if timeframe is None:
            columns = store.candle_repository.trades(market, start_us=start_us, end_us=end_us)
            rows = len(columns)
            _refuse_nothing(market, "trades", rows)
            write_trades(out, columns)
        else:
            ohlcv = store.candle_repository.candles(
                market, Timeframe(timeframe), start_us=start_us, end_us=end_us
            )
            rows = len(ohlcv)
            _refuse_nothing(market, f"{timeframe} candles", rows)
            write_candles(out, ohlcv)
    if as_json:
        click.echo(json.dumps({"market": str(market), "out": str(out), "rows": rows}, indent=2))
    else:
        click.echo(f"{rows} rows of {market} written to {out}")


def _warn_of_retention(columns: TradeColumns, kept: Retention) -> None:
    days = kept.trades_days
    if days is not None and int(columns.traded_at_us.min()) < now_us() - days * _DAY_US:
        click.echo(
            f"note: trades older than {days} days are deleted by retention; their candles stay", err=True
        )


def _refuse_nothing(market: Market, kind: str, rows: int) -> None:
    if rows == 0:
        raise InvalidInput(
            Problem(
                where="--symbol",
                field="",
                value=str(market),
                expected=f"expected a market with stored {kind} in that time; `data markets` lists them",
            )
        )
