"""What reports need of a run, the same for one symbol, for a leg, and for a whole portfolio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backtesting.buy_and_hold import held_in_equal_parts
from backtesting.engine import BacktestResult
from backtesting.metrics import Metrics
from backtesting.portfolio import LegResult, PortfolioResult
from backtesting.trade_statistics import excursions
from bots.orders import ClosedTrade
from data.models import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How one account went. Money in quote currency, times UTC microseconds, arrays of shape (n,)."""

    capital: float
    starts_at_us: int
    closes_at_us: IntArray
    equity: FloatArray  # at the closes
    held: FloatArray  # the capital bought and held instead, without costs
    trades: Sequence[ClosedTrade]  # in the order of their exits
    owners: Sequence[str]  # the symbol of each trade
    adverse: FloatArray  # of each trade, see `trade_statistics.excursions`
    favourable: FloatArray
    metrics: Metrics

    @property
    def curve(self) -> FloatArray:
        """The capital at the start, then the equity, shape (n + 1,)."""
        return np.concatenate(([self.capital], self.equity))

    @property
    def curve_at_us(self) -> IntArray:
        return np.concatenate(([self.starts_at_us], self.closes_at_us))


def course_of(result: BacktestResult, symbol: str = "") -> Course:
    """The course of a single run."""
    ohlcv, capital = result.ohlcv, float(result.capital)
    adverse, favourable = excursions(result.trades, ohlcv)
    return Course(
        capital=capital,
        starts_at_us=int(ohlcv.opened_at_us[0]),
        closes_at_us=ohlcv.opened_at_us + ohlcv.timeframe.us,
        equity=result.equity,
        held=capital * ohlcv.close / ohlcv.open[0],
        trades=result.trades,
        owners=[symbol] * len(result.trades),
        adverse=adverse,
        favourable=favourable,
        metrics=result.metrics,
    )


def leg_course(part: LegResult, capital: float) -> Course:
    """The course of one leg: its own gain on top of the whole capital."""
    ohlcv = part.leg.ohlcv
    adverse, favourable = excursions(part.trades, ohlcv)
    return Course(
        capital=capital,
        starts_at_us=int(ohlcv.opened_at_us[0]),
        closes_at_us=ohlcv.opened_at_us + ohlcv.timeframe.us,
        equity=capital + part.gain,
        held=capital * ohlcv.close / ohlcv.open[0],
        trades=part.trades,
        owners=[part.leg.symbol] * len(part.trades),
        adverse=adverse,
        favourable=favourable,
        metrics=part.metrics,
    )


def portfolio_course(result: PortfolioResult) -> Course:
    """The course of the account that all legs share."""
    capital = float(result.capital)
    legs = [leg_course(part, capital) for part in result.legs]
    rows = [
        (trade, owner, adverse, favourable)
        for leg in legs
        for trade, owner, adverse, favourable in zip(
            leg.trades, leg.owners, leg.adverse.tolist(), leg.favourable.tolist(), strict=True
        )
    ]
    rows.sort(key=lambda row: row[0].exit_at_us)
    return Course(
        capital=capital,
        starts_at_us=min(leg.starts_at_us for leg in legs),
        closes_at_us=result.at_us,
        equity=result.equity,
        held=capital * held_in_equal_parts([part.leg.ohlcv for part in result.legs], result.at_us),
        trades=[row[0] for row in rows],
        owners=[row[1] for row in rows],
        adverse=np.array([row[2] for row in rows]),
        favourable=np.array([row[3] for row in rows]),
        metrics=result.metrics,
    )
