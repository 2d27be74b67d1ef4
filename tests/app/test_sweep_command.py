from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from app.cli import cli
from tests.backtesting.search.documents import crossover, walk
from tests.integration.processes import PATIENCE_S

PROJECT = Path(__file__).resolve().parents[2]
# The program, which gets a Ctrl-C when it opens the file of its trials for the third time: once to make it,
# once for the first of them, and then.
INTERRUPTED = """
import os, signal, sys
opened = 0

def count(event, arguments):
    global opened
    if event == "open" and str(arguments[0]).endswith("trials.jsonl") and "a" in str(arguments[1]):
        opened += 1
        if opened == 3:
            os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(count)
from app.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The options that name a strategy file and a candle file."""
    strategy = tmp_path / "crossover.json"
    strategy.write_text(json.dumps(crossover()))
    ohlcv = walk(1_500)
    columns = (ohlcv.opened_at_us // 1_000, ohlcv.open, ohlcv.high, ohlcv.low, ohlcv.close, ohlcv.volume)
    lines = [",".join(map(str, row)) for row in zip(*(column.tolist() for column in columns), strict=True)]
    candles = tmp_path / "candles.csv"
    candles.write_text("opened_at,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    return ["sweep", "--strategy", str(strategy), "--candles", str(candles), "--workers", "1"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_json_is_one_document_and_progress_goes_elsewhere(files: list[str]) -> None:
    done = run(*files, "--param", "fast=3:8:1", "--param", "slow=10:30:5", "--json", "--top", "2")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["trials"] == 30
    assert len(document["top"]) == 2
    assert document["verdict"]["sentence"]
    assert "30 of 30 trials" in done.stderr


def test_a_folder_gets_every_trial_and_the_same_search_runs_none_again(
    files: list[str], tmp_path: Path
) -> None:
    ranges = ["--param", "fast=3:8:1", "--param", "slow=20"]
    folder = tmp_path / "out"
    first = run(*files, *ranges, "--out", str(folder), "--json")
    assert first.exit_code == 0
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["fast"]) for row in rows] == [3, 4, 5, 6, 7, 8]
    assert json.loads((folder / "result.json").read_bytes()) == json.loads(first.stdout)
    kept = (folder / "trials.jsonl").read_bytes()
    again = run("sweep", "--resume", str(folder), "--json", "--workers", "1")
    assert again.exit_code == 0
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert (folder / "trials.jsonl").read_bytes() == kept


def test_a_trial_that_was_cut_off_is_run_again(files: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    ranges = ["--param", "fast=3:8:1", "--param", "slow=20"]
    first = run(*files, *ranges, "--out", str(folder), "--json")
    kept = (folder / "trials.jsonl").read_bytes()
    (folder / "trials.jsonl").write_bytes(kept[:-100])
    again = run(*files, *ranges, "--out", str(folder), "--json")
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert (folder / "trials.jsonl").read_bytes() == kept


def test_a_folder_of_another_search_is_left_alone(files: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run(*files, "--param", "fast=3:8:1", "--param", "slow=20", "--out", str(folder))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = run(*files, "--param", "fast=3:9:1", "--param", "slow=20", "--out", str(folder))
    assert "give another folder" in str(other.exception)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--param", "quick=1:2"], "quick"),
        (["--param", "fast=1:5"], "fast"),
        (["--param", "fast=9:5"], "--param"),
        (["--param", "slow=1"], "slow"),
        (["--param", "fast=3:5", "--test-fraction", "1.5"], "test_fraction"),
        (["--param", "fast=3:5", "--folds", "900", "--walk-forward", "rolling"], "candles"),
    ],
)
def test_what_cannot_be_searched_is_named(files: list[str], options: list[str], named: str) -> None:
    refused = run(*files, *options)
    assert refused.exit_code != 0
    assert named in str(refused.exception)
    assert refused.stdout == ""


def test_options_that_exclude_each_other_are_refused(files: list[str]) -> None:
    assert run(*files, "--walk-forward", "rolling", "--test-fraction", "0.2").exit_code == 2
    assert run("sweep", "--candles", "x.csv").exit_code == 2


def test_the_table_ends_with_a_plain_sentence(files: list[str]) -> None:
    shown = run(*files, "--param", "fast=3:8:1", "--param", "slow=10:30:5", "--walk-forward", "anchored")
    assert shown.exit_code == 0
    lines = shown.stdout.strip().splitlines()
    assert lines[-1].startswith("This result ")
    assert any("run again by the engine: the same trades" in line for line in lines)
    assert any("out of sample" in line for line in lines)


@pytest.mark.integration
def test_control_c_keeps_what_was_done_and_resume_finishes_it(files: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        INTERRUPTED,
        *files,
        "--param",
        "fast=2:50:1",
        "--param",
        "slow=60:200:1",
    ]
    interrupted = subprocess.run(
        [*command, "--out", str(folder)], cwd=PROJECT, capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert interrupted.returncode == 1
    assert b"--resume" in interrupted.stderr
    trials = folder / "trials.jsonl"
    kept = trials.read_bytes()
    done = kept.count(b"\n")
    assert 0 < done < 49 * 141
    finished: dict[str, Any] = json.loads(run("sweep", "--resume", str(folder), "--json").stdout)
    assert finished["trials"] == 49 * 141
    assert trials.read_bytes().startswith(kept)
    points = [tuple(json.loads(line)["point"]) for line in trials.read_bytes().splitlines()]
    assert len(np.unique(points, axis=0)) == len(points) == 49 * 141
