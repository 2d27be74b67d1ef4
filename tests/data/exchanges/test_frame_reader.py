"""What compiled code reads of many messages is what each adapter's `parse` makes of every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.exchanges.base import ExchangeAdapter
from data.exchanges.binance import BinanceAdapter
from data.exchanges.binance_usdm import BinanceUsdmAdapter
from data.exchanges.frame_reader import FrameReader
from data.exchanges.okx import OkxAdapter
from data.exchanges.trade_layouts import OKX_LAYOUT
from data.exchanges.waiting_trades import WaitingTrades
from data.files.frames import read_frames
from data.models import InstrumentKind, Trade
from tests.data.exchanges.test_waiting_trades import (
    binance_frame,
    by_market,
    instrument,
    okx_frame,
    trades_in_turn,
    trades_one_by_one,
)

UNHURRIED = settings(deadline=None, max_examples=150)
AROUND = 10  # frames before and after the one that is looked at


def futures_frame(**fields: object) -> bytes:
    event = {
        "e": "aggTrade",
        "E": 1672515782136,
        "s": "BTCUSDT",
        "a": 5933014,
        "p": "61837.60",
        "q": "0.020",
        "f": 100,
        "l": 105,
        "T": 1672515782135,
        "m": False,
    }
    return msgspec.json.encode({"stream": "btcusdt@aggTrade", "data": event | fields})


def ready_adapters() -> dict[str, ExchangeAdapter]:
    spot, perpetual = InstrumentKind.SPOT, InstrumentKind.PERPETUAL
    binance, okx, futures = BinanceAdapter(), OkxAdapter(), BinanceUsdmAdapter()
    binance.use(
        [
            instrument("binance", "BTC-USDT", "BTCUSDT", spot),
            instrument("binance", "ETH-USDT", "ETHUSDT", spot),
        ]
    )
    okx.use(
        [
            instrument("okx", "BTC-USDT", "BTC-USDT", spot),
            instrument("okx", "BTC-USDT-PERP", "BTC-USDT-SWAP", perpetual),
        ]
    )
    futures.use([instrument("binance", "BTC-USDT-PERP", "BTCUSDT", perpetual)])
    made: dict[str, ExchangeAdapter] = {"binance": binance, "okx": okx, "futures": futures}
    for adapter in made.values():
        adapter.make_ready()
    return made


ADAPTERS: dict[str, ExchangeAdapter] = {}


@pytest.fixture(autouse=True)
def fresh_adapters() -> Iterator[None]:
    ADAPTERS.update(ready_adapters())
    yield
    ADAPTERS.clear()


FRAMES: dict[str, Callable[..., bytes]] = {
    "binance": binance_frame,
    "okx": okx_frame,
    "futures": futures_frame,
}


def numbered(venue: str, number: int) -> bytes:
    trade_id = 1_000 + number
    if venue == "okx":
        return okx_frame(tradeId=str(trade_id), side="sell" if number % 3 else "buy")
    return FRAMES[venue](**{"t" if venue == "binance" else "a": trade_id}, m=bool(number % 3))


def left_over(adapter: ExchangeAdapter, messages: Sequence[bytes]) -> list[bytes]:
    return [part for part in adapter.in_turn(messages) if isinstance(part, bytes)]


def read(adapter: ExchangeAdapter, messages: Sequence[bytes]) -> list[Trade]:
    parts = list(adapter.in_turn(messages))
    assert all(isinstance(part, WaitingTrades) for part in parts), "something was left to parse"
    return [
        trade
        for part in parts
        if isinstance(part, WaitingTrades)
        for of in part.by_symbol.values()
        for trade in of
    ]


@pytest.mark.parametrize("venue", FRAMES)
@UNHURRIED
@given(data=st.data())
def test_a_byte_that_is_changed_anywhere_changes_nothing_but_what_parse_changes(
    venue: str, data: st.DataObject
) -> None:
    messages = [numbered(venue, number) for number in range(2 * AROUND + 1)]
    frame = messages[AROUND]
    at = data.draw(st.integers(0, len(frame)))
    byte = data.draw(st.sampled_from([*b'0123456789."{}[]:,\\ -+eE\n\x00\xff\x30', None]))
    until = at + data.draw(st.sampled_from([0, 1, 1, 1]))
    messages[AROUND] = frame[:at] + (b"" if byte is None else bytes([byte])) + frame[until:]
    expected, trouble = trades_one_by_one(ADAPTERS[venue], messages)
    trades, found, _ = trades_in_turn(ADAPTERS[venue], messages)
    assert (trades, found) == (expected, trouble)


@pytest.mark.parametrize("venue", FRAMES)
@UNHURRIED
@given(
    price=st.from_regex(r"[0-9]{1,20}(\.[0-9]{0,20})?", fullmatch=True),
    quantity=st.decimals(0, 10**9, places=8).map(lambda value: f"{value:f}"),
    trade_id=st.integers(0, 10**19),
    at_ms=st.integers(0, 10**17),
)
def test_numbers_are_the_nearest_doubles_or_left_to_parse(
    venue: str, price: str, quantity: str, trade_id: int, at_ms: int
) -> None:
    names = {"binance": "tpqT", "futures": "apqT"}.get(venue, ("tradeId", "px", "sz", "ts"))
    in_quotes = venue == "okx"
    values = (str(trade_id) if in_quotes else trade_id, price, quantity, str(at_ms) if in_quotes else at_ms)
    messages = [numbered(venue, number) for number in range(2 * AROUND)]
    messages.append(FRAMES[venue](**dict(zip(names, values, strict=True))))
    expected, trouble = trades_one_by_one(ADAPTERS[venue], messages)
    trades, found, _ = trades_in_turn(ADAPTERS[venue], messages)
    assert (trades, found) == (expected, trouble)


@pytest.mark.parametrize("venue", FRAMES)
def test_plain_trades_are_read_from_the_first_batch_on(venue: str) -> None:
    messages = [numbered(venue, number) for number in range(50)]
    expected, _ = trades_one_by_one(ADAPTERS[venue], messages)
    assert read(ADAPTERS[venue], messages) == expected


def test_recorded_trades_are_all_read_in_batches_of_any_size(shared_data: Path) -> None:
    path = shared_data / "frames/binance/spot_btcusdt_20230405.log.gz"
    messages = [frame.text.encode() for frame in read_frames(path) if '@trade"' in frame.text][:900]
    expected, _ = trades_one_by_one(ADAPTERS["binance"], messages)
    for size in (17, 200, 900):
        trades = [
            trade
            for start in range(0, len(messages), size)
            for trade in read(ADAPTERS["binance"], messages[start : start + size])
        ]
        assert trades == expected


def test_markets_in_turns_keep_each_their_order() -> None:
    messages = [
        binance_frame(t=number)
        if number % 3
        else binance_frame(t=number, s="ETHUSDT").replace(b"btcusdt", b"ethusdt")
        for number in range(100)
    ]
    expected, _ = trades_one_by_one(ADAPTERS["binance"], messages)
    assert by_market(read(ADAPTERS["binance"], messages)) == by_market(expected)


def test_a_stream_that_names_another_market_than_its_trade_is_read_as_parse_reads_it() -> None:
    messages = [binance_frame(t=number) for number in range(20)]
    messages[7] = binance_frame(s="ETHUSDT")
    expected, _ = trades_one_by_one(ADAPTERS["binance"], messages)
    trades, _, _ = trades_in_turn(ADAPTERS["binance"], messages)
    assert by_market(trades) == by_market(expected)
    assert len(by_market(trades)["ETH-USDT"]) == 1


def test_contracts_are_counted_by_parse_alone() -> None:
    messages = [okx_frame("BTC-USDT-SWAP", tradeId=str(number), sz="3") for number in range(20)]
    trades, trouble, left = trades_in_turn(ADAPTERS["okx"], messages)
    assert [trade.quantity for trade in trades] == [0.03] * 20
    assert (trouble, left) == (0, 20)


@pytest.mark.parametrize("count", ["1", 1])
def test_a_row_of_several_trades_is_never_one(count: object) -> None:
    several = msgspec.json.decode(msgspec.json.encode(count))
    messages = [okx_frame(tradeId=str(number), count=several) for number in range(20)]
    merged = messages[5] = okx_frame(tradeId="5", count="3" if isinstance(several, str) else 3)
    assert left_over(ADAPTERS["okx"], messages) == [merged]


def test_what_varies_beside_the_trade_does_not_matter() -> None:
    messages = [okx_frame(tradeId=str(number), seqId=number * 7) for number in range(20)]
    assert len(read(ADAPTERS["okx"], messages)) == 20


def test_a_number_beside_the_trade_may_have_decimals() -> None:
    messages = [futures_frame(a=number, nq=f"{number / 8:f}") for number in range(20)]
    expected, _ = trades_one_by_one(ADAPTERS["futures"], messages)
    assert read(ADAPTERS["futures"], messages) == expected


@pytest.mark.parametrize("key", [b'"\\u0070":', b'"p": '])
def test_a_price_said_twice_is_the_last_as_parse_reads_it(key: bytes) -> None:
    messages = [
        binance_frame(t=number, p=f"{2 + number}.5").replace(b"}}", b"," + key + b'"1.5"}}')
        for number in range(20)
    ]
    expected, _ = trades_one_by_one(ADAPTERS["binance"], messages)
    trades, _, _ = trades_in_turn(ADAPTERS["binance"], messages)
    assert trades == expected
    assert {trade.price for trade in trades} == {1.5}


def test_what_cannot_be_learned_is_not_tried_for_ever() -> None:
    layout, tried = OKX_LAYOUT, []
    quote = (
        b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["7","1"]],"bids":[["6","1"]]}]}'
    )
    reader = FrameReader(layout, lambda message: tried.append(message))
    for _ in range(20):
        assert reader.in_turn([quote] * 20) is None
    assert len(tried) == 3


def test_a_venue_that_begins_to_write_otherwise_is_learned_anew() -> None:
    adapter = ADAPTERS["binance"]
    assert len(read(adapter, [binance_frame(t=number) for number in range(20)])) == 20
    assert len(read(adapter, [binance_frame(t=number, b=number, a=7) for number in range(20)])) == 20


def test_messages_with_a_line_break_inside_are_told_apart() -> None:
    frame = binance_frame()
    messages = [*[binance_frame(t=number) for number in range(20)], frame + b"\n" + frame]
    trades, trouble, _ = trades_in_turn(ADAPTERS["binance"], messages)
    assert (len(trades), trouble) == (20, 1)


def test_what_a_market_means_is_learned_anew_with_its_instrument() -> None:
    adapter = ADAPTERS["okx"]
    messages = [okx_frame(tradeId=str(number), sz="2") for number in range(20)]
    assert read(adapter, messages)[0].quantity == 2.0
    contract = instrument("okx", "BTC-USDT", "BTC-USDT", InstrumentKind.PERPETUAL)
    adapter.use([msgspec.structs.replace(contract, contract_size=Decimal("0.1"))])
    trades, _, _ = trades_in_turn(adapter, messages)
    assert {trade.quantity for trade in trades} == {0.2}


def test_messages_of_other_channels_are_all_left() -> None:
    quote = b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}'
    assert left_over(ADAPTERS["binance"], [quote] * 20) == [quote] * 20


def test_hundreds_of_markets_are_learned_a_few_at_a_time_and_then_all_read() -> None:
    adapter = BinanceAdapter()
    names = [f"T{number}" for number in range(300)]
    adapter.use([instrument("binance", f"{name}-USDT", f"{name}USDT", InstrumentKind.SPOT) for name in names])
    adapter.make_ready()
    messages = [
        binance_frame(s=f"{name}USDT", t=number).replace(b"btcusdt", f"{name}usdt".lower().encode())
        for number in (1, 2)
        for name in names
    ]
    expected, _ = trades_one_by_one(adapter, messages)
    for _ in range(45):
        trades, trouble, left = trades_in_turn(adapter, messages)
        assert (by_market(trades), trouble) == (by_market(expected), 0)
    assert left == 0
