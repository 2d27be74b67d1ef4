from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from data.errors import MalformedMessage
from data.exchanges.base import (
    AckMessage,
    ErrorMessage,
    OtherMessage,
    ReconnectNotice,
    TradesMessage,
)
from data.exchanges.okx import OkxAdapter
from data.models import Instrument, InstrumentKind, Side
from data.timeframes import Timeframe


def made(symbol: str, venue_symbol: str, contract_size: str | None = None) -> Instrument:
    return Instrument(
        exchange="okx",
        symbol=symbol,
        venue_symbol=venue_symbol,
        kind=InstrumentKind.SPOT if contract_size is None else InstrumentKind.PERPETUAL,
        base="BTC",
        quote="USDT",
        tick_size=Decimal("0.1"),
        lot_size=Decimal("0.00000001"),
        min_quantity=Decimal("0.00001"),
        min_notional=Decimal(0),
        contract_size=Decimal(contract_size or 1),
    )


@pytest.fixture
def okx() -> OkxAdapter:
    adapter = OkxAdapter()
    adapter.use([made("BTC-USDT", "BTC-USDT"), made("BTC-USDT-PERP", "BTC-USDT-SWAP", "0.01")])
    return adapter


def row(**changes: Any) -> dict[str, Any]:
    return {
        "instId": "BTC-USDT",
        "tradeId": "100",
        "px": "42219.9",
        "sz": "0.12060306",
        "side": "buy",
        "ts": "1630048897897",
    } | changes


def push(*rows: dict[str, Any], channel: str = "trades-all", inst_id: str = "BTC-USDT") -> bytes:
    return msgspec.json.encode({"arg": {"channel": channel, "instId": inst_id}, "data": list(rows)})


def test_a_trade_push_is_read(okx: OkxAdapter) -> None:
    parsed = okx.parse(push(row()))
    assert isinstance(parsed, TradesMessage)
    (trade,) = parsed.trades
    assert (trade.symbol, trade.trade_id, trade.price, trade.quantity) == (
        "BTC-USDT",
        100,
        42219.9,
        0.12060306,
    )
    assert (trade.taker_side, trade.traded_at_us) == (Side.BUY, 1630048897897_000)
    assert parsed.sent_at_us == 1630048897897_000


def test_contracts_of_a_swap_are_base_currency(okx: OkxAdapter) -> None:
    parsed = okx.parse(push(row(instId="BTC-USDT-SWAP", sz="7"), inst_id="BTC-USDT-SWAP"))
    assert isinstance(parsed, TradesMessage)
    assert (parsed.trades[0].symbol, parsed.trades[0].quantity) == ("BTC-USDT-PERP", 0.07)


def test_a_row_that_stands_for_several_trades_is_no_trade_but_names_its_ids() -> None:
    okx = OkxAdapter("trades")
    okx.use([made("BTC-USDT", "BTC-USDT")])
    parsed = okx.parse(push(row(tradeId="123", count="3"), row(tradeId="124", count="1"), channel="trades"))
    assert isinstance(parsed, TradesMessage)
    assert [trade.trade_id for trade in parsed.trades] == [124]
    assert parsed.merged == ("BTC-USDT", 121, 123)


def test_a_value_with_too_many_digits_is_refused_and_the_rest_kept(okx: OkxAdapter) -> None:
    parsed = okx.parse(push(row(px="0.12345678901234567"), row(tradeId="101")))
    assert isinstance(parsed, TradesMessage)
    assert ([trade.trade_id for trade in parsed.trades], parsed.refused) == ([101], 1)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        push(row(px="abc")),
        push(row(px="-1")),
        push(row(side="neither")),
        push(row(tradeId="1x")),
        push(row(instId="ETH-USDT")),
        push(row(instId="ETH-USDT"), inst_id="ETH-USDT"),
        push({"instId": "BTC-USDT"}),
        push(row())[:-20],
        msgspec.json.encode({"arg": {"channel": "trades-all", "instId": "BTC-USDT"}, "data": "none"}),
    ],
)
def test_what_does_not_parse_is_malformed_and_kept_whole(okx: OkxAdapter, message: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        okx.parse(message)
    assert caught.value.message == message.decode()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"pong", OtherMessage()),
        (
            b'{"id":"1","event":"subscribe","arg":{"channel":"trades-all","instId":"BTC-USDT"},"connId":"a4"}',
            AckMessage(topic="trades-all:BTC-USDT"),
        ),
        (
            b'{"id":"2","event":"error","code":"60018","msg":"Wrong URL","connId":"a4"}',
            ErrorMessage(code="60018", reason="Wrong URL", request_id="2"),
        ),
        (
            b'{"event":"notice","code":"64008","msg":"The connection will soon be closed","connId":"a4"}',
            ReconnectNotice("The connection will soon be closed"),
        ),
        (b'{"event":"channel-conn-count","channel":"orders","connCount":"2"}', OtherMessage()),
        (b'{"arg":{"channel":"books","instId":"BTC-USDT"},"data":[{"asks":[],"bids":[]}]}', OtherMessage()),
    ],
)
def test_control_messages(okx: OkxAdapter, message: bytes, expected: object) -> None:
    assert okx.parse(message) == expected


