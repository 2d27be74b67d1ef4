"""OKX's quotes, books, candles, funding rates and marks: base currency, exact values, both hosts' paths."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest

from data.errors import MalformedMessage
from data.exchanges.base import (
    AckMessage,
    BookMessage,
    Channel,
    FundingMessage,
    KlineMessage,
    MarkMessage,
    OtherMessage,
    QuotesMessage,
)
from data.exchanges.okx import OkxAdapter
from data.models import BookLevel, Instrument, InstrumentKind

_SWAP = "BTC-USDT-SWAP"


@pytest.fixture
def okx() -> OkxAdapter:
    adapter = OkxAdapter()
    adapter.use(
        Instrument(
            exchange="okx",
            symbol=symbol,
            venue_symbol=venue_symbol,
            kind=kind,
            base="BTC",
            quote="USDT",
            tick_size=Decimal("0.1"),
            lot_size=Decimal("0.01"),
            min_quantity=Decimal("0.01"),
            min_notional=Decimal(0),
            contract_size=Decimal(size),
        )
        for symbol, venue_symbol, kind, size in (
            ("BTC-USDT", "BTC-USDT", InstrumentKind.SPOT, "1"),
            ("BTC-USDT-PERP", _SWAP, InstrumentKind.PERPETUAL, "0.01"),
        )
    )
    return adapter


def push(channel: str, instrument: str, row: object) -> bytes:
    return json.dumps({"arg": {"channel": channel, "instId": instrument}, "data": [row]}).encode()


def test_channels_are_divided_between_two_sockets(okx: OkxAdapter) -> None:
    wanted = [("BTC-USDT-PERP", channel) for channel in Channel if okx.supports("BTC-USDT-PERP", channel)]
    business, public = okx.subscribe_requests(wanted)
    assert (business.endpoint, public.endpoint) == ("/ws/v5/business", "/ws/v5/public")
    assert business.topics == (f"trades-all:{_SWAP}", f"candle1m:{_SWAP}")
    assert public.topics == tuple(
        f"{channel}:{_SWAP}" for channel in ("tickers", "books5", "funding-rate", "mark-price")
    )
    assert json.loads(business.text)["args"][1] == {"channel": "candle1m", "instId": _SWAP}
    (given_up,) = okx.unsubscribe_requests([("BTC-USDT", Channel.QUOTES)], first_number=7)
    assert json.loads(given_up.text)["op"] == "unsubscribe"
    assert given_up.request_id == "7"
    assert not okx.supports("BTC-USDT", Channel.MARK)
    assert not okx.supports("BTC-USDT-260327", Channel.FUNDING)
    assert not okx.supports("BTC-USDT", Channel.BOOK20)


def test_an_acknowledgement_says_whether_something_was_given_up(okx: OkxAdapter) -> None:
    ack = b'{"event":"%s","arg":{"channel":"tickers","instId":"BTC-USDT"},"connId":"a"}'
    assert okx.parse(ack % b"subscribe") == AckMessage("tickers:BTC-USDT")
    assert okx.parse(ack % b"unsubscribe") == AckMessage("tickers:BTC-USDT", unsubscribed=True)


def test_contracts_are_base_currency_in_quotes_books_and_candles(okx: OkxAdapter) -> None:
    row = {"instId": _SWAP, "bidPx": "5.1", "bidSz": "3", "askPx": "5.2", "askSz": "7", "ts": "10"}
    quotes = okx.parse(push("tickers", _SWAP, row))
    assert isinstance(quotes, QuotesMessage)
    assert (quotes.quotes[0].bid_quantity, quotes.quotes[0].ask_quantity) == (0.03, 0.07)

    book = {"asks": [["5.2", "7", "0", "1"]], "bids": [], "ts": "10", "seqId": 5}
    message = okx.parse(push("books5", _SWAP, book))
    assert isinstance(message, BookMessage)
    assert message.book is not None
    assert (message.book.asks, message.book.bids, message.book.at_us) == ((BookLevel(5.2, 0.07),), (), 10_000)

    candle = ["60000", "5", "7", "4", "6", "250", "2.5", "15", "1"]
    klines = okx.parse(push("candle1m", _SWAP, candle))
    assert isinstance(klines, KlineMessage)
    assert (klines.klines[0].closed, klines.klines[0].candle.volume) == (True, 2.5)
    forming = okx.parse(push("candle1m", "BTC-USDT", [*candle[:8], "0"]))
    assert isinstance(forming, KlineMessage)
    assert (forming.klines[0].closed, forming.klines[0].candle.volume) == (False, 250.0)


def test_values_a_double_cannot_hold_are_refused_and_counted(okx: OkxAdapter) -> None:
    long = "1.12345678901234567"
    quote = {"instId": "BTC-USDT", "bidPx": "5", "bidSz": long, "askPx": "6", "askSz": "1", "ts": "10"}
    assert okx.parse(push("tickers", "BTC-USDT", quote)) == QuotesMessage([], 10_000, refused=1)
    book = {"asks": [[long, "7", "0", "1"]], "bids": [], "ts": "10"}
    assert okx.parse(push("books5", "BTC-USDT", book)) == BookMessage(None, 10_000, refused=1)
    candle = ["60000", long, "7", "4", "6", "250", "2.5", "15", "1"]
    assert okx.parse(push("candle1m", "BTC-USDT", candle)) == KlineMessage([], 0, refused=1)
    mark = {"instId": _SWAP, "instType": "SWAP", "markPx": long, "ts": "10"}
    assert okx.parse(push("mark-price", _SWAP, mark)) == MarkMessage(None, 10_000, refused=1)


def test_funding_tells_the_rate_to_come_and_the_one_paid(okx: OkxAdapter) -> None:
    row = {
        "instId": _SWAP, "instType": "SWAP", "fundingRate": "-0.0001", "fundingTime": "1700006400000",
        "prevFundingTime": "1699977600000", "settFundingRate": "0.0002", "settState": "settled", "ts": "20",
    }  # fmt: skip
    message = okx.parse(push("funding-rate", _SWAP, row))
    assert isinstance(message, FundingMessage)
    paid, expected = message.rates
    assert (paid.rate, paid.settled, paid.funding_at_us) == (0.0002, True, 1699977600000_000)
    assert (expected.rate, expected.settled, expected.seen_at_us) == (-0.0001, False, 20_000)
    processing = okx.parse(push("funding-rate", _SWAP, {**row, "settState": "processing"}))
    assert isinstance(processing, FundingMessage)
    assert [rate.settled for rate in processing.rates] == [False]


def test_a_mark_has_no_index(okx: OkxAdapter) -> None:
    message = okx.parse(push("mark-price", _SWAP, {"instId": _SWAP, "markPx": "5.25", "ts": "10"}))
    assert isinstance(message, MarkMessage)
    assert message.mark is not None
    assert message.mark.mark_price == 5.25
    assert math.isnan(message.mark.index_price)


def test_history_of_funding_prefers_what_was_paid(okx: OkxAdapter) -> None:
    request = okx.funding_history_request("BTC-USDT-PERP", before_us=9_000_000)
    assert request.params["after"] == "9000"
    rows = [
        {"instId": _SWAP, "fundingRate": "0.5", "realizedRate": "0.25", "fundingTime": "2000"},
        {"instId": _SWAP, "fundingRate": "0.125", "fundingTime": "1000"},
    ]
    rates = okx.parse_funding_history("BTC-USDT-PERP", {"code": "0", "data": rows}, seen_at_us=1)
    assert [(rate.funding_at_us, rate.rate, rate.settled) for rate in rates] == [
        (1_000_000, 0.125, True),
        (2_000_000, 0.25, True),
    ]
    assert okx.mark_price_request("BTC-USDT-PERP").params == {"instType": "SWAP", "instId": _SWAP}


def test_what_nobody_asked_for_is_of_no_concern_and_what_does_not_parse_is_malformed(okx: OkxAdapter) -> None:
    assert okx.parse(push("tickers", "ETH-USDT", {})) == OtherMessage()
    for channel in ("tickers", "books5", "candle1m", "funding-rate", "mark-price"):
        with pytest.raises(MalformedMessage):
            okx.parse(push(channel, _SWAP, {"ts": "x"}))
        with pytest.raises(MalformedMessage):
            okx.parse(b'{"arg":{"channel":"%s","instId":"BTC-USDT-SWAP"}}' % channel.encode())
