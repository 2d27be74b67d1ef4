"""What recorded messages parse to, and that the candles built from them are the venue's own.

Origins and licences of the recordings: README.md of the recorded data. Expected counts and ids are those
which that file gives, counted by a script of its own and not by the code under test.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from data.candles import CandleCascade
from data.exchanges.base import AckMessage, ExchangeAdapter, OtherMessage, TradesMessage
from data.exchanges.binance import BinanceAdapter
from data.exchanges.okx import OkxAdapter
from data.models import Candle, Instrument, InstrumentKind, Market, Side, Trade
from data.sequencing import TradeSequencer
from data.timeframes import Timeframe
from tests.golden.recordings import cryptofeed_frames, csv_rows, json_body, received_frames


def binance() -> BinanceAdapter:
    adapter = BinanceAdapter()
    adapter.use([instrument("binance", "BTC-USDT", "BTCUSDT")])
    return adapter


def instrument(
    exchange: str, symbol: str, venue_symbol: str, contract_size: Decimal | None = None
) -> Instrument:
    base, quote = symbol.split("-")[:2]
    return Instrument(
        exchange=exchange,
        symbol=symbol,
        venue_symbol=venue_symbol,
        kind=InstrumentKind.SPOT if contract_size is None else InstrumentKind.PERPETUAL,
        base=base,
        quote=quote,
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.00001"),
        min_quantity=Decimal("0.00001"),
        min_notional=Decimal(0),
        contract_size=contract_size or Decimal(1),
    )


def trades_of(adapter: ExchangeAdapter, frames: Iterable[bytes]) -> list[Trade]:
    parsed = [adapter.parse(frame) for frame in frames]
    messages = [message for message in parsed if isinstance(message, TradesMessage)]
    assert all(message.refused == 0 and message.merged is None for message in messages)
    return [trade for message in messages for trade in message.trades]


def recorded_candles(path: Path) -> dict[int, tuple[float, ...]]:
    return {
        int(row["ts_ms"]) * 1_000: tuple(
            float(row[name]) for name in ("open", "high", "low", "close", "volume")
        )
        for row in csv_rows(path)
    }


def closed_candles(trades: list[Trade], *timeframes: Timeframe) -> list[Candle]:
    cascade = CandleCascade(Market(trades[0].exchange, trades[0].symbol), timeframes)
    sequencer = TradeSequencer()
    return [
        candle for trade in trades for ordered in sequencer.accept([trade]) for candle in cascade.add(ordered)
    ]


def test_candles_of_the_binance_recording_equal_binances_own(shared_data: Path) -> None:
    frames = shared_data / "frames" / "binance"
    adapter = binance()
    trades = [
        trade
        for day in ("20240808", "20240809")
        for trade in trades_of(adapter, received_frames(frames / f"spot_btcusdt_{day}.log.gz", b"@trade"))
    ]
    assert [trade.trade_id for trade in trades] == list(range(3735683259, 3735703162 + 1))

    closed = closed_candles(trades, Timeframe.M1, Timeframe.M5)

    own = {
        Timeframe.M1: recorded_candles(
            shared_data / "candles" / "binance_spot" / "BTCUSDT_1m_20240726_20240825.csv.gz"
        ),
        Timeframe.M5: recorded_candles(shared_data / "candles" / "binance_spot" / "BTCUSDT_5m_2024.csv.gz"),
    }
    counts = dict.fromkeys(own, 0)
    for candle in closed:
        *prices, volume = own[candle.timeframe][candle.opened_at_us]
        assert [candle.open, candle.high, candle.low, candle.close] == prices
        assert candle.volume == pytest.approx(volume, rel=1e-9)
        counts[candle.timeframe] += 1
    assert counts == {Timeframe.M1: 10, Timeframe.M5: 2}


def test_the_first_recorded_binance_trade_is_read_to_the_last_digit(shared_data: Path) -> None:
    path = shared_data / "frames" / "binance" / "spot_btcusdt_20240808.log.gz"
    (trade,) = trades_of(binance(), [next(received_frames(path, b"@trade"))])
    assert trade == Trade(
        exchange="binance",
        symbol="BTC-USDT",
        trade_id=3735683259,
        price=61837.63,
        quantity=0.02,
        taker_side=Side.SELL,  # "m": true, the buyer was the maker
        traded_at_us=1723161255342_000,
    )


def test_binance_trades_of_2023_carry_order_ids_and_are_read_the_same(shared_data: Path) -> None:
    path = shared_data / "frames" / "binance" / "spot_btcusdt_20230405.log.gz"
    frames = received_frames(path, b"@trade")
    trades = trades_of(binance(), frames)
    assert [trade.trade_id for trade in trades] == list(range(3071245454, 3071248597 + 1))


def test_every_recorded_message_of_binance_is_understood_and_tells_its_time(shared_data: Path) -> None:
    path = shared_data / "frames" / "binance" / "spot_btcusdt_20240808.log.gz"
    adapter = binance()
    others = [adapter.parse(frame) for frame in received_frames(path, b"@depth")]
    assert len(others) == 3451
    assert all(isinstance(message, OtherMessage) and message.sent_at_us > 0 for message in others)


def test_three_connections_to_okx_give_each_trade_once(shared_data: Path) -> None:
    symbols = ("OKT-BTC", "PAY-BTC", "FUN-BTC", "ONT-USDT", "AUCTION-USDT", "DHT-USDT")
    adapter = OkxAdapter("trades")
    adapter.use(
        [
            *(instrument("okx", symbol, symbol) for symbol in symbols),
            instrument("okx", "XMR-USDT-PERP", "XMR-USDT-SWAP", Decimal("0.1")),
            # Not what these are, but nobody looks at their quantities here.
            instrument("okx", "TRX-USDT-210924", "TRX-USDT-210924", Decimal(1000)),
            instrument("okx", "BTC-USD-210924-66000-C", "BTC-USD-210924-66000-C", Decimal(1)),
        ]
    )
    sequencers: dict[str, TradeSequencer] = {}
    out: dict[str, list[int]] = {}
    for number in (1, 2, 3):
        path = shared_data / "frames" / "okx" / f"cryptofeed_public_20210722_conn{number}.log.gz"
        for trade in trades_of(adapter, cryptofeed_frames(path)):
            sequencer = sequencers.setdefault(trade.symbol, TradeSequencer())
            out.setdefault(trade.symbol, []).extend(one.trade_id for one in sequencer.accept([trade]))
    assert sum(map(len, out.values())) == 36
    assert out["OKT-BTC"] == list(range(3406229, 3406236 + 1))
    assert out["XMR-USDT-PERP"] == list(range(6845125, 6845130 + 1))
    assert sum(sequencer.duplicates for sequencer in sequencers.values()) == 72


def test_okx_subscriptions_are_acknowledged_one_by_one(shared_data: Path) -> None:
    adapter = OkxAdapter("trades")
    adapter.use([instrument("okx", "BTC-USDT", "BTC-USDT")])
    frames = cryptofeed_frames(shared_data / "frames" / "okx" / "cryptofeed_public_20220513.log.gz")
    acks = [adapter.parse(frame) for frame in frames if b'"event":"subscribe"' in frame]
    assert len(acks) == 18
    assert AckMessage(topic="trades:BTC-USDT") in acks


def test_contracts_of_an_okx_swap_become_base_currency_and_its_candle_okxs_own(shared_data: Path) -> None:
    adapter = OkxAdapter()
    adapter.use([instrument("okx", "MATIC-USDT-PERP", "MATIC-USDT-SWAP", Decimal(10))])
    rows = csv_rows(shared_data / "trades" / "okx_swap_maticusdt_trades_one_minute_20230820.csv")
    frames = [
        msgspec.json.encode(
            {
                "arg": {"channel": "trades-all", "instId": row["instrument_name"]},
                "data": [
                    {
                        "instId": row["instrument_name"],
                        "tradeId": row["trade_id"],
                        "px": row["price"],
                        "sz": row["size"],
                        "side": row["side"],
                        "ts": row["created_time"],
                    }
                ],
            }
        )
        for row in rows
    ]
    trades = trades_of(adapter, frames)
    assert (trades[0].quantity, trades[0].symbol) == (380.0, "MATIC-USDT-PERP")

    cascade = CandleCascade(Market("okx", "MATIC-USDT-PERP"), [Timeframe.M1], covered_from_us=0)
    for trade in trades:
        cascade.add(trade)
    (candle,) = cascade.advance(2**62)

    (own,) = csv_rows(shared_data / "trades" / "okx_swap_maticusdt_candle_one_minute_20230820.csv")
    assert candle.opened_at_us == int(own["open_time_ms"]) * 1_000
    assert [candle.open, candle.high, candle.low, candle.close] == [
        float(own[name]) for name in ("open", "high", "low", "close")
    ]
    assert candle.volume == pytest.approx(float(own["vol_base"]), rel=1e-12)


def test_single_messages_of_okx_trades(shared_data: Path) -> None:
    lines = (shared_data / "frames" / "okx" / "gocryptotrader_wsAllTrades.jsonl").read_bytes().splitlines()
    adapter = OkxAdapter("trades")
    adapter.use([instrument("okx", "BTC-USDT", "BTC-USDT")])
    first, second = trades_of(adapter, lines)
    assert (first.trade_id, first.price, first.quantity) == (674510826, 95634.9, 0.00011186)
    assert (first.taker_side, first.traded_at_us) == (Side.BUY, 1740394561685_000)
    assert (second.trade_id, second.taker_side) == (674510827, Side.SELL)


def test_instruments_of_okx_as_it_lists_them(shared_data: Path) -> None:
    rest = shared_data / "rest" / "okx"
    adapter = OkxAdapter()
    spot = adapter.parse_instruments(json_body(rest / "public_instruments_SPOT_20220513.json.gz"))
    swaps = adapter.parse_instruments(json_body(rest / "public_instruments_SWAP_20220513.json.gz"))
    assert len(spot) == 513
    # 166 swaps, of which 126 are linear; an inverse one counts contracts of USD.
    assert len(swaps) == 126
    by_symbol = {item.symbol: item for item in (*spot, *swaps)}
    bitcoin = by_symbol["BTC-USDT"]
    assert (bitcoin.tick_size, bitcoin.lot_size) == (Decimal("0.1"), Decimal("0.00000001"))
    assert (bitcoin.min_quantity, bitcoin.contract_size) == (Decimal("0.00001"), Decimal(1))
    swap = by_symbol["BTC-USDT-PERP"]
    assert (swap.venue_symbol, swap.base, swap.quote) == ("BTC-USDT-SWAP", "BTC", "USDT")
    assert (swap.contract_size, swap.lot_size, swap.min_quantity) == (Decimal("0.01"),) * 3


def test_symbols_of_binance_as_it_lists_them(shared_data: Path) -> None:
    body = json_body(shared_data / "rest" / "binance" / "exchangeInfo_spot_20211012.json.gz")
    listed = BinanceAdapter().parse_instruments(body)
    assert len(listed) == 1695
    bitcoin = next(item for item in listed if item.symbol == "BTC-USDT")
    assert bitcoin.venue_symbol == "BTCUSDT"
    rules = (bitcoin.tick_size, bitcoin.lot_size, bitcoin.min_notional)
    assert [str(rule) for rule in rules] == ["0.01", "0.00001", "10"]
