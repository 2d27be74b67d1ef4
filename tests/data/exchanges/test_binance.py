from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from data.errors import MalformedMessage
from data.exchanges.base import AckMessage, ErrorMessage, OtherMessage, ReconnectNotice, TradesMessage
from data.exchanges.binance import BinanceAdapter
from data.models import Instrument, InstrumentKind, InstrumentStatus, Side
from data.timeframes import Timeframe

INSTRUMENT = Instrument(
    exchange="binance",
    symbol="BNB-BTC",
    venue_symbol="BNBBTC",
    kind=InstrumentKind.SPOT,
    base="BNB",
    quote="BTC",
    tick_size=Decimal("0.000001"),
    lot_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    min_notional=Decimal("0.0001"),
)


@pytest.fixture
def binance() -> BinanceAdapter:
    adapter = BinanceAdapter()
    adapter.use([INSTRUMENT])
    return adapter


def event(**changes: Any) -> dict[str, Any]:
    return {
        "e": "trade",
        "E": 1672515782136,
        "s": "BNBBTC",
        "t": 12345,
        "p": "0.00100000",
        "q": "100.00000000",
        "T": 1672515782134,
        "m": True,
        "M": True,
    } | changes


def frame(**changes: Any) -> bytes:
    return msgspec.json.encode({"stream": "bnbbtc@trade", "data": event(**changes)})


@pytest.mark.parametrize("message", [frame(), msgspec.json.encode(event())])
def test_a_trade_is_read_from_a_combined_and_from_a_raw_stream(
    binance: BinanceAdapter, message: bytes
) -> None:
    parsed = binance.parse(message)
    assert isinstance(parsed, TradesMessage)
    (trade,) = parsed.trades
    assert (trade.symbol, trade.trade_id, trade.price, trade.quantity) == ("BNB-BTC", 12345, 0.001, 100.0)
    assert (trade.taker_side, trade.traded_at_us) == (Side.SELL, 1672515782134_000)
    assert parsed.sent_at_us == 1672515782136_000


def test_the_taker_bought_when_the_buyer_was_not_the_maker(binance: BinanceAdapter) -> None:
    parsed = binance.parse(frame(m=False))
    assert isinstance(parsed, TradesMessage)
    assert parsed.trades[0].taker_side is Side.BUY


def test_a_value_with_too_many_digits_is_refused_and_counted(binance: BinanceAdapter) -> None:
    assert binance.parse(frame(q="12345678901234567.1")) == TradesMessage([], 1672515782136_000, refused=1)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        frame(p="abc"),
        frame(p="0"),
        frame(t="x"),
        frame(s="UNKNOWN"),
        frame()[:-10],
        msgspec.json.encode(event(T=None)),
        msgspec.json.encode({"stream": "bnbbtc@trade", "data": {}}),
    ],
)
def test_what_does_not_parse_is_malformed_and_kept_whole(binance: BinanceAdapter, message: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        binance.parse(message)
    assert caught.value.message == message.decode()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b'{"result":null,"id":3}', AckMessage(request_id="3")),
        (b'{"code":2,"msg":"Invalid request","id":4}', ErrorMessage("2", "Invalid request", "4")),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":4}', ErrorMessage("2", "Invalid request", "4")),
        (
            b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
            ReconnectNotice("the venue is shutting this connection down"),
        ),
        (
            b'{"e":"serverShutdown","E":1770123456789}',
            ReconnectNotice("the venue is shutting this connection down"),
        ),
        (
            b'{"stream":"bnbbtc@aggTrade","data":{"e":"aggTrade","E":1672515782136,"a":1}}',
            OtherMessage(1672515782136_000),
        ),
        (b'{"stream":"bnbbtc@depth10","data":{"lastUpdateId":1,"bids":[],"asks":[]}}', OtherMessage()),
    ],
)
def test_control_messages(binance: BinanceAdapter, message: bytes, expected: object) -> None:
    assert binance.parse(message) == expected


def test_subscriptions_are_lower_case_and_within_a_request(binance: BinanceAdapter) -> None:
    (request,) = binance.subscribe_requests(["BNB-BTC"])
    assert msgspec.json.decode(request.text) == {"method": "SUBSCRIBE", "params": ["bnbbtc@trade"], "id": 1}
    assert (request.request_id, request.topics) == ("1", ("bnbbtc@trade",))
    assert binance.connection_url("wss://data-stream.binance.vision") == (
        "wss://data-stream.binance.vision/stream"
    )


def test_history_begins_at_the_id_that_is_asked_for(binance: BinanceAdapter) -> None:
    request = binance.history_request("BNB-BTC", 28457)
    assert request.params == {"symbol": "BNBBTC", "fromId": 28457, "limit": 1000}
    reply = [
        {
            "id": 28457,
            "price": "4.00000100",
            "qty": "12.00000000",
            "quoteQty": "48.000012",
            "time": 1499865549590,
            "isBuyerMaker": True,
            "isBestMatch": True,
        }
    ]
    (trade,) = binance.parse_history("BNB-BTC", reply)
    assert (trade.trade_id, trade.price, trade.taker_side) == (28457, 4.000001, Side.SELL)


def test_the_kline_in_the_making_is_left_out_and_a_finished_last_one_is_not(
    binance: BinanceAdapter,
) -> None:
    def kline(opened_at_ms: int) -> list[Any]:
        return [opened_at_ms, "1", "4", "0.5", "2", "10", opened_at_ms + 59_999, "20", 7, "1", "1", "0"]

    reply = [kline(60_000), kline(120_000)]
    forming = binance.parse_klines("BNB-BTC", Timeframe.M1, reply, 179_999_999)
    assert [candle.opened_at_us for candle in forming] == [60_000_000]
    finished = binance.parse_klines("BNB-BTC", Timeframe.M1, reply, 180_000_000)
    assert [candle.opened_at_us for candle in finished] == [60_000_000, 120_000_000]
    assert (finished[0].high, finished[0].volume, finished[0].trades) == (4.0, 10.0, 7)


@pytest.mark.parametrize("notional", ["NOTIONAL", "MIN_NOTIONAL"])
def test_order_rules_come_from_the_filters_old_and_new(binance: BinanceAdapter, notional: str) -> None:
    reply = {
        "symbols": [
            {
                "symbol": "BNBBTC",
                "status": "HALT",
                "baseAsset": "BNB",
                "quoteAsset": "BTC",
                "filters": [
                    {
                        "filterType": "PRICE_FILTER",
                        "tickSize": "0.00000100",
                        "minPrice": "0",
                        "maxPrice": "9",
                    },
                    {"filterType": "LOT_SIZE", "stepSize": "0.00100000", "minQty": "0.00100000"},
                    {"filterType": notional, "minNotional": "0.00010000"},
                ],
            }
        ]
    }
    (listed,) = binance.parse_instruments(reply)
    assert listed == msgspec.structs.replace(INSTRUMENT, status=InstrumentStatus.HALTED)
    assert str(listed.tick_size) == "0.000001"


@pytest.mark.parametrize("reply", [None, {}, [["1"]], [{"x": 1}], {"symbols": 3}])
def test_replies_of_another_shape_are_malformed(binance: BinanceAdapter, reply: object) -> None:
    with pytest.raises(MalformedMessage):
        binance.parse_history("BNB-BTC", reply)
    with pytest.raises(MalformedMessage):
        binance.parse_klines("BNB-BTC", Timeframe.M1, reply, 0)
    with pytest.raises(MalformedMessage):
        binance.parse_instruments(reply)
    with pytest.raises(MalformedMessage):
        binance.parse_server_time(reply)
