"""A report's figures as data: months, drawdowns, rolling ratios, distributions, sides, reasons, costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from backtesting.calendar_returns import CalendarReturns, daily_returns, monthly_returns
from backtesting.course import Course
from backtesting.drawdowns import Drawdown, worst_drawdowns
from backtesting.manifest import iso_time
from backtesting.metrics import cagr, max_drawdown, returns_of, samples_of, sharpe_ratio, sortino_ratio
from backtesting.metrics import volatility as volatility_of
from backtesting.rolling import rolling_sharpe
from backtesting.trade_statistics import (
    GroupFigures,
    Streak,
    TradeColumns,
    distribution,
    group_figures,
    longest_run,
    trade_columns,
)
from data.models import BoolArray, FloatArray
from data.timeframes import SECOND_US

MOST_DRAWDOWNS = 10

# JSON has no NaN: what is not defined is None.
Figure = float | None


class MonthReturn(msgspec.Struct, frozen=True, kw_only=True):
    """One calendar month in UTC; the first and the last may be parts."""

    year: int
    month: int  # 1 to 12
    rate: Figure


class DayReturn(msgspec.Struct, frozen=True, kw_only=True):
    """One calendar day in UTC."""

    day: str  # "2024-08-05"
    rate: Figure


class Fall(msgspec.Struct, frozen=True, kw_only=True):
    """One drawdown: from its peak to the trough and back. Times are ISO 8601, durations seconds."""

    start: str  # the last time equity stood at the peak
    trough: str
    recovery: str | None  # None: not before the run's end
    depth: float  # fraction of the peak, above 0
    peak_equity: float
    trough_equity: float
    to_trough: float
    to_recovery: Figure  # from the trough
    duration: float  # from the peak to the recovery, or to the run's end


class Rolling(msgspec.Struct, frozen=True, kw_only=True):
    """Sharpe ratios of the windows that end at these times."""

    window: int
    unit: str  # "days" or "candles"
    times: list[str]
    sharpe: list[Figure]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the trades: one side's, or those left for one reason, or one symbol's."""

    name: str
    trades: int
    pnl: float
    win_rate: Figure
    average_trade: Figure
    profit_factor: Figure
    average_duration: Figure  # seconds


class StreakFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Trades in a row that all won or all lost."""

    trades: int
    pnl: float
    start: str
    end: str


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """`counts[i]` trades returned at least `edges[i]` and less than `edges[i + 1]`."""

    edges: list[float]
    counts: list[int]


class HoldingTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from entry to exit."""

    shortest: Figure
    median: Figure
    average: Figure
    longest: Figure
    average_winner: Figure
    average_loser: Figure


class CostFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What trading cost, in quote currency."""

    fees: float
    slippage: float  # to slippage and to rounding
    total: float
    share_of_capital: float
    before_costs: float  # what the account would have gained without them, all fills being equal


class Excursions(msgspec.Struct, frozen=True, kw_only=True):
    """Of each closed trade, in the order of `trades`: fractions of the entry price."""

    adverse: list[float]  # at most 0
    favourable: list[float]  # at least 0
    average_adverse: Figure
    average_favourable: Figure


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """The run, or buying and holding, over the same span by the same definitions."""

    total_return: float
    cagr: Figure
    sharpe: Figure
    sortino: Figure
    volatility: Figure
    max_drawdown: float
    calmar: Figure


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Fractions, never percent; None where a figure is not defined."""

    strategy: Benchmark
    buy_and_hold: Benchmark
    months: list[MonthReturn]
    best_month: MonthReturn | None
    worst_month: MonthReturn | None
    best_day: DayReturn | None
    worst_day: DayReturn | None
    positive_months: Figure  # share
    positive_days: Figure
    drawdowns: list[Fall]  # the deepest first
    rolling_sharpe: Rolling
    sides: list[Group]
    exit_reasons: list[Group]
    symbols: list[Group]  # of a portfolio
    holding_times: HoldingTimes
    longest_winning_streak: StreakFigures | None
    longest_losing_streak: StreakFigures | None
    distribution: Histogram
    excursions: Excursions
    costs: CostFigures
    time_in_market: float  # share of candles with a position
    turnover: Figure


