from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from itertools import count

import msgspec
import pytest
import pytest_asyncio

from bots.recorded_depth import BookReader, RecordedBook
from data.messages import CollectorHealth
from data.models import (
    BookLevel,
    BookSnapshot,
    FeedState,
    FundingRate,
    InstrumentStatus,
    InstrumentVersion,
    Market,
    MarketEvent,
    MarketEventKind,
    MarkPrice,
    Quote,
)
from data.stores import ChannelBatch
from data.timeframes import Timeframe
from database.features import Retention, apply_retention
from database.market_queries import as_candles
from database.repositories.candle_repository import CandleRepository
from database.repositories.channel_repository import ChannelRepository
from database.repositories.market_facts_repository import MarketFactsRepository
from database.repositories.market_repository import MarketRepository
from tests.database.market_builders import candle_of
from tests.database.test_market_repository import instrument_of

pytestmark = pytest.mark.integration

START_US = 1_723_161_300_000_000
MINUTE_US = 60_000_000
DAY_US = 86_400_000_000
_names = count(1)


@pytest.fixture
def market() -> Market:
    return Market("okx", f"CHANNEL{next(_names)}-USDT-PERP")


@pytest_asyncio.fixture
async def writer(store_url: str) -> AsyncIterator[ChannelRepository]:
    repository = ChannelRepository(store_url)
    yield repository
    await repository.close()


@pytest.fixture
def facts(store_url: str) -> Iterator[MarketFactsRepository]:
    repository = MarketFactsRepository(store_url)
    yield repository
    repository.close()


def quote_of(market: Market, at_us: int, bid: float = 60_000.1) -> Quote:
    return Quote(
        exchange=market.exchange,
        symbol=market.symbol,
        at_us=at_us,
        bid_price=bid,
        bid_quantity=0.30000000000000004,
        ask_price=bid + 0.1,
        ask_quantity=1e-8,
    )


def funding_of(market: Market, rate: float, *, settled: bool, seen_us: int) -> FundingRate:
    return FundingRate(
        exchange=market.exchange,
        symbol=market.symbol,
        funding_at_us=START_US,
        rate=rate,
        settled=settled,
        seen_at_us=seen_us,
    )


async def test_what_other_channels_brought_comes_back_to_the_last_bit(
    writer: ChannelRepository, facts: MarketFactsRepository, market: Market
) -> None:
    book = BookSnapshot(
        exchange=market.exchange,
        symbol=market.symbol,
        at_us=START_US + 7,
        bids=(BookLevel(0.1 + 0.2, 1e-8), BookLevel(0.3, 5e15)),
        asks=(BookLevel(0.31, 1.0),),
    )
    empty = BookSnapshot(exchange=market.exchange, symbol=market.symbol, at_us=START_US, bids=(), asks=())
    mark = MarkPrice(
        exchange=market.exchange, symbol=market.symbol, at_us=START_US, mark_price=5.5, index_price=math.nan
    )
    batch = ChannelBatch(
        venue_candles=[candle_of(market, START_US)],
        quotes=[quote_of(market, START_US + 1), quote_of(market, START_US + 2)],
        books=[empty, book],
        funding=[funding_of(market, 0.0001, settled=False, seen_us=START_US)],
        marks=[mark],
    )

    await writer.save_channels(batch)
    await writer.save_channels(batch)

    assert facts.quotes(market, START_US, START_US + 2) == [batch.quotes[0]]
    assert facts.latest_quote(market) == batch.quotes[1]
    assert facts.latest_book(market) == book
    assert facts.funding(market, START_US, START_US + 1) == list(batch.funding)
    found = facts.latest_mark(market)
    assert found is not None
    assert (found.mark_price, math.isnan(found.index_price)) == (5.5, True)
    assert as_candles(facts.venue_candles(market, Timeframe.M1), market) == list(batch.venue_candles)


