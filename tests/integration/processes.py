"""Start the real program in processes of its own, and end it for sure."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")
# All waiting ends by what it waits for; this end is for a machine with much else to do.
PATIENCE_S = 150.0
PROJECT = Path(__file__).resolve().parents[2]


class Program:
    """`candlewick …` as a child of the test, its standard error kept for the message of a failing test."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], log: Path) -> None:
        self.arguments = arguments
        self.log = log
        self._lines: queue.Queue[str] = queue.Queue()
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app", *arguments],
                cwd=PROJECT,
                env={**bare_environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self._lines.put(line)

    def line(self, *, timeout_s: float = PATIENCE_S) -> str:
        """The next line of standard output."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self._lines.get(timeout=0.1)
            except queue.Empty:
                if self.process.poll() is not None and self._lines.empty():
                    raise AssertionError(
                        f"{self} ended with {self.process.returncode}\n{self.told()}"
                    ) from None
                if time.monotonic() > deadline:
                    raise AssertionError(f"{self} said nothing for {timeout_s} s\n{self.told()}") from None

    def json_line(self, *, timeout_s: float = PATIENCE_S) -> Any:
        return json.loads(self.line(timeout_s=timeout_s))

    def kill(self) -> None:
        """`kill -9`, and nothing else."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)

    def end(self, *, timeout_s: float = PATIENCE_S) -> int:
        """Ask it to end as Ctrl-C would; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                family = [*psutil.Process(self.process.pid).children(recursive=True)]
                self.kill()
                for child in family:
                    child.kill()
                raise AssertionError(f"{self} did not end within {timeout_s} s\n{self.told()}") from None
        self._reader.join(PATIENCE_S)
        return self.process.returncode

    def told(self) -> str:
        """The end of what it wrote to standard error."""
        return self.log.read_text(errors="replace")[-4_000:]

    def __str__(self) -> str:
        return f"candlewick {' '.join(self.arguments)}"


@contextmanager
def running(*arguments: str, environment: Mapping[str, str], log: Path) -> Iterator[Program]:
    """The program, ended when the block is left."""
    program = Program(*arguments, environment=environment, log=log)
    try:
        yield program
    finally:
        program.end()


def candlewick(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=PROJECT,
        env={**bare_environment(), "CANDLEWICK_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
    )


def bare_environment() -> dict[str, str]:
    """Our environment without anything that would configure the program."""
    prefixes = ("CANDLEWICK_", "DATABASE_URL", "REDIS_URL", "OKX_", "BINANCE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def free_port() -> int:
    """A port that nobody listens on.

    It lies below those that systems hand out by themselves, so that nobody gets it by chance before its use.
    """
    for port in random.sample(range(15_000, 30_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def wait_for(what: str, look: Callable[[], T | None], *, timeout_s: float = PATIENCE_S) -> T:
    """Look until there is something to see, which is returned."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what} in vain; last seen: {found!r}")
        time.sleep(0.1)
