"""A collector against the simulated venue in a process of its own, with a store and a bus in memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from data.collectors.rest import RestTransport, VenueRest
from data.collectors.rest_binance import BinanceTransport
from data.collectors.rest_okx import OkxTransport
from data.collectors.settings import VenueSettings
from data.collectors.trade_collector import run_collector
from data.collectors.tuning import CollectorTuning
from data.errors import InvalidInput
from data.exchanges.registry import EXCHANGES
from data.messages import CollectorHealth
from data.models import Candle, Market
from data.timeframes import Timeframe
from tests.data.collectors.fakes import MemoryPublisher, MemoryStore

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).resolve().parents[3]
FRAMES = (Timeframe.S1, Timeframe.M1)
HURRIED = CollectorTuning(
    health_s=0.2,
    grace_s=0.5,
    backoff_first_s=0.1,
    backoff_longest_s=0.5,
    silence_s=1.5,
    unverified_s=0.5,
    quiet_s=5.0,
    deaf_s=0.5,
    fill_settle_s=0.2,
    fill_retry_s=0.1,
    fill_attempts=3,
)
VENUES = {
    "binance": ("BTC-USDT", "ETH-USDT"),
    "okx": ("BTC-USDT", "BTC-USDT-PERP"),
}


class Simulator:
    """The simulated venue's truth and faults."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def get(self, path: str, **query: str | int) -> Any:
        async with self._session.get(f"{self.url}{path}", params=query) as reply:
            reply.raise_for_status()
            return json.loads(await reply.text())

    async def fault(self, **fault: Any) -> None:
        async with self._session.post(f"{self.url}/sim/faults", json=[fault]) as reply:
            assert reply.status == 200, await reply.text()

    async def last_id(self, market: Market) -> int:
        state = await self.get("/sim/state")
        return next(
            int(row["last_id"])
            for row in state["markets"]
            if (row["exchange"], row["symbol"]) == (market.exchange, market.symbol)
        )

    async def connections(self, exchange: str) -> int:
        """How many the venue has open."""
        state = await self.get("/sim/state")
        return sum(one["exchange"] == exchange for one in state["connections"])

    async def trades(self, market: Market, first_id: int, last_id: int) -> dict[int, tuple[float, ...]]:
        rows = await self._truth("trades", market, from_id=first_id, to_id=last_id)
        return {row["id"]: (float(row["price"]), float(row["base_qty"]), row["time"] * 1_000) for row in rows}

    async def seconds(self, market: Market, first_us: int, last_us: int) -> dict[int, tuple[float, ...]]:
        rows = await self._truth(
            "candles", market, timeframe="1s", start=first_us // 1_000, end=last_us // 1_000 + 1
        )
        return {
            row["opened_at"] * 1_000: (
                *(float(row[name]) for name in ("open", "high", "low", "close", "base_volume")),
                row["trades"],
            )
            for row in rows
        }

    async def _truth(self, what: str, market: Market, **query: str | int) -> list[dict[str, Any]]:
        rows = await self.get(f"/sim/truth/{what}", exchange=market.exchange, symbol=market.symbol, **query)
        return list(rows)


