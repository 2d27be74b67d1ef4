"""The supervisor, with real child processes; its restart policy alone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from app.parent_watch import LIFELINE, watch_parent
from app.supervisor import (
    ChildSpec,
    ProcessStatus,
    RestartPolicy,
    Service,
    State,
    Supervisor,
    SupervisorReport,
    empty_log,
    read_report,
)
from data.errors import InstallationError
from embedded.processes import process_is_alive
from tests.integration.processes import wait_for

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90.0  # all waiting ends by an event; this end is for a machine with much else to do
SLEEPER = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(600)"


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def even() -> RestartPolicy:
    """Backoff without chance."""
    return RestartPolicy(jitter=lambda: 1.0)


# The policy


def test_a_first_death_is_answered_in_half_a_second_and_the_next_ones_ever_more_slowly() -> None:
    policy = even()
    assert [policy.after_life_of(1.0).seconds for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]


def test_five_short_lives_in_a_row_are_a_crash_loop_with_a_long_pause() -> None:
    policy = even()
    pauses = [policy.after_life_of(1.0) for _ in range(6)]
    assert [pause.is_crash_loop for pause in pauses] == [False] * 4 + [True] * 2
    assert pauses[4].seconds == 60.0


def test_a_long_life_or_forgiveness_clears_the_past() -> None:
    policy = even()
    for _ in range(7):
        policy.after_life_of(1.0)
    assert policy.after_life_of(3600.0).seconds == 0.5
    policy.forgive()
    assert policy.after_life_of(1.0).seconds == 0.5


def test_pauses_are_spread_so_that_children_do_not_start_in_step() -> None:
    pauses = {RestartPolicy().after_life_of(1.0).seconds for _ in range(20)}
    assert len(pauses) > 1
    assert all(0.4 <= pause <= 0.6 for pause in pauses)


# Files


def test_a_report_is_read_back_and_known_to_be_stale_once_its_supervisor_is_gone(tmp_path: Path) -> None:
    assert read_report(tmp_path / "processes.json") is None
    (tmp_path / "processes.json").write_text("{")
    assert read_report(tmp_path / "processes.json") is None
    of_a_stranger = SupervisorReport(pid=os.getpid(), created_at_s=1.0, written_at_us=0, processes=())
    assert not of_a_stranger.is_current()


def test_a_log_is_emptied_under_its_writer_who_goes_on_at_the_new_end(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"old\n")
        empty_log(path)
        writer.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "child.log.1").read_bytes() == b"old\n"


def test_a_process_without_a_supervisor_watches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIFELINE, raising=False)
    assert watch_parent() is False
    monkeypatch.setenv(LIFELINE, "987654")
    assert watch_parent() is False
    assert LIFELINE not in os.environ


# Real children


@asynccontextmanager
async def supervised(
    tmp_path: Path,
    *children: ChildSpec,
    services: Sequence[Service] = (),
    echo: Callable[[str, str], None] | None = None,
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(
        children,
        logs=tmp_path / "logs",
        report_file=tmp_path / "run" / "processes.json",
        services=services,
        echo=echo,
        policy=lambda: RestartPolicy(first_s=0.1, loop_pause_s=600.0, jitter=lambda: 1.0),
    )
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def only(supervisor: Supervisor) -> ProcessStatus:
    [status] = supervisor.status()
    return status


def pid_of(status: ProcessStatus) -> int:
    assert status.pid is not None
    return status.pid


def ready_when(path: Path) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        return path.exists()  # noqa: ASYNC240 - a test's own file

    return ready


@pytest.mark.integration
async def test_a_killed_child_is_back_within_seconds_and_the_report_says_so(tmp_path: Path) -> None:
    async with supervised(tmp_path, ChildSpec(name="web", argv=python(SLEEPER))) as supervisor:
        await until(lambda: only(supervisor).state is State.RUNNING)
        first = pid_of(only(supervisor))
        os.kill(first, signal.SIGKILL)
        await until(lambda: only(supervisor).restarts == 1 and only(supervisor).state is State.RUNNING)
        now = only(supervisor)
        assert now.pid != first
        assert now.last_exit == -signal.SIGKILL
        report = read_report(tmp_path / "run" / "processes.json")
        assert report is not None
        assert report.is_current()
        assert report.processes == (now,)


@pytest.mark.integration
async def test_children_start_in_order_each_when_the_one_before_is_ready_and_stop_in_reverse(
    tmp_path: Path,
) -> None:
    diary = tmp_path / "diary"
    code = (
        "import signal, sys, time; from pathlib import Path\n"
        "diary, mark, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]\n"
        "def write(word):\n"
        "    with diary.open('a') as file: file.write(f'{name} {word}\\n')\n"
        "def end(*_): write('ends'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "write('starts'); time.sleep(0.3); write('is ready'); mark.touch(); time.sleep(600)"
    )
    specs = [
        ChildSpec(
            name=name,
            argv=python(code, str(diary), str(tmp_path / f"{name}-ready"), name),
            ready=ready_when(tmp_path / f"{name}-ready"),
            grace_s=PATIENCE_S,
        )
        for name in ("collectors", "web")
    ]
    async with supervised(tmp_path, *specs) as supervisor:
        assert [status.state for status in supervisor.status()] == [State.RUNNING] * 2
    assert diary.read_text().splitlines() == [
        "collectors starts",
        "collectors is ready",
        "web starts",
        "web is ready",
        "web ends",
        "collectors ends",
    ]
    assert [(status.state, status.pid) for status in supervisor.status()] == [(State.STOPPED, None)] * 2


@pytest.mark.integration
async def test_children_that_did_not_wait_for_each_other_end_at_the_same_time(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; from pathlib import Path\n"
        "mine, other = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "def end(*_):\n"
        "    mine.touch()\n"
        "    while not other.exists(): time.sleep(0.01)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('up', flush=True); time.sleep(600)"
    )
    told = [tmp_path / "bots-told", tmp_path / "jobs-told"]
    specs = [
        ChildSpec(name=name, argv=python(code, *map(str, marks)), grace_s=PATIENCE_S)
        for name, marks in (("bots", told), ("jobs", told[::-1]))
    ]
    async with supervised(tmp_path, *specs) as supervisor:
        logs = [tmp_path / "logs" / f"{spec.name}.log" for spec in specs]
        await until(lambda: all(log.read_text() == "up\n" for log in logs))
    assert [status.last_exit for status in supervisor.status()] == [0, 0]


@pytest.mark.integration
async def test_a_child_that_refuses_its_configuration_is_not_restarted_and_its_words_are_kept(
    tmp_path: Path,
) -> None:
    argv = python("import sys; sys.stderr.write('error: bots/trend.json: fee_bps is -1\\n'); sys.exit(2)")
    async with supervised(tmp_path, ChildSpec(name="bots", argv=argv)) as supervisor:
        await until(lambda: only(supervisor).state is State.MISCONFIGURED)
        await asyncio.sleep(0.4)  # it would be back by now
        status = only(supervisor)
        assert (status.state, status.restarts, status.last_exit) == (State.MISCONFIGURED, 0, 2)
        assert status.detail == "error: bots/trend.json: fee_bps is -1"


@pytest.mark.integration
async def test_a_child_that_refused_its_settings_is_tried_again_when_the_file_changes(tmp_path: Path) -> None:
    settings = tmp_path / "collectors.json"
    settings.write_text("broken")
    argv = python(
        "import pathlib, sys, time\n"
        f"good = pathlib.Path({str(settings)!r}).read_text() == 'good'\n"
        "time.sleep(60) if good else sys.exit(2)"
    )
    spec = ChildSpec(name="collect", argv=argv, settings_file=settings)
    async with supervised(tmp_path, spec) as supervisor:
        await until(lambda: only(supervisor).state is State.MISCONFIGURED)
        settings.write_text("still broken")
        await until(lambda: (only(supervisor).state, only(supervisor).restarts) == (State.MISCONFIGURED, 1))
        settings.write_text("good")
        await until(lambda: (only(supervisor).state, only(supervisor).restarts) == (State.RUNNING, 2))


@pytest.mark.integration
async def test_a_program_that_does_not_exist_is_said_to_be_absent(tmp_path: Path) -> None:
    async with supervised(tmp_path, ChildSpec(name="web", argv=("no-such-program",))) as supervisor:
        assert only(supervisor).state is State.MISCONFIGURED
        assert only(supervisor).detail == "there is no program no-such-program"


@pytest.mark.integration
async def test_a_child_that_keeps_dying_is_a_crash_loop_and_does_not_hold_up_the_others(
    tmp_path: Path,
) -> None:
    async def never() -> bool:
        return False

    dying = ChildSpec(name="bots", argv=python("raise SystemExit('no memory')"), ready=never)
    async with supervised(tmp_path, dying, ChildSpec(name="web", argv=python(SLEEPER))) as supervisor:
        bots, web = supervisor.status()
        assert (bots.state, bots.restarts, bots.detail) == (State.CRASH_LOOP, 4, "no memory")
        assert web.pid is not None
        # A person mends the cause and asks for a new start; the pause of minutes is forgotten.
        await supervisor.restart("web")
        assert supervisor.status()[1].pid not in (None, web.pid)


@pytest.mark.integration
async def test_a_child_that_is_to_run_once_is_left_ended(tmp_path: Path) -> None:
    async with supervised(
        tmp_path, ChildSpec(name="import", argv=python("print('done')"), restart=False)
    ) as supervisor:
        await until(lambda: only(supervisor).state is State.EXITED)
        assert only(supervisor).last_exit == 0
    assert (tmp_path / "logs" / "import.log").read_text() == "done\n"


@pytest.mark.integration
async def test_output_is_logged_and_echoed_with_the_name_of_its_child(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []
    code = "import sys, time; print('to out'); sys.stderr.write('to err\\n'); time.sleep(600)"
    async with supervised(
        tmp_path,
        ChildSpec(name="web", argv=python(code), env={"GREETING": "hello"}),
        echo=lambda name, line: lines.append((name, line)),
    ):
        await until(lambda: len(lines) == 2)
    assert lines == [("web", "to out"), ("web", "to err")]
    assert (tmp_path / "logs" / "web.log").read_text() == "to out\nto err\n"


@pytest.mark.integration
async def test_a_deaf_child_and_what_it_started_are_killed_after_the_grace(tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}])\n{DEAF}"
    async with supervised(tmp_path, ChildSpec(name="web", argv=python(code), grace_s=0.3)) as supervisor:
        await until(lambda: (tmp_path / "logs" / "web.log").read_text() == "deaf\n")
        child = psutil.Process(pid_of(only(supervisor)))
        family = [child, *child.children(recursive=True)]
        assert len(family) == 2
    await until(lambda: not any(process_is_alive(process) for process in family))
    assert only(supervisor).last_exit == -signal.SIGKILL


@pytest.mark.integration
async def test_children_come_and_go_while_the_rest_runs(tmp_path: Path) -> None:
    async with supervised(tmp_path, ChildSpec(name="okx", argv=python(SLEEPER))) as supervisor:
        okx = supervisor.status()[0].pid
        await supervisor.add(ChildSpec(name="binance", argv=python(SLEEPER)))
        with pytest.raises(ValueError, match="binance"):
            await supervisor.add(ChildSpec(name="binance", argv=python(SLEEPER)))
        assert [status.name for status in supervisor.status()] == ["okx", "binance"]
        await supervisor.remove("binance")
        assert [(status.name, status.pid) for status in supervisor.status()] == [("okx", okx)]


class ChildService:
    """A service whose server is a process of ours, or that cannot start when `why` says so."""

    def __init__(self, name: str, why: str = "") -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self._why = why

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def start(self) -> None:
        if self._why:
            raise InstallationError(self._why)
        self.process = subprocess.Popen(python(SLEEPER))

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.mark.integration
async def test_a_killed_service_is_started_again(tmp_path: Path) -> None:
    service = ChildService("postgres")
    async with supervised(tmp_path, services=[service]) as supervisor:
        first = pid_of(only(supervisor))
        os.kill(first, signal.SIGKILL)
        await until(lambda: only(supervisor).restarts == 1 and only(supervisor).state is State.RUNNING)
        assert only(supervisor).pid not in (None, first)
    assert service.pid is None


@pytest.mark.integration
async def test_when_a_service_cannot_start_the_reason_comes_out_and_nothing_stays(tmp_path: Path) -> None:
    fine = ChildService("postgres")
    supervisor = Supervisor(
        [],
        logs=tmp_path / "logs",
        report_file=tmp_path / "processes.json",
        services=[fine, ChildService("valkey", why="no Valkey here")],
    )
    with pytest.raises(InstallationError, match="no Valkey here"):
        await supervisor.run()
    assert fine.pid is None


class StuckService(ChildService):
    """A service that says it cannot be stopped."""

    def stop(self) -> None:
        super().stop()
        raise InstallationError(f"{self.name} is stuck")


@pytest.mark.integration
async def test_what_cannot_be_stopped_keeps_nothing_else_running(tmp_path: Path) -> None:
    first, stuck = ChildService("postgres"), StuckService("valkey")
    supervisor = Supervisor(
        [], logs=tmp_path / "logs", report_file=tmp_path / "processes.json", services=[first, stuck]
    )
    await supervisor.start()
    with pytest.raises(InstallationError, match="valkey is stuck"):
        await supervisor.stop()
    assert first.pid is None


# The supervisor as a process of its own

DESK = """
import asyncio, sys
from pathlib import Path
from app.supervisor import ChildSpec, Supervisor
folder = Path(sys.argv[1])
watcher = "from app.parent_watch import watch_parent; import signal, time\\n"
watcher += "signal.signal(signal.SIGTERM, signal.SIG_IGN); watch_parent(grace_s=0.5)\\n"
watcher += "print('up'); time.sleep(600)"
specs = [
    ChildSpec(name="plain", argv=(sys.executable, "-c", "import time; print('up'); time.sleep(600)")),
    ChildSpec(name="watcher", argv=(sys.executable, "-c", watcher), grace_s=float(sys.argv[2])),
]
async def main():
    supervisor = Supervisor(specs, logs=folder / "logs", report_file=folder / "processes.json")
    await supervisor.run(
        started=lambda: (folder / "started").touch(), stopping=lambda: (folder / "stopping").touch()
    )
