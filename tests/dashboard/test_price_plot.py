from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from dashboard.figures.moving_averages import default_overlays
from dashboard.figures.price_chart import pane_options
from dashboard.figures.price_plot import price_plot
from dashboard.theme import DARK, DARK_CVD
from data.timeframes import SECOND_US, Timeframe
from strategies.base import Overlay
from tests.dashboard.desk import build_desk
from tests.dashboard.fakes import NOW_US, walk
from tests.dashboard.test_market_feed import BTC_MINUTES, _read

CANDLES = walk(Timeframe.M5, 120, end_us=NOW_US, start=64_000.0, seed=3, step=0.001)
LINES = [
    *default_overlays(CANDLES),
    Overlay(name="rsi", label="RSI 14", pane="rsi", values=np.linspace(20.0, 80.0, len(CANDLES))),
]


def _figure(**options: Any) -> Any:
    """Plotly's traces are of many types: what a test reads of one, it must have."""
    return price_plot(CANDLES, LINES, **{"theme": DARK, "decimals": 2, **options})


def test_candles_volume_and_lines_are_those_of_the_data_side_by_side() -> None:
    candles, volume, fast, slow, rsi, marks = _figure().data
    np.testing.assert_array_equal(candles.x, np.arange(120))
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(candles, name), getattr(CANDLES, name))
    np.testing.assert_array_equal(volume.y, CANDLES.volume)
    np.testing.assert_array_equal(slow.y, LINES[1].values)
    assert [line.yaxis for line in (fast, slow, rsi)] == ["y", "y", "y3"]
    assert (volume.yaxis, len(marks.x)) == ("y2", 0)


def test_colours_are_those_of_the_theme() -> None:
    candles, volume, *_ = _figure(theme=DARK_CVD).data
    assert candles.increasing.fillcolor == DARK_CVD.up
    assert candles.decreasing.line.color == DARK_CVD.down
    rising = (CANDLES.close >= CANDLES.open).tolist()
    wanted = [DARK_CVD.up_soft if up else DARK_CVD.down_soft for up in rising]
    assert list(volume.marker.color) == wanted


@pytest.mark.parametrize("shares", [(), (5.0, 2.0, 3.0)])
def test_panes_share_the_height_as_on_the_canvas(shares: tuple[float, ...]) -> None:
    layout = _figure(shares=shares).layout
    domains = [layout.yaxis.domain, layout.yaxis2.domain, layout.yaxis3.domain]
    heights = [top - bottom for bottom, top in domains]
    factors = [pane["stretchFactor"] for pane in pane_options(LINES, shares)]
    np.testing.assert_allclose(np.array(heights) / sum(heights), np.array(factors) / sum(factors))
    assert domains[0][1] == 1.0
    assert domains[-1][0] == pytest.approx(0.0)
    assert all(above[0] > below[1] for above, below in pairwise(domains))


def test_markers_stand_on_their_candles_and_those_of_no_candle_are_left_out() -> None:
    times = (CANDLES.opened_at_us // SECOND_US).tolist()
    one = {"shape": "arrowUp", "position": "belowBar", "color": "red", "id": "m1", "time": times[7]}
    other = {**one, "shape": "circle", "position": "inBar", "id": "m2", "time": times[9]}
    marks = _figure(markers=[one, other, {**one, "time": times[7] + 1}]).data[-1]
    assert list(marks.x) == [7, 9]
    assert list(marks.y) == [CANDLES.low[7], CANDLES.close[9]]
    assert list(marks.customdata) == ["m1", "m2"]
    assert list(marks.marker.symbol) == ["triangle-up", "circle"]


def test_the_price_axis_may_have_logarithms_and_cannot_be_dragged_apart() -> None:
    assert _figure().layout.yaxis.type == "linear"
    assert _figure(scale="log").layout.yaxis.type == "log"
    assert _figure().layout.yaxis.fixedrange is True
    assert _figure(identity="okx:BTC").layout.uirevision == "okx:BTC"


async def test_the_page_gets_the_figure_without_data_where_it_asks_for_it() -> None:
    body = await _read(build_desk(), f"/desk/chart?{BTC_MINUTES}&overlay=ema,rsi(14,close)&chart=plotly")
    plot, columns = body["plot"], body["columns"]
    assert isinstance(plot, dict)
    assert isinstance(columns, dict)
    assert [trace["type"] for trace in plot["data"]] == ["candlestick", "bar", *["scatter"] * 4]
    assert plot["data"][0]["open"] == []
    assert len(columns["t"]) > 0
    assert "plot" not in await _read(build_desk(), f"/desk/chart?{BTC_MINUTES}")
    assert len(msgspec.json.encode(plot)) < 10_000
