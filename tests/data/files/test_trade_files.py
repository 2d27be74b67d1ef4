from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from data.candles import candles_from_trades
from data.errors import InvalidInput
from data.files.candle_files import read_candles
from data.files.trade_columns import TradeColumns
from data.files.trade_files import read_trades, write_trades
from data.models import Market, Side
from data.timeframes import Timeframe

HEADER = "trade_id,traded_at,price,quantity,taker_side"


def written(folder: Path, text: str, name: str = "trades.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal_of(path: Path, contract_size: Decimal | None = None) -> str:
    with pytest.raises(InvalidInput) as refused:
        read_trades(path, contract_size=contract_size)
    return str(refused.value)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_what_is_written_reads_back_the_same(tmp_path: Path, ending: str) -> None:
    columns = TradeColumns(
        trade_id=np.arange(2**60, 2**60 + 50),
        traded_at_us=1_723_161_300_000_001 + np.arange(50) * 999_983,
        price=0.1 + np.arange(50) / 3,
        quantity=np.full(50, 0.00030006),
        taker_side=np.where(np.arange(50) % 3, 1, -1).astype(np.int8),
    )
    path = tmp_path / f"trades{ending}"

    write_trades(path, columns)
    found = read_trades(path)

    assert found.duplicates == 0
    for name in ("trade_id", "traded_at_us", "price", "quantity", "taker_side"):
        np.testing.assert_array_equal(getattr(found.columns, name), getattr(columns, name))


def test_columns_become_trades_of_a_market(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"{HEADER}\n7,2024-08-08T23:55:00.000001Z,61000.1,0.5,buy\n8,1723161300000002,61000.2,1,SELL\n",
    )
    # One column, one spelling: a file that mixes them is no table.
    assert "line 3, column traded_at is 1723161300000002" in refusal_of(path)

    path = written(
        tmp_path, f"{HEADER}\n8,1723161300000002,61000.2,1,SELL\n7,1723161300000001,61000.1,0.5,buy\n"
    )
    first, second = read_trades(path).columns.trades(Market("okx", "BTC-USDT"))

    assert (first.exchange, first.symbol, first.trade_id) == ("okx", "BTC-USDT", 7)
    assert (first.traded_at_us, first.price, first.quantity) == (1_723_161_300_000_001, 61000.1, 0.5)
    assert (first.taker_side, second.taker_side) == (Side.BUY, Side.SELL)


def test_a_buyer_who_was_the_maker_means_that_the_seller_took(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "id,price,qty,quote_qty,time,is_buyer_maker\n1,5,1,5,1723161300000,true\n2,5,1,5,1723161300000,False\n",
    )

    assert read_trades(path).columns.taker_side.tolist() == [-1, 1]


def test_repeated_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = ["3,3000000000000,1,1,buy", "1,1000000000000,1,1,buy", "3,3000000000000,1,1,buy"]
    rows += ["2,2000000000000,1,1,sell", "3,3000000000000,1,1,buy"]
    path = written(tmp_path, "\n".join([HEADER, *rows, ""]))

    found = read_trades(path)

    assert found.columns.trade_id.tolist() == [1, 2, 3]
    assert found.duplicates == 2


def test_two_different_trades_with_one_id_are_refused_with_both_lines(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER}\n1,0,5,1,buy\n2,0,5,1,buy\n1,0,5,2,buy\n")

    message = refusal_of(path)

    assert "line 4, column quantity is 2" in message
    assert "line 2" in message


@pytest.mark.parametrize("name", ["trades.csv", "trades.json"])
def test_values_that_a_double_cannot_hold_are_refused_and_counted(tmp_path: Path, name: str) -> None:
    values = [
        ("61000.1", "0.12345678"),
        ("61000.123456789012", "1"),  # 17 digits
        ("0.30000000000000004", "1"),  # 17 digits too, and the nearest double prints them all
        ("61000.1", "9007199254740993"),
        ("61000.1", "0.1000000000000000055"),
        ("0.00000000012345678", "12345678.00000000"),
        ("61000.1", "9007199254740993"),
    ]
    text = "\n".join([HEADER, *(f"{n},{n},{price},{size},buy" for n, (price, size) in enumerate(values)), ""])
    if name.endswith(".json"):
        rows = [
            {"id": n, "ts": n, "px": price, "sz": size, "side": "buy"}
            for n, (price, size) in enumerate(values)
        ]
        text = json.dumps(rows)

    found = read_trades(written(tmp_path, text, name))

    assert found.columns.trade_id.tolist() == [0, 2, 5]
    assert found.columns.price.tolist() == [61000.1, 0.30000000000000004, 0.00000000012345678]
    assert found.refused == 4


def test_a_bad_cell_behind_refused_rows_is_named_by_its_own_line(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER}\n1,0,61000.123456789012,1,buy\n2,0,5,-1,buy\n")

    assert f"{path}: line 3, column quantity is -1; expected a finite number" in refusal_of(path)


def test_a_file_of_nothing_but_refused_rows_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER}\n1,0,61000.123456789012,1,buy\n")

    assert "is 1 rows; expected at least one trade" in refusal_of(path)


