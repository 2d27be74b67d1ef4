"""`candlewick data verify`: every id is there once, every candle is what its trades make it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from app.commands.candles import TimeframesType
from app.commands.data_history import told_progress
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
from app.processes.maintenance import venue_history
from app.retention import kept_days
from config.settings import Settings, load_settings
from data.collectors.venue_check import VenueCheck, check_against_venue
from data.errors import InvalidInput, Problem
from data.exchanges.registry import product_of
from data.files.candle_files import opened_at_text
from data.models import Market
from data.timeframes import Timeframe
from database.proving import MarketProof, prove
from database.rebuilding import CandleDifference, likely_causes
from database.repositories.candle_repository import CandleRepository
from database.repositories.market_repository import MarketRepository

_DAY_US = Timeframe.D1.us
_ABSENT = "the trades were deleted behind the ledger"
_ALTERED = "a trade was altered behind the ledger"
_MOVED = "a trade was altered or moved to another time behind the ledger"
_TWICE = "the trade was stored again with another time"


@click.command("verify")
@some_exchange_option
@some_symbol_option
@click.option("--timeframes", type=TimeframesType(), help="Time frames with commas; all unless given.")
@from_option
@to_option
@click.option(
    "--against-venue", is_flag=True, help="Compare trades and one-minute candles with the venue's own, too."
)
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    exchange: str | None,
    symbol: str | None,
    timeframes: tuple[Timeframe, ...] | None,
    start_us: int | None,
    end_us: int | None,
    against_venue: bool,
    as_json: bool,
) -> None:
    """Prove the store: ids are there once, trades as they were written, candles as their trades make them.

    Also compared are the venue's own candles where its stream brought them. Volumes are compared to 1e-9, all
    else exactly; each difference is told with its likely cause. With --from and --to, ids are looked for
    throughout all the same. Exit status 1 where anything differs.
    """
    refuse_backwards(start_us, end_us)
    settings = load_settings()
    with open_store(settings) as store:
        reader = store.candle_repository
        rows = []
        expires_us = _expires_us(store.url)
        for market in chosen_markets(reader, exchange, symbol):
            row = _verified(reader, market, timeframes or tuple(Timeframe), start_us, end_us, expires_us)
            if against_venue:
                row["venue"] = _venue_row(
                    asyncio.run(_checked(settings, store.url, reader, market, start_us, end_us))
                )
            rows.append(row)
    failed = any(
        row["id_faults"]
        or row["altered_minutes"]
        or row["differences"]
        or row["venue_candle_differences"]
        or row.get("venue", {}).get("differences")
        for row in rows
    )
    if as_json:
        click.echo(json.dumps({"ok": not failed, "markets": rows}, indent=2))
    else:
        for row in rows:
            _print_verified(row)
        if not rows:
            click.echo("no trades have been recorded")
    if failed:
        ctx.exit(1)


async def _checked(
    settings: Settings,
    url: str,
    reader: CandleRepository,
    market: Market,
    start_us: int | None,
    end_us: int | None,
) -> VenueCheck:
    runs = reader.runs(market)
    instrument = reader.instrument(market)
    if instrument is None:
        raise InvalidInput(
            Problem(
                where="--against-venue",
                field="",
                value=str(market),
                expected="expected a market recorded from the venue, or run `data backfill` for it first",
            )
        )
    oldest_us = reader.oldest_trade_us(market) or runs[0].first_at_us
    store = MarketRepository(url)
    try:
        product = product_of(market.exchange, market.symbol)
        async with venue_history(settings, market.exchange, product) as (adapter, rest):
            adapter.use([instrument])
            with told_progress(f"{market} against the venue") as tell:
                return await check_against_venue(
                    rest,
                    store,
                    market,
                    max(start_us or oldest_us, oldest_us),
                    min(end_us or runs[-1].last_at_us + 1, runs[-1].last_at_us + 1),
                    page_ids=adapter.limits.history_page,
                    on_progress=tell,
                )
    finally:
        await store.close()


def _venue_row(check: VenueCheck) -> dict[str, Any]:
    return {
        "trades_compared": check.trades,
        "trades_the_venue_no_longer_tells": check.trades_not_told,
        "candles_compared": check.candles,
        "differences": [asdict(difference) for difference in check.differences],
    }


def _verified(
    reader: CandleRepository,
    market: Market,
    timeframes: Sequence[Timeframe],
    start_us: int | None,
    end_us: int | None,
    expires_us: int,
) -> dict[str, Any]:
    proof = prove(reader, market, timeframes, start_us=start_us, end_us=end_us, expires_us=expires_us)
    runs = proof.runs
    causes = likely_causes(proof.differences, timeframes, proof.absent)
    return {
        "market": str(market),
        "exchange": market.exchange,
        "symbol": market.symbol,
        "trades_since": opened_at_text(runs[0].first_at_us) if runs else None,
        "ids_in_ledger": sum(run.last_id - run.first_id + 1 for run in runs),
        "id_faults": [
            {
                "after_id": before,
                "next_id": after,
                "kind": "twice" if after == before else "absent",
                "likely_cause": _TWICE if after == before else _ABSENT,
            }
            for before, after in proof.faults
        ],
        "altered_minutes": [
            {
                "minute": opened_at_text(changed.minute_us),
                "trades_written": changed.written,
                "trades_stored": changed.stored,
                "likely_cause": _ALTERED if changed.stored == changed.written else _MOVED,
            }
            for changed in proof.changed
        ],
        "candles_compared": proof.candles,
        "differences": [
            {
                "timeframe": difference.timeframe.value,
                "opened_at": opened_at_text(difference.opened_at_us),
                "field": difference.field,
                "stored": difference.stored,
                "rebuilt": difference.rebuilt,
                "likely_cause": cause,
            }
            for difference, cause in zip(proof.differences, causes, strict=True)
        ],
        "venue_candles_compared": proof.venue_candles,
        "venue_candle_differences": [
            {
                "timeframe": difference.timeframe.value,
                "opened_at": opened_at_text(difference.opened_at_us),
                "field": difference.field,
                "stored": difference.stored,
                "venue": difference.rebuilt,
                "likely_cause": _venue_cause(difference, proof),
            }
            for difference in proof.venue_differences
        ],
    }


def _expires_us(database_url: str) -> int:
    days = kept_days(database_url).trades_days
    return 0 if days is None else now_us() - days * _DAY_US


def _venue_cause(difference: CandleDifference, proof: MarketProof) -> str:
    """Why our candle is not the one that the venue told, as far as the rest of the proof says."""
    end_us = difference.opened_at_us + difference.timeframe.us
    ours = {(found.timeframe, found.opened_at_us) for found in proof.differences}
    if (difference.timeframe, difference.opened_at_us) in ours:
        return "our candle is not what its trades make it"
    if any(difference.opened_at_us <= changed.minute_us < end_us for changed in proof.changed):
        return "a trade of it was altered"
    return "the venue told its candle before the last trades of it, or has corrected it since"


def _print_verified(row: dict[str, Any]) -> None:
    faults, found = row["id_faults"], row["differences"]
    click.echo(
        f"{row['market']}: {row['ids_in_ledger']} ids, {len(faults)} faults; "
        f"{row['candles_compared']} candles rebuilt, {len(found)} differences"
    )
    for fault in faults[:SHOWN]:
        if fault["kind"] == "twice":
            click.echo(f"    id {fault['next_id']} is stored twice: {fault['likely_cause']}")
        else:
            ids = f"{fault['after_id'] + 1} to {fault['next_id'] - 1}"
            click.echo(f"    ids {ids} are absent: {fault['likely_cause']}")
    for difference in found[:SHOWN]:
        click.echo(
            f"    {difference['timeframe']} {difference['opened_at']} {difference['field']}: "
            f"stored {difference['stored']}, its trades make {difference['rebuilt']}; "
            f"{difference['likely_cause']}"
        )
    for altered in row["altered_minutes"][:SHOWN]:
        click.echo(
            f"    {altered['minute']}: {altered['trades_stored']} trades stored, {altered['trades_written']} "
            f"written; {altered['likely_cause']}"
        )
    if row["venue_candles_compared"]:
        click.echo(
            f"    the venue's candles as its stream told them: {row['venue_candles_compared']} compared, "
            f"{len(row['venue_candle_differences'])} differences"
        )
    for difference in row["venue_candle_differences"][:SHOWN]:
        click.echo(
            f"    {difference['timeframe']} {difference['opened_at']} {difference['field']}: "
            f"stored {difference['stored']}, the venue told {difference['venue']}; "
            f"{difference['likely_cause']}"
        )
    venue = row.get("venue")
    if venue is None:
        return
    click.echo(
        f"    the venue's own: {venue['trades_compared']} trades and {venue['candles_compared']} candles "
        f"compared, {len(venue['differences'])} differences; "
        f"{venue['trades_the_venue_no_longer_tells']} trades it no longer tells"
    )
    for difference in venue["differences"][:SHOWN]:
        click.echo(
            f"    {difference['kind']} {difference['key']} {difference['field']}: "
            f"stored {difference['stored']}, the venue has {difference['venue']}"
        )