def test_all_trades_come_from_the_business_socket_and_merged_ones_from_the_public_one(
    okx: OkxAdapter,
) -> None:
    assert okx.connection_url("wss://ws.okx.com:8443/") == "wss://ws.okx.com:8443/ws/v5/business"
    assert OkxAdapter("trades").connection_url("ws://h:1") == "ws://h:1/ws/v5/public"


def test_subscriptions_name_the_venues_symbols(okx: OkxAdapter) -> None:
    (request,) = okx.subscribe_requests(["BTC-USDT", "BTC-USDT-PERP"])
    assert msgspec.json.decode(request.text) == {
        "id": "1",
        "op": "subscribe",
        "args": [
            {"channel": "trades-all", "instId": "BTC-USDT"},
            {"channel": "trades-all", "instId": "BTC-USDT-SWAP"},
        ],
    }
    assert request.topics == ("trades-all:BTC-USDT", "trades-all:BTC-USDT-SWAP")


def test_a_request_for_subscriptions_stays_within_okxs_64_kilobytes() -> None:
    symbols = [f"SYMBOL{number}-USDT" for number in range(400)]
    okx = OkxAdapter()
    okx.use([made(symbol, symbol) for symbol in symbols])
    requests = okx.subscribe_requests(symbols)
    assert sum(len(request.topics) for request in requests) == 400
    assert all(len(request.text) < 64_000 for request in requests)


def test_history_is_asked_for_upwards_though_okx_pages_down(okx: OkxAdapter) -> None:
    request = okx.history_request("BTC-USDT", 1_001)
    # Older than 1101, newest first, 100 of them: 1100 down to 1001.
    assert request.params == {"instId": "BTC-USDT", "type": "1", "after": "1101", "limit": "100"}


def test_history_rows_come_ascending(okx: OkxAdapter) -> None:
    reply = {"code": "0", "msg": "", "data": [row(tradeId="12", source="0"), row(tradeId="11", source="0")]}
    assert [trade.trade_id for trade in okx.parse_history("BTC-USDT", reply)] == [11, 12]


def test_candles_that_okx_has_not_confirmed_are_left_out(okx: OkxAdapter) -> None:
    rows = [
        ["1747094100000", "3", "3", "3", "3", "5", "5", "5", "0"],
        ["1747094040000", "102806.1", "102820.4", "102806", "102820.3", "1040.37", "10.4", "106", "1"],
    ]
    (candle,) = okx.parse_klines("BTC-USDT-PERP", Timeframe.M1, {"data": rows}, 2**62)
    assert (candle.opened_at_us, candle.open, candle.high, candle.low, candle.close) == (
        1747094040000_000,
        102806.1,
        102820.4,
        102806.0,
        102820.3,
    )
    # 1040.37 contracts of 0.01 BTC.
    assert (candle.volume, candle.trades) == (10.4037, 0)


def test_days_are_asked_for_in_utc(okx: OkxAdapter) -> None:
    assert okx.klines_request("BTC-USDT", Timeframe.D1).params["bar"] == "1Dutc"
    older = okx.klines_request("BTC-USDT", Timeframe.H1, before_us=5_000_000)
    assert (older.params["bar"], older.params["after"]) == ("1H", "5000")


def test_the_venues_clock_is_read(okx: OkxAdapter) -> None:
    assert okx.parse_server_time({"code": "0", "data": [{"ts": "1597026383085"}]}) == 1597026383085_000


@pytest.mark.parametrize("reply", [None, {}, {"data": None}, {"data": [["1"]]}, {"data": [{"x": 1}]}])
def test_replies_of_another_shape_are_malformed(okx: OkxAdapter, reply: object) -> None:
    with pytest.raises(MalformedMessage):
        okx.parse_history("BTC-USDT", reply)
    with pytest.raises(MalformedMessage):
        okx.parse_klines("BTC-USDT", Timeframe.M1, reply, 0)
    with pytest.raises(MalformedMessage):
        okx.parse_instruments(reply)
    with pytest.raises(MalformedMessage):
        okx.parse_server_time(reply)


def test_instruments_are_asked_for_by_the_kinds_that_the_symbols_need() -> None:
    symbols = ["BTC-USDT", "ETH-USDT", "BTC-USDT-PERP", "TRX-USDT-210924", "BTC-USD-210924-66000-C"]
    asked = [dict(request.params) for request in OkxAdapter().instruments_requests(symbols)]
    assert asked == [
        {"instType": "SPOT"},
        {"instType": "SWAP"},
        {"instType": "FUTURES"},
        {"instType": "OPTION", "instFamily": "BTC-USD"},
    ]


def test_a_contract_is_understood_if_it_is_worth_so_much_base_currency() -> None:
    row = {
        "instId": "BTC-USD-220514-22000-C",
        "instType": "OPTION",
        "ctVal": "1",
        "ctMult": "0.1",
        "ctValCcy": "BTC",
        "ctType": "",
        "uly": "BTC-USD",
        "tickSz": "0.0005",
        "lotSz": "1",
        "minSz": "1",
        "state": "live",
    }
    inverse = {
        **row,
        "instId": "BTC-USD-220520",
        "instType": "FUTURES",
        "ctValCcy": "USD",
        "ctType": "inverse",
    }
    (option,) = OkxAdapter().parse_instruments({"data": [row, inverse]})
    assert (option.symbol, option.contract_size) == ("BTC-USD-220514-22000-C", Decimal("0.1"))
