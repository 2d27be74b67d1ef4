"""The folder an installation lives in: its parts, its lock, and the note that says what runs."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec
import psutil

from data.errors import InstallationError


class Mode(StrEnum):
    """Whose trades the database holds; the two never share one."""

    REAL = "real"
    SIMULATED = "simulated"


class RunningServices(msgspec.Struct, frozen=True, kw_only=True):
    """What the process that started the services tells other commands. Holds passwords: mode 0600."""

    pid: int
    started_at: float  # of that process, to tell it from a later one with the same pid
    database_url: str
    redis_url: str
    mode: Mode
    web_url: str | None = None
    venue_url: str | None = None  # of the simulated venue

    @property
    def alive(self) -> bool:
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started_at) < 1
        except psutil.NoSuchProcess:
            return False


class Installation:
    """One CANDLEWICK_HOME. Creates the folder; raises InstallationError where it cannot be written."""

    def __init__(self, home: Path) -> None:
        self.home = home
        try:
            for folder in (home, self.run, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.run / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InstallationError(
                f"the folder {home} cannot be written ({error.strerror}); "
                "make it writable or name another one in CANDLEWICK_HOME"
            ) from error

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def processes_file(self) -> Path:
        """Where the supervisor writes what it runs."""
        return self.run / "processes.json"

    @property
    def bots_file(self) -> Path:
        """What the bots' manager says of its runner processes."""
        return self.run / "bots.json"

    @property
    def collectors_file(self) -> Path:
        """Where the manager of the collectors writes what it runs."""
        return self.run / "collectors.json"

    @property
    def mode(self) -> Mode:
        """The mode of the last `up`; commands that come after it look into the same database."""
        return mode_of(self.home)

    def remember_mode(self, mode: Mode) -> None:
        (self.run / "mode").write_text(mode.value)

    def running(self) -> RunningServices | None:
        """The services another process of this installation runs, or None."""
        return running_in(self.home)

    def announce(self, services: RunningServices) -> None:
        """Tell other commands of this installation where the services are."""
        note = _note_of(self.home)
        partial = note.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(services))
        partial.replace(note)

    def withdraw(self) -> None:
        _note_of(self.home).unlink(missing_ok=True)

    @contextmanager
    def services_lock(self, *, timeout_s: float) -> Iterator[None]:
        """Hold the right to run this installation's services; only one process has it at a time.

        Raises InstallationError when another process still has it after `timeout_s`.
        """
        with (self.run / "services.lock").open("a") as file:
            give_up_at = time.monotonic() + timeout_s
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= give_up_at:
                        raise InstallationError(self._who_runs()) from None
                    time.sleep(0.1)
            yield

    def _who_runs(self) -> str:
        services = self.running()
        if services is None:
            return f"another command is using the services in {self.home}; wait for it to end and try again"
        place = f" at {services.web_url}" if services.web_url else ""
        return (
            f"Candlewick already runs in {self.home} (process {services.pid}){place}; "
            "stop it first, or set CANDLEWICK_HOME to another folder"
        )


def mode_of(home: Path) -> Mode:
    """The mode of the last `up` in that folder, looked up without making anything."""
    try:
        return Mode((home / "run" / "mode").read_text().strip())
    except (OSError, ValueError):
        return Mode.REAL


def running_in(home: Path) -> RunningServices | None:
    """What runs in that folder, as far as this user can tell, looked up without making anything."""
    try:
        services = msgspec.json.decode(_note_of(home).read_bytes(), type=RunningServices)
    except (OSError, msgspec.DecodeError):
        return None
    return services if services.alive else None


def _note_of(home: Path) -> Path:
    return home / "run" / "services.json"


def this_process() -> tuple[int, float]:
    """Our pid and start time, as RunningServices wants them."""
    process = psutil.Process()
    return process.pid, process.create_time()
