"""A search in pictures: the metric over two parameters, and every trial as a line across its parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from backtesting.search.result import HeatMap, ParallelCoordinates
from backtesting.search.spec import SMALLER_IS_BETTER
from dashboard.figures.backtest import axis, base_layout
from dashboard.number_formats import MINUS, rewritten
from dashboard.theme import Theme
from data.models import FloatArray

_BINS = 6  # of colour
_MOST_LINES = 240


def heat_map_figure(
    heat: HeatMap, *, metric: str, median: bool, best: tuple[float, float] | None, identity: str, theme: Theme
) -> go.Figure:
    """The metric over the first two parameters; a ring marks the trial that was picked.

    Over further parameters each cell has the best, or with `median` the median.
    """
    cells = np.array(heat.median if median else heat.best, dtype=np.float64)
    low, high = (float(np.nanmin(cells)), float(np.nanmax(cells))) if np.isfinite(cells).any() else (0.0, 1.0)
    size = max(abs(low), abs(high)) or 1.0
    # Where nothing lost there is no middle between red and green: the better, the bluer.
    one_way = low >= 0
    scale = [(0.0, theme.s2), (1.0, theme.accent)]
    if not one_way:
        scale = [(0.0, theme.down), (0.5, theme.s3), (1.0, theme.up)]
    elif metric in SMALLER_IS_BETTER:
        scale = [(0.0, theme.accent), (1.0, theme.s2)]
    figure = go.Figure(
        go.Heatmap(
            x=np.array(heat.x_values),
            y=np.array(heat.y_values),
            z=cells,
            zmin=low if one_way else -size,
            zmax=high if one_way else size,
            colorscale=scale,
            hovertemplate=f"{heat.x} %{{x}}<br>{heat.y} %{{y}}<br>{metric} %{{z:.3f}}<extra></extra>",
            hoverongaps=False,
            colorbar={
                "thickness": 10,
                "outlinewidth": 0,
                "tickfont": {"color": theme.tx2, "size": 11},
                "title": {
                    "text": metric.replace("_", " ").capitalize(),
                    "font": {"color": theme.tx2, "size": 11},
                },
            },
        )
    )
    if best is not None:
        figure.add_scatter(
            x=[best[0]],
            y=[best[1]],
            mode="markers",
            marker={"symbol": "circle-open", "size": 14, "color": theme.tx, "line": {"width": 2}},
            hovertemplate=f"picked: {heat.x} %{{x}}, {heat.y} %{{y}}<extra></extra>",
        )
    figure.update_layout(
        **{**base_layout(theme, identity=identity), "margin": {"l": 56, "r": 8, "t": 10, "b": 44}},
        xaxis=axis(theme, showgrid=False, title={"text": heat.x, "standoff": 6}),
        yaxis=axis(theme, showgrid=False, title={"text": heat.y, "standoff": 6}),
    )
    return figure


def parallel_figure(lines: ParallelCoordinates, *, metric: str, identity: str, theme: Theme) -> go.Figure:
    """Each trial as a line over columns that are scaled to their own range; the better, the brighter."""
    table = np.array(lines.rows[:_MOST_LINES], dtype=np.float64).reshape(-1, len(lines.columns))
    low, high = _ranges(table)
    scaled = (table - low) / np.where(high > low, high - low, 1.0)
    scaled[:, high <= low] = 0.5
    across = np.arange(len(lines.columns), dtype=np.float64)
    figure = go.Figure()
    # Rows come best first: the best are drawn last, on top.
    for number, rows in reversed(list(enumerate(np.array_split(np.arange(len(table)), _BINS)))):
        if not len(rows):
            continue
        x = np.tile(np.append(across, np.nan), len(rows))
        y = np.concatenate([np.append(scaled[row], np.nan) for row in rows])
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": theme.accent if number == 0 else theme.tx3, "width": 1.6 if number == 0 else 0.8},
            opacity=(0.9, 0.45, 0.36, 0.28, 0.2, 0.14)[number],
            hoverinfo="skip",
            connectgaps=False,
        )
    figure.update_layout(
        **{**base_layout(theme, identity=identity), "margin": {"l": 40, "r": 40, "t": 34, "b": 20}},
        hovermode=False,
        xaxis=axis(
            theme,
            tickvals=across.tolist(),
            ticktext=[name.replace("_", " ") for name in lines.columns],
            range=[-0.15, len(lines.columns) - 0.85],
            side="top",
            fixedrange=True,
            gridcolor=theme.line2,
        ),
        yaxis={"visible": False, "range": [-0.08, 1.08], "fixedrange": True},
        annotations=[
            {
                "x": column,
                "y": height,
                "text": _figure(value),
                "showarrow": False,
                # Beyond the ends of the axis, where no line passes through the figure.
                "yshift": shift,
                "font": {"size": 10.5, "color": theme.tx2},
            }
            for column in range(len(lines.columns))
            for height, value, shift in ((0.0, low[column], -10), (1.0, high[column], 10))
        ],
    )
    return figure


def _ranges(table: FloatArray) -> tuple[FloatArray, FloatArray]:
    known = np.isfinite(table)
    low = np.where(known, table, np.inf).min(axis=0, initial=np.inf)
    high = np.where(known, table, -np.inf).max(axis=0, initial=-np.inf)
    never = ~known.any(axis=0) if len(table) else np.ones(table.shape[1], dtype=bool)
    return np.where(never, 0.0, low), np.where(never, 0.0, high)


def _figure(value: float) -> str:
    return rewritten(f"{value:,.4g}").replace("-", MINUS)


def picked_cell(heat: HeatMap, parameters: dict[str, float]) -> tuple[float, float] | None:
    """Where the picked trial lies on the map."""
    names: Sequence[str] = (heat.x, heat.y)
    if not all(name in parameters for name in names):
        return None
    return parameters[heat.x], parameters[heat.y]
