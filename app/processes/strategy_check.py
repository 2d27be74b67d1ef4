"""The process that checks one Python strategy: a request on standard input, a report on standard output."""

from __future__ import annotations

import importlib
import os
import sys
import time

import msgspec

from strategies.python.check import CheckReport, CheckRequest, Finding, check
from strategies.python.checker import ProcessChecker, PythonStrategyFactory
from strategies.python.confine import Limits, confine

COMMAND = (sys.executable, "-m", "app.processes.strategy_check")
# Loaded before the limits, because their own set-up reads files and calls foreign functions.
_BEFOREHAND = (
    "decimal",
    "statistics",
    "talib",
    "strategies.indicators.registry",
    "strategies.higher_timeframe",
)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What `ProcessChecker` sends."""

    request: CheckRequest
    limits: Limits


def strategy_checker() -> ProcessChecker:
    """Checks strategies in processes like this one."""
    return ProcessChecker(COMMAND)


def python_strategies() -> PythonStrategyFactory:
    """Loads Python strategies that passed such a check."""
    return PythonStrategyFactory(strategy_checker())


def main() -> None:
    """Read the question, confine this process, check, answer."""
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    for module in _BEFOREHAND:
        importlib.import_module(module)
    # Nothing the strategy prints may stand in the report.
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    refused = confine(question.limits)
    # Processor time: on a busy machine a proof is slower, not shorter. The clock's limit is our parent's.
    report = check(question.request, time.thread_time)
    if refused and report.passed:
        # It reached out and hid the refusal in a `try`.
        finding = Finding(
            field="", value=refused[0], expected="a strategy has no business outside of its candles"
        )
        report = CheckReport(findings=(finding,))
    os.write(answer, msgspec.json.encode(report))


if __name__ == "__main__":
    main()
