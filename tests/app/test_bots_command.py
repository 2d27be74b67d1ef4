"""`candlewick bots`: what it asks and points out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click import Command
from click.testing import CliRunner

from app.commands.bots import command
from app.commands.strategy import command as strategies
from data.errors import InvalidInput

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
    migrated_database: Callable[[], str], tmp_path: Path
) -> None:
    environment = {"DATABASE_URL": migrated_database(), "CANDLEWICK_HOME": str(tmp_path / "home")}
    bot = {"name": "trend", "venue": "okx", "symbol": "BTC-USDX", "strategy": "macd.json", "capital": 1000}
    (tmp_path / "trend.json").write_text(json.dumps(bot))
    made = CliRunner().invoke(command, ["create", str(tmp_path / "trend.json"), "--json"], env=environment)
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["bot"]["name"] == "trend"
    assert "okx:BTC-USDX is not recorded" in made.stderr
    assert "recorded markets: none yet" in made.stderr
    gone = CliRunner().invoke(command, ["delete", "trend", "--yes", "--json"], env=environment)
    assert json.loads(gone.stdout) == {"deleted": "trend"}


@pytest.mark.integration
def test_a_bot_follows_a_saved_strategy_by_its_version(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    environment = {"DATABASE_URL": new_database(), "CANDLEWICK_HOME": str(tmp_path / "home")}

    def told(group: Command, *arguments: str, status: int = 0) -> Any:
        done = CliRunner().invoke(group, [*arguments, "--json"], env=environment)
        assert done.exit_code == status, (done.output, done.exception)
        return json.loads(done.stdout) if status == 0 else done.exception

    rules = json.loads((PROJECT / "config" / "strategies" / "ema_crossover.json").read_text())
    (tmp_path / "mine.json").write_text(json.dumps(rules | {"name": "mine"}))
    saved = told(strategies, "save", str(tmp_path / "mine.json"))
    (tmp_path / "mine.json").unlink()
    bot = {"name": "trend", "venue": "okx", "symbol": "BTC-USDT", "capital": 1000, "parameters": {"fast": 5}}

    def made_of(strategy: str, status: int = 0) -> Any:
        (tmp_path / "bot.json").write_text(json.dumps(bot | {"strategy": strategy}))
        return told(command, "create", str(tmp_path / "bot.json"), status=status)

    version = saved["version"]
    assert isinstance(made_of("mine@000000000000", status=1), InvalidInput)
    assert isinstance(made_of("theirs@" + version[:12], status=1), InvalidInput)
    assert made_of(f"mine@{version[:12]}")["bot"]["name"] == "trend"
