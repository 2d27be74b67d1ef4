"""Recorded runs of another package where its conventions are ours: market orders at the next open.

It closes the last trade at the last bar's open, which no rule of ours does, so that trade is compared only in
its entry. Its own annual figures count 252 days or geometric means and are not compared.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from backtesting.engine import BacktestResult, run_backtest
from bots.orders import Costs, TradingRules
from data.models import FloatArray, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Signals
from tests.backtesting.series import GivenSignals, recorded

UNITS = TradingRules(lot_size=Decimal(1))


def sma(values: FloatArray, period: int) -> FloatArray:
    sums = np.convolve(values, np.ones(period))[: len(values)]
    averages = sums / period
    averages[: period - 1] = np.nan
    return averages


def crossed(fast: FloatArray, slow: FloatArray) -> np.typing.NDArray[np.bool_]:
    up = np.zeros(len(fast), dtype=np.bool_)
    up[1:] = (fast[1:] > slow[1:]) & (fast[:-1] < slow[:-1])
    return up


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    with path.open() as file:
        yield from csv.DictReader(file)


def equity_of(path: Path) -> FloatArray:
    with gzip.open(path, "rt") as file:
        return np.array([float(line["equity"]) for line in csv.DictReader(file)])


def assert_same(result: BacktestResult, folder: Path, run: str) -> None:
    expected = list(rows_of(folder / f"{run}_trades.csv"))
    stats = json.loads((folder / f"{run}_stats.json").read_text())["stats"]
    assert len(result.trades) >= len(expected) - 1
    for trade, row in zip(result.trades, expected[:-1], strict=False):
        sign = -1 if trade.side == "short" else 1
        assert sign * trade.quantity == Decimal(row["Size"])
        assert (trade.entry_price, trade.exit_price) == (
            Decimal(row["EntryPrice"]),
            Decimal(row["ExitPrice"]),
        )
        assert float(trade.fees) == pytest.approx(float(row["Commission"]), abs=1e-6)
        assert float(trade.pnl) == pytest.approx(float(row["PnL"]), abs=1e-5)
        assert float(trade.return_rate) == pytest.approx(float(row["ReturnPct"]), rel=1e-9)
    last = expected[-1]
    entries = [fill for fill in result.fills if fill.reason == "entry"]
    assert entries[len(expected) - 1].price == Decimal(last["EntryPrice"])
    assert entries[len(expected) - 1].quantity == abs(Decimal(last["Size"]))
    # Their curve takes an entry's fee into account at once too, and ends with the closing trade.
    curve = equity_of(folder / f"{run}_equity.csv.gz")
    until = int(last["ExitBar"])
    np.testing.assert_allclose(result.equity[:until], curve[:until], rtol=1e-9)
    assert result.metrics.max_drawdown == pytest.approx(-stats["Max. Drawdown [%]"] / 100, rel=1e-9)


def test_daily_stock_long_and_short(shared_data: Path) -> None:
    folder = shared_data / "reference" / "backtests" / "backtesting_py"
    rows = list(rows_of(folder / "GOOG_daily_2004_2013.csv"))
    days = np.array([row[""] for row in rows], dtype="datetime64[us]").view(np.int64)
    columns = {
        name: np.array([float(row[name.title()]) for row in rows])
        for name in ("open", "high", "low", "close", "volume")
    }
    ohlcv = Ohlcv(timeframe=Timeframe.D1, opened_at_us=days, **columns)
    fast, slow = sma(ohlcv.close, 10), sma(ohlcv.close, 30)
    up, down = crossed(fast, slow), crossed(slow, fast)
    strategy = GivenSignals(
        given=Signals(long_entry=up, long_exit=down, short_entry=down, short_exit=up), timeframe=Timeframe.D1
    )
    free = Costs(fee_bps=Decimal(0), maker_fee_bps=Decimal(0))
    result = run_backtest(strategy, ohlcv, capital=Decimal(10_000), costs=free, rules=UNITS)
    assert_same(result, folder, "goog_sma_10_30_long_short")


def test_hourly_bitcoin_long_only_with_fees(shared_data: Path) -> None:
    folder = shared_data / "reference" / "backtests" / "backtesting_py"
    ohlcv = recorded(shared_data / "candles" / "binance_spot" / "BTCUSDT_1h_2024.csv.gz", Timeframe.H1)
    fast, slow = sma(ohlcv.close, 24), sma(ohlcv.close, 96)
    never = np.zeros(len(ohlcv), dtype=np.bool_)
    signals = Signals(
        long_entry=crossed(fast, slow), long_exit=crossed(slow, fast), short_entry=never, short_exit=never
    )
    strategy = GivenSignals(given=signals)
    result = run_backtest(strategy, ohlcv, capital=Decimal(10_000_000), costs=Costs(), rules=UNITS)
    assert_same(result, folder, "btcusdt_1h_sma_24_96_long_only")
