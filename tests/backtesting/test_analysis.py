"""The figures of a report agree with each other, with the metrics and with the trades."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backtesting.analysis import analysis_of
from backtesting.columns import equity_parquet, trades_parquet
from backtesting.course import Course, course_of, portfolio_course
from backtesting.document import encoded
from backtesting.engine import run_backtest
from backtesting.metrics import max_drawdown
from backtesting.portfolio import Leg, run_portfolio
from bots.orders import Costs, TradingRules
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Protection
from tests.backtesting.series import GivenSignals, ohlcv_of, recorded, signals_at


@pytest.fixture(scope="module")
def hours() -> Ohlcv:
    path = Path(__file__).resolve().parents[3] / "shared/data/candles/binance_spot/BTCUSDT_1h_2024.csv.gz"
    if not path.exists():
        pytest.skip("no recorded market data: ../shared/data is not beside the project folder")
    return recorded(path, Timeframe.H1, 3_000)


@pytest.fixture(scope="module")
def course(hours: Ohlcv) -> Course:
    starts = np.arange(5, 2_900, 40)
    signals = signals_at(
        len(hours),
        long_entry=starts[::2],
        long_exit=starts[::2] + 25,
        short_entry=starts[1::2],
        short_exit=starts[1::2] + 25,
    )
    result = run_backtest(
        GivenSignals(given=signals, protection=Protection(stop_loss=0.01, take_profit=0.02)),
        hours,
        capital=Decimal(10_000),
        costs=Costs(slippage_bps=Decimal(3)),
        rules=TradingRules(),
    )
    return course_of(result, "BTC-USDT")


def test_parts_add_up_to_the_whole(course: Course) -> None:
    found, metrics = analysis_of(course), course.metrics
    pnl = sum(float(trade.pnl) for trade in course.trades)
    for groups in (found.sides, found.exit_reasons):
        assert sum(group.trades for group in groups) == metrics.trades
        assert sum(group.pnl for group in groups) == pytest.approx(pnl)
    assert {group.name for group in found.exit_reasons} == {"signal", "stop_loss", "take_profit"}
    assert found.sides[0].pnl == pytest.approx(metrics.long_pnl)
    assert found.sides[1].win_rate == pytest.approx(metrics.short_win_rate)
    assert sum(found.distribution.counts) == metrics.trades
    rates = [month.rate for month in found.months]
    assert np.prod([1 + rate for rate in rates if rate is not None]) == pytest.approx(
        1 + metrics.total_return
    )
    assert found.best_month is not None
    assert found.best_month.rate == max(rate for rate in rates if rate is not None) == metrics.best_month
    assert found.worst_day is not None
    assert found.worst_day.rate == metrics.worst_day
    assert found.costs.fees + found.costs.slippage == pytest.approx(found.costs.total)
    assert found.costs.before_costs > metrics.final_equity - metrics.initial_equity
    assert found.drawdowns[0].depth == pytest.approx(metrics.max_drawdown)
    assert max(fall.duration for fall in found.drawdowns) <= metrics.max_drawdown_duration
    assert found.symbols == []


def test_buying_and_holding_is_measured_like_the_run(course: Course) -> None:
    found, metrics = analysis_of(course), course.metrics
    assert found.buy_and_hold.total_return == pytest.approx(metrics.buy_and_hold_return)
    assert found.buy_and_hold.sharpe == pytest.approx(metrics.buy_and_hold_sharpe)
    assert found.buy_and_hold.max_drawdown == pytest.approx(metrics.buy_and_hold_max_drawdown)
    assert found.strategy.sharpe == pytest.approx(metrics.sharpe)
    assert found.strategy.max_drawdown == metrics.max_drawdown
    held = np.concatenate(([course.capital], course.held))
    assert found.buy_and_hold.max_drawdown == max_drawdown(held, course.curve_at_us)[0]


def test_no_trade_is_worse_than_its_worst_or_better_than_its_best_point(course: Course) -> None:
    for trade, adverse, favourable in zip(course.trades, course.adverse, course.favourable, strict=True):
        moved = float(trade.exit_price / trade.entry_price) - 1
        moved = moved if trade.side == "long" else -moved
        assert adverse - 1e-12 <= moved <= favourable + 1e-12
        assert adverse <= 0 <= favourable


def test_figures_are_plain_json_without_nan() -> None:
    flat = [(100.0, 100.0, 100.0, 100.0)] * 3
    result = run_backtest(
        GivenSignals(given=signals_at(3)),
        ohlcv_of(flat),
        capital=Decimal(5),
        costs=Costs(),
        rules=TradingRules(),
    )
    parsed = json.loads(encoded(analysis_of(course_of(result))))
    assert parsed["drawdowns"] == []
    assert parsed["strategy"]["sharpe"] is None
    assert parsed["holding_times"]["median"] is None
    assert parsed["best_day"]["rate"] == 0.0
    assert parsed["longest_winning_streak"] is None


def test_parquet_holds_every_trade_and_every_close(course: Course) -> None:
    trades = pq.read_table(pa.BufferReader(trades_parquet(course))).to_pylist()
    assert [row["pnl"] for row in trades] == [float(trade.pnl) for trade in course.trades]
    assert [row["mae"] for row in trades] == course.adverse.tolist()
    assert trades[0]["entry_time"].timestamp() * 1e6 == course.trades[0].entry_at_us
    assert {row["symbol"] for row in trades} == {"BTC-USDT"}
    equity = pq.read_table(pa.BufferReader(equity_parquet(course)))
    assert equity["equity"].to_pylist() == course.equity.tolist()
    assert -min(equity["drawdown"].to_pylist()) == pytest.approx(course.metrics.max_drawdown)


def test_a_portfolio_is_told_by_symbol_and_in_all() -> None:
    rows = [(float(price), price + 1.0, price - 1.0, float(price)) for price in range(100, 140)]
    legs = [
        Leg(
            symbol=symbol,
            strategy=GivenSignals(given=signals_at(40, long_entry=entries, long_exit=exits)),
            ohlcv=ohlcv_of(rows),
            rules=TradingRules(),
        )
        for symbol, entries, exits in (("A-B", [1, 20], [10, 30]), ("C-B", [12], [18]))
    ]
    result = run_portfolio(legs, capital=Decimal(1_000), costs=Costs())
    whole = portfolio_course(result)
    found = analysis_of(whole)
    assert [(group.name, group.trades) for group in found.symbols] == [("A-B", 2), ("C-B", 1)]
    assert whole.owners == ["A-B", "C-B", "A-B"]
    assert found.buy_and_hold.total_return == pytest.approx(139 / 100 - 1)
    assert result.metrics.buy_and_hold_return == pytest.approx(0.39)
    assert sum(group.pnl for group in found.symbols) == pytest.approx(
        found.costs.before_costs - found.costs.total
    )
