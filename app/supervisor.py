"""Keeps child processes and embedded services running, and leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec
import psutil
import structlog

from app.parent_watch import LIFELINE
from data.errors import TradingError
from data.files.stamps import stamp_of
from embedded.processes import launch_command, spawn
from embedded.service_files import LOG_LIMIT_BYTES, log_tail, open_log, write_private

log = structlog.get_logger()

MISCONFIGURED_STATUS = 2  # what our programs exit with on bad input; trying again would not help
# In a child's environment: how often it was started again.
RESTARTS = "CANDLEWICK_RESTARTS"
_POLL_S = 0.05
_SERVICE_POLL_S = 0.25
_READY_CHECK_LIMIT_S = 5.0


class State(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"  # its turn to start has not come
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"  # it died and comes back after a pause
    CRASH_LOOP = "crash loop"  # the same, but it keeps dying and the pause is long
    MISCONFIGURED = "misconfigured"  # it refused what it was given; a person must mend that
    EXITED = "exited"  # it ended and was not to be restarted
    STOPPED = "stopped"  # we ended it


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """A child process: what to run and what to do when it ends."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)  # added to ours
    restart: bool = True
    ready: Callable[[], Awaitable[bool]] | None = None  # None: ready as soon as it runs
    ready_timeout_s: float = 60.0  # after which the others no longer wait for it
    grace_s: float = 10.0  # between SIGTERM and SIGKILL
    settings_file: Path | None = None  # whose change makes it worth another try after it refused its settings


class Service(Protocol):
    """An embedded server such as EmbeddedPostgres; its methods block and are called in a thread."""

    name: str

    @property
    def pid(self) -> int | None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process as it stands now."""

    name: str
    pid: int | None
    state: State
    restarts: int
    since_us: int  # when it entered `state`
    last_exit: int | None  # exit status, or minus the signal's number; None when it never ended
    detail: str  # the last lines it wrote, where it ended badly


class SupervisorReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor last wrote about itself and its processes."""

    pid: int
    created_at_s: (
        float  # the process's start as the kernel gives it: a process id alone may be another's by now
    )
    written_at_us: int
    processes: tuple[ProcessStatus, ...]

    def is_current(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.created_at_s) < 0.05
        except psutil.NoSuchProcess:
            return False