class Desk:
    """One venue's collector, run and run again over one store."""

    def __init__(self, exchange: str, simulator: Simulator, folder: Path) -> None:
        self.exchange, self.simulator, self.folder = exchange, simulator, folder
        self.markets = [Market(exchange, symbol) for symbol in VENUES[exchange]]
        self.store, self.bus = MemoryStore(), MemoryPublisher()

    @asynccontextmanager
    async def running(self, *, symbols: tuple[str, ...] = (), ws_url: str = "") -> AsyncIterator[None]:
        adapter = EXCHANGES[self.exchange]()
        transport: RestTransport = (OkxTransport if self.exchange == "okx" else BinanceTransport)(
            self.simulator.url
        )
        rest = VenueRest(adapter, transport)
        collector = asyncio.create_task(
            run_collector(
                adapter,
                rest,
                self.store,
                self.bus,
                VenueSettings(
                    exchange=self.exchange,
                    symbols=symbols or VENUES[self.exchange],
                    channel=adapter.channels[0],
                    history_candles=20,
                    timeframes=FRAMES,
                ),
                ws_url=ws_url or self.simulator.url.replace("http", "ws", 1),
                malformed_folder=self.folder,
                clock_us=lambda: time.time_ns() // 1_000,
                tuning=HURRIED,
            )
        )
        try:
            yield
            if collector.done():
                collector.result()
        finally:
            collector.cancel()
            await asyncio.wait([collector])
            await rest.close()

    @property
    def health(self) -> CollectorHealth:
        return self.bus.health[-1]

    async def is_live(self) -> None:
        await eventually(lambda: bool(self.bus.health) and self.health.state == "live", "live")
        await eventually(lambda: len(self.store.trades) == len(self.markets), "trades of every market")

    async def has_all(self, lost: int = 0) -> None:
        """Wait until the store holds every id from its first one up to what the venue has now."""
        for market in self.markets:
            last_id = await self.simulator.last_id(market)
            ids = self.store.trades[market]
            await reached(ids, last_id)
            missing = set(range(min(ids), last_id + 1)) - set(ids)
            if market == self.markets[0]:
                assert len(missing) == lost, missing
            else:
                assert missing == set()

    async def is_true(self) -> int:
        """Compare every stored trade and covered second with the truth; return how many seconds."""
        seconds = 0
        for market in self.markets:
            stored = self.store.trades[market]
            truth = await self.simulator.trades(market, min(stored), max(stored))
            assert {
                trade_id: (trade.price, trade.quantity, trade.traded_at_us)
                for trade_id, trade in stored.items()
            } == {trade_id: row for trade_id, row in truth.items() if trade_id in stored}
            candles = {
                opened_at_us: candle
                for (of, frame, opened_at_us), candle in self.store.candles.items()
                if of == market and frame is Timeframe.S1
            }
            known = await self.simulator.seconds(market, min(candles), max(candles))
            for opened_at_us, candle in candles.items():
                assert values(candle) == pytest.approx(known[opened_at_us], rel=1e-12)
            runs = self.store.runs[market].values()
            covered = {
                opened_at_us
                for opened_at_us in known
                if any(
                    run.first_at_us < opened_at_us and opened_at_us + 1_000_000 <= run.last_at_us
                    for run in runs
                )
            }
            assert covered <= candles.keys()
            seconds += len(covered)
        return seconds


def values(candle: Candle) -> tuple[float, ...]:
    return (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades)


async def reached(ids: Mapping[int, object], last_id: int) -> None:
    await eventually(lambda: max(ids) >= last_id, f"id {last_id}")


async def eventually(holds: Callable[[], bool], what: str, timeout_s: float = 90.0) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < give_up_at, f"never came: {what}"
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def simulator_url() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "simulate", "--port", "0", "--rate", "4", "--json"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
async def simulator(simulator_url: str) -> AsyncIterator[Simulator]:
    async with aiohttp.ClientSession() as session:
        yield Simulator(simulator_url, session)
        async with session.delete(f"{simulator_url}/sim/faults") as reply:
            assert reply.status == 200


def at_both_venues(
    scenario: Callable[[Desk], Awaitable[None]],
) -> Callable[[Simulator, Path], Awaitable[None]]:
    """Plays `scenario` at OKX and Binance at the same time, for most of it is waiting."""

    async def test(simulator: Simulator, tmp_path: Path) -> None:
        await asyncio.gather(
            *(scenario(Desk(exchange, simulator, tmp_path / exchange)) for exchange in VENUES)
        )

    return test


@at_both_venues
async def test_disturbed_streams_lose_nothing_and_tell_no_lies(desk: Desk) -> None:
    exchange = desk.exchange
    async with desk.running():
        await desk.is_live()
        await desk.simulator.fault(fault="duplicate", exchange=exchange, for_s=1.5)
        await desk.simulator.fault(fault="reorder", exchange=exchange, ms=120, for_s=2)
        await desk.simulator.fault(fault="malformed", exchange=exchange, every=6, for_s=2)
        await asyncio.sleep(1.5)
        await desk.simulator.fault(fault="disconnect", exchange=exchange)
        await asyncio.sleep(1.5)
        await desk.simulator.fault(fault="withhold", exchange=exchange, symbol="BTC-USDT", count=5)
        await asyncio.sleep(1.5)
        await desk.has_all()
        health = desk.health
    assert health.duplicates > 0
    assert health.malformed > 0
    assert list(desk.folder.iterdir())
    assert desk.store.gaps == []
    assert all(len(runs) == 1 for runs in desk.store.runs.values())
    assert await desk.is_true() > 5
    states = [health.state for health in desk.bus.health]
    assert {"connecting", "live", "reconnecting", "stopped"} >= set(states)
    assert "reconnecting" in states
    assert states[-1] == "stopped"
    assert any(update.closed for update in desk.bus.updates)
    assert any(not update.closed and update.candle.timeframe is Timeframe.M1 for update in desk.bus.updates)


@at_both_venues
async def test_a_collector_that_comes_back_fills_what_it_missed(desk: Desk) -> None:
    async with desk.running():
        await desk.is_live()
        await asyncio.sleep(2.0)
    before = {market: len(desk.store.trades[market]) for market in desk.markets}
    await asyncio.sleep(2.0)
    desk.bus.health.clear()
    async with desk.running():
        await desk.is_live()
        await asyncio.sleep(1.0)
        await desk.has_all()
    assert all(len(desk.store.trades[market]) > count for market, count in before.items())
    assert desk.store.gaps == []
    assert all(len(runs) == 1 for runs in desk.store.runs.values())
    assert await desk.is_true() > 4


