"""`candlewick data`: look into, load, dump and prove the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from app.commands.candles import (
    SymbolType,
    TimeframesType,
    contract_size_option,
    exchange_option,
    symbol_option,
    trades_of_file,
)
from app.composition import Store, now_us, open_store
from config.settings import Settings
from data.errors import InvalidInput, Problem
from data.exchanges.registry import EXCHANGES
from data.files.candle_files import opened_at_text, read_candles, write_candles
from data.files.frame_trades import FrameTrades
from data.files.trade_columns import TradeColumns
from data.files.trade_files import write_trades
from data.models import Market, TradeGap, TradeRun
from data.stores import MarketBatch
from data.timeframes import Timeframe, to_us
from data.coverage import coverage_of
from database.features import Retention
from database.market_queries import as_candles
from database.rebuilding import CandleDifference, differences, inside_runs, rebuilt_candles
from database.repositories.candle_repository import CandleRepository
from database.trade_ledger import runs_of

_DAY_US = Timeframe.D1.us
_SHOWN = 20  # differences and holes printed for people; --json has all


class TimeType(click.ParamType[int]):
    """ISO 8601, UTC where it names no zone; microseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            at = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is no time; expected one like 2024-08-08 or 2024-08-08T23:55:00Z", param, ctx
            )
        return to_us(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


_timeframe_choice = click.Choice([timeframe.value for timeframe in Timeframe])
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_from_option = click.option("--from", "start_us", type=TimeType(), help="From this time on (UTC).")
_to_option = click.option("--to", "end_us", type=TimeType(), help="Up to this time, itself left out (UTC).")
_some_exchange_option = click.option(
    "--exchange", type=click.Choice(sorted(EXCHANGES)), help="This venue alone."
)
_some_symbol_option = click.option("--symbol", type=SymbolType(), help="This symbol alone.")


@click.group()
def command() -> None:
    """Look into, load, dump and prove the store."""


@command.command("import")
@click.option("--candles", "candle_file", type=click.Path(path_type=Path), help="A file of candles.")
@click.option(
    "--trades", "trade_file", type=click.Path(path_type=Path), help="A file of trades or of raw frames."
)
@exchange_option
@symbol_option
@click.option(
    "--timeframe", type=_timeframe_choice, help="Of the candles, where the file's smallest step is not it."
)
@contract_size_option
@_json_option
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
        ohlcv = read_candles(candle_file, None if timeframe is None else Timeframe(timeframe))
        with open_store(Settings()) as store:
            stored = asyncio.run(_closing(store, store.market_repository.import_candles(market, ohlcv)))
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
        with open_store(Settings()) as store:
            built = asyncio.run(_closing(store, _import_trades(store, market, found.columns)))
        summary = {
            "market": str(market),
            "trades": len(found.columns),
            "duplicates": found.duplicates,
            "malformed": found.malformed if isinstance(found, FrameTrades) else 0,
            "refused": found.refused if isinstance(found, FrameTrades) else 0,
            **built,
        }
        _warn_of_retention(found.columns)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    for name, value in summary.items():
        click.echo(f"{name.replace('_', ' ')}: {value}")


@command.command("export")
@exchange_option
@symbol_option
@click.option("--timeframe", type=_timeframe_choice, help="Export candles of this time frame.")
@click.option("--trades", is_flag=True, help="Export trades.")
@_from_option
@_to_option
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The file: .csv, .csv.gz, .parquet."
)
@_json_option
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
    with open_store(Settings()) as store:
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
@_json_option
def markets(as_json: bool) -> None:
    """List the markets in the store, with what is stored of each."""
    with open_store(Settings()) as store:
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
@_some_exchange_option
@_some_symbol_option
@_json_option
def coverage(exchange: str | None, symbol: str | None, as_json: bool) -> None:
    """Show, for each recorded market, which minutes are complete and which are missing, and why.

    A minute is complete when the ledger holds every trade id of it. Minutes missing in the ledger may have
    the venue's own candle all the same; they are counted beside.
    """
    with open_store(Settings()) as store:
        reader = store.candle_repository
        rows = [_coverage_row(reader, market) for market in _chosen(reader, exchange, symbol)]
    if as_json:
        click.echo(json.dumps({"markets": rows}, indent=2))
        return
    if not rows:
        click.echo("no trades have been recorded")
    for row in rows:
        minutes = row["minutes"]
        click.echo(
            f"{row['market']}: {minutes['complete']} minutes complete, {minutes['missing']} missing "
            f"({minutes['with_venue_candle']} of them have the venue's own candle)"
        )
        for hole in row["missing"][:_SHOWN]:
            click.echo(f"    missing {hole['from']} to {hole['to']}: {hole['reason'] or 'not known why'}")
        if len(row["missing"]) > _SHOWN:
            click.echo(f"    and {len(row['missing']) - _SHOWN} more")


