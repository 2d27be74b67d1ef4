from __future__ import annotations

import gzip
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.candles import candles_from_trades
from data.errors import InvalidInput
from data.files.candle_files import opened_at_text, read_candles, write_built_candles, write_candles
from data.models import Ohlcv
from data.timeframes import Timeframe, to_us

START_US = to_us(datetime.fromisoformat("2024-08-08T23:55:00Z"))
HEADER = "opened_at,open,high,low,close,volume"
MINUTE_US = Timeframe.M1.us


def series(count: int, timeframe: Timeframe = Timeframe.M1, *, start_us: int = START_US) -> Ohlcv:
    close = 60_000 + np.round(np.sin(np.arange(count)) * 100, 2)
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=start_us + np.arange(count) * timeframe.us,
        open=close - 0.1,
        high=close + 1.3,
        low=close - 1.7,
        close=close,
        volume=np.round(np.arange(count) / 7, 5),
    )


def assert_same(found: Ohlcv, expected: Ohlcv) -> None:
    assert found.timeframe is expected.timeframe
    for column in ("opened_at_us", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))


def written(folder: Path, text: str, name: str = "candles.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal_of(path: Path, timeframe: Timeframe | None = None) -> str:
    with pytest.raises(InvalidInput) as refused:
        read_candles(path, timeframe)
    message = str(refused.value)
    assert str(path) in message
    return message


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_what_is_written_reads_back_the_same(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"candles{ending}"

    write_candles(path, series(500))

    assert_same(read_candles(path), series(500))
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_candles_give_the_same_gzip_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    write_candles(first, series(50))
    time.sleep(0.01)
    write_candles(second, series(50))

    assert first.read_bytes() == second.read_bytes()


@given(st.lists(st.floats(min_value=5e-324, max_value=1e300), min_size=2, max_size=20))
def test_every_double_prints_back(tmp_path_factory: pytest.TempPathFactory, prices: list[float]) -> None:
    path = tmp_path_factory.mktemp("doubles") / "candles.csv"
    values = np.array(prices)
    ohlcv = Ohlcv(
        timeframe=Timeframe.M1,
        opened_at_us=START_US + np.arange(len(values)) * MINUTE_US,
        open=values,
        high=values,
        low=values,
        close=values,
        volume=values,
    )
    write_candles(path, ohlcv)

    assert_same(read_candles(path), ohlcv)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("opened_at", "2024-08-08T23:55:00Z", "2024-08-08T23:56:00Z"),
        ("opened_at", "2024-08-08T23:55:00+00:00", "2024-08-08T23:56:00+00:00"),
        ("opened_at", "2024-08-09T01:55:00+02:00", "2024-08-09T01:56:00+02:00"),
        ("opened_at", "2024-08-08T23:55:00.000Z", "2024-08-08T23:56:00.000Z"),
        ("opened_at", "2024-08-08 23:55:00 UTC", "2024-08-08 23:56:00 UTC"),
        ("date", "2024-08-08 23:55", "2024-08-08 23:56"),
        ("Date", "2024-08-08 23:55:00", "2024-08-08 23:56:00"),
        ("opened_at", "1723161300000", "1723161360000"),
        ("ts_ms", "1723161300000", "1723161360000"),
        ("timestamp", "1723161300", "1723161360"),
        ("timestamp", "1723161300.0", "1723161360.0"),
        ("time", "1723161300000000", "1723161360000000"),
        ("time", "1723161300000000000", "1723161360000000000"),
    ],
)
def test_times_are_understood_in_every_usual_spelling(
    tmp_path: Path, name: str, first: str, second: str
) -> None:
    path = written(tmp_path, f"{name},open,high,low,close,volume\n{first},1,2,1,2,0\n{second},1,2,1,2,0\n")

    ohlcv = read_candles(path)

    assert ohlcv.opened_at_us.tolist() == [START_US, START_US + MINUTE_US]
    assert ohlcv.timeframe is Timeframe.M1


def test_a_column_named_ts_ms_is_milliseconds_however_small(tmp_path: Path) -> None:
    path = written(tmp_path, "ts_ms,open,high,low,close,volume\n0,1,1,1,1,1\n60000,1,1,1,1,1\n")

    assert read_candles(path).opened_at_us.tolist() == [0, 60_000_000]


def test_days_may_be_dates(tmp_path: Path) -> None:
    path = written(tmp_path, "date,open,high,low,close,volume\n2024-08-08,1,1,1,1,1\n2024-08-09,1,1,1,1,1\n")

    ohlcv = read_candles(path)

    assert ohlcv.timeframe is Timeframe.D1
    assert opened_at_text(int(ohlcv.opened_at_us[0])) == "2024-08-08T00:00:00Z"


