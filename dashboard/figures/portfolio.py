"""All bots together: their equity as one curve, and how their markets move together, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from bots.risk.exposure import Correlations
from bots.views import EquityCurve
from dashboard.figures.backtest import axis, base_layout
from dashboard.number_formats import plain
from dashboard.theme import Theme
from data.models import FloatArray, IntArray

_MOST_NUMBERS = 14  # markets up to which each cell has its figure


def total_curve(curves: Sequence[tuple[EquityCurve, float]]) -> EquityCurve:
    """The sum of bots' equity at every close that any of them has, each with its last known value.

    Each curve comes with the capital that its bot began with: it counts as that before its first close, so
    that a bot that was added later makes no step in the sum. Empty without any close.
    """
    known = [(curve, capital) for curve, capital in curves if len(curve)]
    rest = sum(capital for curve, capital in curves if not len(curve))
    if not known:
        nothing = np.empty(0)
        return EquityCurve(at_us=np.empty(0, dtype=np.int64), equity=nothing, cash=nothing, position=nothing)
    at_us: IntArray = np.unique(np.concatenate([curve.at_us for curve, _ in known]))
    equity = np.full(len(at_us), float(rest))
    for curve, capital in known:
        equity += _as_of(at_us, curve.at_us, curve.equity, capital)
    # Cash and positions of several markets have no common sum.
    missing: FloatArray = np.full(len(at_us), np.nan)
    return EquityCurve(at_us=at_us, equity=equity, cash=missing, position=missing)


def _as_of(at_us: IntArray, known_us: IntArray, values: FloatArray, before: float) -> FloatArray:
    found = np.searchsorted(known_us, at_us, side="right") - 1
    return np.where(found >= 0, values[np.maximum(found, 0)], before)


def correlation_figure(found: Correlations, *, theme: Theme) -> go.Figure:
    """A square per pair of markets: blue moves together, amber against each other, empty is not known."""
    names = [f"{market.symbol}<br>{market.exchange}" for market in found.markets]
    figures = len(names) <= _MOST_NUMBERS
    told = [["" if value != value else plain(value, 2) for value in row] for row in found.matrix.tolist()]
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=found.matrix,
            zmin=-1,
            zmax=1,
            colorscale=[(0.0, theme.warn), (0.5, theme.s2), (1.0, theme.accent)],
            text=told,  # type: ignore[arg-type]  # one row a list, which the stubs do not know
            texttemplate="%{text}" if figures else None,
            textfont={"color": theme.tx, "size": 11},
            xgap=2,
            ygap=2,
            hoverongaps=False,
            hovertemplate="%{y} and %{x}: %{text}<extra></extra>",
            showscale=False,
        )
    )
    figure.update_layout(
        **{
            **base_layout(theme, identity="correlations"),
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "hovermode": "closest",
        },
        xaxis=axis(theme, showgrid=False, automargin=True, tickangle=0 if figures else -40, fixedrange=True),
        yaxis=axis(
            theme, showgrid=False, automargin=True, autorange="reversed", side="left", fixedrange=True
        ),
    )
    return figure
