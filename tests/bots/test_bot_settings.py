"""Settings of bots: cloned, edited between two candles with the position kept, and taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.bot_runner import BotRunner
from bots.config import BotConfig
from bots.crash_note import MOST_DEATHS, CrashNote
from bots.lifecycle import BotState
from bots.orders import OrderReason, OrderStatus
from bots.paper_bot import SavedAccount
from bots.service import BotService
from bots.shards import WHOLE, Shard
from data.errors import InvalidInput, Problem
from strategies.base import Protection, Strategy
from tests.bots.bot_fakes import (
    BTC,
    MINUTE,
    T0,
    MemoryBotStore,
    MemoryCandles,
    ScriptedStrategy,
    bot_config,
    minutes,
)

NOW = T0 + 400 * 86_400_000_000
HISTORY = 5
CLOSES = [100.0, 101, 99, 102, 104, 103, 104, 105, 105, 107, 101, 100, 99, 103, 108, 104]


class Desk:
    def __init__(self) -> None:
        self.store = MemoryBotStore()
        self.candles = MemoryCandles((BTC, minutes(CLOSES[:HISTORY])))
        self.people = BotService(self.store, clock=lambda: NOW)

    def load(self, config: BotConfig, source: str) -> Strategy:
        """Parameter `enter` and `leave` are minutes; `enter` 99 is refused."""
        numbers = config.parameters
        if numbers.get("enter") == 99:
            raise InvalidInput(Problem(where="test", field="enter", value="99", expected="must be below 99"))
        script = {
            T0 + int(numbers.get("enter", 5)) * MINUTE: "long_entry",
            T0 + int(numbers.get("leave", 50)) * MINUTE: "long_exit",
        }
        stop = numbers.get("stop")
        return ScriptedStrategy(
            script, version=str(sorted(numbers.items())), protection=Protection(stop_loss=stop)
        )

    @asynccontextmanager
    async def running(self, shard: Shard = WHOLE, note: CrashNote | None = None) -> AsyncIterator[None]:
        stop = asyncio.Event()
        runner = BotRunner(
            self.store,
            self.candles,
            load_strategy=self.load,
            clock=lambda: NOW,
            poll_s=0.01,
            shard=shard,
            note=note,
        )
        task = asyncio.create_task(runner.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def upto(self, number: int, name: str = "trend") -> None:
        known = self.store.view(name)
        if number > HISTORY and known is not None and known.last_candle_us is None:
            # What is there when a bot starts only warms it up.
            await self.upto(HISTORY, name)
        self.candles.put(BTC, minutes(CLOSES[:number]))

        def taken() -> bool:
            view = self.store.view(name)
            return view is not None and view.last_candle_us == T0 + (number - 1) * MINUTE

        await until(taken)

    def record(self, name: str = "trend") -> SavedAccount:
        wish = self.store.wish(name)
        record = None if wish is None else self.store.record(wish.bot_id)
        assert record is not None
        assert record.account is not None
        return msgspec.json.decode(record.account, type=SavedAccount)

    def applied(self, version: int, name: str = "trend") -> Callable[[], bool]:
        def look() -> bool:
            return any(
                one.version == version and one.applied_at_us is not None for one in self.store.versions(name)
            )

        return look


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not look():  # noqa: ASYNC110 what is looked at has no event to wait for
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


async def test_an_edit_keeps_the_position_and_counts_from_the_next_candle_on() -> None:
    desk = Desk()
    desk.store.add(bot_config(fee_bps=10))
    async with desk.running():
        await desk.upto(8)
        held = desk.record().state.ledger.quantity
        assert held > 0
        desk.people.change("trend", {"fee_bps": 3, "parameters": {"leave": 9}}, who="anna", why="cheaper")
        await until(desk.applied(2))
        assert desk.record().state.ledger.quantity == held
        await desk.upto(12)

    fills = [fill for step in desk.store.steps("trend") for fill in step.fills]
    assert [fill.reason for fill in fills] == [OrderReason.ENTRY, OrderReason.EXIT_SIGNAL]
    assert fills[0].fee == fills[0].price * fills[0].quantity * Decimal("0.001")
    assert fills[1].fee == fills[1].price * fills[1].quantity * Decimal("0.0003")
    decided = [made.decision.opened_at_us for step in desk.store.steps("trend") for made in step.decisions]
    assert decided == [T0 + i * MINUTE for i in range(5, 12)]
    assert [entry.what for entry in desk.people.audit("trend") if "version" in entry.what] == [
        "edited to version 2"
    ]


async def test_the_new_strategys_stop_guards_the_old_position() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    async with desk.running():
        await desk.upto(8)
        desk.people.change("trend", {"parameters": {"stop": 0.005}}, who="anna")
        await until(desk.applied(2))
        await desk.upto(12)
    reasons = [fill.reason for step in desk.store.steps("trend") for fill in step.fills]
    assert reasons == [OrderReason.ENTRY, OrderReason.STOP_LOSS]


async def test_an_entry_that_waits_was_decided_by_the_old_settings_and_is_called_off() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    async with desk.running():
        await desk.upto(6)
        desk.people.change("trend", {"parameters": {"enter": 50}}, who="anna")
        await until(desk.applied(2))
        await desk.upto(9)
    assert [fill for step in desk.store.steps("trend") for fill in step.fills] == []
    orders = [order for step in desk.store.steps("trend") for order in step.orders]
    assert orders[-1].status is OrderStatus.CANCELLED


async def test_going_back_is_one_step_and_can_be_taken_back() -> None:
    desk = Desk()
    desk.store.add(bot_config(fee_bps=10))
    async with desk.running():
        await desk.upto(6)
        for number, fee in ((2, 3), (3, 4)):
            desk.people.change("trend", {"fee_bps": fee}, who="anna")
            await until(desk.applied(number))
        desk.people.revert("trend", who="anna")
        await until(desk.applied(4))
        desk.people.revert("trend", who="anna")
        await until(desk.applied(5))
        desk.people.revert("trend", to=3, who="anna")
        await until(desk.applied(6))
    assert [one.config["fee_bps"] for one in desk.people.versions("trend")] == [
        "4",
        "10",
        "3",
        "4",
        "3",
        "10",
    ]
    assert [one.reverts_to for one in desk.people.versions("trend")] == [3, 1, 2, None, None, None]
    with pytest.raises(InvalidInput, match="version 9; there are 1, 2, 3, 4, 5, 6"):
        desk.people.revert("trend", to=9, who="anna")


async def test_settings_that_cannot_be_used_leave_the_bot_as_it_was() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    async with desk.running():
        await desk.upto(6)
        desk.people.change("trend", {"parameters": {"enter": 99}}, who="anna")
        await until(lambda: "must be below 99" in desk.people.bot("trend").health)
        await desk.upto(8)
        assert desk.people.bot("trend").state is BotState.RUNNING
    assert desk.record().state.ledger.quantity > 0
    assert "settings refused" in [entry.what for entry in desk.people.audit("trend")]


async def test_a_bot_that_stands_still_takes_its_settings_at_the_next_start() -> None:
    desk = Desk()
    desk.store.add(bot_config(fee_bps=10), desired=BotState.CREATED)
    desk.people.change("trend", {"fee_bps": 1}, who="anna")
    desk.people.start("trend", who="anna")
    async with desk.running():
        await desk.upto(8)
    assert desk.applied(2)()
    fill = next(fill for step in desk.store.steps("trend") for fill in step.fills)
    assert fill.fee == fill.price * fill.quantity * Decimal("0.0001")


def test_what_cannot_change_is_refused_with_every_reason() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    with pytest.raises(InvalidInput, match='name is other; must stay "trend"'):
        desk.people.edit("trend", bot_config("other"), who="anna")
    with pytest.raises(InvalidInput, match="fee_bps"):
        desk.people.change("trend", {"fee_bps": -1}, who="anna")
    with pytest.raises(InvalidInput, match="no version before"):
        desk.people.revert("trend", who="anna")
    assert len(desk.people.versions("trend")) == 1


async def test_the_capital_of_a_bot_that_has_traded_stays() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    async with desk.running():
        await desk.upto(6)
    with pytest.raises(InvalidInput, match="must stay 10000: the bot has traded"):
        desk.people.change("trend", {"capital": 5}, who="anna")


async def test_a_clone_has_the_settings_and_an_account_of_its_own() -> None:
    desk = Desk()
    desk.store.add(bot_config(fee_bps=4))
    async with desk.running():
        await desk.upto(7)
        view = desk.people.clone("trend", "second", changes={"capital": 77}, who="anna", start=True)
        assert view.capital == 77
        await until(lambda: desk.people.bot("second").state is BotState.RUNNING)
        await desk.upto(9, "second")
    (settings_of,) = desk.people.versions("second")
    assert (settings_of.config["fee_bps"], settings_of.config["name"]) == ("4", "second")
    assert desk.record("second").state.ledger.quantity == 0
    with pytest.raises(InvalidInput, match="is taken by another bot"):
        desk.people.clone("trend", "second", who="anna")


async def test_a_runner_of_a_shard_leaves_the_other_shards_bots_alone() -> None:
    desk = Desk()
    for number in range(4):
        desk.store.add(bot_config(f"bot-{number}"))
    mine = {wish.name for wish in desk.store.wishes(Shard(number=1, of=2))}
    assert 0 < len(mine) < 4
    async with desk.running(Shard(number=1, of=2)):
        for name in mine:
            await desk.upto(7, name)
    for view in desk.people.list_bots():
        assert (view.state is BotState.RUNNING) is (view.name in mine)


async def test_a_bot_that_takes_its_process_along_is_set_aside_and_the_others_run(tmp_path: Path) -> None:
    desk = Desk()
    desk.store.add(bot_config("killer"))
    desk.store.add(bot_config("good"))
    wish = desk.store.wish("killer")
    assert wish is not None
    with closing(CrashNote(tmp_path / "hand")) as note:
        async with desk.running(note=note):
            await desk.upto(6, "killer")
        for _ in range(MOST_DEATHS - 1):
            note.take(wish.bot_id)
            note.culprit()
        note.take(wish.bot_id)
        async with desk.running(note=note):
            await until(lambda: desk.people.bot("killer").state is BotState.FAILED)
            await desk.upto(9, "good")
    assert "its process died 3 times in a row" in desk.people.bot("killer").health
    assert desk.people.audit("killer")[0].what == "failed"


@settings(max_examples=30, deadline=None)
@given(actions=st.lists(st.one_of(st.integers(0, 1_000), st.none(), st.integers(-3, -1)), max_size=12))
def test_versions_only_grow_and_the_newest_is_wanted(actions: list[int | None]) -> None:
    """Edits to a fee (a number from 0), steps back (None), and back to a version (below 0: counted back)."""
    desk = Desk()
    desk.store.add(bot_config())
    fees = ["10"]
    for action in actions:
        if action is not None and action >= 0:
            desk.people.change("trend", {"fee_bps": action}, who="anna")
            fees.append(str(action))
        elif action is not None and -action <= len(fees):
            desk.people.revert("trend", to=len(fees) + 1 + action, who="anna")
            fees.append(fees[action])
    versions = desk.people.versions("trend")
    assert [one.config["fee_bps"] for one in reversed(versions)] == fees
    _, wanted = desk.people.settings("trend")
    assert wanted["fee_bps"] == fees[-1]
