"""`candlewick backtest --each`: many independent runs, and who computes them makes no difference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.commands.backtest import command
from data.errors import InvalidInput
from tests.backtesting.test_backtest_command import STRATEGY, document

REVERSION = {
    "name": "reversion",
    "timeframe": "1h",
    "indicators": {"rsi": {"type": "rsi", "period": 14}},
    "long": {"entry": {"lt": ["rsi", 30]}, "exit": {"gt": ["rsi", 60]}},
    "protection": {"stop_loss": 0.004, "take_profit": 0.004},
    "sizing": {"type": "fraction_of_equity", "value": 0.5},
}


@pytest.fixture
def asked(tmp_path: Path, shared_data: Path) -> list[str]:
    """Two strategies on two symbols."""
    files = []
    for written in (STRATEGY, REVERSION):
        path = tmp_path / f"{written['name']}.json"
        path.write_text(json.dumps(written))
        files += ["--strategy", str(path)]
    candles = shared_data / "candles" / "binance_spot"
    for name in ("BTC", "SOL"):
        files += ["--candles", str(candles / f"{name}USDT_1h_2024.csv.gz"), "--symbol", f"{name}-USDT"]
    return [*files, "--no-rounding"]


def each(*arguments: str) -> Result:
    result = CliRunner().invoke(command, ["--each", *arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def runs_of(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(each(*arguments, "--json").stdout)["runs"]
    return found


def test_every_run_is_what_it_would_be_alone(asked: list[str]) -> None:
    runs = runs_of(*asked, "--workers", "1")
    assert [(run["strategy"], run["symbol"]) for run in runs] == [
        (strategy, symbol) for strategy in ("cross", "reversion") for symbol in ("BTC-USDT", "SOL-USDT")
    ]
    for run in runs:
        source = run["manifest"]["source"]
        alone = document("--strategy", source["strategy"], "--candles", source["candles"], "--no-rounding")
        assert run["manifest"]["result_hash"] == alone["manifest"]["result_hash"]
        assert run["metrics"] == alone["metrics"]


def test_smaller_candles_decide_as_in_a_run_alone(tmp_path: Path, shared_data: Path) -> None:
    path = tmp_path / "reversion.json"
    path.write_text(json.dumps(REVERSION))
    minutes = shared_data / "candles" / "binance_spot" / "BTCUSDT_5m_2024.csv.gz"
    arguments = ["--strategy", str(path), "--candles", str(minutes), "--no-rounding"]
    [run] = runs_of(*arguments, "--workers", "1")
    alone = document(*arguments)
    assert run["manifest"]["finer_candles"] == alone["manifest"]["finer_candles"] > 0
    assert run["manifest"]["result_hash"] == alone["manifest"]["result_hash"]
    assert run["metrics"] == alone["metrics"]


def test_a_table_and_a_folder_for_each_run_are_written(asked: list[str], tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shown = each(*asked, "--workers", "1", "--out", str(out)).stdout
    assert "4 runs, each with a capital of its own" in shown
    assert sorted(path.name for path in out.iterdir()) == [
        "cross-BTC-USDT",
        "cross-SOL-USDT",
        "reversion-BTC-USDT",
        "reversion-SOL-USDT",
        "runs.csv",
        "runs.json",
    ]
    assert (out / "cross-SOL-USDT" / "report.html").exists()
    assert len((out / "runs.csv").read_text().splitlines()) == 5


def test_the_same_command_goes_on_where_it_was_stopped(asked: list[str], tmp_path: Path) -> None:
    out = tmp_path / "runs"
    whole = runs_of(*asked, "--workers", "1", "--out", str(out))
    lost = out / "cross-SOL-USDT"
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/result.json") if path.parent != lost}
    for file in lost.iterdir():
        file.unlink()
    again = each(*asked, "--workers", "1", "--out", str(out), "--json")
    assert "3 runs were done already" in again.stderr
    assert json.loads(again.stdout)["runs"] == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (lost / "result.json").exists()


def test_runs_of_other_terms_are_run_anew(asked: list[str], tmp_path: Path) -> None:
    out = tmp_path / "runs"
    before = runs_of(*asked, "--workers", "1", "--out", str(out))
    after = each(*asked, "--workers", "1", "--out", str(out), "--fee-bps", "25", "--json")
    assert "done already" not in after.stderr
    hashes = [
        [run["manifest"]["result_hash"] for run in runs]
        for runs in (before, json.loads(after.stdout)["runs"])
    ]
    assert not set(hashes[0]) & set(hashes[1])


@pytest.mark.parametrize(
    "more",
    [
        ["--bot", "bot.json"],
        ["--finer", "trades.csv"],
        ["--manifest", "manifest.json"],
    ],
)
def test_what_does_not_go_with_independent_runs_is_wrong_use(more: list[str], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    result = CliRunner().invoke(command, ["--each", "--strategy", "macd", *more])
    assert result.exit_code == 2 or isinstance(result.exception, InvalidInput)


def test_the_same_strategy_twice_on_a_symbol_is_refused(asked: list[str]) -> None:
    result = CliRunner().invoke(command, ["--each", *asked, *asked[:2]])
    assert isinstance(result.exception, InvalidInput)
    assert "once" in result.exception.problems[0].expected


def test_workers_without_several_runs_are_wrong_use(asked: list[str]) -> None:
    one = [asked[0], asked[1], *asked[4:6]]
    result = CliRunner().invoke(command, [*one, "--workers", "2"])
    assert result.exit_code == 2
    assert "--workers" in result.stderr


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as made:
        yield made.scheduler_address


@pytest.mark.integration
def test_processes_and_a_cluster_find_what_this_process_finds(asked: list[str], cluster: str) -> None:
    minutes = asked[5].replace("BTCUSDT_1h", "BTCUSDT_5m")
    asked = [*asked[:5], minutes, *asked[6:]]
    here = each(*asked, "--workers", "1", "--json").stdout
    assert each(*asked, "--workers", "2", "--json").stdout == here
    assert each(*asked, "--scheduler", cluster, "--json").stdout == here


@pytest.mark.integration
def test_signals_of_runs_that_share_a_capital_may_come_from_anywhere(asked: list[str], cluster: str) -> None:
    here = document(*asked, "--workers", "1")
    assert document(*asked, "--workers", "2") == here
    assert document(*asked, "--scheduler", cluster) == here
    assert document(*asked) == here
