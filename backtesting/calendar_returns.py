"""Returns of calendar days and months in UTC; the first and last of a run may be parts of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.models import FloatArray, IntArray
from data.timeframes import Timeframe

_DAY_US = Timeframe.D1.us


@dataclass(frozen=True, slots=True)
class CalendarReturns:
    """`periods` are days or months since 1970 that hold a candle's close, `returns` theirs; shape (n,).

    A return is NaN where the period began with nothing. A period without a candle has no row.
    """

    periods: IntArray
    returns: FloatArray

    @property
    def best(self) -> float:
        return float(np.nanmax(self.returns)) if np.isfinite(self.returns).any() else np.nan

    @property
    def worst(self) -> float:
        return float(np.nanmin(self.returns)) if np.isfinite(self.returns).any() else np.nan


def daily_returns(capital: float, equity: FloatArray, closes_at_us: IntArray) -> CalendarReturns:
    """Of every UTC day. A candle that closes at midnight belongs to the day before."""
    return _by_period(capital, equity, (closes_at_us - 1) // _DAY_US)


def monthly_returns(capital: float, equity: FloatArray, closes_at_us: IntArray) -> CalendarReturns:
    """Of every month in UTC. A candle that closes at midnight of the first belongs to the month before."""
    days = (closes_at_us - 1) // _DAY_US
    # Days are few, and only their last candles can end a month.
    ends = _last_rows(days)
    months = days[ends].view("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return _by_period(capital, equity[ends], months)


def _by_period(capital: float, equity: FloatArray, periods: IntArray) -> CalendarReturns:
    rows = _last_rows(periods)
    after = equity[rows]
    before = np.concatenate(([capital], after[:-1]))
    ratio = np.divide(after, before, out=np.full(len(after), np.nan), where=before > 0)
    return CalendarReturns(periods[rows], ratio - 1.0)


def _last_rows(periods: IntArray) -> IntArray:
    return np.append(np.flatnonzero(np.diff(periods)), len(periods) - 1)
