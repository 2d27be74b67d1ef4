"""Who does independent pieces of work: this thread, processes on all cores, or a cluster.

A piece is a call of a module's function with one value, both of which can be sent to a process. The answers
are the same whoever does it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from data.errors import TransientError

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")

# Processes need about as long to start as this much work takes.
_WORTH_PROCESSES_S = 3.0


def default_workers() -> int:
    """All cores that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many cores, or which cluster; by default all cores once they gain anything."""

    count: int | None = None
    scheduler: str | None = None  # a Dask cluster's address


HERE = Workers(count=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces(Generic[K, T, R]):
    """Work in pieces. What `again` makes of an answer is done in place of the piece; None: it is done.

    `total` is how many there are at most, by which the gain of processes is judged.
    """

    call: Callable[[T], R]
    again: Callable[[K, R], T | None] = lambda key, answer: None
    total: int


def spread(pieces: Pieces[K, T, R], tasks: Iterable[tuple[K, T]], workers: Workers) -> Iterator[tuple[K, R]]:
    """Each task's key with its answer, as they come; tasks are asked for as they can be worked on.

    Raises TransientError where no cluster answers or one of the processes is killed, and whatever a piece
    raises.
    """
    waiting = iter(tasks)
    left = pieces.total
    if workers.scheduler is None and workers.count is None:
        begun = time.monotonic()
        while left:
            answered = False
            for done in _answers(pieces, islice(waiting, 1), _Here(), 1):
                answered = True
                left -= 1
                yield done
            if not answered:
                return  # there were fewer than expected
            mean_s = (time.monotonic() - begun) / max(1, pieces.total - left)
            if mean_s * left > _WORTH_PROCESSES_S and min(left, default_workers()) > 1:
                break
    if not left:
        return
    with _opened(workers, left) as (pool, size):
        yield from _answers(pieces, waiting, pool, 2 * size if size > 1 else 1)


def _opened(workers: Workers, most: int) -> AbstractContextManager[tuple[Executor, int]]:
    if workers.scheduler is not None:
        # The cluster's library takes longer to import than most runs last.
        from backtesting.cluster import cluster

        return cluster(workers.scheduler)
    return _processes(min(most, workers.count or default_workers()))


@contextmanager
def _processes(count: int) -> Iterator[tuple[Executor, int]]:
    if count == 1:
        yield _Here(), 1
        return
    # A fork would copy the locks of this process's threads; a fresh interpreter has none.
    spawn = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=leave_interrupts_to_parent) as pool:
        try:
            yield pool, count
        except BaseException as error:
            # Nobody wants what they are at. One that waits for more would keep this process from ending.
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            if isinstance(error, BrokenProcessPool):
                raise TransientError(
                    "a process that did a part of the work was ended from outside, as happens where memory "
                    "runs short; fewer processes need less (--workers 1)"
                ) from error
            raise


def leave_interrupts_to_parent() -> None:
    """Ctrl-C reaches every process of a terminal; a worker that died of it could take a lock along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _answers(
    pieces: Pieces[K, T, R], tasks: Iterator[tuple[K, T]], pool: Executor, in_flight: int
) -> Iterator[tuple[K, R]]:
    under_way: dict[Future[R], K] = {}
    try:
        while True:
            for key, task in islice(tasks, in_flight - len(under_way)):
                under_way[pool.submit(pieces.call, task)] = key
            if not under_way:
                return
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                key, answer = under_way.pop(future), future.result()
                repeated = pieces.again(key, answer)
                if repeated is None:
                    yield key, answer
                else:
                    under_way[pool.submit(pieces.call, repeated)] = key
    finally:
        for future in under_way:
            future.cancel()


class _Here(Executor):
    """Does everything at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
