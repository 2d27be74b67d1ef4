"""The price chart as a Plotly figure: the same candles, lines, panes, markers and colours as on the canvas.

Candles stand side by side by their number, as on the canvas: an interval without trades takes no room.
The page draws no more than PLOT_BARS of them at a time (`assets/25-plot.js`), because Plotly makes a node for
each: it fills the traces of an empty figure with what is in view, further out with one candle for several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.price_chart import (
    Row,
    overlay_colours,
    overlay_panes,
    pane_options,
)
from dashboard.theme import FONT, Theme
from data.models import IntArray, Ohlcv
from data.timeframes import SECOND_US, to_datetime
from strategies.base import Overlay

PLOT_BARS = 400  # on a screen
_GAP = 0.012  # of the height, between panes
_TICKS = 8
_SYMBOLS = {"arrowUp": "triangle-up", "arrowDown": "triangle-down", "circle": "circle", "square": "square"}


def price_plot(
    ohlcv: Ohlcv,
    overlays: Sequence[Overlay],
    *,
    theme: Theme,
    decimals: int,
    scale: str = "",
    shares: Sequence[float] = (),
    markers: Sequence[Row] = (),
    identity: str = "",
) -> go.Figure:
    """Candles, volume, a line per overlay and one trace of markers, over one axis of candle numbers.

    `scale` is "log", "percent" or anything else for even steps: percents are those of the first candle in
    view, so the page labels the axis with them, and finds the word in `layout.meta`. `shares` are those of
    `pane_options`, `markers` those of `merged_markers`. `identity` names what is shown: zoom survives an
    update of the same thing.
    """
    at = np.arange(len(ohlcv))
    panes = overlay_panes(overlays)
    figure = go.Figure(
        [
            _candles(ohlcv, at, theme),
            _volume(ohlcv, at, theme),
            *(
                go.Scatter(
                    x=at,
                    y=overlay.values,
                    mode="lines",
                    name=overlay.label,
                    yaxis=_axis_name(panes[overlay.pane]),
                    line={"color": colour, "width": 1},
                    hoverinfo="none",
                )
                for overlay, colour in zip(overlays, overlay_colours(overlays, theme), strict=True)
            ),
            _markers(ohlcv, markers),
        ]
    )
    figure.update_layout(_layout(ohlcv, overlays, theme, decimals, scale, shares), uirevision=identity)
    return figure


def _candles(ohlcv: Ohlcv, at: IntArray, theme: Theme) -> go.Candlestick:
    def side(colour: str) -> dict[str, Any]:
        return {"line": {"color": colour, "width": 1}, "fillcolor": colour}

    return go.Candlestick(
        x=at,
        open=ohlcv.open,
        high=ohlcv.high,
        low=ohlcv.low,
        close=ohlcv.close,
        name="Price",
        increasing=side(theme.up),
        decreasing=side(theme.down),
        hoverinfo="none",
    )


def _volume(ohlcv: Ohlcv, at: IntArray, theme: Theme) -> go.Bar:
    rising = ohlcv.close >= ohlcv.open
    return go.Bar(
        x=at,
        y=ohlcv.volume,
        name="Volume",
        yaxis=_axis_name(1),
        marker={"color": np.where(rising, theme.up_soft, theme.down_soft).tolist(), "line": {"width": 0}},
        hoverinfo="none",
    )


def _markers(ohlcv: Ohlcv, markers: Sequence[Row]) -> go.Scatter:
    """Each on the candle of its time; those of other times are left out."""
    times = ohlcv.opened_at_us // SECOND_US
    rows = np.searchsorted(times, [row["time"] for row in markers]).tolist()
    on_candles = [
        (row, marker)
        for row, marker in zip(rows, markers, strict=True)
        if row < len(times) and times[row] == marker["time"]
    ]
    heights = {"belowBar": ohlcv.low, "aboveBar": ohlcv.high, "inBar": ohlcv.close}
    return go.Scatter(
        x=[row for row, _ in on_candles],
        y=[float(heights[marker["position"]][row]) for row, marker in on_candles],
        mode="markers",
        name="Signals and fills",
        customdata=[marker.get("id", "") for _, marker in on_candles],
        marker={
            "symbol": [_SYMBOLS.get(marker["shape"], "circle") for _, marker in on_candles],
            "color": [marker["color"] for _, marker in on_candles],
            "size": 9,
        },
        hoverinfo="none",
    )


def _layout(
    ohlcv: Ohlcv,
    overlays: Sequence[Overlay],
    theme: Theme,
    decimals: int,
    scale: str,
    shares: Sequence[float],
) -> dict[str, Any]:
    panes = pane_options(overlays, shares)
    axis = {
        "gridcolor": theme.grid,
        "zeroline": False,
        "side": "right",
        "fixedrange": True,
        "tickfont": {"color": theme.tx2, "size": 11},
        "linecolor": theme.line,
        "nticks": 4,
    }
    axes: dict[str, Any] = {}
    top = 1.0
    whole = sum(pane["stretchFactor"] for pane in panes)
    for number, pane in enumerate(panes):
        height = (1.0 - _GAP * (len(panes) - 1)) * pane["stretchFactor"] / whole
        bottom = max(0.0, top - height)
        axes[f"yaxis{number + 1 if number else ''}"] = {**axis, "domain": [bottom, top]}
        top = bottom - _GAP
    axes["yaxis"] |= {
        "tickformat": f",.{decimals}f",
        "nticks": 9,
        "type": "log" if scale == "log" else "linear",
        "showspikes": True,
    }
    axes["yaxis2"] |= {"tickformat": ".3~s", "rangemode": "tozero"}
    spikes = {"spikemode": "across", "spikesnap": "cursor", "spikethickness": 1, "spikedash": "dot"}
    values, texts = _ticks(ohlcv)
    return {
        "template": None,
        "meta": {"scale": scale},
        "paper_bgcolor": theme.s1,
        "plot_bgcolor": theme.s1,
        "font": {"family": FONT, "size": 11, "color": theme.tx2},
        "margin": {"l": 0, "r": 72, "t": 8, "b": 24},
        "showlegend": False,
        "hovermode": "x",
        "dragmode": "pan",
        "bargap": 0.25,
        "xaxis": {
            "gridcolor": theme.grid,
            "zeroline": False,
            "tickfont": {"color": theme.tx2, "size": 11},
            "anchor": _axis_name(len(panes) - 1),
            "rangeslider": {"visible": False},
            "tickvals": values,
            "ticktext": texts,
            "showspikes": True,
            "spikecolor": theme.tx3,
            **spikes,
        },
        **axes,
        "yaxis": {**axes["yaxis"], "spikecolor": theme.tx3, **spikes},
    }


def _axis_name(pane: int) -> str:
    """Of a pane counted from 0 at the top."""
    return f"y{pane + 1}" if pane else "y"


def _ticks(ohlcv: Ohlcv) -> tuple[list[int], list[str]]:
    """Some numbers of candles, evenly apart, and their times in UTC."""
    step = max(1, len(ohlcv) // _TICKS)
    rows = list(range(0, len(ohlcv), step))
    return rows, [f"{to_datetime(int(ohlcv.opened_at_us[row])):%d %b %H:%M}" for row in rows]
