from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from data.candles import candles_from_trades
from data.errors import InvalidInput
from data.files.candle_files import read_candles
from data.files.frame_trades import is_frame_file, read_frame_trades
from data.models import Market
from data.timeframes import Timeframe

BTC = Market("binance", "BTC-USDT")


def event(trade_id: int, price: str = "5.0", symbol: str = "BTCUSDT") -> str:
    return (
        f'{{"stream":"x@trade","data":{{"e":"trade","E":1723161300001,"s":"{symbol}","t":{trade_id},'
        f'"p":"{price}","q":"0.1","T":1723161300000,"m":true}}}}'
    )


def written(folder: Path, *lines: str) -> Path:
    path = folder / "frames.log"
    path.write_text("".join(f"1723161300002 {line}\n" for line in lines))
    return path


def test_one_markets_trades_come_in_id_order_and_all_else_is_counted_or_left_alone(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        event(8),
        event(7),
        event(8),
        event(9, symbol="ETHUSDT"),
        '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT"}}',
        event(10)[:-5],
    )

    found = read_frame_trades(path, BTC)

    assert found.columns.trade_id.tolist() == [7, 8]
    assert found.columns.taker_side.tolist() == [-1, -1]
    assert (found.duplicates, found.malformed, found.refused) == (1, 2, 0)


def test_two_different_trades_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="two different trades with the id 7"):
        read_frame_trades(written(tmp_path, event(7), event(7, "6.0")), BTC)


def test_a_file_without_the_market_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="without a trade of ETHUSDT"):
        read_frame_trades(written(tmp_path, event(7)), Market("binance", "ETH-USDT"))


def test_an_unknown_venue_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="kraken; expected okx or binance"):
        read_frame_trades(written(tmp_path, event(7)), Market("kraken", "BTC-USDT"))


def test_a_row_that_stands_for_several_trades_is_refused(tmp_path: Path) -> None:
    row = (
        '{"instId":"BTC-USDT","tradeId":"9","px":"5","sz":"1","side":"buy","ts":"1723161300000","count":"3"}'
    )
    path = written(tmp_path, f'{{"arg":{{"channel":"trades","instId":"BTC-USDT"}},"data":[{row}]}}')

    with pytest.raises(InvalidInput, match="line 1 is one row for the trades 7 to 9"):
        read_frame_trades(path, Market("okx", "BTC-USDT"))


def test_contracts_need_their_size(shared_data: Path) -> None:
    path = shared_data / "frames/okx/cryptofeed_public_20210722_conn1.log.gz"
    market = Market("okx", "XMR-USDT-PERP")
    with pytest.raises(InvalidInput, match="contract size"):
        read_frame_trades(path, market)

    one = read_frame_trades(path, market, contract_size=Decimal(1)).columns
    tenth = read_frame_trades(path, market, contract_size=Decimal("0.1")).columns

    assert one.trade_id.tolist() == list(range(6845125, 6845131))
    np.testing.assert_allclose(tenth.quantity, one.quantity / 10)


def test_candles_of_recorded_frames_are_the_venues_own(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for day in ("20240808", "20240809"):
        (folder / f"{day}.log.gz").symlink_to(shared_data / f"frames/binance/spot_btcusdt_{day}.log.gz")

    found = read_frame_trades(folder, BTC)
    columns = found.columns
    built = candles_from_trades(columns.price, columns.quantity, columns.traded_at_us, [Timeframe.M1])
    ours = built[Timeframe.M1].ohlcv.rows(1, 11)
    venue = read_candles(shared_data / "candles/binance_spot/BTCUSDT_1m_20240726_20240825.csv.gz")
    rows = np.isin(venue.opened_at_us, ours.opened_at_us)

    assert len(columns) == 9757 + 10147
    assert (found.duplicates, found.malformed, found.refused) == (0, 0, 0)
    assert rows.sum() == 10
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(venue, name)[rows])
    np.testing.assert_allclose(ours.volume, venue.volume[rows], rtol=1e-9)


def test_a_name_tells_frames_from_tables() -> None:
    assert is_frame_file(Path("a.log.gz"))
    assert is_frame_file(Path("a.jsonl"))
    assert not is_frame_file(Path("a.csv.gz"))
    assert not is_frame_file(Path("a.parquet"))


def aggregate(trade_id: int) -> str:
    return (
        f'{{"stream":"x@aggTrade","data":{{"e":"aggTrade","E":1723161300001,"s":"BTCUSDT","a":{trade_id},'
        '"p":"5.0","q":"0.1","f":1,"l":2,"T":1723161300000,"m":true}}'
    )


@pytest.mark.parametrize(("symbol", "own"), [("BTC-USDT", [7, 8]), ("BTC-USDT-PERP", [3])])
def test_of_trades_and_aggregates_only_the_markets_own_channel_is_read(
    tmp_path: Path, symbol: str, own: list[int]
) -> None:
    path = written(tmp_path, event(7), aggregate(3), event(8))
    assert read_frame_trades(path, Market("binance", symbol)).columns.trade_id.tolist() == own


@pytest.mark.parametrize("symbol", ["BTC-USDT", "BTC-USDT-PERP"])
def test_a_channel_that_stands_alone_is_read(tmp_path: Path, symbol: str) -> None:
    market = Market("binance", symbol)
    assert read_frame_trades(written(tmp_path, aggregate(3)), market).columns.trade_id.tolist() == [3]
    assert read_frame_trades(written(tmp_path, event(7)), market).columns.trade_id.tolist() == [7]


@pytest.mark.parametrize(
    ("name", "symbol", "count", "first_id"),
    [
        ("cryptofeed_spot_20210404.log.gz", "ETH-USDT", 506, 291477091),
        ("cryptofeed_usdm_20210417.log.gz", "KSM-USDT-PERP", 43, 21396959),
    ],
)
def test_recorded_aggregates_are_as_their_catalogue_says(
    shared_data: Path, name: str, symbol: str, count: int, first_id: int
) -> None:
    found = read_frame_trades(shared_data / "frames" / "binance" / name, Market("binance", symbol))
    np.testing.assert_array_equal(found.columns.trade_id, first_id + np.arange(count))
    assert found.malformed == 0