@pytest.mark.parametrize("kind", [pa.timestamp("ns", tz="UTC"), pa.timestamp("ms"), pa.int64()])
def test_parquet_times_may_be_timestamps_or_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "candles.parquet"
    opened_at = pa.array([START_US // 1_000, START_US // 1_000 + 60_000])
    if kind != pa.int64():
        opened_at = opened_at.cast(pa.timestamp("ms", tz=kind.tz)).cast(kind)
    ones = pa.array([1, 1])
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), ones)
    pa.parquet.write_table(pa.table({"opened_at": opened_at, **columns}), path)

    ohlcv = read_candles(path)

    assert ohlcv.opened_at_us.tolist() == [START_US, START_US + MINUTE_US]
    assert ohlcv.open.dtype == np.float64


def test_parquet_times_may_be_numbers_as_text(tmp_path: Path) -> None:
    path = tmp_path / "candles.parquet"
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), pa.array(["1.5", "1.5"]))
    pa.parquet.write_table(pa.table({"opened_at": pa.array(["0", "60000"]), **columns}), path)

    ohlcv = read_candles(path, Timeframe.M1)

    assert ohlcv.opened_at_us.tolist() == [0, 60_000_000]
    assert ohlcv.open.tolist() == [1.5, 1.5]


def test_arrays_may_be_written_to(tmp_path: Path) -> None:
    path = tmp_path / "candles.parquet"
    write_candles(path, series(5))
    ohlcv = read_candles(path)

    assert all(
        getattr(ohlcv, column).flags.writeable
        for column in ("opened_at_us", "open", "high", "low", "close", "volume")
    )


def test_rows_out_of_order_are_sorted_and_equal_rows_kept_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"{HEADER}\n120000,3,3,3,3,3\n0,1,1,1,1,1\n60000,2,2,2,2,2\n0,1,1,1,1,1\n120000,3,3,3,3,3\n",
    )

    ohlcv = read_candles(path, Timeframe.M1)

    assert ohlcv.close.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("seconds", "timeframe"), [(timeframe.seconds, timeframe) for timeframe in Timeframe]
)
def test_the_time_frame_is_the_smallest_step(tmp_path: Path, seconds: int, timeframe: Timeframe) -> None:
    monday = 345_600
    times = (monday, monday + 3 * seconds, monday + 4 * seconds)
    rows = "\n".join(f"{at * 1000},1,1,1,1,1" for at in times)
    path = written(tmp_path, f"ts_ms,open,high,low,close,volume\n{rows}\n")

    assert read_candles(path).timeframe is timeframe


GOOD = "1723161300000,10,12,9,11,5\n"


@pytest.mark.parametrize(
    ("bad", "place", "value"),
    [
        ("1723161360000,nan,12,9,11,5", "column open", "nan"),
        ("1723161360000,10,12,,11,5", "column low", "empty"),
        ("1723161360000,10,inf,9,11,5", "column high", "inf"),
        ("1723161360000,10,12,-9,11,5", "column low", "-9"),
        ("1723161360000,10,12,9,0,5", "column close", "0"),
        ("1723161360000,10,12,9,11,-1", "column volume", "-1"),
        ("1723161360000,10,8,9,9,5", "column high", "8"),
        ("1723161360000,13,12,9,11,5", "column high", "12"),
        ("1723161360000,10,12,10.5,11,5", "column low", "10.5"),
        ("1723161360000,ten,12,9,11,5", "column open", "ten"),
        ("1723161360001,10,12,9,11,5", "column opened_at", "1723161360001"),
        (",10,12,9,11,5", "column opened_at", "empty"),
        ("1723161300000,10,12,9,11,6", "column volume", "6"),
        ("1723161360000,10,12,9,11", "line 4", "5 cells"),
        ("yesterday,10,12,9,11,5", "column opened_at", "yesterday"),
    ],
)
def test_a_bad_cell_is_named_by_line_column_and_value(
    tmp_path: Path, bad: str, place: str, value: str
) -> None:
    # The empty line is no row, but it counts as a line.
    path = written(tmp_path, f"{HEADER}\n{GOOD}\n{bad}\n")

    message = refusal_of(path, Timeframe.M1)

    assert "line 4" in message
    assert place in message
    assert f"is {value};" in message
    assert "expected" in message


def test_a_bad_cell_of_a_gzipped_file_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "candles.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{GOOD}1723161360000,10,12,9,x,5\n".encode()))

    assert "line 3, column close is x; expected a number" in refusal_of(path)


def test_a_bad_cell_of_a_parquet_file_is_named_by_its_row(tmp_path: Path) -> None:
    path = tmp_path / "candles.parquet"
    columns = {name: pa.array([1.0, 1.0]) for name in ("high", "low", "close", "volume")}
    pa.parquet.write_table(
        pa.table({"opened_at": pa.array([0, 60_000]), "open": pa.array([1.0, float("nan")]), **columns}), path
    )

    assert "row 2, column open is nan" in refusal_of(path, Timeframe.M1)


def test_two_candles_of_one_time_that_differ_are_refused_with_both_lines(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER}\n{GOOD}1723161360000,1,1,1,1,1\n1723161300000,10,12,9,11,6\n")

    message = refusal_of(path)

    assert "line 4, column volume is 6" in message
    assert "line 2 (5.0)" in message


