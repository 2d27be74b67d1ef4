"""`candlewick parity`: a bot's day run again as a backtest of the stored data, and every difference named."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import click
import msgspec

from app.commands.assignments import parameters_of
from app.composition import now_us, open_store
from app.parity_evidence import trade_evidence
from app.retention import kept_days
from app.strategy_desk import bot_strategies
from backtesting.parity_day import OtherTerms, ParityReport, check_parity
from bots.config import BotConfig
from bots.parity import iso
from config.settings import load_settings
from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe, floor_to, to_us
from database.repositories.bot_repository import BotRepository
from strategies.base import Strategy

_DAY_US = Timeframe.D1.us
_SHOWN = 50
_bps = click.FloatRange(min=0, max=1_000)


@click.command("parity")
@click.option("--bot", "name", required=True, help="The bot's name.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="A UTC day; its newest day if left out.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Replay with another parameter.")
@click.option("--fee-bps", type=_bps, help="Replay with another taker fee.")
@click.option("--maker-fee-bps", type=_bps, help="Replay with another maker fee.")
@click.option("--slippage-bps", type=_bps, help="Replay with another slippage.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    name: str,
    day: datetime | None,
    params: tuple[str, ...],
    fee_bps: float | None,
    maker_fee_bps: float | None,
    slippage_bps: float | None,
    as_json: bool,
) -> None:
    """Run a paper bot's day again as a backtest and list every difference, each with its cause.

    The replay begins with the account as it stood at the day's first candle and runs over the candles that
    are stored now, by the settings and the version of the strategy that the bot had. What gates held back
    and people did is taken over and listed. Exit status 0 if all is identical, 1 if anything differs.
    """
    settings = load_settings()
    others = OtherTerms(
        parameters=parameters_of(params) or None,
        fee_bps=_exact(fee_bps),
        maker_fee_bps=_exact(maker_fee_bps),
        slippage_bps=_exact(slippage_bps),
    )
    with (
        open_store(settings) as store,
        closing(BotRepository(store.url)) as kept,
        bot_strategies(settings, store.url) as load_named,
    ):
        view = store.bots.bot(name)
        source, _ = store.bots.settings(name)
        start_us = _day_of(view.last_candle_us, day, name)
        end_us = start_us + _DAY_US

        def load(config: BotConfig) -> Strategy:
            return load_named(config, source)

        candles = store.candle_repository
        check = partial(
            check_parity,
            *(kept, candles, name),
            start_us=start_us,
            end_us=end_us,
            load_strategy=load,
            others=others,
        )
        report = check()
        if report.differences and view.market is not None:
            expires_us = _expires_us(store.url)
            known = [
                one
                for market in view.markets
                for one in trade_evidence(
                    candles, market, start_us=start_us, end_us=end_us, expires_us=expires_us
                )
            ]
            report = check(evidence=known)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_document(report)), indent=2).decode())
    else:
        _print(report)
    if not report.identical:
        sys.exit(1)


def _day_of(last_candle_us: int | None, day: datetime | None, name: str) -> int:
    if day is not None:
        return to_us(day.replace(tzinfo=UTC))
    if last_candle_us is None:
        raise InvalidInput(
            Problem(where=f"bot {name}", field="day", value="", expected="the bot has taken no candle yet")
        )
    return floor_to(last_candle_us, Timeframe.D1)


def _exact(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(repr(value))


def _expires_us(database_url: str) -> int:
    days = kept_days(database_url).trades_days
    return 0 if days is None else now_us() - days * _DAY_US


def _document(report: ParityReport) -> Mapping[str, Any]:
    return {
        "bot": report.bot,
        "day": iso(report.start_us)[:10],
        "identical": report.identical,
        "candles": report.candles,
        "decisions": report.decisions,
        "signals": report.signals,
        "fills": report.fills,
        "stretches": report.stretches,
        "not_replayed": report.not_replayed,
        "differences": [
            {
                "kind": str(one.kind),
                "at": iso(one.at_us),
                "bot": one.bot,
                "replay": one.replay,
                "cause": str(one.cause),
                "detail": one.detail,
            }
            for one in report.differences
        ],
        "interventions": [
            {"at": iso(one.at_us), "what": one.what, "detail": one.detail} for one in report.interventions
        ],
    }


def _print(report: ParityReport) -> None:
    click.echo(
        f"{report.bot} on {iso(report.start_us)[:10]}: {report.candles} candles, "
        f"{report.decisions} decisions, {report.signals} signals, {report.fills} fills"
    )
    if report.not_replayed:
        click.echo(
            f"{report.not_replayed} decisions could not be run again: a position was closed in a candle"
        )
    for one in report.interventions:
        click.echo(f"  {iso(one.at_us)} {one.what}: {one.detail}")
    if report.identical:
        click.echo("identical: the replay gave the same signals and the same fills")
        return
    click.echo(f"{len(report.differences)} differences:")
    for found in report.differences[:_SHOWN]:
        click.echo(f"  {iso(found.at_us)} {found.kind}: bot {found.bot}; replay {found.replay}")
        click.echo(f"      {found.cause}: {found.detail}")
    if len(report.differences) > _SHOWN:
        click.echo(f"  and {len(report.differences) - _SHOWN} more; --json lists all")