@command.command("verify")
@_some_exchange_option
@_some_symbol_option
@click.option("--timeframes", type=TimeframesType(), help="Time frames with commas; all unless given.")
@_from_option
@_to_option
@_json_option
@click.pass_context
def verify(
    ctx: click.Context,
    exchange: str | None,
    symbol: str | None,
    timeframes: tuple[Timeframe, ...] | None,
    start_us: int | None,
    end_us: int | None,
    as_json: bool,
) -> None:
    """Prove the store: every id of the ledger is there once, every candle is what its trades make it.

    Volumes are compared to 1e-9, all else exactly. Exit status 1 where anything differs.
    """
    with open_store(Settings()) as store:
        reader = store.candle_repository
        rows = [
            _verified(reader, market, timeframes or tuple(Timeframe), start_us, end_us)
            for market in _chosen(reader, exchange, symbol)
        ]
    failed = any(row["id_faults"] or row["differences"] for row in rows)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "markets": rows}, indent=2))
    else:
        for row in rows:
            _print_verified(row)
        if not rows:
            click.echo("no trades have been recorded")
    if failed:
        ctx.exit(1)


async def _closing(store: Store, work: Any) -> Any:
    """Await `work` and leave no connection behind in the loop that ends with it."""
    try:
        return await work
    finally:
        await store.market_repository.close()


async def _import_trades(store: Store, market: Market, columns: TradeColumns) -> dict[str, Any]:
    writer, reader = store.market_repository, store.candle_repository
    stored = await writer.import_trades(market, columns)
    runs = runs_of(columns.trade_id, columns.traded_at_us)
    await writer.save(MarketBatch(trades=[], candles=[], runs=[(market, run) for run in runs]))
    candles = 0
    for span in rebuilt_candles(
        reader,
        market,
        reader.runs(market),
        Timeframe,
        start_us=int(columns.traded_at_us.min()),
        end_us=int(columns.traded_at_us.max()) + 1,
    ):
        found = as_candles(span.built, market)
        await writer.save(MarketBatch(trades=[], candles=found, runs=[]))
        candles += len(found)
    return {"new_trades": stored, "runs": len(runs), "candles_built": candles}


def _warn_of_retention(columns: TradeColumns) -> None:
    days = Retention().trades_days
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


def _chosen(reader: CandleRepository, exchange: str | None, symbol: str | None) -> list[Market]:
    recorded = reader.recorded_markets()
    chosen = [
        market
        for market in recorded
        if exchange in (None, market.exchange) and symbol in (None, market.symbol)
    ]
    if not chosen and (exchange is not None or symbol is not None):
        names = ", ".join(str(market) for market in recorded) or "none yet"
        raise InvalidInput(
            Problem(
                where="--symbol" if symbol is not None else "--exchange",
                field="",
                value=":".join(part for part in (exchange, symbol) if part is not None),
                expected=f"expected a recorded market: {names}",
            )
        )
    return chosen


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


