"""`candlewick data backfill`, `repair` and `maintain`: fetching the past, once or all the time."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from app.commands.candles import SymbolType, TimeframesType
from app.commands.data_options import (
    chosen_markets,
    from_option,
    json_option,
    refuse_backwards,
    some_exchange_option,
    some_symbol_option,
    to_option,
)
from app.composition import now_us, open_store
from app.history_loading import USUAL_TIMEFRAMES, backfilled, fetched_row
from app.installation import Installation
from app.parent_watch import watch_parent
from app.processes.maintenance import (
    MarketRepair,
    maintain,
    repair_markets,
)
from app.retention import kept_days
from app.services import database_in_reach
from app.stop_signals import run_until_signalled
from config.logging import configure_logging
from config.settings import Settings, load_settings
from data.collectors.backfill import OnProgress
from data.errors import InvalidInput, Problem
from data.exchanges.registry import EXCHANGES
from data.models import Market
from data.timeframes import Timeframe, to_datetime
from database.repositories.history_repository import HistoryRepository

_DAY_US = Timeframe.D1.us
_LINE_EVERY_S = 2.0


@contextmanager
def told_progress(label: str) -> Iterator[OnProgress]:
    """A bar with an estimate on standard error, from the first report on; lines where that is no terminal."""
    if not sys.stderr.isatty():
        yield _ProgressLines(label)
        return
    with ExitStack() as stack:
        bars: list[Any] = []  # none before the first report

        def tell(done: int, whole: int) -> None:
            if not bars:
                bar = click.progressbar(length=max(whole, 1), label=label, file=sys.stderr, show_pos=True)
                bars.append(stack.enter_context(bar))
            bars[0].update(max(0, done - bars[0].pos))

        yield tell


class _ProgressLines:
    """A line on standard error every few seconds, and one at the end."""

    def __init__(self, label: str) -> None:
        self._label, self._began_s, self._told_s = label, time.monotonic(), -math.inf
        self._finished = False

    def __call__(self, done: int, whole: int) -> None:
        now_s = time.monotonic()
        finished = done >= whole
        if self._finished or (not finished and now_s - self._told_s < _LINE_EVERY_S):
            return
        self._told_s, self._finished = now_s, finished
        share = min(done / whole, 1.0) if whole else 1.0
        left = ""
        if 0 < share < 1:
            left = f", about {math.ceil((now_s - self._began_s) * (1 / share - 1))} s left"
        click.echo(f"{self._label}: {done} of {whole}, {share:.0%}{left}", err=True)


@click.command("backfill")
@click.option(
    "--venue", "exchange", required=True, type=click.Choice(sorted(EXCHANGES)), help="Fetch from this venue."
)
@click.option(
    "--symbol", required=True, type=SymbolType(), help="Fetch this symbol: BTC-USDT, BTC-USDT-PERP."
)
@from_option
@to_option
@click.option("--trades", is_flag=True, help="Fetch the trades too, by their ids, and build their candles.")
@click.option("--timeframes", type=TimeframesType(), help="With commas; all but 1s unless given.")
@json_option
def backfill(
    exchange: str,
    symbol: str,
    start_us: int | None,
    end_us: int | None,
    trades: bool,
    timeframes: tuple[Timeframe, ...] | None,
    as_json: bool,
) -> None:
    """Fetch a market's history from the venue: its candles, and with --trades its trades.

    It may be ended at any moment and started again: what is stored is not fetched again. It goes at half the
    pace the venue allows, so that collectors are not kept waiting. Candles built from trades stay.
    """
    if start_us is None:
        raise click.UsageError("say with --from since when")
    refuse_backwards(start_us, end_us)
    at_us = now_us()
    if start_us >= at_us:
        raise InvalidInput(
            Problem(
                where="--from",
                field="",
                value=to_datetime(start_us).isoformat(),
                expected="expected a time in the past",
            )
        )
    end_us = at_us if end_us is None else min(end_us, at_us)
    settings, market = load_settings(), Market(exchange, symbol)
    configure_logging(settings.candlewick_log_level, process="data backfill")
    with open_store(settings) as store:
        summary = asyncio.run(
            backfilled(
                settings,
                store.url,
                market,
                (start_us, end_us),
                timeframes=timeframes or USUAL_TIMEFRAMES,
                trades=trades,
                watch=told_progress,
            )
        )
        days = kept_days(store.url).trades_days
    if trades and days is not None and start_us < now_us() - days * _DAY_US:
        click.echo(
            f"note: trades older than {days} days are deleted by retention; their candles stay", err=True
        )
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    for timeframe, count in summary["candles"].items():
        click.echo(f"{market} {timeframe}: {count} candles of the venue fetched")
    if summary["trades"] is not None:
        click.echo(f"{market}: {_fetched_text(summary['trades'])}")


@click.command("repair")
@some_exchange_option
@some_symbol_option
@click.option("--again", is_flag=True, help="Ask also for what the venue was found to lack before.")
@json_option
@click.pass_context
def repair(ctx: click.Context, exchange: str | None, symbol: str | None, again: bool, as_json: bool) -> None:
    """Fetch every trade that the store lacks and the venue still has, and mend the candles it touches.

    Missing are ids between recorded runs, and those that were deleted behind the ledger. Trades that were
    altered behind it are fetched anew, and candles that are not what their trades make are built again. Exit
    status 1 where a venue could not be asked.
    """
    settings = load_settings()
    configure_logging(settings.candlewick_log_level, process="data repair")
    with open_store(settings) as store, ExitStack() as stack:
        markets = chosen_markets(store.candle_repository, exchange, symbol)
        repairs = asyncio.run(_repaired(settings, store.url, markets, again, stack))
    failed = any(found.failure for found in repairs)
    if as_json:
        rows = [
            {"market": str(found.market), **fetched_row(found.fetched), "failure": found.failure or None}
            for found in repairs
        ]
        click.echo(json.dumps({"ok": not failed, "markets": rows}, indent=2))
    else:
        if not repairs:
            click.echo("no trades have been recorded")
        for found in repairs:
            text = found.failure or _fetched_text(fetched_row(found.fetched))
            click.echo(f"{found.market}: {text}")
    if failed:
        ctx.exit(1)


@click.command("maintain")
def maintain_command() -> None:
    """Keep the store whole until ended: repair at once and hourly, delete daily what is past its time."""
    supervised = watch_parent()
    settings = load_settings()
    configure_logging(settings.candlewick_log_level, process="maintain")
    with database_in_reach(settings, Installation(settings.candlewick_home), prepared=supervised) as url:
        asyncio.run(run_until_signalled(maintain(settings, url)))


async def _repaired(
    settings: Settings, url: str, markets: list[Market], again: bool, stack: ExitStack
) -> list[MarketRepair]:
    unknown = [market for market in markets if market.exchange not in EXCHANGES]
    if unknown:
        raise InvalidInput(
            Problem(
                where="--exchange",
                field="",
                value=unknown[0].exchange,
                expected=f"expected a venue that can be asked: {', '.join(sorted(EXCHANGES))}",
            )
        )
    store = HistoryRepository(url, clock_us=now_us)
    try:
        return await repair_markets(
            settings,
            store,
            markets,
            again=again,
            check_since_us=0,
            watch=lambda market: stack.enter_context(told_progress(str(market))),
        )
    finally:
        await store.close()


def _fetched_text(row: dict[str, int]) -> str:
    if row["ids_missing"] == row["ids_altered"] == row["candles_built"] == 0:
        return "nothing was missing"
    altered = ""
    if row["ids_altered"]:
        altered = f"trades altered among {row['ids_altered']} ids, {row['ids_mended']} fetched anew; "
    return (
        f"{row['ids_missing']} ids were missing; {row['trades_stored']} trades stored, "
        f"{row['absent_at_venue']} the venue has not got; {altered}{row['candles_built']} candles built"
    )
