"""Metrics by hand, and against what other packages publish for the same numbers."""

from __future__ import annotations

import gzip
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtesting.engine import run_backtest
from backtesting.metrics import (
    CANDLES,
    DAY_US,
    MIDNIGHTS,
    YEAR_US,
    Run,
    cagr,
    equity_at_midnights,
    longest_streak,
    max_drawdown,
    metrics_of,
    returns_of,
    sharpe_ratio,
    sortino_ratio,
    volatility,
)
from bots.orders import ClosedTrade, Costs, OrderReason, PositionSide, TradingRules
from data.models import FloatArray
from data.timeframes import Timeframe
from tests.backtesting.series import GivenSignals, ohlcv_of, signals_at

PERIODS = {"daily": 252.0, "weekly": 52.0, "monthly": 12.0, "yearly": 1.0}
HOUR_US = Timeframe.H1.us


def published(folder: Path, name: str) -> list[tuple[FloatArray, float, dict[str, Any]]]:
    """Cases of empyrical's own tests with plain returns: (returns, periods per year, arguments)."""
    cases = []
    with gzip.open(folder / "reference" / "metrics" / "empyrical_expected.jsonl.gz", "rt") as file:
        for line in file:
            case = json.loads(line)
            arguments = case["args"]
            series = arguments.get("returns")
            others = [arguments.get(key, 0.0) for key in ("risk_free", "required_return")]
            if (
                case["test"] != name
                or not isinstance(series, dict)
                or any(isinstance(o, dict) for o in others)
            ):
                continue
            # A missing first return is one that empyrical leaves out.
            values = np.array([value for value in series["values"] if value is not None], dtype=np.float64)
            cases.append((values, PERIODS[arguments.get("period", "daily")], arguments))
    assert cases
    return cases


def same(found: float, expected: float | str) -> bool:
    if isinstance(expected, str):
        # Where others divide by no variation or no loss and say infinity, there is no ratio here.
        return math.isnan(found)
    return found == pytest.approx(expected, abs=1e-8)


def test_sharpe_agrees_with_published_cases(shared_data: Path) -> None:
    for returns, periods, arguments in published(shared_data, "sharpe_ratio"):
        risk_free = arguments["risk_free"]
        found = sharpe_ratio(returns, periods_per_year=periods, risk_free_rate=risk_free)
        assert same(found, arguments["expected"]), arguments


def test_sortino_agrees_with_published_cases(shared_data: Path) -> None:
    for returns, periods, arguments in published(shared_data, "sortino"):
        found = sortino_ratio(returns, periods_per_year=periods, target=arguments["required_return"])
        assert same(found, arguments["expected"]), arguments


def test_volatility_agrees_with_published_cases(shared_data: Path) -> None:
    for returns, periods, arguments in published(shared_data, "annual_volatility"):
        assert same(volatility(returns, periods_per_year=periods), arguments["expected"]), arguments


def test_drawdown_agrees_with_published_cases(shared_data: Path) -> None:
    for returns, _, arguments in published(shared_data, "max_drawdown"):
        if len(returns):
            curve = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
            fall, _ = max_drawdown(curve, np.arange(len(curve)))
            assert -fall == pytest.approx(arguments["expected"], abs=1e-8)


def test_cagr_agrees_with_published_cases(shared_data: Path) -> None:
    for returns, periods, arguments in published(shared_data, "cagr"):
        if len(returns):
            span_us = round(YEAR_US * len(arguments["returns"]["values"]) / periods)
            found = cagr(1.0, float(np.prod(1.0 + returns)), span_us)
            assert found == pytest.approx(arguments["expected"], rel=1e-7)


def test_ratios_without_enough_to_go_on_are_not_defined() -> None:
    for returns in (np.array([]), np.array([0.1])):
        assert math.isnan(sharpe_ratio(returns, periods_per_year=365))
        assert math.isnan(sortino_ratio(returns, periods_per_year=365))
        assert math.isnan(volatility(returns, periods_per_year=365))
    assert math.isnan(sharpe_ratio(np.full(5, 0.01), periods_per_year=365))
    assert math.isnan(sortino_ratio(np.full(5, 0.01), periods_per_year=365))


