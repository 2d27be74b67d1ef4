"""A basket under a runner: what a restart does with it, and a change of its weights."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from bots.bot_life import Series
from bots.bot_runner import BotRunner
from bots.config import BotConfig, parse_bot
from bots.gates import Gate
from bots.ladders.settings import RebalanceSettings
from bots.ladders.strategy import BasketStrategy
from bots.lifecycle import BotState
from bots.orders import OrderReason
from bots.paper_bot import candles_of
from bots.stores import MOST_FRESH
from data.messages import CandleUpdate
from data.models import Market, Ohlcv, Side
from data.timeframes import Timeframe
from data.topics import candles_topic
from strategies.base import Strategy
from tests.bots.bot_fakes import BTC, MINUTE, T0, MemoryBus, ScriptedStrategy, bot_config, minutes
from tests.bots.test_bot_runner import NOW, Desk, Fresh, until

ETH = Market("binance", "ETH-USDT")
CLOSES = [100.0, 101.0, 103.0, 101.0, 104.0, 110.0, 99.0, 104.0, 96.0, 93.0, 99.0, 101.0, 97.0, 95.0, 100.0]


def config_of(**changes: Any) -> BotConfig:
    settings = {"weights": {"BTC-USDT": 0.5, "ETH-USDT": 0.3}, "threshold": 0.005}
    return bot_config(strategy=None, symbol=None, type="rebalance", settings=settings, **changes)


class BasketDesk(Desk):
    """With the candles of two markets; each of them changes in its own way."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.extend(5)
        self.store.add(config_of(**changes))

    def load(self, config: BotConfig, source: str) -> Strategy:
        assert isinstance(config.ladder, RebalanceSettings)
        return BasketStrategy(config.ladder, Timeframe.M1)

    def extend(self, upto: int) -> None:
        self.candles.put(BTC, minutes(CLOSES[:upto]))
        self.candles.put(ETH, minutes([10 + close / 50 for close in CLOSES[:upto]]))

    def reasons(self) -> list[OrderReason]:
        return [reason for reason, _ in self.fills()]

    async def live(self, upto: int) -> None:
        self.extend(upto)
        await until(self.taken(upto))


async def test_after_an_outage_it_goes_on_as_if_it_had_never_stopped() -> None:
    calm, hurt = BasketDesk(), BasketDesk()
    for desk, pieces in ((calm, [[15]]), (hurt, [[7], [9, 10], [15]])):
        for piece in pieces:
            async with desk.running():
                await until(lambda desk=desk: desk.state() is BotState.RUNNING)  # type: ignore[misc]
                for upto in piece:
                    await desk.live(upto)
    assert hurt.fills() == calm.fills()
    assert len(calm.fills()) > 8
    assert "restarted" in [event.what for event in hurt.store.events]


async def test_flattened_after_an_outage_it_sells_everything_and_then_begins_again() -> None:
    desk = BasketDesk(on_restart="flatten")
    async with desk.running():
        await until(desk.taken(5))
        await desk.live(7)
    bought = desk.reasons()
    assert bought == [OrderReason.ENTRY, OrderReason.ENTRY]
    desk.extend(10)
    async with desk.running():
        await until(desk.taken(10))
        assert OrderReason.FLATTEN not in desk.reasons()
        made_up = [made for step in desk.store.steps("trend") for made in step.decisions][-3:]
        assert {made.gate for made in made_up if made.decision.long_entry} == {Gate.OUTAGE}
        before = len(desk.reasons())
        await desk.live(11)
        assert desk.reasons()[before:] == [OrderReason.FLATTEN, OrderReason.FLATTEN]
        await desk.live(12)
    assert desk.reasons()[-2:] == [OrderReason.ENTRY, OrderReason.ENTRY]
    assert desk.state() is BotState.RUNNING


