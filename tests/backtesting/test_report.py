"""The report is whole in itself and shows what the result holds."""

from __future__ import annotations

import base64
import json
import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from backtesting.course import course_of
from backtesting.engine import BacktestResult, run_backtest
from backtesting.manifest import Source, manifest_of
from backtesting.report import report_html
from backtesting.report_figures import MOST_BARS, equity_figure, folded, price_figure
from backtesting.report_sections import absent_candles, coverage_stamp
from backtesting.report_tables import amount, duration, percent
from backtesting.thinning import thinned
from bots.orders import Costs, TradingRules
from data.models import FloatArray
from data.timeframes import Timeframe
from strategies.base import Protection
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


def unpacked(column: dict[str, str]) -> FloatArray:
    return np.frombuffer(base64.b64decode(column["bdata"]), dtype="<f8")


def text_of(page: str) -> str:
    """The page without its programs and figures."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_the_page_needs_nothing_from_elsewhere(result: BacktestResult) -> None:
    page = report_html(result, manifest_of(result, Source(strategy="x")))
    assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["'](?!data:)""", page)
    assert "default-src 'none'" in page
    assert "<h1>a &lt;b&gt; &amp; c · 1d</h1>" in page
    assert manifest_of(result, Source(strategy="x")).result_hash in page
    assert len(page) < 2_000_000


def test_no_text_of_a_person_ends_a_script(result: BacktestResult) -> None:
    page = report_html(
        result, manifest_of(result, Source(strategy="</script><script>alert(1)", symbol="</a>"))
    )
    assert "<script>alert" not in page
    figures = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.DOTALL)
    assert len(figures) >= 6
    for figure in figures:
        assert set(json.loads(figure)) == {"data", "layout"}


def test_every_fill_is_marked_at_its_price(result: BacktestResult) -> None:
    figure = price_figure(result.ohlcv, result.fills, [])
    traces: dict[str, Any] = {trace["name"]: trace for trace in figure["data"]}
    assert set(traces) == {"Price", "Long entry", "Long exit"}
    bought = [float(fill.price) for fill in result.fills if fill.side == "buy"]
    assert unpacked(traces["Long entry"]["y"]).tolist() == bought
    assert traces["Long exit"]["text"] == ["signal"]


def test_drawdown_and_equity_stand_at_the_same_times(result: BacktestResult) -> None:
    course = course_of(result)
    traces = {trace["name"]: trace for trace in equity_figure(course)["data"]}
    assert traces["Equity"]["x"] == traces["Drawdown"]["x"]
    fall = unpacked(traces["Drawdown"]["y"])
    assert fall.max() == 0.0
    assert -fall.min() == pytest.approx(result.metrics.max_drawdown)
    assert unpacked(traces["Buy and hold"]["y"])[-1] == pytest.approx(
        1_000 * (1 + result.metrics.buy_and_hold_return)
    )


def test_bars_of_several_candles_leave_no_extreme_out() -> None:
    closes = 100 + np.random.default_rng(5).normal(0, 1, 10_007).cumsum() / 50
    ohlcv = ohlcv_of([(price, price + 1, price - 1, price) for price in closes.tolist()])
    bars, ends = folded(ohlcv, -(-len(ohlcv) // MOST_BARS))
    assert len(bars) <= MOST_BARS
    assert ends[-1] == len(ohlcv) - 1
    assert bars.high.max() == ohlcv.high.max()
    assert bars.low.min() == ohlcv.low.min()
    assert bars.volume.sum() == ohlcv.volume.sum()
    assert (bars.open[0], bars.close[-1]) == (ohlcv.open[0], ohlcv.close[-1])


def test_doubtful_exits_are_said_with_both_readings() -> None:
    rows = [(100.0, 100.0, 100.0, 100.0), (100.0, 120.0, 80.0, 100.0), (100.0, 100.0, 100.0, 100.0)]
    result = run_backtest(
        GivenSignals(
            given=signals_at(3, long_entry=[0]), protection=Protection(stop_loss=0.1, take_profit=0.1)
        ),
        ohlcv_of(rows),
        capital=Decimal(1_000),
        costs=Costs(fee_bps=Decimal(0), maker_fee_bps=Decimal(0)),
        rules=TradingRules(),
    )
    page = text_of(report_html(result, manifest_of(result, Source(strategy="x"))))
    assert "ends with 900.00 (\N{MINUS SIGN}10.00%); with each target first" in page
    assert "it would end with 1,100.00 (+10.00%)" in page


def test_the_stamp_says_what_is_not_there(result: BacktestResult) -> None:
    assert coverage_stamp(result.ohlcv, ()) == ("every interval has its candle", False)
    assert coverage_stamp(result.ohlcv, [("a", "b")]) == ("1 stretches missing from the store", True)
    ohlcv = result.ohlcv
    holed = ohlcv_of([(1.0, 1.0, 1.0, 1.0)] * 3)
    holed.opened_at_us[2] += 2 * holed.timeframe.us
    assert absent_candles(ohlcv) == 0
    assert coverage_stamp(holed, ()) == ("2 intervals without a candle", True)


def test_numbers_are_written_as_the_pages_write_them() -> None:
    assert [percent(value) for value in (0.0184, -0.0041, 0.0, None, float("nan"))] == [
        "+1.84%", "\N{MINUS SIGN}0.41%", "0.00%", "\N{EN DASH}", "\N{EN DASH}",
    ]  # fmt: skip
    assert amount(12843.55) == "12,843.55"
    assert [duration(value) for value in (45, 8220, 273_600, None)] == [
        "45s",
        "2h 17m",
        "3d 4h",
        "\N{EN DASH}",
    ]


def test_thinning_keeps_the_ends_and_the_extremes() -> None:
    values = np.zeros(100_000)
    values[12_345], values[77_777] = 5.0, -3.0
    rows = thinned(values, 1_000)
    assert len(rows) <= 1_002
    assert {0, 12_345, 77_777, 99_999} <= set(rows.tolist())
    np.testing.assert_array_equal(rows, np.unique(rows))
    np.testing.assert_array_equal(thinned(values[:50], 1_000), np.arange(50))
