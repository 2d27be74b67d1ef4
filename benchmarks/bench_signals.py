"""From a closed candle to the stored and published decisions of many bots.

    python -m benchmarks.bench_signals [--bots 100] [--symbols 50] [--rounds 30]

A PostgreSQL and a Valkey of its own, with fsync on; the bots' runner in a process of its own, as the product
runs it; this process plays the collector: each round it stores one closed candle of every symbol, in one
transaction, and publishes all of them at the same instant. A subscriber notes when the word of each bot and
each signal arrives, which is sent after its commit. Every strategy says something on every candle: each round
is the worst case, in which all bots decide and all of them signal. Times are milliseconds from the publishing
of the candles; memory is the runner's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import psutil

from bots.config import as_document, parse_bot
from bots.lifecycle import BotState
from bots.messages import ALL_SIGNALS, BOTS_TOPIC, BotUpdates, SignalsSaid
from bots.stores import BotEvent
from data.messages import CandleUpdate
from data.models import Candle, Market
from data.stores import MarketBatch
from data.timeframes import Timeframe, floor_to
from data.topics import candles_topic
from database.migrate import migrate
from database.repositories.bot_repository import BotRepository
from database.repositories.market_repository import MarketRepository
from embedded.postgres import EmbeddedPostgres
from embedded.valkey import EmbeddedValkey
from messaging.redis_bus import RedisBus

HISTORY = 400  # candles before the first round
TIMEFRAME = Timeframe.M1
PATIENCE_S = 20.0

EXIT = {"any": [{"falling": ["close", 1]}, {"gt": ["close", {"of": "bands.upper", "shift": 1}]}]}
# Enters and leaves on the turns of a short average: with a price that zigzags, a signal on every candle.
STRATEGY = {
    "name": "zigzag",
    "timeframe": "1m",
    "indicators": {
        "fast": {"type": "ema", "period": 3},
        "slow": {"type": "ema", "period": 26},
        "rsi": {"type": "rsi", "period": 14},
        "bands": {"type": "bollinger", "period": 20, "deviations": 2.0},
        "trend": {"type": "sma", "period": 5, "timeframe": "15m"},
    },
    "long": {
        "entry": {"all": [{"rising": ["close", 1]}, {"gt": ["rsi", 1]}, {"gt": ["trend", 0]}]},
        "exit": EXIT,
    },
    "protection": {"stop_loss": 0.2, "take_profit": 0.4},
    "sizing": {"type": "fraction_of_equity", "value": 0.5},
}


class SyntheticMarkets:
    """Prices of all symbols, minute by minute, without a clock."""

    def __init__(self, symbols: int, start_us: int) -> None:
        self.markets = [Market("okx", f"S{number:02d}-USDT") for number in range(symbols)]
        self._random = np.random.default_rng(3)
        self._level = self._random.uniform(10.0, 60_000.0, symbols).round(2)
        self._next_us = start_us
        self._up = False

    def minute(self) -> list[Candle]:
        """One closed candle of every symbol."""
        self._up = not self._up
        moved = (self._level * (1.004 if self._up else 0.996)).round(2)
        candles = [
            Candle(
                exchange=market.exchange,
                symbol=market.symbol,
                timeframe=TIMEFRAME,
                opened_at_us=self._next_us,
                open=was,
                high=max(was, now),
                low=min(was, now),
                close=now,
                volume=12.5,
                trades=40,
            )
            for market, was, now in zip(self.markets, self._level.tolist(), moved.tolist(), strict=True)
        ]
        self._level = moved
        self._next_us += TIMEFRAME.us
        return candles


class Arrivals:
    """Notes when the news of one candle arrived."""

    def __init__(self) -> None:
        self.bots: dict[tuple[str, int], float] = {}
        self.signals: dict[tuple[str, int], float] = {}
        self._heard: Counter[int] = Counter()  # bots by candle: asked for often, while others need the cores
        self._updates = msgspec.json.Decoder(BotUpdates)
        self._said = msgspec.json.Decoder(SignalsSaid)

    async def listen(self, bus: RedisBus) -> None:
        async for topic, payload in bus.subscribe([BOTS_TOPIC, ALL_SIGNALS]):
            now = time.perf_counter()
            if topic.startswith("signals."):
                for signal in self._said.decode(payload).signals:
                    self.signals.setdefault((topic, signal.opened_at_us), now)
                continue
            for update in self._updates.decode(payload).bots:
                if update.last_candle_us is not None:
                    told = update.bot, update.last_candle_us
                    if told not in self.bots:
                        self.bots[told] = now
                        self._heard[update.last_candle_us] += 1

    def heard(self, opened_at_us: int) -> int:
        return self._heard[opened_at_us]


async def measure(home: Path, bots: int, symbols: int, rounds: int) -> dict[str, object]:
    postgres = EmbeddedPostgres(home / "postgres", log=home / "postgres.log")
    valkey = EmbeddedValkey(home / "valkey", log=home / "valkey.log")
    postgres.start()
    valkey.start()
    try:
        postgres.create_database("bench")
        url = postgres.url("bench")
        migrate(url)
        return await _rounds(home, url, valkey.url(), bots, symbols, rounds)
    finally:
        valkey.stop()
        postgres.stop()


async def _rounds(
    home: Path, url: str, redis_url: str, bots: int, symbols: int, rounds: int
) -> dict[str, object]:
    now_us = time.time_ns() // 1_000
    # In the past: bots trade on every candle that closes after their start by the market's own clock.
    market = SyntheticMarkets(symbols, floor_to(now_us, TIMEFRAME) - 3 * 86_400_000_000)
    writer = MarketRepository(url)
    for _ in range(HISTORY):
        await writer.save(MarketBatch(trades=(), candles=market.minute(), runs=()))
    create_bots(home, url, market, bots)
    bus = RedisBus(redis_url)
    arrivals = Arrivals()
    listening = asyncio.create_task(arrivals.listen(bus))
    with (home / "runner.log").open("wb") as log:
        runner = await asyncio.create_subprocess_exec(
            *runner_command("1/1"), env=runner_environment(home, url, redis_url), stdout=log, stderr=log
        )
    try:
        await until(lambda: len({bot for bot, _ in arrivals.bots}) == bots or runner.returncode is not None)
        if runner.returncode is not None:
            raise RuntimeError((home / "runner.log").read_text())
        per_bot: list[float] = []
        per_signal: list[float] = []
        missing = 0
        for number in range(rounds + 2):
            candles = market.minute()
            opened_at_us = candles[0].opened_at_us
            await writer.save(MarketBatch(trades=(), candles=candles, runs=()))
            began = time.perf_counter()
            for candle in candles:
                update = CandleUpdate(candle=candle, closed=True, covered=True)
                topic = candles_topic(Market(candle.exchange, candle.symbol), candle.timeframe)
                await bus.publish(topic, msgspec.json.encode(update))
            await until(partial(all_heard, arrivals, opened_at_us, bots))
            # Between closes a market is never as quiet as this; the pause lets the poll fall where it may.
            await asyncio.sleep(0.37)
            if number < 2:
                continue  # the first candles find cold caches
            heard = [at for (_, at_us), at in arrivals.bots.items() if at_us == opened_at_us]
            missing += bots - len(heard)
            per_bot += [(at - began) * 1e3 for at in heard]
            said = [at for (_, at_us), at in arrivals.signals.items() if at_us == opened_at_us]
            per_signal += [(at - began) * 1e3 for at in said]
        memory = psutil.Process(runner.pid).memory_info().rss
    finally:
        runner.terminate()
        await runner.wait()
        listening.cancel()
        await bus.close()
        await writer.close()
    return {
        "bots": bots,
        "symbols": symbols,
        "rounds": rounds,
        "decisions": spread_of(per_bot),
        "signals": spread_of(per_signal),
        "missing": missing,
        "memory_mib": round(memory / 2**20),
    }


def runner_command(shard: str) -> tuple[str, ...]:
    """The product's own runner, for a shard such as "1/2"."""
    return sys.executable, "-m", "app", "bots", "run", "--shard", shard


