from __future__ import annotations

import os
from pathlib import Path

import msgspec
import psutil
import pytest
from pydantic import SecretStr

from app.installation import Installation
from app.supervisor import ProcessStatus, State, SupervisorReport
from app.system_desk import ThisInstallation
from config.settings import Settings
from database.repositories.server_repository import ServerRepository

pytestmark = pytest.mark.integration


def test_this_process_and_a_real_server_are_described_and_no_secret_is(
    tmp_path: Path, database_url: str
) -> None:
    installation = Installation(tmp_path)
    me = psutil.Process()
    status = ProcessStatus(
        name="web", pid=os.getpid(), state=State.RUNNING, restarts=1, since_us=0, last_exit=None, detail=""
    )
    report = SupervisorReport(pid=me.pid, created_at_s=me.create_time(), written_at_us=0, processes=(status,))
    installation.processes_file.write_bytes(msgspec.json.encode(report))
    settings = Settings(candlewick_home=tmp_path, database_url=SecretStr(database_url), _env_file=None)
    server = ServerRepository(database_url)
    try:
        desk = ThisInstallation(settings, installation, server, "redis://127.0.0.1:1/0")
        desk.processes()
        (one,) = desk.processes()
        facts = desk.database()
        shown = dict(desk.configuration())
    finally:
        server.close()
    assert one.cpu is not None
    assert (one.memory_bytes or 0) > 2**20
    assert facts.bytes > 2**20
    assert facts.connections >= 1
    assert shown["DATABASE_URL"].startswith("postgresql")
    assert "@" not in shown["DATABASE_URL"]
