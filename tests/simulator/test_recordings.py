"""Recordings sorted by venue, channel and symbol, and the instruments read from them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from data.errors import InvalidInput
from data.files.frames import Frame, FrameCounts
from simulator.columns import MINUTE
from simulator.recordings import okx_single_messages, read_recording, recorded_trade, routed
from simulator.tapes import ReplayedTape, dense_candles

SPOT_2024 = ("binance/spot_btcusdt_20240808.log.gz", "binance/spot_btcusdt_20240809.log.gz")
OKX_2021 = tuple(f"okx/cryptofeed_public_20210722_conn{number}.log.gz" for number in (1, 2, 3))

BINANCE_TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":9,"p":"61837.63000000",'
    '"q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
OKX_TRADES = (
    '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"12","px":"5.5",'
    '"sz":"3","side":"buy","ts":"7","count":"3","seqId":8}]}'
)


def files(shared_data: Path, *names: str) -> list[Path]:
    return [shared_data / "frames" / name for name in names]


def test_a_binance_frame_goes_to_its_stream_without_the_envelope() -> None:
    frame = routed(Frame(5, BINANCE_TRADE))
    assert frame is not None
    assert (frame.exchange, frame.key, frame.venue_symbol) == ("binance", "btcusdt@trade", "BTCUSDT")
    assert f'{{"stream":"btcusdt@trade","data":{frame.payload}}}' == BINANCE_TRADE
    (trade,) = frame.trades
    assert (trade.trade_id, trade.price, trade.buy, trade.at_ms) == (
        9,
        "61837.63000000",
        False,
        1723161255342,
    )
    raw = routed(Frame(5, frame.payload))
    assert raw is not None
    assert (raw.key, raw.payload) == (frame.key, frame.payload)


def test_an_okx_row_covers_the_ids_it_counts() -> None:
    frame = routed(Frame(5, OKX_TRADES))
    assert frame is not None
    assert (frame.key, frame.payload) == ("trades:BTC-USDT", OKX_TRADES)
    (trade,) = frame.trades
    assert (trade.first_match, trade.last_match, trade.buy) == (10, 12, True)
    ((trade_id, single),) = okx_single_messages(frame)
    row = {"instId": "BTC-USDT", "tradeId": "12", "px": "5.5", "sz": "3", "side": "buy", "ts": "7"}
    assert trade_id == 12
    assert json.loads(single) == {"arg": {"channel": "trades-all", "instId": "BTC-USDT"}, "data": [row]}


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}',
        '{"lastUpdateId":5,"bids":[],"asks":[]}',
        "[1,2]",
    ],
)
def test_what_is_no_data_message_goes_nowhere(text: str) -> None:
    assert routed(Frame(5, text)) is None


def test_the_binance_recording_gives_the_venues_own_candles(shared_data: Path) -> None:
    recording = read_recording(files(shared_data, *SPOT_2024))
    instrument = recording.markets["binance", "BTCUSDT"].instrument
    assert (instrument.symbol, str(instrument.tick_size), str(instrument.lot_size)) == (
        "BTC-USDT",
        "0.01",
        "0.00001",
    )
    tape = ReplayedTape(instrument)
    for frame in recording.replay("binance"):
        for trade in frame.trades:
            assert tape.add(recorded_trade(trade, instrument))
    assert tape.bounds() == (3735683259, 3735703162)
    assert len(tape.trades(0, 2**62)) == 19_904
    candles = dense_candles(tape, MINUTE, 0, 2**50)
    path = shared_data / "candles/binance_spot/BTCUSDT_1m_20240726_20240825.csv.gz"
    with gzip.open(path, "rt") as lines:
        header = next(lines).strip().split(",")
        opens = {str(opened_at_ms) for opened_at_ms in candles.opened_at_ms.tolist()}
        rows = [dict(zip(header, line.strip().split(","), strict=True)) for line in lines]
    time_column = header[0]
    wanted = [row for row in rows if row[time_column] in opens]
    assert len(wanted) == len(candles) == 10
    for place, row in enumerate(wanted):
        for name, units in (("open", 1e2), ("high", 1e2), ("low", 1e2), ("close", 1e2), ("volume", 1e5)):
            assert getattr(candles, name)[place] == round(float(row[name]) * units), (row, name)


def test_three_okx_connections_are_merged_by_receive_time(shared_data: Path) -> None:
    recording = read_recording(files(shared_data, *OKX_2021))
    frames = [frame for frame in recording.replay("okx") if frame.trades]
    rows = [(frame.venue_symbol, trade.trade_id) for frame in frames for trade in frame.trades]
    assert (len(rows), len(set(rows))) == (108, 36)
    times = [frame.received_at_us or 0 for frame in frames]
    assert times == sorted(times)
    symbols = {market.instrument.symbol: market.instrument for market in recording.markets.values()}
    assert symbols["XMR-USDT-PERP"].venue_symbol == "XMR-USDT-SWAP"
    assert {symbols[name].kind for name in ("TRX-USDT-210924", "BTC-USD-210924-66000-C")} == {
        "FUTURES",
        "OPTION",
    }
    worth = {name: f"{found.base_per_size} {found.contract_currency}" for name, found in symbols.items()}
    assert worth["BTC-USD-210924-66000-C"] == "1 BTC"
    assert worth["TRX-USDT-210924"] == "1 TRX"


def test_an_instruments_file_names_steps_and_contract_values(shared_data: Path) -> None:
    bodies = [
        shared_data / "rest/okx/public_instruments_SWAP_20220513.json.gz",
        shared_data / "rest/binance/exchangeInfo_spot_20211012.json.gz",
    ]
    recording = read_recording(
        files(shared_data, "okx/cryptofeed_public_20220513.log.gz", SPOT_2024[0]), bodies
    )
    swap = recording.markets["okx", "UNI-USD-SWAP"].instrument
    assert (str(swap.contract_value), swap.contract_currency, swap.base_per_size) == ("10", "USD", None)
    assert swap.raw is not None
    spot = recording.markets["binance", "BTCUSDT"].instrument
    assert spot.min_notional == 10
    assert recording.markets["okx", "BTC-USDT"].instrument.raw is None


def test_spot_and_futures_of_one_name_are_not_mixed(shared_data: Path) -> None:
    with pytest.raises(InvalidInput, match="BTCUSDT of both spot and futures"):
        read_recording(files(shared_data, SPOT_2024[0], "binance/usdm_btcusdt_20240718.log.gz"))


def test_damaged_and_foreign_messages_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "frames.log"
    path.write_text(
        f'1 {BINANCE_TRADE}\n2 {BINANCE_TRADE[:60]}\n3 {{"stream":"btcusdt@trade","data":{{}}}}\n4 {{}}\n'
    )
    recording = read_recording([path, tmp_path])
    assert recording.counts == FrameCounts(lines=4, frames=3, malformed=1)
    assert (recording.frames["binance"], recording.unrouted) == (1, 2)


def test_a_file_of_both_venues_is_replayed_to_each_its_own(tmp_path: Path) -> None:
    path = tmp_path / "frames.log"
    path.write_text(f"1 {BINANCE_TRADE}\n2 {OKX_TRADES}\n")
    recording = read_recording([path])
    keys = {exchange: [frame.key for frame in recording.replay(exchange)] for exchange in recording.frames}
    assert keys == {"binance": ["btcusdt@trade"], "okx": ["trades:BTC-USDT"]}


def test_a_recording_without_trades_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "frames.log"
    path.write_text("1 {}\n")
    with pytest.raises(InvalidInput, match=r"--frames.*recordings that hold trades"):
        read_recording([path])


@pytest.mark.parametrize("content", ["[]", "{", '{"symbols":[{"name":"X"}]}', '{"data":[5]}'])
def test_a_wrong_instruments_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    frames, instruments = tmp_path / "frames.log", tmp_path / "instruments.json"
    frames.write_text(f"1 {BINANCE_TRADE}\n")
    instruments.write_text(content)
    with pytest.raises(InvalidInput, match=r"instruments\.json"):
        read_recording([frames], [instruments])
