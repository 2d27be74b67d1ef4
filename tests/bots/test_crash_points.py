"""A runner that dies at each of its writes, before and after it: the bot ends like its twin every time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import structlog

from bots.bot_loading import StrategyLoader
from bots.bot_runner import BotRunner
from bots.config import BotConfig, as_document
from bots.ladders.settings import RebalanceSettings
from bots.ladders.strategy import BasketStrategy
from bots.lifecycle import BotState
from bots.service import BotService
from bots.shards import WHOLE, Shard
from bots.stores import BotEvent, BotStep, Wish
from data.models import Market, Ohlcv
from data.timeframes import Timeframe
from database.repositories.bot_repository import BotRepository
from strategies.base import Protection, Strategy
from tests.bots.bot_fakes import (
    BTC,
    MINUTE,
    T0,
    MemoryBus,
    MemoryCandles,
    ScriptedStrategy,
    bot_config,
    minutes,
)

pytestmark = pytest.mark.integration

NOW = T0 + 400 * 86_400_000_000
HISTORY, PIECE, PIECES = 10, 8, 8
LEAST_POINTS = 50
CLOSES = [100 + 8 * ((7 * i) % 11 - 5) / 5 + i / 40 for i in range(HISTORY + PIECE * PIECES)]
SCRIPT = {
    T0 + i * MINUTE: words
    for i in range(HISTORY, len(CLOSES))
    if (words := {0: "long_entry", 3: "long_exit short_entry", 5: "short_exit"}.get(i % 6))
}


class Killed(BaseException):
    """The process is gone: nothing catches this, and nothing is written after it."""


@dataclass
class Fate:
    """Counts writes, and kills before or after the chosen one."""

    what: str = ""  # "commit" or "publish"; empty: lives on
    number: int = 0
    after: bool = False
    counts: dict[str, int] = field(default_factory=lambda: {"commit": 0, "publish": 0})
    is_dead: bool = False

    def check(self) -> None:
        if self.is_dead:
            raise Killed

    def before(self, what: str) -> None:
        self.check()
        self.counts[what] += 1
        if not self.after:
            self._strike(what)

    def done(self, what: str) -> None:
        if self.after:
            self._strike(what)

    def _strike(self, what: str) -> None:
        if what == self.what and self.counts[what] == self.number:
            self.is_dead = True
            raise Killed


class MortalStore(BotRepository):
    """The real store as one process sees it that serves one bot."""

    def __init__(self, url: str, fate: Fate, name: str) -> None:
        super().__init__(url)
        self._fate, self._name = fate, name

    def wishes(self, shard: Shard = WHOLE) -> list[Wish]:
        self._fate.check()
        return [wish for wish in super().wishes(shard) if wish.name == self._name]

    def commit(self, steps: Sequence[BotStep]) -> frozenset[int]:
        if not steps:
            return frozenset()
        self._fate.before("commit")
        applied = super().commit(steps)
        self._fate.done("commit")
        return applied


class MortalBus(MemoryBus):
    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    async def publish(self, topic: str, payload: bytes) -> None:
        self._fate.before("publish")
        await super().publish(topic, payload)
        self._fate.done("publish")


def load(config: BotConfig, source: str) -> Strategy:
    return ScriptedStrategy(
        SCRIPT, protection=Protection(stop_loss=0.02, take_profit=0.03, trailing_stop=0.025)
    )


class Drill:
    """One database; a bot for each point, fed piece by piece."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.look = BotRepository(url)
        self.whole: dict[Market, Ohlcv] = {BTC: minutes(CLOSES, spread=0.4)}
        self.load: StrategyLoader = load
        self.settings: dict[str, Any] = {}

    async def life(self, name: str, fate: Fate) -> int:
        """Lead a bot through all candles; how often its runner was started."""
        config = bot_config(name, fee_bps=3, slippage_bps=2, **self.settings)
        event = BotEvent(at_us=T0, who="test", what="created")
        assert self.look.create(
            as_document(config), name=name, source="", desired=BotState.RUNNING, health="", event=event
        )
        candles = MemoryCandles(*((market, one.rows(0, HISTORY)) for market, one in self.whole.items()))
        starts = 0
        while True:
            starts += 1
            try:
                await self._run(name, candles, fate)
            except Killed:
                fate = Fate()
                continue
            return starts

    async def _run(self, name: str, candles: MemoryCandles, fate: Fate) -> None:
        stop = asyncio.Event()
        with closing(MortalStore(self.url, fate, name)) as store:
            runner = BotRunner(
                store, candles, load_strategy=self.load, clock=lambda: NOW, bus=MortalBus(fate), poll_s=0.002
            )
            running = asyncio.create_task(runner.run(stop))
            feeding = asyncio.create_task(self._feed(name, candles))
            await asyncio.wait((running, feeding), return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            feeding.cancel()
            await running

    async def _feed(self, name: str, candles: MemoryCandles) -> None:
        """The next piece once the last is taken."""
        while True:
            view = await asyncio.to_thread(self.look.view, name)
            assert view is not None
            assert view.state is not BotState.FAILED, view.health
            known = len(candles.candles(BTC, Timeframe.M1))
            if view.last_candle_us == int(self.whole[BTC].opened_at_us[known - 1]):
                if known == len(self.whole[BTC]):
                    return
                for market, one in self.whole.items():
                    candles.put(market, one.rows(0, known + PIECE))
            await asyncio.sleep(0.002)

    def outcome(self, name: str) -> dict[str, Any]:
        people = BotService(self.look, clock=lambda: NOW)
        wish = self.look.wish(name)
        record = None if wish is None else self.look.record(wish.bot_id)
        assert record is not None
        assert record.account is not None

        def unnamed(items: Sequence[msgspec.Struct]) -> list[dict[str, Any]]:
            return [{**msgspec.structs.asdict(item), "bot": ""} for item in items]

        span = {"start_us": 0, "end_us": NOW}
        return {
            "account": msgspec.json.decode(record.account),
            "last candle": record.last_candle_us,
            "orders": unnamed(people.orders(name, 10_000)),
            "fills": unnamed(people.fills(name, 10_000)),
            "trades": unnamed(people.trades(name, 10_000)),
            "decisions": unnamed(people.decisions(name, 10_000)),
            "equity": self.look.equity_between(name, **span),
            "checkpoints": [
                msgspec.structs.replace(kept, config={**kept.config, "name": ""})
                for kept in self.look.checkpoints(name, **span)
            ],
        }


@pytest.fixture
def drill(migrated_database: Callable[[], str]) -> Iterator[Drill]:
    url = migrated_database()
    made = Drill(url)
    with structlog.testing.capture_logs():
        yield made
    made.look.close()


def basket(config: BotConfig, source: str) -> Strategy:
    assert isinstance(config.ladder, RebalanceSettings)
    return BasketStrategy(config.ladder, Timeframe.M1)


async def test_whichever_write_a_runner_dies_at_the_bot_ends_like_its_twin(drill: Drill) -> None:
    await kill_everywhere(drill, most=18, least=LEAST_POINTS)


async def test_whichever_write_a_runner_dies_at_a_basket_ends_like_its_twin(drill: Drill) -> None:
    weights = {"BTC-USDT": 0.5, "ETH-USDT": 0.3}
    drill.whole[Market("binance", "ETH-USDT")] = minutes(CLOSES[::-1], spread=0.4)
    drill.load = basket
    settings = {"weights": weights, "threshold": 0.02, "every": "1h"}
    drill.settings = {"strategy": None, "symbol": None, "type": "rebalance", "settings": settings}
    await kill_everywhere(drill, most=8, least=30)
    assert {fill["market"].symbol for fill in drill.outcome("twin")["fills"]} == set(weights)


async def kill_everywhere(drill: Drill, *, most: int, least: int) -> None:
    calm = Fate()
    assert await drill.life("twin", calm) == 1
    expected = drill.outcome("twin")
    assert len(expected["fills"]) > 20

    points = [
        (what, number, after)
        for what in ("commit", "publish")
        for number in range(1, min(calm.counts[what], most) + 1)
        for after in (False, True)
    ]
    assert len(points) >= least
    for place, (what, number, after) in enumerate(points):
        name = f"victim-{place}"
        starts = await drill.life(name, Fate(what=what, number=number, after=after))
        assert starts == 2, (what, number, after)
        found = drill.outcome(name)
        for part, wanted in expected.items():
            assert found[part] == wanted, (what, number, after, part)
