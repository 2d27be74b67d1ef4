"""The curves of a backtest: equity beside buy-and-hold, the drawdown below, and its trades on candles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.price_chart import MAX_MARKERS
from dashboard.figures.wall_clock import hover_time, wall_times, written_layout
from dashboard.theme import FONT, Theme
from data.models import FloatArray, IntArray, Ohlcv
from data.timeframes import SECOND_US, Timeframe, floor_to, to_us

Row = dict[str, Any]


def base_layout(theme: Theme, *, identity: str) -> dict[str, Any]:
    """What all figures of research have in common."""
    return {
        "template": None,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 11, "color": theme.tx2},
        "margin": {"l": 12, "r": 64, "t": 10, "b": 34},
        "showlegend": False,
        "hoverlabel": {"bgcolor": theme.s2, "bordercolor": theme.line2, "font": {"color": theme.tx}},
        "uirevision": identity,
        **written_layout(),
    }


def axis(theme: Theme, **options: Any) -> dict[str, Any]:
    """An axis in the colours of the page."""
    return {
        "gridcolor": theme.grid,
        "zeroline": False,
        "tickfont": {"color": theme.tx2, "size": 11},
        **options,
    }


def drawdown_rate(equity: FloatArray) -> FloatArray:
    """Equity over its running maximum minus 1, at most 0."""
    if not len(equity):
        return equity
    peak = np.maximum.accumulate(equity)
    return np.divide(equity, peak, out=np.ones_like(equity), where=peak > 0) - 1.0


def backtest_figure(
    at_us: IntArray,
    equity: FloatArray,
    held: Ohlcv | None,
    *,
    capital: float,
    identity: str,
    theme: Theme,
    tests: Sequence[tuple[str, str]] = (),
) -> go.Figure:
    """Equity, what the capital would have become in `held` bought at its first open, and the drawdown.

    `tests` are spans, ISO 8601, that are shaded: the folds of a walk-forward search.
    """
    times = wall_times(at_us)
    shaded = [
        wall_times(np.array([time_us(start), time_us(end)], dtype=np.int64)) for start, end in tests[::2]
    ]
    figure = go.Figure()
    if held is not None and len(held) > 1:
        figure.add_scatter(
            x=wall_times(held.opened_at_us + held.timeframe.us),
            y=capital * held.close / held.open[0],
            mode="lines",
            name="Buy and hold",
            line={"color": theme.tx3, "width": 1.2, "dash": "dot"},
            hovertemplate="%{y:,.2f}<extra>Buy and hold</extra>",
        )
    figure.add_scatter(
        x=times,
        y=equity,
        mode="lines",
        name="Equity",
        line={"color": theme.accent, "width": 1.8},
        hovertemplate="%{y:,.2f}<extra>Equity</extra>",
    )
    figure.add_scatter(
        x=times,
        y=drawdown_rate(equity) * 100,
        mode="lines",
        name="Drawdown",
        yaxis="y2",
        fill="tozeroy",
        fillcolor=theme.down_fill,
        line={"color": theme.down, "width": 1.2},
        hovertemplate="%{y:.2f}%<extra>Drawdown</extra>",
    )
    figure.update_layout(
        **base_layout(theme, identity=identity),
        hovermode="x unified",
        xaxis=axis(theme, anchor="y2", hoverformat=hover_time()),
        yaxis=axis(theme, side="right", fixedrange=True, domain=[0.32, 1.0], tickformat=",.0f", nticks=6),
        yaxis2=axis(
            theme,
            side="right",
            fixedrange=True,
            domain=[0.0, 0.24],
            ticksuffix="%",
            nticks=3,
            rangemode="tozero",
        ),
        shapes=[
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "x0": str(start),
                "x1": str(end),
                "y0": 0,
                "y1": 1,
                "fillcolor": theme.accent_fill,
                "line": {"width": 0},
                "layer": "below",
                "opacity": 0.5,
            }
            for start, end in shaded
        ],
    )
    figure.add_hline(y=capital, line={"color": theme.tx3, "width": 1, "dash": "dot"})
    return figure


def trade_markers(trades: Sequence[Mapping[str, Any]], timeframe: Timeframe, theme: Theme) -> list[Row]:
    """An arrow at each entry and exit, on the candle of `timeframe` that it happened in; the newest ones."""
    markers: list[Row] = []
    for trade in trades[-MAX_MARKERS // 2 :]:
        long = trade["side"] == "long"
        gained = float(trade["pnl"]) > 0
        markers.append(
            _arrow(trade["entry_time"], timeframe, up=long, color=theme.accent, text="L" if long else "S")
        )
        colour = theme.up_text if gained else theme.down_text
        markers.append(
            _arrow(trade["exit_time"], timeframe, up=not long, color=colour, text="+" if gained else "−")  # noqa: RUF001
        )
    return sorted(markers, key=lambda one: int(one["time"]))


def _arrow(time: str, timeframe: Timeframe, *, up: bool, color: str, text: str) -> Row:
    return {
        "time": floor_to(time_us(time), timeframe) // SECOND_US,
        "position": "belowBar" if up else "aboveBar",
        "shape": "arrowUp" if up else "arrowDown",
        "color": color,
        "text": text,
    }


def time_us(text: str) -> int:
    """Microseconds of an ISO 8601 time of a document, which is in UTC."""
    return to_us(datetime.fromisoformat(text))
