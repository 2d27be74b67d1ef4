from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal

import msgspec
import pytest
import structlog
from structlog.typing import EventDict

from bots.bot_life import Series
from bots.bot_runner import BotRunner
from bots.config import BotConfig
from bots.ladders.settings import RebalanceSettings
from bots.ladders.strategy import BasketStrategy
from bots.lifecycle import BotState
from bots.messages import BOTS_TOPIC, CONTROL_TOPIC, BotAsked, BotUpdates, SignalsSaid
from bots.orders import OrderReason
from bots.paper_bot import candles_of
from bots.service import BotService
from bots.stores import BotStep
from data.errors import InvalidInput, Problem
from data.messages import CandleUpdate
from data.models import Instrument, InstrumentKind, Market, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Strategy
from tests.bots.bot_fakes import (
    BTC,
    MINUTE,
    T0,
    MemoryBotStore,
    MemoryBus,
    MemoryCandles,
    ScriptedStrategy,
    bot_config,
    minutes,
)

CLOSES = [100.0, 101, 99, 102, 104, 103, 97, 98, 105, 107, 101, 100, 99, 103, 108, 104]
NOW = T0 + 400 * 86_400_000_000
SCRIPT = {T0 + 5 * MINUTE: "long_entry", T0 + 8 * MINUTE: "long_exit"}


class Fresh:
    """Satisfies FreshCandleReader as the real one does: series without news are left out."""

    def __init__(self, candles: MemoryCandles) -> None:
        self._candles = candles

    def candles_since(self, wanted: Mapping[Series, int]) -> dict[Series, Ohlcv]:
        found = {one: self._candles.candles(*one, start_us=after_us + 1) for one, after_us in wanted.items()}
        return {one: ohlcv for one, ohlcv in found.items() if len(ohlcv)}


class Desk:
    """A runner with everything around it in memory."""

    def __init__(self, *, bus: MemoryBus | None = None) -> None:
        self.store = MemoryBotStore()
        self.candles = MemoryCandles((BTC, minutes(CLOSES[:5])))
        self.bus = bus
        self.strategies: dict[str, Strategy | Exception] = {}
        self.people = BotService(self.store, clock=lambda: NOW)

    def load(self, config: BotConfig, source: str) -> Strategy:
        found = self.strategies.get(config.name, ScriptedStrategy(SCRIPT))
        if isinstance(found, Exception):
            raise found
        return found

    def runner(self, poll_s: float = 0.01) -> BotRunner:
        return BotRunner(
            self.store,
            self.candles,
            load_strategy=self.load,
            clock=lambda: NOW,
            bus=self.bus,
            poll_s=poll_s,
            fresh=Fresh(self.candles),
        )

    @asynccontextmanager
    async def running(self, poll_s: float = 0.01) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(self.runner(poll_s).run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    def extend(self, upto: int) -> None:
        self.candles.put(BTC, minutes(CLOSES[:upto]))

    def state(self, name: str = "trend") -> BotState:
        view = self.store.view(name)
        assert view is not None
        return view.state

    def fills(self, name: str = "trend") -> list[tuple[OrderReason, int]]:
        return [
            (fill.reason, (fill.filled_at_us - T0) // MINUTE)
            for step in self.store.steps(name)
            for fill in step.fills
        ]

    def taken(self, upto: int, name: str = "trend") -> Callable[[], bool]:
        def look() -> bool:
            view = self.store.view(name)
            return view is not None and view.last_candle_us == T0 + (upto - 1) * MINUTE

        return look


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not look():  # noqa: ASYNC110 what is looked at has no event to wait for
            await asyncio.sleep(0.005)


async def test_a_bot_starts_and_trades_candles_as_they_are_stored() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    async with desk.running():
        await until(desk.taken(5))
        assert desk.state() is BotState.RUNNING
        for upto in range(6, 12):
            desk.extend(upto)
            await until(desk.taken(upto))

    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.EXIT_SIGNAL, 9)]
    decided = [
        (made.decision.opened_at_us - T0) // MINUTE
        for step in desk.store.steps("trend")
        for made in step.decisions
    ]
    assert decided == list(range(5, 11))


