from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import MalformedMessage
from data.exchanges.base import ExchangeAdapter, TradesMessage
from data.exchanges.binance import BinanceAdapter
from data.exchanges.okx import OkxAdapter
from data.exchanges.waiting_trades import WaitingTrades, has_long_number
from data.files.frames import read_frames
from data.models import Instrument, InstrumentKind, Trade

UNHURRIED = settings(deadline=None, max_examples=30)


def instrument(exchange: str, symbol: str, venue_symbol: str, kind: InstrumentKind) -> Instrument:
    return Instrument(
        exchange=exchange,
        symbol=symbol,
        venue_symbol=venue_symbol,
        kind=kind,
        base="BTC",
        quote="USDT",
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.00001"),
        min_quantity=Decimal(0),
        min_notional=Decimal(0),
        contract_size=Decimal("0.01") if kind is InstrumentKind.PERPETUAL else Decimal(1),
    )


def adapters() -> dict[str, ExchangeAdapter]:
    spot = InstrumentKind.SPOT
    binance, okx = BinanceAdapter(), OkxAdapter()
    binance.use(
        [
            instrument("binance", "BTC-USDT", "BTCUSDT", spot),
            instrument("binance", "ETH-USDT", "ETHUSDT", spot),
        ]
    )
    okx.use(
        [
            instrument("okx", "BTC-USDT", "BTC-USDT", spot),
            instrument("okx", "BTC-USDT-PERP", "BTC-USDT-SWAP", InstrumentKind.PERPETUAL),
        ]
    )
    return {"binance": binance, "okx": okx}


ADAPTERS = adapters()


