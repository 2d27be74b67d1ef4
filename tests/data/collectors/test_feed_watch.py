from __future__ import annotations

import asyncio
from collections.abc import Sequence

from data.collectors.feed_watch import FeedWatch
from data.collectors.tuning import CollectorTuning
from data.errors import TransientError
from data.messages import CollectorHealth, FeedNews
from data.models import FeedState, InstrumentVersion, Market, MarketEvent
from data.stores import ChannelBatch
from data.topics import feeds_topic
from tests.data.collectors.fakes import MemoryPublisher
from tests.data.collectors.instant_loop import instantly

LIVELY, QUIET = Market("okx", "BTC-USDT"), Market("okx", "XYZ-USDT")
HURRIED = CollectorTuning(
    feed_least_s=0.05, feed_most_s=0.2, feed_unknown_s=0.1, feed_down_s=0.05, deaf_s=0.02, feed_repeat_s=0.1
)


class Channels:
    """Satisfies `ChannelWriter`."""

    def __init__(self) -> None:
        self.feeds: dict[Market, list[FeedState]] = {}
        self.fails = False

    async def save_channels(self, batch: ChannelBatch) -> None: ...

    async def save_instrument_versions(self, versions: Sequence[InstrumentVersion]) -> list[MarketEvent]:
        return []

    async def save_events(self, events: Sequence[MarketEvent]) -> None: ...

    async def save_feeds(self, feeds: Sequence[FeedState]) -> None:
        if self.fails:
            raise TransientError("the database is away")
        for feed in feeds:
            self.feeds.setdefault(feed.market, []).append(feed)

    async def save_health(self, health: CollectorHealth) -> None: ...


class Bench:
    def __init__(self) -> None:
        self.bus, self.channels = MemoryPublisher(), Channels()
        self.lines = {LIVELY: True, QUIET: True}
        self.unseen: set[Market] = set()
        self.venue_fails = False
        self.asked: list[Market] = []
        self.at_us = 1_000_000
        self.watch = FeedWatch(self.bus, self.channels, self.has_unseen, lambda: 42, HURRIED)

    async def has_unseen(self, market: Market) -> bool:
        self.asked.append(market)
        if self.venue_fails:
            raise TransientError("okx cannot be reached")
        return market in self.unseen

    async def pass_time(self, seconds: float, *, trading: Sequence[Market] = (LIVELY,)) -> None:
        for _ in range(round(seconds / 0.01)):
            for market in trading:
                self.at_us += 10_000
                self.watch.note(market.symbol, self.at_us)
            self.watch.look(self.lines)
            await asyncio.sleep(0.01)

    def told(self, market: Market) -> list[bool]:
        return [
            news.feed.stale
            for topic, news in self.bus.news
            if topic == feeds_topic(market) and isinstance(news, FeedNews)
        ]


@instantly
async def test_a_quiet_market_is_not_stale_because_it_is_quiet() -> None:
    bench = Bench()
    await bench.pass_time(0.6)
    assert list(bench.watch.stale_symbols) == []
    assert bench.told(QUIET) == [False]
    # The venue was asked, and less and less often.
    assert 1 <= bench.asked.count(QUIET) <= 3
    assert LIVELY not in bench.asked


@instantly
async def test_a_stream_that_does_not_bring_what_the_venue_has_is_stale_and_told_of_repeatedly() -> None:
    bench = Bench()
    await bench.pass_time(0.3)
    bench.unseen.add(LIVELY)
    await bench.pass_time(0.4, trading=())
    assert list(bench.watch.stale_symbols) == ["BTC-USDT"]
    assert bench.told(LIVELY)[:3] == [False, True, True]
    assert bench.channels.feeds[LIVELY][-1].detail == "the venue has trades that its stream does not bring"
    assert bench.channels.feeds[LIVELY][-1].last_trade_at_us == bench.at_us
    assert [feed.stale for feed in bench.channels.feeds[LIVELY]] == [False, True]

    await bench.pass_time(0.05)
    assert list(bench.watch.stale_symbols) == []
    assert bench.told(LIVELY)[-1] is False


@instantly
async def test_a_venue_that_is_down_makes_all_its_symbols_stale() -> None:
    bench = Bench()
    await bench.pass_time(0.2)
    bench.lines = dict.fromkeys(bench.lines, False)
    await bench.pass_time(0.15, trading=())
    assert list(bench.watch.stale_symbols) == ["BTC-USDT", "XYZ-USDT"]
    bench.lines = dict.fromkeys(bench.lines, True)
    await bench.pass_time(0.1)
    # The lively one by its trades, the quiet one because the venue has nothing new of it.
    assert list(bench.watch.stale_symbols) == []


@instantly
async def test_a_silent_feed_of_a_venue_that_does_not_answer_is_stale_until_it_does() -> None:
    bench = Bench()
    bench.venue_fails = True
    await bench.pass_time(0.3)
    assert list(bench.watch.stale_symbols) == ["XYZ-USDT"]
    assert "the venue cannot be asked" in bench.channels.feeds[QUIET][-1].detail
    bench.venue_fails = False
    await bench.pass_time(0.3)
    assert list(bench.watch.stale_symbols) == []


@instantly
async def test_a_database_that_is_away_learns_the_newest_states_when_it_is_back() -> None:
    bench = Bench()
    bench.channels.fails = True
    bench.lines = dict.fromkeys(bench.lines, False)
    await bench.pass_time(0.2, trading=())
    assert bench.channels.feeds == {}
    assert list(bench.watch.stale_symbols) == ["BTC-USDT", "XYZ-USDT"]
    bench.channels.fails = False
    await bench.pass_time(0.05, trading=())
    assert [feed.stale for feed in bench.channels.feeds[LIVELY]] == [True]


@instantly
async def test_a_market_that_is_recorded_no_more_is_forgotten() -> None:
    bench = Bench()
    bench.lines = dict.fromkeys(bench.lines, False)
    await bench.pass_time(0.2, trading=())
    bench.lines = {LIVELY: False}
    await bench.pass_time(0.05, trading=())
    assert list(bench.watch.stale_symbols) == ["BTC-USDT"]