async def test_a_runner_that_ended_is_made_up_for_by_the_next() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    async with desk.running():
        await until(desk.taken(5))
        desk.extend(7)
        await until(desk.taken(7))
    desk.extend(16)
    async with desk.running():
        await until(desk.taken(16))

    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.EXIT_SIGNAL, 9)]
    assert "restarted" in [event.what for event in desk.store.events]
    records = [made.decision.record["seen"] for step in desk.store.steps("trend") for made in step.decisions]
    assert records == list(range(6, 17))


async def test_a_frozen_bot_keeps_its_position_and_waits_for_a_person() -> None:
    desk = Desk()
    desk.store.add(bot_config(on_restart="freeze"))
    async with desk.running():
        await until(desk.taken(5))
        desk.extend(7)
        await until(desk.taken(7))
    desk.extend(10)
    async with desk.running():
        await until(lambda: desk.state() is BotState.STOPPED)
        await asyncio.sleep(0.05)
        assert desk.fills() == [(OrderReason.ENTRY, 6)]
        view = desk.people.bot("trend")
        assert "frozen after a restart, with its position open" in view.health

        desk.people.start("trend", who="anna")
        await until(lambda: desk.state() is BotState.RUNNING)
        desk.extend(16)
        await until(desk.taken(16))

    # The exit signal of candle 8 came while it was frozen: a person who starts it starts from now.
    assert desk.fills() == [(OrderReason.ENTRY, 6)]


async def test_a_flattening_bot_closes_at_the_first_open_after_the_restart() -> None:
    desk = Desk()
    desk.strategies["trend"] = ScriptedStrategy({T0 + 5 * MINUTE: "long_entry"})
    desk.store.add(bot_config(on_restart="flatten"))
    async with desk.running():
        await until(desk.taken(5))
        desk.extend(7)
        await until(desk.taken(7))
    desk.extend(10)
    async with desk.running():
        await until(desk.taken(10))
        assert desk.fills() == [(OrderReason.ENTRY, 6)]
        desk.extend(11)
        await until(desk.taken(11))

    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.FLATTEN, 10)]
    assert desk.state() is BotState.RUNNING


async def test_a_broken_bot_fails_alone_and_says_what_to_mend() -> None:
    desk = Desk()
    problem = Problem(where="x.json", field="long.entry", value="missing", expected="give a rule")
    desk.strategies["broken"] = InvalidInput(problem)
    desk.strategies["buggy"] = ScriptedStrategy(SCRIPT, broken_at_us=T0 + 6 * MINUTE)
    for name in ("broken", "buggy", "trend"):
        desk.store.add(bot_config(name))
    async with desk.running():
        await until(lambda: desk.state("broken") is BotState.FAILED)
        await until(desk.taken(5, "buggy"))
        await until(desk.taken(5))
        desk.extend(12)
        await until(desk.taken(12))
        await until(lambda: desk.state("buggy") is BotState.FAILED)

    assert desk.people.bot("broken").health == str(problem)
    assert "ZeroDivisionError: a bug in a strategy" in desk.people.bot("buggy").health
    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.EXIT_SIGNAL, 9)]


async def test_a_failed_bot_can_be_started_once_it_is_mended() -> None:
    desk = Desk()
    desk.strategies["trend"] = InvalidInput(Problem(where="x", field="y", value="z", expected="w"))
    desk.store.add(bot_config())
    async with desk.running():
        await until(lambda: desk.state() is BotState.FAILED)
        desk.strategies["trend"] = ScriptedStrategy(SCRIPT)
        desk.people.start("trend", who="anna")
        await until(lambda: desk.state() is BotState.RUNNING)
        assert desk.people.bot("trend").health == ""


async def test_pause_start_and_stop_are_obeyed() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    async with desk.running():
        await until(lambda: desk.state() is BotState.RUNNING)
        desk.people.pause("trend", who="anna")
        await until(lambda: desk.state() is BotState.PAUSED)
        desk.extend(7)
        await until(desk.taken(7))
        assert desk.fills() == []
        desk.people.start("trend", who="anna")
        await until(lambda: desk.state() is BotState.RUNNING)
        desk.people.stop("trend", who="anna")
        await until(lambda: desk.state() is BotState.STOPPED)
        desk.extend(9)
        await asyncio.sleep(0.05)
        assert desk.taken(7)()

    whats = [event.what for event in reversed(desk.store.events)]
    assert whats == [
        "created",
        "running",
        "not rounded",
        "asked to pause",
        "paused",
        "asked to start",
        "running",
        "asked to stop",
        "stopped",
    ]


