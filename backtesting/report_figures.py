"""A report's figures as Plotly reads them: pure data, colours named as the page's CSS variables."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from backtesting.analysis import Analysis
from backtesting.course import Course
from backtesting.drawdowns import underwater
from backtesting.thinning import thinned
from bots.orders import ClosedTrade, Fill
from data.models import FloatArray, IntArray, Ohlcv
from strategies.base import Overlay

Figure = dict[str, Any]

MOST_POINTS = 2_000  # of a line; more are thinned to the extremes of each stretch
MOST_BARS = 500  # of a price chart; more candles are drawn several to a bar
FEW_MARKS = 120
MOST_MARKS = 1_500  # fills on a price chart
WINDOW_BARS = 40  # candles drawn before and after a trade that is shown by itself
MOST_WINDOW_BARS = 400  # of a trade that is shown by itself

_UP, _DOWN, _ACCENT, _QUIET, _TEXT = "var(--up)", "var(--down)", "var(--accent)", "var(--tx3)", "var(--tx2)"
_OVERLAYS = ("#f5b83d", "#8f7bff", "#5b9bff", "#e879b9", "#a3c940", "#7890be")


def equity_figure(course: Course, best_case: FloatArray | None = None) -> Figure:
    """Equity beside buy-and-hold, and the drawdown below. `best_case` reads doubtful exits as targets."""
    at_us, curve = course.curve_at_us, course.curve
    fall = underwater(curve)
    # One choice of rows for both, so that a trough stands at the same time in each.
    rows = np.union1d(thinned(curve, MOST_POINTS), thinned(fall, MOST_POINTS))
    held = np.concatenate(([course.capital], course.held))
    held_rows = thinned(held, MOST_POINTS)
    data = [
        _line("Buy and hold", at_us[held_rows], held[held_rows], _QUIET, dash="dot"),
        _line("Equity", at_us[rows], curve[rows], _ACCENT, width=1.6),
    ]
    if best_case is not None:
        best = np.concatenate(([course.capital], best_case))
        best_rows = thinned(best, MOST_POINTS)
        data.append(
            _line("Equity, targets first", at_us[best_rows], best[best_rows], "var(--warn)", dash="dash")
        )
    under = _line("Drawdown", at_us[rows], fall[rows], _DOWN)
    under |= {"yaxis": "y2", "fill": "tozeroy", "fillcolor": "var(--down-fill)", "showlegend": False}
    under["hovertemplate"] = "%{y:.2%}"
    layout = _layout(440)
    layout["xaxis"] |= {"anchor": "y2"}
    layout["yaxis"] |= {"domain": [0.32, 1.0]}
    layout["yaxis2"] = _axis() | {"domain": [0.0, 0.26], "tickformat": ".0%", "rangemode": "tozero"}
    return {"data": [*data, under], "layout": layout}


def gains_figure(legs: Sequence[tuple[str, Course]]) -> Figure:
    """What each leg of a portfolio has gained, in quote currency."""
    data = []
    for number, (name, course) in enumerate(legs):
        gain = course.curve - course.capital
        rows = thinned(gain, MOST_POINTS)
        colour = _OVERLAYS[number % len(_OVERLAYS)]
        data.append(_line(name, course.curve_at_us[rows], gain[rows], colour, width=1.4))
    return {"data": data, "layout": _layout(320)}


def price_figure(ohlcv: Ohlcv, fills: Sequence[Fill], overlays: Sequence[Overlay]) -> Figure:
    """Candles with every entry and exit at its price, and indicators; see `bars_per_candle` for long runs."""
    width = candles_per_bar(len(ohlcv))
    bars, ends = folded(ohlcv, width)
    at_us = bars.opened_at_us
    panes = list(dict.fromkeys(line.pane for line in overlays if line.pane != "price"))
    axes = {"price": "y"} | {pane: f"y{number}" for number, pane in enumerate(panes, 2)}
    data = [_candles(bars)]
    for number, line in enumerate(overlays):
        values = line.values[ends]
        trace = _line(line.label, at_us, values, _OVERLAYS[number % len(_OVERLAYS)], width=1.1)
        data.append(trace | {"yaxis": axes[line.pane]})
    data += _marks(_spread(fills, MOST_MARKS))
    layout = _layout(420 + 110 * len(panes))
    layout["xaxis"] |= {"rangeslider": {"visible": False}, "anchor": axes[panes[-1]] if panes else "y"}
    _stack(layout, len(panes))
    return {"data": data, "layout": layout}


def candles_per_bar(candles: int) -> int:
    """How many candles one bar of a price chart stands for."""
    return -(-candles // MOST_BARS)


def folded(ohlcv: Ohlcv, width: int) -> tuple[Ohlcv, IntArray]:
    """Each `width` candles as one, nothing left out, and the row of each one's last candle."""
    starts = np.arange(0, len(ohlcv), width)
    ends = np.append(starts[1:], len(ohlcv)) - 1
    bars = Ohlcv(
        timeframe=ohlcv.timeframe,
        opened_at_us=ohlcv.opened_at_us[starts],
        open=ohlcv.open[starts],
        high=np.maximum.reduceat(ohlcv.high, starts),
        low=np.minimum.reduceat(ohlcv.low, starts),
        close=ohlcv.close[ends],
        volume=np.add.reduceat(ohlcv.volume, starts),
    )
    return bars, ends


