"""The embedded Valkey, for real: a server is started in each test's own folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from data.errors import InstallationError
from embedded.processes import process_is_alive
from embedded.service_files import write_private
from embedded.valkey import EmbeddedValkey

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).resolve().parents[2]
PARENT = """
import sys, time
from pathlib import Path
from embedded.valkey import EmbeddedValkey
home = Path(sys.argv[1])
server = EmbeddedValkey(home, log=home / "logs" / "valkey.log")
server.start()
sys.stdout.write(f"{server.pid}\\n")
sys.stdout.flush()
time.sleep(600)
"""


def server_in(home: Path) -> EmbeddedValkey:
    return EmbeddedValkey(home, log=home / "logs" / "valkey.log")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    server = server_in(tmp_path / "home")
    yield server
    server.stop()


def test_it_answers_on_the_loopback_to_its_password_alone(server: EmbeddedValkey, tmp_path: Path) -> None:
    server.start()
    assert server.running()
    assert server.url().startswith("redis://:")
    with redis.Redis.from_url(server.url()) as client:
        assert client.set("key", "value")
        assert client.config_get("bind")["bind"] == "127.0.0.1"
    stranger = redis.Redis.from_url("redis://" + server.url().split("@")[1])
    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("key")
    home = tmp_path / "home"
    secret = (home / "secrets" / "valkey").read_text().strip()
    assert server.pid is not None
    assert secret not in " ".join(psutil.Process(server.pid).cmdline())
    assert secret not in (home / "logs" / "valkey.log").read_text()
    for private in (home / "secrets" / "valkey", home / "valkey" / "valkey.conf"):
        assert private.stat().st_mode & 0o777 == 0o600


def test_a_killed_server_comes_back_on_its_port(server: EmbeddedValkey) -> None:
    server.start()
    url = server.url()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.running():
        time.sleep(0.001)
    server.start()
    assert server.url() == url
    assert server.running()


def test_address_and_content_outlive_a_regular_end(server: EmbeddedValkey, tmp_path: Path) -> None:
    server.start()
    url = server.url()
    with redis.Redis.from_url(url) as client:
        client.set("key", "value")
    server.stop()
    assert not server.running()
    again = server_in(tmp_path / "home")
    again.start()
    try:
        assert again.url() == url
        with redis.Redis.from_url(url) as client:
            assert client.get("key") == b"value"
    finally:
        again.stop()


def test_it_ends_with_its_parent_and_an_orphan_is_ended_by_the_next_start(
    server: EmbeddedValkey, tmp_path: Path
) -> None:
    for suspended in (False, True):
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(tmp_path / "home")],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        parent.stdout.close()
        if suspended:
            orphan.suspend()  # deaf to the signal its parent's death sends
        parent.kill()
        parent.wait()
        if suspended:
            threading.Timer(0.5, orphan.resume).start()
        else:
            assert psutil.wait_procs([orphan], timeout=60)[0]
        server.start()
        assert not process_is_alive(orphan)
        assert server.running()
        server.stop()


def test_a_taken_port_is_left_to_its_owner(server: EmbeddedValkey, tmp_path: Path) -> None:
    (tmp_path / "home" / "run").mkdir(parents=True)
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        write_private(tmp_path / "home" / "run" / "valkey.port", f"{taken}\n")
        server.start()
        assert f":{taken}/" not in server.url()


def test_a_folder_name_with_quotes_and_blanks_is_no_obstacle(tmp_path: Path) -> None:
    server = server_in(tmp_path / 'a "desk" of \\ mine')
    server.start()
    try:
        assert server.running()
    finally:
        server.stop()


def test_a_second_candlewick_in_the_same_folder_is_refused(server: EmbeddedValkey, tmp_path: Path) -> None:
    server.start()
    with pytest.raises(InstallationError, match="in use by another Candlewick"):
        server_in(tmp_path / "home").start()
    assert server.running()