async def test_a_stopped_bot_with_a_position_can_still_be_flattened() -> None:
    desk = Desk()
    desk.strategies["trend"] = ScriptedStrategy({T0 + 5 * MINUTE: "long_entry"})
    desk.store.add(bot_config())
    async with desk.running():
        await until(desk.taken(5))
        desk.extend(7)
        await until(desk.taken(7))
        desk.people.stop("trend", who="anna")
        await until(lambda: desk.state() is BotState.STOPPED)
        desk.extend(10)
        desk.people.stop("trend", who="anna", flatten=True)
        await until(lambda: desk.state() is BotState.STOPPING)
        desk.extend(12)
        await until(lambda: desk.state() is BotState.STOPPED)

    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.FLATTEN, 10)]


async def test_a_bot_without_candles_waits_for_the_first_and_says_so() -> None:
    desk = Desk()
    desk.candles.put(BTC, minutes([]))
    desk.store.add(bot_config())
    async with desk.running():
        await until(
            lambda: desk.people.bot("trend").health == "waits for the first 1m candle of binance:BTC-USDT"
        )
        desk.extend(5)
        await until(desk.taken(5))
        assert desk.people.bot("trend").health == ""
        desk.extend(9)
        await until(desk.taken(9))

    assert desk.fills() == [(OrderReason.ENTRY, 6)]


async def test_a_bot_obeys_the_instrument_even_if_that_came_after_its_start() -> None:
    desk = Desk()
    desk.candles.put(BTC, minutes([]))
    desk.store.add(bot_config())
    async with desk.running():
        await until(lambda: desk.state() is BotState.RUNNING)
        desk.candles.learn(
            Instrument(
                exchange="binance",
                symbol="BTC-USDT",
                venue_symbol="BTCUSDT",
                kind=InstrumentKind.SPOT,
                base="BTC",
                quote="USDT",
                tick_size=Decimal("0.01"),
                lot_size=Decimal("0.5"),
                min_quantity=Decimal("0.5"),
                min_notional=Decimal(5),
            )
        )
        desk.extend(5)
        await until(desk.taken(5))
        desk.extend(7)
        await until(desk.taken(7))

    (fill,) = [fill for step in desk.store.steps("trend") for fill in step.fills]
    assert fill.quantity == Decimal("96.5")
    assert "not rounded" not in [event.what for event in desk.store.events]


async def test_an_open_heard_on_the_bus_fills_before_the_candle_closes() -> None:
    bus = MemoryBus()
    desk = Desk(bus=bus)
    desk.store.add(bot_config())
    async with desk.running(poll_s=30):
        await until(desk.taken(5))
        await until(lambda: bus.hears("candles.binance.BTC-USDT.1m"))
        desk.extend(6)
        await bus.publish("candles.binance.BTC-USDT.1m", candle_news(6, closed=True))
        await until(desk.taken(6))
        await bus.publish("candles.binance.BTC-USDT.1m", candle_news(7, closed=False, covered=False))
        await asyncio.sleep(0.05)
        assert desk.fills() == []
        await bus.publish("candles.binance.BTC-USDT.1m", candle_news(7, closed=False))
        await until(lambda: desk.fills() == [(OrderReason.ENTRY, 6)])
        assert desk.taken(6)()

    signals = [
        msgspec.json.decode(payload, type=SignalsSaid)
        for topic, payload in bus.published
        if "signals" in topic
    ]
    assert [said.signals[0].action for said in signals] == ["long_entry"]
    updates = [
        update
        for topic, payload in bus.published
        if topic == BOTS_TOPIC
        for update in msgspec.json.decode(payload, type=BotUpdates).bots
    ]
    assert updates[-1].fills[0].reason is OrderReason.ENTRY
    assert (updates[-1].bot, updates[-1].state) == ("trend", BotState.RUNNING)