async def test_the_book_of_a_moment_is_the_newest_of_before_and_final_once_a_later_one_is_stored(
    writer: ChannelRepository, store_url: str, market: Market
) -> None:
    def book(at_us: int, price: float) -> BookSnapshot:
        levels = (BookLevel(price, 0.1 + 0.2),)
        return BookSnapshot(
            exchange=market.exchange, symbol=market.symbol, at_us=at_us, bids=levels, asks=levels
        )

    books = [book(START_US, 1.0), book(START_US + 1_000, 2.0), book(START_US + 1_000_000, 3.0)]
    with closing(CandleRepository(store_url)) as stored:
        assert isinstance(stored, BookReader)
        assert stored.book_at(market, START_US) == RecordedBook(book=None, is_final=False)
        await writer.save_channels(ChannelBatch(books=books))
        assert stored.book_at(market, START_US - 1) == RecordedBook(book=None, is_final=True)
        assert stored.book_at(market, START_US + 999) == RecordedBook(book=books[0], is_final=True)
        assert stored.book_at(market, START_US + 1_000) == RecordedBook(book=books[1], is_final=True)
        assert stored.book_at(market, START_US + DAY_US) == RecordedBook(book=books[2], is_final=False)


async def test_a_row_that_stands_is_replaced_and_the_last_of_a_batch_stands(
    writer: ChannelRepository, facts: MarketFactsRepository, market: Market
) -> None:
    await writer.save_channels(
        ChannelBatch(quotes=[quote_of(market, START_US, 1.0), quote_of(market, START_US, 2.0)])
    )
    assert facts.latest_quote(market) == quote_of(market, START_US, 2.0)

    await writer.save_channels(ChannelBatch(quotes=[quote_of(market, START_US, 3.0)]))

    assert facts.quotes(market, 0, 2 * START_US) == [quote_of(market, START_US, 3.0)]


async def test_settled_funding_outlives_expectations_and_newer_expectations_older_ones(
    writer: ChannelRepository, facts: MarketFactsRepository, market: Market
) -> None:
    for rate, settled, seen_us in ((1.0, False, 5), (2.0, False, 9), (3.0, False, 7)):
        await writer.save_channels(
            ChannelBatch(funding=[funding_of(market, rate, settled=settled, seen_us=seen_us)])
        )
    assert [row.rate for row in facts.funding(market, 0, 2 * START_US)] == [2.0]

    for rate, settled, seen_us in ((4.0, True, 1), (5.0, False, 99)):
        await writer.save_channels(
            ChannelBatch(funding=[funding_of(market, rate, settled=settled, seen_us=seen_us)])
        )

    assert [(row.rate, row.settled) for row in facts.funding(market, 0, 2 * START_US)] == [(4.0, True)]


async def test_times_of_funding_tell_which_is_settled(writer: ChannelRepository, market: Market) -> None:
    assert await writer.funding_times(market, 0) == {}
    rates = [
        msgspec.structs.replace(
            funding_of(market, 1.0, settled=number < 2, seen_us=5), funding_at_us=START_US + number
        )
        for number in range(3)
    ]
    await writer.save_channels(ChannelBatch(funding=rates))
    assert await writer.funding_times(market, START_US + 1) == {START_US + 1: True, START_US + 2: False}


async def test_a_question_about_last_year_gets_last_years_rules(
    writer: ChannelRepository, facts: MarketFactsRepository, market: Market, store_url: str
) -> None:
    year_us = 365 * DAY_US
    old, new = instrument_of(market, "0.1"), instrument_of(market, "0.01")
    versions = [
        InstrumentVersion(instrument=old, valid_from_us=START_US - year_us),
        InstrumentVersion(instrument=new, valid_from_us=START_US),
    ]

    events = await writer.save_instrument_versions(versions)

    assert facts.instrument_at(market, START_US - 1) == old
    assert facts.instrument_at(market, START_US) == new
    assert facts.instrument_at(market, 0) == old
    assert facts.instrument_versions(market) == versions
    assert [event.kind for event in events] == [MarketEventKind.LISTED, MarketEventKind.RULES_CHANGED]
    assert events[1].detail == "tick size 0.1 is now 0.01"
    newest = CandleRepository(store_url)
    assert newest.instrument(market) == new
    newest.close()
    assert facts.instrument_at(Market("okx", "UNKNOWN-USDT"), START_US) is None


