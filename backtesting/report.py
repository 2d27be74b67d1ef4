"""One run as an HTML page that needs nothing else: charts, months, trades, figures and the manifest."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from backtesting.document import metrics_document
from backtesting.engine import BacktestResult
from backtesting.manifest import Manifest, iso_time
from backtesting.thinning import thinned
from data.timeframes import to_datetime

MOST_POINTS = 4_000  # of a line; more are thinned to the extremes of each stretch
MOST_TRADES = 1_000  # rows of the trade table; trades.csv has them all

_UP, _DOWN, _LINE, _QUIET = "#1a7f5a", "#b3372f", "#2b5fb4", "#8a8f98"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --quiet: #5c6470; --paper: #fbfbfa; --rule: #d9dce1; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ec; --quiet: #9aa3af; --paper: #14171c; --rule: #343a44; }
}
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { color: var(--quiet); margin: .25rem 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--rule); padding: .25rem .5rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--quiet); font-weight: 500; }
.figures { columns: 3 18rem; } .figures div { break-inside: avoid; display: flex; gap: 1rem;
  justify-content: space-between; border-bottom: 1px solid var(--rule); padding: .2rem 0; }
.figures span { color: var(--quiet); }
.scroll { max-height: 32rem; overflow: auto; }
.chart { background: #fff; }
.gain { color: #1a7f5a; } .loss { color: #b3372f; }
@media (prefers-color-scheme: dark) { .gain { color: #4cc38a; } .loss { color: #f2777a; } }
pre { overflow: auto; border: 1px solid var(--rule); padding: .75rem; font-size: 12px; }
"""


def report_html(result: BacktestResult, manifest: Manifest) -> str:
    """The whole page; Plotly's program is part of it, so it opens without a network."""
    title = f"{manifest.strategy} · {manifest.timeframe}"
    span = f"{manifest.starts_at} to {manifest.ends_at}, {manifest.candles:,} candles"
    chart = report_figure(result).to_html(
        full_html=False, include_plotlyjs=False, config={"displaylogo": False}
    )
    indented = msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode()
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>",
        f"<script>{get_plotlyjs()}</script></head><body>",
        f"<h1>{html.escape(title)}</h1><p>{html.escape(span)}</p>",
        f'<div class="chart">{chart}</div>',
        "<h2>Figures</h2>",
        _figures(result),
        "<h2>Monthly returns</h2>",
        _months(result),
        "<h2>Trades</h2>",
        _trades(result),
        "<h2>Manifest</h2>",
        f"<pre>{html.escape(indented)}</pre>",
        "</body></html>",
    ]
    return "\n".join(parts)


def report_figure(result: BacktestResult) -> go.Figure:
    """Equity beside buy and hold, drawdown, and the price with every entry and exit."""
    ohlcv = result.ohlcv
    closes_at = (ohlcv.opened_at_us + ohlcv.timeframe.us).view("datetime64[us]")
    held = float(result.capital) * ohlcv.close / ohlcv.open[0]
    peaks = np.maximum.accumulate(np.concatenate(([float(result.capital)], result.equity)))[1:]
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.4, 0.15, 0.45]
    )
    for name, values, colour, row in (
        ("Equity", result.equity, _LINE, 1),
        ("Buy and hold", held, _QUIET, 1),
        ("Drawdown", result.equity / peaks - 1.0, _DOWN, 2),
        ("Close", ohlcv.close, _QUIET, 3),
    ):
        rows = thinned(values, MOST_POINTS)
        figure.add_trace(
            go.Scattergl(
                x=closes_at[rows],
                y=values[rows],
                name=name,
                mode="lines",
                line={"color": colour, "width": 1.2},
                fill="tozeroy" if row == 2 else None,
            ),
            row=row,
            col=1,
        )
    for name, buys, colour, symbol in (
        ("Buy", True, _UP, "triangle-up"),
        ("Sell", False, _DOWN, "triangle-down"),
    ):
        fills = [fill for fill in result.fills if (fill.side == "buy") is buys]
        figure.add_trace(
            go.Scattergl(
                x=[to_datetime(fill.filled_at_us) for fill in fills],
                y=[float(fill.price) for fill in fills],
                text=[fill.reason for fill in fills],
                name=name,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 7},
            ),
            row=3,
            col=1,
        )
    figure.update_layout(
        height=820,
        margin={"l": 60, "r": 20, "t": 20, "b": 30},
        template="plotly_white",
        hovermode="x unified",
        legend={"orientation": "h", "y": 1.04},
    )
    figure.update_yaxes(tickformat=".0%", row=2, col=1)
    return figure