def trade_figure(
    ohlcv: Ohlcv, trade: ClosedTrade, fills: Sequence[Fill], overlays: Sequence[Overlay]
) -> Figure:
    """One trade, every candle drawn, with some before and after it."""
    first = int(np.searchsorted(ohlcv.opened_at_us, trade.entry_at_us, side="right")) - 1
    last = int(np.searchsorted(ohlcv.opened_at_us, trade.exit_at_us, side="right")) - 1
    start, stop = max(0, first - WINDOW_BARS), min(len(ohlcv), last + 1 + WINDOW_BARS)
    part = ohlcv.rows(start, stop)
    until_us = int(part.opened_at_us[-1]) + part.timeframe.us
    shown = [fill for fill in fills if part.opened_at_us[0] <= fill.filled_at_us <= until_us]
    cut = [
        Overlay(name=line.name, label=line.label, pane=line.pane, values=line.values[start:stop])
        for line in overlays
        if line.pane == "price"
    ]
    figure = price_figure(part, shown, cut)
    colour = _UP if trade.pnl > 0 else _DOWN
    figure["layout"]["shapes"] = [
        {
            "type": "line",
            "x0": trade.entry_at_us / 1_000,
            "x1": trade.exit_at_us / 1_000,
            "y0": float(trade.entry_price),
            "y1": float(trade.exit_price),
            "line": {"color": colour, "width": 1.5, "dash": "dot"},
        }
    ]
    return figure


def rolling_figure(analysis: Analysis) -> Figure:
    """The Sharpe ratio over a moving window."""
    rolling = analysis.rolling_sharpe
    at_us = np.array([time.rstrip("Z") for time in rolling.times], dtype="datetime64[us]").astype(np.int64)
    values = np.array([np.nan if value is None else value for value in rolling.sharpe])
    layout = _layout(280)
    layout["yaxis"] |= {"zerolinecolor": _QUIET}
    return {"data": [_line("Sharpe", at_us, values, _ACCENT, width=1.4)], "layout": layout}


def distribution_figure(analysis: Analysis) -> Figure:
    """How many trades returned how much."""
    edges, counts = np.array(analysis.distribution.edges), analysis.distribution.counts
    middles = (edges[:-1] + edges[1:]) / 2
    ranges = [f"{low:+.2%} to {high:+.2%}" for low, high in pairwise(edges.tolist())]
    bars = {
        "type": "bar",
        "x": middles.tolist(),
        "y": counts,
        "text": ranges,
        "textposition": "none",
        "hovertemplate": "%{text}: %{y} trades<extra></extra>",
        "marker": {"color": [_UP if middle > 0 else _DOWN for middle in middles]},
    }
    layout = _layout(280)
    layout["xaxis"] = _axis() | {"tickformat": "+.1%", "title": {"text": "Return of a trade", "standoff": 6}}
    layout |= {"bargap": 0.06, "showlegend": False, "hovermode": "closest"}
    return {"data": [bars], "layout": layout}


