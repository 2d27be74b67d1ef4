from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dashboard.chart_data import RECENT_BARS, ChartData
from dashboard.figures.price_chart import price_chart_series
from dashboard.live_views import ChartView
from dashboard.theme import DARK
from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.templates import Template, templates
from tests.dashboard.fakes import BTC, NOW_US, FakeMarket, FakeShelf, walk

TEMPLATES = templates(Path(__file__).resolve().parents[2] / "config" / "strategies")


def _chart(minutes: int, **strategies: Strategy) -> ChartData:
    market = FakeMarket()
    market.add(BTC, walk(Timeframe.M1, minutes, end_us=NOW_US, start=64_000.0, seed=7, step=0.001))
    return ChartData(market, FakeShelf(**strategies))


def test_overlays_are_settled_on_the_first_bar_where_older_candles_are_stored() -> None:
    rows = _chart(2_000).rows(BTC, Timeframe.M1, "ema", bars=500)
    assert len(rows.ohlcv) == 500
    assert rows.more
    assert all(len(line.values) == 500 and not np.isnan(line.values).any() for line in rows.overlays)


def test_older_candles_are_known_of_without_a_line_as_well() -> None:
    assert _chart(600).rows(BTC, Timeframe.M1, "none", bars=500).more
    rows = _chart(500).rows(BTC, Timeframe.M1, "none", bars=500)
    assert len(rows.ohlcv) == 500
    assert not rows.more


def test_where_nothing_older_is_stored_overlays_warm_up_and_there_is_no_more() -> None:
    rows = _chart(300).rows(BTC, Timeframe.M1, "ema", bars=500)
    assert len(rows.ohlcv) == 300
    assert not rows.more
    assert np.isnan(rows.overlays[0].values[:11]).all()


def test_older_pages_join_the_newer_one_without_a_seam() -> None:
    chart = _chart(3_000)
    newest = chart.rows(BTC, Timeframe.M1, "ema", bars=500)
    older = chart.rows(BTC, Timeframe.M1, "ema", bars=500, end_us=int(newest.ohlcv.opened_at_us[0]))
    whole = chart.rows(BTC, Timeframe.M1, "ema", bars=1_000)
    for parts, one in zip(zip(older.overlays, newest.overlays, strict=True), whole.overlays, strict=True):
        joined = np.concatenate([part.values for part in parts])
        np.testing.assert_allclose(joined, one.values, rtol=1e-6)
    np.testing.assert_array_equal(
        np.concatenate((older.ohlcv.opened_at_us, newest.ohlcv.opened_at_us)), whole.ohlcv.opened_at_us
    )


def test_live_values_continue_the_lines_on_the_chart() -> None:
    chart = _chart(2_000)
    rows = chart.rows(BTC, Timeframe.M1, "ema", bars=500)
    ticks = chart.overlay_ticks(ChartView(BTC, Timeframe.M1, "ema", "dark"), 3)
    assert ticks[2]["bar"]["value"] == pytest.approx(rows.overlays[0].values[-1], rel=1e-6)
    assert [tick["bar"]["time"] for tick in ticks[:3]] == (rows.ohlcv.opened_at_us[-3:] // 1_000_000).tolist()


def test_recent_candles_come_with_their_overlays_in_order() -> None:
    ticks = _chart(2_000).recent_ticks(ChartView(BTC, Timeframe.M1, "ema", "dark"))
    assert {tick["id"] for tick in ticks} == {"price", "volume", "overlay-ema-12", "overlay-ema-26"}
    times = [tick["bar"]["time"] for tick in ticks if tick["id"] == "price"]
    assert times == sorted(times)
    assert len(times) == RECENT_BARS


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_the_lines_of_every_template_can_be_drawn(template: Template) -> None:
    strategy = template.strategy
    assert strategy is not None
    chart = _chart(9_000, it=strategy)
    rows = chart.rows(BTC, strategy.timeframe, "it", bars=200)
    series = price_chart_series(rows.ohlcv, rows.overlays, theme=DARK, decimals=2)
    panes = [one.get("pane", 0) for one in series]
    assert sorted(set(panes)) == list(range(max(panes) + 1))
    assert len({one["id"] for one in series}) == len(series) > 2


def test_only_names_of_the_shelf_are_known() -> None:
    chart = _chart(10, **{"macd": TEMPLATES[0].strategy} if TEMPLATES[0].strategy else {})
    assert chart.knows_overlay("ema")
    assert chart.knows_overlay("macd")
    assert not chart.knows_overlay("../../etc/passwd")
