"""Pieces of work come back whole, in whatever order, and may be asked for again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backtesting import workers
from backtesting.workers import HERE, Pieces, Workers, spread
from data.errors import TransientError
from data.kernel_cache import PROJECT


def square(number: int) -> int:
    return number * number


def tasks(count: int) -> Iterator[tuple[str, int]]:
    for number in range(count):
        yield f"task {number}", number


SQUARES = {f"task {number}": number * number for number in range(9)}


@pytest.mark.parametrize("who", [HERE, Workers()])
def test_every_task_is_answered_once(who: Workers) -> None:
    assert dict(spread(Pieces(call=square, total=9), tasks(9), who)) == SQUARES


def end_of_this_process(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_process_that_is_killed_is_told_in_a_sentence() -> None:
    with pytest.raises(TransientError, match="ended from outside, as happens where memory runs short"):
        list(spread(Pieces(call=end_of_this_process, total=2), tasks(2), Workers(count=2)))


def test_tasks_are_asked_for_only_as_they_can_be_worked_on() -> None:
    asked: list[int] = []

    def one_by_one() -> Iterator[tuple[int, int]]:
        for number in range(5):
            asked.append(number)
            yield number, number

    answers = spread(Pieces(call=square, total=5), one_by_one(), HERE)
    next(answers)
    assert asked == [0]


def test_a_task_that_must_be_done_again_is_answered_by_its_last_doing() -> None:
    def again(key: str, answer: int) -> int | None:
        return answer if 1 < answer < 100 else None

    assert dict(spread(Pieces(call=square, again=again, total=4), tasks(4), HERE)) == {
        "task 0": 0,
        "task 1": 1,
        "task 2": 256,
        "task 3": 6_561,
    }


def test_fewer_tasks_than_were_expected_are_no_trouble() -> None:
    for who in (HERE, Workers()):
        assert len(list(spread(Pieces(call=square, total=9), tasks(2), who))) == 2


@pytest.mark.integration
def test_processes_take_over_where_they_gain_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_WORTH_PROCESSES_S", -1.0)
    monkeypatch.setattr(workers, "default_workers", lambda: 2)
    assert dict(spread(Pieces(call=square, total=9), tasks(9), Workers())) == SQUARES


_SLOW = """
import time
from backtesting.workers import Pieces, Workers, spread

if __name__ == "__main__":
    naps = ((number, 0.05) for number in range(9_999))
    for key, _ in spread(Pieces(call=time.sleep, total=9_999), naps, Workers(count=2)):
        print(key, flush=True)
"""


@pytest.mark.integration
def test_an_interrupt_of_the_whole_group_ends_workers_and_all(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(_SLOW)
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        # As a terminal does it, and an impatient person.
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=90) != 0
    deadline = time.monotonic() + 90
    while is_there(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_there(process.pid)


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
