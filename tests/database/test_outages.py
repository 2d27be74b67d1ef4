"""Outages of a simulated venue: what coverage says of them, with trades meanwhile and without."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from data.collectors.backfill import Backfill, BackfillTuning
from data.collectors.rest import VenueRest
from data.collectors.rest_binance import BinanceTransport
from data.coverage import MinuteState, StateSpan
from data.errors import TransientError
from data.exchanges.binance import BinanceAdapter
from data.messages import CollectorHealth
from data.models import Market, MarketEvent, MarketEventKind, TradeRun
from data.stores import MarketBatch
from database.migrate import migrate
from database.repositories.channel_repository import ChannelRepository
from database.repositories.coverage_repository import CoverageRepository
from database.repositories.history_repository import HistoryRepository
from simulator.venue import MarketState, SimulatedVenue
from tests.simulator.conftest import start_venue
from tests.simulator.venues import LISTED_AT_MS, ManualClock, RunningVenue, VenueOf

__all__ = ["start_venue"]

pytestmark = pytest.mark.integration

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
async def recording(start_venue: VenueOf, new_database: Callable[[], str]) -> AsyncIterator[Recording]:
    url = new_database()
    migrate(url)
    clock = ManualClock(LISTED_AT_MS)
    venue = SimulatedVenue.made_up(
        MarketState(seed=7, listed_at_ms=LISTED_AT_MS, rate=1.0), symbols=["BTC-USDT"], clock=clock
    )
    made = Recording(await start_venue(venue), clock, url)
    made.adapter.use(await made.rest.instruments(["BTC-USDT"]))
    yield made
    await made.close()


async def test_an_outage_in_which_the_venue_traded_on_is_repaired_and_no_venue_down(
    recording: Recording,
) -> None:
    await recording.record(1.5, 5.5)
    await recording.tell_health(5.5, 9.5, "unreachable")
    await recording.running.post_faults({"fault": "refuse", "exchange": "binance"})
    with pytest.raises(TransientError):
        await recording.backfill.fetch_trades(LISTED_US, LISTED_US + 9 * MINUTE_US)
    async with recording.running.session.delete(recording.running.url + "/sim/faults"):
        pass
    await recording.record(9.6, 12.5)
    await recording.tell_health(9.6, 12.5, "live")
    assert recording.states(2, 12) == [
        (3, MinuteState.COMPLETE, ""),
        (5, MinuteState.MISSING, "not_recorded"),
        (2, MinuteState.COMPLETE, ""),
    ]

    done = await recording.backfill.repair()
    found = await recording.store.note_outages("binance", LISTED_US)

    assert (done.absent, found) == (0, 0)
    assert done.stored == done.wanted > 100
    assert recording.states(2, 12) == [
        (3, MinuteState.COMPLETE, ""),
        (5, MinuteState.REPAIRED, "not_recorded"),
        (2, MinuteState.COMPLETE, ""),
    ]


async def test_an_outage_in_which_nothing_was_traded_is_venue_down(recording: Recording) -> None:
    await recording.record(1.5, 5.5)
    await recording.running.post_faults({"fault": "halt", "symbol": "BTC-USDT", "exchange": "binance"})
    recording.at_minute(9.5)
    await recording.running.post_faults({"fault": "resume", "symbol": "BTC-USDT", "exchange": "binance"})
    await recording.tell_health(5.5, 9.5, "unreachable")
    await recording.record(9.5, 12.5)
    await recording.tell_health(9.6, 12.5, "live")
    await recording.backfill.repair()
    await recording.backfill.fetch_trades(LISTED_US + MINUTE_US, LISTED_US + 12 * MINUTE_US)
    assert recording.states(2, 12) == [(10, MinuteState.COMPLETE, "")]

    await recording.store.note_outages("binance", LISTED_US)

    assert recording.states(2, 12) == [
        (4, MinuteState.COMPLETE, ""),
        (3, MinuteState.VENUE_DOWN, "unreachable"),
        (3, MinuteState.COMPLETE, ""),
    ]
    assert (
        recording.coverage.missing_minutes(MARKET, LISTED_US + 2 * MINUTE_US, LISTED_US + 12 * MINUTE_US)
        == []
    )


async def test_an_outage_ends_with_the_first_trade_although_it_was_told_later(recording: Recording) -> None:
    await recording.record(1.5, 5.5)
    await recording.running.post_faults({"fault": "halt", "symbol": "BTC-USDT", "exchange": "binance"})
    recording.at_minute(9.5)
    await recording.running.post_faults({"fault": "resume", "symbol": "BTC-USDT", "exchange": "binance"})
    # The venue trades again before the collector is back.
    await recording.tell_health(5.5, 11.2, "unreachable")
    await recording.record(9.5, 12.5)
    await recording.tell_health(11.3, 12.5, "live")
    await recording.backfill.repair(check_since_us=0)  # candles are built

    await recording.store.note_outages("binance", LISTED_US)

    assert recording.states(2, 12) == [
        (4, MinuteState.COMPLETE, ""),
        (3, MinuteState.VENUE_DOWN, "unreachable"),
        (3, MinuteState.COMPLETE, ""),
    ]


async def test_minutes_that_were_lost_do_not_speak_for_a_venue_that_seldom_trades(
    recording: Recording,
) -> None:
    await recording.record(1.5, 3.5)
    await recording.record(4.2, 9.5)
    lost, later = await recording.store.runs(MARKET)
    await recording.running.post_faults(
        {
            "fault": "withhold",
            "exchange": "binance",
            "symbol": "BTC-USDT",
            "from_id": lost.last_id + 1,
            "to_id": later.first_id - 1,
            "permanent": True,
        },
        {"fault": "halt", "symbol": "BTC-USDT", "exchange": "binance"},
    )
    recording.at_minute(12.5)
    await recording.running.post_faults({"fault": "resume", "symbol": "BTC-USDT", "exchange": "binance"})
    await recording.tell_health(9.5, 13.2, "unreachable")
    await recording.record(12.5, 15.5)
    await recording.backfill.repair(check_since_us=0)

    await recording.store.note_outages("binance", LISTED_US)

    assert recording.states(2, 15) == [
        (1, MinuteState.COMPLETE, ""),
        (2, MinuteState.MISSING, "absent_at_venue"),
        (5, MinuteState.COMPLETE, ""),
        (2, MinuteState.VENUE_DOWN, "unreachable"),
        (3, MinuteState.COMPLETE, ""),
    ]


async def test_a_halt_that_the_venue_told_is_venue_down_where_nothing_was_traded(
    recording: Recording,
) -> None:
    await recording.record(1.5, 5.5)
    await recording.running.post_faults({"fault": "halt", "symbol": "BTC-USDT", "exchange": "binance"})
    recording.at_minute(9.5)
    await recording.running.post_faults({"fault": "resume", "symbol": "BTC-USDT", "exchange": "binance"})
    await recording.record(1.5, 12.5)
    # Candles that should be there and are not are built.
    assert (await recording.backfill.repair(check_since_us=0)).candles == 10
    # The collector noticed both late, as it asks every few minutes.
    await recording.channels.save_events(
        [
            MarketEvent(market=MARKET, kind=kind, at_us=LISTED_US + minute * MINUTE_US)
            for kind, minute in ((MarketEventKind.HALTED, 7), (MarketEventKind.RESUMED, 11))
        ]
    )
    for first_us in (LISTED_US, LISTED_US + 8 * MINUTE_US):
        await recording.store.note_outages("binance", first_us)

    assert recording.states(2, 12) == [
        (5, MinuteState.COMPLETE, ""),
        (2, MinuteState.VENUE_DOWN, "halted"),
        (3, MinuteState.COMPLETE, ""),
    ]


async def test_what_the_venue_no_longer_has_stays_missing_with_its_reason(recording: Recording) -> None:
    await recording.record(1.5, 5.5)
    await recording.record(9.6, 12.5)
    runs = await recording.store.runs(MARKET)
    await recording.running.post_faults(
        {
            "fault": "withhold",
            "exchange": "binance",
            "symbol": "BTC-USDT",
            "from_id": runs[0].last_id + 1,
            "to_id": runs[1].first_id - 1,
            "permanent": True,
        }
    )

    done = await recording.backfill.repair()

    assert done.absent == done.wanted > 100
    assert recording.states(5, 10) == [(5, MinuteState.MISSING, "absent_at_venue")]
    assert (await recording.backfill.repair()).wanted == 0
    assert recording.coverage.missing_minutes(
        MARKET, LISTED_US + 2 * MINUTE_US, LISTED_US + 12 * MINUTE_US
    ) == [(LISTED_US + 5 * MINUTE_US, LISTED_US + 10 * MINUTE_US)]
