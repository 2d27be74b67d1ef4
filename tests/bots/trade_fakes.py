"""Random trades, the candles that they make, and a reader that holds both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bots.finest_data import Span
from data.files.trade_columns import BUY, TradeColumns
from data.models import IntArray, Market, Ohlcv
from data.timeframes import Timeframe
from tests.bots.bot_fakes import MemoryCandles


def trades_of(rows: Sequence[tuple[int, float, float]], *, first_id: int = 1) -> TradeColumns:
    """Trades (time in microseconds, price, quantity) with ids one after the other."""
    return TradeColumns(
        trade_id=np.arange(first_id, first_id + len(rows), dtype=np.int64),
        traded_at_us=np.array([row[0] for row in rows], dtype=np.int64),
        price=np.array([row[1] for row in rows], dtype=np.float64),
        quantity=np.array([row[2] for row in rows], dtype=np.float64),
        taker_side=np.full(len(rows), BUY, dtype=np.int8),
    )


def walking_trades(
    seed: int, start_us: int, timeframe: Timeframe, candles: int, *, most: int = 12, step: float = 0.6
) -> TradeColumns:
    """Up to `most` trades a candle, some at the same time, some intervals without any; prices walk."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, float, float]] = []
    price = 100.0
    for number in range(candles):
        if number > 4 and rng.random() < 0.1:
            continue
        count = int(rng.integers(1, most + 1))
        # Few different times, so that several trades share one.
        times = np.sort(rng.integers(0, 20, count)) * (timeframe.us // 20)
        for after_us in times.tolist():
            price = max(1.0, round(price + float(rng.normal(0, step)), 2))
            rows.append(
                (start_us + number * timeframe.us + after_us, price, float(rng.integers(1, 500)) / 1000)
            )
    return trades_of(rows)


def candles_from(trades: TradeColumns, timeframe: Timeframe) -> Ohlcv:
    """The candles that these trades make."""
    opened: IntArray = trades.traded_at_us // timeframe.us * timeframe.us
    times, firsts = np.unique(opened, return_index=True)
    lasts = np.append(firsts[1:], len(opened)) - 1
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=times,
        open=trades.price[firsts],
        high=np.maximum.reduceat(trades.price, firsts),
        low=np.minimum.reduceat(trades.price, firsts),
        close=trades.price[lasts],
        volume=np.add.reduceat(trades.quantity, firsts),
    )


class MemoryTrades(MemoryCandles):
    """Candles and trades of one market; `asked` has the spans of every reading of trades."""

    def __init__(self, trades: TradeColumns, *series: tuple[Market, Ohlcv]) -> None:
        super().__init__(*series)
        self._trades = trades
        self.asked: list[list[Span]] = []

    def trades_within(self, market: Market, spans: Sequence[Span]) -> TradeColumns:
        self.asked.append(list(spans))
        wanted = np.zeros(len(self._trades), dtype=np.bool_)
        for start_us, end_us in spans:
            wanted |= (self._trades.traded_at_us >= start_us) & (self._trades.traded_at_us < end_us)
        return self._trades.taken(np.flatnonzero(wanted))
