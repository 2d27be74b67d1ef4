"""Binance's futures: aggregates as trades, routes, marks with funding, instruments and history."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest

from data.errors import MalformedMessage
from data.exchanges.base import (
    AckMessage,
    BookMessage,
    Channel,
    InexactValue,
    KlineMessage,
    MarkMessage,
    QuotesMessage,
    ReconnectNotice,
    TradesMessage,
)
from data.exchanges.binance_usdm import BinanceUsdmAdapter
from data.models import BookLevel, Instrument, InstrumentKind, InstrumentStatus, Side
from data.timeframes import Timeframe

_TRADE = {
    "e": "aggTrade", "E": 1700000000123, "s": "BTCUSDT", "a": 77, "p": "61837.10", "q": "0.250",
    "nq": "0.250", "f": 100, "l": 105, "T": 1700000000120, "m": True, "st": 1,
}  # fmt: skip


def futures(symbol: str = "BTC-USDT-PERP", venue_symbol: str = "BTCUSDT") -> Instrument:
    return Instrument(
        exchange="binance",
        symbol=symbol,
        venue_symbol=venue_symbol,
        kind=InstrumentKind.PERPETUAL,
        base="BTC",
        quote="USDT",
        tick_size=Decimal("0.1"),
        lot_size=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        min_notional=Decimal(5),
    )


@pytest.fixture
def usdm() -> BinanceUsdmAdapter:
    adapter = BinanceUsdmAdapter()
    adapter.use([futures()])
    return adapter


def enveloped(stream: str, data: object) -> bytes:
    return json.dumps({"stream": stream, "data": data}).encode()


@pytest.mark.parametrize("message", [enveloped("btcusdt@aggTrade", _TRADE), json.dumps(_TRADE).encode()])
def test_an_aggregate_is_a_trade_under_its_own_id(usdm: BinanceUsdmAdapter, message: bytes) -> None:
    parsed = usdm.parse(message)
    assert isinstance(parsed, TradesMessage)
    (trade,) = parsed.trades
    assert (trade.exchange, trade.symbol, trade.trade_id) == ("binance", "BTC-USDT-PERP", 77)
    assert (trade.price, trade.quantity, trade.taker_side) == (61837.1, 0.25, Side.SELL)
    assert (trade.traded_at_us, parsed.sent_at_us) == (1700000000120_000, 1700000000123_000)


def test_a_trade_that_a_double_cannot_hold_is_refused_and_counted(usdm: BinanceUsdmAdapter) -> None:
    row = {**_TRADE, "q": "0.1234567890123456789"}
    assert usdm.parse(enveloped("btcusdt@aggTrade", row)) == TradesMessage([], 1700000000123_000, refused=1)


def test_requests_are_divided_by_route_and_a_shared_topic_is_asked_for_once(usdm: BinanceUsdmAdapter) -> None:
    channels = [Channel.TRADES, Channel.QUOTES, Channel.BOOK5, Channel.FUNDING, Channel.MARK, Channel.KLINES]
    market, public = usdm.subscribe_requests([("BTC-USDT-PERP", channel) for channel in channels])
    assert (market.endpoint, public.endpoint) == ("/market/stream", "/public/stream")
    assert market.topics == ("btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@kline_1m")
    assert public.topics == ("btcusdt@bookTicker", "btcusdt@depth5@100ms")
    assert (market.request_id, public.request_id) == ("1", "2")
    assert usdm.connection_url("wss://fstream.binance.com") == "wss://fstream.binance.com/market/stream"
    (given_up,) = usdm.unsubscribe_requests([("BTC-USDT-PERP", Channel.QUOTES)], first_number=9)
    assert json.loads(given_up.text) == {"method": "UNSUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 9}


def test_what_a_product_does_not_stream_is_an_error(usdm: BinanceUsdmAdapter) -> None:
    assert not usdm.supports("BTC-USDT", Channel.TRADES)
    assert not usdm.supports("BTC-USDT-260327", Channel.FUNDING)
    with pytest.raises(ValueError, match="usdm has no trades of BTC-USDT"):
        usdm.subscribe_requests(["BTC-USDT"])


def test_quotes_and_books_carry_the_venue_time(usdm: BinanceUsdmAdapter) -> None:
    ticker = {
        "e": "bookTicker",
        "u": 1,
        "s": "BTCUSDT",
        "b": "5.1",
        "B": "3",
        "a": "5.2",
        "A": "4",
        "T": 10,
        "E": 12,
    }
    parsed = usdm.parse(enveloped("btcusdt@bookTicker", ticker), received_at_us=1)
    assert isinstance(parsed, QuotesMessage)
    (quote,) = parsed.quotes
    assert (quote.at_us, quote.bid_price, quote.bid_quantity) == (10_000, 5.1, 3.0)
    assert (quote.ask_price, quote.ask_quantity, parsed.sent_at_us) == (5.2, 4.0, 12_000)
    empty = usdm.parse(enveloped("btcusdt@bookTicker", {**ticker, "b": "0.00", "B": "0"}))
    assert empty == QuotesMessage([], 12_000)
    inexact = usdm.parse(enveloped("btcusdt@bookTicker", {**ticker, "B": "1.12345678901234567"}))
    assert inexact == QuotesMessage([], 12_000, refused=1)

    depth = {"e": "depthUpdate", "E": 12, "T": 10, "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0,
             "b": [["5.1", "3"], ["5.0", "1"]], "a": [["5.2", "4"]]}  # fmt: skip
    parsed_book = usdm.parse(enveloped("btcusdt@depth5@100ms", depth))
    assert isinstance(parsed_book, BookMessage)
    assert parsed_book.book is not None
    assert parsed_book.book.bids == (BookLevel(5.1, 3.0), BookLevel(5.0, 1.0))
    assert parsed_book.book.asks == (BookLevel(5.2, 4.0),)


def test_a_mark_brings_index_and_the_funding_to_come(usdm: BinanceUsdmAdapter) -> None:
    event: dict[str, Any] = {
        "e": "markPriceUpdate", "E": 1680652701000, "s": "BTCUSDT", "p": "28147.27373413",
        "i": "28159.75642857", "r": "-0.00002754", "T": 1680652800000,
    }  # fmt: skip
    parsed = usdm.parse(enveloped("btcusdt@markPrice@1s", event))
    assert isinstance(parsed, MarkMessage)
    assert parsed.mark is not None
    assert parsed.funding is not None
    assert (parsed.mark.mark_price, parsed.mark.index_price) == (28147.27373413, 28159.75642857)
    assert (parsed.funding.rate, parsed.funding.funding_at_us) == (-0.00002754, 1680652800000_000)
    assert not parsed.funding.settled

    dated = usdm.parse(enveloped("btcusdt@markPrice", {**event, "r": "", "T": 0, "i": ""}))
    assert isinstance(dated, MarkMessage)
    assert dated.funding is None
    assert dated.mark is not None
    assert math.isnan(dated.mark.index_price)
    inexact = usdm.parse(enveloped("btcusdt@markPrice", {**event, "p": "28147.2737341312345"}))
    assert isinstance(inexact, MarkMessage)
    assert (inexact.mark, inexact.refused) == (None, 1)


def test_a_kline_says_whether_it_is_closed(usdm: BinanceUsdmAdapter) -> None:
    kline = {"t": 60_000, "T": 119_999, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 5, "o": "5", "c": "6",
             "h": "7", "l": "4", "v": "2.5", "n": 5, "x": True, "q": "1", "V": "1", "Q": "1"}  # fmt: skip
    parsed = usdm.parse(
        enveloped("btcusdt@kline_1m", {"e": "kline", "E": 120_001, "s": "BTCUSDT", "k": kline})
    )
    assert isinstance(parsed, KlineMessage)
    (found,) = parsed.klines
    assert found.closed
    candle = found.candle
    assert (candle.open, candle.high, candle.low, candle.close, candle.volume) == (5.0, 7.0, 4.0, 6.0, 2.5)
    assert (candle.opened_at_us, candle.timeframe, candle.trades) == (60_000_000, Timeframe.M1, 5)


@pytest.mark.parametrize(
    "message",
    [
        enveloped("btcusdt@aggTrade", {**_TRADE, "p": "-1"}),
        enveloped("ethusdt@aggTrade", {**_TRADE, "s": "ETHUSDT"}),
        enveloped("btcusdt@aggTrade", {"e": "aggTrade"}),
        enveloped("btcusdt@bookTicker", {"b": "1"}),
        enveloped("btcusdt@bookTicker", {"b": "nan", "B": "1", "a": "1", "A": "1"}),
        enveloped("btcusdt@depth5@100ms", {"T": 1, "E": 1, "b": [["1"]], "a": []}),
        enveloped("btcusdt@markPrice@1s", {"E": 1, "p": "0"}),
        enveloped("btcusdt@kline_1m", {"E": 1}),
        b'{"stream":"btcusdt@markPrice@1s","data":{"E":16806',
    ],
)
def test_what_does_not_parse_is_malformed(usdm: BinanceUsdmAdapter, message: bytes) -> None:
    with pytest.raises(MalformedMessage):
        usdm.parse(message)


def test_control_messages(usdm: BinanceUsdmAdapter) -> None:
    assert usdm.parse(b'{"result":null,"id":3}') == AckMessage(request_id="3")
    assert isinstance(usdm.parse(b'{"e":"serverShutdown","E":1}'), ReconnectNotice)


def symbol_row(symbol: str, contract: str, status: str) -> dict[str, Any]:
    return {
        "symbol": symbol, "contractType": contract, "status": status, "baseAsset": "BTC",
        "quoteAsset": "USDT", "pricePrecision": 2,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "1", "maxPrice": "2"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.002", "maxQty": "1000"},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
        ],
    }  # fmt: skip


def test_instruments_take_their_steps_from_filters_and_their_status(usdm: BinanceUsdmAdapter) -> None:
    rows = [
        symbol_row("BTCUSDT", "PERPETUAL", "TRADING"),
        symbol_row("BTCUSDT_260327", "CURRENT_QUARTER", "SETTLING"),
        symbol_row("BTCUSDT_250328", "", "DELIVERED"),
        symbol_row("BTCDOMUSDT", "", "PENDING_TRADING"),
    ]
    perpetual, dated, gone = usdm.parse_instruments({"symbols": rows})
    assert (perpetual.symbol, perpetual.kind) == ("BTC-USDT-PERP", InstrumentKind.PERPETUAL)
    assert (perpetual.tick_size, perpetual.lot_size) == (Decimal("0.1"), Decimal("0.001"))
    assert (perpetual.min_quantity, perpetual.min_notional) == (Decimal("0.002"), Decimal(100))
    assert (dated.symbol, dated.status) == ("BTC-USDT-260327", InstrumentStatus.HALTED)
    assert (gone.symbol, gone.status) == ("BTC-USDT-250328", InstrumentStatus.DELISTED)


def test_history_is_asked_for_by_aggregate_id(usdm: BinanceUsdmAdapter) -> None:
    request = usdm.history_request("BTC-USDT-PERP", 500)
    assert (request.path, request.weight) == ("aggTrades", 20)
    assert request.params == {"symbol": "BTCUSDT", "fromId": 500, "limit": 1000}
    assert usdm.limits.history_reach_s == 48 * 3600
    rows = [{**_TRADE, "a": 78}, _TRADE, {**_TRADE, "a": 79, "p": "1.12345678901234567"}]
    assert [trade.trade_id for trade in usdm.parse_history("BTC-USDT-PERP", rows)] == [77, 78]
    with pytest.raises(MalformedMessage):
        usdm.parse_history("BTC-USDT-PERP", {"code": -1121})


def test_funding_history_and_mark_price(usdm: BinanceUsdmAdapter) -> None:
    request = usdm.funding_history_request("BTC-USDT-PERP", before_us=5_000_000)
    assert (request.path, request.params["endTime"]) == ("fundingRate", 4_999)
    rows = [
        {"symbol": "BTCUSDT", "fundingTime": 1700006400003, "fundingRate": "-0.00010000", "markPrice": ""},
        {"symbol": "BTCUSDT", "fundingTime": 1699977600000, "fundingRate": "0.00000000"},
    ]
    first, second = usdm.parse_funding_history("BTC-USDT-PERP", rows, seen_at_us=9)
    assert (first.funding_at_us, first.rate, first.settled) == (1699977600_000_000, 0.0, True)
    assert (second.funding_at_us, second.rate, second.seen_at_us) == (1700006400_000_000, -0.0001, 9)

    reply = {"symbol": "BTCUSDT", "markPrice": "5.5", "indexPrice": "5.4", "time": 7}
    mark = usdm.parse_mark_price("BTC-USDT-PERP", reply)
    assert (mark.mark_price, mark.index_price, mark.at_us) == (5.5, 5.4, 7_000)
    with pytest.raises(InexactValue):
        usdm.parse_mark_price("BTC-USDT-PERP", {**reply, "markPrice": "1.12345678901234567"})
