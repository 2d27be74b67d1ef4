"""A collector's way from parsed trades to the store, at a given rate, on an embedded PostgreSQL of its own.

    python -m benchmarks.bench_record [--rate 50000] [--seconds 60] [--markets 10]

Ordering, candles of all time frames, the journal and the store, with fsync on and the market writer's
relaxed commits; no sockets and no parsing. Trades come in messages of ten. The figures: the rate that was
offered and the rate that was stored, the deepest queue, and the CPU of this process in microseconds a trade.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from data.collectors.batch_flusher import BatchFlusher
from data.collectors.journal import Journal
from data.collectors.market_recorder import MarketRecorder
from data.collectors.tuning import CollectorTuning
from data.collectors.unsaved import UnsavedBatches
from data.messages import CandleUpdate, CollectorHealth, News
from data.models import Market, Side, Trade
from data.timeframes import Timeframe
from database.migrate import migrate
from database.repositories.market_repository import MarketRepository
from embedded.postgres import EmbeddedPostgres

START_US = 1_700_000_000_000_000 // Timeframe.D1.us * Timeframe.D1.us
MESSAGE = 10  # trades
TICK_S = 0.02


class Nobody:
    """Satisfies `MarketPublisher`."""

    async def publish_trades(self, trades: Sequence[Trade]) -> None: ...

    async def publish_candles(self, updates: Sequence[CandleUpdate]) -> None: ...

    async def publish_health(self, health: CollectorHealth) -> None: ...

    async def publish(self, topic: str, news: News) -> None: ...


class Load:
    """Trades of several markets at a steady rate."""

    def __init__(self, recorders: list[MarketRecorder], rate: int) -> None:
        self._recorders, self._rate = recorders, rate
        self._next_ids = [1] * len(recorders)
        self.offered = 0

    def offer(self, elapsed_s: float) -> None:
        """What has come by then and was not offered yet."""
        while self.offered < elapsed_s * self._rate:
            number = self.offered // MESSAGE % len(self._recorders)
            recorder, first_id = self._recorders[number], self._next_ids[number]
            at_us = START_US + round(self.offered / self._rate * 1e6)
            recorder.accept(
                [
                    Trade(
                        exchange=recorder.market.exchange,
                        symbol=recorder.market.symbol,
                        trade_id=trade_id,
                        price=61_000 + trade_id % 997 / 100,
                        quantity=trade_id % 89 / 1e5 + 1e-5,
                        taker_side=Side.BUY if trade_id % 2 else Side.SELL,
                        traded_at_us=at_us,
                    )
                    for trade_id in range(first_id, first_id + MESSAGE)
                ]
            )
            self._next_ids[number] += MESSAGE
            self.offered += MESSAGE


async def measure(url: str, folder: Path, *, rate: int, seconds: float, markets: int) -> dict[str, float]:
    migrate(url)
    tuning = CollectorTuning()
    urgent = asyncio.Event()
    journal = Journal(folder / "journal")
    journal.open()
    unsaved = UnsavedBatches(on_urgent=urgent.set, journal=journal, max_in_memory=tuning.max_in_memory)
    recorders = {
        f"C{number}-USDT": MarketRecorder(Market("binance", f"C{number}-USDT"), tuple(Timeframe), unsaved)
        for number in range(markets)
    }
    writer = MarketRepository(url)
    flusher = BatchFlusher(writer, Nobody(), unsaved, recorders, tuning, journal)
    load = Load(list(recorders.values()), rate)

    async def flush_forever() -> None:
        while True:
            await flusher.flush()
            await asyncio.sleep(0)

    deepest = 0
    flushing = asyncio.create_task(flush_forever())
    began, cpu = time.perf_counter(), time.process_time()
    while (elapsed_s := time.perf_counter() - began) < seconds:
        load.offer(elapsed_s)
        deepest = max(deepest, unsaved.trades)
        await asyncio.sleep(TICK_S)
    stored_in_time = flusher.stored
    flushing.cancel()
    await asyncio.wait([flushing])
    await flusher.finish()
    drained_s = time.perf_counter() - began
    cpu_s = time.process_time() - cpu
    await writer.close()
    journal.close()
    return {
        "offered_per_s": round(load.offered / seconds),
        "stored_per_s_while_offered": round(stored_in_time / seconds),
        "stored": flusher.stored,
        "all_stored_after_s": round(drained_s, 2),
        "deepest_queue": deepest,
        "spilled_at_the_end": unsaved.spilled,
        "cpu_us_per_trade": round(cpu_s / max(load.offered, 1) * 1e6, 2),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Run the load once and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--markets", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-record-") as name:
        folder = Path(name)
        server = EmbeddedPostgres(folder, log=folder / "postgres.log")
        server.start()
        try:
            server.create_database("bench")
            figures = asyncio.run(
                measure(
                    server.url("bench"),
                    folder,
                    rate=arguments.rate,
                    seconds=arguments.seconds,
                    markets=arguments.markets,
                )
            )
        finally:
            server.stop()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
