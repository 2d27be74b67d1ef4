from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from app.commands.candles import command
from data.errors import InvalidInput
from data.files.candle_files import read_candles
from data.timeframes import Timeframe

MIDNIGHT_MS = 1_723_075_200_000  # 2024-08-08
HEADER = "trade_id,traded_at,price,quantity,taker_side"


def build(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, ["build", *(str(item) for item in arguments)])


def trades_file(folder: Path, ids: list[int], *, step_ms: int = 10_000) -> Path:
    """A trade every `step_ms`, from midnight of 2024-08-08 on, by the number of its id."""
    path = folder / "trades.csv"
    rows = [
        f"{trade_id},{1_723_075_200_000 + trade_id * step_ms},{100 + trade_id},0.5,buy" for trade_id in ids
    ]
    path.write_text("\n".join([HEADER, *rows, ""]))
    return path


def test_the_file_has_every_time_frame_and_the_summary_says_what_may_be_partial(tmp_path: Path) -> None:
    out = tmp_path / "candles.csv"
    source = trades_file(tmp_path, [*range(20), 3])

    result = build(
        *("--trades", source, "--exchange", "okx", "--symbol", "A-B", "--timeframes", "1m,5m"),
        *("--out", out, "--json"),
    )

    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert (summary["trades"], summary["duplicates"], summary["malformed"]) == (20, 1, 0)
    assert summary["timeframes"] == {
        "1m": {"rows": 4, "possibly_partial": ["2024-08-08T00:00:00Z", "2024-08-08T00:03:00Z"]},
        "5m": {"rows": 1, "possibly_partial": ["2024-08-08T00:00:00Z"]},
    }
    assert out.read_text().splitlines() == [
        "timeframe,opened_at,open,high,low,close,volume,trades",
        "1m,2024-08-08T00:00:00Z,100,105,100,105,3,6",
        "1m,2024-08-08T00:01:00Z,106,111,106,111,3,6",
        "1m,2024-08-08T00:02:00Z,112,117,112,117,3,6",
        "1m,2024-08-08T00:03:00Z,118,119,118,119,1,2",
        "5m,2024-08-08T00:00:00Z,100,119,100,119,10,20",
    ]


def test_intervals_beside_absent_ids_are_possibly_partial_too(tmp_path: Path) -> None:
    source = trades_file(tmp_path, [*range(16), *range(25, 50)])

    result = build(
        *("--trades", source, "--exchange", "okx", "--symbol", "A-B", "--timeframes", "1m"),
        *("--out", tmp_path / "candles.parquet", "--json"),
    )

    summary = json.loads(result.stdout)
    assert summary["missing_ids"] == 9
    minutes = [text[14:16] for text in summary["timeframes"]["1m"]["possibly_partial"]]
    assert minutes == ["00", "02", "04", "08"]


def test_trades_that_a_double_cannot_hold_are_left_out_and_counted(tmp_path: Path) -> None:
    source = trades_file(tmp_path, [0, 1, 3])
    source.write_text(source.read_text() + "2,1723075202000,100.12345678901234567,0.5,buy\n")
    arguments = ("--trades", source, "--exchange", "okx", "--symbol", "A-B", "--timeframes", "1m")

    summary = json.loads(build(*arguments, "--out", tmp_path / "candles.csv", "--json").stdout)

    assert (summary["trades"], summary["refused"], summary["missing_ids"]) == (3, 1, 1)
    words = build(*arguments, "--out", tmp_path / "candles.csv").output
    assert "1 trades a double cannot hold exactly, left out" in words


def test_without_json_a_person_reads_the_same(tmp_path: Path) -> None:
    result = build(
        *("--trades", trades_file(tmp_path, [1, 2, 2, 4]), "--exchange", "okx", "--symbol", "A-B"),
        *("--timeframes", "1m", "--out", tmp_path / "candles.csv"),
    )

    assert "3 trades of okx:A-B" in result.output
    assert "1 repeated, left out" in result.output
    assert "1 trade ids absent" in result.output


def test_recorded_frames_give_the_venues_own_candles(tmp_path: Path, shared_data: Path) -> None:
    out = tmp_path / "candles.parquet"
    frames = shared_data / "frames/binance/spot_btcusdt_20240809.log.gz"

    result = build(
        *("--trades", frames, "--exchange", "binance", "--symbol", "BTC-USDT", "--timeframes", "1s,1m"),
        *("--out", out, "--json"),
    )

    summary = json.loads(result.stdout)
    assert (summary["trades"], summary["malformed"], summary["missing_ids"]) == (10147, 0, 0)
    ours = read_candles(out, Timeframe.M1).rows(1, 5)
    venue = read_candles(shared_data / "candles/binance_spot/BTCUSDT_1m_20240726_20240825.csv.gz")
    rows = np.isin(venue.opened_at_us, ours.opened_at_us)
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(venue, name)[rows])


def test_nothing_is_written_where_the_input_is_bad(tmp_path: Path) -> None:
    source = trades_file(tmp_path, [1, 2])
    source.write_text(source.read_text() + "3,never,1,1,buy\n")
    out = tmp_path / "candles.csv"

    result = build(
        *("--trades", source, "--exchange", "okx", "--symbol", "A-B", "--timeframes", "1m", "--out", out)
    )

    assert isinstance(result.exception, InvalidInput)
    assert "line 4, column traded_at is never" in str(result.exception)
    assert not out.exists()


def test_a_place_that_cannot_be_written_to_is_named_as_the_option(tmp_path: Path) -> None:
    result = build(
        *("--trades", trades_file(tmp_path, [1]), "--exchange", "okx", "--symbol", "A-B"),
        *("--timeframes", "1m", "--out", tmp_path / "absent" / "candles.csv"),
    )

    assert isinstance(result.exception, InvalidInput)
    assert str(result.exception).startswith("--out is ")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--timeframes", "1m,7m", "'7m' is no time frame"),
        ("--symbol", "BTCUSDT", "BTC-USDT"),
        ("--exchange", "kraken", "'binance', 'okx'"),
        ("--contract-size", "0", "a number above 0"),
    ],
)
def test_wrong_use_says_what_would_be_right(tmp_path: Path, option: str, value: str, words: str) -> None:
    arguments = {"--exchange": "okx", "--symbol": "A-B", "--timeframes": "1m", option: value}
    arguments |= {"--trades": str(trades_file(tmp_path, [1])), "--out": str(tmp_path / "candles.csv")}

    result = build(*(part for pair in arguments.items() for part in pair))

    assert result.exit_code == 2
    assert words in result.output
