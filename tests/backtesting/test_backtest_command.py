"""`candlewick backtest` as a person runs it, on recorded candles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.commands.backtest import command
from data.errors import InvalidInput
from data.files.candle_files import write_candles
from data.files.trade_files import write_trades
from data.timeframes import Timeframe
from tests.bots.bot_fakes import T0
from tests.bots.trade_fakes import candles_from, walking_trades

HOUR_US = Timeframe.H1.us

STRATEGY = {
    "name": "cross",
    "timeframe": "1h",
    "parameters": {
        "fast": {"default": 12, "min": 2, "max": 50, "step": 1},
        "slow": {"default": 26, "min": 10, "max": 200, "step": 1},
    },
    "indicators": {
        "fast": {"type": "ema", "period": {"parameter": "fast"}},
        "slow": {"type": "ema", "period": {"parameter": "slow"}},
    },
    "long": {
        "entry": {"crosses_above": ["fast", "slow"]},
        "exit": {"crosses_below": ["fast", "slow"]},
    },
    "protection": {"stop_loss": 0.02, "take_profit": 0.03},
    "sizing": {"type": "fraction_of_equity", "value": 1.0},
}


@pytest.fixture
def strategy(tmp_path: Path) -> Path:
    path = tmp_path / "cross.json"
    path.write_text(json.dumps(STRATEGY))
    return path


@pytest.fixture
def hours(shared_data: Path) -> Path:
    return shared_data / "candles" / "binance_spot" / "BTCUSDT_1h_2024.csv.gz"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def document(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def test_json_is_one_document_on_standard_output_and_remarks_go_to_standard_error(
    strategy: Path, hours: Path
) -> None:
    result = run("--strategy", strategy, "--candles", hours, "--json")
    assert result.exit_code == 0
    parsed = json.loads(result.stdout)
    assert parsed["metrics"]["trades"] == len(parsed["trades"]) > 20
    assert len(parsed["equity"]) == parsed["manifest"]["candles"] == 5_980
    assert "not rounded" in result.stderr
    assert parsed["manifest"]["rounding"] is False


def test_without_json_a_table_is_printed(strategy: Path, hours: Path) -> None:
    result = run("--strategy", strategy, "--candles", hours)
    assert result.exit_code == 0
    assert "cross on 5,980 candles of 1h, 2024-01-01T00:00:00Z to" in result.stdout
    assert "buy and hold" in result.stdout


def test_options_reach_the_run(strategy: Path, hours: Path) -> None:
    parsed = document(
        "--strategy", strategy, "--candles", hours, "--param", "fast=5", "--capital", "500",
        "--fee-bps", "7.5", "--maker-fee-bps", "2", "--slippage-bps", "1", "--tick-size", "0.01",
        "--lot-size", "0.00001", "--min-notional", "10", "--from", "2024-02-01",
        "--to", "2024-03-01T00:00", "--close-at-end",
    )  # fmt: skip
    manifest = parsed["manifest"]
    assert manifest["parameters"] == {"fast": 5, "slow": 26}
    assert manifest["capital"] == 500
    assert manifest["costs"] == {"fee_bps": 7.5, "maker_fee_bps": 2, "slippage_bps": 1}
    assert manifest["rules"] == {
        "tick_size": 0.01,
        "lot_size": 0.00001,
        "min_quantity": 0,
        "min_notional": 10,
    }
    assert (manifest["starts_at"], manifest["ends_at"]) == ("2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")
    assert manifest["close_at_end"] is True
    assert parsed["open_trade"] is None
    assert parsed["metrics"]["sampling"] == "candles"
    for trade in parsed["trades"]:
        assert round(trade["quantity"] * 1e5) == pytest.approx(trade["quantity"] * 1e5)


@pytest.fixture
def near(tmp_path: Path) -> Path:
    """A strategy whose stop and target are so near that hours often hold both."""
    path = tmp_path / "near.json"
    path.write_text(json.dumps({**STRATEGY, "protection": {"stop_loss": 0.003, "take_profit": 0.003}}))
    return path


def test_candles_of_a_smaller_time_frame_are_folded_up_and_decide_inside(
    near: Path, hours: Path, shared_data: Path
) -> None:
    minutes = shared_data / "candles" / "binance_spot" / "BTCUSDT_5m_2024.csv.gz"
    whole = document("--strategy", near, "--candles", hours)
    folded = document("--strategy", near, "--candles", minutes)
    given = document("--strategy", near, "--candles", hours, "--finer", minutes)
    assert folded["manifest"]["finer_timeframe"] == "5m"
    assert folded["manifest"]["finer_candles"] > 0
    assert given["trades"] == folded["trades"]
    assert folded["metrics"]["ambiguous_exits"] < whole["metrics"]["ambiguous_exits"]


def test_json_has_both_readings_where_something_stayed_ambiguous(near: Path, hours: Path) -> None:
    parsed = document("--strategy", near, "--candles", hours)
    ambiguity = parsed["ambiguity"]
    assert ambiguity["exits"] == parsed["metrics"]["ambiguous_exits"] > 0
    assert ambiguity["worst_case_equity"] == parsed["metrics"]["final_equity"]
    assert ambiguity["worst_case_return"] == pytest.approx(parsed["metrics"]["total_return"])
    assert ambiguity["best_case_return"] == pytest.approx(ambiguity["best_case_equity"] / 10_000 - 1)
    assert ambiguity["best_case_equity"] > ambiguity["worst_case_equity"]
    best = parsed["equity_best_case"]
    assert [point["time"] for point in best] == [point["time"] for point in parsed["equity"]]
    assert best[-1]["equity"] == ambiguity["best_case_equity"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_of_trades_decides_what_it_covers_and_smaller_candles_the_rest(
    tmp_path: Path, ending: str
) -> None:
    trades = walking_trades(5, T0 // HOUR_US * HOUR_US, Timeframe.M1, 600, step=0.1)
    last_third = int(len(trades) * 0.7)
    files = {name: tmp_path / f"{name}.{ending}" for name in ("all", "early", "candles", "minutes")}
    write_trades(files["all"], trades)
    write_trades(files["early"], trades.rows(0, last_third))
    write_candles(files["candles"], candles_from(trades, Timeframe.M5))
    write_candles(files["minutes"], candles_from(trades, Timeframe.M1))
    path = tmp_path / "always.json"
    rules = {"long": {"entry": {"gt": ["close", 0]}, "exit": {"lt": ["close", 0]}}}
    path.write_text(
        json.dumps(
            {
                "name": "always",
                "timeframe": "5m",
                "indicators": {},
                **rules,
                "protection": {"stop_loss": 0.003, "take_profit": 0.003},
                "sizing": {"type": "fraction_of_equity", "value": 1.0},
            }
        )
    )
    asked = ("--strategy", path, "--no-rounding")
    blind = document(*asked, "--candles", files["candles"])
    by_trades = document(*asked, "--candles", files["candles"], "--finer", files["all"])
    early = document(*asked, "--candles", files["candles"], "--finer", files["early"])
    rest = document(*asked, "--candles", files["minutes"], "--finer", files["early"])
    exits = [one["metrics"]["ambiguous_exits"] for one in (blind, early, by_trades)]
    assert exits[0] > exits[1] > exits[2] == 0
    assert by_trades["manifest"]["finer_trades"] > 100
    assert (by_trades["manifest"]["finer_candles"], by_trades["manifest"]["finer_timeframe"]) == (0, None)
    assert early["manifest"]["finer_candles"] == 0
    assert rest["manifest"]["finer_trades"] > 0
    assert rest["manifest"]["finer_candles"] > 0
    out = tmp_path / "out"
    document(*asked, "--candles", files["candles"], "--finer", files["all"], "--out", out)
    assert run("--manifest", out / "manifest.json").exit_code == 0


def test_a_finer_file_that_holds_neither_trades_nor_candles_is_refused(
    strategy: Path, hours: Path, tmp_path: Path
) -> None:
    path = tmp_path / "neither.csv"
    path.write_text("when,what\n1,2\n")
    result = run("--strategy", strategy, "--candles", hours, "--finer", path)
    assert isinstance(result.exception, InvalidInput)
    assert "columns of candles" in str(result.exception)
    assert "or of trades" in str(result.exception)
    larger = run("--strategy", strategy, "--candles", hours, "--finer", hours)
    assert isinstance(larger.exception, InvalidInput)
    assert "a smaller time frame than 1h" in str(larger.exception)


def test_candles_of_a_larger_time_frame_are_refused(strategy: Path, shared_data: Path) -> None:
    result = run(
        "--strategy",
        strategy,
        "--candles",
        shared_data / "candles" / "binance_spot" / "BTCUSDT_1d_2024.csv.gz",
    )
    assert isinstance(result.exception, InvalidInput)
    assert "1d; the strategy needs candles of 1h, or of a time frame that divides it" in str(result.exception)


def test_candles_of_a_time_frame_that_does_not_divide_the_strategys_are_refused(
    strategy: Path, tmp_path: Path
) -> None:
    path = tmp_path / "six.csv"
    rows = [f"2024-01-0{1 + row // 4}T{6 * (row % 4):02}:00:00Z,1,1,1,1,1" for row in range(8)]
    path.write_text("\n".join(["opened_at,open,high,low,close,volume", *rows, ""]))
    result = run("--strategy", strategy, "--candles", path, "--timeframe", "4h")
    assert isinstance(result.exception, InvalidInput)
    assert result.exception.problems[0].value == "6h"
    assert run("--strategy", strategy, "--candles", path, "--timeframe", "1d").exit_code == 0


def test_the_folder_holds_the_result_and_its_manifest_repeats_it(
    strategy: Path, hours: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = document("--strategy", strategy, "--candles", hours, "--out", out)
    tables = {f"{what}.{kind}" for what in ("trades", "equity") for kind in ("csv", "parquet")}
    assert {path.name for path in out.iterdir()} == tables | {"result.json", "manifest.json", "report.html"}
    written = json.loads((out / "result.json").read_text())
    assert written.pop("analysis")
    assert written == first
    assert (out / "trades.csv").read_text().count("\n") == len(first["trades"]) + 1
    repeated = run("--manifest", out / "manifest.json")
    assert repeated.exit_code == 0
    assert first["manifest"]["result_hash"] in repeated.stderr
    assert run("--manifest", out / "result.json").exit_code == 0


def test_a_manifest_that_is_not_met_ends_with_status_1(strategy: Path, hours: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    document("--strategy", strategy, "--candles", hours, "--out", out)
    changed = STRATEGY | {"protection": {"stop_loss": 0.01}}
    strategy.write_text(json.dumps(changed))
    result = run("--manifest", out / "manifest.json")
    assert result.exit_code == 1
    assert "the strategy's hash was" in result.stderr
    assert "the result's hash was" in result.stderr


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"strategy": 5}')
    for path in (wrong, tmp_path / "absent.json"):
        result = run("--manifest", path)
        assert isinstance(result.exception, InvalidInput)
        assert str(path) in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--strategy", "x"],
        ["--strategy", "x", "--candles", "y", "--venue", "okx", "--symbol", "BTC-USDT"],
        ["--strategy", "x", "--venue", "okx"],
        ["--strategy", "x", "--candles", "y", "--no-rounding", "--tick-size", "1"],
        ["--strategy", "x", "--candles", "y", "--capital", "much"],
        ["--strategy", "x", "--candles", "y", "--from", "yesterday"],
        ["--strategy", "x", "--candles", "y", "--param", "fast"],
    ],
)
def test_wrong_use_ends_with_status_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_span_without_candles_is_refused(strategy: Path, hours: Path) -> None:
    result = run("--strategy", strategy, "--candles", hours, "--from", "2030-01-01")
    assert isinstance(result.exception, InvalidInput)
    problem = result.exception.problems[0]
    assert problem.value == "2030-01-01T00:00:00Z to the end"
    assert "they open from 2024-01-01T00:00:00Z" in problem.expected


def test_a_folder_that_can_not_be_written_is_refused_and_nothing_is_left(
    strategy: Path, hours: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = run("--strategy", strategy, "--candles", hours, "--out", blocked / "out")
    assert isinstance(result.exception, InvalidInput)
    assert result.exception.problems[0].where == "--out"


def test_several_symbols_share_one_capital_and_their_manifest_repeats_the_run(
    strategy: Path, hours: Path, shared_data: Path, tmp_path: Path
) -> None:
    other = shared_data / "candles" / "binance_spot" / "SOLUSDT_1h_2024.csv.gz"
    legs = ("--candles", hours, "--symbol", "BTC-USDT", "--candles", other, "--symbol", "SOL-USDT")
    found = document("--strategy", strategy, *legs, "--out", tmp_path / "run")
    assert [leg["symbol"] for leg in found["legs"]] == ["BTC-USDT", "SOL-USDT"]
    assert {trade["symbol"] for trade in found["trades"]} == {"BTC-USDT", "SOL-USDT"}
    assert (
        found["metrics"]["trades"]
        == len(found["trades"])
        == sum(leg["metrics"]["trades"] for leg in found["legs"])
    )
    gains = sum(leg["gain"] for leg in found["legs"])
    assert found["metrics"]["final_equity"] == pytest.approx(10_000 + gains, rel=1e-12)
    again = run("--manifest", tmp_path / "run" / "manifest.json")
    assert again.exit_code == 0
    assert f"the same result: {found['manifest']['result_hash']}" in again.stderr
    assert (tmp_path / "run" / "trades.csv").read_text().startswith("symbol,strategy,side,")


def test_several_candle_files_without_a_symbol_each_are_wrong_use(strategy: Path, hours: Path) -> None:
    result = run("--strategy", strategy, "--candles", hours, "--candles", hours)
    assert result.exit_code == 2
    assert "'--symbol'" in result.stderr


def test_a_wrong_parameter_is_blamed_on_the_option(strategy: Path, hours: Path) -> None:
    result = run("--strategy", strategy, "--candles", hours, "--param", "fast=99")
    assert isinstance(result.exception, InvalidInput)
    assert [(problem.where, problem.field) for problem in result.exception.problems] == [("--param", "fast")]


def test_parts_and_add_ons_of_a_file_are_traded(strategy: Path, hours: Path, tmp_path: Path) -> None:
    parts = STRATEGY | {
        "protection": {
            "stop_loss": 0.02,
            "take_profit": [{"at": 0.01, "fraction": 0.5}, {"at": 0.03, "fraction": 0.5}],
        },
        "sizing": {"type": "fraction_of_equity", "value": 0.4},
        "add_ons": {"most": 2, "size": 0.5, "every": 0.004},
    }
    path = tmp_path / "parts.json"
    path.write_text(json.dumps(parts))
    trades = document("--strategy", path, "--candles", hours)["trades"]
    by_entry: dict[str, list[str]] = {}
    for trade in trades:
        by_entry.setdefault(trade["entry_time"], []).append(trade["exit_reason"])
    assert any(reasons == ["take_profit", "take_profit"] for reasons in by_entry.values())
    assert any(reasons == ["take_profit", "stop_loss"] for reasons in by_entry.values())
