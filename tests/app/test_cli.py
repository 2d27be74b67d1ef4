"""What every command has in common."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import cli
from data.errors import InvalidInput

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("arguments", [("strategy", "schema"), ("indicators", "--json")])
def test_an_output_without_room_is_told_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            cwd=PROJECT,
            env={"PATH": "/usr/bin:/bin", "CANDLEWICK_HOME": str(tmp_path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode == 1
    assert ended.stderr == "failed: the output cannot be written: No space left on device\n"


def test_a_history_that_begins_in_the_future_is_refused_by_its_own_option() -> None:
    market = ("--venue", "binance", "--symbol", "BTC-USDT")
    span = ("--from", "2999-01-01", "--to", "2999-01-02")
    result = CliRunner().invoke(cli, ["data", "backfill", *market, *span])
    assert isinstance(result.exception, InvalidInput)
    assert str(result.exception) == "--from is 2999-01-01T00:00:00+00:00; expected a time in the past"