def analysis_of(course: Course) -> Analysis:
    """The analysis of a run."""
    metrics, trades = course.metrics, trade_columns(course.trades)
    days = daily_returns(course.capital, course.equity, course.closes_at_us)
    months = monthly_returns(course.capital, course.equity, course.closes_at_us)
    told_months = [_month(month, rate) for month, rate in _pairs(months)]
    told_days = _pairs(days)
    reasons = np.array([trade.exit_reason.value for trade in course.trades], dtype=np.str_)
    owners = np.array(course.owners, dtype=np.str_)
    several = len(set(course.owners)) > 1
    edges, counts = distribution(trades.rate)
    costs = metrics.fees_paid + metrics.slippage_paid
    held_us = trades.held_us.astype(np.float64)
    return Analysis(
        strategy=_benchmark(course, course.curve),
        buy_and_hold=_benchmark(course, np.concatenate(([course.capital], course.held))),
        months=told_months,
        best_month=told_months[int(np.nanargmax(months.returns))] if _known(months) else None,
        worst_month=told_months[int(np.nanargmin(months.returns))] if _known(months) else None,
        best_day=_day(*told_days[int(np.nanargmax(days.returns))]) if _known(days) else None,
        worst_day=_day(*told_days[int(np.nanargmin(days.returns))]) if _known(days) else None,
        positive_months=_figure(_mean(months.returns > 0)),
        positive_days=_figure(_mean(days.returns > 0)),
        drawdowns=[_fall(one) for one in worst_drawdowns(course.curve, course.curve_at_us, MOST_DRAWDOWNS)],
        rolling_sharpe=_rolling(course),
        sides=[_group("long", trades, trades.long), _group("short", trades, ~trades.long)],
        exit_reasons=_groups(trades, reasons),
        symbols=_groups(trades, owners) if several else [],
        holding_times=HoldingTimes(
            shortest=_seconds(held_us.min()) if len(held_us) else None,
            median=_seconds(np.median(held_us)) if len(held_us) else None,
            average=_seconds(_mean(held_us)),
            longest=_seconds(held_us.max()) if len(held_us) else None,
            average_winner=_seconds(_mean(held_us[trades.pnl > 0])),
            average_loser=_seconds(_mean(held_us[trades.pnl < 0])),
        ),
        longest_winning_streak=_streak(longest_run(trades, trades.pnl > 0)),
        longest_losing_streak=_streak(longest_run(trades, trades.pnl < 0)),
        distribution=Histogram(edges=edges.tolist(), counts=counts.tolist()),
        excursions=Excursions(
            adverse=course.adverse.tolist(),
            favourable=course.favourable.tolist(),
            average_adverse=_figure(_mean(course.adverse)),
            average_favourable=_figure(_mean(course.favourable)),
        ),
        costs=CostFigures(
            fees=metrics.fees_paid,
            slippage=metrics.slippage_paid,
            total=costs,
            share_of_capital=costs / course.capital,
            before_costs=metrics.final_equity - course.capital + costs,
        ),
        time_in_market=metrics.exposure,
        turnover=_figure(metrics.turnover),
    )


def _benchmark(course: Course, curve: FloatArray) -> Benchmark:
    at_us = course.curve_at_us
    _, rows, per_year = samples_of(at_us)
    returns = returns_of(curve[rows])
    growth = cagr(float(curve[0]), float(curve[-1]), int(at_us[-1] - at_us[0]))
    fall, _ = max_drawdown(curve, at_us)
    return Benchmark(
        total_return=float(curve[-1] / curve[0]) - 1.0,
        cagr=_figure(growth),
        sharpe=_figure(sharpe_ratio(returns, periods_per_year=per_year)),
        sortino=_figure(sortino_ratio(returns, periods_per_year=per_year)),
        volatility=_figure(volatility_of(returns, periods_per_year=per_year)),
        max_drawdown=fall,
        calmar=_figure(growth / fall if fall > 0 else math.nan),
    )


def _rolling(course: Course) -> Rolling:
    found = rolling_sharpe(course.curve, course.curve_at_us)
    return Rolling(
        window=found.window,
        unit=found.unit,
        times=[iso_time(at_us) for at_us in found.at_us.tolist()],
        sharpe=[_figure(value) for value in found.sharpe.tolist()],
    )


def _groups(trades: TradeColumns, names: np.typing.NDArray[np.str_]) -> list[Group]:
    return [_group(str(name), trades, names == name) for name in np.unique(names)]


def _group(name: str, trades: TradeColumns, chosen: BoolArray) -> Group:
    figures: GroupFigures = group_figures(trades, chosen)
    return Group(
        name=name,
        trades=figures.trades,
        pnl=figures.pnl,
        win_rate=_figure(figures.win_rate),
        average_trade=_figure(figures.average_trade),
        profit_factor=_figure(figures.profit_factor),
        average_duration=_figure(figures.average_duration),
    )


def _fall(found: Drawdown) -> Fall:
    back = found.recovered_at_us
    return Fall(
        start=iso_time(found.peak_at_us),
        trough=iso_time(found.trough_at_us),
        recovery=None if back is None else iso_time(back),
        depth=found.depth,
        peak_equity=found.peak,
        trough_equity=found.trough,
        to_trough=(found.trough_at_us - found.peak_at_us) / SECOND_US,
        to_recovery=None if back is None else (back - found.trough_at_us) / SECOND_US,
        duration=(found.ended_at_us - found.peak_at_us) / SECOND_US,
    )


def _streak(found: Streak | None) -> StreakFigures | None:
    if found is None:
        return None
    return StreakFigures(
        trades=found.trades, pnl=found.pnl, start=iso_time(found.from_us), end=iso_time(found.to_us)
    )


def _pairs(returns: CalendarReturns) -> list[tuple[int, float]]:
    return list(zip(returns.periods.tolist(), returns.returns.tolist(), strict=True))


def _known(returns: CalendarReturns) -> bool:
    return bool(np.isfinite(returns.returns).any())


def _month(month: int, rate: float) -> MonthReturn:
    return MonthReturn(year=1970 + month // 12, month=month % 12 + 1, rate=_figure(rate))


def _day(day: int, rate: float) -> DayReturn:
    return DayReturn(day=str(np.datetime64(day, "D")), rate=_figure(rate))


def _figure(value: float) -> Figure:
    return value if math.isfinite(value) else None


def _seconds(value_us: float) -> Figure:
    return _figure(float(value_us) / SECOND_US)


def _mean(values: FloatArray | BoolArray | Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
