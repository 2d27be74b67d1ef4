"""`candlewick bots`: the bot manager and what people ask of it."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from app.commands.bots_preview import ladder_lines, preview
from app.commands.lazy_group import loading
from app.composition import Store, now_us, open_store
from app.installation import Installation, RunningServices
from app.parent_watch import watch_parent
from app.processes.bot_shards import run_bot_shards
from app.services import services_in_reach
from bots.config import BotConfig, FillRule, as_document, load_bot, parse_bot
from bots.depth_words import depth_in_words
from bots.lifecycle import ACTIVE, BotState
from bots.service import BotService
from bots.shards import SLOTS, WHOLE, Shard
from bots.views import BotView, FillView, VersionView
from config.logging import configure_logging
from config.settings import Settings, load_settings
from data.errors import InvalidInput, Problem
from data.models import Market
from data.timeframes import to_datetime

_WAIT_S = 3.0  # for the runner to obey, which takes a second at most
_POLL_S = 0.05
_json = msgspec.json.Encoder(decimal_format="number")  # every digit, as a JSON number
_name = click.argument("name")
_why = click.option("--why", default="", help="A reason, for the audit.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_changes = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="One setting, as in its file; repeatable."
)


@click.group("bots")
def command() -> None:
    """Run, list, create, preview, start, pause, stop, show, clone and edit bots."""


command.add_command(preview)


@command.command("run")
@click.option(
    "--runners",
    type=click.IntRange(1, SLOTS),
    envvar="CANDLEWICK_BOT_RUNNERS",
    help="How many processes share the bots; by default two, or one on a single core.",
)
@click.option("--shard", metavar="I/N", help="Run only this part of the bots, here: 1/2, say.")
def run(runners: int | None, shard: str | None) -> None:
    """Run the bots of this installation until told to end: a manager with runner processes.

    Files in config/bots make bots that do not exist yet and start them. A file is read when its bot starts:
    after a change, stop the bot and start it. A second manager's runners stand by until the first ones end.
    """
    supervised = watch_parent()
    settings = load_settings()
    place = None if shard is None else _shard_of(shard)
    wanted = min(2, os.cpu_count() or 1) if runners is None else runners
    if place is None and wanted == 1:
        place = WHOLE
    configure_logging(settings.candlewick_log_level, process="bots" if shard is None else f"bots {shard}")
    installation = Installation(settings.candlewick_home)
    with services_in_reach(settings, installation, prepared=supervised) as services:
        if place is None:
            asyncio.run(run_bot_shards(installation, services, wanted))
        else:
            uvloop.run(_until_told_to_stop(settings, services, place))


def _shard_of(text: str) -> Shard:
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= SLOTS):
        raise click.BadParameter(
            f"{text!r} is no part; expected one like 1/2, at most {SLOTS}", param_hint="--shard"
        )
    return Shard(number=int(number) - 1, of=int(of))


async def _until_told_to_stop(settings: Settings, services: RunningServices, shard: Shard) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with loading():
        # Kernels and strategies are loaded by the processes that run bots, not by those that ask about them.
        from app.processes.bot_runner import run_paper_bots
    await run_paper_bots(settings, services, stop, shard)


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

    A market that is not recorded (yet) is pointed out: the bot waits for its candles. With "fill": "depth" in
    FILE market orders are filled through the recorded order book (channel book5 or book20 of
    config/collectors.json), as deep as each of them needs, instead of at the next candle's open.
    """
    settings = load_settings()
    path = file.expanduser().absolute()
    config = load_bot(path)
    with open_store(settings) as store:
        _check_strategy(settings, store, config, str(path))
        recorded = store.candle_repository.recorded_markets()
        for symbol in config.symbols:
            warn_if_unrecorded(Market(config.venue, symbol), recorded)
        _warn_of_no_depth(store, config)
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


