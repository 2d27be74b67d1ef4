"""Real runner processes on a real database, killed at bad moments, beside a twin that is left in peace."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from backtesting.parity_day import ParityReport, check_parity
from bots.lifecycle import BotState
from bots.paper_bot import candles_of
from bots.service import BotService
from bots.views import BotView
from data.files.candle_files import read_candles
from data.messages import CandleUpdate
from data.models import BookSnapshot, Market, Ohlcv
from data.stores import ChannelBatch, MarketBatch
from data.timeframes import Timeframe
from database.repositories.bot_repository import BotRepository
from database.repositories.candle_repository import CandleRepository
from database.repositories.channel_repository import ChannelRepository
from database.repositories.market_repository import MarketRepository
from embedded.valkey import EmbeddedValkey
from messaging.redis_bus import RedisBus
from messaging.redis_publisher import RedisPublisher
from strategies.loader import parse_strategy
from tests.bots.depth_fakes import books_around
from tests.integration.processes import Program, wait_for

pytestmark = pytest.mark.integration

BTC = Market("binance", "BTC-USDT")
ETH = Market("binance", "ETH-USDT")
HISTORY = 300
STRATEGY = {
    "name": "busy",
    "timeframe": "1m",
    "indicators": {"fast": {"type": "ema", "period": 3}, "slow": {"type": "ema", "period": 8}},
    "long": {
        "entry": {"crosses_above": ["fast", "slow"]},
        "exit": {"crosses_below": ["fast", "slow"]},
    },
    "short": {
        "entry": {"crosses_below": ["fast", "slow"]},
        "exit": {"crosses_above": ["fast", "slow"]},
    },
    "protection": {"stop_loss": 0.002, "take_profit": 0.003, "trailing_stop": 0.0015},
}


class Site:
    """One database with its runner's surroundings, and people to look into it."""

    def __init__(self, home: Path, database_url: str, redis_url: str) -> None:
        self.bots_folder = home / "bots"
        self.strategies = home / "strategies"
        for folder in (self.bots_folder, self.strategies):
            folder.mkdir(parents=True)
        (self.strategies / "busy.json").write_text(json.dumps(STRATEGY))
        self._environment = {
            "CANDLEWICK_HOME": str(home),
            "CANDLEWICK_BOTS": str(self.bots_folder),
            "CANDLEWICK_STRATEGIES": str(self.strategies),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
        }
        self._database_url = database_url
        self._log = home / "runner.log"
        self.redis_url = redis_url
        self.repository = BotRepository(database_url)
        self.people = BotService(self.repository, clock=lambda: time.time_ns() // 1_000)

    def add_bot(self, name: str = "twin", **changes: Any) -> None:
        document = {
            "name": name,
            "venue": "binance",
            "symbol": "BTC-USDT",
            "strategy": "busy",
            "capital": 10_000,
            "fee_bps": 2,
            "slippage_bps": 1,
            **changes,
        }
        (self.bots_folder / f"{name}.json").write_text(json.dumps(document))

    def runner(self, runners: int = 1) -> Program:
        return Program(
            *("bots", "run", "--runners", str(runners)), environment=self._environment, log=self._log
        )

    def save(self, candles: Ohlcv, *markets: Market) -> None:
        """Store these candles of BTC, or of each of the markets at once."""
        found = [candle for market in markets or (BTC,) for candle in candles_of(candles, market)]

        async def save() -> None:
            repository = MarketRepository(self._database_url)
            try:
                await repository.save(MarketBatch(trades=(), candles=found, runs=()))
            finally:
                await repository.close()

        asyncio.run(save())

    def save_books(self, books: Sequence[BookSnapshot]) -> None:
        async def save() -> None:
            repository = ChannelRepository(self._database_url)
            try:
                await repository.save_channels(ChannelBatch(books=books))
            finally:
                await repository.close()

        asyncio.run(save())

    def parity(self, name: str, candles: Ohlcv) -> ParityReport:
        """The bot's life on these candles, replayed from what is stored."""
        with closing(CandleRepository(self._database_url)) as stored:
            return check_parity(
                self.repository,
                stored,
                name,
                start_us=int(candles.opened_at_us[0]),
                end_us=int(candles.opened_at_us[-1]) + candles.timeframe.us,
                load_strategy=lambda config: parse_strategy(STRATEGY, "test"),
            )

    def wait(self, what: str, look: Callable[[BotView], bool], name: str = "twin") -> BotView:
        def found() -> BotView | None:
            view = self.repository.view(name)
            return view if view is not None and look(view) else None

        return wait_for(what, found)

    def wait_for_candle(self, candles: Ohlcv, name: str = "twin") -> BotView:
        last = int(candles.opened_at_us[-1])
        return self.wait("the last candle", lambda view: view.last_candle_us == last, name)

    def outcome(self, name: str = "twin") -> dict[str, Any]:
        """All that must not depend on how often the runner died."""
        view = self.people.bot(name)
        curve = self.people.equity(name, max_points=100_000)
        return {
            "account": (
                view.equity,
                view.cash,
                view.position,
                view.realised_pnl,
                view.fees_paid,
                view.trades,
            ),
            "orders": self.people.orders(name, limit=10_000),
            "fills": self.people.fills(name, limit=10_000),
            "trades": self.people.trades(name, limit=10_000),
            "decisions": self.people.decisions(name, limit=10_000),
            "curve": np.column_stack([curve.at_us, curve.equity, curve.cash, curve.position]).tolist(),
        }


@contextmanager
def running(site: Site) -> Iterator[Program]:
    program = site.runner()
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.end()


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Ohlcv:
    path = shared_data / "candles" / "binance_spot" / "BTCUSDT_1m_20250520_20250818.csv.gz"
    return read_candles(path, Timeframe.M1).rows(0, 900)


@pytest.fixture
def new_site(
    tmp_path: Path, migrated_database: Callable[[], str], valkey: EmbeddedValkey
) -> Iterator[Callable[[str], Site]]:
    with ExitStack() as stack:

        def make(name: str) -> Site:
            site = Site(tmp_path / name, migrated_database(), valkey.url())
            stack.callback(site.repository.close)
            return site

        yield make


def test_killed_again_and_again_a_bot_ends_like_its_twin(
    new_site: Callable[[str], Site], recorded: Ohlcv, record_property: Callable[[str, object], None]
) -> None:
    calm, hurt = new_site("calm"), new_site("hurt")
    books = books_around(recorded.rows(HISTORY, 900))
    for site in (calm, hurt):
        site.add_bot()
        site.add_bot("deep", fill="depth", capital=1_000_000)
        site.save(recorded.rows(0, HISTORY))
        site.save_books(books)

    pieces = [300, 341, 412, 500, 587, 700, 900]
    with running(calm):
        program = hurt.runner()
        for site, name in itertools.product((calm, hurt), ("twin", "deep")):
            site.wait("the start", lambda view: view.last_candle_us is not None, name)
        kills_in_position = 0
        for number, (first, last) in enumerate(itertools.pairwise(pieces)):
            calm.save(recorded.rows(first, last))
            hurt.save(recorded.rows(first, last))
            # Before it has looked, while it is at it, and after it has taken them all.
            if number % 3 == 2:
                hurt.wait_for_candle(recorded.rows(first, last))
            else:
                time.sleep(0.3 * (number % 3))
            kills_in_position += hurt.people.bot("twin").position is not None
            program.kill()
            program = hurt.runner()
        for name in ("twin", "deep"):
            hurt.wait_for_candle(recorded, name)
            calm.wait_for_candle(recorded, name)
        program.end()

    for name in ("deep", "twin"):
        expected, found = calm.outcome(name), hurt.outcome(name)
        for part in expected:
            assert found[part] == expected[part], part
        assert len(found["fills"]) > 50
    walked = [fill for fill in hurt.people.fills("deep", 10_000) if fill.depth and fill.depth.levels]
    assert len(walked) > 20
    report = hurt.parity("deep", recorded.rows(HISTORY, 900))
    assert (report.differences, report.fills) == ((), len(hurt.people.fills("deep", 10_000)))
    # How far it was when it was killed is chance.
    record_property("kills_in_position", kills_in_position)
    assert "restarted" in [entry.what for entry in hurt.people.audit("twin")]


def test_of_two_runners_one_works_and_takes_nothing_twice(
    new_site: Callable[[str], Site], recorded: Ohlcv
) -> None:
    site, alone = new_site("two"), new_site("one")
    for each in (site, alone):
        each.add_bot()
        each.save(recorded.rows(0, HISTORY))
    with running(alone), running(site) as first, running(site):
        for each in (site, alone):
            each.wait("the start", lambda view: view.last_candle_us is not None)
            each.save(recorded.rows(HISTORY, 600))
            each.wait_for_candle(recorded.rows(0, 600))
        first.kill()
        for each in (site, alone):
            each.save(recorded.rows(600, 900))
            each.wait_for_candle(recorded.rows(0, 900))

    assert site.outcome() == alone.outcome()


def test_a_killed_runner_of_two_comes_back_and_the_other_never_notices(
    new_site: Callable[[str], Site], recorded: Ohlcv
) -> None:
    site = new_site("spread")
    names = ("first", "second")
    for name in names:
        site.add_bot(name)
    site.save(recorded.rows(0, HISTORY))
    program = site.runner(2)
    try:
        for name in names:
            site.wait("the start", lambda view: view.last_candle_us is not None, name)
        manager = psutil.Process(program.process.pid)
        (victim,) = [child for child in manager.children() if "2/2" in child.cmdline()]
        victim.kill()
        site.save(recorded.rows(HISTORY, 600))
        for name in names:
            site.wait_for_candle(recorded.rows(0, 600), name)
        assert len(manager.children()) == 2
    finally:
        program.end()

    restarted = [name for name in names if "restarted" in [entry.what for entry in site.people.audit(name)]]
    assert len(restarted) == 1
    first, second = (
        [
            (fill.reason, fill.price, fill.quantity, fill.filled_at_us)
            for fill in site.people.fills(name, 10_000)
        ]
        for name in names
    )
    assert first == second
    assert len(first) > 10


def test_people_are_obeyed_and_a_broken_bot_stands_alone(
    new_site: Callable[[str], Site], recorded: Ohlcv
) -> None:
    site = new_site("people")
    site.add_bot()
    site.add_bot("broken", strategy="nothing_of_that_name")
    weights = {"weights": {"BTC-USDT": 0.5, "ETH-USDT": 0.5}, "every": "1d"}
    basket = {"symbol": None, "strategy": None, "type": "rebalance", "settings": weights}
    for name in ("pair", "couple"):
        site.add_bot(name, **basket, timeframe="1m")
    (site.bots_folder / "torn.json").write_text('{"name": "torn",')
    site.save(recorded.rows(0, HISTORY), BTC, ETH)
    with running(site):
        for name in ("twin", "pair", "couple"):
            site.wait("the start", lambda view: view.state is BotState.RUNNING, name)
        broken = site.wait("the failure", lambda view: view.state is BotState.FAILED, "broken")
        assert 'strategy is "nothing_of_that_name"; must be a strategy file' in broken.health
        assert "line 1, column" in site.people.bot("torn").health

        site.people.pause("twin", who="anna", why="a test")
        site.wait("the pause", lambda view: view.state is BotState.PAUSED)
        site.save(recorded.rows(HISTORY, 400), BTC, ETH)
        site.wait_for_candle(recorded.rows(0, 400))
        assert site.people.fills("twin") == []

        site.people.start("twin", who="anna")
        site.wait("the start", lambda view: view.state is BotState.RUNNING)
        for name in ("pair", "couple"):
            held = site.wait("its purchase", lambda view: len(view.positions) == 2, name)
        # One basket stops and keeps what it holds, the other sells everything first.
        site.people.stop("couple", who="anna")
        site.wait("the stop", lambda view: view.state is BotState.STOPPED, "couple")
        site.people.stop("pair", who="anna", flatten=True)
        site.wait("the wish", lambda view: view.state is BotState.STOPPING, "pair")
        site.save(recorded.rows(400, 500), BTC, ETH)
        site.wait_for_candle(recorded.rows(0, 500))
        assert site.people.fills("twin") != []
        sold = site.wait("the sale", lambda view: view.state is BotState.STOPPED, "pair")
        assert (sold.positions, sold.trades) == ((), 2)
        newest = site.people.fills("pair", 10)[:2]
        assert {(fill.market, fill.reason.value) for fill in newest} == {(BTC, "flatten"), (ETH, "flatten")}
        kept = site.people.bot("couple")
        assert (kept.positions, kept.last_candle_us) == (held.positions, held.last_candle_us)
        # What stands still with a position is woken up to sell it.
        site.people.stop("couple", who="anna", flatten=True)

        site.people.stop("twin", who="anna", flatten=True)
        is_held = site.people.bot("twin").position is not None
        site.save(recorded.rows(500, 520), BTC, ETH)
        stopped = site.wait("the stop", lambda view: view.state is BotState.STOPPED)
        assert stopped.position is None
        reasons = [fill.reason.value for fill in site.people.fills("twin", 1)]
        assert not is_held or reasons == ["flatten"]

        site.people.delete("twin", who="anna")
        assert [view.name for view in site.people.list_bots()] == ["broken", "couple", "pair", "torn"]
        site.save(recorded.rows(520, 530), BTC, ETH)
        site.wait("the sale", lambda view: not view.holds, "couple")
    assert [entry.what for entry in site.people.audit("twin")][:2] == ["deleted", "stopped"]


async def test_a_decision_is_stored_on_the_news_of_its_candle(
    new_site: Callable[[str], Site], recorded: Ohlcv, record_property: Callable[[str, object], None]
) -> None:
    site = new_site("quick")
    site.add_bot()
    await asyncio.to_thread(site.save, recorded.rows(0, HISTORY))
    bus = RedisBus(site.redis_url)
    publisher = RedisPublisher(bus)
    store = MarketRepository(site._database_url)
    delays_ms = []
    program = await asyncio.to_thread(site.runner)
    try:
        await asyncio.to_thread(site.wait, "the start", lambda view: view.last_candle_us is not None)
        for candle in candles_of(recorded.rows(HISTORY, HISTORY + 20), BTC):
            await store.save(MarketBatch(trades=(), candles=[candle], runs=()))
            closed_at = time.perf_counter()
            await publisher.publish_candles([CandleUpdate(candle=candle, closed=True, covered=True)])
            # The table is what is measured: no event tells of it.
            while site.repository.decision("twin", candle.opened_at_us) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            delays_ms.append((time.perf_counter() - closed_at) * 1_000)
    finally:
        await asyncio.to_thread(program.end)
        await store.close()
        await bus.close()

    # The goal is 250 ms, which a machine that runs other tests at the same time need not reach.
    record_property("median_ms", round(float(np.median(delays_ms))))
    assert len(delays_ms) == 20
