from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from hypothesis import given
from hypothesis import strategies as st

from bots.views import EquityCurve
from dashboard.figures.equity import drawdown, equity_figure
from dashboard.figures.moving_averages import default_overlays
from dashboard.figures.sparkline import sparkline_image, sparkline_points
from dashboard.theme import DARK, LIGHT
from data.timeframes import Timeframe
from tests.dashboard.fakes import NOW_US, walk


def _curve(values: list[float]) -> EquityCurve:
    equity = np.array(values)
    return EquityCurve(
        at_us=np.arange(len(values), dtype=np.int64) * 60_000_000,
        equity=equity,
        cash=equity,
        position=np.zeros(len(values)),
    )


def _scatters(figure: go.Figure) -> tuple[go.Scatter, go.Scatter]:
    equity, falls = figure.data
    assert isinstance(equity, go.Scatter)
    assert isinstance(falls, go.Scatter)
    return equity, falls


def test_drawdown_is_measured_from_the_highest_equity_so_far() -> None:
    np.testing.assert_allclose(drawdown(np.array([100.0, 120.0, 90.0, 130.0])), [0.0, 0.0, -0.25, 0.0])


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=50))
def test_drawdown_is_never_positive_and_never_below_minus_one(values: list[float]) -> None:
    falls = drawdown(np.array(values))
    assert (falls <= 0).all()
    assert (falls >= -1).all()


def test_equity_and_drawdown_share_a_time_axis_and_keep_the_zoom_of_the_same_bot() -> None:
    figure = equity_figure(_curve([100.0, 90.0, 110.0]), capital=100.0, identity="trend", theme=DARK)
    equity, falls = _scatters(figure)
    np.testing.assert_array_equal(equity.x, falls.x)
    np.testing.assert_allclose(np.asarray(falls.y), [0.0, -10.0, 0.0])
    assert figure.layout.uirevision == "trend"
    assert str(equity.x[1]) == "1970-01-01T00:01:00.000000"


def test_figures_are_drawn_in_the_colours_of_the_scheme() -> None:
    for theme in (DARK, LIGHT):
        figure = equity_figure(_curve([1.0, 2.0]), capital=1.0, identity="b", theme=theme)
        assert _scatters(figure)[0].line.color == theme.accent
        assert figure.layout.font.color == theme.tx2


def test_a_sparkline_fills_its_box_and_flat_values_run_in_the_middle() -> None:
    points = sparkline_points(np.array([1.0, 3.0, 2.0]), width=60, height=20)
    assert points == [(0.0, 20.0), (30.0, 0.0), (60.0, 10.0)]
    assert {y for _, y in sparkline_points(np.array([5.0, 5.0]), width=60, height=20)} == {10.0}


def test_one_value_is_no_line() -> None:
    assert sparkline_points(np.array([1.0]), width=60, height=20) == []
    assert sparkline_image(np.array([]), "#fff") is None


def test_a_sparkline_is_an_image_without_an_address() -> None:
    image = sparkline_image(np.array([1.0, 2.0]), "#26a69a")
    assert image is not None
    assert image.startswith("data:image/svg+xml,")
    assert "#" not in image  # would begin a fragment


def test_moving_averages_begin_with_the_simple_mean_of_their_period() -> None:
    ohlcv = walk(Timeframe.M1, 40, end_us=NOW_US, start=100.0, seed=1, step=0.01)
    fast, slow = default_overlays(ohlcv)
    assert (fast.label, slow.label) == ("EMA 12", "EMA 26")
    assert np.isnan(fast.values[:11]).all()
    np.testing.assert_allclose(fast.values[11], ohlcv.close[:12].mean())
