from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InvalidInput
from data.files.candle_files import read_candles
from data.files.time_numbers import UnlikelyTime, microseconds_of
from data.files.trade_files import read_trades
from data.timeframes import Timeframe

HEADER = "opened_at,open,high,low,close,volume"
TRADE_HEADER = "trade_id,traded_at,price,quantity,taker_side"
MINUTE_US = Timeframe.M1.us
LATELY_MS = 1_700_000_040_000


def written(folder: Path, text: str) -> Path:
    path = folder / "file.csv"
    path.write_text(text)
    return path


def candles_of(times: Sequence[object]) -> str:
    return "\n".join([HEADER, *(f"{time},10,12,9,11,1.5" for time in times)]) + "\n"


def trades_of(times: Sequence[object]) -> str:
    rows = (f"{number},{time},10,1,buy" for number, time in enumerate(times, start=1))
    return "\n".join([TRADE_HEADER, *rows]) + "\n"


@given(
    first_s=st.integers(1_000_000_000, 4_000_000_000),
    steps=st.lists(st.integers(0, 10_000_000), max_size=5),
    per_second=st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]),
)
def test_times_since_2001_are_understood_in_every_unit(
    first_s: int, steps: list[int], per_second: int
) -> None:
    seconds = first_s + np.concatenate(([0], np.cumsum(steps, dtype=np.int64))).astype(np.int64)
    np.testing.assert_array_equal(microseconds_of(seconds * per_second), seconds * 1_000_000)


@pytest.mark.parametrize("timeframe", [Timeframe.S1, Timeframe.M1, Timeframe.H1, Timeframe.D1])
def test_milliseconds_of_a_series_that_begins_near_1970_are_milliseconds(
    tmp_path: Path, timeframe: Timeframe
) -> None:
    opened_at_us = np.arange(30) * timeframe.us
    path = written(tmp_path, candles_of((opened_at_us // 1_000).tolist()))
    found = read_candles(path)
    assert found.timeframe is timeframe
    np.testing.assert_array_equal(found.opened_at_us, opened_at_us)


def test_the_first_week_of_1970_is_no_week_of_1980(tmp_path: Path) -> None:
    monday_us = 4 * Timeframe.D1.us
    path = written(tmp_path, candles_of([monday_us // 1_000, (monday_us + Timeframe.W1.us) // 1_000]))
    assert read_candles(path).opened_at_us.tolist() == [monday_us, monday_us + Timeframe.W1.us]


def test_trades_from_the_epoch_on_are_milliseconds(tmp_path: Path) -> None:
    columns = read_trades(written(tmp_path, trades_of([0, 1_000, 2_500]))).columns
    assert columns.traded_at_us.tolist() == [0, 1_000_000, 2_500_000]


@pytest.mark.parametrize(
    ("times", "line", "value"),
    [
        ([LATELY_MS // 1_000, LATELY_MS + 1_000, LATELY_MS + 2_000], "line 2", str(LATELY_MS // 1_000)),
        ([LATELY_MS, LATELY_MS + 1_000, (LATELY_MS + 2_000) * 1_000], "line 2", str(LATELY_MS)),
        ([LATELY_MS, 0, LATELY_MS + 1_000], "line 3", "0"),
        ([LATELY_MS // 1_000, 0], "line 3", "0"),
    ],
)
def test_times_of_two_units_in_one_column_are_refused_with_their_line(
    tmp_path: Path, times: Sequence[object], line: str, value: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_trades(written(tmp_path, trades_of(times)))
    message = str(refused.value)
    assert f"{line}, column traded_at is {value};" in message
    assert "the same unit in every row" in message


@pytest.mark.parametrize("factor", [1_000, 1_000_000, 10_000_000, 10**12])
def test_a_number_beyond_all_calendars_is_refused_with_its_line(tmp_path: Path, factor: int) -> None:
    times = [(LATELY_MS + row * 60_000) * factor for row in range(3)]
    with pytest.raises(InvalidInput) as refused:
        read_candles(written(tmp_path, candles_of(times).replace("opened_at", "ts_ms")))
    message = str(refused.value)
    assert f"line 2, column ts_ms is {times[0]};" in message
    assert "the years 1 to 9999" in message


def test_a_candle_that_closes_beyond_all_calendars_is_refused_with_its_line(tmp_path: Path) -> None:
    times = ["9999-12-31T23:59:00Z", "9999-12-31T23:58:00Z"]
    with pytest.raises(InvalidInput, match=r"line 2, column opened_at is .*; .* before the year 10000"):
        read_candles(written(tmp_path, candles_of(times)))


def test_numbers_that_no_integer_of_ours_holds_are_refused() -> None:
    with pytest.raises(UnlikelyTime) as refused:
        microseconds_of(np.array([1.7e18, 1.7e21]))
    assert refused.value.row == 1
    assert microseconds_of(np.empty(0)).tolist() == []


@pytest.mark.parametrize("cells", [["00:01:00", "00:02:00"], ["true", "false"]])
def test_cells_that_are_no_times_at_all_are_refused_with_their_line(
    tmp_path: Path, cells: Sequence[object]
) -> None:
    with pytest.raises(InvalidInput, match=r"line 2, column opened_at is .*ISO 8601"):
        read_candles(written(tmp_path, candles_of(cells)))


def test_a_parquet_column_of_times_of_day_is_refused_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    prices = {name: [10.0, 10.0] for name in HEADER.split(",")[1:]}
    table = pa.table({"opened_at": pa.array([60, 120], pa.time32("s")), **prices})
    pa.parquet.write_table(table, path)
    with pytest.raises(InvalidInput, match="row 1, column opened_at is 00:01:00"):
        read_candles(path)


@pytest.mark.parametrize("per_second", [1_000, 1_000_000, 1_000_000_000])
def test_a_parquet_column_of_unsigned_numbers_keeps_every_digit(tmp_path: Path, per_second: int) -> None:
    path = tmp_path / "file.parquet"
    prices = {name: [10.0, 10.0] for name in HEADER.split(",")[1:]}
    times = [(LATELY_MS // 1_000 + row * 60) * per_second for row in range(2)]
    pa.parquet.write_table(pa.table({"opened_at": pa.array(times, pa.uint64()), **prices}), path)
    assert read_candles(path).opened_at_us.tolist() == [LATELY_MS * 1_000, LATELY_MS * 1_000 + MINUTE_US]


def test_a_parquet_column_of_a_dictionary_of_texts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    prices = {name: [10.0, 10.0] for name in HEADER.split(",")[1:]}
    texts = pa.array(["2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z"]).dictionary_encode()
    pa.parquet.write_table(pa.table({"opened_at": texts, **prices}), path)
    assert np.diff(read_candles(path).opened_at_us).tolist() == [MINUTE_US]


@pytest.mark.parametrize("cell", ["1_000", "١١"])  # noqa: RUF001
def test_what_only_python_takes_for_a_number_is_refused_with_its_line(tmp_path: Path, cell: str) -> None:
    text = candles_of([LATELY_MS, LATELY_MS + 60_000]) + f"{LATELY_MS + 120_000},10,12,9,11,{cell}\n"
    with pytest.raises(InvalidInput, match=f"line 4, column volume is {cell}; expected a number"):
        read_candles(written(tmp_path, text))
