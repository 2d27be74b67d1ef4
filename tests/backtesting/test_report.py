"""The report is whole in itself and shows what the result holds."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from backtesting.engine import BacktestResult, run_backtest
from backtesting.manifest import Source, manifest_of
from backtesting.report import monthly_returns, report_figure, report_html, thinned
from bots.orders import Costs, TradingRules
from data.timeframes import Timeframe
from tests.backtesting.series import GivenSignals, ohlcv_of, signals_at


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    closes = 100 + 10 * np.sin(np.arange(70) / 5)
    rows = [(float(a), float(max(a, b)), float(min(a, b)), float(b)) for a, b in pairwise(closes)]
    strategy = GivenSignals(
        name="a <b> & c", given=signals_at(69, long_entry=[0, 30], long_exit=[10]), timeframe=Timeframe.D1
    )
    return run_backtest(
        strategy,
        ohlcv_of(rows, Timeframe.D1),
        capital=Decimal(1_000),
        costs=Costs(),
        rules=TradingRules(),
    )


def test_the_page_needs_nothing_from_elsewhere(result: BacktestResult) -> None:
    page = report_html(result, manifest_of(result, Source(strategy="x")))
    assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?http""", page)
    assert "<h1>a &lt;b&gt; &amp; c" in page
    assert manifest_of(result, Source(strategy="x")).result_hash in page
    assert page.count("<td>2024-01-02T00:00:00Z</td>") == 1


def test_every_fill_is_marked_at_its_price(result: BacktestResult) -> None:
    traces: dict[str, Any] = {trace["name"]: trace for trace in report_figure(result).data}
    assert set(traces) == {"Equity", "Buy and hold", "Drawdown", "Close", "Buy", "Sell"}
    assert list(traces["Buy"].y) == [float(fill.price) for fill in result.fills if fill.side == "buy"]
    assert list(traces["Sell"].text) == ["signal"]
    assert max(traces["Drawdown"].y) == 0.0


def test_months_multiply_to_the_whole_return(result: BacktestResult) -> None:
    months = monthly_returns(result)
    assert [(year, month) for year, month, _ in months] == [(2024, 1), (2024, 2), (2024, 3)]
    growth = np.prod([1 + value for _, _, value in months])
    assert growth == pytest.approx(1 + result.metrics.total_return)


def test_thinning_keeps_the_ends_and_the_extremes() -> None:
    values = np.zeros(100_000)
    values[12_345], values[77_777] = 5.0, -3.0
    rows = thinned(values, 1_000)
    assert len(rows) <= 1_002
    assert {0, 12_345, 77_777, 99_999} <= set(rows.tolist())
    np.testing.assert_array_equal(rows, np.unique(rows))
    np.testing.assert_array_equal(thinned(values[:50], 1_000), np.arange(50))
