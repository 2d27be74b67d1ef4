"""`candlewick bots`: the bot manager and what people ask of it."""

from __future__ import annotations

import asyncio
import getpass
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from app.composition import open_store
from app.installation import Installation, RunningServices
from app.parent_watch import watch_parent
from app.processes.bot_runner import run_paper_bots
from app.processes.strategy_check import python_strategies
from app.services import services_in_reach
from bots.bot_manager import strategies_in
from bots.config import load_bot
from bots.lifecycle import BotState
from bots.service import BotService
from bots.views import BotView
from config.logging import configure_logging
from config.settings import Settings, load_settings
from data.models import Market
from data.timeframes import to_datetime

_WAIT_S = 3.0  # for the runner to obey, which takes a second at most
_POLL_S = 0.05
_json = msgspec.json.Encoder(decimal_format="number")  # every digit, as a JSON number
_name = click.argument("name")
_why = click.option("--why", default="", help="A reason, for the audit.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group("bots")
def command() -> None:
    """Run, list, create, start, pause, stop and show bots."""


@command.command("run")
def run() -> None:
    """Run the bots of this installation, here, until told to end.

    Files in config/bots make bots that do not exist yet and start them. A file is read when its bot starts:
    after a change, stop the bot and start it. A second runner stands by until the first one ends.
    """
    supervised = watch_parent()
    settings = load_settings()
    configure_logging(settings.candlewick_log_level, process="bots")
    installation = Installation(settings.candlewick_home)
    with services_in_reach(settings, installation, prepared=supervised) as services:
        uvloop.run(_until_told_to_stop(settings, services))


async def _until_told_to_stop(settings: Settings, services: RunningServices) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_paper_bots(settings, services, stop)


@command.command("list")
@_as_json
def list_bots(as_json: bool) -> None:
    """List every bot with its state, equity and position."""
    with open_store(load_settings()) as store:
        views = store.bots.list_bots()
    if as_json:
        _print_json({"bots": [bot_document(view) for view in views]})
        return
    if not views:
        click.echo("there are no bots yet; `candlewick bots create FILE` makes one")
    for view in views:
        click.echo(_line(view))


@command.command("create")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--start", is_flag=True, help="Start it at once.")
@_why
@_as_json
def create(file: Path, start: bool, why: str, as_json: bool) -> None:
    """Make a bot from FILE. Its strategy is read and checked; nothing is made if anything is wrong.

    A market that is not recorded (yet) is pointed out: the bot waits for its candles.
    """
    settings = load_settings()
    path = file.expanduser().absolute()
    config = load_bot(path)
    strategies_in(settings.candlewick_strategies, python_strategies())(config, str(path))
    with open_store(settings) as store:
        warn_if_unrecorded(config.market, store.candle_repository.recorded_markets())
        view = store.bots.create(config, who=_who(), why=why, start=start, source=str(path))
        if start:
            view = _once(store.bots, config.name, lambda bot: bot.state is not BotState.CREATED)
    _report(view, as_json, wanted=BotState.RUNNING if start else BotState.CREATED)


def warn_if_unrecorded(market: Market, recorded: Sequence[Market]) -> None:
    """Say on standard error that no candle of the market will come, unless its trades are recorded."""
    if market not in recorded:
        names = ", ".join(str(one) for one in recorded) or "none yet"
        click.echo(
            f"warning: {market} is not recorded, so the bot waits for candles that may never come; "
            f"recorded markets: {names}",
            err=True,
        )


@command.command("start")
@_name
@_why
@_as_json
def start(name: str, why: str, as_json: bool) -> None:
    """Start a bot that was created, paused, stopped or has failed.

    It trades from the first candle that closes after its start, with the account it has.
    """
    with open_store(load_settings()) as store:
        store.bots.start(name, who=_who(), why=why)
        settled = (BotState.RUNNING, BotState.FAILED)
        # A failed bot that is asked to start leaves its old state only once the runner has looked.
        view = _once(store.bots, name, lambda bot: bot.state in settled and bot.desired_state is bot.state)
    _report(view, as_json, wanted=BotState.RUNNING)


@command.command("pause")
@_name
@_why
@_as_json
def pause(name: str, why: str, as_json: bool) -> None:
    """Let a bot open nothing new. Its stops, targets and exit signals go on working."""
    with open_store(load_settings()) as store:
        store.bots.pause(name, who=_who(), why=why)
        view = _once(store.bots, name, lambda bot: bot.state is not BotState.RUNNING)
    _report(view, as_json, wanted=BotState.PAUSED)


@command.command("stop")
@_name
@click.option("--flatten", is_flag=True, help="Close its position at the next open first.")
@_why
@_as_json
def stop(name: str, flatten: bool, why: str, as_json: bool) -> None:
    """Stop a bot. Without --flatten an open position stays as it is, and UNPROTECTED, until it is started."""
    done = (BotState.STOPPED, BotState.FAILED, BotState.STOPPING)
    with open_store(load_settings()) as store:
        store.bots.stop(name, who=_who(), why=why, flatten=flatten)
        view = _once(store.bots, name, lambda bot: bot.state in done)
    _report(view, as_json, wanted=BotState.STOPPED)


@command.command("delete")
@_name
@click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
@_why
@_as_json
def delete(name: str, yes: bool, why: str, as_json: bool) -> None:
    """Remove a bot that does not run, with its orders, fills and decisions. Its audit stays.

    On a terminal it asks first. A bot that a file in config/bots describes is made anew when the bots run the
    next time.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody can be asked here: give '--yes' to delete the bot.")
        click.confirm(f"Delete {name} with its orders, fills and decisions?", abort=True, err=True)
    with open_store(load_settings()) as store:
        store.bots.delete(name, who=_who(), why=why)
    if as_json:
        _print_json({"deleted": name})
    else:
        click.echo(f"{name} is deleted")


@command.command("show")
@_name
@click.option("--limit", type=click.IntRange(1, 10_000), default=10, help="How many of each to show.")
@_as_json
def show(name: str, limit: int, as_json: bool) -> None:
    """Show a bot: its account, its newest orders, fills, trades and decisions, and its audit."""
    with open_store(load_settings()) as store:
        bots = store.bots
        view = bots.bot(name)
        parts: dict[str, Sequence[msgspec.Struct]] = {
            "orders": bots.orders(name, limit),
            "fills": bots.fills(name, limit),
            "trades": bots.trades(name, limit),
            "decisions": bots.decisions(name, limit),
            "audit": bots.audit(name, limit),
        }
    if as_json:
        documents = {part: [_document(item) for item in items] for part, items in parts.items()}
        _print_json({"bot": bot_document(view), **documents})
        return
    click.echo(_line(view))
    for part, items in parts.items():
        click.echo(f"{part}:" if items else f"{part}: none")
        for item in items:
            fields = _document(item)
            fields.pop("bot")
            fields.pop("market", None)
            fields.pop("record", None)
            words = [f"{key} {value}" for key, value in fields.items() if value not in (None, "", False)]
            click.echo(f"  {', '.join(words)}")


def bot_document(view: BotView) -> dict[str, Any]:
    """A bot as JSON values: times in ISO 8601, money exact, rates as fractions."""
    return {**_document(view), "return": view.return_rate, "win_rate": view.win_rate}


def _document(item: msgspec.Struct) -> dict[str, Any]:
    """Times become ISO 8601, and `last_candle_us` becomes `last_candle_at`."""
    document: dict[str, Any] = {}
    for field in item.__struct_fields__:
        value = getattr(item, field)
        if isinstance(value, msgspec.Struct):
            value = _document(value)
        if field.endswith("_us"):
            field = field.removesuffix("_us")
            field = field if field.split("_")[-1] == "at" else f"{field}_at"
            value = None if value is None else _iso(value)
        document[field] = value
    return document


def _iso(at_us: int) -> str:
    return to_datetime(at_us).isoformat().replace("+00:00", "Z")


def _line(view: BotView) -> str:
    heading = "" if view.desired_state is view.state else f" (asked to be {view.desired_state})"
    held = "flat"
    if view.position is not None:
        held = f"{view.position.side} {view.position.quantity} at {view.position.entry_price}"
    change = "" if view.return_rate is None else f" ({view.return_rate:+.2%})"
    place = f"{view.market or 'no market'} {view.timeframe or ''}".strip()
    words = f"{view.name}: {view.state}{heading}, {view.strategy or 'no strategy'} on {place}"
    figures = f"{held}, equity {view.equity:.2f}{change}, {view.trades} trades"
    return f"{words}; {figures}" + (f"; {view.health}" if view.health else "")


def _report(view: BotView, as_json: bool, *, wanted: BotState) -> None:
    if as_json:
        _print_json({"bot": bot_document(view)})
        return
    click.echo(_line(view))
    if view.state is BotState.STOPPED and view.position is not None:
        click.echo(
            "its position stays open and unprotected; start it, or `stop --flatten` closes it", err=True
        )
    if view.state is not wanted and view.desired_state is wanted and view.state is not BotState.STOPPING:
        click.echo("written down; it is done when `candlewick up` or `candlewick bots run` runs", err=True)


def _once(bots: BotService, name: str, done: Callable[[BotView], bool]) -> BotView:
    """The bot once the runner has obeyed, or as it is when that takes too long."""
    give_up_at = time.monotonic() + _WAIT_S
    while True:
        view = bots.bot(name)
        if done(view) or time.monotonic() > give_up_at:
            return view
        time.sleep(_POLL_S)


def _print_json(document: dict[str, Any]) -> None:
    click.echo(msgspec.json.format(_json.encode(document), indent=2).decode())


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"  # a user id without a name, as in some containers
