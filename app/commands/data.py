"""`candlewick data`: look into, load, dump and prove the store."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from app.commands.candles import contract_size_option, exchange_option, symbol_option, trades_of_file
from app.commands.data_history import backfill, maintain_command, repair
from app.commands.data_instruments import instruments
from app.commands.data_options import (
    SHOWN,
    chosen_markets,
    from_option,
    json_option,
    refuse_backwards,
    some_exchange_option,
    some_symbol_option,
    timeframe_choice,
    to_option,
)
from app.commands.data_verify import verify
from app.composition import now_us, open_store
from app.history_loading import closing_writer, import_trades
from app.retention import kept_days
from config.settings import load_settings
from data.coverage import MinuteState, minute_counts, minute_states
from data.errors import InvalidInput, Problem
from data.files.candle_files import opened_at_text, read_candles, write_candles
from data.files.frame_trades import FrameTrades
from data.files.trade_columns import TradeColumns
from data.files.trade_files import write_trades
from data.models import Market
from data.timeframes import Timeframe
from database.features import Retention
from database.repositories.candle_repository import CandleRepository

_DAY_US = Timeframe.D1.us


@click.group()
def command() -> None:
    """Look into, load, dump, complete and prove the store."""


@command.command("import")
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


@command.command("export")
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


@command.command("markets")
@json_option
def markets(as_json: bool) -> None:
    """List the markets in the store, with what is stored of each."""
    with open_store(load_settings()) as store:
        reader = store.candle_repository
        found = sorted({*reader.markets(), *reader.recorded_markets()})
        rows = [_market_row(reader, market) for market in found]
    if as_json:
        click.echo(json.dumps({"markets": rows}, indent=2))
        return
    if not rows:
        click.echo("the store is empty")
    for row in rows:
        recorded = f"trades since {row['trades_since']}" if row["trades_since"] else "no trades"
        frames = ", ".join(row["timeframes"]) or "none"
        click.echo(f"{row['market']}: {recorded}; candles: {frames}")


@command.command("coverage")
@some_exchange_option
@some_symbol_option
@from_option
@to_option
@json_option
def coverage(
    exchange: str | None, symbol: str | None, start_us: int | None, end_us: int | None, as_json: bool
) -> None:
    """Show the state of each minute of each recorded market: complete, repaired, venue_down or missing.

    A minute is complete when the ledger holds every trade id of it, repaired when some of them came later.
    Minutes that are missing may have the venue's own candle all the same; they are counted beside.
    """
    refuse_backwards(start_us, end_us)
    with open_store(load_settings()) as store:
        reader = store.candle_repository
        rows = [
            _coverage_row(reader, market, start_us, end_us)
            for market in chosen_markets(reader, exchange, symbol)
        ]
    if as_json:
        click.echo(json.dumps({"markets": rows}, indent=2))
        return
    if not rows:
        click.echo("no trades have been recorded")
    for row in rows:
        minutes = row["minutes"]
        click.echo(
            f"{row['market']}: {minutes['complete']} minutes complete, {minutes['repaired']} repaired, "
            f"{minutes['venue_down']} with the venue down, {minutes['missing']} missing "
            f"({minutes['with_venue_candle']} of them have the venue's own candle)"
        )
        for span in row["spans"][:SHOWN]:
            reason = f": {span['reason'].replace('_', ' ')}" if span["reason"] else ""
            click.echo(f"    {span['from']} to {span['to']} {span['state'].replace('_', ' ')}{reason}")
        if len(row["spans"]) > SHOWN:
            click.echo(f"    and {len(row['spans']) - SHOWN} more; --json lists them all")


for _part in (instruments, verify, backfill, repair, maintain_command):
    command.add_command(_part)


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


def _market_row(reader: CandleRepository, market: Market) -> dict[str, Any]:
    oldest_us = reader.oldest_trade_us(market)
    frames = {}
    for timeframe in Timeframe:
        first_us = reader.oldest_candle_us(market, timeframe)
        if first_us is not None:
            newest = reader.candles(market, timeframe, limit=1)
            frames[timeframe.value] = {
                "from": opened_at_text(first_us),
                "to": opened_at_text(int(newest.opened_at_us[0])),
            }
    return {
        "market": str(market),
        "exchange": market.exchange,
        "symbol": market.symbol,
        "trades_since": None if oldest_us is None else opened_at_text(oldest_us),
        "timeframes": frames,
    }


def _coverage_row(
    reader: CandleRepository, market: Market, start_us: int | None, end_us: int | None
) -> dict[str, Any]:
    runs, gaps = reader.runs(market), reader.gaps(market)
    spans = minute_states(
        runs,
        gaps,
        reader.repairs(market),
        reader.outages(market),
        start_us=start_us,
        # What has not happened yet is not missing.
        end_us=None if end_us is None else min(end_us, now_us()),
    )
    counts = minute_counts(spans)
    missing = [span for span in spans if span.state is MinuteState.MISSING]
    with_venue_candle = sum(
        len(reader.candles(market, Timeframe.M1, start_us=span.start_us, end_us=span.end_us))
        for span in missing
    )
    return {
        "market": str(market),
        "exchange": market.exchange,
        "symbol": market.symbol,
        "from": opened_at_text(spans[0].start_us) if spans else None,
        "to": opened_at_text(spans[-1].end_us) if spans else None,
        "minutes": {
            **{state.value: count for state, count in counts.items()},
            "with_venue_candle": with_venue_candle,
        },
        "spans": [
            {
                "from": opened_at_text(span.start_us),
                "to": opened_at_text(span.end_us),
                "state": span.state.value,
                "reason": span.reason,
            }
            for span in spans
        ],
        "runs": [
            {
                "first_id": run.first_id,
                "last_id": run.last_id,
                "first_at": opened_at_text(run.first_at_us),
                "last_at": opened_at_text(run.last_at_us),
            }
            for run in runs
        ],
        "gaps": [
            {
                "first_id": gap.first_id,
                "last_id": gap.last_id,
                "reason": gap.reason,
                "found_at": opened_at_text(gap.found_at_us),
            }
            for gap in gaps
        ],
    }
