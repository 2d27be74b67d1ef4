"""500 virtual bots over 50 symbols in several runners: from a closed candle to the stored decision.

    python -m benchmarks.bench_bots [--bots 500] [--symbols 50] [--rounds 20] [--runners 2]

As `benchmarks.bench_signals`, with the runner processes that the bots' manager starts, and two kinds of
rounds: the worst case, in which every bot says something on every candle, and the usual one, in which candles
close and hardly a bot has anything to do. Memory is that of all runners together, and of PostgreSQL's
processes (private pages, so that shared memory counts once).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import msgspec
import psutil

from benchmarks.bench_signals import (
    HISTORY,
    TIMEFRAME,
    Arrivals,
    SyntheticMarkets,
    all_heard,
    create_bots,
    runner_command,
    runner_environment,
    spread_of,
    until,
)
from data.messages import CandleUpdate
from data.models import Market
from data.stores import MarketBatch
from data.timeframes import floor_to
from data.topics import candles_topic
from database.migrate import migrate
from database.repositories.market_repository import MarketRepository
from embedded.postgres import EmbeddedPostgres
from embedded.valkey import EmbeddedValkey
from messaging.redis_bus import RedisBus

_DAY_US = 86_400_000_000


async def measure(
    home: Path, *, bots: int, symbols: int, rounds: int, runners: int, busy: bool
) -> dict[str, object]:
    """One installation, measured for `rounds` closes; `busy` bots say something on each of them."""
    postgres = EmbeddedPostgres(home / "postgres", log=home / "postgres.log")
    valkey = EmbeddedValkey(home / "valkey", log=home / "valkey.log")
    postgres.start()
    valkey.start()
    try:
        postgres.create_database("bench")
        url = postgres.url("bench")
        migrate(url)
        async with AsyncExitStack() as stack:
            writer = MarketRepository(url)
            stack.push_async_callback(writer.close)
            market = SyntheticMarkets(symbols, floor_to(time.time_ns() // 1_000, TIMEFRAME) - 3 * _DAY_US)
            for _ in range(HISTORY):
                await writer.save(MarketBatch(trades=(), candles=market.minute(), runs=()))
            create_bots(home, url, market, bots, says=busy)
            bus = RedisBus(valkey.url())
            stack.push_async_callback(bus.close)
            arrivals = Arrivals()
            listening = asyncio.create_task(arrivals.listen(bus))
            stack.callback(listening.cancel)
            processes = [
                await _runner(
                    stack, home, runner_environment(home, url, valkey.url()), f"{number + 1}/{runners}"
                )
                for number in range(runners)
            ]
            began = time.perf_counter()
            await until(lambda: len({bot for bot, _ in arrivals.bots}) == bots)
            started_s = time.perf_counter() - began
            per_bot: list[float] = []
            missing = 0
            for number in range(rounds + 2):
                times = await _close(writer, bus, market, arrivals, bots)
                if number >= 2:  # the first candles find cold caches
                    per_bot += times
                    missing += bots - len(times)
            return {
                "says": "every bot, every candle" if busy else "nothing",
                "bots": bots,
                "symbols": symbols,
                "runners": runners,
                "rounds": rounds,
                "decisions_ms": spread_of(per_bot),
                "missing": missing,
                "started_s": round(started_s, 1),
                "runners_mib": [round(_private(process.pid) / 2**20) for process in processes],
                "postgres_mib": round(sum(_private(pid) for pid in _family(postgres.pid)) / 2**20),
            }
    finally:
        valkey.stop()
        postgres.stop()


async def _runner(
    stack: AsyncExitStack, home: Path, environment: dict[str, str], shard: str
) -> asyncio.subprocess.Process:
    log = stack.enter_context((home / f"runner-{shard.replace('/', '-')}.log").open("wb"))
    process = await asyncio.create_subprocess_exec(
        *runner_command(shard), env=environment, stdout=log, stderr=log
    )

    async def end() -> None:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()

    stack.push_async_callback(end)
    return process


async def _close(
    writer: MarketRepository, bus: RedisBus, market: SyntheticMarkets, arrivals: Arrivals, bots: int
) -> list[float]:
    """One close of all symbols; milliseconds until the word of each bot came, which is sent once stored."""
    candles = market.minute()
    opened_at_us = candles[0].opened_at_us
    await writer.save(MarketBatch(trades=(), candles=candles, runs=()))
    began = time.perf_counter()
    for candle in candles:
        update = CandleUpdate(candle=candle, closed=True, covered=True)
        topic = candles_topic(Market(candle.exchange, candle.symbol), candle.timeframe)
        await bus.publish(topic, msgspec.json.encode(update))
    await until(partial(all_heard, arrivals, opened_at_us, bots))
    await asyncio.sleep(0.37)  # the poll falls where it may
    return [(at - began) * 1e3 for (_, at_us), at in arrivals.bots.items() if at_us == opened_at_us]


def _family(pid: int | None) -> list[int]:
    if pid is None:
        return []
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def _private(pid: int) -> int:
    return int(psutil.Process(pid).memory_full_info().uss)


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bots", type=int, default=500)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runners", type=int, default=2)
    given = parser.parse_args()
    results = []
    for busy in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            results.append(
                asyncio.run(
                    measure(
                        Path(folder),
                        bots=given.bots,
                        symbols=given.symbols,
                        rounds=given.rounds,
                        runners=given.runners,
                        busy=busy,
                    )
                )
            )
    print(json.dumps(results, indent=2))  # noqa: T201 its result


if __name__ == "__main__":
    main()
