"""Two kept backtests side by side: what made them differ, their figures, and their trades one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from dash import dcc, html
from dash.development.base_component import Component

from dashboard.figures.backtest import axis, base_layout, time_us
from dashboard.figures.wall_clock import hover_time, wall_times
from dashboard.market_request import markets_words
from dashboard.number_formats import MISSING, percent, plain, rewritten, signed, sortable_time, whole
from dashboard.pages.runs import graph
from dashboard.panels import Column, icon, table, tag
from dashboard.theme import Theme
from jobs.research import ResearchReader, RunView

_FIGURES = (
    "total_return",
    "final_equity",
    "sharpe",
    "sortino",
    "max_drawdown",
    "trades",
    "win_rate",
    "profit_factor",
    "exposure",
    "fees_paid",
    "slippage_paid",
    "ambiguous_exits",
)
_RATES = frozenset({"total_return", "max_drawdown", "win_rate", "exposure"})
_COUNTS = frozenset({"trades", "ambiguous_exits"})
_MADE_OF = (
    ("engine_version", "engine"),
    ("strategy_hash", "strategy"),
    ("parameters", "parameters"),
    ("data_hash", "candles"),
    ("finer_hash", "finer candles"),
    ("capital", "capital"),
    ("costs", "costs"),
    ("rules", "trading rules"),
    ("close_at_end", "closing at the end"),
)
# A trade of A, that of B, and the fields in which they differ; one is None where only the other has it.
Pair = tuple[Mapping[str, Any] | None, Mapping[str, Any] | None, list[str]]
_SAME_TRADE = ("symbol", "side", "entry_time")
_COMPARED = ("entry_price", "exit_time", "exit_price", "quantity", "fees", "pnl", "exit_reason")
_MOST = 50  # differing trades that are listed


def compare_report(first: RunView, second: RunView, research: ResearchReader, theme: Theme) -> Component:
    """Everything in which two runs differ."""
    return html.Div(
        [
            html.Div(
                [
                    html.Div(
                        [
                            html.H2(["Comparison"]),
                            html.P(
                                [
                                    tag("A", "accent"),
                                    _link(first),
                                    tag("B", "warn"),
                                    _link(second),
                                ],
                                className="compare-names",
                            ),
                        ]
                    )
                ],
                className="run-head",
            ),
            _causes(first, second),
            html.Section(
                [
                    html.Div([icon("chart-line"), "Return of both"], className="panel-head"),
                    graph(
                        _curves(first, second, research, theme),
                        "compare-curves",
                        "Return of both runs in percent",
                    ),
                ],
                className="panel run-curves",
            ),
            html.Div([_figures(first, second), _trades(first, second)], className="sweep-pictures"),
        ],
        className="run-report",
    )


def _link(run: RunView) -> Component:
    one = run.summary
    return dcc.Link(
        f"{one.strategy}, run {one.id}, {markets_words(one.markets)}",
        href=f"/backtests?run={one.id}",
        className="link",
    )


def _causes(first: RunView, second: RunView) -> Component:
    differing = [words for name, words in _MADE_OF if first.manifest.get(name) != second.manifest.get(name)]
    if first.manifest.get("result_hash") == second.manifest.get("result_hash"):
        words = "The results are the same, fill by fill."
    elif differing:
        words = f"The results differ, and so do: {', '.join(differing)}."
    else:
        words = "The results differ although the manifests name the same inputs."
    same = words.startswith("The results are")
    return html.Div(
        [icon("circle-check" if same else "info-circle"), html.Strong(words)],
        className="verdict-banner good" if same else "verdict-banner",
    )


def _curves(first: RunView, second: RunView, research: ResearchReader, theme: Theme) -> go.Figure:
    figure = go.Figure()
    for run, name, colour in ((first, "A", theme.accent), (second, "B", theme.warn)):
        curve = research.equity(run.summary.id)
        capital = float(run.metrics["initial_equity"])
        figure.add_scatter(
            x=wall_times(curve.at_us),
            y=(curve.equity / capital - 1) * 100,
            mode="lines",
            name=name,
            line={"color": colour, "width": 1.6},
            hovertemplate=f"%{{y:+.2f}}%<extra>{name}</extra>",
        )
    identity = f"{first.summary.id} {second.summary.id}"
    figure.update_layout(
        **base_layout(theme, identity=identity),
        hovermode="x unified",
        xaxis=axis(theme, hoverformat=hover_time()),
        yaxis=axis(theme, side="right", ticksuffix="%", fixedrange=True),
    )
    return figure


def figure_words(name: str, value: float | None, *, gap: bool = False) -> str:
    """A figure as the reports write it; `gap` is the difference of two, which has a sign."""
    if value is None:
        return MISSING
    if name in _RATES:
        return percent(value) if gap or name == "total_return" else f"{plain(value * 100, 2)}%"
    decimals = 0 if name in _COUNTS else 2
    return signed(value, decimals) if gap else plain(value, decimals)


def _figures(first: RunView, second: RunView) -> Component:
    rows: list[list[Any]] = []
    for name in _FIGURES:
        one, other = first.metrics.get(name), second.metrics.get(name)
        gap = None if one is None or other is None else other - one
        rows.append(
            [
                name.replace("_", " ").capitalize(),
                figure_words(name, one),
                figure_words(name, other),
                html.Span(figure_words(name, gap, gap=True), className="muted" if not gap else ""),
            ]
        )
    columns = (
        Column("Figure"),
        Column("A", numeric=True),
        Column("B", numeric=True),
        Column("Difference", numeric=True),
    )
    return html.Section(
        [
            html.Div([icon("list-details"), "Figures"], className="panel-head"),
            table(columns, rows, label="Figures"),
        ],
        className="panel",
    )


def paired(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> tuple[int, list[Pair]]:
    """How many trades are the same, and those that are not, in order of time, with the fields that differ.

    A trade of one run is that of the other where symbol, side and entry time are equal.
    """

    def key(trade: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(trade.get(name) for name in _SAME_TRADE)

    others = {key(trade): trade for trade in second}
    same = 0
    found: list[Pair] = []
    for trade in first:
        other = others.pop(key(trade), None)
        fields = [name for name in _COMPARED if other is not None and trade[name] != other[name]]
        if other is not None and not fields:
            same += 1
        else:
            found.append((trade, other, fields))
    found += [(None, other, []) for other in others.values()]
    return same, sorted(found, key=lambda one: str((one[0] or one[1] or {})["entry_time"]))


def _value(name: str, value: Any) -> str:
    """A field of a trade in words: times in the zone in force, numbers as they are kept."""
    if name.endswith("_time"):
        return sortable_time(time_us(value))
    words = str(value)
    return rewritten(words) if name != "exit_reason" else words.replace("_", " ")


def _trades(first: RunView, second: RunView) -> Component:
    same, differing = paired(first.trades, second.trades)
    rows: list[list[Any]] = []
    for one, other, fields in differing[:_MOST]:
        trade = one or other
        assert trade is not None  # one of the two runs has it
        if one is not None and other is not None:
            words = ", ".join(
                f"{name.replace('_', ' ')} {_value(name, one[name])} / {_value(name, other[name])}"
                for name in fields
            )
        else:
            words = "only in A" if one is not None else "only in B"
        when = sortable_time(time_us(trade["entry_time"]))
        rows.append(
            [html.Span(when, className="num"), str(trade["side"]), html.Span(words, className="wrap num")]
        )
    only_first = sum(other is None for _, other, _ in differing)
    only_second = sum(one is None for one, _, _ in differing)
    counts = (
        f"{whole(same)} the same, {whole(len(differing) - only_first - only_second)} differing, "
        f"{whole(only_first)} only in A, {whole(only_second)} only in B"
    )
    columns = (Column("Entry, UTC"), Column("Side"), Column("Difference"))
    return html.Section(
        [
            html.Div(
                [icon("list"), "Trades", html.Span(counts, className="muted num")], className="panel-head"
            ),
            table(columns, rows, label="Differing trades")
            if rows
            else html.P("Every trade is the same in both.", className="run-words"),
        ],
        className="panel",
    )
