"""The proof of the market data in short; `scripts/prove data` runs all of it."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.integration.processes import PROJECT, bare_environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_500)]


def test_what_is_stored_is_what_happened_and_deleted_trades_come_back() -> None:
    done = subprocess.run(
        [PROJECT / "scripts" / "prove", "data", "--short", "--json"],
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=1_400,
    )

    assert done.stdout, done.stderr[-3_000:]
    proof = json.loads(done.stdout)
    assert proof["failures"] == []
    for compared in (proof["before_deletion"], proof["after_repair"]):
        assert compared["problems"] == []
        assert compared["trades"] > 5_000
        assert compared["candles"] > 200
        assert compared["minutes"]["missing"] > 0
        assert compared["minutes"]["complete" if compared is proof["before_deletion"] else "repaired"] > 0
    verified = proof["verify"]
    assert (verified["found"], verified["fetched"]) == (1_000, 1_000)
    assert (verified["findings_before"], verified["findings_after"]) == (0, 0)
    assert done.returncode == 0