def _coverage_row(reader: CandleRepository, market: Market) -> dict[str, Any]:
    runs, gaps = reader.runs(market), reader.gaps(market)
    found = coverage_of(runs)
    with_venue_candle = sum(
        len(reader.candles(market, Timeframe.M1, start_us=start_us, end_us=end_us))
        for start_us, end_us in found.missing
    )
    return {
        "market": str(market),
        "exchange": market.exchange,
        "symbol": market.symbol,
        "from": opened_at_text(found.complete[0][0]) if found.complete else None,
        "to": opened_at_text(found.complete[-1][1]) if found.complete else None,
        "minutes": {
            "complete": found.complete_count,
            "missing": found.missing_count,
            "with_venue_candle": with_venue_candle,
        },
        "missing": [
            {
                "from": opened_at_text(start_us),
                "to": opened_at_text(end_us),
                "reason": _reason(runs, gaps, start_us, end_us),
            }
            for start_us, end_us in found.missing
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


def _reason(runs: Sequence[TradeRun], gaps: Sequence[TradeGap], start_us: int, end_us: int) -> str:
    """Why the ids between the runs on both sides of a hole are absent, where the ledger says so."""
    before = [run.last_id for run in runs if run.last_at_us < end_us and run.first_at_us < start_us]
    after = [run.first_id for run in runs if run.last_at_us >= end_us]
    if not before or not after:
        return ""
    first_id, last_id = max(before) + 1, min(after) - 1
    reasons = {gap.reason for gap in gaps if gap.first_id <= last_id and gap.last_id >= first_id}
    return ", ".join(sorted(reasons))


def _verified(
    reader: CandleRepository,
    market: Market,
    timeframes: Sequence[Timeframe],
    start_us: int | None,
    end_us: int | None,
) -> dict[str, Any]:
    runs, faults = _checked_runs(reader, market)
    oldest_second_us = reader.oldest_candle_us(market, Timeframe.S1)
    compared = 0
    found: list[CandleDifference] = []
    spans = (
        rebuilt_candles(
            reader,
            market,
            runs,
            timeframes,
            start_us=max(start_us or runs[0].first_at_us, runs[0].first_at_us),
            end_us=min(end_us or runs[-1].last_at_us + 1, runs[-1].last_at_us + 1),
        )
        if runs
        else ()
    )
    for span in spans:
        timeframe = span.built.ohlcv.timeframe
        stored = reader.built_candles(market, timeframe, start_us=span.start_us, end_us=span.end_us)
        compared += len(span.built.ohlcv)
        found += [
            difference
            for difference in differences(inside_runs(stored, runs), span.built)
            # One-second candles are kept for a shorter time than trades.
            if timeframe is not Timeframe.S1
            or (oldest_second_us is not None and difference.opened_at_us >= oldest_second_us)
        ]
    return {
        "market": str(market),
        "exchange": market.exchange,
        "symbol": market.symbol,
        "trades_since": opened_at_text(runs[0].first_at_us) if runs else None,
        "ids_in_ledger": sum(run.last_id - run.first_id + 1 for run in runs),
        "id_faults": [
            {"after_id": before, "next_id": after, "kind": "twice" if after == before else "absent"}
            for before, after in faults
        ],
        "candles_compared": compared,
        "differences": [
            {
                "timeframe": difference.timeframe.value,
                "opened_at": opened_at_text(difference.opened_at_us),
                "field": difference.field,
                "stored": difference.stored,
                "rebuilt": difference.rebuilt,
            }
            for difference in found
        ],
    }


def _checked_runs(reader: CandleRepository, market: Market) -> tuple[list[TradeRun], list[tuple[int, int]]]:
    """The runs as far as retention has left their trades, and where their ids are not stored one by one."""
    days = Retention().trades_days
    expires_us = 0 if days is None else now_us() - days * _DAY_US
    oldest_us = reader.oldest_trade_us(market)
    runs, faults = [], []
    for run in reader.runs(market):
        expired = run.first_at_us < expires_us and (oldest_us is None or run.first_at_us < oldest_us)
        if expired and run.last_at_us < expires_us and (oldest_us is None or run.last_at_us < oldest_us):
            continue
        found = reader.id_faults(market, run.first_id, run.last_id)
        if expired and oldest_us is not None:
            if found and found[0][0] == run.first_id - 1:
                del found[0]
            run = TradeRun(
                first_id=run.first_id,
                last_id=run.last_id,
                first_at_us=oldest_us,
                last_at_us=run.last_at_us,
            )
        runs.append(run)
        faults += found
    return runs, faults


def _print_verified(row: dict[str, Any]) -> None:
    faults, found = row["id_faults"], row["differences"]
    click.echo(
        f"{row['market']}: {row['ids_in_ledger']} ids, {len(faults)} faults; "
        f"{row['candles_compared']} candles rebuilt, {len(found)} differences"
    )
    for fault in faults[:_SHOWN]:
        if fault["kind"] == "twice":
            click.echo(f"    id {fault['next_id']} is stored twice")
        else:
            click.echo(f"    ids {fault['after_id'] + 1} to {fault['next_id'] - 1} are absent")
    for difference in found[:_SHOWN]:
        click.echo(
            f"    {difference['timeframe']} {difference['opened_at']} {difference['field']}: "
            f"stored {difference['stored']}, its trades make {difference['rebuilt']}"
        )
