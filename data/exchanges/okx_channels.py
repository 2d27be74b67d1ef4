"""OKX's channels beside the trades. Source: OKX API guide, "Market Data" and "Public Data", WS channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

import msgspec

from data.exchanges.base import (
    KLINE_TIMEFRAME,
    BookMessage,
    FundingMessage,
    InexactValue,
    Kline,
    KlineMessage,
    MarkMessage,
    QuotesMessage,
    VenueMessage,
    contracts_to_base,
    exact_float,
)
from data.exchanges.reading import exact_signed, volume_of
from data.models import BookLevel, BookSnapshot, Candle, FundingRate, MarkPrice, Quote
from data.timeframes import Timeframe

_MS_US = 1_000
_EXCHANGE = "okx"

KLINES = "candle1m"
QUOTES = "tickers"
BOOK5 = "books5"
FUNDING = "funding-rate"
MARK = "mark-price"
_BEST_BY_TICK = "bbo-tbt"  # every change of the best prices; understood where a recording holds it

_SETTLED = "settled"


class _TickerRow(msgspec.Struct, gc=False):
    instId: str
    bidPx: str
    bidSz: str
    askPx: str
    askSz: str
    ts: int  # ms


# Price, quantity, a field of old and the number of orders.
_Level = tuple[str, str, str, str]


class _BookRow(msgspec.Struct):
    asks: list[_Level]
    bids: list[_Level]
    ts: int  # ms


class FundingRow(msgspec.Struct):
    instId: str
    fundingRate: str
    fundingTime: int  # ms
    settState: str = ""
    settFundingRate: str = ""
    prevFundingTime: str = ""  # ms
    ts: int = 0  # ms; absent in old messages


class MarkRow(msgspec.Struct):
    instId: str
    markPx: str
    ts: int  # ms


# ts, open, high, low, close, volume in base or contracts, two more volumes, confirm
CandleRow = tuple[int, str, str, str, str, str, str, str, str]

# Not strict: OKX writes its integers as strings.
_decode_tickers = msgspec.json.Decoder(list[_TickerRow], strict=False).decode
_decode_books = msgspec.json.Decoder(list[_BookRow], strict=False).decode
_decode_candles = msgspec.json.Decoder(list[CandleRow], strict=False).decode
_decode_funding = msgspec.json.Decoder(list[FundingRow], strict=False).decode
_decode_marks = msgspec.json.Decoder(list[MarkRow], strict=False).decode


class OkxMarket(NamedTuple):
    """What a venue symbol stands for."""

    symbol: str
    contract_size: Decimal | None  # base currency of one contract; None on spot

    def quantity(self, text: str) -> float:
        """Base currency of a size as OKX writes it. Raises InexactValue."""
        if self.contract_size is None:
            return exact_float(_EXCHANGE, text)
        return contracts_to_base(_EXCHANGE, text, self.contract_size)

    def volume(self, text: str) -> float:
        """Base currency of a candle's volume, the nearest double."""
        if self.contract_size is None:
            return volume_of(text)
        return volume_of(str(Decimal(text) * self.contract_size))


def candle_of(market: OkxMarket, timeframe: Timeframe, row: CandleRow) -> Candle:
    """One candle. Raises InexactValue for a price that cannot be held exactly."""
    opened_at_ms, opened, high, low, close, volume, _, _, _ = row
    return Candle(
        exchange=_EXCHANGE,
        symbol=market.symbol,
        timeframe=timeframe,
        opened_at_us=opened_at_ms * _MS_US,
        open=exact_float(_EXCHANGE, opened),
        high=exact_float(_EXCHANGE, high),
        low=exact_float(_EXCHANGE, low),
        close=exact_float(_EXCHANGE, close),
        volume=market.volume(volume),
        trades=0,  # OKX does not say
    )


def is_closed(row: CandleRow) -> bool:
    """Whether OKX confirms the candle."""
    return row[8] == "1"


def _tickers(market: OkxMarket, data: msgspec.Raw) -> VenueMessage:
    quotes: list[Quote] = []
    sent_at_us = refused = 0
    for row in _decode_tickers(data):
        sent_at_us = max(sent_at_us, row.ts * _MS_US)
        # Empty or zero where nobody bids, or nobody offers.
        if not (_is_given(row.bidPx) and _is_given(row.askPx)):
            continue
        try:
            quotes.append(
                _quote(market, row.ts, (row.bidPx, row.bidSz, "", ""), (row.askPx, row.askSz, "", ""))
            )
        except InexactValue:
            refused += 1
    return QuotesMessage(quotes, sent_at_us, refused)