def read_report(path: Path) -> SupervisorReport | None:
    """The report in `path`, or None where no supervisor has written one that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=SupervisorReport)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """How long to wait before the next start."""

    seconds: float
    is_crash_loop: bool


class RestartPolicy:
    """How patiently a process that dies is started again: at once at first, then ever more slowly.

    A life of `steady_s` seconds clears the past; `loop_deaths` shorter lives in a row are a crash loop.
    """

    def __init__(
        self,
        *,
        first_s: float = 0.5,
        longest_s: float = 30.0,
        steady_s: float = 60.0,
        loop_deaths: int = 5,
        loop_pause_s: float = 60.0,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),
    ) -> None:
        self._first_s, self._longest_s, self._steady_s = first_s, longest_s, steady_s
        self._loop_deaths, self._loop_pause_s, self._jitter = loop_deaths, loop_pause_s, jitter
        self._short_lives = 0

    def after_life_of(self, lived_s: float) -> Pause:
        """The pause after a process that lived `lived_s` seconds."""
        self._short_lives = 1 if lived_s >= self._steady_s else self._short_lives + 1
        if self._short_lives >= self._loop_deaths:
            return Pause(seconds=self._loop_pause_s * self._jitter(), is_crash_loop=True)
        backoff_s = min(self._longest_s, self._first_s * 2.0 ** (self._short_lives - 1))
        return Pause(seconds=backoff_s * self._jitter(), is_crash_loop=False)

    def forgive(self) -> None:
        """Forget the deaths so far: a person has asked for a new start."""
        self._short_lives = 0


class _Board(Protocol):
    """Whom the kept processes tell what becomes of them."""

    def changed(self) -> None: ...

    def task_ended(self, task: asyncio.Task[None]) -> None: ...


class _Kept:
    """What is known of one process, whichever kind it is."""

    def __init__(self, name: str, policy: RestartPolicy, board: _Board) -> None:
        self.name = name
        self.policy = policy
        self.state = State.WAITING
        self.since_us = _now_us()
        self.restarts = 0
        self.last_exit: int | None = None
        self.detail = ""
        self.task: asyncio.Task[None] | None = None
        self._board = board

    @property
    def pid(self) -> int | None:
        return None

    @property
    def is_waited_for(self) -> bool:
        """Whether those behind it start only when it is ready."""
        return True

    def enter(self, state: State) -> None:
        self.state = state
        self.since_us = _now_us()
        self._board.changed()

    def status(self) -> ProcessStatus:
        return ProcessStatus(
            name=self.name,
            pid=self.pid,
            state=self.state,
            restarts=self.restarts,
            since_us=self.since_us,
            last_exit=self.last_exit,
            detail=self.detail,
        )

    def keep_by(self, keeping: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Have a task keep it; should the task fail, which is a fault of ours, the board hears of it."""
        self.task = asyncio.create_task(keeping, name=f"keep-{self.name}")
        self.task.add_done_callback(self._board.task_ended)
        return self.task

    async def give_up_task(self) -> None:
        """End the task that keeps it."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait((self.task,))
            self.task = None


class _KeptService(_Kept):
    def __init__(self, service: Service, policy: RestartPolicy, board: _Board) -> None:
        super().__init__(service.name, policy, board)
        self.service = service

    @property
    def pid(self) -> int | None:
        return self.service.pid

    async def start(self) -> None:
        """Raises what the service raises when it cannot start at all."""
        self.enter(State.STARTING)
        await asyncio.to_thread(self.service.start)
        self.enter(State.RUNNING)
        self.keep_by(self._keep())

    async def _keep(self) -> None:
        started_at_s = time.monotonic()
        while True:
            await asyncio.sleep(_SERVICE_POLL_S)
            if self.service.pid is not None:
                continue
            pause = self.policy.after_life_of(time.monotonic() - started_at_s)
            self.enter(State.CRASH_LOOP if pause.is_crash_loop else State.RESTARTING)
            log.warning("service_died", service=self.name, restart_in_s=round(pause.seconds, 1))
            await asyncio.sleep(pause.seconds)
            self.restarts += 1
            started_at_s = time.monotonic()
            try:
                await asyncio.to_thread(self.service.start)
            except (TradingError, OSError) as error:
                self.detail = str(error)
                log.error("service_does_not_start", service=self.name, why=self.detail)
                continue
            self.detail = ""
            self.enter(State.RUNNING)
            log.info("service_is_back", service=self.name, pid=self.service.pid)

    async def stop(self, hurry: asyncio.Event) -> None:
        """`hurry` changes nothing here: a database is never cut short by us."""
        await self.give_up_task()
        await asyncio.to_thread(self.service.stop)
        self.enter(State.STOPPED)


class _KeptChild(_Kept):
    def __init__(
        self,
        spec: ChildSpec,
        policy: RestartPolicy,
        board: _Board,
        *,
        log_path: Path,
        lifeline: int,
        echo: Callable[[str, str], None] | None,
    ) -> None:
        super().__init__(spec.name, policy, board)
        self._spec = spec
        self._log_path = log_path
        self._lifeline = lifeline
        self._echo = echo
        self._echoed = 0  # bytes of the log
        self._began = 0  # where in the log this life's lines begin
        self._process: subprocess.Popen[bytes] | None = None
        self._settled = asyncio.Event()  # ready, or known not to become so

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def is_waited_for(self) -> bool:
        return self._spec.ready is not None

    async def start(self) -> None:
        """Return when it is ready, has failed for good, or has had its time to become ready."""
        self._settled.clear()
        keeping = self.keep_by(self._keep())
        settled = asyncio.create_task(self._settled.wait())
        try:
            await asyncio.wait(
                (settled, keeping), timeout=self._spec.ready_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            settled.cancel()
        if not self._settled.is_set() and not keeping.done():
            self.detail = f"not ready after {self._spec.ready_timeout_s:g} s"
            log.warning("child_not_ready", child=self.name, after_s=self._spec.ready_timeout_s)
            self._board.changed()

    async def _keep(self) -> None:
        while True:
            program = shutil.which(self._spec.argv[0])
            if program is None:
                self.detail = f"there is no program {self._spec.argv[0]}"
                log.error("child_misconfigured", child=self.name, why=self.detail)
                self.enter(State.MISCONFIGURED)
                self._settled.set()
                return
            started_at_s = time.monotonic()
            # Before it reads them itself: a mend that comes while it ends is not missed.
            file = self._spec.settings_file
            read = None if file is None else stamp_of(file)
            try:
                self._process = self._spawn(Path(program))
            except OSError as error:  # no memory or no process left just now
                code, self.detail = None, str(error)
            else:
                code = await self._life(self._process)
                self._end_group(self._process)
                self.detail = log_tail(self._log_path, since=self._began) if code != 0 else ""
            self.last_exit = code
            if code == MISCONFIGURED_STATUS:
                log.error("child_misconfigured", child=self.name, why=self.detail)
                self.enter(State.MISCONFIGURED)
                self._settled.set()
                if file is None:
                    return
                while stamp_of(file) == read:  # noqa: ASYNC110 a file has no event
                    await asyncio.sleep(_SERVICE_POLL_S)
                self.restarts += 1
                continue
            if not self._spec.restart:
                log.info("child_exited", child=self.name, status=code)
                self.enter(State.EXITED)
                self._settled.set()
                return
            pause = self.policy.after_life_of(time.monotonic() - started_at_s)
            self.enter(State.CRASH_LOOP if pause.is_crash_loop else State.RESTARTING)
            log.warning(
                "child_in_crash_loop" if pause.is_crash_loop else "child_died",
                child=self.name,
                status=code,
                restart_in_s=round(pause.seconds, 1),
                why=self.detail,
            )
            if pause.is_crash_loop:
                self._settled.set()
            await asyncio.sleep(pause.seconds)
            self.restarts += 1

    def _spawn(self, program: Path) -> subprocess.Popen[bytes]:
        command = [str(program.absolute()), *self._spec.argv[1:]]
        environment = {
            "PYTHONUNBUFFERED": "1",
            **os.environ,
            **self._spec.env,
            LIFELINE: str(self._lifeline),
            RESTARTS: str(self.restarts),
        }
        # The child writes to the file itself: it neither waits for us nor breaks when we are gone.
        with open_log(self._log_path) as output:
            self._began = self._echoed = output.tell()
            return spawn(
                launch_command(command, on_parent_death=signal.SIGTERM),
                output=output,
                env=environment,
                pass_fds=(self._lifeline,),
            )

    async def _life(self, process: subprocess.Popen[bytes]) -> int:
        """Watch over the process until it ends; returns its exit status, or minus a signal's number."""
        self.enter(State.STARTING)
        log.info("child_started", child=self.name, pid=process.pid)
        while (code := process.poll()) is None:
            if self.state is State.STARTING and await self._is_ready():
                self.detail = ""
                self.enter(State.RUNNING)
                self._settled.set()
            self._follow_log()
            await asyncio.sleep(_POLL_S)
        self._follow_log()
        return code

    async def _is_ready(self) -> bool:
        if self._spec.ready is None:
            return True
        try:
            async with asyncio.timeout(_READY_CHECK_LIMIT_S):
                return await self._spec.ready()
        except (TimeoutError, OSError):
            return False  # nobody listens there yet

    def _follow_log(self) -> None:
        """Echo what is new, and keep the file from growing without end."""
        try:
            size = self._log_path.stat().st_size
        except FileNotFoundError:
            return  # somebody tidied it away; the next life makes it anew
        if self._echo is not None and size > self._echoed:
            with self._log_path.open("rb") as file:
                file.seek(self._echoed)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]  # the rest of an unfinished line comes with its end
            self._echoed += len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                self._echo(self.name, line)
        if size > LOG_LIMIT_BYTES:
            empty_log(self._log_path)
            self._began = self._echoed = 0

    def _end_group(self, process: subprocess.Popen[bytes]) -> None:
        """Kill what is left of a child's session; nothing there is the usual case."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    async def stop(self, hurry: asyncio.Event) -> None:
        """SIGTERM, and SIGKILL after the grace or as soon as `hurry` is set."""
        await self.give_up_task()
        process = self._process
        if process is None or process.poll() is not None:
            if self.state not in (State.MISCONFIGURED, State.EXITED):
                self.enter(State.STOPPED)
            return
        process.send_signal(signal.SIGTERM)
        give_up_at_s = time.monotonic() + self._spec.grace_s
        while process.poll() is None and time.monotonic() < give_up_at_s and not hurry.is_set():
            self._follow_log()
            await asyncio.sleep(_POLL_S)
        if process.poll() is None:
            log.warning("child_killed", child=self.name, after_s=self._spec.grace_s)
        self._end_group(process)
        self.last_exit = process.wait()
        self._follow_log()
        self.enter(State.STOPPED)


class Supervisor:
    """Starts services, then children, in order; keeps them alive; stops them in reverse order.

    Children that did not wait for each other at the start end at the same time.

    Each child writes to `logs/<name>.log`, which is set aside as `<name>.log.1` when it grows past 10 MiB.
    Should the supervisor be killed, its children end within seconds: by the kernel's signal on Linux, and by
    the lifeline that `app.parent_watch.watch_parent` reads on every system.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        logs: Path,
        report_file: Path,
        services: Sequence[Service] = (),
        echo: Callable[[str, str], None] | None = None,
        policy: Callable[[], RestartPolicy] = RestartPolicy,
    ) -> None:
        """`echo` gets the name of a child and one line of its output, as it comes."""
        self._logs = logs
        self._report_file = report_file
        self._echo = echo
        self._policy = policy
        # The write end is in no child; it closes when this process ends, however it ends.
        self._lifeline, self._lifeline_held = os.pipe()
        self._kept: list[_KeptService | _KeptChild] = [
            *(_KeptService(service, policy(), self) for service in services),
            *(self._child(spec) for spec in children),
        ]
        self._stop_asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._fault: BaseException | None = None

    def _child(self, spec: ChildSpec) -> _KeptChild:
        return _KeptChild(
            spec,
            self._policy(),
            self,
            log_path=self._logs / f"{spec.name}.log",
            lifeline=self._lifeline,
            echo=self._echo,
        )

    async def run(
        self, *, started: Callable[[], None] | None = None, stopping: Callable[[], None] | None = None
    ) -> None:
        """Start all, call `started`, wait for SIGINT, SIGTERM or `ask_to_stop`, call `stopping`, stop all.

        SIGINT while stopping (Ctrl-C again) stops waiting for children that take their time. Raises what a
        service raises that cannot start at all; by then everything is stopped again.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.ask_to_stop)
        # An orphan gets SIGTERM twice, from the kernel and by its lifeline: that is no impatience.
        loop.add_signal_handler(signal.SIGTERM, self._stop_asked.set)
        starting = asyncio.create_task(self.start())
        stop_asked = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait((starting, stop_asked), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                if started is not None:
                    started()
                await stop_asked
        finally:
            for task in (starting, stop_asked):
                task.cancel()
            await asyncio.gather(starting, stop_asked, return_exceptions=True)
            if stopping is not None:
                stopping()
            await self.stop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def ask_to_stop(self) -> None:
        """Have `run` stop everything; asked twice, without further patience."""
        if self._stop_asked.is_set():
            self._hurry.set()
        self._stop_asked.set()

    async def start(self) -> None:
        """Start services and children in order, each once the one before it is ready."""
        for kept in self._kept:
            await kept.start()

    async def stop(self) -> None:
        """Stop all in reverse order and return when no process is left. Harmless when called again.

        Raises, at the end, what kept one from being stopped, or the fault of ours that ended a keeping task.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._close_lifeline)
            together: list[_KeptService | _KeptChild] = []
            for kept in self._kept:
                together.append(kept)
                if kept.is_waited_for:
                    stack.push_async_callback(self._stop_together, tuple(together))
                    together = []
            stack.push_async_callback(self._stop_together, tuple(together))
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    async def _stop_together(self, those: Sequence[_KeptService | _KeptChild]) -> None:
        ends = await asyncio.gather(*(kept.stop(self._hurry) for kept in those), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    def _close_lifeline(self) -> None:
        for end in (self._lifeline, self._lifeline_held):
            if end >= 0:
                os.close(end)
        self._lifeline = self._lifeline_held = -1

    async def restart(self, name: str) -> None:
        """Stop the child `name` and start it afresh, forgiving what it did before. Raises KeyError."""
        for kept in self._kept:
            if kept.name == name and isinstance(kept, _KeptChild):
                await kept.stop(self._hurry)
                kept.policy.forgive()
                await kept.start()
                return
        raise KeyError(name)

    async def add(self, spec: ChildSpec) -> None:
        """Start one more child. Raises ValueError when its name is taken."""
        if any(kept.name == spec.name for kept in self._kept):
            raise ValueError(f"there is a process {spec.name} already")
        child = self._child(spec)
        self._kept.append(child)
        await child.start()

    async def remove(self, name: str) -> None:
        """Stop the child `name` and forget it. Raises KeyError."""
        for kept in self._kept:
            if kept.name == name and isinstance(kept, _KeptChild):
                await kept.stop(self._hurry)
                self._kept.remove(kept)
                self.changed()
                return
        raise KeyError(name)

    def status(self) -> tuple[ProcessStatus, ...]:
        """Every process as it stands now, in order of start."""
        return tuple(kept.status() for kept in self._kept)

    def task_ended(self, task: asyncio.Task[None]) -> None:
        """A keeping task has ended: by cancellation, for good reason, or by a fault that must be heard."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("supervisor_fault", task=task.get_name(), exc_info=fault)
            self._fault = self._fault or fault
            self._stop_asked.set()

    def changed(self) -> None:
        """Write the report anew. A disk that takes it not costs the report, never a process."""
        report = SupervisorReport(
            pid=os.getpid(),
            created_at_s=psutil.Process().create_time(),
            written_at_us=_now_us(),
            processes=self.status(),
        )
        try:
            self._report_file.parent.mkdir(parents=True, exist_ok=True)
            write_private(self._report_file, msgspec.json.encode(report).decode())
        except OSError as error:
            log.warning("report_not_written", file=str(self._report_file), why=str(error))


def empty_log(path: Path) -> None:
    """Copy a log that others write to into `<name>.1` and empty it in place.

    Writers append, so they go on at its new end. What is written between the copy's last read and the cut,
    some microseconds, is lost.
    """
    try:
        shutil.copyfile(path, path.with_name(path.name + ".1"))
    except OSError as error:  # a full disk, most likely, which makes the cut the more urgent
        log.warning("log_not_kept", file=str(path), why=str(error))
    os.truncate(path, 0)


def _now_us() -> int:
    return time.time_ns() // 1000
