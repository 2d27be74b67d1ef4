"""Equity with its drawdown below, as one Plotly figure."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from bots.views import EquityCurve
from dashboard.figures.wall_clock import hover_time, wall_times, written_layout
from dashboard.theme import FONT, Theme
from data.models import FloatArray


def drawdown(equity: FloatArray) -> FloatArray:
    """Equity over its running maximum minus 1: 0 at a new high, -0.1 a tenth below it."""
    if not len(equity):
        return equity
    peak = np.maximum.accumulate(equity)
    return np.divide(equity, peak, out=np.ones_like(equity), where=peak > 0) - 1.0


def equity_figure(curve: EquityCurve, *, capital: float, identity: str, theme: Theme) -> go.Figure:
    """Equity against the capital the bot began with, drawdown in percent below.

    `identity` names what is shown: zoom survives an update of the same thing.
    """
    at = wall_times(curve.at_us)
    figure = go.Figure(
        [
            go.Scatter(
                x=at,
                y=curve.equity,
                mode="lines",
                name="Equity",
                line={"color": theme.accent, "width": 1.8},
                hovertemplate="%{y:,.2f}<extra>Equity</extra>",
            ),
            go.Scatter(
                x=at,
                y=drawdown(curve.equity) * 100,
                mode="lines",
                name="Drawdown",
                yaxis="y2",
                fill="tozeroy",
                fillcolor=theme.down_fill,
                line={"color": theme.down, "width": 1.2},
                hovertemplate="%{y:.2f}%<extra>Drawdown</extra>",
            ),
        ]
    )
    axis = {
        "gridcolor": theme.grid,
        "zeroline": False,
        "side": "right",
        "tickfont": {"color": theme.tx2, "size": 11},
        "fixedrange": True,
    }
    figure.update_layout(
        template=None,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 11, "color": theme.tx2},
        margin={"l": 12, "r": 64, "t": 10, "b": 36},
        showlegend=False,
        hovermode="x unified",
        hoverlabel={"bgcolor": theme.s2, "bordercolor": theme.line2, "font": {"color": theme.tx}},
        uirevision=identity,
        **written_layout(),
        xaxis={
            "gridcolor": theme.grid,
            "zeroline": False,
            "tickfont": {"color": theme.tx2, "size": 11},
            "anchor": "y2",
            "hoverformat": hover_time(seconds=True),
        },
        yaxis={**axis, "domain": [0.32, 1.0], "tickformat": ",.2f", "nticks": 6},
        yaxis2={
            **axis,
            "domain": [0.0, 0.24],
            "ticksuffix": "%",
            "nticks": 3,
            "rangemode": "tozero",
        },
    )
    figure.add_hline(y=capital, line={"color": theme.tx3, "width": 1, "dash": "dot"}, row=None, col=None)
    return figure
