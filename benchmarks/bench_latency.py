"""How long a trade takes from the venue's socket to a subscriber of Redis, at an even rate.

    python -m benchmarks.bench_latency [--rates 1000,10000] [--seconds 20] [--markets 10]

A venue of its own process sends trades in Binance's protocol (paced_venue.py), the product's collector
records them into an embedded PostgreSQL and publishes them on an embedded Valkey once they are committed, and
this process subscribes. The lag of a trade is the moment its message is read here less its time, which the
venue cuts to milliseconds: up to a millisecond too much. Five seconds from the first trade on do not count.
A collector stores and tells what came about every 200 ms, which alone makes the median 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
import psutil

from data.messages import TradeBatch
from data.topics import ALL_TRADES
from database.migrate import migrate
from embedded.postgres import EmbeddedPostgres
from embedded.valkey import EmbeddedValkey
from messaging.encoding import decode
from messaging.redis_bus import RedisBus

START_S, WARM_UP_S = 60.0, 5.0


async def heard(redis_url: str, seconds: float, on_counting: Callable[[], None]) -> tuple[list[float], int]:
    """Milliseconds of lag of every trade published within so many seconds, and the messages they came in.

    Counting begins, and is told, some seconds after the first trades. Nothing where none come.
    """
    messages: list[tuple[int, str, bytes]] = []
    clock = asyncio.get_running_loop().time
    bus = RedisBus(redis_url)
    counts_from = 0.0
    is_counting = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_S) as limit:
            async for topic, payload in bus.subscribe([ALL_TRADES]):
                heard_at_us = time.time_ns() // 1_000
                if not counts_from:
                    counts_from = clock() + WARM_UP_S
                    limit.reschedule(counts_from + seconds)
                if clock() < counts_from:
                    continue
                if not is_counting:
                    is_counting = True
                    on_counting()
                messages.append((heard_at_us, topic, payload))
    await bus.close()
    lags: list[float] = []
    # Read afterwards: a listener that is busy with one message hears the next one late.
    for heard_at_us, topic, payload in messages:
        batch = decode(topic, payload)
        assert isinstance(batch, TradeBatch)
        lags += [(heard_at_us - trade.traded_at_us) / 1_000 for trade in batch.trades]
    return lags, len(messages)


class CpuShares:
    """How much of a core each program used since `begin`; its children's with its own."""

    def __init__(self, programs: Mapping[str, int]) -> None:
        """`programs`: process ids."""
        self._programs = {name: psutil.Process(pid) for name, pid in programs.items()}
        self.begin()

    def begin(self) -> None:
        self._begun_s, self._before = time.monotonic(), self._used()

    def shares(self) -> dict[str, float]:
        spent_s = time.monotonic() - self._begun_s
        return {name: round((used - self._before[name]) / spent_s, 3) for name, used in self._used().items()}

    def _used(self) -> dict[str, float]:
        return {name: sum(map(_cpu_s, _tree(process))) for name, process in self._programs.items()}


def _tree(process: psutil.Process) -> list[psutil.Process]:
    # The benchmark's own children are the other programs.
    return [process] if process.pid == os.getpid() else [process, *process.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return 0.0


@contextlib.contextmanager
def program(*arguments: str, log: IO[str] | int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=log, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def measure(
    database_url: str, database_pid: int, redis_url: str, rate: int, markets: int, seconds: float
) -> dict[str, object]:
    migrate(database_url)
    with (
        tempfile.TemporaryDirectory(prefix="bench-latency-") as folder,
        program("benchmarks.paced_venue", str(rate), str(markets)) as venue,
    ):
        assert venue.stdout is not None
        ws_url = f"ws://127.0.0.1:{int(venue.stdout.readline())}"
        with program(
            "benchmarks.latency_collector",
            database_url,
            redis_url,
            ws_url,
            str(markets),
            folder,
            log=subprocess.DEVNULL,
        ) as collector:
            programs = {"venue": venue.pid, "collector": collector.pid, "listener": os.getpid()}
            shares = CpuShares(programs | {"database": database_pid})
            lags, messages = asyncio.run(heard(redis_url, seconds, shares.begin))
            used = shares.shares()
    if not lags:
        raise SystemExit(f"no trade came at {rate} a second")
    return {
        "rate": rate,
        "heard_per_s": round(len(lags) / seconds, 1),
        "messages": messages,
        "p50_ms": round(float(np.quantile(lags, 0.5)), 1),
        "p90_ms": round(float(np.quantile(lags, 0.9)), 1),
        "p99_ms": round(float(np.quantile(lags, 0.99)), 1),
        "max_ms": round(max(lags), 1),
        "cpu_shares": used,
    }


def main() -> None:
    """Measure each rate and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rates", default="1000,10000", help="trades a second, with commas")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--markets", type=int, default=10)
    arguments = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory(prefix="bench-latency-services-") as folder:
        (Path(folder) / "postgres").mkdir()
        (Path(folder) / "valkey").mkdir()
        postgres = EmbeddedPostgres(Path(folder) / "postgres", log=Path(folder) / "postgres.log")
        valkey = EmbeddedValkey(Path(folder) / "valkey", log=Path(folder) / "valkey.log")
        postgres.start()
        assert postgres.pid is not None
        try:
            valkey.start()
            try:
                for rate in map(int, arguments.rates.split(",")):
                    name = f"rate_{rate}"
                    postgres.create_database(name)
                    figures.append(
                        measure(
                            postgres.url(name),
                            postgres.pid,
                            valkey.url(),
                            rate,
                            arguments.markets,
                            arguments.seconds,
                        )
                    )
            finally:
                valkey.stop()
        finally:
            postgres.stop()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