def test_contracts_whose_base_currency_a_double_cannot_hold_are_refused_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER}\n1,0,5,123456789.12345,buy\n2,0,5,2,buy\n")

    found = read_trades(path, contract_size=Decimal("0.1234567"))

    assert (found.columns.quantity.tolist(), found.refused) == ([0.2469134], 1)


def test_spaces_around_numbers_do_no_harm(tmp_path: Path) -> None:
    found = read_trades(written(tmp_path, f"{HEADER}\n1,0,  61000.1         ,  0.5 ,buy\n"))

    assert (found.columns.price.tolist(), found.columns.quantity.tolist()) == ([61000.1], [0.5])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("x,0,5,1,buy", "column trade_id is x; expected a whole number"),
        (",0,5,1,buy", "column trade_id is empty; expected a whole number"),
        ("1.5,0,5,1,buy", "column trade_id is 1.5; expected a whole number"),
        ("2,soon,5,1,buy", "column traded_at is soon; expected a time"),
        ("2,0,0,1,buy", "column price is 0; expected a finite number above 0"),
        ("2,0,five,1,buy", "column price is five; expected a number"),
        ("2,0,5,-1,buy", "column quantity is -1; expected a finite number above 0"),
        ("2,0,5,,buy", "column quantity is empty; expected a finite number above 0"),
        ("2,0,5,1,both", "column taker_side is both; expected buy or sell"),
        ("2,0,5,1,", "column taker_side is empty; expected buy or sell"),
    ],
)
def test_a_bad_cell_is_named_by_line_column_and_value(tmp_path: Path, row: str, words: str) -> None:
    path = written(tmp_path, f"{HEADER}\n1,0,5,1,buy\n{row}\n")

    message = refusal_of(path)

    assert f"{path}: line 3, {words}" in message


def test_a_file_without_sides_or_with_two_symbols_is_refused(tmp_path: Path) -> None:
    assert "taker_side or side" in refusal_of(written(tmp_path, "id,time,price,qty\n1,0,1,1\n"))
    assert "one symbol alone" in refusal_of(
        written(tmp_path, "symbol,id,time,price,qty,side\nA,1,0,1,1,buy\nB,2,0,1,1,buy\n")
    )
    assert "at least one trade" in refusal_of(written(tmp_path, f"{HEADER}\n"))


def test_contracts_are_multiplied_as_decimals(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER}\n1,0,5,3,buy\n2,0,5,7,buy\n")

    found = read_trades(path, contract_size=Decimal("0.1"))

    assert found.columns.quantity.tolist() == [0.3, 0.7]


def test_a_recorded_minute_of_contracts_needs_its_size_and_gives_the_venues_own_candle(
    shared_data: Path,
) -> None:
    path = shared_data / "trades/okx_swap_maticusdt_trades_one_minute_20230820.csv"
    assert "MATIC-USDT-SWAP; expected the contract size" in refusal_of(path)

    columns = read_trades(path, contract_size=Decimal(10)).columns
    built = candles_from_trades(columns.price, columns.quantity, columns.traded_at_us, [Timeframe.M1])
    candle = built[Timeframe.M1]

    assert columns.trade_id.tolist() == list(range(104136693, 104136707))
    ohlcv = candle.ohlcv
    assert ohlcv.opened_at_us.tolist() == [1_692_547_260_000_000]
    assert [ohlcv.open[0], ohlcv.high[0], ohlcv.low[0], ohlcv.close[0]] == [0.5747, 0.5748, 0.5744, 0.5744]
    assert ohlcv.volume[0] == 11990
    assert candle.trades.tolist() == [14]


@pytest.mark.parametrize(
    ("name", "count", "first_id", "last_id", "first_us"),
    [
        (
            "binance_spot_xrpeth_aggtrades_20191011_20191013.json.gz",
            12477,
            13519807,
            13532283,
            1570752011620000,
        ),
        ("binance_usdm_btcusdt_trades_20200222.csv.gz", 9999, 42377944, 42387942, 1582329602111000),
        ("okx_spot_btcusdt_trades_20250516.csv", 135, 736901265, 736901448, 1747395807445000),
    ],
)
def test_recorded_trades_read_as_their_catalogue_says(
    shared_data: Path, name: str, count: int, first_id: int, last_id: int, first_us: int
) -> None:
    found = read_trades(shared_data / "trades" / name)

    assert len(found.columns) == count
    assert (found.columns.trade_id[0], found.columns.trade_id[-1]) == (first_id, last_id)
    assert found.columns.traded_at_us[0] == first_us
    assert found.duplicates == 0


def test_candles_of_recorded_trades_are_the_recorded_candles(shared_data: Path) -> None:
    columns = read_trades(
        shared_data / "trades/binance_spot_xrpeth_aggtrades_20191011_20191013.json.gz"
    ).columns
    built = candles_from_trades(
        columns.price, columns.quantity, columns.traded_at_us, [Timeframe.M1, Timeframe.M5]
    )
    for timeframe in (Timeframe.M1, Timeframe.M5):
        found = built[timeframe].ohlcv
        expected = read_candles(
            shared_data / f"candles/binance_spot/XRPETH_{timeframe}_20191011_20191013.csv.gz", timeframe
        )
        for column in ("opened_at_us", "open", "high", "low", "close"):
            np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))
        np.testing.assert_allclose(found.volume, expected.volume, rtol=1e-9)
