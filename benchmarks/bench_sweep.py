"""What a sweep of EMA pairs over 100,000 candles costs, beside a plain compiled loop over the same pairs.

Run as `python benchmarks/bench_sweep.py`. Strategies are JSON documents, candles seeded and synthetic. CPU
seconds of all threads, the best of several; memory is the process's peak.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import talib
from numba import njit

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from backtesting.search.executors import Chunk, Executor, SerialExecutor, ThreadExecutor  # noqa: E402
from backtesting.search.space import Axis, axis_of, grid_points, values_at  # noqa: E402
from backtesting.search.spans import Span  # noqa: E402
from backtesting.search.table import batches  # noqa: E402
from backtesting.search.trials import FIGURES, Work  # noqa: E402
from benchmarks.bench_backtest import definition, synthetic  # noqa: E402
from bots.orders import Costs, TradingRules  # noqa: E402

CANDLES = 100_000
PROTECTION = {"stop_loss": 0.02, "take_profit": 0.04, "trailing_stop": 0.015}
GRIDS = {
    1_000: (axis_of("fast=5:29:1"), axis_of("slow=30:108:2")),
    10_000: (axis_of("fast=5:104:1"), axis_of("slow=110:308:2")),
}


@njit(cache=True)
def plain_loop(opens, closes, fast, slow, fee):  # type: ignore[no-untyped-def]
    """One pair: all in at the open after a cross up, all out after a cross down, equity at every close."""
    cash, quantity, trades, peak, fall = 10_000.0, 0.0, 0, 10_000.0, 0.0
    waits = 0
    for i in range(1, len(closes)):
        if waits > 0 and quantity == 0.0:
            quantity = cash / (opens[i] * (1 + fee))
            cash = 0.0
        elif waits < 0 and quantity > 0.0:
            cash = quantity * opens[i] * (1 - fee)
            quantity = 0.0
            trades += 1
        waits = 0
        equity = cash + quantity * closes[i]
        peak = max(peak, equity)
        fall = max(fall, 1 - equity / peak)
        if fast[i] > slow[i] and fast[i - 1] <= slow[i - 1]:
            waits = 1
        elif fast[i] < slow[i] and fast[i - 1] >= slow[i - 1]:
            waits = -1
    return cash + quantity * closes[-1], trades, fall


def sweep(work: Work, axes: tuple[Axis, ...], executor: Executor) -> float:
    """Run the grid; the sum of the logarithms of all final equities."""
    points = batches(grid_points(axes), 128)
    chunks = (
        Chunk(number=number, work=0, values=values_at(axes, part)) for number, part in enumerate(points)
    )
    total = 0.0
    with executor.open((work,)) as session:
        for done in session.run(chunks):
            total += float(np.log(done.outcome.figures[:, 0, FIGURES.index("final_equity")]).sum())
    return total


def plain(work: Work, axes: tuple[Axis, ...]) -> float:
    """The same by the plain loop, every average computed once."""
    close = work.ohlcv.close
    averages = {period: talib.EMA(close, int(period)) for axis in axes for period in axis.values}
    return float(
        sum(
            np.log(plain_loop(work.ohlcv.open, close, averages[fast], averages[slow], 1e-4)[0])
            for fast in axes[0].values
            for slow in axes[1].values
        )
    )


def best(action: Callable[[], float], repeats: int) -> tuple[float, float, float]:
    """Least CPU and wall seconds of several calls, and what they return."""
    spent = []
    for _ in range(repeats):
        begun, clock = time.process_time(), time.perf_counter()
        found = action()
        spent.append((time.process_time() - begun, time.perf_counter() - clock))
    return min(cpu for cpu, _ in spent), min(wall for _, wall in spent), found


def main() -> None:
    """Measure and print."""
    for name, protection in (("crossover", {}), ("with stop, target and trail", PROTECTION)):
        document = definition(protection)
        document["parameters"] = {"fast": {"default": 12}, "slow": {"default": 26}}
        document["indicators"] = {
            side: {"type": "ema", "period": {"parameter": side}} for side in ("fast", "slow")
        }
        work = Work(
            document=document,
            where="benchmark",
            timeframe=None,
            fixed={},
            varied=("fast", "slow"),
            capital=Decimal(10_000),
            costs=Costs(fee_bps=Decimal(1), maker_fee_bps=Decimal(1)),
            rules=TradingRules(),
            close_at_end=False,
            spans=(Span(start=0, stop=CANDLES),),
            ohlcv=synthetic(CANDLES),
            finer=None,
        )
        sweep(work, (axis_of("fast=5:6"), axis_of("slow=30:31")), SerialExecutor())
        for count, axes in GRIDS.items():
            repeats = 5 if count < 5_000 else 2
            ways: list[tuple[str, Callable[[], float]]] = [
                ("one thread", lambda a=axes, w=work: sweep(w, a, SerialExecutor())),  # type: ignore[misc]
                ("all cores", lambda a=axes, w=work: sweep(w, a, ThreadExecutor())),  # type: ignore[misc]
            ]
            if not protection:
                ways.append(("plain loop, one thread", lambda a=axes, w=work: plain(w, a)))  # type: ignore[misc]
            for way, action in ways:
                cpu, wall, total = best(action, repeats)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                sys.stdout.write(
                    f"{name}: {count:,} pairs, {way:<24}{cpu:>8.2f} s CPU {wall:>8.2f} s wall "
                    f"{peak:>6.0f} MB  sum of logs {total:.9f}\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
