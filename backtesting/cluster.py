"""A Dask cluster as something that calls can be handed to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from distributed import Client

from data.errors import TransientError

CONNECT_TIMEOUT_S = 10


@contextmanager
def connected(address: str) -> Iterator[tuple[Any, int]]:
    """A client, and how many threads the cluster's workers have; they need this program installed.

    Raises TransientError where no scheduler answers or nobody works for it.
    """
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            address, timeout=CONNECT_TIMEOUT_S, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise TransientError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise TransientError(f"the Dask cluster at {address} has no workers")
        yield client, sum(worker["nthreads"] for worker in workers.values())


@contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """An executor, and how many calls it works on at a time. Raises as `connected`."""
    with connected(address) as (client, threads):
        yield _Cluster(client), threads


class _Cluster(Executor):
    """Sends what a call is given to a worker first: a scheduler is not made for megabytes."""

    def __init__(self, client: Any) -> None:
        self._client, self._calls = client, client.get_executor(pure=False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        sent = self._client.scatter(list(args), hash=False)
        future: Future[Any] = self._calls.submit(fn, *sent, **kwargs)
        return future
