"""Who runs the trials: this thread, threads, or processes. The answers are the same whoever does.

A chunk of parameter sets is the item of work. Compiled code holds no lock, so threads use all cores where
the search's kernel runs; where the engine itself has to run trial by trial, processes do.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from backtesting.search.trials import Evaluator, Outcome, Work
from backtesting.workers import default_workers, leave_interrupts_to_parent
from data.models import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Parameter sets to run, and whose: an index into the works of the session."""

    number: int
    work: int
    values: FloatArray  # shape (k, varied)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a chunk."""

    chunk: Chunk
    outcome: Outcome


class Session(Protocol):
    """Executors over the same works."""

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Done]:
        """The outcomes, in any order. Chunks are asked for only as they can be worked on."""
        ...


class Executor(Protocol):
    """Something that runs chunks."""

    def open(self, works: tuple[Work, ...]) -> AbstractContextManager[Session]:
        """A session for chunks of these works."""
        ...


class SerialExecutor:
    """Runs chunks one after the other."""

    @contextmanager
    def open(self, works: tuple[Work, ...]) -> Iterator[Session]:
        yield _Serial(works)


class _Serial:
    def __init__(self, works: tuple[Work, ...]) -> None:
        self._worker = Worker(works)

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Done]:
        for chunk in chunks:
            yield self._worker(chunk)


class Worker:
    """Runs chunks in one thread, with an evaluator for each work it meets."""

    def __init__(self, works: tuple[Work, ...]) -> None:
        self._works = works
        self._last: tuple[int, Evaluator] | None = None

    def __call__(self, chunk: Chunk) -> Done:
        if self._last is None or self._last[0] != chunk.work:
            self._last = chunk.work, Evaluator(self._works[chunk.work])
        return Done(chunk=chunk, outcome=self._last[1].evaluate(chunk.values))


class ThreadExecutor:
    """Runs chunks in `workers` threads, all cores by default."""

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or default_workers()

    @contextmanager
    def open(self, works: tuple[Work, ...]) -> Iterator[Session]:
        mine = threading.local()

        def run(chunk: Chunk) -> Done:
            if not hasattr(mine, "worker"):
                mine.worker = Worker(works)
            worker: Worker = mine.worker
            return worker(chunk)

        with ThreadPoolExecutor(self._workers, thread_name_prefix="search") as pool:
            yield _Pooled(pool, run, 2 * self._workers)


class ProcessExecutor:
    """Runs chunks in `workers` processes, all cores by default. Each gets the candles once."""

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or default_workers()

    @contextmanager
    def open(self, works: tuple[Work, ...]) -> Iterator[Session]:
        # A fork would copy the locks of this process's threads; a fresh interpreter has none.
        with ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(works,),
        ) as pool:
            yield _Pooled(pool, _run_in_process, 2 * self._workers)


class _Pooled:
    def __init__(self, pool: Pool, run: Callable[[Chunk], Done], in_flight: int) -> None:
        self._pool, self._run, self._in_flight = pool, run, in_flight

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Done]:
        waiting: deque[Future[Done]] = deque()
        try:
            for chunk in chunks:
                waiting.append(self._pool.submit(self._run, chunk))
                if len(waiting) >= self._in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


_process_worker: Worker | None = None


def _begin(works: tuple[Work, ...]) -> None:
    global _process_worker
    leave_interrupts_to_parent()
    _process_worker = Worker(works)


def _run_in_process(chunk: Chunk) -> Done:
    assert _process_worker is not None
    return _process_worker(chunk)
