"""Has strategies checked by a process of their own, and loads those that passed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from data.errors import InvalidInput, Problem, TransientError
from data.timeframes import Timeframe
from strategies.python.check import CheckReport, CheckRequest, Finding
from strategies.python.confine import Limits
from strategies.python.source import load_source, read_source
from strategies.python.strategy import LoadedPythonStrategy

_LARGEST_REPORT = 1_000_000  # bytes

Checker = Callable[[CheckRequest], CheckReport]


class ProcessChecker:
    """Runs each check in a fresh process, which gets neither our environment nor our open files."""

    def __init__(self, command: Sequence[str], *, limits: Limits | None = None) -> None:
        """`command` starts the checking process; `app.processes.strategy_check` says what it must do."""
        self._command = list(command)
        self._limits = Limits() if limits is None else limits

    def __call__(self, request: CheckRequest) -> CheckReport:
        """What the check found. A process that dies or takes too long is a finding as well.

        Raises TransientError if the process cannot be started.
        """
        question = msgspec.json.encode({"request": request, "limits": self._limits})
        # Threads of linear algebra count against the memory limit; one is enough for a check.
        environment = {
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd=Path(__file__).resolve().parents[2],
                start_new_session=True,
            )
        except OSError as error:
            raise TransientError(f"the strategy check cannot be started: {error}") from error
        try:
            answer, _ = process.communicate(question, timeout=self._limits.wall_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return _refused(f"no end after {self._limits.wall_s:g} s", "a check must end by itself")
        return self._read(answer, process.returncode)

    def _read(self, answer: bytes, status: int) -> CheckReport:
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return _refused(
                "its process was ended by the system",
                f"a check may use {self._limits.cpu_s} s of processor time and "
                f"{self._limits.memory_bytes >> 20:,} MiB of memory",
            )
        if status != 0 or len(answer) > _LARGEST_REPORT:
            return _refused(f"its process ended with status {status}", "a check must end by itself")
        try:
            return msgspec.json.decode(answer, type=CheckReport)
        except msgspec.DecodeError:
            return _refused("its process gave no readable report", "a check must end by itself")


class PythonStrategyFactory:
    """Loads Python strategies from files and texts; code that was refused is never run in this process.

    A verdict is remembered for the same text, parameters and time frame as long as the factory lives.
    """

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._verdicts: dict[bytes, CheckReport] = {}

    def load(
        self,
        path: Path,
        parameters: Mapping[str, float | str] | None = None,
        timeframe: Timeframe | str | None = None,
    ) -> LoadedPythonStrategy:
        """The strategy in the file at `path`, named like it. Raises InvalidInput if it did not pass."""
        return self.load_text(read_source(path), str(path), path.stem, parameters, timeframe)

    def load_text(
        self,
        source: str,
        where: str,
        name: str,
        parameters: Mapping[str, float | str] | None = None,
        timeframe: Timeframe | str | None = None,
    ) -> LoadedPythonStrategy:
        """The strategy in `source`; `where` names it in problems. Raises InvalidInput if it did not pass."""
        request = CheckRequest(
            source=source,
            where=where,
            name=name,
            parameters=dict(parameters or {}),
            timeframe=None if timeframe is None else str(timeframe),
        )
        report = self.verdict(request)
        if not report.passed:
            raise InvalidInput(*problems_of(report, where))
        return load_source(
            source, where, name=name, parameters=request.parameters, timeframe=request.timeframe
        )

    def verdict(self, request: CheckRequest) -> CheckReport:
        """What the check says of `request`, asked for once."""
        key = msgspec.json.encode(request)
        if key not in self._verdicts:
            self._verdicts[key] = self._checker(request)
        return self._verdicts[key]


def problems_of(report: CheckReport, where: str) -> list[Problem]:
    """Why a report did not pass, as problems of the file."""
    found = [
        Problem(where=where, field=one.field, value=one.value, expected=one.expected)
        for one in report.findings
    ]
    if not found and report.badge is not None:
        found = [
            Problem(
                where=where,
                field="signals",
                value=report.badge.words,
                expected="a signal may depend on its own candle and those before it alone",
            )
        ]
    return found


def _refused(value: str, expected: str) -> CheckReport:
    return CheckReport(findings=(Finding(field="", value=value, expected=expected),))
