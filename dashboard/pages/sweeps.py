"""One kept search: its verdict in plain words, its map, its trials, and the candles it had not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
import numpy as np
from dash import dcc, html
from dash.development.base_component import Component

from backtesting.search.result import OutOfSample, SearchResult, Segment
from dashboard.figures.backtest import backtest_figure, time_us
from dashboard.figures.sweep import heat_map_figure, parallel_figure, picked_cell
from dashboard.market_request import markets_words
from dashboard.number_formats import MISSING, day_and_minute, day_and_time, percent, plain, share, whole
from dashboard.pages.runs import graph
from dashboard.panels import Column, aria, change, empty_state, icon, table, tag
from dashboard.theme import Theme
from jobs.research import SearchSummary, SearchView

_TOP = 20


def search_href(id: str) -> str:
    """The address of a search."""
    return "/backtests?" + urlencode({"search": id})


def searches_table(searches: Sequence[SearchSummary]) -> Component:
    """Every kept search, the newest first."""
    if not searches:
        return empty_state(
            "grid-dots",
            "No search was made yet.",
            dcc.Link([icon("plus"), "New sweep"], href="/backtests?new=sweep", className="button primary"),
        )
    rows: list[list[Any]] = [
        [
            dcc.Link(html.Strong(one.strategy), href=search_href(one.id)),
            markets_words([one.market]),
            one.method,
            one.scheme,
            one.metric.replace("_", " "),
            whole(one.trials),
            day_and_time(one.begun_at_us),
            html.Span(
                one.verdict or ("Finished" if one.finished_at_us else "Not finished"), className="wrap"
            ),
        ]
        for one in searches
    ]
    columns = (
        Column("Strategy"),
        Column("Market"),
        Column("Method", narrow=True),
        Column("Candles", narrow=True),
        Column("Ranked by", narrow=True),
        Column("Trials", numeric=True),
        Column("Begun, UTC", narrow=True),
        Column("Verdict", narrow=True),
    )
    return table(columns, rows, label="Searches")


def search_report(view: SearchView, theme: Theme, *, median: bool = False) -> Component:
    """Everything that a search found."""
    one, result = view.summary, view.result
    head = html.Div(
        [
            html.Div(
                [
                    html.H2([one.strategy, html.Span(f"Search {one.id}", className="muted num")]),
                    html.P(
                        f"{markets_words([one.market])} · {one.method} · {whole(one.trials)} trials · "
                        f"ranked by {one.metric.replace('_', ' ')}"
                        + (f" · {whole(result.candles)} candles of {result.timeframe}" if result else ""),
                        className="muted",
                    ),
                ]
            )
        ],
        className="run-head",
    )
    if result is None:
        words = "The search is not finished. Asked again, it goes on from the trials it has."
        return html.Div([head, html.Section(empty_state("hourglass", words), className="panel")])
    return html.Div(
        [
            head,
            _verdict(result),
            html.Div(
                [_map(result, theme, median=median), _parallel(result, theme)], className="sweep-pictures"
            ),
            _walk(result.out_of_sample, view, theme) if result.out_of_sample else None,
            _top(result, view),
            html.Div([_checks(result), _statistics(result)], className="sweep-pictures"),
        ],
        className="run-report",
    )


def _verdict(result: SearchResult) -> Component:
    good = result.verdict.passes
    counts = [
        f"{whole(result.trials)} trials",
        f"{whole(result.refused)} refused" if result.refused else "",
        f"{whole(result.undefined)} without a {_spoken(result.metric)}, mostly for want of a trade"
        if result.undefined
        else "",
    ]
    return html.Div(
        [
            icon("circle-check" if good else "alert-triangle"),
            html.Div(
                [
                    html.Strong(result.verdict.sentence),
                    html.P(" · ".join(one for one in counts if one), className="muted"),
                ]
            ),
        ],
        className="verdict-banner good" if good else "verdict-banner",
        role="status",
    )


def _spoken(metric: str) -> str:
    return metric.replace("_", " ").capitalize()


def _map(result: SearchResult, theme: Theme, *, median: bool) -> Component:
    heat = result.heat_map
    if heat is None:
        body: Component = empty_state(
            "grid-dots", "A map needs two parameters that vary, in at most 500 by 500 cells."
        )
    else:
        best = picked_cell(heat, result.top[0].parameters) if result.top else None
        figure = heat_map_figure(
            heat,
            metric=result.metric,
            median=median,
            best=best,
            identity=f"map {result.search} {median}",
            theme=theme,
        )
        body = graph(
            figure, "sweep-map", f"{result.metric} over {heat.x} and {heat.y}; the figures stand in the table"
        )
    pick = dmc.SegmentedControl(
        id="sweep-cells",
        data=[{"value": "best", "label": "Best"}, {"value": "median", "label": "Median"}],
        value="median" if median else "best",
        size="xs",
        **aria(label="What a cell shows where further parameters vary"),
    )
    return html.Section(
        [
            html.Div(
                [
                    icon("grid-dots"),
                    _spoken(result.metric),
                    html.Span(pick, className="end"),
                ],
                className="panel-head",
            ),
            body,
        ],
        className="panel sweep-picture",
        **aria(label="Heat map"),
    )


def _parallel(result: SearchResult, theme: Theme) -> Component:
    figure = parallel_figure(
        result.parallel, metric=result.metric, identity=f"lines {result.search}", theme=theme
    )
    return html.Section(
        [
            html.Div(
                [
                    icon("chart-dots"),
                    "Trials",
                    html.Span("blue: the best sixth of those drawn", className="muted"),
                ],
                className="panel-head",
            ),
            graph(figure, "sweep-lines", "Each trial as a line over its parameters and figures")
            if result.parallel.rows
            else empty_state("chart-dots", "No trial could be judged."),
        ],
        className="panel sweep-picture",
        **aria(label="Parallel coordinates"),
    )


def _values(parameters: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in parameters.items())


def _top(result: SearchResult, view: SearchView) -> Component:
    venue, _, symbol = view.summary.market.partition(":")
    costs = view.spec.costs

    def again(parameters: Mapping[str, float]) -> str:
        query = {
            "new": "backtest",
            "strategy": view.source.get("strategy") or view.summary.strategy,
            "venue": venue,
            "symbol": symbol,
            "timeframe": result.timeframe,
            "from": result.starts_at,
            "to": result.ends_at,
            "capital": str(view.spec.capital),
            "fee_bps": str(costs.fee_bps),
            "maker_fee_bps": str(costs.maker_fee_bps),
            "slippage_bps": str(costs.slippage_bps),
        }
        query |= {f"p.{name}": f"{value:g}" for name, value in parameters.items()}
        return "/backtests?" + urlencode(query)

    rows: list[list[Any]] = [
        [
            f"{one.rank}",
            html.Span(_values(one.parameters), className="num"),
            change(one.figures.get("total_return")),
            plain(one.figures.get("sharpe"), 2),
            percent(-(one.figures.get("max_drawdown") or 0.0)),
            plain(one.figures.get("trades"), 0),
            share(one.figures.get("win_rate")),
            dcc.Link("Backtest", href=again(one.parameters), className="link"),
        ]
        for one in result.top[:_TOP]
    ]
    columns = (
        Column("#", numeric=True),
        Column("Parameters"),
        Column("Return", numeric=True),
        Column("Sharpe", numeric=True),
        Column("Drawdown", numeric=True, narrow=True),
        Column("Trades", numeric=True, narrow=True),
        Column("Won", numeric=True, narrow=True),
        Column("", narrow=True),
    )
    return html.Section(
        [
            html.Div(
                [icon("list"), "Best trials", html.Span("run again by the engine itself", className="muted")],
                className="panel-head",
            ),
            table(columns, rows, label="Best trials")
            if rows
            else empty_state("list", "No trial could be judged."),
        ],
        className="panel",
        **aria(label="Best trials"),
    )


def _walk(seen: OutOfSample, view: SearchView, theme: Theme) -> Component:
    at_us = np.array([time_us(point.time) for point in seen.equity], dtype=np.int64)
    equity = np.array([point.equity for point in seen.equity], dtype=np.float64)
    figure = backtest_figure(
        at_us,
        equity,
        None,
        capital=float(view.spec.capital),
        identity=f"walk {view.summary.id}",
        theme=theme,
        tests=[(one.test_from, one.test_to) for one in seen.segments],
    )
    facts = (
        ("Return", percent(seen.total_return)),
        ("Sharpe", plain(seen.sharpe, 2)),
        ("Max drawdown", percent(-seen.max_drawdown)),
        ("Trades", whole(seen.trades)),
        ("Efficiency", plain(seen.efficiency, 2)),
        ("Untested folds", f"{seen.untested}"),
    )
    columns = (
        Column("Learned on, UTC", narrow=True),
        Column("Tested on, UTC"),
        Column("Picked"),
        Column("There", numeric=True, narrow=True),
        Column("Here", numeric=True),
        Column("Return", numeric=True),
    )
    return html.Section(
        [
            html.Div(
                [
                    icon("timeline"),
                    "Out of sample",
                    html.Span(
                        "candles that nothing was picked on, one account through all of them",
                        className="muted",
                    ),
                ],
                className="panel-head",
            ),
            html.Div(
                [
                    html.Div([html.Span(name), html.Span(value, className="num")], className="fact")
                    for name, value in facts
                ],
                className="facts",
            ),
            html.Div(graph(figure, "sweep-walk", "Equity over the tests"), className="walk-curves"),
            table(columns, [_segment(one) for one in seen.segments], label="Folds"),
        ],
        className="panel",
        **aria(label="Walk forward"),
    )


def _span(first: str, last: str) -> str:
    return f"{day_and_minute(time_us(first))} to {day_and_minute(time_us(last))}"


def _segment(one: Segment) -> list[Any]:
    return [
        _span(one.train_from, one.train_to),
        _span(one.test_from, one.test_to),
        html.Span(_values(one.parameters), className="num"),
        plain(one.train_metric, 2),
        plain(one.test_metric, 2),
        change(one.test_figures.get("total_return")),
    ]


def _checks(result: SearchResult) -> Component:
    looks = {
        True: ("Passed", "up", "check"),
        False: ("Failed", "down", "x"),
        None: ("Not checked", "flat", "info-circle"),
    }
    rows: list[list[Any]] = [
        [
            tag(*looks[check.passed]),
            html.Strong(check.name.capitalize()),
            html.Span(check.demand, className="wrap"),
            plain(check.found, 3),
        ]
        for check in result.verdict.checks
    ]
    columns = (Column(""), Column("Check"), Column("Demand", narrow=True), Column("Found", numeric=True))
    return html.Section(
        [
            html.Div([icon("clipboard-check"), "Checks"], className="panel-head"),
            table(columns, rows, label="Checks"),
        ],
        className="panel",
        **aria(label="Checks"),
    )


def _statistics(result: SearchResult) -> Component:
    evidence = result.evidence
    facts: list[tuple[str, str]] = []
    if evidence is not None:
        deflated, boot = evidence.deflated_sharpe, evidence.bootstrap
        facts += [
            ("Sharpe above 0, sure to", share(deflated.probability)),
            ("Luck alone would show, a period", plain(deflated.expected_maximum, 4)),
            ("The best shows, a period", plain(deflated.sharpe, 4)),
        ]
        if evidence.overfitting is not None:
            facts.append(("Probability of overfitting", share(evidence.overfitting.probability)))
        if boot is not None:
            facts += [
                ("Sharpe, 95 % of resamples", f"{plain(boot.sharpe.low, 2)} to {plain(boot.sharpe.high, 2)}"),
                (
                    "Return, 95 % of resamples",
                    f"{percent(boot.total_return.low)} to {percent(boot.total_return.high)}",
                ),
                ("Probability of a loss", share(boot.probability_of_loss)),
            ]
        if evidence.trade_order is not None:
            facts.append(("Drawdown in one order of 20", percent(-evidence.trade_order.drawdown_95)))
        if evidence.stability is not None:
            facts.append(("Stability of neighbours", share(evidence.stability.score)))
    body = (
        html.Div(
            [
                html.Div([html.Span(name), html.Span(value or MISSING, className="num")], className="fact")
                for name, value in facts
            ],
            className="facts wide-facts",
        )
        if facts
        else empty_state("math-function", "No trial could be judged, so there is nothing to test.")
    )
    return html.Section(
        [html.Div([icon("math-function"), "Statistics"], className="panel-head"), body],
        className="panel",
        **aria(label="Statistics"),
    )
