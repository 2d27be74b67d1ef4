"""What `candlewick status` says, also when part of it cannot be found out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from click.testing import CliRunner

from app.commands.status import command
from app.installation import Installation, Mode, RunningServices, this_process
from app.supervisor import ProcessStatus, State, SupervisorReport

NOWHERE = "redis://:hidden@127.0.0.1:1/0"


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Installation:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDLEWICK_HOME", str(tmp_path / "home"))
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return Installation(tmp_path / "home")


def report(path: Path, *names: str) -> None:
    """A report as a living supervisor leaves it."""
    processes = [
        ProcessStatus(
            name=name, pid=7, state=State.RUNNING, restarts=0, since_us=0, last_exit=None, detail=""
        )
        for name in names
    ]
    written = SupervisorReport(
        pid=os.getpid(),
        created_at_s=psutil.Process().create_time(),
        written_at_us=0,
        processes=tuple(processes),
    )
    path.write_bytes(msgspec.json.encode(written))


def status(exit_code: int) -> tuple[dict[str, Any], str]:
    """The JSON document and the text."""
    document = CliRunner().invoke(command, ["--json"])
    text = CliRunner().invoke(command, [])
    assert (document.exit_code, text.exit_code) == (exit_code, exit_code), text.output
    return json.loads(document.stdout), text.stdout


def test_every_process_is_shown_though_the_bus_is_away(installation: Installation) -> None:
    pid, started_at = this_process()
    installation.announce(
        RunningServices(
            pid=pid, started_at=started_at, database_url="", redis_url=NOWHERE, mode=Mode.SIMULATED
        )
    )
    report(installation.processes_file, "collect", "web")
    report(installation.collectors_file, "collector-binance", "collector-okx")
    document, text = status(exit_code=0)
    assert document["running"] is True
    shown = [process["name"] for process in document["processes"]]
    assert shown == ["collect", "web", "collector-binance", "collector-okx"]
    assert "cannot be reached" in document["bus_problem"]
    assert "hidden" not in text
    assert all(words in text for words in (*shown, "could not be asked"))


def test_nothing_runs_where_nothing_does(installation: Installation) -> None:
    document, text = status(exit_code=1)
    assert document["running"] is False
    assert document["bus_problem"] is None
    assert text.startswith("nothing runs in")


def test_parts_with_servers_of_their_own_are_said_to_be_unknown(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://desk:hidden@127.0.0.1:1/desk")
    monkeypatch.setenv("REDIS_URL", NOWHERE)
    document, text = status(exit_code=1)
    assert document["running"] is None
    assert "nothing runs" not in text
    assert "not known here" in text
    report(installation.collectors_file, "collector-okx")
    document, text = status(exit_code=0)
    assert document["running"] is True
    assert "collector-okx" in text
