"""A market of a simulated venue, recorded into a real store at times that a test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from data.collectors.backfill import Backfill, BackfillTuning
from data.collectors.rest import VenueRest
from data.collectors.rest_binance import BinanceTransport
from data.coverage import MinuteState, StateSpan
from data.exchanges.binance import BinanceAdapter
from data.messages import CollectorHealth
from data.models import Market, TradeRun
from data.stores import MarketBatch
from database.repositories.candle_repository import CandleRepository
from database.repositories.channel_repository import ChannelRepository
from database.repositories.coverage_repository import CoverageRepository
from database.repositories.history_repository import HistoryRepository
from simulator.venue import MarketState, SimulatedVenue
from tests.simulator.venues import LISTED_AT_MS, ManualClock, RunningVenue, VenueOf

MINUTE_US = 60_000_000
LISTED_US = LISTED_AT_MS * 1_000
MARKET = Market("binance", "BTC-USDT")
QUICK = BackfillTuning(
    attempts=2, retry_s=0.01, backoff_first_s=0.01, backoff_longest_s=0.01, patience_s=0.05
)


class Recording:
    """A market of a simulated venue whose time stands still until told, recorded into a real store."""

    def __init__(self, running: RunningVenue, clock: ManualClock, url: str) -> None:
        self.running, self.clock = running, clock
        self.store = HistoryRepository(url, clock_us=lambda: clock.now_ms * 1_000)
        self.channels = ChannelRepository(url)
        self.coverage = CoverageRepository(url)
        self.reads = CandleRepository(url)
        self.adapter = BinanceAdapter()
        self.rest = VenueRest(self.adapter, BinanceTransport(running.url))

    @property
    def backfill(self) -> Backfill:
        return Backfill(
            self.rest,
            self.store,
            MARKET,
            page_ids=self.adapter.limits.history_page,
            clock_us=lambda: self.clock.now_ms * 1_000,
            tuning=QUICK,
        )

    def at_minute(self, minute: float) -> None:
        self.clock.now_ms = LISTED_AT_MS + round(minute * 60_000)

    async def record(self, first_minute: float, last_minute: float) -> None:
        """What a collector stores that was connected in that time: trades, and their run of ids."""
        self.at_minute(last_minute)
        answer = await self.running.get(
            f"/sim/truth/trades?exchange=binance&symbol=BTCUSDT"
            f"&start={LISTED_AT_MS + round(first_minute * 60_000)}&end={self.clock.now_ms}"
        )
        ids = [int(row["id"]) for row in answer.body]
        trades = [
            trade for trade in await self.rest.trades_from("BTC-USDT", ids[0]) if ids[0] <= trade.trade_id
        ]
        while trades[-1].trade_id < ids[-1]:
            trades += await self.rest.trades_from("BTC-USDT", trades[-1].trade_id + 1)
        trades = trades[: len(ids)]
        from_us = trades[0].traded_at_us
        assert from_us >= LISTED_US + round(first_minute * MINUTE_US)
        run = TradeRun(
            first_id=trades[0].trade_id,
            last_id=trades[-1].trade_id,
            first_at_us=from_us,
            last_at_us=trades[-1].traded_at_us,
        )
        await self.store.save(MarketBatch(trades=trades, candles=[], runs=[(MARKET, run)]))

    async def tell_health(self, first_minute: float, last_minute: float, state: str) -> None:
        """A collector's word every ten seconds."""
        at_us = LISTED_US + round(first_minute * MINUTE_US)
        while at_us <= LISTED_US + round(last_minute * MINUTE_US):
            await self.channels.save_health(health_of(state, at_us))
            at_us += 10_000_000

    def states(self, first_minute: int, last_minute: int) -> list[tuple[int, MinuteState, str]]:
        """How many minutes in a row are in which state, and why."""
        return told(
            self.coverage.minute_spans(
                MARKET, LISTED_US + first_minute * MINUTE_US, LISTED_US + last_minute * MINUTE_US
            )
        )

    async def close(self) -> None:
        await self.rest.close()
        await self.store.close()
        await self.channels.close()
        self.coverage.close()
        self.reads.close()


def told(spans: Sequence[StateSpan]) -> list[tuple[int, MinuteState, str]]:
    return [(span.minutes, span.state, span.reason) for span in spans]


def health_of(state: str, at_us: int) -> CollectorHealth:
    return CollectorHealth(
        exchange="binance",
        state=state,
        detail="",
        symbols=1,
        trades_stored=0,
        trades_per_s=0.0,
        duplicates=0,
        malformed=0,
        gaps_open=0,
        lag_ms=0.0,
        sent_at_us=at_us,
        shard="collector-binance",
    )


@pytest.fixture
async def recording(start_venue: VenueOf, migrated_database: Callable[[], str]) -> AsyncIterator[Recording]:
    url = migrated_database()
    clock = ManualClock(LISTED_AT_MS)
    venue = SimulatedVenue.made_up(
        MarketState(seed=7, listed_at_ms=LISTED_AT_MS, rate=1.0), symbols=["BTC-USDT"], clock=clock
    )
    made = Recording(await start_venue(venue), clock, url)
    made.adapter.use(await made.rest.instruments(["BTC-USDT"]))
    yield made
    await made.close()