def _warn_of_no_depth(store: Store, config: BotConfig) -> None:
    """Say on standard error that orders will not find the recorded book that they are to go through."""
    markets = [Market(config.venue, symbol) for symbol in config.symbols]
    for market in markets if config.fill is FillRule.DEPTH else ():
        if store.candle_repository.book_at(market, now_us()).book is None:
            click.echo(
                f"warning: no order book of {market} is recorded yet, so orders fill at the next candle's "
                "open; book5 or book20 among its channels in config/collectors.json records it",
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
    done = (BotState.STOPPED, BotState.FAILED)

    def is_done(bot: BotView) -> bool:
        # One that stands still with a position is woken up to close it.
        return bot.state is BotState.STOPPING or (bot.state in done and not (flatten and bot.holds))

    with open_store(load_settings()) as store:
        store.bots.stop(name, who=_who(), why=why, flatten=flatten)
        view = _once(store.bots, name, is_done)
    _report(view, as_json, wanted=BotState.STOPPED)


@command.command("clone")
@_name
@click.argument("to")
@_changes
@click.option("--start", is_flag=True, help="Start it at once.")
@_why
@_as_json
def clone(name: str, to: str, changes: tuple[str, ...], start: bool, why: str, as_json: bool) -> None:
    """Make a bot called TO with the settings of NAME and an account of its own."""
    settings = load_settings()
    with open_store(settings) as store:
        bots = store.bots
        source, document = bots.settings(name)
        wanted = with_changes(document, changes) | {"name": to}
        _check_strategy(settings, store, parse_bot(wanted, where="--set"), source)
        view = bots.clone(name, to, changes=wanted, who=_who(), why=why, start=start)
        if start:
            view = _once(bots, to, lambda bot: bot.state is not BotState.CREATED)
    _report(view, as_json, wanted=BotState.RUNNING if start else BotState.CREATED)


@command.command("edit")
@_name
@click.option("--file", type=click.Path(path_type=Path), help="A bot's file with the new settings.")
@_changes
@_why
@_as_json
def edit(name: str, file: Path | None, changes: tuple[str, ...], why: str, as_json: bool) -> None:
    """Give a bot new settings: a whole file, single ones (--set fee_bps=5 --set parameters.fast=9), or both.

    A running bot takes them between two candles and keeps its position; one that stands still takes them at
    its next start. `bots revert` goes back. From now on the bot's file is not read any more.
    """
    if file is None and not changes:
        raise click.UsageError("Nothing to change: give '--file' or '--set'.")
    settings = load_settings()
    with open_store(settings) as store:
        source, document = store.bots.settings(name)
        if file is not None:
            path = file.expanduser().absolute()
            document = as_document(load_bot(path))
        config = parse_bot(with_changes(document, changes), where="--set" if changes else str(file))
        _check_strategy(settings, store, config, source)
        _warn_of_no_depth(store, config)
        store.bots.edit(name, config, who=_who(), why=why)
        _tell_version(store.bots, name, as_json)


@command.command("revert")
@_name
@click.option("--to", type=click.IntRange(min=1), help="The version to go back to; else the one before.")
@_why
@_as_json
def revert(name: str, to: int | None, why: str, as_json: bool) -> None:
    """Go back to an earlier version of a bot's settings. Its position stays."""
    with open_store(load_settings()) as store:
        store.bots.revert(name, to=to, who=_who(), why=why)
        _tell_version(store.bots, name, as_json)


@command.command("versions")
@_name
@_as_json
def versions(name: str, as_json: bool) -> None:
    """List every version of a bot's settings, newest first, with what changed."""
    with open_store(load_settings()) as store:
        known = store.bots.versions(name)
    if as_json:
        _print_json({"versions": [_document(one) for one in known]})
        return
    for one, before in zip(known, [*known[1:], None], strict=True):
        click.echo(_version_line(one, before))


def _tell_version(bots: BotService, name: str, as_json: bool) -> None:
    """The newest version of the settings, in force or waiting."""
    give_up_at = time.monotonic() + _WAIT_S
    newest = bots.versions(name)[0]
    active = bots.bot(name).state in ACTIVE
    while active and newest.applied_at_us is None and time.monotonic() < give_up_at:
        time.sleep(_POLL_S)
        newest = bots.versions(name)[0]
    if as_json:
        _print_json({"version": _document(newest)})
        return
    known = bots.versions(name)
    click.echo(_version_line(known[0], known[1] if len(known) > 1 else None))
    if newest.applied_at_us is None:
        when = "at the next candle's close, if it can be used" if active else "at the bot's next start"
        click.echo(f"written down; it takes force {when}", err=True)


def _version_line(one: VersionView, before: VersionView | None) -> str:
    changed = []
    if before is not None:
        for key in sorted({*one.config, *before.config}):
            was, now = before.config.get(key), one.config.get(key)
            if was != now:
                changed.append(f"{key} {_shown(was)} -> {_shown(now)}")
    origin = "from its file" if one.from_file else f"by {one.who}"
    if one.reverts_to is not None:
        origin = f"back to version {one.reverts_to}, {origin}"
    force = "never in force yet" if one.applied_at_us is None else f"in force since {_iso(one.applied_at_us)}"
    words = [f"version {one.version}", origin, force, one.why, "; ".join(changed)]
    return ", ".join(word for word in words if word)


def _shown(value: object) -> str:
    return _json.encode(value).decode()


def with_changes(document: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The settings with `key=value` pairs put in; `parameters.fast=9` changes one of several.

    Values are JSON, or else text. Raises InvalidInput for what is no such pair.
    """
    changed = dict(document)
    for pair in changes:
        key, equals, text = pair.partition("=")
        section, dot, inner = key.strip().partition(".")
        if not equals or not section or (dot and not inner):
            raise InvalidInput(
                Problem(where="--set", field="", value=pair, expected="give key=value, as in fee_bps=5")
            )
        try:
            value: object = json.loads(text, parse_float=Decimal)
        except json.JSONDecodeError:
            value = text.strip()
        if dot:
            there = changed.get(section)
            changed[section] = {**(there if isinstance(there, dict) else {}), inner: value}
        else:
            changed[section] = value
    return changed


def _check_strategy(settings: Settings, store: Store, config: BotConfig, source: str) -> None:
    """Raise InvalidInput for a strategy that cannot be found or used."""
    with loading():
        from app.strategy_desk import bot_strategies
    with bot_strategies(settings, store.url) as load:
        load(config, source)


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
        ladder = bots.ladder(name)
        fill = bots.settings(name)[1].get("fill", FillRule.CANDLE)
        parts: dict[str, Sequence[msgspec.Struct]] = {
            "orders": bots.orders(name, limit),
            "fills": bots.fills(name, limit),
            "trades": bots.trades(name, limit),
            "decisions": bots.decisions(name, limit),
            "audit": bots.audit(name, limit),
        }
    if as_json:
        documents = {part: [_document(item) for item in items] for part, items in parts.items()}
        of_ladder = {} if ladder is None else {"ladder": ladder}
        _print_json({"bot": bot_document(view), "fill": fill, **of_ladder, **documents})
        return
    click.echo(_line(view))
    for line in ladder_lines(ladder):
        click.echo(line)
    if fill == FillRule.DEPTH:
        click.echo("market orders go through the recorded order book (fill: depth)")
    for part, items in parts.items():
        click.echo(f"{part}:" if items else f"{part}: none")
        for item in items:
            fields = _document(item)
            fields.pop("bot")
            market = fields.pop("market", None)
            if view.symbols and market is not None:
                fields = {"symbol": market["symbol"], **fields}
            fields.pop("record", None)
            if isinstance(item, FillView):
                fields["depth"] = depth_in_words(item.depth)
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
        elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
            value = [_document(one) for one in value]
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
    elif view.holds:
        held = ", ".join(f"{one.position.quantity} {one.market.symbol}" for one in view.holdings)
    change = "" if view.return_rate is None else f" ({view.return_rate:+.2%})"
    markets = ", ".join(view.symbols) if view.symbols else f"{view.market or 'no market'}"
    place = f"{markets} {view.timeframe or ''}".strip()
    words = f"{view.name}: {view.state}{heading}, {view.strategy or 'no strategy'} on {place}"
    figures = f"{held}, equity {view.equity:.2f}{change}, {view.trades} trades"
    return f"{words}; {figures}" + (f"; {view.health}" if view.health else "")


def _report(view: BotView, as_json: bool, *, wanted: BotState) -> None:
    if as_json:
        _print_json({"bot": bot_document(view)})
        return
    click.echo(_line(view))
    if view.state is BotState.STOPPED and view.holds:
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