async def test_a_basket_takes_candles_once_all_its_symbols_have_them_and_fills_at_their_opens() -> None:
    eth = Market("binance", "ETH-USDT")
    bus = MemoryBus()
    desk = Desk(bus=bus)
    desk.candles.put(eth, minutes(CLOSES[:5]))
    settings = {"weights": {"BTC-USDT": 0.5, "ETH-USDT": 0.3}, "threshold": 0.01}
    config = bot_config(strategy=None, symbol=None, type="rebalance", settings=settings)
    assert isinstance(config.ladder, RebalanceSettings)
    desk.strategies["trend"] = BasketStrategy(config.ladder, Timeframe.M1)
    desk.store.add(config)

    async def hear(market: Market, upto: int, *, closed: bool) -> None:
        news = msgspec.json.decode(candle_news(upto, closed=closed), type=CandleUpdate)
        candle = msgspec.structs.replace(news.candle, symbol=market.symbol)
        told = msgspec.structs.replace(news, candle=candle)
        await bus.publish(f"candles.binance.{market.symbol}.1m", msgspec.json.encode(told))

    async with desk.running(poll_s=30):
        await until(desk.taken(5))
        await until(lambda: bus.hears("candles.binance.ETH-USDT.1m"))
        desk.extend(6)
        await hear(BTC, 6, closed=True)
        await asyncio.sleep(0.05)
        assert desk.taken(5)()
        desk.candles.put(eth, minutes(CLOSES[:6]))
        await hear(eth, 6, closed=True)
        await until(desk.taken(6))
        await hear(BTC, 7, closed=False)
        await asyncio.sleep(0.05)
        assert desk.fills() == []
        await hear(eth, 7, closed=False)
        await until(lambda: desk.fills() == [(OrderReason.ENTRY, 6)] * 2)
        assert desk.taken(6)()


def candle_news(upto: int, *, closed: bool, covered: bool = True) -> bytes:
    candle = candles_of(minutes(CLOSES[:upto]), BTC)[-1]
    return msgspec.json.encode(CandleUpdate(candle=candle, closed=closed, covered=covered))


async def test_a_wish_on_the_bus_is_obeyed_at_once() -> None:
    bus = MemoryBus()
    desk = Desk(bus=bus)
    desk.store.add(bot_config())
    async with desk.running(poll_s=30):
        await until(lambda: desk.state() is BotState.RUNNING and bus.hears(CONTROL_TOPIC))
        desk.people.pause("trend", who="anna")
        await bus.publish(CONTROL_TOPIC, msgspec.json.encode(BotAsked(bot="trend")))
        await until(lambda: desk.state() is BotState.PAUSED)


async def test_a_message_nobody_can_read_does_no_harm() -> None:
    bus = MemoryBus()
    desk = Desk(bus=bus)
    desk.store.add(bot_config())
    async with desk.running():
        await until(lambda: bus.hears("candles.binance.BTC-USDT.1m"))
        await bus.publish("candles.binance.BTC-USDT.1m", b"{not json")
        desk.extend(7)
        await until(desk.taken(7))


async def test_a_database_that_goes_away_costs_nothing_but_time(logs: list[EventDict]) -> None:
    desk = Desk()
    desk.store.add(bot_config())
    async with desk.running():
        await until(desk.taken(5))
        desk.store.away = 2
        desk.extend(7)
        await until(desk.taken(7))
        desk.store.lose_answers = 1
        desk.extend(9)
        await until(desk.taken(9))
        desk.candles.away = True
        await asyncio.sleep(0.05)
        desk.candles.away = False
        desk.extend(12)
        await until(desk.taken(12))

    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.EXIT_SIGNAL, 9)]
    assert "restarted" not in [event.what for event in desk.store.events]
    # A step whose answer got lost is known again, not taken for somebody else's.
    assert "bot_moved_elsewhere" not in [entry["event"] for entry in logs]


async def test_a_step_that_cannot_be_stored_fails_its_bot_alone() -> None:
    desk = Desk()
    desk.store.add(bot_config("cursed"))
    desk.store.add(bot_config())
    desk.store.refuse = {"cursed"}
    async with desk.running():
        await until(desk.taken(5))
        desk.extend(12)
        await until(desk.taken(12))
        await until(lambda: desk.state("cursed") is BotState.FAILED)

    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.EXIT_SIGNAL, 9)]
    assert desk.fills("cursed") == []
    assert "a constraint is broken" in desk.people.bot("cursed").health


