"""Trades and candles of one market as columns of whole numbers, so that sums and comparisons are exact.

Prices count units of `10 ** -price_decimals`, sizes units of `10 ** -size_decimals` of the instrument; sizes
are what the venue writes (base currency on spot, contracts on swaps and futures). Times are milliseconds, as
on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from data.models import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeColumns:
    """Trades in id order, each column of shape (n,)."""

    ids: IntArray
    at_ms: IntArray
    price: IntArray
    size: IntArray
    buy: BoolArray  # the taker bought
    aggregate_ids: IntArray  # same taker order, same price: the venue reports these trades as one

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, start: int, stop: int) -> TradeColumns:
        """Rows `start` up to `stop`, as views on the same memory."""
        return TradeColumns(**{field.name: getattr(self, field.name)[start:stop] for field in fields(self)})

    def where(self, keep: BoolArray) -> TradeColumns:
        """The rows for which `keep` is true."""
        return TradeColumns(**{field.name: getattr(self, field.name)[keep] for field in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleColumns:
    """Candles ascending in time, each column of shape (n,)."""

    opened_at_ms: IntArray
    open: IntArray
    high: IntArray
    low: IntArray
    close: IntArray
    volume: IntArray
    buy_volume: IntArray  # of it, what takers bought
    quote: FloatArray  # sum of price * size, in units of both
    buy_quote: FloatArray
    trades: IntArray
    first_id: IntArray  # -1 where there is no trade
    last_id: IntArray

    def __len__(self) -> int:
        return len(self.opened_at_ms)

    def between(self, start_ms: int, end_ms: int) -> CandleColumns:
        """Candles that open in `[start_ms, end_ms)`."""
        first, last = np.searchsorted(self.opened_at_ms, [start_ms, end_ms])
        return CandleColumns(**{field.name: getattr(self, field.name)[first:last] for field in fields(self)})


@dataclass(frozen=True, slots=True)
class Width:
    """How a venue cuts time: intervals of `ms` that start at `anchor_ms` and every `ms` before and after."""

    ms: int
    anchor_ms: int = 0

    def floor(self, at_ms: int) -> int:
        """The open of the interval that holds `at_ms`."""
        return at_ms - (at_ms - self.anchor_ms) % self.ms

    def floors(self, at_ms: IntArray) -> IntArray:
        """The same for a column of times."""
        return at_ms - (at_ms - self.anchor_ms) % self.ms


MINUTE = Width(60_000)


def no_trades() -> TradeColumns:
    """No rows."""
    whole = np.empty(0, np.int64)
    return TradeColumns(
        ids=whole, at_ms=whole, price=whole, size=whole, buy=np.empty(0, np.bool_), aggregate_ids=whole
    )


def candles_of(trades: TradeColumns, width: Width) -> CandleColumns:
    """Candles of trades in id order; an interval without trades has no row."""
    if not len(trades):
        return concatenated([])
    opened_at_ms = width.floors(trades.at_ms)
    starts = _starts(opened_at_ms)
    ends = np.append(starts[1:], len(trades)) - 1
    quote = trades.price.astype(np.float64) * trades.size
    return CandleColumns(
        opened_at_ms=opened_at_ms[starts],
        open=trades.price[starts],
        high=np.maximum.reduceat(trades.price, starts),
        low=np.minimum.reduceat(trades.price, starts),
        close=trades.price[ends],
        volume=np.add.reduceat(trades.size, starts),
        buy_volume=np.add.reduceat(np.where(trades.buy, trades.size, 0), starts),
        quote=np.add.reduceat(quote, starts),
        buy_quote=np.add.reduceat(np.where(trades.buy, quote, 0.0), starts),
        trades=ends - starts + 1,
        first_id=trades.ids[starts],
        last_id=trades.ids[ends],
    )


def folded(candles: CandleColumns, width: Width) -> CandleColumns:
    """Longer candles out of shorter ones that lie wholly inside them."""
    if not len(candles):
        return candles
    opened_at_ms = width.floors(candles.opened_at_ms)
    starts = _starts(opened_at_ms)
    ends = np.append(starts[1:], len(candles)) - 1
    return CandleColumns(
        opened_at_ms=opened_at_ms[starts],
        open=candles.open[starts],
        high=np.maximum.reduceat(candles.high, starts),
        low=np.minimum.reduceat(candles.low, starts),
        close=candles.close[ends],
        volume=np.add.reduceat(candles.volume, starts),
        buy_volume=np.add.reduceat(candles.buy_volume, starts),
        quote=np.add.reduceat(candles.quote, starts),
        buy_quote=np.add.reduceat(candles.buy_quote, starts),
        trades=np.add.reduceat(candles.trades, starts),
        first_id=candles.first_id[starts],
        last_id=candles.last_id[ends],
    )


def concatenated(parts: Sequence[CandleColumns]) -> CandleColumns:
    """One series out of several that follow each other."""
    columns = {}
    for field in fields(CandleColumns):
        kind = np.float64 if field.name in ("quote", "buy_quote") else np.int64
        columns[field.name] = np.concatenate(
            [np.empty(0, kind), *(getattr(part, field.name) for part in parts)]
        )
    return CandleColumns(**columns)


def _starts(opened_at_ms: IntArray) -> IntArray:
    changes = np.flatnonzero(np.diff(opened_at_ms)) + 1
    return np.concatenate([np.zeros(1, np.int64), changes])
