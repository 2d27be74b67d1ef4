"""Candles of all time frames from many trades, beside polars' group_by_dynamic on the same trades.

    python -m benchmarks.bench_candles DATA [--peer PYTHON] [--trades 10000000] [--rounds 5]

Ours is `candles_from_trades`, what `candlewick candles build` uses: all thirteen time frames. polars builds
every time frame from the trades (`group_by_dynamic` as its guide shows it), and also as a cascade, each time
frame from the largest smaller one that divides it. Both have the trades in memory as columns. CPU seconds of
one process each (polars uses every core); candles are compared: opens, highs, lows, closes and counts
exactly, volumes to 1e-9.

Two sets of trades: seeded synthetic ones that come in bursts, and those of recorded frames in DATA.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.bench_frames import adapter_of, recorded
from data.candles import BuiltCandles, candles_from_trades
from data.exchanges.base import TradesMessage
from data.models import FloatArray, IntArray
from data.timeframes import Timeframe

TIMEFRAMES = tuple(Timeframe)
START_US = 1_700_000_000_000_000
Columns = tuple[FloatArray, FloatArray, IntArray]  # price, quantity, time


def synthetic(count: int) -> Columns:
    """Trades of a busy market: bursts at one instant, pauses up to seconds, prices on the cent."""
    random = np.random.default_rng(20_261_121)
    in_burst = random.random(count) < 0.6
    pause_us = np.where(in_burst, 0, random.exponential(250_000, count)).astype(np.int64) // 1_000 * 1_000
    steps = np.where(in_burst, 0, random.standard_t(4, count)) * 0.5
    price = np.round(60_000 + np.cumsum(steps) * 0.5, 2)
    price = np.round(np.abs(price) + 1_000, 2)
    quantity = np.round(random.exponential(0.02, count) + 1e-5, 5)
    return price, quantity, START_US + np.cumsum(pause_us)


def of_recording(data: Path) -> Columns:
    """The trades of the recorded frames, again and again with later times until there are a million."""
    adapter = adapter_of("binance")
    trades = []
    for frame in recorded(data, "binance"):
        parsed = adapter.parse(frame)
        assert isinstance(parsed, TradesMessage)
        trades += parsed.trades
    at_us = np.array([trade.traded_at_us for trade in trades])
    span_us = int(at_us[-1] - at_us[0]) + 1_000_000
    laps = 1_000_000 // len(trades) + 1
    return (
        np.tile([trade.price for trade in trades], laps),
        np.tile([trade.quantity for trade in trades], laps),
        np.concatenate([at_us + lap * span_us for lap in range(laps)]),
    )


def check_equal(ours: Mapping[Timeframe, BuiltCandles], theirs: Mapping[str, np.ndarray]) -> int:
    """How many candles were compared. Raises AssertionError where they differ."""
    for timeframe, built in ours.items():
        ohlcv = built.ohlcv
        for name in ("open", "high", "low", "close"):
            np.testing.assert_array_equal(getattr(ohlcv, name), theirs[f"{timeframe}_{name}"], str(timeframe))
        np.testing.assert_array_equal(built.trades, theirs[f"{timeframe}_trades"], str(timeframe))
        np.testing.assert_allclose(ohlcv.volume, theirs[f"{timeframe}_volume"], rtol=1e-9)
    return sum(len(built.ohlcv) for built in ours.values())


def timed(columns: Columns) -> tuple[float, float]:
    """CPU and wall seconds of ours."""
    cpu, wall = time.process_time(), time.perf_counter()
    candles_from_trades(*columns, TIMEFRAMES)
    return time.process_time() - cpu, time.perf_counter() - wall


def measure(columns: Columns, peer: Path | None, rounds: int) -> dict[str, float]:
    built = candles_from_trades(*columns, TIMEFRAMES)
    count = len(columns[0])
    timings: dict[str, list[tuple[float, float]]] = {"ours": []}
    figures: dict[str, float] = {"trades": count, "candles": sum(len(each.ohlcv) for each in built.values())}
    if peer is None:
        timings["ours"] = [timed(columns) for _ in range(rounds)]
    else:
        timings |= {"polars_trades": [], "polars_cascade": []}
        with tempfile.TemporaryDirectory(prefix="bench-candles-") as folder:
            trades_file, candles_file = Path(folder) / "trades.npz", Path(folder) / "candles.npz"
            np.savez(trades_file, price=columns[0], quantity=columns[1], traded_at_us=columns[2])
            script = Path(__file__).parent / "peers" / "polars_candles.py"
            names = ",".join(timeframe.value for timeframe in TIMEFRAMES)
            with subprocess.Popen(
                [str(peer), str(script), str(trades_file), names, str(candles_file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                json.loads(process.stdout.readline())
                with np.load(candles_file) as theirs:
                    figures["same_candles"] = check_equal(built, theirs)
                for _ in range(rounds):
                    timings["ours"].append(timed(columns))
                    for way in ("trades", "cascade"):
                        process.stdin.write(f"{way}\n")
                        process.stdin.flush()
                        timings[f"polars_{way}"].append(tuple(json.loads(process.stdout.readline())))
                process.stdin.close()
        for way in ("trades", "cascade"):
            best = min(cpu for cpu, _ in timings[f"polars_{way}"])
            ours = min(cpu for cpu, _ in timings["ours"])
            figures[f"cpu_of_polars_{way}_by_min"] = round(ours / best, 3)
            figures[f"cpu_of_polars_{way}_median_of_rounds"] = round(
                statistics.median(
                    own[0] / theirs[0]
                    for own, theirs in zip(timings["ours"], timings[f"polars_{way}"], strict=True)
                ),
                3,
            )
    for name, seconds in timings.items():
        figures[f"{name}_cpu_s"] = round(min(cpu for cpu, _ in seconds), 4)
        figures[f"{name}_wall_s"] = round(min(wall for _, wall in seconds), 4)
    figures["trades_per_cpu_s"] = round(count / min(cpu for cpu, _ in timings["ours"]))
    return figures


def main() -> None:
    """Measure both sets of trades and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="folder with frames/binance")
    parser.add_argument("--peer", type=Path, help="interpreter that has polars")
    parser.add_argument("--trades", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    figures = {
        "synthetic": measure(synthetic(arguments.trades), arguments.peer, arguments.rounds),
        "recorded": measure(of_recording(arguments.data), arguments.peer, arguments.rounds),
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
