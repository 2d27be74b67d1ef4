from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from app.commands.indicators import command
from data.errors import InvalidInput
from data.files.candle_files import write_candles
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.higher_timeframe import fold
from strategies.indicators.registry import INDICATORS
from tests.strategies.series import random_walk


@pytest.fixture
def ohlcv() -> Ohlcv:
    return random_walk(400, seed=12, gaps=0.05)


@pytest.fixture
def candles(tmp_path: Path, ohlcv: Ohlcv) -> Path:
    path = tmp_path / "candles.csv"
    write_candles(path, ohlcv)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def expected(name: str, ohlcv: Ohlcv, **given: object) -> dict[str, Any]:
    spec = INDICATORS[name]
    return spec.batch(ohlcv, spec.resolve(given, where="test"))


def test_a_file_holds_the_values_with_missing_ones_empty(candles: Path, ohlcv: Ohlcv, tmp_path: Path) -> None:
    out = tmp_path / "rsi.csv"
    result = run("rsi", "--period", "20", "--candles", candles, "--out", out)
    assert result.exit_code == 0
    rows = rows_of(out.read_text())
    assert list(rows[0]) == ["opened_at", "value"]
    assert rows[0] == {"opened_at": "2024-01-01T00:00:00Z", "value": ""}
    values = np.array([float(row["value"] or "nan") for row in rows])
    np.testing.assert_array_equal(values, expected("rsi", ohlcv, period=20)["value"])
    assert result.stdout.splitlines()[-1] == f"written to {out}"


def test_without_out_the_same_csv_goes_to_standard_output(candles: Path, tmp_path: Path) -> None:
    out = tmp_path / "bands.csv"
    run("keltner", "--atr-period", "5", "--candles", candles, "--out", out)
    result = run("keltner", "--atr-period", "5", "--candles", candles)
    assert result.stdout == out.read_text()
    assert rows_of(result.stdout)[0].keys() == {"opened_at", "upper", "middle", "lower"}


def test_parquet_holds_times_and_nulls(candles: Path, ohlcv: Ohlcv, tmp_path: Path) -> None:
    out = tmp_path / "macd.parquet"
    assert run("macd", "--candles", candles, "--out", out).exit_code == 0
    table = pyarrow.parquet.read_table(out)
    assert table.column_names == ["opened_at", "macd", "signal", "histogram"]
    assert str(table.schema.field("opened_at").type) == "timestamp[us, tz=UTC]"
    assert table["macd"].null_count == 33
    assert len(table) == len(ohlcv)


@pytest.mark.parametrize("name", INDICATORS)
def test_every_indicator_has_a_help_page_and_runs(name: str, candles: Path) -> None:
    page = run(name, "--help")
    assert page.exit_code == 0
    for parameter in INDICATORS[name].parameters:
        assert f"--{parameter.name.replace('_', '-')}" in page.stdout
    rows = rows_of(run(name, "--candles", candles).stdout)
    assert list(rows[0]) == ["opened_at", *INDICATORS[name].outputs]


def test_a_higher_time_frame_is_folded_first(candles: Path, ohlcv: Ohlcv) -> None:
    rows = rows_of(run("ta:rsi", "--period", "5", "--candles", candles, "--timeframe", "1h").stdout)
    hours = fold(ohlcv, Timeframe.H1).candles
    values = np.array([float(row["value"] or "nan") for row in rows])
    np.testing.assert_array_equal(values, expected("ta:rsi", hours, period=5)["value"])


def test_json_is_one_document(candles: Path, ohlcv: Ohlcv, tmp_path: Path) -> None:
    document = json.loads(run("ema", "--source", "hl2", "--candles", candles, "--json").stdout)
    assert document["parameters"] == {"period": 20, "source": "hl2"}
    assert document["missing"] == {"value": 19}
    assert document["opened_at"][0] == document["first"] == "2024-01-01T00:00:00Z"
    assert document["values"]["value"][:20] == [
        *[None] * 19,
        expected("ema", ohlcv, source="hl2")["value"][19],
    ]
    out = tmp_path / "ema.csv"
    written = json.loads(run("ema", "--candles", candles, "--out", out, "--json").stdout)
    assert written["out"] == str(out)
    assert "values" not in written


def test_the_list_names_everything_with_its_options() -> None:
    listed = run()
    assert listed.stdout == run("--list").stdout
    assert "ichimoku --conversion 9 --base 26 --span 52 --displacement 26" in listed.stdout
    names = [indicator["name"] for indicator in json.loads(run("--json").stdout)["indicators"]]
    assert names == list(INDICATORS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rsii"], 'no such indicator: rsii; did you mean "rsi"?'),
        (["rsi", "--perod", "3"], 'did you mean "--period"? known: --period, --source'),
        (["obv", "--period", "3"], "obv has no option --period"),
        (["rsi", "--period", "three"], "'three' is no number"),
        (["rsi", "--source", "clse"], "is not one of"),
        (["rsi", "--timeframe", "7m"], "'7m' is no time frame; expected one of 1s 1m"),
        (["rsi"], "Missing option '--candles'"),
        (["--list", "rsi"], "--list stands alone"),
    ],
)
def test_wrong_use_names_what_would_be_right(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rsi", "--period", "0"], "indicators rsi: period is 0; expected a whole number from 2 to 10000"),
        (["rsi", "--period", "2.5"], "period is 2.5"),
        (["rsi", "--period", "nan"], "period is NaN"),
        (["macd", "--fast", "30"], "fast must be below slow"),
        (["rsi", "--timeframe", "1m"], "--timeframe is 1m"),
        (["rsi", "--timeframe", "3m"], "has candles of 5m; expected one of 5m 15m"),
    ],
)
def test_bad_input_writes_nothing(arguments: list[str], message: str, candles: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = run(*arguments, "--candles", candles, "--out", out)
    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)
    assert not out.exists()


@pytest.mark.parametrize("name", ["out.txt", "no/such/folder/out.csv"])
def test_a_place_that_cannot_be_written_is_named(name: str, candles: Path, tmp_path: Path) -> None:
    result = run("rsi", "--candles", candles, "--out", tmp_path / name)
    assert isinstance(result.exception, InvalidInput)
    assert str(tmp_path / name) in str(result.exception)