async def test_only_what_differs_from_the_newest_version_is_kept_and_told(
    writer: ChannelRepository, facts: MarketFactsRepository, market: Market
) -> None:
    def version(status: InstrumentStatus, at_us: int) -> InstrumentVersion:
        instrument = instrument_of(market, "0.1")
        fields = {name: getattr(instrument, name) for name in instrument.__struct_fields__}
        return InstrumentVersion(
            instrument=type(instrument)(**{**fields, "status": status}), valid_from_us=at_us
        )

    trading, halted, delisted = InstrumentStatus.TRADING, InstrumentStatus.HALTED, InstrumentStatus.DELISTED
    told = []
    for number, status in enumerate((trading, trading, halted, halted, trading, delisted)):
        told += await writer.save_instrument_versions([version(status, START_US + number)])

    kinds = MarketEventKind
    assert [event.kind for event in told] == [kinds.LISTED, kinds.HALTED, kinds.RESUMED, kinds.DELISTED]
    assert [event.at_us - START_US for event in told] == [0, 2, 4, 5]
    assert facts.events(market) == told[::-1]
    assert facts.events(market, start_us=START_US + 2, end_us=START_US + 5, limit=1) == [told[2]]

    # A clock that went back does not put new rules before old ones.
    (event,) = await writer.save_instrument_versions([version(trading, START_US)])
    assert (event.kind, event.at_us) == (kinds.RESUMED, START_US + 6)


async def test_rules_that_a_collector_stores_at_its_start_are_versions_with_events_too(
    facts: MarketFactsRepository, market: Market, store_url: str
) -> None:
    collector = MarketRepository(store_url)
    for tick_size in ("0.1", "0.1", "0.2"):
        await collector.save_instruments([instrument_of(market, tick_size)])
    await collector.close()

    assert len(facts.instrument_versions(market)) == 2
    assert [event.kind for event in facts.events(market)] == ["rules_changed", "listed"]
    assert market in facts.known_markets()


async def test_events_told_twice_are_kept_once(
    writer: ChannelRepository, facts: MarketFactsRepository, market: Market
) -> None:
    event = MarketEvent(market=market, kind=MarketEventKind.HALTED, at_us=START_US, detail="maintenance")

    await writer.save_events([event, event])
    await writer.save_events([event])

    assert facts.events(market) == [event]


async def test_a_feed_has_a_newest_state_and_a_history_of_changes(
    writer: ChannelRepository, facts: MarketFactsRepository, market: Market
) -> None:
    def state(since_us: int, *, stale: bool) -> FeedState:
        return FeedState(
            market=market,
            stale=stale,
            since_us=since_us,
            last_trade_at_us=0,
            usual_pause_s=1.5,
            detail="quiet",
        )

    states = [state(START_US + number, stale=bool(number % 2)) for number in range(3)]
    for each in (*states[:2], states[1], states[2], states[0]):
        await writer.save_feeds([each])

    assert [feed for feed in facts.feeds() if feed.market == market] == [states[2]]
    assert facts.feed_changes(market, START_US, START_US + 2) == states[:2]


async def test_a_shards_newest_word_stands_and_its_figures_stay_until_their_time(
    writer: ChannelRepository, facts: MarketFactsRepository, store_url: str
) -> None:
    def health(number: int, shard: str = "collector-okx-2") -> CollectorHealth:
        return CollectorHealth(
            exchange="okx",
            state="live",
            detail="",
            symbols=3,
            trades_stored=2**40,
            trades_per_s=1.25,
            duplicates=1,
            malformed=0,
            gaps_open=0,
            lag_ms=math.inf,
            sent_at_us=START_US + number * DAY_US,
            shard=shard,
            stale_symbols=("A-USDT", "B-USDT"),
            memory_bytes=2**33,
        )

    for number in (0, 2, 1):
        await writer.save_health(health(number))
    await writer.save_health(health(0, shard=""))

    assert facts.health() == [health(2), health(0, shard="okx")]
    assert facts.health_history("collector-okx-2", START_US, START_US + 2 * DAY_US) == [health(0), health(1)]
    assert facts.health_history("it's", 0, 2 * START_US) == []

    gone = apply_retention(store_url, Retention(collector_figures_days=1), START_US + 2 * DAY_US)

    assert gone["collector_figures"] == 2
    assert len(facts.health_history("collector-okx-2", 0, 2 * START_US)) == 2


async def test_each_channel_is_kept_for_its_own_time(
    writer: ChannelRepository, facts: MarketFactsRepository, market: Market, store_url: str
) -> None:
    await writer.save_channels(
        ChannelBatch(
            quotes=[quote_of(market, START_US - days * DAY_US) for days in (1, 20)],
            venue_candles=[candle_of(market, START_US - days * DAY_US) for days in (1, 20, 100)],
        )
    )

    apply_retention(store_url, Retention(), START_US)

    assert len(facts.quotes(market, 0, START_US)) == 1
    assert len(facts.venue_candles(market, Timeframe.M1).ohlcv) == 2
