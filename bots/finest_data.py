"""What tells what came first inside a candle: its trades, or else stored candles of a smaller time frame.

Bots ask for one candle, a backtest for all that need it; each candle gets the same rows either way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from bots.finer_candles import finer_candles
from data.files.trade_columns import TradeColumns
from data.models import BoolArray, FloatArray, IntArray, Market, Ohlcv
from data.stores import CandleReader
from data.timeframes import Timeframe

_VOLUME_TOLERANCE = 1e-9  # relative: sums of doubles
# Trades are read of so many candles at once: a day of a busy market is some millions.
_MOST_AT_ONCE_US = Timeframe.D1.us
_COLUMNS = ("opened_at_us", "open", "high", "low", "close", "volume")
Span = tuple[int, int]  # [start, end) in microseconds

FinestReader = Callable[[Ohlcv], "FinestRows | None"]  # what `finest` gives for these candles


@runtime_checkable
class TradesWithin(Protocol):
    """Stored trades of several times at once. Synchronous; raises TransientError."""

    def trades_within(self, market: Market, spans: Sequence[Span]) -> TradeColumns:
        """Trades of any of these times `[start, end)`, in id order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FinestRows(Ohlcv):
    """Trades and smaller candles in the order in which they happened; each candle has one kind inside it.

    A trade is a row with one price, and its quantity as volume; trades that follow each other at one price
    are one row. Several rows may have one time. `timeframe` is the smallest one of the candles among them,
    or 1s where there are only trades.
    """

    trades: int  # that the rows stand for
    candles: int  # rows that are smaller candles