def runner_environment(home: Path, url: str, redis_url: str) -> dict[str, str]:
    """Of a runner: its services, its folder, and no bots but those in the database."""
    return {
        **os.environ,
        "DATABASE_URL": url,
        "REDIS_URL": redis_url,
        "CANDLEWICK_HOME": str(home),
        "CANDLEWICK_BOTS": str(home / "bots"),
        "CANDLEWICK_STRATEGIES": str(home / "strategies"),
        "CANDLEWICK_LOG_LEVEL": "WARNING",
    }


def create_bots(home: Path, url: str, market: SyntheticMarkets, bots: int, *, says: bool = True) -> None:
    """Bots with a strategy each, so that nothing is shared between two; without `says` they say nothing."""
    strategies = home / "strategies"
    strategies.mkdir()
    for number in range(bots):
        document = {**STRATEGY, "name": f"zigzag-{number}"}
        if not says:
            never = {"all": [{"lt": ["rsi", 1]}, {"gt": ["trend", 0]}]}
            document["long"] = {"entry": never, "exit": never}
        (strategies / f"zigzag-{number}.json").write_text(json.dumps(document))
    with closing(BotRepository(url)) as repository:
        for number in range(bots):
            config = parse_bot(
                {
                    "name": f"bot-{number:03d}",
                    "venue": "okx",
                    "symbol": market.markets[number % len(market.markets)].symbol,
                    "strategy": f"zigzag-{number}",
                    "capital": 10_000,
                },
                where="benchmark",
            )
            event = BotEvent(at_us=1, who="benchmark", what="created")
            repository.create(
                as_document(config),
                name=config.name,
                source="",
                desired=BotState.RUNNING,
                health="",
                event=event,
            )


def spread_of(times_ms: list[float]) -> dict[str, float]:
    if not times_ms:
        return {}
    values = np.array(times_ms)
    marks = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return {name: round(float(np.percentile(values, mark)), 1) for name, mark in marks.items()}


def all_heard(arrivals: Arrivals, opened_at_us: int, bots: int) -> bool:
    return arrivals.heard(opened_at_us) == bots


async def until(look: Callable[[], bool]) -> None:
    end = time.perf_counter() + PATIENCE_S * 6
    while not look() and time.perf_counter() < end:  # noqa: ASYNC110 what is looked at has no event
        await asyncio.sleep(0.01)


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bots", type=int, default=100)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        result = asyncio.run(measure(Path(folder), given.bots, given.symbols, given.rounds))
    print(json.dumps(result, indent=2))  # noqa: T201 its result


if __name__ == "__main__":
    main()
