"""`candlewick simulate` as people start it: a real process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.commands.simulate import command
from data.errors import InvalidInput
from tests.integration.processes import PATIENCE_S, wait_for

PROJECT = Path(__file__).resolve().parents[2]


def simulate(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app", "simulate", *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = simulate("--port", "0", "--json", *arguments)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
        return json.load(response)


def failed(*arguments: str) -> str:
    process = simulate(*arguments)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert output == ""
    return errors.splitlines()[-1]


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_ends_when_told(number: signal.Signals) -> None:
    with running("--symbols", "BTC-USDT") as (process, url):
        assert get(url + "/api/v3/ping") == {}
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.integration
def test_a_second_start_goes_on_with_the_same_market(tmp_path: Path) -> None:
    state = str(tmp_path / "kept" / "market.json")
    path = "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1000&limit=100"
    with running("--state", state, "--seed", "11", "--rate", "2") as (_, url):
        first = get(url + path)
    with running("--state", state) as (_, url):
        assert get(url + path) == first
        assert get(url + "/sim/state")["source"]["seed"] == 11
    assert "--seed is 12; with" in failed("--state", state, "--seed", "12")


@pytest.mark.integration
def test_a_taken_port_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is taken" in failed("--port", str(port))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--symbols", "NO-SUCH"], "--symbols is NO-SUCH; one of BTC-USDT"),
        (["--symbols", ","], "--symbols"),
        (["--frames", "no-such-file"], "no-such-file"),
        (["--speed", "max"], "--speed is max; to be given together with --frames only"),
        (["--faults", "no-such-plan.json"], "no-such-plan.json"),
    ],
)
def test_wrong_use_names_the_option(arguments: list[str], message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        command.main(["--port", "0", *arguments], standalone_mode=False)
    assert message in str(refused.value)


@pytest.mark.integration
def test_frames_with_a_fault_plan(tmp_path: Path) -> None:
    frames, plan = tmp_path / "frames.log", tmp_path / "plan.json"
    frames.write_text(
        '{"e":"trade","E":1,"s":"BTCUSDT","t":9,"p":"5.10","q":"1","T":1723161255342,"m":true,"M":true}\n'
    )
    plan.write_text('[{"fault": "rest_error", "status": 503, "path": "klines"}]')
    options = ("--frames", str(frames), "--speed", "max", "--start", "immediately", "--faults", str(plan))
    with running(*options) as (_, url):
        wait_for("the end", lambda: get(url + "/sim/state")["source"]["state"] == "finished")
        assert [row["id"] for row in get(url + "/api/v3/trades?symbol=BTCUSDT")] == [9]
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(url + "/api/v3/klines?symbol=BTCUSDT&interval=1m")
