"""Candles for the tests of strategies: seeded, recorded, or as Hypothesis draws them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from data.models import Candle, FloatArray, Ohlcv
from data.timeframes import Timeframe, to_us

MONDAY_US = to_us(datetime(2024, 1, 1, tzinfo=UTC))


def ohlcv_of(
    opens_us: list[int], prices: list[tuple[float, float, float, float, float]], timeframe: Timeframe
) -> Ohlcv:
    """Candles from rows of open, high, low, close, volume."""
    table = np.array(prices, dtype=np.float64).reshape(len(prices), 5)
    columns: list[FloatArray] = [np.ascontiguousarray(table[:, column]) for column in range(5)]
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=np.array(opens_us, dtype=np.int64),
        open=columns[0],
        high=columns[1],
        low=columns[2],
        close=columns[3],
        volume=columns[4],
    )


def ohlcv_of_closes(closes: list[float], timeframe: Timeframe = Timeframe.M5) -> Ohlcv:
    """Gapless candles from Monday 2024-01-01 on, each opening at the close before, of volume 1."""
    rows = []
    before = closes[0] if closes else 0.0
    for close in closes:
        rows.append((before, max(before, close), min(before, close), close, 1.0))
        before = close
    return ohlcv_of([MONDAY_US + i * timeframe.us for i in range(len(rows))], rows, timeframe)


def random_walk(
    length: int,
    *,
    seed: int,
    timeframe: Timeframe = Timeframe.M5,
    gaps: float = 0.0,
    start_us: int = MONDAY_US,
) -> Ohlcv:
    """A seeded random walk; about a share `gaps` of the intervals has no candle."""
    random = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(random.normal(0, 0.01, length))), 2)
    open_ = np.concatenate([[100.0], close[:-1]])
    high = np.round(np.maximum(open_, close) * (1 + random.random(length) * 0.01), 2)
    low = np.round(np.minimum(open_, close) * (1 - random.random(length) * 0.01), 2)
    volume = np.round(random.random(length) * 10, 3) * (random.random(length) > 0.1)
    opened = start_us + np.arange(length, dtype=np.int64) * timeframe.us
    kept = random.random(length) >= gaps
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=opened[kept],
        open=open_[kept],
        high=high[kept],
        low=low[kept],
        close=close[kept],
        volume=volume[kept],
    )


@cache
def recorded_candles(file: Path, timeframe: Timeframe, rows: int | None = None) -> Ohlcv:
    """The first `rows` of a recorded candle file of the shared data (`ts_ms,open,high,low,close,volume`)."""
    with gzip.open(file, "rt", newline="") as text:
        found = list(islice(csv.DictReader(text), rows))
    opens_us = [int(row["ts_ms"]) * 1000 for row in found]
    prices = [
        (float(row["open"]), float(row["high"]), float(row["low"]), float(row["close"]), float(row["volume"]))
        for row in found
    ]
    return ohlcv_of(opens_us, prices, timeframe)


def candles_of(ohlcv: Ohlcv) -> Iterator[Candle]:
    """The same candles one by one."""
    columns = (ohlcv.open, ohlcv.high, ohlcv.low, ohlcv.close, ohlcv.volume)
    for opened_at_us, *values in zip(
        ohlcv.opened_at_us.tolist(), *(c.tolist() for c in columns), strict=True
    ):
        open_, high, low, close, volume = values
        yield Candle(
            exchange="binance",
            symbol="BTC-USDT",
            timeframe=ohlcv.timeframe,
            opened_at_us=opened_at_us,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            trades=1,
        )


@st.composite
def candle_series(draw: st.DrawFn, timeframe: Timeframe = Timeframe.M5, max_size: int = 45) -> Ohlcv:
    """Candles with gaps in time, on a coarse price grid so that equal prices and zero volumes are common."""
    size = draw(st.integers(0, max_size))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 14]), min_size=size, max_size=size))
    opened = MONDAY_US + draw(st.integers(0, 30)) * timeframe.us
    price = st.integers(1, 20).map(lambda n: n / 2)
    opens_us, rows = [], []
    for step in steps:
        opened += step * timeframe.us
        opens_us.append(opened)
        first, high, low, last = (draw(price) for _ in range(4))
        rows.append(
            (
                first,
                max(first, high, low, last),
                min(first, high, low, last),
                last,
                draw(st.integers(0, 3)) / 1.0,
            )
        )
    return ohlcv_of(opens_us, rows, timeframe)
