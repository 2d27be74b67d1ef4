"""Binance's channels beside the trades, spot and USD-M. Source: both API guides, "Websocket Streams"."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec

from data.exchanges.base import (
    KLINE_TIMEFRAME,
    BookMessage,
    InexactValue,
    Kline,
    KlineMessage,
    MarkMessage,
    QuotesMessage,
    VenueMessage,
    exact_float,
)
from data.exchanges.reading import exact_signed, volume_of
from data.models import BookLevel, BookSnapshot, Candle, FundingRate, MarkPrice, Quote
from data.timeframes import Timeframe

_MS_US = 1_000
_EXCHANGE = "binance"

# open time, o, h, l, c, volume, close time, quote volume, trades, two taker volumes, unused
KlineRow = tuple[int, str, str, str, str, str, int, str, int, str, str, str]


class _BookTicker(msgspec.Struct, gc=False):
    b: str
    B: str
    a: str
    A: str
    T: int = 0  # ms; spot tells no time
    E: int = 0  # ms


_Level = tuple[str, str]


class _SpotDepth(msgspec.Struct):
    bids: list[_Level]
    asks: list[_Level]


class _FuturesDepth(msgspec.Struct):
    b: list[_Level]
    a: list[_Level]
    T: int  # ms
    E: int  # ms


class _KlineBody(msgspec.Struct):
    t: int  # ms
    o: str
    h: str
    l: str  # noqa: E741  # the venue's name
    c: str
    v: str
    n: int
    x: bool


class _KlineEvent(msgspec.Struct):
    E: int  # ms
    k: _KlineBody


class MarkEvent(msgspec.Struct):
    """A `markPrice` event."""

    E: int  # ms
    p: str
    i: str = ""
    r: str = ""  # empty for dated contracts
    T: int = 0  # ms, when funding is paid next


_decode_book_ticker = msgspec.json.Decoder(_BookTicker).decode
_decode_spot_depth = msgspec.json.Decoder(_SpotDepth).decode
_decode_futures_depth = msgspec.json.Decoder(_FuturesDepth).decode
_decode_kline = msgspec.json.Decoder(_KlineEvent).decode
_decode_mark = msgspec.json.Decoder(MarkEvent).decode

# Our symbol, the event and our clock, which dates what the venue does not.
_Reader = Callable[[str, msgspec.Raw, int], VenueMessage]


def _quote(symbol: str, data: msgspec.Raw, received_at_us: int) -> VenueMessage:
    event = _decode_book_ticker(data)
    sent_at_us = event.E * _MS_US
    # Zeros stand for an empty side.
    if not (float(event.b) and float(event.a)):
        return QuotesMessage([], sent_at_us)
    try:
        quote = Quote(
            exchange=_EXCHANGE,
            symbol=symbol,
            at_us=event.T * _MS_US or received_at_us,
            bid_price=exact_float(_EXCHANGE, event.b),
            bid_quantity=exact_float(_EXCHANGE, event.B),
            ask_price=exact_float(_EXCHANGE, event.a),
            ask_quantity=exact_float(_EXCHANGE, event.A),
        )
    except InexactValue:
        return QuotesMessage([], sent_at_us, refused=1)
    return QuotesMessage([quote], sent_at_us)


def _spot_book(symbol: str, data: msgspec.Raw, received_at_us: int) -> VenueMessage:
    event = _decode_spot_depth(data)
    return _book(symbol, received_at_us, 0, event.bids, event.asks)


def _futures_book(symbol: str, data: msgspec.Raw, _: int) -> VenueMessage:
    event = _decode_futures_depth(data)
    return _book(symbol, event.T * _MS_US, event.E * _MS_US, event.b, event.a)


def _book(symbol: str, at_us: int, sent_at_us: int, bids: list[_Level], asks: list[_Level]) -> VenueMessage:
    try:
        book = BookSnapshot(
            exchange=_EXCHANGE, symbol=symbol, at_us=at_us, bids=_levels(bids), asks=_levels(asks)
        )
    except InexactValue:
        return BookMessage(None, sent_at_us, refused=1)
    return BookMessage(book, sent_at_us)


def _levels(levels: list[_Level]) -> tuple[BookLevel, ...]:
    return tuple(
        BookLevel(exact_float(_EXCHANGE, price), exact_float(_EXCHANGE, quantity))
        for price, quantity in levels
    )


def _kline(symbol: str, data: msgspec.Raw, _: int) -> VenueMessage:
    event = _decode_kline(data)
    kline = event.k
    if kline.n == 0 and float(kline.o) == 0.0:
        # A market that has never traded.
        return KlineMessage([], event.E * _MS_US)
    try:
        candle = _candle(
            symbol, KLINE_TIMEFRAME, kline.t, (kline.o, kline.h, kline.l, kline.c), kline.v, kline.n
        )
    except InexactValue:
        return KlineMessage([], event.E * _MS_US, refused=1)
    return KlineMessage([Kline(candle, kline.x)], event.E * _MS_US)


def candle_of(symbol: str, timeframe: Timeframe, row: KlineRow) -> Candle:
    """A candle of a row of `klines`. Raises InexactValue for a price that cannot be held exactly."""
    opened_at_ms, opened, high, low, close, volume, _, _, trades, _, _, _ = row
    return _candle(symbol, timeframe, opened_at_ms, (opened, high, low, close), volume, trades)


def _candle(
    symbol: str,
    timeframe: Timeframe,
    opened_at_ms: int,
    prices: tuple[str, str, str, str],
    volume: str,
    trades: int,
) -> Candle:
    opened, high, low, close = (exact_float(_EXCHANGE, price) for price in prices)
    return Candle(
        exchange=_EXCHANGE,
        symbol=symbol,
        timeframe=timeframe,
        opened_at_us=opened_at_ms * _MS_US,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume_of(volume),
        trades=trades,
    )


def _mark(symbol: str, data: msgspec.Raw, _: int) -> VenueMessage:
    event = _decode_mark(data)
    sent_at_us, refused = event.E * _MS_US, 0
    mark: MarkPrice | None = None
    funding: FundingRate | None = None
    try:
        mark = mark_price_of(symbol, event.p, event.i, event.E)
    except InexactValue:
        refused += 1
    if event.r and event.T:
        try:
            funding = FundingRate(
                exchange=_EXCHANGE,
                symbol=symbol,
                funding_at_us=event.T * _MS_US,
                rate=exact_signed(_EXCHANGE, event.r),
                settled=False,
                seen_at_us=sent_at_us,
            )
        except InexactValue:
            refused += 1
    return MarkMessage(mark, sent_at_us, funding, refused)


def mark_price_of(symbol: str, mark: str, index: str, at_ms: int) -> MarkPrice:
    """A mark price; the index where one is given. Raises InexactValue."""
    return MarkPrice(
        exchange=_EXCHANGE,
        symbol=symbol,
        at_us=at_ms * _MS_US,
        mark_price=exact_float(_EXCHANGE, mark),
        index_price=exact_float(_EXCHANGE, index) if index else math.nan,
    )


_KLINES = f"kline_{KLINE_TIMEFRAME.value}"
SPOT_READERS: Mapping[str, _Reader] = {
    "bookTicker": _quote,
    "depth5": _spot_book,
    "depth20": _spot_book,
    _KLINES: _kline,
}
FUTURES_READERS: Mapping[str, _Reader] = {
    "bookTicker": _quote,
    "depth5": _futures_book,
    "depth20": _futures_book,
    _KLINES: _kline,
    "markPrice": _mark,
}