def test_a_step_that_is_no_time_frame_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "time,open,high,low,close,volume\n0,1,1,1,1,1\n120000,1,1,1,1,1\n")

    message = refusal_of(path)

    assert "120 s" in message
    assert "1m 3m 5m" in message


def test_a_week_opens_on_monday(tmp_path: Path) -> None:
    # 2024-08-08 was a Thursday.
    path = written(tmp_path, f"{HEADER}\n2024-08-08,1,1,1,1,1\n2024-08-15,1,1,1,1,1\n")

    assert "2024-08-05" in refusal_of(path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.csv", "", "header line"),
        ("header.csv", f"{HEADER}\n", "at least one candle"),
        ("one.csv", f"{HEADER}\n{GOOD}", "at least two, or the time frame"),
        ("columns.csv", "opened_at,open,high,low,close\n0,1,1,1,1\n", "also volume"),
        ("times.csv", "when,open,high,low,close,volume\n0,1,1,1,1,1\n", "opened_at or ts_ms or timestamp"),
        ("damaged.parquet", "PAR1 and no more", "a whole Parquet file"),
        ("damaged.csv.gz", "no gzip", "a whole CSV file"),
        ("candles.xlsx", "x", ".csv, .csv.gz or .parquet"),
    ],
)
def test_a_file_that_holds_no_candles_says_why(tmp_path: Path, name: str, text: str, words: str) -> None:
    assert words in refusal_of(written(tmp_path, text, name))


@pytest.mark.parametrize("twice", ["close", "Close"])
def test_a_column_that_stands_twice_is_refused(tmp_path: Path, twice: str) -> None:
    text = f"{HEADER},{twice}\n2024-08-08T23:55:00Z,1,2,1,2,0,1\n"
    assert "one column of the name" in refusal_of(written(tmp_path, text))


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    assert "expected an existing file" in refusal_of(tmp_path / "absent.csv")


def test_a_file_cannot_be_written_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="absent"):
        write_candles(tmp_path / "absent" / "candles.csv", series(3))
    with pytest.raises(InvalidInput, match=r"\.parquet"):
        write_candles(tmp_path / "candles.txt", series(3))


def test_a_file_of_several_time_frames_gives_the_one_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "candles.csv"
    ones = np.ones(600)
    built = candles_from_trades(
        ones, ones, START_US + np.arange(600) * 1_000_000, [Timeframe.M1, Timeframe.M5]
    )
    write_built_candles(path, [built[Timeframe.M1], built[Timeframe.M5]])

    assert path.read_text().splitlines()[:2] == [
        "timeframe,opened_at,open,high,low,close,volume,trades",
        "1m,2024-08-08T23:55:00Z,1,1,1,1,60,60",
    ]
    assert_same(read_candles(path, Timeframe.M5), built[Timeframe.M5].ohlcv)
    assert "1m, 5m; expected one of them" in refusal_of(path)
    assert "also candles of 1h" in refusal_of(path, Timeframe.H1)


def test_the_file_row_is_named_where_other_time_frames_stand_between(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"timeframe,{HEADER}\n1m,0,1,1,1,1,1\n5m,0,1,1,1,1,1\n1m,60000,1,1,1,-1,1\n",
    )

    assert "line 4, column close is -1" in refusal_of(path, Timeframe.M1)


def test_recorded_candles_read_as_their_catalogue_says(shared_data: Path) -> None:
    hours = read_candles(shared_data / "candles/binance_spot/BTCUSDT_1h_20170817_20240421.csv.gz")

    assert len(hours) == 58_419
    assert hours.timeframe is Timeframe.H1
    assert opened_at_text(int(hours.opened_at_us[0])) == "2017-08-17T04:00:00Z"
    assert opened_at_text(int(hours.opened_at_us[-1])) == "2024-04-21T14:00:00Z"
    assert hours.close[0] == 4308.83


def test_a_million_candles_read_fast(tmp_path: Path) -> None:
    path = tmp_path / "candles.parquet"
    write_candles(path, series(1_000_000))

    seconds = []
    for _ in range(3):
        began = time.process_time()
        read_candles(path)
        seconds.append(time.process_time() - began)

    # CPU time, because a test shares its machine; alone it takes 0.1 to 0.2 s of wall time.
    assert min(seconds) < 0.6


def test_rows_out_of_order_and_rows_that_stand_twice_are_told(tmp_path: Path) -> None:
    path = tmp_path / "candles.csv"
    times = (1_723_075_260_000, 1_723_075_200_000, 1_723_075_260_000, 1_723_075_320_000)
    rows = [f"{at},{close},{close},{close},{close},1" for at, close in zip(times, (2, 1, 2, 3), strict=True)]
    path.write_text("\n".join(["opened_at,open,high,low,close,volume", *rows, ""]))
    told: list[str] = []
    assert read_candles(path, tell=told.append).close.tolist() == [1, 2, 3]
    assert told == [
        f"{path}: 1 rows stand there twice and count once",
        f"{path}: the rows were not in order of time and were sorted",
    ]
