"""How long a trade takes from the venue's socket to a subscriber of Redis, at an even rate.

    python -m benchmarks.bench_latency [--rates 1000,10000] [--seconds 20] [--markets 10]

A venue of its own process sends trades in Binance's protocol (paced_venue.py), the product's collector
records them into an embedded PostgreSQL and publishes them on an embedded Valkey once they are committed, and
this process subscribes. The lag of a trade is the moment its message is read here less its time, which the
venue cuts to milliseconds: up to a millisecond too much. The first five seconds are not counted. A collector
stores and tells what came about every 200 ms, which alone makes the median 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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

WARM_UP_S = 5.0


async def heard(redis_url: str, seconds: float) -> tuple[list[float], int]:
    """Milliseconds of lag of every trade published within so many seconds, and the messages they came in."""
    lags: list[float] = []
    messages = 0
    bus = RedisBus(redis_url)
    try:
        async with asyncio.timeout(WARM_UP_S + seconds):
            counts_from = time.monotonic() + WARM_UP_S
            async for topic, payload in bus.subscribe([ALL_TRADES]):
                now_us = time.time_ns() // 1_000
                if time.monotonic() < counts_from:
                    continue
                batch = decode(topic, payload)
                assert isinstance(batch, TradeBatch)
                messages += 1
                lags += [(now_us - trade.traded_at_us) / 1_000 for trade in batch.trades]
    except TimeoutError:
        pass
    finally:
        await bus.close()
    return lags, messages


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


def measure(database_url: str, redis_url: str, rate: int, markets: int, seconds: float) -> dict[str, float]:
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
            watched = psutil.Process(collector.pid)
            begun, cpu = time.monotonic(), sum(watched.cpu_times()[:2])
            lags, messages = asyncio.run(heard(redis_url, seconds))
            cpu = (sum(watched.cpu_times()[:2]) - cpu) / (time.monotonic() - begun)
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
        "collector_cpu_share": round(cpu, 3),
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
        try:
            valkey.start()
            try:
                for rate in map(int, arguments.rates.split(",")):
                    name = f"rate_{rate}"
                    postgres.create_database(name)
                    figures.append(
                        measure(postgres.url(name), valkey.url(), rate, arguments.markets, arguments.seconds)
                    )
            finally:
                valkey.stop()
        finally:
            postgres.stop()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
