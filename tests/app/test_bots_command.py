"""`candlewick bots`: what it asks and points out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.commands.bots import command
from tests.services import new_database, postgres

__all__ = ["new_database", "postgres"]

PROJECT = Path(__file__).resolve().parents[2]


def test_where_nobody_can_be_asked_a_bot_is_deleted_only_with_yes() -> None:
    refused = CliRunner().invoke(command, ["delete", "trend"])
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr


def test_on_a_terminal_a_bot_is_deleted_only_after_a_yes(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"n\n")
        asked = subprocess.run(
            [sys.executable, "-m", "app", "bots", "delete", "trend"],
            cwd=PROJECT,
            env={**os.environ, "CANDLEWICK_HOME": str(tmp_path / "home")},
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert asked.returncode == 1
    assert "Delete trend" in asked.stderr
    assert "Aborted" in asked.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.integration
def test_a_market_that_is_not_recorded_is_pointed_out_and_yes_deletes_the_bot(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    environment = {"DATABASE_URL": new_database(), "CANDLEWICK_HOME": str(tmp_path / "home")}
    bot = {"name": "trend", "venue": "okx", "symbol": "BTC-USDX", "strategy": "macd.json", "capital": 1000}
    (tmp_path / "trend.json").write_text(json.dumps(bot))
    made = CliRunner().invoke(command, ["create", str(tmp_path / "trend.json"), "--json"], env=environment)
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["bot"]["name"] == "trend"
    assert "okx:BTC-USDX is not recorded" in made.stderr
    assert "recorded markets: none yet" in made.stderr
    gone = CliRunner().invoke(command, ["delete", "trend", "--yes", "--json"], env=environment)
    assert json.loads(gone.stdout) == {"deleted": "trend"}
