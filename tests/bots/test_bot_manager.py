from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from bots.bot_loading import find_strategy
from bots.bot_manager import adopt_bot_files, run_bots, strategies_in
from bots.config import load_bot
from bots.lifecycle import BotState
from bots.service import BotService
from data.errors import InvalidInput
from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.loader import load_strategy
from tests.bots.bot_fakes import BTC, T0, MemoryBotStore, MemoryCandles, bot_config, minutes

STRATEGIES = Path(__file__).resolve().parents[2] / "config" / "strategies"
BOTS = Path(__file__).resolve().parents[2] / "config" / "bots"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


def write_bot(folder: Path, name: str, **changes: Any) -> Path:
    path = folder / f"{name}.json"
    document = {
        "name": name,
        "venue": "binance",
        "symbol": "BTC-USDT",
        "strategy": "ema_crossover",
        "timeframe": "1m",
        "capital": 1_000,
        **changes,
    }
    path.write_text(json.dumps(document))
    return path


def adopt(store: MemoryBotStore, folder: Path) -> None:
    adopt_bot_files(store, folder, lambda: T0)


async def run_until(store: MemoryBotStore, folder: Path, name: str, state: BotState) -> None:
    stop = asyncio.Event()
    candles = MemoryCandles((BTC, minutes([100.0] * 50)))
    task = asyncio.create_task(
        run_bots(
            store,
            candles,
            None,
            bots_folder=folder,
            strategies_folder=STRATEGIES,
            clock=lambda: T0,
            stop=stop,
        )
    )
    try:
        async with asyncio.timeout(5):
            while (view := store.view(name)) is None or view.state is not state:  # noqa: ASYNC110 no event
                await asyncio.sleep(0.005)
    finally:
        stop.set()
        await task


async def test_a_file_becomes_a_running_bot(tmp_path: Path) -> None:
    store = MemoryBotStore()
    write_bot(tmp_path, "trend")

    await run_until(store, tmp_path, "trend", BotState.RUNNING)

    assert [event.what for event in reversed(store.events)] == ["created", "running", "not rounded"]


def test_files_are_adopted_once(tmp_path: Path) -> None:
    store = MemoryBotStore()
    write_bot(tmp_path, "trend")
    adopt(store, tmp_path)
    adopt(store, tmp_path)
    assert [event.what for event in store.events] == ["created"]


def test_a_broken_file_makes_a_failed_bot_that_says_what_to_mend(tmp_path: Path) -> None:
    store = MemoryBotStore()
    write_bot(tmp_path, "good")
    path = write_bot(tmp_path, "bad", capital=-1)
    (tmp_path / "worse.json").write_text("{")
    adopt(store, tmp_path)

    states = {view.name: view.state for view in store.views()}
    assert states == {"good": BotState.CREATED, "bad": BotState.FAILED, "worse": BotState.FAILED}
    bad = store.view("bad")
    assert bad is not None
    assert bad.health == f"{path}: capital is -1; must be above 0, in quote currency"


async def test_a_mended_file_is_tried_again(tmp_path: Path) -> None:
    store = MemoryBotStore()
    write_bot(tmp_path, "trend", capital=-1)
    adopt(store, tmp_path)
    write_bot(tmp_path, "trend")

    await run_until(store, tmp_path, "trend", BotState.RUNNING)

    record = store.record(1)
    assert record is not None
    assert record.config["capital"] == "1000"


def test_a_file_whose_name_could_not_be_read_leaves_no_second_bot_behind(tmp_path: Path) -> None:
    store = MemoryBotStore()
    (tmp_path / "file.json").write_text("{")
    adopt(store, tmp_path)
    write_bot(tmp_path, "trend").rename(tmp_path / "file.json")
    adopt(store, tmp_path)
    assert [view.name for view in store.views()] == ["trend"]


async def test_a_changed_file_is_applied_when_its_bot_starts_again(tmp_path: Path) -> None:
    store = MemoryBotStore()
    write_bot(tmp_path, "trend", fee_bps=10)
    await run_until(store, tmp_path, "trend", BotState.RUNNING)
    write_bot(tmp_path, "trend", fee_bps=3)
    await run_until(store, tmp_path, "trend", BotState.RUNNING)
    record = store.record(1)
    assert record is not None
    assert record.config["fee_bps"] == "10"

    people = BotService(store, clock=lambda: T0)
    people.stop("trend", who="anna")
    await run_until(store, tmp_path, "trend", BotState.STOPPED)
    people.start("trend", who="anna")
    await run_until(store, tmp_path, "trend", BotState.RUNNING)
    record = store.record(1)
    assert record is not None
    assert record.config["fee_bps"] == "3"


async def test_the_capital_of_a_bot_that_has_traded_cannot_change(tmp_path: Path) -> None:
    store = MemoryBotStore()
    path = write_bot(tmp_path, "trend")
    await run_until(store, tmp_path, "trend", BotState.RUNNING)
    people = BotService(store, clock=lambda: T0)
    people.stop("trend", who="anna")
    await run_until(store, tmp_path, "trend", BotState.STOPPED)
    write_bot(tmp_path, "trend", capital=5_000)
    people.start("trend", who="anna")
    await run_until(store, tmp_path, "trend", BotState.FAILED)

    assert people.bot("trend").health == (
        f"{path}: capital is 5000; must stay 1000: the bot has traded; delete it to begin anew"
    )


def test_a_strategy_is_found_by_name_beside_the_bot_or_by_path(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text("{}")
    source = str(tmp_path / "bot.json")
    assert find_strategy("ema_crossover", STRATEGIES, source) == STRATEGIES / "ema_crossover.json"
    assert find_strategy("own.json", STRATEGIES, source) == own
    assert find_strategy(str(own), STRATEGIES, "") == own
    with pytest.raises(InvalidInput, match=r'strategy is "emma".*ema_crossover\.json'):
        find_strategy("emma", STRATEGIES, source)


def test_a_saved_strategy_is_taken_where_no_file_has_the_name() -> None:
    asked: list[str] = []
    template = load_strategy(STRATEGIES / "macd.json")

    def saved(
        reference: str, parameters: Mapping[str, float], timeframe: Timeframe | None
    ) -> Strategy | None:
        asked.append(reference)
        return None if reference == "theirs" else template

    load = strategies_in(STRATEGIES, saved=saved)
    assert load(bot_config("trend", strategy="mine@4be1c0"), "") is template
    assert load(bot_config("trend", strategy="ema_crossover"), "") is not template
    with pytest.raises(InvalidInput, match="must be a strategy file"):
        load(bot_config("trend", strategy="theirs"), "")
    assert asked == ["mine@4be1c0", "theirs"]


@pytest.mark.parametrize("path", sorted(BOTS.glob("*.json")), ids=lambda path: path.name)
def test_the_bots_that_come_with_the_project_are_good(path: Path) -> None:
    config = load_bot(path)
    assert config.name == path.stem
    assert strategies_in(STRATEGIES)(config, str(path)).timeframe == config.timeframe


def test_a_bot_file_may_not_take_the_name_of_anothers_bot(tmp_path: Path) -> None:
    store = MemoryBotStore()
    store.add(bot_config("trend", capital=7), desired=BotState.CREATED)
    write_bot(tmp_path, "trend")
    adopt(store, tmp_path)
    record = store.record(1)
    assert record is not None
    assert (record.config["capital"], record.source) == ("7", "")
