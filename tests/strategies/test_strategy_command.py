from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import cli
from strategies.schema import strategy_schema
from tests.strategies.documents import EXAMPLE, example


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trend.json").write_text(json.dumps(EXAMPLE))
    document = example(timeframe="7m", sizing={"value": 2})
    (tmp_path / "broken.json").write_text(json.dumps(document))
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    environment = {"CANDLEWICK_STRATEGIES": str(folder)}
    return CliRunner(env=environment).invoke(cli, ["strategy", *arguments], catch_exceptions=False)


def test_a_valid_file_gives_its_summary(folder: Path) -> None:
    result = run(folder, "validate", str(folder / "trend.json"), "--param", "fast=20", "--json")
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)["files"]
    assert found["valid"] is True
    assert found["name"] == "ema-cross-with-trend"
    assert found["timeframe"] == "5m"
    assert found["parameters"] == {"fast": 20, "slow": 26}
    assert found["lookback"] == 51 * 12 - 1
    assert found["warmup"] >= found["lookback"]
    assert len(found["version"]) == 64


def test_a_broken_file_gives_every_problem_and_status_2(folder: Path) -> None:
    files = [str(folder / "trend.json"), str(folder / "broken.json")]
    result = run(folder, "validate", *files)
    assert result.exit_code == 2
    assert "trend.json: valid" in result.stdout
    assert 'broken.json: timeframe is "7m"; expected one of' in result.stderr
    assert "broken.json: sizing.value is 2; expected" in result.stderr
    as_json = run(folder, "validate", *files, "--json")
    assert as_json.exit_code == 2
    good, bad = json.loads(as_json.stdout)["files"]
    assert good["valid"]
    assert [problem["field"] for problem in bad["problems"]] == ["timeframe", "sizing.value"]


def test_a_parameter_out_of_bounds_is_bad_input(folder: Path) -> None:
    file = str(folder / "trend.json")
    assert run(folder, "validate", file, "--param", "fast=99").exit_code == 2
    assert run(folder, "validate", file, "--param", "fast").exit_code == 2
    assert run(folder, "validate").exit_code == 2


def test_the_list_shows_broken_files_too(folder: Path) -> None:
    rows = json.loads(run(folder, "list", "--json").stdout)["strategies"]
    assert [(row["template"], row["valid"]) for row in rows] == [("broken", False), ("trend", True)]
    assert "broken: " in run(folder, "list").stdout


def test_the_schema_is_printed(folder: Path) -> None:
    assert json.loads(run(folder, "schema").stdout) == strategy_schema()
    assert run(folder, "schema", "--json").stdout == run(folder, "schema").stdout


def test_a_strategy_is_shown_by_name(folder: Path) -> None:
    shown = run(folder, "show", "trend").stdout
    assert "long.entry: fast crosses above slow and close > trend and rsi < 70" in shown
    assert "trend = SMA 50 1h" in shown
    as_json = json.loads(run(folder, "show", "trend", "--json").stdout)
    assert as_json["definition"] == EXAMPLE
