"""polars' group_by_dynamic over trades, run by bench_candles.py with an interpreter that has polars.

    python polars_candles.py TRADES_FILE TIMEFRAMES CANDLES_FILE

TRADES_FILE is a numpy archive with `traded_at_us`, `price` and `quantity`, in order of time. Writes the
candles of all time frames, each built from the trades, as another archive. Then, for each line read from
standard input, builds one way ("trades": every time frame from the trades; "cascade": each from the largest
smaller one that divides it) and prints CPU and wall seconds.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import polars as pl

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
OHLCV = ("open", "high", "low", "close", "volume", "trades")


def of_trades(trades: pl.LazyFrame, timeframe: str) -> pl.LazyFrame:
    price = pl.col("price")
    return trades.group_by_dynamic("at", every=timeframe).agg(
        open=price.first(),
        high=price.max(),
        low=price.min(),
        close=price.last(),
        volume=pl.col("quantity").sum(),
        trades=pl.len(),
    )


def of_candles(candles: pl.LazyFrame, timeframe: str) -> pl.LazyFrame:
    return candles.group_by_dynamic("at", every=timeframe).agg(
        open=pl.col("open").first(),
        high=pl.col("high").max(),
        low=pl.col("low").min(),
        close=pl.col("close").last(),
        volume=pl.col("volume").sum(),
        trades=pl.col("trades").sum(),
    )


def from_trades(trades: pl.LazyFrame, timeframes: list[str]) -> dict[str, pl.DataFrame]:
    built = pl.collect_all([of_trades(trades, timeframe) for timeframe in timeframes])
    return dict(zip(timeframes, built, strict=True))


def cascade(trades: pl.LazyFrame, timeframes: list[str]) -> dict[str, pl.DataFrame]:
    built: dict[str, pl.DataFrame] = {}
    for timeframe in sorted(timeframes, key=length_s):
        smaller = [each for each in built if length_s(timeframe) % length_s(each) == 0]
        source = max(smaller, key=length_s, default=None)
        lazy = of_trades(trades, timeframe) if source is None else of_candles(built[source].lazy(), timeframe)
        built[timeframe] = lazy.collect()
    return built


def length_s(timeframe: str) -> int:
    return int(timeframe[:-1]) * SECONDS[timeframe[-1]]


def main() -> None:
    trades_file, timeframes, candles_file = sys.argv[1], sys.argv[2].split(","), sys.argv[3]
    arrays = np.load(trades_file)
    frame = pl.DataFrame({name: arrays[name] for name in ("traded_at_us", "price", "quantity")})
    trades = frame.with_columns(at=pl.col("traded_at_us").cast(pl.Datetime("us"))).set_sorted("at").lazy()
    candles = {
        f"{timeframe}_{column}": built[column].to_numpy()
        for timeframe, built in from_trades(trades, timeframes).items()
        for column in OHLCV
    }
    np.savez(candles_file, **candles)
    answer(None)
    ways = {"trades": from_trades, "cascade": cascade}
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        ways[line.strip()](trades, timeframes)
        answer([time.process_time() - cpu, time.perf_counter() - wall])


def answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
