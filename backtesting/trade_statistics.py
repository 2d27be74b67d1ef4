"""What closed trades say: columns of them, excursions, streaks, and figures by side and by exit reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bots.orders import ClosedTrade, PositionSide
from data.models import BoolArray, FloatArray, IntArray, Ohlcv

FEWEST_BINS, MOST_BINS = 20, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeColumns:
    """Closed trades as columns of shape (n,), in the order of their exits. Money in quote currency."""

    pnl: FloatArray  # net of fees
    rate: FloatArray  # pnl over the entry's cost
    fees: FloatArray
    entry_at_us: IntArray
    exit_at_us: IntArray
    long: BoolArray

    @property
    def held_us(self) -> IntArray:
        return self.exit_at_us - self.entry_at_us


def trade_columns(trades: Sequence[ClosedTrade]) -> TradeColumns:
    """The columns of these trades."""
    return TradeColumns(
        pnl=np.array([float(trade.pnl) for trade in trades], dtype=np.float64),
        rate=np.array([float(trade.return_rate) for trade in trades], dtype=np.float64),
        fees=np.array([float(trade.fees) for trade in trades], dtype=np.float64),
        entry_at_us=np.array([trade.entry_at_us for trade in trades], dtype=np.int64),
        exit_at_us=np.array([trade.exit_at_us for trade in trades], dtype=np.int64),
        long=np.array([trade.side is PositionSide.LONG for trade in trades], dtype=np.bool_),
    )


def excursions(trades: Sequence[ClosedTrade], ohlcv: Ohlcv) -> tuple[FloatArray, FloatArray]:
    """How far the price went against and for each trade: (adverse, favourable), shape (n,).

    Fractions of the trade's entry price, the adverse at most 0, the favourable at least 0. They come from the
    highs and lows of the candles that the trade was held through and from the exit's own price. Of the candle
    it was left in nothing else counts: the rest may have come after the exit.
    """
    if not trades:
        return np.empty(0), np.empty(0)
    entry_at_us = np.array([trade.entry_at_us for trade in trades], dtype=np.int64)
    exit_at_us = np.array([trade.exit_at_us for trade in trades], dtype=np.int64)
    entry = np.array([float(trade.entry_price) for trade in trades])
    left = np.array([float(trade.exit_price) for trade in trades])
    long = np.array([trade.side is PositionSide.LONG for trade in trades], dtype=np.bool_)
    opened_at_us = ohlcv.opened_at_us
    first = np.searchsorted(opened_at_us, entry_at_us, side="right") - 1
    last = np.searchsorted(opened_at_us, exit_at_us, side="right") - 1
    # An exit at the very end of a candle, as --close-at-end makes, has seen all of it.
    last = last + (exit_at_us >= opened_at_us[last] + ohlcv.timeframe.us)
    highest = _extreme(np.maximum, np.append(ohlcv.high, -np.inf), first, last)
    lowest = _extreme(np.minimum, np.append(ohlcv.low, np.inf), first, last)
    up = np.maximum(np.maximum(highest, left) / entry - 1.0, 0.0)
    down = np.minimum(np.minimum(lowest, left) / entry - 1.0, 0.0)
    return np.where(long, down, -up), np.where(long, up, -down)


def _extreme(choose: np.ufunc, padded: FloatArray, first: IntArray, last: IntArray) -> FloatArray:
    """The extreme of rows `first` up to `last`; the padding's last value where there is none."""
    found = choose.reduceat(padded, np.column_stack((first, last)).ravel())[::2]
    return np.where(last > first, found, padded[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Trades in a row that all won or all lost; times are the first entry and the last exit."""

    trades: int
    pnl: float
    from_us: int
    to_us: int


def longest_run(trades: TradeColumns, hits: BoolArray) -> Streak | None:
    """The longest row of neighbours for which `hits` is true, the earliest of equals; None where none is."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], hits.view(np.int8), [0]))))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return None
    longest = int(np.argmax(ends - starts))
    start, end = int(starts[longest]), int(ends[longest])
    return Streak(
        trades=end - start,
        pnl=float(trades.pnl[start:end].sum()),
        from_us=int(trades.entry_at_us[start]),
        to_us=int(trades.exit_at_us[end - 1]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """Some of a run's trades. NaN where a figure is not defined."""

    trades: int
    pnl: float
    win_rate: float
    average_trade: float  # mean return
    profit_factor: float
    average_duration: float  # seconds


def group_figures(trades: TradeColumns, chosen: BoolArray) -> GroupFigures:
    """The figures of the chosen trades."""
    pnl, count = trades.pnl[chosen], int(chosen.sum())
    lost = float(-pnl[pnl < 0].sum())
    return GroupFigures(
        trades=count,
        pnl=float(pnl.sum()),
        win_rate=float((pnl > 0).mean()) if count else math.nan,
        average_trade=float(trades.rate[chosen].mean()) if count else math.nan,
        profit_factor=float(pnl[pnl > 0].sum()) / lost if lost > 0 else math.nan,
        average_duration=float(trades.held_us[chosen].mean()) / 1e6 if count else math.nan,
    )


def distribution(rates: FloatArray) -> tuple[FloatArray, IntArray]:
    """A histogram of returns: edges of shape (k + 1,), counts of shape (k,). An edge lies at 0.

    Width after Freedman and Diaconis (1981), with about `FEWEST_BINS` to `MOST_BINS` bins.
    """
    if not len(rates):
        return np.empty(0), np.empty(0, dtype=np.int64)
    low, high = min(float(rates.min()), 0.0), max(float(rates.max()), 0.0)
    upper, lower = np.percentile(rates, (75, 25))
    width = 2.0 * float(upper - lower) / len(rates) ** (1 / 3)
    width = max(min(width, (high - low) / FEWEST_BINS), (high - low) / MOST_BINS)
    if width <= 0:
        return np.array([0.0, 0.0]), np.array([len(rates)])
    edges = np.arange(math.floor(low / width), math.floor(high / width) + 2) * width
    counts, _ = np.histogram(rates, bins=edges)
    return edges, counts
