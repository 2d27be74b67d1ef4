"""Servers and children as processes: started so that they end with us, found again, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

LAUNCHER = Path(__file__).with_name("launch.py")

# The kernel ties a child to the *thread* that forked it, so a pool's worker that retires would take its
# children along. Those of other threads than the main one are therefore forked by this one, which stays.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """As whom a program runs, for servers that refuse root."""

    name: str  # for people: "user namespace"
    arguments: tuple[str, ...] = ()  # for launch.py
    owner: tuple[int, int] | None = None  # user and group ids that must own its files; None: ours


def launch_command(
    program: Sequence[str],
    *,
    on_parent_death: signal.Signals,
    identity: Identity | None = None,
    writable: Path | None = None,
) -> list[str]:
    """The command that runs `program` (its path absolute) tied to this process."""
    command = [sys.executable, "-I", "-S", str(LAUNCHER)]
    command += ["--parent", str(os.getpid()), "--signal", str(int(on_parent_death))]
    if identity is not None:
        command += identity.arguments
    if writable is not None:
        command += ["--writable", str(writable)]
    return [*command, "--", *program]


def spawn(
    command: Sequence[str],
    *,
    output: IO[bytes] | int,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command` in its own session: Ctrl-C in our terminal reaches us alone, we stop it in order."""

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )

    if threading.current_thread() is threading.main_thread():
        return start()
    return _spawner.submit(start).result()


def processes_in(folder: Path, names: Sequence[str]) -> list[psutil.Process]:
    """Live processes of ours working in `folder` whose program is one of `names`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() in names and process.cwd() == str(folder.resolve()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process_is_alive(process)]


def works_in(process: psutil.Process, folder: Path) -> bool:
    """Whether `process` stands in `folder`, as servers do in their data folder; yes where we may not look."""
    try:
        return process.cwd() == str(folder.resolve())
    except psutil.AccessDenied:
        return True


def process_is_alive(process: psutil.Process) -> bool:
    """Whether it runs still; a zombie has ended, whoever has yet to collect it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_processes(processes: Sequence[psutil.Process], steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send each step's signal to those still alive and wait its seconds; True when all are gone."""
    left = [process for process in processes if process_is_alive(process)]
    for number, patience_s in steps:
        for process in left:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        _, left = psutil.wait_procs(left, timeout=patience_s)
        left = [process for process in left if process_is_alive(process)]
        if not left:
            return True
    return not left


def end_child(child: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """As `end_processes`, for a process that we started and must collect."""
    for number, patience_s in steps:
        if child.poll() is not None:
            return True
        child.send_signal(number)
        wait_for_end(child, patience_s)
    return child.poll() is not None


def wait_for_end(child: subprocess.Popen[bytes], patience_s: float) -> None:
    """Return when `child` has ended, or after `patience_s` seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=patience_s)