asyncio.run(main())
"""


def start_desk(tmp_path: Path, *, grace_s: float) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """A supervisor of two children, one of which is deaf to SIGTERM, and the children."""
    desk = subprocess.Popen(python(DESK, str(tmp_path), str(grace_s)), cwd=PROJECT, stderr=subprocess.DEVNULL)
    logs = [tmp_path / "logs" / f"{name}.log" for name in ("plain", "watcher")]
    give_up_at = time.monotonic() + PATIENCE_S
    while not (
        (tmp_path / "started").exists() and all(log.exists() and log.read_text() == "up\n" for log in logs)
    ):
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    report = read_report(tmp_path / "processes.json")
    assert report is not None
    return desk, [psutil.Process(pid_of(status)) for status in report.processes]


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    desk, children = start_desk(tmp_path, grace_s=0.3)
    desk.send_signal(number)
    assert desk.wait(PATIENCE_S) == 0
    assert not any(process_is_alive(child) for child in children)
    report = read_report(tmp_path / "processes.json")
    assert report is not None
    assert {status.state for status in report.processes} == {State.STOPPED}
    assert not report.is_current()


@pytest.mark.integration
def test_ctrl_c_again_ends_the_patience(tmp_path: Path) -> None:
    desk, children = start_desk(tmp_path, grace_s=2 * PATIENCE_S)
    desk.send_signal(signal.SIGINT)
    wait_for("the stopping", (tmp_path / "stopping").exists, timeout_s=PATIENCE_S)
    desk.send_signal(signal.SIGINT)
    assert desk.wait(PATIENCE_S) == 0
    assert not any(process_is_alive(child) for child in children)


@pytest.mark.integration
def test_an_orphan_that_is_told_twice_to_end_still_gives_its_children_their_time(tmp_path: Path) -> None:
    grace_s = 2.0
    desk, children = start_desk(tmp_path, grace_s=grace_s)
    told_at = time.monotonic()
    desk.send_signal(signal.SIGTERM)
    wait_for("the stopping", (tmp_path / "stopping").exists, timeout_s=PATIENCE_S)
    desk.send_signal(signal.SIGTERM)
    assert desk.wait(PATIENCE_S) == 0
    assert time.monotonic() - told_at >= grace_s  # one of them is deaf, and was waited for
    assert not any(process_is_alive(child) for child in children)


@pytest.mark.integration
def test_children_end_within_seconds_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    desk, children = start_desk(tmp_path, grace_s=2 * PATIENCE_S)
    desk.kill()
    desk.wait()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert not [child for child in alive if process_is_alive(child)]
