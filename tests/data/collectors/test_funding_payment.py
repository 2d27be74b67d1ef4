"""A payment of funding passes while a collector listens to a venue whose streams never tell what was paid."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from data.collectors.rest import VenueRest
from data.collectors.rest_binance import BinanceTransport
from data.collectors.settings import VenueSettings
from data.collectors.trade_collector import run_collector
from data.collectors.tuning import CollectorTuning
from data.exchanges.base import Channel
from data.exchanges.registry import adapter_for
from data.models import FundingRate, Market
from data.stores import ChannelBatch
from data.timeframes import Timeframe
from simulator.perpetuals import FUNDING_MS
from simulator.venue import MarketState, SimulatedVenue
from tests.data.collectors.fakes import MemoryPublisher, MemoryStore
from tests.data.collectors.test_channel_recorder import MemoryChannels

pytestmark = pytest.mark.integration

SYMBOL = "BTC-USDT-PERP"
LISTED_MS = FUNDING_MS * 60_000
PAID_MS = LISTED_MS + 9 * FUNDING_MS
# Long enough that no machine is so slow that the payment comes by itself.
BEFORE_MS = 25 * 60_000
PATIENCE_S = 150.0
HURRIED = CollectorTuning(channel_store_s=0.1, funding_look_s=0.1, funding_first_s=0.2)


class LeapingClock:
    """A venue's time: this machine's pace from a time of the test's own, ahead where the test says so."""

    def __init__(self, now_ms: int) -> None:
        self._begin_ms, self._began_s = now_ms, time.monotonic()

    def __call__(self) -> int:
        return self._begin_ms + int((time.monotonic() - self._began_s) * 1_000)

    def leap(self, by_ms: int) -> None:
        self._begin_ms += by_ms


class FundingStore(MemoryChannels):
    """Satisfies `ChannelWriter` and `FundingTimesReader`: a row that is settled stays so."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, FundingRate] = {}

    async def save_channels(self, batch: ChannelBatch) -> None:
        for rate in batch.funding:
            known = self.rows.get(rate.funding_at_us)
            if rate.settled or known is None or not known.settled:
                self.rows[rate.funding_at_us] = rate

    async def funding_times(self, market: Market, since_us: int) -> dict[int, bool]:
        return {at_us: row.settled for at_us, row in self.rows.items() if at_us >= since_us}

    def is_settled(self, paid_ms: int) -> bool:
        row = self.rows.get(paid_ms * 1_000)
        return row is not None and row.settled


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock(PAID_MS - BEFORE_MS)


@pytest_asyncio.fixture
async def venue_url(clock: LeapingClock) -> AsyncIterator[str]:
    state = MarketState(seed=3, listed_at_ms=LISTED_MS, rate=0.1)
    venue = SimulatedVenue.made_up(state, symbols=[SYMBOL], clock=clock)
    await venue.start()
    yield venue.url
    await venue.stop()


async def eventually(look: Callable[[], bool], collector: asyncio.Task[None]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not look():
            if collector.done():
                collector.result()
            await asyncio.sleep(0.05)


async def test_a_payment_is_settled_soon_after_its_time(
    venue_url: str, clock: LeapingClock, tmp_path: Path
) -> None:
    adapter = adapter_for("binance", "usdm")
    rest = VenueRest(adapter, BinanceTransport(venue_url, futures=True))
    store = FundingStore()

    async def collect() -> None:
        await run_collector(
            adapter,
            rest,
            MemoryStore(),
            MemoryPublisher(),
            VenueSettings(
                exchange="binance",
                symbols=(SYMBOL,),
                channels={SYMBOL: (Channel.FUNDING,)},
                history_candles=0,
                timeframes=(Timeframe.M1,),
            ),
            ws_url=venue_url.replace("http", "ws", 1) + "/fstream",
            malformed_folder=tmp_path,
            clock_us=lambda: clock() * 1_000,
            tuning=HURRIED,
            channel_writer=store,
            funding_reader=store,
        )

    collector = asyncio.create_task(collect())
    try:
        await eventually(lambda: PAID_MS * 1_000 in store.rows, collector)
        await eventually(lambda: store.is_settled(PAID_MS - FUNDING_MS), collector)
        assert sum(row.settled for row in store.rows.values()) == 8
        assert not store.is_settled(PAID_MS)
        clock.leap(BEFORE_MS)
        await eventually(lambda: store.is_settled(PAID_MS), collector)
        await eventually(lambda: (PAID_MS + FUNDING_MS) * 1_000 in store.rows, collector)
        assert sum(row.settled for row in store.rows.values()) == 9
    finally:
        collector.cancel()
        await asyncio.wait([collector])
        await rest.close()