async def test_of_two_runners_one_works_and_the_other_takes_over() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    first_stop, second_stop = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(desk.runner().run(first_stop))
    await until(desk.taken(5))
    second = asyncio.create_task(desk.runner().run(second_stop))
    desk.extend(7)
    await until(desk.taken(7))
    assert "restarted" not in [event.what for event in desk.store.events]

    first_stop.set()
    await first
    desk.extend(16)
    await until(desk.taken(16))
    second_stop.set()
    await second

    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.EXIT_SIGNAL, 9)]


@pytest.mark.parametrize("policy", ["resume", "freeze", "flatten"])
async def test_a_claim_lost_for_a_moment_changes_nothing(policy: str) -> None:
    desk = Desk()
    desk.store.add(bot_config(on_restart=policy))
    async with desk.running():
        await until(desk.taken(5))
        desk.extend(7)
        await until(desk.taken(7))
        desk.store.claim_breaks = True
        await until(lambda: desk.store.claims == 2)
        desk.extend(16)
        await until(desk.taken(16))
        assert desk.state() is BotState.RUNNING

    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.EXIT_SIGNAL, 9)]
    assert "restarted" not in [event.what for event in desk.store.events]
    records = [made.decision.record["seen"] for step in desk.store.steps("trend") for made in step.decisions]
    assert records == list(range(6, 17))


async def test_a_step_that_could_not_be_stored_before_the_claim_was_lost_is_made_anew() -> None:
    desk = Desk()
    desk.store.add(bot_config(on_restart="freeze"))
    async with desk.running():
        await until(desk.taken(5))
        desk.store.away, desk.store.claim_breaks = 1, True
        desk.extend(7)
        await until(lambda: desk.store.claims == 2)
        await until(desk.taken(7))

    assert desk.fills() == [(OrderReason.ENTRY, 6)]
    assert "restarted" not in [event.what for event in desk.store.events]


async def test_a_bot_that_another_runner_moved_meanwhile_is_restarted() -> None:
    desk = Desk()
    desk.store.add(bot_config(on_restart="freeze"))
    async with desk.running():
        await until(desk.taken(5))
        desk.extend(7)
        await until(desk.taken(7))
        desk.store.elsewhere = desk.store.claim_breaks = True
        await until(lambda: not desk.store.claim_breaks)
        wish = desk.store.wish("trend")
        assert wish is not None
        for number in (1, 2):
            step = BotStep(
                bot_id=wish.bot_id, step=wish.step + number, at_us=NOW, state=BotState.RUNNING, health=""
            )
            assert desk.store.commit([step])
        desk.store.elsewhere = False
        await until(lambda: desk.state() is BotState.STOPPED)

    assert desk.store.events[0].why == "on_restart is freeze"


async def test_many_bots_of_one_market_share_its_candles() -> None:
    desk = Desk()
    reads = 0
    read = desk.candles.candles

    def counted(*arguments: object, **options: object) -> object:
        nonlocal reads
        reads += 1
        return read(*arguments, **options)  # type: ignore[arg-type]

    for i in range(200):
        desk.store.add(bot_config(f"bot_{i}"))
    async with desk.running(poll_s=30):
        await until(desk.taken(5, "bot_199"))
    desk.extend(16)
    desk.candles.candles = counted  # type: ignore[method-assign,assignment]
    async with desk.running(poll_s=0.2):
        await until(lambda: all(desk.taken(16, f"bot_{i}")() for i in range(200)))

    # 200 to warm up again, and then one for all of them each time.
    assert reads < 220


async def test_a_deleted_bot_is_forgotten() -> None:
    desk = Desk()
    desk.store.add(bot_config())
    async with desk.running():
        await until(lambda: desk.state() is BotState.RUNNING)
        desk.people.stop("trend", who="anna")
        await until(lambda: desk.state() is BotState.STOPPED)
        desk.people.delete("trend", who="anna")
        await asyncio.sleep(0.03)
        assert desk.people.list_bots() == []
