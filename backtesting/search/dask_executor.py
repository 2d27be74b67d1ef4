"""Sends the chunks of a search to a Dask cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import get_worker

from backtesting.cluster import connected
from backtesting.search.executors import Chunk, Done, Session, Worker
from backtesting.search.trials import Work


class DaskExecutor:
    """Runs chunks on the workers of the cluster at `address`, which need this program installed.

    The candles are sent to every worker once. `open` raises TransientError where no scheduler answers.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    @contextmanager
    def open(self, works: tuple[Work, ...]) -> Iterator[Session]:
        with connected(self._address) as (client, threads):
            [sent] = client.scatter([works], broadcast=True, hash=False)
            yield _Cluster(client, sent, 2 * threads)


class _Cluster:
    def __init__(self, client: Any, works: Any, in_flight: int) -> None:
        self._client, self._works, self._in_flight = client, works, in_flight

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Done]:
        waiting: list[Any] = []
        try:
            for chunk in chunks:
                waiting.append(
                    self._client.submit(_run_on_worker, self._works, self._works.key, chunk, pure=False)
                )
                if len(waiting) >= self._in_flight:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            self._client.cancel(waiting)


def _run_on_worker(works: tuple[Work, ...], key: str, chunk: Chunk) -> Done:
    """Run a chunk with the evaluator that this thread of the worker keeps for the search."""
    kept = get_worker().__dict__.setdefault("candlewick_searches", threading.local())
    if getattr(kept, "key", None) != key:
        kept.key, kept.worker = key, Worker(works)
    worker: Worker = kept.worker
    return worker(chunk)