@at_both_venues
async def test_what_the_venue_itself_lost_is_a_gap_and_uncovers_its_candles(desk: Desk) -> None:
    market = desk.markets[0]
    async with desk.running():
        await desk.is_live()
        await desk.simulator.fault(
            fault="withhold", exchange=desk.exchange, symbol=market.symbol, count=3, permanent=True
        )
        await eventually(lambda: bool(desk.store.gaps), "a gap")
        await asyncio.sleep(1.5)
        await desk.has_all(lost=3)
        assert desk.health.gaps_open == 1
    assert sum(gap.last_id - gap.first_id + 1 for _, gap in desk.store.gaps) == 3
    assert {of for of, _ in desk.store.gaps} == {market}
    assert {gap.reason for _, gap in desk.store.gaps} == {"history_unavailable"}
    assert len(desk.store.runs[market]) == 2
    await desk.is_true()


@at_both_venues
async def test_a_stream_that_falls_silent_is_noticed_and_replaced(desk: Desk) -> None:
    async with desk.running():
        await desk.is_live()
        await desk.simulator.fault(fault="half_open", exchange=desk.exchange)
        await eventually(
            lambda: any("did not bring trades" in health.detail for health in desk.bus.health),
            "doubt of the stream",
        )
        await eventually(lambda: desk.health.state == "live", "live again")
        await asyncio.sleep(0.5)
        await desk.has_all()
    assert desk.store.gaps == []
    await desk.is_true()


@at_both_venues
async def test_a_store_that_is_away_for_a_while_misses_nothing(desk: Desk) -> None:
    async with desk.running():
        await desk.is_live()
        desk.store.fails = True
        await eventually(lambda: "the database is away" in desk.health.detail, "word of the store")
        await asyncio.sleep(1.5)
        desk.store.fails = False
        await asyncio.sleep(1.0)
        await desk.has_all()
        await eventually(lambda: "the database is away" not in desk.health.detail, "word that it is back")
    assert desk.store.gaps == []
    await desk.is_true()


@at_both_venues
async def test_an_announced_end_of_the_connection_is_followed_by_another(desk: Desk) -> None:
    async with desk.running():
        await desk.is_live()
        before = await desk.simulator.connections(desk.exchange)
        # OKX does not announce it on the business socket, which it just closes.
        announced = desk.exchange != "okx"
        await desk.simulator.fault(
            fault="upgrade", exchange=desk.exchange, close_after_s=300 if announced else 1
        )
        await eventually(lambda: desk.health.reconnects == 1, "another connection")
        async with asyncio.timeout(90):
            while await desk.simulator.connections(desk.exchange) != before:  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # the old one is closed once the new one brings everything
        await eventually(lambda: desk.health.state == "live", "live again")
        await desk.has_all()
        states = {health.state for health in desk.bus.health}
    assert ("reconnecting" in states) != announced
    assert desk.store.gaps == []


@at_both_venues
async def test_charts_have_the_venues_own_candles_before_the_first_trade(desk: Desk) -> None:
    async with desk.running():
        await desk.is_live()
        await eventually(lambda: len(desk.store.history) >= 40, "history of two markets")
    now_us = time.time_ns() // 1_000
    assert {frame for _, frame, _ in desk.store.history} == {Timeframe.M1}
    assert all(candle.closes_at_us <= now_us for candle in desk.store.history.values())


@at_both_venues
async def test_symbols_the_venue_does_not_trade_are_told_and_the_others_recorded(desk: Desk) -> None:
    async with desk.running(symbols=("NOPE-USDT", *VENUES[desk.exchange])):
        await desk.is_live()
        assert f"{desk.exchange} does not trade NOPE-USDT." in desk.health.detail
    desk.bus.health.clear()
    with pytest.raises(InvalidInput, match=r"symbols\[0\] is NOPE-USDT"):
        async with desk.running(symbols=("NOPE-USDT",)):
            await eventually(lambda: bool(desk.bus.health) and desk.health.state == "stopped", "the end")


@at_both_venues
async def test_a_venue_out_of_reach_is_told_in_plain_words(desk: Desk) -> None:
    async with desk.running(ws_url="ws://127.0.0.1:9"):
        await eventually(
            lambda: bool(desk.bus.health) and desk.health.state == "unreachable", "word of the trouble"
        )
        detail = desk.health.detail
    assert detail.startswith(f"{desk.exchange} cannot be reached at ws://127.0.0.1:9/")
    assert detail.endswith("trying again in 1 s. Without a network, start with --demo.")
