"""What is heard beside the trades: told a few times a second, stored once a second.

None of it is journalled. While the database cannot answer, the newest of each market is kept and the rest is
dropped and counted: a quote is worth little when it is old, and funding rates and candles can be asked for.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

import structlog

from data.collectors.backoff import Backoff
from data.collectors.tuning import CollectorTuning
from data.errors import TransientError
from data.exchanges.base import (
    BookMessage,
    FundingMessage,
    KlineMessage,
    MarkMessage,
    QuotesMessage,
    VenueMessage,
)
from data.messages import BookUpdate, News, PerpetualUpdate, QuoteUpdate
from data.models import BookSnapshot, Candle, FundingRate, Market, MarkPrice, Quote
from data.stores import ChannelBatch, ChannelWriter, MarketPublisher
from data.timeframes import Timeframe
from data.topics import books_topic, perpetuals_topic, quotes_topic

log = structlog.get_logger()

_CandleKey = tuple[str, Timeframe, int]
_FundingKey = tuple[str, int, bool]


class ChannelRecorder:
    """Keeps the newest of every market and hands it on at its own pace, apart from all that trades need."""

    def __init__(self, writer: ChannelWriter, publisher: MarketPublisher, tuning: CollectorTuning) -> None:
        self._writer, self._publisher, self._tuning = writer, publisher, tuning
        self._news: dict[str, News] = {}  # to be told, by topic
        self._quotes: dict[str, Quote] = {}  # to be stored, by symbol
        self._books: dict[tuple[str, int], BookSnapshot] = {}  # by symbol and levels
        self._marks: dict[str, MarkPrice] = {}
        self._funding: dict[_FundingKey, FundingRate] = {}
        self._candles: dict[_CandleKey, Candle] = {}
        self.refused = 0  # values that a double cannot hold
        self.dropped = 0  # what the database could not take in time
        self.trouble = ""  # why it takes none now

    def take(self, parsed: VenueMessage) -> None:
        """Keep what a message brings, in the place of what is older."""
        if isinstance(parsed, QuotesMessage):
            self.refused += parsed.refused
            for quote in parsed.quotes:
                self._quotes[quote.symbol] = quote
                self._news[quotes_topic(Market(quote.exchange, quote.symbol))] = QuoteUpdate(quote=quote)
        elif isinstance(parsed, BookMessage):
            self.refused += parsed.refused
            if (book := parsed.book) is not None:
                self._books[book.symbol, max(len(book.bids), len(book.asks))] = book
                self._news[books_topic(Market(book.exchange, book.symbol))] = BookUpdate(book=book)
        elif isinstance(parsed, KlineMessage):
            self.refused += parsed.refused
            for kline in parsed.klines:
                candle = kline.candle
                # An interval without trades has no row.
                if kline.closed and candle.volume > 0:
                    self._candles[candle.symbol, candle.timeframe, candle.opened_at_us] = candle
        elif isinstance(parsed, FundingMessage):
            self.refused += parsed.refused
            for rate in parsed.rates:
                self._take_funding(rate)
        elif isinstance(parsed, MarkMessage):
            self.refused += parsed.refused
            if (mark := parsed.mark) is not None:
                self._marks[mark.symbol] = mark
                self._tell_perpetual(Market(mark.exchange, mark.symbol), mark=mark)
            if parsed.funding is not None:
                self._take_funding(parsed.funding)

    async def run(self) -> NoReturn:
        """Tell and store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_forever())
            tasks.create_task(self._store_forever())
        raise AssertionError("both go on for ever")

    async def finish(self) -> None:
        """Store what is left, if the database answers at once."""
        await self._store()

    def _take_funding(self, rate: FundingRate) -> None:
        self._funding[rate.symbol, rate.funding_at_us, rate.settled] = rate
        if not rate.settled:
            self._tell_perpetual(Market(rate.exchange, rate.symbol), funding=rate)

    def _tell_perpetual(
        self, market: Market, *, funding: FundingRate | None = None, mark: MarkPrice | None = None
    ) -> None:
        topic = perpetuals_topic(market)
        known = self._news.get(topic)
        if isinstance(known, PerpetualUpdate):
            funding, mark = funding or known.funding, mark or known.mark
        self._news[topic] = PerpetualUpdate(funding=funding, mark=mark)

    async def _tell_forever(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._tuning.channel_tell_s)
            news, self._news = self._news, {}
            for topic, message in news.items():
                await self._publisher.publish(topic, message)

    async def _store_forever(self) -> NoReturn:
        backoff = Backoff(self._tuning.backoff_first_s, self._tuning.backoff_longest_s)
        while True:
            await asyncio.sleep(self._tuning.channel_store_s)
            if await self._store():
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_s())

    async def _store(self) -> bool:
        """Store what is kept; False where the database could not. What has no newer one is then kept on."""
        taken = self._quotes, self._books, self._marks, self._funding, self._candles
        quotes, books, marks, funding, candles = taken
        if not any(taken):
            return True
        self._quotes, self._books, self._marks, self._funding, self._candles = {}, {}, {}, {}, {}
        try:
            await self._writer.save_channels(
                ChannelBatch(
                    venue_candles=list(candles.values()),
                    quotes=list(quotes.values()),
                    books=list(books.values()),
                    funding=list(funding.values()),
                    marks=list(marks.values()),
                )
            )
        except TransientError as error:
            self.trouble = str(error)
            log.warning("channels_not_stored", error=str(error))
            self.dropped += sum(key in self._quotes for key in quotes)
            self.dropped += sum(key in self._books for key in books)
            self.dropped += sum(key in self._marks for key in marks)
            self._quotes = quotes | self._quotes
            self._books = books | self._books
            self._marks = marks | self._marks
            self._funding = funding | self._funding
            candles |= self._candles
            self._candles = _newest(candles, self._tuning.max_waiting_candles)
            self.dropped += len(candles) - len(self._candles)
            return False
        self.trouble = ""
        return True


def _newest(candles: dict[_CandleKey, Candle], most: int) -> dict[_CandleKey, Candle]:
    """The `most` that open last, for an outage may be long."""
    if len(candles) <= most:
        return candles
    return {key: candles[key] for key in sorted(candles, key=lambda key: key[2])[-most:]}