def test_midnights_take_the_equity_that_stood_then() -> None:
    at_us = np.array([DAY_US // 2, DAY_US - 1, DAY_US + 1, 3 * DAY_US, 3 * DAY_US + 5])
    equity = np.array([100.0, 110.0, 120.0, 130.0, 140.0])
    np.testing.assert_array_equal(equity_at_midnights(equity, at_us), [110.0, 120.0, 130.0])


def test_returns_from_nothing_are_not_defined() -> None:
    np.testing.assert_array_equal(returns_of(np.array([2.0, 3.0, 0.0, 5.0])), [0.5, -1.0, np.nan])


def test_a_drawdown_lasts_from_its_peak_until_that_peak_is_back() -> None:
    equity = np.array([100.0, 90.0, 100.0, 120.0, 80.0, 110.0, 119.0])
    at_us = np.array([0, 1, 2, 3, 4, 5, 6])
    fall, lasted = max_drawdown(equity, at_us)
    assert fall == pytest.approx(1 / 3)
    assert lasted == 3  # not yet back at the end
    fall, lasted = max_drawdown(equity[:4], at_us[:4])
    assert fall == pytest.approx(0.1)
    assert lasted == 2
    assert max_drawdown(np.array([1.0, 2.0, 3.0]), at_us[:3]) == (0.0, 0)


def test_the_rounding_of_doubles_is_no_drawdown() -> None:
    # What 95 % in a price that never moves is worth: cash + 18,932 * 50.2 is an ulp below the capital.
    equity = np.array([1e6, 1e6, 999_999.9999999999, 999_999.9999999999])
    assert max_drawdown(equity, np.arange(4)) == (0.0, 0)
    assert max_drawdown(np.array([1e6, 999_999.99]), np.arange(2))[0] == pytest.approx(1e-8)


def test_growth_is_per_year_of_365_days() -> None:
    assert cagr(100.0, 121.0, 2 * YEAR_US) == pytest.approx(0.1)
    assert cagr(100.0, 0.0, YEAR_US) == -1.0
    assert math.isnan(cagr(1.0, 2.0, 1_000_000))


def test_streaks_count_neighbours() -> None:
    assert longest_streak(np.array([True, True, False, True])) == 2
    assert longest_streak(np.array([], dtype=np.bool_)) == 0
    assert longest_streak(np.array([False])) == 0


def trade(pnl: str, rate: str, hours: int = 1, side: PositionSide = PositionSide.LONG) -> ClosedTrade:
    return ClosedTrade(
        side=side,
        entry_at_us=0,
        entry_price=Decimal(1),
        exit_at_us=hours * HOUR_US,
        exit_price=Decimal(1),
        quantity=Decimal(1),
        fees=Decimal(0),
        pnl=Decimal(pnl),
        return_rate=Decimal(rate),
        exit_reason=OrderReason.EXIT_SIGNAL,
    )


def run_of(equity: list[float], trades: list[ClosedTrade], candle_us: int = HOUR_US) -> Run:
    return Run(
        capital=100.0,
        equity=np.array(equity),
        starts_at_us=0,
        closes_at_us=(np.arange(len(equity)) + 1) * candle_us,
        first_open=10.0,
        closes=np.linspace(10.0, 12.0, len(equity)),
        trades=trades,
        exposed_candles=1,
        turnover=500.0,
        fees_paid=1.5,
        slippage_paid=0.5,
        ambiguous_exits=1,
        refused_orders=2,
    )


def test_trade_statistics_are_those_of_the_closed_trades() -> None:
    trades = [trade("10", "0.1", 2), trade("-5", "-0.05", 4), trade("-3", "-0.03", 6, PositionSide.SHORT)]
    metrics = metrics_of(run_of([101.0, 99.0, 102.0, 102.0], trades))
    assert (metrics.trades, metrics.long_trades, metrics.short_trades) == (3, 2, 1)
    assert metrics.win_rate == pytest.approx(1 / 3)
    assert metrics.profit_factor == pytest.approx(10 / 8)
    assert metrics.expectancy == pytest.approx(2 / 3)
    assert metrics.average_trade == pytest.approx(0.02 / 3)
    assert (metrics.best_trade, metrics.worst_trade) == (0.1, -0.05)
    assert (metrics.average_win, metrics.average_loss) == (10.0, -4.0)
    assert (metrics.longest_winning_streak, metrics.longest_losing_streak) == (1, 2)
    assert metrics.average_trade_duration == 4 * 3600
    assert metrics.exposure == 0.25
    assert metrics.turnover == pytest.approx(500 / 101)
    assert metrics.buy_and_hold_return == pytest.approx(0.2)
    assert metrics.total_return == pytest.approx(0.02)
    assert metrics.max_drawdown == pytest.approx(2 / 101)
    assert metrics.max_drawdown_duration == 2 * 3600
    assert (metrics.ambiguous_exits, metrics.refused_orders) == (1, 2)


def test_without_trades_their_statistics_are_not_defined() -> None:
    metrics = metrics_of(run_of([100.0, 100.0], []))
    assert (metrics.trades, metrics.longest_losing_streak, metrics.max_drawdown) == (0, 0, 0.0)
    for name in ("win_rate", "profit_factor", "expectancy", "best_trade", "calmar", "sharpe"):
        assert math.isnan(getattr(metrics, name))


def test_short_runs_are_judged_by_candles_and_long_ones_by_midnights() -> None:
    equity = [101.0, 99.0, 104.0]
    short = metrics_of(run_of(equity, [], candle_us=DAY_US // 24))
    assert short.sampling == CANDLES
    returns = np.array([0.01, 99 / 101 - 1, 104 / 99 - 1])
    assert short.volatility == pytest.approx(returns.std(ddof=1) * math.sqrt(365 * 24))
    daily = [100.0 + step * step for step in range(31)]
    long = metrics_of(run_of([value for value in daily for _ in range(2)], [], candle_us=DAY_US // 2))
    assert long.sampling == MIDNIGHTS
    assert long.sharpe == pytest.approx(
        sharpe_ratio(returns_of(np.array([100.0, *daily])), periods_per_year=365)
    )


def test_a_run_hands_its_costs_to_its_metrics() -> None:
    rows = [(100.0, 100.0, 100.0, 100.0), (100.0, 101.0, 100.0, 101.0), (101.0, 101.0, 101.0, 101.0)]
    result = run_backtest(
        GivenSignals(given=signals_at(3, long_entry=[0], long_exit=[1])),
        ohlcv_of(rows),
        capital=Decimal(1_000),
        costs=Costs(fee_bps=Decimal(10), slippage_bps=Decimal(100)),
        rules=TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.1")),
    )
    (closed,) = result.trades
    assert closed.quantity == Decimal("9.8")
    assert result.metrics.fees_paid == pytest.approx(9.8 * (101 + 99.99) * 0.001)
    assert result.metrics.slippage_paid == pytest.approx(9.8 * (1 + 1.01))
    assert result.metrics.exposure == pytest.approx(1 / 3)
    assert result.metrics.initial_equity == 1_000
