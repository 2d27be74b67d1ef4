"""What every command has in common."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
