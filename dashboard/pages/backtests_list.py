"""The list of kept backtests, and the choice of a second one to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard.market_request import markets_words
from dashboard.number_formats import day_and_time, full_time, percent, plain, share, whole
from dashboard.panels import Column, aria, change, empty_state, icon, table
from jobs.research import RunSummary


def runs_list(runs: Sequence[RunSummary], words: str) -> Component:
    """Every kept run that the words fit, the newest first."""
    if not runs and not words:
        return html.Section(
            empty_state(
                "history",
                "No backtest was kept yet.",
                dcc.Link(
                    [icon("plus"), "New backtest"], href="/backtests?new=backtest", className="button primary"
                ),
            ),
            className="panel",
        )
    head = html.Div(
        [
            dmc.TextInput(
                id="runs-filter",
                value=words,
                placeholder="Strategy, market, parameter",
                size="xs",
                debounce=400,
                leftSection=icon("search"),
                **aria(label="Search runs"),
            ),
            html.Span(f"{whole(len(runs))} runs", className="muted num"),
            dcc.Link(
                [icon("git-compare"), "Compare two"],
                href="/backtests",
                id="runs-compare",
                className="button disabled",
            ),
        ],
        className="runs-head",
    )
    rows: list[list[Any]] = [
        [
            dmc.Checkbox(
                id={"type": "run-pick", "run": one.id},
                size="xs",
                checked=False,
                persistence=True,
                persistence_type="memory",
                **aria(label=f"Pick run {one.id}"),
            ),
            html.Span(
                [
                    dcc.Link(html.Strong(one.strategy), href=f"/backtests?run={one.id}"),
                    html.Small(", ".join(f"{name} {value:g}" for name, value in one.parameters.items())),
                ],
                className="cell-two",
            ),
            f"{markets_words(one.markets)} · {', '.join(one.timeframes)}",
            html.Span(f"{one.starts_at[:10]} to {one.ends_at[:10]}", className="num"),
            change(one.metrics.get("total_return")),
            plain(one.metrics.get("sharpe"), 2),
            percent(-(one.metrics.get("max_drawdown") or 0.0)),
            plain(one.metrics.get("trades"), 0),
            share(one.metrics.get("win_rate")),
            html.Span(day_and_time(one.saved_at_us), title=full_time(one.saved_at_us), className="num"),
        ]
        for one in runs
    ]
    columns = (
        Column("", narrow=True),
        Column("Strategy"),
        Column("Market", narrow=True),
        Column("Candles (UTC)", narrow=True),
        Column("Return", numeric=True),
        Column("Sharpe", numeric=True, narrow=True),
        Column("Drawdown", numeric=True),
        Column("Trades", numeric=True),
        Column("Won", numeric=True, narrow=True),
        Column("Run at, UTC", narrow=True),
    )
    body = (
        html.Div(table(columns, rows, label="Backtests"), className="runs-table")
        if runs
        else empty_state("search", "No run fits these words.")
    )
    return html.Section([head, body], className="panel list-panel", **aria(label="Backtests"))


def compare_picks(first: RunSummary, runs: Sequence[RunSummary]) -> Component:
    """Which run to compare with: those of the same strategy first."""
    others = sorted(
        (one for one in runs if one.id != first.id), key=lambda one: one.strategy != first.strategy
    )
    rows: list[list[Any]] = [
        [
            dcc.Link(html.Strong(one.strategy), href=f"/backtests?compare={first.id},{one.id}"),
            f"run {one.id}",
            markets_words(one.markets),
            change(one.metrics.get("total_return")),
        ]
        for one in others
    ]
    columns = (Column("Strategy"), Column("Run"), Column("Market"), Column("Return", numeric=True))
    return html.Section(
        [
            html.Div(
                [icon("git-compare"), f"Compare run {first.id} of {first.strategy} with"],
                className="panel-head",
            ),
            table(columns, rows, label="Other runs")
            if rows
            else empty_state("history", "There is no other run yet."),
        ],
        className="panel list-panel",
    )