@pytest.fixture(params=[False, True], ids=["one call each", "compiled"], autouse=True)
def adapters_of_either_kind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every promise holds before the compiled code is loaded and after."""
    ADAPTERS.update(adapters())
    if request.param:
        for adapter in ADAPTERS.values():
            adapter.make_ready()
    yield
    ADAPTERS.update(adapters())


def binance_frame(**fields: object) -> bytes:
    event = {
        "e": "trade",
        "E": 1672515782136,
        "s": "BTCUSDT",
        "t": 12345,
        "p": "61837.63000000",
        "q": "0.02000000",
        "T": 1672515782135,
        "m": True,
        "M": True,
    }
    return msgspec.json.encode({"stream": "btcusdt@trade", "data": event | fields})


def okx_frame(venue_symbol: str = "BTC-USDT", **fields: object) -> bytes:
    row = {
        "instId": venue_symbol,
        "tradeId": "130639474",
        "px": "42219.9",
        "sz": "0.12060306",
        "side": "buy",
        "ts": "1630048897897",
    }
    argument = {"channel": "trades-all", "instId": venue_symbol}
    return msgspec.json.encode({"arg": argument, "data": [row | fields]})


FRAMES: dict[str, Callable[[], bytes]] = {"binance": binance_frame, "okx": okx_frame}


def trades_one_by_one(adapter: ExchangeAdapter, messages: Sequence[bytes]) -> tuple[list[Trade], int]:
    """What `parse` makes of the messages, and how many it refused or did not understand."""
    trades: list[Trade] = []
    trouble = 0
    for message in messages:
        try:
            parsed = adapter.parse(message)
        except MalformedMessage:
            trouble += 1
            continue
        if isinstance(parsed, TradesMessage):
            trades += parsed.trades
            trouble += parsed.refused
    return trades, trouble


def trades_in_turn(adapter: ExchangeAdapter, messages: Sequence[bytes]) -> tuple[list[Trade], int, int]:
    """The same with what waits read together, and how many messages were left to `parse`."""
    trades: list[Trade] = []
    left: list[bytes] = []
    trouble = 0
    for part in adapter.in_turn(messages):
        if isinstance(part, WaitingTrades):
            assert part.read == sum(map(len, part.by_symbol.values()))
            assert all(each.symbol == symbol for symbol, of in part.by_symbol.items() for each in of)
            trades += [each for of in part.by_symbol.values() for each in of]
        else:
            left.append(part)
            parsed, found = trades_one_by_one(adapter, [part])
            trades += parsed
            trouble += found
    return trades, trouble, len(left)


def by_market(trades: Sequence[Trade]) -> dict[str, list[Trade]]:
    return {
        symbol: [each for each in trades if each.symbol == symbol] for symbol in {t.symbol for t in trades}
    }


ODD_NUMBERS = (
    "0 -1 nan inf 1e400 abc 1e3 0.1234567890123456 12345678901234567.1 1234567.00000000 "
    "0.10000000000000000001 999999999999999 9999999999999999 0.00000001"
)
odd_numbers = st.sampled_from(["", *ODD_NUMBERS.split()])


@st.composite
def binance_messages(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["trade", "trade", "trade", "odd", "other", "cut"]))
    symbol = draw(
        st.sampled_from(["BTCUSDT", "ETHUSDT", "UNKNOWN"] if kind == "odd" else ["BTCUSDT", "ETHUSDT"])
    )
    price = draw(odd_numbers if kind == "odd" else st.decimals(1, 99_999, places=8).map(str))
    quantity = draw(st.decimals(Decimal("0.00001"), 9_999, places=8).map(str))
    message = binance_frame(
        s=symbol, t=draw(st.integers(1, 10**12)), p=price, q=quantity, m=draw(st.booleans())
    )
    if kind == "other":
        return draw(
            st.sampled_from(
                [
                    b'{"result":null,"id":3}',
                    b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}',
                    binance_frame(e="aggTrade"),
                    b"",
                ]
            )
        )
    return message[: draw(st.integers(0, len(message)))] if kind == "cut" else message


@st.composite
def okx_messages(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["trade", "trade", "trade", "odd", "contracts", "merged", "other", "cut"]))
    venue_symbol = "BTC-USDT-SWAP" if kind == "contracts" else "BTC-USDT"
    fields: dict[str, object] = {
        "tradeId": str(draw(st.integers(10, 10**12))),
        "px": draw(odd_numbers if kind == "odd" else st.decimals(1, 99_999, places=4).map(str)),
        "sz": str(draw(st.decimals(Decimal("0.001"), 9_999, places=8))),
        "side": draw(st.sampled_from(["buy", "sell"])),
    }
    if kind == "merged":
        fields["count"] = str(draw(st.integers(1, 4)))
    message = okx_frame(venue_symbol, **fields)
    if kind == "other":
        return draw(
            st.sampled_from(
                [
                    b"pong",
                    b'{"event":"subscribe","arg":{"channel":"trades-all","instId":"BTC-USDT"}}',
                    okx_frame(instId="BTC-USDT-SWAP"),
                    okx_frame("DOGE-USDT"),
                ]
            )
        )
    return message[: draw(st.integers(0, len(message)))] if kind == "cut" else message


@pytest.mark.parametrize("venue", ["binance", "okx"])
@UNHURRIED
@given(data=st.data())
def test_messages_read_together_say_what_they_say_one_by_one(venue: str, data: st.DataObject) -> None:
    one = binance_messages() if venue == "binance" else okx_messages()
    messages = data.draw(st.lists(one, min_size=2, max_size=16))
    expected, trouble = trades_one_by_one(ADAPTERS[venue], messages)
    trades, found, _ = trades_in_turn(ADAPTERS[venue], messages)
    assert by_market(trades) == by_market(expected)
    assert found == trouble


def test_recorded_trades_are_read_together_and_none_is_left_over(shared_data: Path) -> None:
    path = shared_data / "frames/binance/spot_btcusdt_20230405.log.gz"
    messages = [frame.text.encode() for frame in read_frames(path) if '@trade"' in frame.text][:600]
    expected, _ = trades_one_by_one(ADAPTERS["binance"], messages)
    trades, trouble, left = trades_in_turn(ADAPTERS["binance"], messages)
    assert trades == expected
    assert (trouble, left) == (0, 0)


@pytest.mark.parametrize("venue", ["binance", "okx"])
def test_what_is_no_plain_trade_comes_in_its_place(venue: str) -> None:
    frame, other = FRAMES[venue], b'{"event":"x"}'
    parts = list(ADAPTERS[venue].in_turn([*[frame()] * 20, other, other, frame()]))
    assert [part.read if isinstance(part, WaitingTrades) else part for part in parts] == [20, other, other, 1]
    assert list(ADAPTERS[venue].in_turn([frame()])) == [frame()]


def test_a_number_is_long_from_sixteen_characters_on() -> None:
    for longest in (b'{"p":"12345678.123456","t":123456789012345}', b"", b"1", b'{"p":"0.1234567/"}'):
        assert not has_long_number(longest)
    for longer in (b'{"p":"12345678.1234567"}', rb'{"p":"0.12\u00333456789012345"}', b"1234567890123456"):
        assert has_long_number(longer)


@pytest.mark.parametrize("venue", ["binance", "okx"])
@UNHURRIED
@given(number=st.from_regex(r"[0-9]{1,18}(\.[0-9]{1,18})?", fullmatch=True), at=st.integers(0, 19))
def test_one_long_number_among_many_is_found(venue: str, number: str, at: int) -> None:
    frame = FRAMES[venue]
    messages = [frame() for _ in range(20)]
    messages[at] = binance_frame(p=number) if venue == "binance" else okx_frame(px=number)
    expected, trouble = trades_one_by_one(ADAPTERS[venue], messages)
    trades, found, left = trades_in_turn(ADAPTERS[venue], messages)
    assert (trades, found) == (expected, trouble)
    # Nothing that needs sixteen digits or more is taken unseen; zeros at the end of decimals say nothing.
    whole, _, decimals = number.partition(".")
    assert left >= (int(whole + decimals.rstrip("0")) >= 10**15)


def test_nothing_that_waits_says_nothing() -> None:
    assert list(ADAPTERS["okx"].in_turn([])) == []
