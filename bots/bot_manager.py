"""The process that runs bots: bot files become bots, and the runner takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog

from bots.bot_loading import SavedStrategies, StrategyLoader, find_strategy
from bots.bot_runner import BotRunner
from bots.config import BotConfig, as_document, is_bot_name, load_bot, read_document
from bots.crash_note import CrashNote
from bots.emergency import EmergencyWatch
from bots.entry_gates import EntryGate
from bots.feed_watch import FeedWatch
from bots.ladders.loading import ladder_strategy
from bots.lifecycle import BotState
from bots.risk.desk_rules import DeskRules
from bots.shards import WHOLE, Shard
from bots.stores import BotBus, BotEvent, BotStore, FreshCandleReader
from data.errors import InvalidInput
from data.stores import CandleReader
from strategies.base import Strategy
from strategies.loader import load_strategy
from strategies.python.checker import PythonStrategyFactory

_log = structlog.get_logger(__name__)
_WHO = "bot manager"


async def run_bots(
    store: BotStore,
    candles: CandleReader,
    bus: BotBus | None,
    *,
    bots_folder: Path,
    strategies_folder: Path,
    clock: Callable[[], int],
    stop: asyncio.Event,
    python: PythonStrategyFactory | None = None,
    saved: SavedStrategies | None = None,
    fresh: FreshCandleReader | None = None,
    feeds: FeedWatch | None = None,
    gates: Sequence[EntryGate] = (),
    emergency: EmergencyWatch | None = None,
    rules: DeskRules | None = None,
    shard: Shard = WHOLE,
    note: CrashNote | None = None,
) -> None:
    """Run the bots of `store` until `stop` is set; `clock` gives now in microseconds.

    A file in `bots_folder` whose bot does not exist yet makes that bot and starts it. A file is read again
    each time its bot starts and never in between: whoever changes it stops the bot and starts it. The rest is
    the runner's. Of several runners the first one reads the folder.
    """
    runner = BotRunner(
        store,
        candles,
        load_strategy=strategies_in(strategies_folder, python, saved),
        clock=clock,
        bus=bus,
        fresh=fresh,
        feeds=feeds,
        gates=gates,
        emergency=emergency,
        rules=rules,
        shard=shard,
        note=note,
    )
    adopt = partial(adopt_bot_files, store, bots_folder, clock) if shard.number == 0 else None
    await runner.run(stop, before=adopt)


def strategies_in(
    folder: Path, python: PythonStrategyFactory | None = None, saved: SavedStrategies | None = None
) -> StrategyLoader:
    """Loads the strategies that bots name from `folder`, or from beside the bot's own file, or saved ones.

    "trend@4be1c0" is a saved version; a plain name is a file where there is one, else the saved strategy.
    Those in Python come from `python`, which runs none that did not pass its check.
    """

    def load(config: BotConfig, source: str) -> Strategy:
        if config.ladder is not None:
            return ladder_strategy(config, lambda inner: load(inner, source))
        try:
            path = find_strategy(config.strategy, folder, source)
        except InvalidInput:
            found = None if saved is None else saved(config.strategy, config.parameters, config.timeframe)
            if found is None:
                raise
            return found
        if path.suffix == ".py" and python is not None:
            return python.load(path, config.parameters, config.timeframe)
        return load_strategy(path, config.parameters, config.timeframe)

    return load


def adopt_bot_files(store: BotStore, folder: Path, clock: Callable[[], int]) -> None:
    """Make the bots that the folder's files describe and that do not exist yet.

    A broken file makes a failed bot that says what to mend; a bot that an earlier version of the file made
    runs on as it was. Failed bots are tried again: their file may have been mended.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            config = load_bot(path)
        except InvalidInput as error:
            _report_broken(store, path, str(error), clock())
            continue
        _adopt(store, path, config, clock())


def _adopt(store: BotStore, path: Path, config: BotConfig, at_us: int) -> None:
    source = str(path)
    created = store.create(
        as_document(config),
        name=config.name,
        source=source,
        desired=BotState.RUNNING,
        health="",
        event=BotEvent(at_us=at_us, who=_WHO, what="created", why=f"from {source}"),
    )
    if created:
        _log.info("bot_created", bot=config.name, source=source)
        _clear_placeholder(store, path, at_us)
        return
    wish = store.wish(config.name)
    record = None if wish is None else store.record(wish.bot_id)
    if wish is None or record is None:
        return  # deleted this moment; the file makes it again next time
    if record.source != source:
        _log.warning("bot_name_taken", bot=config.name, source=source, taken_by=record.source or "a person")
        return
    if wish.state is BotState.FAILED and wish.desired is BotState.FAILED:
        event = BotEvent(at_us=at_us, who=_WHO, what="asked to start", why="its file may have been mended")
        store.ask(wish, BotState.RUNNING, flatten=False, event=event)
    elif (
        record.reads_file
        and wish.state in (BotState.RUNNING, BotState.PAUSED)
        and as_document(config) != record.config
    ):
        _log.warning("bot_file_changed", bot=config.name, source=source, action="stop and start it to apply")


def _report_broken(store: BotStore, path: Path, problem: str, at_us: int) -> None:
    _log.error("bot_file_broken", source=str(path), problem=problem)
    name = _name_in(path)
    store.create(
        {"name": name},
        name=name,
        source=str(path),
        desired=BotState.FAILED,
        health=problem,
        event=BotEvent(at_us=at_us, who=_WHO, what="failed", why=problem),
    )


def _name_in(path: Path) -> str:
    """The name that a broken file gives its bot, or else the file's own."""
    try:
        name = read_document(path).get("name")
    except InvalidInput:
        return path.stem
    return name if isinstance(name, str) and is_bot_name(name) else path.stem


def _clear_placeholder(store: BotStore, path: Path, at_us: int) -> None:
    """Remove the failed bot that stood for this file while not even its name could be read."""
    wish = store.wish(path.stem)
    record = None if wish is None else store.record(wish.bot_id)
    if (
        wish is not None
        and record is not None
        and record.source == str(path)
        and record.account is None
        and wish.state is BotState.FAILED
        and "strategy" not in record.config
    ):
        store.delete(wish, event=BotEvent(at_us=at_us, who=_WHO, what="deleted", why="its file was mended"))