def finest(reader: CandleReader, market: Market, ohlcv: Ohlcv) -> FinestRows | None:
    """For each candle of `ohlcv` its trades, or else the smallest stored candles that cover it wholly.

    Those that cover a candle wholly have its volume (to 1e-9), its high and its low between them; trades of
    a part of it must not decide. None where there is nothing for any of the candles.
    """
    found: list[FinestRows] = []
    untold = np.ones(len(ohlcv), dtype=np.bool_)
    if isinstance(reader, TradesWithin):
        at_once = max(1, _MOST_AT_ONCE_US // ohlcv.timeframe.us)
        for first in range(0, len(ohlcv), at_once):
            some = ohlcv.rows(first, min(first + at_once, len(ohlcv)))
            of_trades, told = trade_rows(reader.trades_within(market, spans_of(some)), some)
            if of_trades is not None:
                found.append(of_trades)
            untold[first : first + at_once] = ~told
    for first, last in _in_a_row(ohlcv, untold):
        smaller = finer_candles(reader, market, ohlcv.rows(first, last))
        if smaller is not None:
            found.append(_candle_rows(smaller))
    return merged(found)


def candles_within(parts: Ohlcv, ohlcv: Ohlcv) -> FinestRows | None:
    """Those of `parts`, candles of a smaller time frame, that open in a candle of `ohlcv`; None without."""
    row: IntArray = np.searchsorted(ohlcv.opened_at_us, parts.opened_at_us, side="right") - 1
    is_inside = (row >= 0) & (parts.opened_at_us < ohlcv.opened_at_us[row] + ohlcv.timeframe.us)
    return _candle_rows(parts.taken(np.flatnonzero(is_inside))) if is_inside.any() else None


def trade_rows(columns: TradeColumns, ohlcv: Ohlcv) -> tuple[FinestRows | None, BoolArray]:
    """The trades of each candle that they cover wholly, and which candles those are, shape (n,).

    They stand in the order of their ids. Where a venue's times run backwards in that order, a trade takes the
    time of the one before it.
    """
    told = np.zeros(len(ohlcv), dtype=np.bool_)
    if len(columns) == 0 or len(ohlcv) == 0:
        return None, told
    candle: IntArray = np.searchsorted(ohlcv.opened_at_us, columns.traded_at_us, side="right") - 1
    is_inside = (candle >= 0) & (columns.traded_at_us < ohlcv.opened_at_us[candle] + ohlcv.timeframe.us)
    # By candle, and in each of them by id.
    rows = np.flatnonzero(is_inside)
    rows = rows[np.argsort(candle[rows], kind="stable")]
    if len(rows) == 0:
        return None, told
    price, quantity = columns.price[rows], columns.quantity[rows]
    candles, firsts = np.unique(candle[rows], return_index=True)
    told[candles] = (
        np.isclose(np.add.reduceat(quantity, firsts), ohlcv.volume[candles], rtol=_VOLUME_TOLERANCE, atol=0.0)
        & (np.maximum.reduceat(price, firsts) == ohlcv.high[candles])
        & (np.minimum.reduceat(price, firsts) == ohlcv.low[candles])
    )
    if not told.any():
        return None, told
    kept = told[candle[rows]]
    return _one_row_a_price(
        candle[rows][kept], columns.traded_at_us[rows][kept], price[kept], quantity[kept]
    ), told


def _one_row_a_price(
    candle: IntArray, traded_at_us: IntArray, price: FloatArray, quantity: FloatArray
) -> FinestRows:
    """Trades, by candle, as rows. A second trade at one price can touch nothing that the first has not."""
    is_new = np.ones(len(price), dtype=np.bool_)
    is_new[1:] = (np.diff(price) != 0) | (np.diff(candle) != 0)
    firsts = np.flatnonzero(is_new)
    kept = price[firsts]
    return FinestRows(
        timeframe=Timeframe.S1,
        # Candles do not overlap: a later one's first time is later than all of those before it.
        opened_at_us=np.maximum.accumulate(traded_at_us)[firsts],
        open=kept,
        high=kept,
        low=kept,
        close=kept,
        volume=np.add.reduceat(quantity, firsts),
        trades=len(price),
        candles=0,
    )


def merged(found: Sequence[FinestRows]) -> FinestRows | None:
    """All of them in order of time; none overlap. What is of one kind stays of that kind."""
    if len(found) < 2:
        return found[0] if found else None
    columns = {name: np.concatenate([getattr(part, name) for part in found]) for name in _COLUMNS}
    order = np.argsort(columns["opened_at_us"], kind="stable")
    # Only candles have a time frame of their own.
    own = [part.timeframe for part in found if part.candles]
    return FinestRows(
        timeframe=min(own or [Timeframe.S1], key=lambda one: one.us),
        trades=sum(part.trades for part in found),
        candles=sum(part.candles for part in found),
        **{name: column[order] for name, column in columns.items()},
    )


def counts_of(finer: Ohlcv | None) -> tuple[int, int]:
    """How many trades, and how many smaller candles."""
    if isinstance(finer, FinestRows):
        return finer.trades, finer.candles
    return 0, 0 if finer is None else len(finer)


def _candle_rows(ohlcv: Ohlcv) -> FinestRows:
    columns = {name: getattr(ohlcv, name) for name in _COLUMNS}
    return FinestRows(timeframe=ohlcv.timeframe, trades=0, candles=len(ohlcv), **columns)


def spans_of(ohlcv: Ohlcv) -> list[Span]:
    """The times that the candles cover, those in a row together."""
    every = np.ones(len(ohlcv), dtype=np.bool_)
    return [
        (int(ohlcv.opened_at_us[first]), int(ohlcv.opened_at_us[last - 1]) + ohlcv.timeframe.us)
        for first, last in _in_a_row(ohlcv, every)
    ]


def _in_a_row(ohlcv: Ohlcv, wanted: BoolArray) -> list[tuple[int, int]]:
    """The wanted candles as ranges of rows within which one follows the other without a gap."""
    rows = np.flatnonzero(wanted)
    if len(rows) == 0:
        return []
    breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(ohlcv.opened_at_us[rows]) != ohlcv.timeframe.us))
    firsts = rows[np.concatenate(([0], breaks + 1))]
    lasts = rows[np.concatenate((breaks, [len(rows) - 1]))] + 1
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
