"""How fast the store takes trades and gives candles, on an embedded PostgreSQL of its own.

    python -m benchmarks.bench_store [--trades 200000] [--candles 500000]

Measured through the repositories the product uses, with fsync on and the market writer's relaxed commits.
Each figure is the best of three rounds; CPU is this process's alone, in microseconds a row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.files.trade_columns import TradeColumns
from data.models import Market, Ohlcv, Side, Trade, TradeRun
from data.stores import MarketBatch
from data.timeframes import Timeframe
from database.migrate import migrate
from database.repositories.candle_repository import CandleRepository
from database.repositories.market_repository import MarketRepository
from embedded.postgres import EmbeddedPostgres

ROUNDS = 3
BATCH = 10_000
FLUSH = 200
START_US = 1_700_000_000_000_000 // Timeframe.M1.us * Timeframe.M1.us


@dataclass(frozen=True, slots=True)
class Timing:
    wall_s: float
    cpu_s: float

    def per_s(self, rows: int) -> int:
        return round(rows / self.wall_s)

    def cpu_us(self, rows: int) -> float:
        return round(self.cpu_s / rows * 1e6, 2)


async def best_of(rounds: int, work: Callable[[int], Awaitable[object]]) -> Timing:
    """The fastest round; each round is told its number."""
    timings = []
    for number in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        await work(number)
        timings.append(Timing(time.perf_counter() - wall, time.process_time() - cpu))
    return min(timings, key=lambda timing: timing.wall_s)


def trades_of(symbol: str, count: int) -> list[Trade]:
    return [
        Trade(
            exchange="binance",
            symbol=symbol,
            trade_id=number,
            price=61_000 + number % 997 / 100,
            quantity=number % 89 / 1e5 + 1e-5,
            taker_side=Side.BUY if number % 2 else Side.SELL,
            traded_at_us=START_US + number * 5_000,
        )
        for number in range(count)
    ]


async def measure(url: str, trade_count: int, candle_count: int) -> dict[str, float]:
    migrate(url)
    writer, reader = MarketRepository(url), CandleRepository(url)
    figures: dict[str, float] = {}

    prepared = [trades_of(f"T{number}-USDT", trade_count) for number in range(ROUNDS)]

    async def store(number: int) -> None:
        market = Market("binance", f"T{number}-USDT")
        for start in range(0, trade_count, BATCH):
            rows = prepared[number][start : start + BATCH]
            run = TradeRun(
                first_id=0,
                last_id=rows[-1].trade_id,
                first_at_us=START_US,
                last_at_us=rows[-1].traded_at_us,
            )
            await writer.save(MarketBatch(trades=rows, candles=[], runs=[(market, run)]))

    timing = await best_of(ROUNDS, store)
    figures["trades_stored_per_s"] = timing.per_s(trade_count)
    figures["trades_stored_cpu_us"] = timing.cpu_us(trade_count)

    timing = await best_of(ROUNDS, store)
    figures["duplicates_refused_per_s"] = timing.per_s(trade_count)

    small = [trades_of("FLUSH-USDT", FLUSH * 50 * ROUNDS)[start::ROUNDS] for start in range(ROUNDS)]
    latencies: list[float] = []

    async def flush(number: int) -> None:
        for start in range(0, len(small[number]), FLUSH):
            began = time.perf_counter()
            await writer.save(MarketBatch(trades=small[number][start : start + FLUSH], candles=[], runs=[]))
            latencies.append(time.perf_counter() - began)

    await best_of(ROUNDS, flush)
    figures["flush_of_200_p50_ms"] = round(float(np.quantile(latencies, 0.5)) * 1_000, 2)
    figures["flush_of_200_p95_ms"] = round(float(np.quantile(latencies, 0.95)) * 1_000, 2)

    columns = TradeColumns(
        trade_id=np.arange(trade_count),
        traded_at_us=START_US + np.arange(trade_count) * 5_000,
        price=np.full(trade_count, 61_000.25),
        quantity=np.full(trade_count, 0.001),
        taker_side=np.ones(trade_count, dtype=np.int8),
    )
    timing = await best_of(
        ROUNDS, lambda number: writer.import_trades(Market("binance", f"I{number}-USDT"), columns)
    )
    figures["trades_imported_per_s"] = timing.per_s(trade_count)
    figures["trades_imported_cpu_us"] = timing.cpu_us(trade_count)

    market = Market("binance", "C-USDT")
    prices = 60_000 + np.sin(np.arange(candle_count)) * 100
    ohlcv = Ohlcv(
        timeframe=Timeframe.M1,
        opened_at_us=START_US + np.arange(candle_count) * Timeframe.M1.us,
        open=prices,
        high=prices + 1,
        low=prices - 1,
        close=prices,
        volume=np.ones(candle_count),
    )
    wall = time.perf_counter()
    await writer.import_candles(market, ohlcv)
    figures["candles_imported_per_s"] = round(candle_count / (time.perf_counter() - wall))

    async def read_all(_: int) -> None:
        assert len(reader.candles(market, Timeframe.M1)) == candle_count

    async def read_newest(_: int) -> None:
        assert len(reader.candles(market, Timeframe.M1, limit=5_000)) == 5_000

    timing = await best_of(ROUNDS, read_all)
    figures[f"read_{candle_count}_candles_s"] = round(timing.wall_s, 3)
    figures[f"read_{candle_count}_candles_cpu_s"] = round(timing.cpu_s, 3)
    figures["read_newest_5000_ms"] = round((await best_of(20, read_newest)).wall_s * 1_000, 2)
    timing = await best_of(
        ROUNDS, lambda _: writer.trades_between(Market("binance", "T0-USDT"), 0, 2 * START_US)
    )
    figures["trades_read_as_values_per_s"] = timing.per_s(trade_count)
    await writer.close()
    reader.close()
    return figures


def main() -> None:
    """Run all measurements and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--trades", type=int, default=200_000)
    parser.add_argument("--candles", type=int, default=500_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
        server = EmbeddedPostgres(Path(folder), log=Path(folder) / "postgres.log")
        server.start()
        try:
            server.create_database("bench")
            figures = asyncio.run(measure(server.url("bench"), arguments.trades, arguments.candles))
        finally:
            server.stop()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