async def test_frozen_after_an_outage_it_keeps_what_it_holds_until_a_person_starts_it() -> None:
    desk = BasketDesk(on_restart="freeze")
    async with desk.running():
        await until(desk.taken(5))
        await desk.live(7)
    desk.extend(10)
    async with desk.running():
        await until(lambda: desk.state() is BotState.STOPPED)
        view = desk.people.bot("trend")
        assert "frozen after a restart, with its position open" in view.health
        made = len(desk.fills())
        desk.people.start("trend", who="anna")
        await until(lambda: desk.state() is BotState.RUNNING)
        await desk.live(15)
    assert OrderReason.ENTRY not in desk.reasons()[made:]
    assert len(desk.fills()) > made


async def test_new_weights_are_taken_between_two_candles() -> None:
    desk = BasketDesk()
    async with desk.running():
        await until(desk.taken(5))
        await desk.live(7)
        made = len(desk.fills())
        desk.people.change(
            "trend",
            {"settings": {"weights": {"BTC-USDT": 0.1, "ETH-USDT": 0.3}, "threshold": 0.2}},
            who="anna",
        )
        await until(lambda: "settings applied" in [event.what for event in desk.store.events])
        await desk.live(9)
        fills = [fill for step in desk.store.steps("trend") for fill in step.fills][made:]
        sold = [fill for fill in fills if fill.symbol == "BTC-USDT" and fill.side is Side.SELL]
        assert sum(fill.price * fill.quantity for fill in sold) > 3_000
        record = desk.store.record(1)
        assert record is not None
        ladder = parse_bot(record.config, where="test").ladder
        assert isinstance(ladder, RebalanceSettings)
        assert str(ladder.weights["BTC-USDT"]) == "0.1"


async def test_a_basket_that_waits_does_not_make_another_bot_skip_candles_after_a_restart() -> None:
    rows = MOST_FRESH + 700
    closes = [100.0 + row % 7 for row in range(rows + 1)]

    class CutShort(Fresh):
        def candles_since(self, wanted: Mapping[Series, int]) -> dict[Series, Ohlcv]:
            found = super().candles_since(wanted)
            return {one: ohlcv.rows(0, min(len(ohlcv), MOST_FRESH)) for one, ohlcv in found.items()}

    class TwoBots(BasketDesk):
        def load(self, config: BotConfig, source: str) -> Strategy:
            if config.ladder is None:
                return ScriptedStrategy({T0 + (rows - 3) * MINUTE: "long_entry"})
            return super().load(config, source)

        def runner(self, poll_s: float = 0.01) -> BotRunner:
            return BotRunner(
                self.store,
                self.candles,
                load_strategy=self.load,
                clock=lambda: NOW,
                bus=self.bus,
                poll_s=poll_s,
                fresh=CutShort(self.candles),
            )

    desk = TwoBots()
    desk.bus = MemoryBus()
    desk.store.add(bot_config("single"))
    desk.candles.put(BTC, minutes(closes[:5]))

    async def say_what_forms(bus: MemoryBus) -> None:
        begun = candles_of(minutes(closes).rows(rows, rows + 1), BTC)[0]
        news = msgspec.json.encode(CandleUpdate(candle=begun, closed=False, covered=True))
        while True:
            await bus.publish(candles_topic(BTC, Timeframe.M1), news)
            await asyncio.sleep(0.001)

    async with desk.running():
        await until(desk.taken(5))
        await until(desk.taken(5, "single"))
        # The other symbol of the basket is never traded again.
        for upto in range(1_500, rows - 2, 400):
            desk.candles.put(BTC, minutes(closes[:upto]))
            await until(desk.taken(upto, "single"))
        desk.candles.put(BTC, minutes(closes[: rows - 2]))
        await until(desk.taken(rows - 2, "single"))
    assert desk.fills("single") == []
    desk.candles.put(BTC, minutes(closes[:rows]))
    telling = asyncio.create_task(say_what_forms(desk.bus))
    async with desk.running():
        await until(desk.taken(rows, "single"))
    telling.cancel()
    assert desk.fills("single") == [(OrderReason.ENTRY, rows - 2)]