def monthly_returns(result: BacktestResult) -> list[tuple[int, int, float]]:
    """(year, month, return) of every calendar month touched, UTC; the first and last may be parts."""
    closes_at_us = result.ohlcv.opened_at_us + result.ohlcv.timeframe.us
    # A candle that closes at midnight of the first belongs to the month before.
    months = (closes_at_us - 1).view("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    last_rows = np.append(np.flatnonzero(np.diff(months)), len(months) - 1)
    ends = result.equity[last_rows]
    starts = np.concatenate(([float(result.capital)], ends[:-1]))
    returns = np.divide(ends, starts, out=np.full(len(ends), np.nan), where=starts > 0) - 1.0
    return [
        (1970 + month // 12, month % 12 + 1, value)
        for month, value in zip(months[last_rows].tolist(), returns.tolist(), strict=True)
    ]


def _figures(result: BacktestResult) -> str:
    rows = []
    for name, value in metrics_document(result.metrics).items():
        shown = "-" if value is None else value if isinstance(value, str) else f"{value:,.6g}"
        rows.append(f"<div><span>{name.replace('_', ' ')}</span><b>{shown}</b></div>")
    return f'<div class="figures">{"".join(rows)}</div>'


def _months(result: BacktestResult) -> str:
    by_year: dict[int, dict[int, float]] = {}
    for year, month, value in monthly_returns(result):
        by_year.setdefault(year, {})[month] = value
    names = [datetime(2000, month, 1, tzinfo=UTC).strftime("%b") for month in range(1, 13)]
    rows = []
    for year, months in by_year.items():
        whole = float(np.prod([1.0 + value for value in months.values()])) - 1.0
        cells = [
            _signed(months[month], f"{months[month]:+.1%}") if month in months else "<td></td>"
            for month in range(1, 13)
        ]
        rows.append([f"<td>{year}</td>", *cells, _signed(whole, f"{whole:+.1%}")])
    return _table(["Year", *names, "Year's"], rows)


def _trades(result: BacktestResult) -> str:
    rows = []
    for trade in result.trades[:MOST_TRADES]:
        rate, pnl = float(trade.return_rate), float(trade.pnl)
        rows.append(
            [
                f"<td>{iso_time(trade.entry_at_us)}</td>",
                f"<td>{trade.side}</td>",
                f"<td>{float(trade.quantity):,.8g}</td>",
                f"<td>{float(trade.entry_price):,.8g}</td>",
                f"<td>{iso_time(trade.exit_at_us)}</td>",
                f"<td>{float(trade.exit_price):,.8g}</td>",
                f"<td>{trade.exit_reason.replace('_', ' ')}</td>",
                f"<td>{float(trade.fees):,.4g}</td>",
                _signed(pnl, f"{pnl:+,.2f}"),
                _signed(rate, f"{rate:+.2%}"),
            ]
        )
    heads = ["Entry", "Side", "Quantity", "Price", "Exit", "Price", "Reason", "Fees", "Profit", "Return"]
    table = f'<div class="scroll">{_table(heads, rows)}</div>'
    left = len(result.trades) - len(rows)
    return table + (f"<p>{left:,} more trades are in trades.csv.</p>" if left > 0 else "")


def _signed(value: float, text: str) -> str:
    kind = "gain" if value > 0 else "loss" if value < 0 else ""
    return f'<td class="{kind}">{text}</td>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
