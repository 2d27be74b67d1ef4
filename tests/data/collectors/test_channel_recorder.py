from __future__ import annotations

import asyncio
from collections.abc import Sequence

from data.collectors.channel_recorder import ChannelRecorder
from data.collectors.tuning import CollectorTuning
from data.errors import TransientError
from data.exchanges.base import FundingMessage, Kline, KlineMessage, MarkMessage, QuotesMessage
from data.messages import CollectorHealth, PerpetualUpdate, QuoteUpdate
from data.models import Candle, FeedState, FundingRate, InstrumentVersion, MarketEvent, MarkPrice, Quote
from data.stores import ChannelBatch
from data.timeframes import Timeframe
from tests.data.collectors.fakes import MemoryPublisher
from tests.data.collectors.instant_loop import instantly

TUNING = CollectorTuning(
    channel_tell_s=0.02, channel_store_s=0.05, backoff_first_s=0.01, backoff_longest_s=0.02
)


class MemoryChannels:
    """Satisfies `ChannelWriter`; while `fails` is set nothing is taken."""

    def __init__(self) -> None:
        self.batches: list[ChannelBatch] = []
        self.versions: list[InstrumentVersion] = []
        self.events: list[MarketEvent] = []  # what the next versions make
        self.fails = False

    async def save_channels(self, batch: ChannelBatch) -> None:
        if self.fails:
            raise TransientError("the database is away")
        self.batches.append(batch)

    async def save_instrument_versions(self, versions: Sequence[InstrumentVersion]) -> list[MarketEvent]:
        self.versions += versions
        events, self.events = self.events, []
        return events

    async def save_events(self, events: Sequence[MarketEvent]) -> None: ...

    async def save_feeds(self, feeds: Sequence[FeedState]) -> None: ...

    async def save_health(self, health: CollectorHealth) -> None: ...


def quote(symbol: str, at_us: int) -> Quote:
    return Quote(
        exchange="okx", symbol=symbol, at_us=at_us, bid_price=1, bid_quantity=1, ask_price=2, ask_quantity=1
    )


def kline(opened_at_us: int, volume: float, *, closed: bool) -> Kline:
    candle = Candle(
        exchange="okx",
        symbol="A-USDT",
        timeframe=Timeframe.M1,
        opened_at_us=opened_at_us,
        open=1,
        high=1,
        low=1,
        close=1,
        volume=volume,
        trades=0,
    )
    return Kline(candle, closed)


async def run_for(recorder: ChannelRecorder, seconds: float) -> None:
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.wait([running])


@instantly
async def test_the_newest_quote_of_each_market_is_told_and_stored_once() -> None:
    store, bus = MemoryChannels(), MemoryPublisher()
    recorder = ChannelRecorder(store, bus, TUNING)
    for at_us in range(100):
        recorder.take(QuotesMessage([quote("A-USDT", at_us), quote("B-USDT", at_us)], at_us, refused=1))
    await run_for(recorder, 0.15)
    assert [topic for topic, _ in bus.news] == ["quotes.okx.A-USDT", "quotes.okx.B-USDT"]
    assert bus.news[0][1] == QuoteUpdate(quote=quote("A-USDT", 99))
    (batch,) = store.batches
    assert list(batch.quotes) == [quote("A-USDT", 99), quote("B-USDT", 99)]
    assert recorder.refused == 100


@instantly
async def test_only_finished_candles_with_trades_are_stored() -> None:
    store = MemoryChannels()
    recorder = ChannelRecorder(store, MemoryPublisher(), TUNING)
    recorder.take(KlineMessage([kline(0, 1.0, closed=True), kline(60, 0.0, closed=True)], 0))
    recorder.take(KlineMessage([kline(120, 1.0, closed=False)], 0))
    await recorder.finish()
    assert [candle.opened_at_us for candle in store.batches[0].venue_candles] == [0]


@instantly
async def test_marks_and_funding_of_a_perpetual_are_told_together() -> None:
    bus = MemoryPublisher()
    recorder = ChannelRecorder(MemoryChannels(), bus, TUNING)
    mark = MarkPrice(exchange="okx", symbol="A-USDT-PERP", at_us=1, mark_price=2.0, index_price=2.0)
    rate = FundingRate(
        exchange="okx", symbol="A-USDT-PERP", funding_at_us=9, rate=0.1, settled=False, seen_at_us=1
    )
    recorder.take(MarkMessage(mark, 1))
    recorder.take(FundingMessage([rate], 1))
    await run_for(recorder, 0.1)
    assert bus.news == [("perpetuals.okx.A-USDT-PERP", PerpetualUpdate(funding=rate, mark=mark))]


@instantly
async def test_a_database_that_is_away_costs_old_quotes_alone() -> None:
    store = MemoryChannels()
    store.fails = True
    recorder = ChannelRecorder(store, MemoryPublisher(), TUNING)
    recorder.take(QuotesMessage([quote("A-USDT", 1)], 1))
    recorder.take(KlineMessage([kline(0, 1.0, closed=True)], 0))
    await recorder.finish()
    assert recorder.trouble == "the database is away"
    recorder.take(QuotesMessage([quote("A-USDT", 2)], 2))
    recorder.take(KlineMessage([kline(60, 1.0, closed=True)], 0))
    store.fails = False
    await recorder.finish()
    assert recorder.trouble == ""
    (batch,) = store.batches
    assert [each.at_us for each in batch.quotes] == [2]
    assert [candle.opened_at_us for candle in batch.venue_candles] == [0, 60]
