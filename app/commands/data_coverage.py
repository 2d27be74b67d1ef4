"""`candlewick data markets` and `coverage`: what is stored, and the state of each minute."""

from __future__ import annotations

import json
from typing import Any

import click

from app.commands.data_options import (
    SHOWN,
    chosen_markets,
    from_option,
    json_option,
    refuse_backwards,
    some_exchange_option,
    some_symbol_option,
    to_option,
)
from app.composition import now_us, open_store
from config.settings import load_settings
from data.coverage import MinuteState, minute_counts, minute_states
from data.files.candle_files import opened_at_text
from data.models import Market
from data.timeframes import Timeframe
from database.repositories.candle_repository import CandleRepository


@click.command("markets")
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


@click.command("coverage")
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