def excursion_figure(course: Course) -> Figure:
    """Worst point against return of each trade, and best point against return."""
    rates = np.array([float(trade.return_rate) for trade in course.trades])
    texts = [f"{trade.side.value}, {trade.exit_reason.value.replace('_', ' ')}" for trade in course.trades]
    data = []
    for name, values, colour, symbol in (
        ("Worst point (MAE)", course.adverse, _DOWN, "circle"),
        ("Best point (MFE)", course.favourable, _UP, "diamond-open"),
    ):
        rows = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_MARKS)).astype(np.int64))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": packed(values[rows]),
                "y": packed(rates[rows]),
                "text": [texts[row] for row in rows.tolist()],
                "marker": {"color": colour, "size": 6, "opacity": 0.75, "symbol": symbol},
                "hovertemplate": "%{text}<br>%{x:+.2%}, returned %{y:+.2%}<extra></extra>",
            }
        )
    layout = _layout(320)
    layout["xaxis"] = _axis() | {
        "tickformat": "+.1%",
        "title": {"text": "From the entry price", "standoff": 6},
    }
    layout["yaxis"] |= {"tickformat": "+.1%", "zerolinecolor": _QUIET}
    layout["hovermode"] = "closest"
    return {"data": data, "layout": layout}


def packed(values: FloatArray) -> dict[str, str]:
    """A column as Plotly reads it without parsing numbers: base64 of little-endian doubles."""
    content = np.ascontiguousarray(values, dtype="<f8").tobytes()
    return {"dtype": "f8", "bdata": base64.b64encode(content).decode()}


def _line(
    name: str, at_us: IntArray, values: FloatArray, colour: str, *, width: float = 1.2, dash: str = "solid"
) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": packed(at_us / 1_000),
        "y": packed(values),
        "line": {"color": colour, "width": width, "dash": dash},
    }


def _candles(bars: Ohlcv) -> Figure:
    sides = {
        name: {"line": {"color": colour, "width": 1}, "fillcolor": colour}
        for name, colour in (("increasing", _UP), ("decreasing", _DOWN))
    }
    return {
        "type": "candlestick",
        "name": "Price",
        "x": packed(bars.opened_at_us / 1_000),
        "open": packed(bars.open),
        "high": packed(bars.high),
        "low": packed(bars.low),
        "close": packed(bars.close),
        "opacity": 0.75,
        "showlegend": False,
        **sides,
    }


def _marks(fills: Sequence[Fill]) -> list[Figure]:
    """Entries and exits, long and short told apart by direction and by name; small where they are many."""
    size = 9 if len(fills) <= FEW_MARKS else 6
    data = []
    for name, side, entering, colour, symbol in (
        ("Long entry", "long", True, _UP, "triangle-up"),
        ("Long exit", "long", False, _DOWN, "triangle-down-open"),
        ("Short entry", "short", True, _DOWN, "triangle-down"),
        ("Short exit", "short", False, _UP, "triangle-up-open"),
    ):
        chosen = [
            fill
            for fill in fills
            if fill.position_side.value == side and (fill.reason.value in ("entry", "add_on")) is entering
        ]
        if not chosen:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": packed(np.array([fill.filled_at_us for fill in chosen]) / 1_000),
                "y": packed(np.array([float(fill.price) for fill in chosen])),
                "text": [fill.reason.value.replace("_", " ") for fill in chosen],
                "hovertemplate": "%{text} at %{y}",
                "marker": {
                    "color": colour,
                    "symbol": symbol,
                    "size": size,
                    "line": {"width": 1, "color": _TEXT},
                },
            }
        )
    return data


def _spread(fills: Sequence[Fill], most: int) -> list[Fill]:
    if len(fills) <= most:
        return list(fills)
    return [fills[row] for row in np.unique(np.linspace(0, len(fills) - 1, most).astype(np.int64)).tolist()]


def _layout(height: int) -> Figure:
    return {
        "height": height,
        "margin": {"l": 60, "r": 16, "t": 8, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "Inter, system-ui, sans-serif", "size": 11.5, "color": _TEXT},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "var(--s2)", "bordercolor": "var(--line2)", "font": {"color": "var(--tx)"}},
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "xaxis": _axis() | {"type": "date"},
        "yaxis": _axis(),
    }


def _axis() -> Figure:
    return {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--line2)",
        "zerolinecolor": "var(--grid)",
        "automargin": True,
    }


def _stack(layout: Figure, panes: int) -> None:
    """Panes of their own below the price, the same height each."""
    share = 0.22 if panes < 3 else 0.66 / panes
    for number in range(panes):
        top = share * (panes - number)
        layout[f"yaxis{number + 2}"] = _axis() | {"domain": [top - share, top - 0.03]}
    layout["yaxis"] |= {"domain": [share * panes, 1.0]}