def _best(market: OkxMarket, data: msgspec.Raw) -> VenueMessage:
    quotes: list[Quote] = []
    sent_at_us = refused = 0
    for row in _decode_books(data):
        sent_at_us = max(sent_at_us, row.ts * _MS_US)
        if not (row.bids and row.asks):
            continue
        try:
            quotes.append(_quote(market, row.ts, row.bids[0], row.asks[0]))
        except InexactValue:
            refused += 1
    return QuotesMessage(quotes, sent_at_us, refused)


def _quote(market: OkxMarket, at_ms: int, bid: _Level, ask: _Level) -> Quote:
    return Quote(
        exchange=_EXCHANGE,
        symbol=market.symbol,
        at_us=at_ms * _MS_US,
        bid_price=exact_float(_EXCHANGE, bid[0]),
        bid_quantity=market.quantity(bid[1]),
        ask_price=exact_float(_EXCHANGE, ask[0]),
        ask_quantity=market.quantity(ask[1]),
    )


def _book(market: OkxMarket, data: msgspec.Raw) -> VenueMessage:
    row = _decode_books(data)[-1]  # each is the whole: the last one stands
    at_us = row.ts * _MS_US
    try:
        book = BookSnapshot(
            exchange=_EXCHANGE,
            symbol=market.symbol,
            at_us=at_us,
            bids=_levels(market, row.bids),
            asks=_levels(market, row.asks),
        )
    except InexactValue:
        return BookMessage(None, at_us, refused=1)
    return BookMessage(book, at_us)


def _levels(market: OkxMarket, levels: list[_Level]) -> tuple[BookLevel, ...]:
    return tuple(BookLevel(exact_float(_EXCHANGE, level[0]), market.quantity(level[1])) for level in levels)


def _candles(market: OkxMarket, data: msgspec.Raw) -> VenueMessage:
    klines: list[Kline] = []
    refused = 0
    for row in _decode_candles(data):
        try:
            klines.append(Kline(candle_of(market, KLINE_TIMEFRAME, row), is_closed(row)))
        except InexactValue:
            refused += 1
    klines.sort(key=lambda kline: kline.candle.opened_at_us)
    return KlineMessage(klines, 0, refused)


def _funding(market: OkxMarket, data: msgspec.Raw) -> VenueMessage:
    rates: list[FundingRate] = []
    sent_at_us = refused = 0
    for row in _decode_funding(data):
        sent_at_us = max(sent_at_us, row.ts * _MS_US)
        expected = [(row.fundingTime, row.fundingRate, False)]
        if row.settState == _SETTLED and row.settFundingRate and row.prevFundingTime:
            expected.insert(0, (int(row.prevFundingTime), row.settFundingRate, True))
        for at_ms, rate, settled in expected:
            try:
                rates.append(
                    FundingRate(
                        exchange=_EXCHANGE,
                        symbol=market.symbol,
                        funding_at_us=at_ms * _MS_US,
                        rate=exact_signed(_EXCHANGE, rate),
                        settled=settled,
                        seen_at_us=row.ts * _MS_US,
                    )
                )
            except InexactValue:
                refused += 1
    return FundingMessage(rates, sent_at_us, refused)


def mark_price_of(symbol: str, row: MarkRow) -> MarkPrice:
    """The mark price of a row; OKX tells the index elsewhere. Raises InexactValue."""
    return MarkPrice(
        exchange=_EXCHANGE,
        symbol=symbol,
        at_us=row.ts * _MS_US,
        mark_price=exact_float(_EXCHANGE, row.markPx),
        index_price=math.nan,
    )


def _mark(market: OkxMarket, data: msgspec.Raw) -> VenueMessage:
    row = _decode_marks(data)[-1]
    try:
        return MarkMessage(mark_price_of(market.symbol, row), row.ts * _MS_US)
    except InexactValue:
        return MarkMessage(None, row.ts * _MS_US, refused=1)


def _is_given(price: str) -> bool:
    return bool(price) and float(price) > 0.0


_READERS: Mapping[str, Callable[[OkxMarket, msgspec.Raw], VenueMessage]] = {
    QUOTES: _tickers,
    _BEST_BY_TICK: _best,
    BOOK5: _book,
    KLINES: _candles,
    FUNDING: _funding,
    MARK: _mark,
}


def reader_of(channel: str) -> Callable[[OkxMarket, msgspec.Raw], VenueMessage] | None:
    """The function that reads the `data` of a push of this channel; None for a channel of no concern."""
    return _READERS.get(channel)
