"""The panels of a backtest's report."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from dash import dcc, html
from dash.development.base_component import Component

from backtesting.calendar_returns import CalendarReturns
from dashboard.figures.backtest import time_us
from dashboard.market_request import markets_words
from dashboard.number_formats import (
    MISSING,
    day_and_minute,
    direction,
    duration,
    money,
    percent,
    plain,
    share,
    whole,
    zone_name,
)
from dashboard.panels import Column, amount, aria, change, empty_state, icon, table, tag
from data.timeframes import SECOND_US
from jobs.research import RunView

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SAMPLING = {"utc_midnights": "from days", "candles": "from candles"}
_STRONGEST = 0.10  # a month's return that is drawn in full colour


def run_head(run: RunView) -> Component:
    """What was run, and what can be done with it."""
    one = run.summary
    values = ", ".join(f"{name} {value:g}" for name, value in one.parameters.items())
    return html.Div(
        [
            html.Div(
                [
                    html.H2([one.strategy, html.Span(f"Run {one.id}", className="muted num")]),
                    html.P(
                        f"{markets_words(one.markets)} · {', '.join(one.timeframes)} · "
                        f"{_moment(one.starts_at)} to {_moment(one.ends_at)} {zone_name()}"
                        + (f" · {values}" if values else ""),
                        className="muted",
                    ),
                ]
            ),
            html.Div(
                [
                    dcc.Link(
                        [icon("git-compare"), "Compare"],
                        href=f"/backtests?compare={one.id}",
                        className="button",
                    ),
                    dcc.Link(
                        [icon("repeat"), "Run again"],
                        href="/backtests?" + urlencode(again(run)),
                        className="button",
                    ),
                    html.Button(
                        [icon("robot"), "Create a bot"],
                        id={"type": "bot-open", "run": one.id},
                        className="button primary",
                        type="button",
                    ),
                ],
                className="run-actions",
            ),
        ],
        className="run-head",
    )


def again(run: RunView) -> dict[str, str]:
    """The query of the form, filled with all that this run was made of."""
    one, manifest = run.summary, run.manifest
    venue = one.markets[0].partition(":")[0]
    timeframe = {"timeframe": one.timeframes[0]} if len(set(one.timeframes)) == 1 else {}
    costs = manifest.get("costs") or {}
    return {
        "new": "backtest",
        "strategy": one.strategy,
        "venue": venue,
        "symbol": ",".join(market.partition(":")[2] for market in one.markets),
        **timeframe,
        "from": one.starts_at,
        "to": one.ends_at,
        "capital": f"{float(run.metrics['initial_equity']):g}",
        **{name: str(costs[name]) for name in ("fee_bps", "maker_fee_bps", "slippage_bps") if name in costs},
        **({"close": "yes"} if manifest.get("close_at_end") else {}),
        **({"missing": "yes"} if manifest.get("missing") else {}),
        **{f"p.{name}": f"{value:g}" for name, value in one.parameters.items()},
    }


def _moment(text: str) -> str:
    return day_and_minute(time_us(text))


def kpis(metrics: Mapping[str, Any]) -> Component:
    """The figures that are looked at first, buy-and-hold beside the return."""
    held = metrics.get("buy_and_hold_return")

    def card(label: str, value: Any, note: Any) -> Component:
        return html.Div(
            [html.Span(label), html.Strong(value, className="num"), html.Small(note)], className="panel kpi"
        )

    rate = metrics.get("total_return")
    longest = metrics.get("max_drawdown_duration")
    cards = [
        card(
            "Net result",
            html.Span(percent(rate), className=direction((rate or 0) * 100)),
            ["Buy and hold ", change(held)],
        ),
        card(
            "Final equity", money(metrics.get("final_equity")), f"from {money(metrics.get('initial_equity'))}"
        ),
        card(
            "Max drawdown",
            percent(-(metrics.get("max_drawdown") or 0.0)),
            f"longest {duration(round(longest * SECOND_US))}" if longest else "none",
        ),
        card(
            "Sharpe",
            plain(metrics.get("sharpe"), 2),
            f"Sortino {plain(metrics.get('sortino'), 2)} · {_SAMPLING.get(metrics.get('sampling', ''), '')}",
        ),
        card(
            "Trades",
            whole(metrics.get("trades", 0)),
            f"{share(metrics.get('win_rate'))} won · profit factor {plain(metrics.get('profit_factor'), 2)}",
        ),
        card(
            "Costs",
            money((metrics.get("fees_paid") or 0.0) + (metrics.get("slippage_paid") or 0.0)),
            f"fees {plain(metrics.get('fees_paid'), 2)} · slippage {plain(metrics.get('slippage_paid'), 2)}",
        ),
    ]
    return html.Section(cards, className="kpis", **aria(label="Key figures"))


def exits_panel(trades: Sequence[Mapping[str, Any]]) -> Component:
    """What ended the trades, and what each way of ending them brought."""
    groups: dict[str, list[float]] = defaultdict(list)
    for trade in trades:
        groups[str(trade["exit_reason"]).replace("_", " ")].append(float(trade["pnl"]))
    rows: list[list[Any]] = [
        [
            reason.capitalize(),
            whole(len(gains)),
            share(sum(gain > 0 for gain in gains) / len(gains)),
            amount(sum(gains)),
        ]
        for reason, gains in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    columns = (
        Column("Exit by"),
        Column("Trades", numeric=True),
        Column("Won", numeric=True),
        Column("Result", numeric=True),
    )
    return html.Section(
        [
            html.Div([icon("route"), "Exits"], className="panel-head"),
            table(columns, rows, label="Exit reasons")
            if rows
            else empty_state("route", "No trade was closed."),
        ],
        className="panel",
        **aria(label="Exits"),
    )


def ambiguity_panel(ambiguity: Mapping[str, Any], metrics: Mapping[str, Any]) -> Component:
    """How much of the result hangs on candles that held both the stop and the target."""
    exits = int(metrics.get("ambiguous_exits") or 0)
    if not exits:
        words: Any = [
            tag("Clear", "up", "check"),
            " No exit hangs on an order of prices that the candles do not show.",
        ]
    else:
        words = [
            tag(f"{exits} ambiguous", "warn", "alert-triangle"),
            f" The stop was taken to come first, which ends at {_reading(ambiguity, 'worst')}; "
            f"were it the target each time, at {_reading(ambiguity, 'best')}.",
        ]
    return html.Section(
        [
            html.Div([icon("scale"), "Ambiguity"], className="panel-head"),
            html.P(words, className="run-words"),
        ],
        className="panel",
        **aria(label="Ambiguity"),
    )


def _reading(ambiguity: Mapping[str, Any], reading: str) -> str:
    """The final equity under one reading, and the return where the run was stored with it."""
    rate = ambiguity.get(f"{reading}_case_return")
    final = money(ambiguity.get(f"{reading}_case_equity"))
    return final if rate is None else f"{final} ({percent(rate)})"


def months_table(months: CalendarReturns) -> Component:
    """Return by month and year, the stronger the more colour; the sign stands beside the colour."""
    years: dict[int, dict[int, float]] = defaultdict(dict)
    for period, rate in zip(months.periods.tolist(), months.returns.tolist(), strict=True):
        years[1970 + period // 12][period % 12] = rate
    rows = []
    for year, found in sorted(years.items(), reverse=True):
        whole = 1.0
        for rate in found.values():
            whole *= 1 + (rate if rate == rate else 0.0)
        cells = [_month(found.get(month)) for month in range(12)]
        rows.append(html.Tr([html.Th(str(year), scope="row"), *cells, _month(whole - 1)]))
    head = html.Tr(
        [html.Th("Year", scope="col"), *[html.Th(name, scope="col") for name in (*_MONTHS, "Year")]]
    )
    label = "Monthly returns"
    return html.Section(
        [
            html.Div([icon("calendar"), label], className="panel-head"),
            html.Div(
                html.Table([html.Thead(head), html.Tbody(rows)], className="months", **aria(label=label)),
                className="table-wrap",
                tabIndex=0,
                role="region",
                **aria(label=label),
            ),
        ],
        className="panel run-months",
    )


def _month(rate: float | None) -> Component:
    if rate is None or rate != rate:
        return html.Td(MISSING, className="num muted")
    way = direction(rate * 100)
    strength = round(min(1.0, abs(rate) / _STRONGEST) * 55)
    style = (
        {"background": f"color-mix(in srgb,var(--{way}) {strength}%,transparent)"} if way != "flat" else {}
    )
    return html.Td(percent(rate), className="num", style=style)


def legs_panel(legs: Sequence[Mapping[str, Any]]) -> Component:
    """What each symbol of a run over several gave."""
    rows = [
        [
            html.Strong(leg["symbol"]),
            leg["strategy"],
            amount(float(leg["gain"])),
            whole(leg["metrics"].get("trades") or 0),
            share(leg["metrics"].get("win_rate")),
            plain(leg["metrics"].get("profit_factor"), 2),
        ]
        for leg in legs
    ]
    columns = (
        Column("Symbol"),
        Column("Strategy", narrow=True),
        Column("Result", numeric=True),
        Column("Trades", numeric=True),
        Column("Won", numeric=True),
        Column("Profit factor", numeric=True),
    )
    return html.Section(
        [
            html.Div([icon("stack-2"), "Symbols"], className="panel-head"),
            table(columns, rows, label="Symbols"),
        ],
        className="panel",
    )


def manifest_panel(run: RunView) -> Component:
    """What the run was made of: the same manifest gives the same result."""
    hashes = [
        ("Result hash", run.manifest.get("result_hash")),
        ("Strategy hash", run.summary.strategy_hash),
        ("Data hash", run.manifest.get("data_hash")),
        ("Engine", run.manifest.get("engine_version")),
        ("Files", run.folder),
    ]
    text = json.dumps(run.manifest, indent=2, default=str)
    return html.Section(
        [
            html.Div([icon("receipt"), "Manifest"], className="panel-head"),
            html.Div(
                [
                    html.Div(
                        [html.Span(name), html.Code(str(value), className="clip", title=str(value))],
                        className="fact",
                    )
                    for name, value in hashes
                    if value
                ],
                className="facts hashes",
            ),
            html.Details(
                [html.Summary("All of it, as JSON"), html.Pre(text, className="mono")], className="run-json"
            ),
        ],
        className="panel",
        **aria(label="Manifest"),
    )
