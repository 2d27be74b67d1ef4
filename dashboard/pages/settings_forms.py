"""Forms of the Settings page: what they show of the files, and the files that they amount to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from alerts.model import AlertKind, ChannelHealth, DeliveryState, StoredAlert
from dashboard.market_request import VENUES
from dashboard.number_formats import MISSING, day_and_time, full_time
from dashboard.pages.data_history import problem_lines
from dashboard.panels import Column, aria, empty_state, icon, table, tag
from data.errors import Problem
from data.exchanges.base import Channel
from data.exchanges.registry import EXCHANGES

BLANK_LINES = 2
_KINDS = [kind.value for kind in AlertKind if kind is not AlertKind.TEST]
_RULE_HEADS = ("When", "To", "Bots, as patterns", "Markets, as patterns", "At most")
_STATES = {
    DeliveryState.SENT: "up",
    DeliveryState.PENDING: "warn",
    DeliveryState.FAILED: "down",
    DeliveryState.DROPPED: "flat",
}
KEPT = {
    "trades": "Trades",
    "second_candles": "Candles of one second",
    "candles": "Candles of a minute and more",
    "venue_candles": "The venue's own candles",
    "quotes": "Best bid and ask",
    "books": "Order books",
    "mark_prices": "Mark prices",
    "collector_figures": "Figures of collectors",
    "feed_changes": "Changes of feeds",
}


def panel(title: str, icon_name: str, note: str, body: Sequence[Any], form: str | None = None) -> Component:
    """A part of the page; with `form` a button that saves it, and where its problems are told."""
    foot = [
        html.Div(id=f"settings-{form}-problems", className="run-problems", role="alert"),
        html.Button(
            [icon("device-floppy"), "Save"],
            id=f"settings-{form}-save",
            className="button primary",
            type="button",
        ),
    ]
    return html.Section(
        [
            html.Div(
                [icon(icon_name), title, html.Span(note, className="muted wide-only")], className="panel-head"
            ),
            html.Div([*body, *(foot if form else [])], className="settings-form"),
        ],
        className="panel",
        **aria(label=title),
    )


def told_problems(problems: Sequence[Problem]) -> list[Component]:
    return problem_lines(problems)


def venue_lines(venue: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Each symbol of a venue in the file with what is heard of it."""
    symbols, channels = venue.get("symbols", {}), venue.get("channels", ["trades"])
    if isinstance(symbols, Mapping):
        return [(symbol, list(names)) for symbol, names in symbols.items()]
    return [(symbol, list(channels)) for symbol in symbols]


def venues_form(body: Mapping[str, Any]) -> Component:
    """A line for each recorded symbol of each venue, and some empty ones."""
    known = [channel.value for channel in Channel]
    parts: list[Component] = []
    for exchange in EXCHANGES:
        lines = [*venue_lines(body.get(exchange, {})), *[("", ["trades"])] * BLANK_LINES]
        names = list(dict.fromkeys([*known, *(name for _, heard in lines for name in heard)]))
        parts.append(html.H3(VENUES.get(exchange, exchange)))
        parts += [_venue_line(exchange, number, line, names) for number, line in enumerate(lines)]
    parts.append(
        html.P("An emptied line is no longer recorded; what was stored of it stays.", className="muted")
    )
    return panel(
        "Venues and symbols", "world", "running collectors follow within seconds", parts, form="collectors"
    )


def _venue_line(exchange: str, number: int, line: tuple[str, list[str]], names: list[str]) -> Component:
    symbol, heard = line
    said = symbol or f"new symbol of {exchange}"
    return html.Div(
        [
            dmc.TextInput(
                id={"type": "settings-symbol", "venue": exchange, "line": number},
                value=symbol,
                placeholder="BASE-QUOTE",
                **aria(label=said),
            ),
            dmc.MultiSelect(
                id={"type": "settings-channels", "venue": exchange, "line": number},
                data=names,
                value=heard,
                **aria(label=f"Channels of {said}"),
            ),
        ],
        className="settings-line",
    )


def collectors_body(
    before: Mapping[str, Any],
    lines: Sequence[tuple[str, str | None, Sequence[str] | None]],
) -> dict[str, Any]:
    """The file that these lines (venue, symbol, channels) amount to; its other keys stay as they were."""
    body: dict[str, Any] = {}
    for exchange in EXCHANGES:
        named = [(symbol, heard) for venue, symbol, heard in lines if venue == exchange]
        symbols = {
            (symbol or "").strip().upper(): list(heard or [])
            for symbol, heard in named
            if (symbol or "").strip()
        }
        if symbols:
            kept = {name: value for name, value in before.get(exchange, {}).items() if name != "channels"}
            body[exchange] = {**kept, "symbols": symbols}
    return body


def retention_form(days: Mapping[str, int | None]) -> Component:
    """Days of each kind of data."""
    return panel(
        "Retention",
        "history",
        "days each kind of data is kept; empty: for good",
        [
            html.Div(
                [
                    dmc.NumberInput(
                        id={"type": "settings-days", "kind": kind},
                        label=words,
                        value="" if days.get(kind) is None else days[kind],
                        placeholder="for good",
                        min=1,
                        allowDecimal=False,
                        allowNegative=False,
                        suffix=" days",
                    )
                    for kind, words in KEPT.items()
                ],
                className="settings-days",
            ),
            html.P(
                "The next daily turn, or the next start, deletes what is older; it cannot be brought back.",
                className="muted",
            ),
        ],
        form="retention",
    )


def retention_days(filled: Mapping[str, Any]) -> dict[str, Any]:
    """The days of a filled form; empty fields keep for good."""
    return {kind: None if value in ("", None) else value for kind, value in filled.items()}


def notifications_form(body: Mapping[str, Any], health: Sequence[tuple[ChannelHealth, str]]) -> Component:
    """A line for each channel and each rule, and empty ones."""
    channels = [(name, one["url_from"]) for name, one in body.get("channels", {}).items()]
    state = {one.channel: (one, problem) for one, problem in health}
    rules: list[Mapping[str, Any]] = [*body.get("rules", []), {}]
    names = [name for name, _ in channels]
    return panel(
        "Notifications",
        "bell",
        "addresses hold secrets, so they stay in the environment",
        [
            html.H3("Channels"),
            *(
                _channel_line(number, one, state.get(one[0]))
                for number, one in enumerate([*channels, ("", "")])
            ),
            html.H3("Rules"),
            html.Div([html.Span(title) for title in _RULE_HEADS], className="settings-line rule heads"),
            *(_rule_line(number, rule, names) for number, rule in enumerate(rules)),
            dmc.TextInput(
                id="settings-summary-at",
                label="Daily summary at, UTC",
                value=body.get("daily_summary_at", "00:05"),
                className="settings-short",
            ),
        ],
        form="notifications",
    )


def _channel_line(number: int, one: tuple[str, str], known: tuple[ChannelHealth, str] | None) -> Component:
    name, variable = one
    said = name or "new channel"
    return html.Div(
        [
            dmc.TextInput(
                id={"type": "settings-channel", "line": number},
                value=name,
                placeholder="phone",
                **aria(label=f"Name of {said}"),
            ),
            dmc.TextInput(
                id={"type": "settings-variable", "line": number},
                value=variable,
                placeholder="TELEGRAM_URL",
                **aria(label=f"Environment variable with the address of {said}"),
            ),
            html.Span(_channel_state(known), className="settings-state"),
            html.Button(
                "Test",
                id={"type": "settings-test", "channel": name},
                className="button",
                type="button",
                **aria(label=f"Test {said}"),
            )
            if name
            else html.Span(),
        ],
        className="settings-line channel",
    )


def _channel_state(known: tuple[ChannelHealth, str] | None) -> list[Any]:
    if known is None:
        return []
    health, problem = known
    if problem:
        return [tag(problem, "warn", "alert-triangle")]
    if health.failed and health.last_error:
        return [html.Span(tag(f"{health.failed} failed", "down", "alert-triangle"), title=health.last_error)]
    return [tag(f"{health.sent} sent in 7 days", "up" if health.sent else "flat")]


def _rule_line(number: int, rule: Mapping[str, Any], channels: list[str]) -> Component:
    said = f"rule {number + 1}"

    def many(field: str, choices: list[str], placeholder: str) -> Any:
        return dmc.MultiSelect(
            id={"type": f"settings-rule-{field}", "line": number},
            data=choices,
            value=list(rule.get(field, [])),
            placeholder=placeholder if not rule.get(field) else "",
            **aria(label=f"{placeholder} of {said}"),
        )

    def text(field: str, placeholder: str) -> Any:
        return dmc.TextInput(
            id={"type": f"settings-rule-{field}", "line": number},
            value=", ".join(rule.get(field, ["*"])),
            **aria(label=f"{placeholder} of {said}"),
        )

    return html.Div(
        [
            many("when", _KINDS, "When"),
            many("to", channels, "To"),
            text("bots", "Bots"),
            text("markets", "Markets"),
            dmc.NumberInput(
                id={"type": "settings-rule-most", "line": number},
                value=rule.get("at_most_per_hour", 60),
                suffix=" an hour",
                min=1,
                **aria(label=f"Most an hour of {said}"),
            ),
        ],
        className="settings-line rule",
    )


def notifications_body(
    channels: Sequence[tuple[str | None, str | None]],
    rules: Sequence[tuple[Sequence[str] | None, Sequence[str] | None, str | None, str | None, Any]],
    summary_at: str | None,
) -> dict[str, Any]:
    """The file that these lines amount to; lines left empty are left out."""
    return {
        "channels": {
            (name or "").strip(): {"url_from": (variable or "").strip()}
            for name, variable in channels
            if (name or "").strip()
        },
        "rules": [
            {
                "when": list(when or []),
                "to": list(to or []),
                "bots": _patterns(bots),
                "markets": _patterns(markets),
                "at_most_per_hour": most,
            }
            for when, to, bots, markets, most in rules
            if when or to
        ],
        "daily_summary_at": (summary_at or "").strip(),
    }


def _patterns(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()] or ["*"]


def delivery_log(told: Sequence[StoredAlert]) -> Component:
    """The newest alerts, and how telling each channel went."""
    columns = (Column("When, UTC"), Column("What"), Column("Title"), Column("Told to"))
    rows: list[list[Any]] = [
        [
            html.Span(day_and_time(one.alert.at_us), className="num", title=full_time(one.alert.at_us)),
            one.alert.kind.value.replace("_", " "),
            html.Span(one.alert.title, title=one.alert.body, className="wrap"),
            html.Span(
                [
                    html.Span(
                        tag(f"{delivery.channel}: {delivery.state}", _STATES[delivery.state]),
                        title=delivery.error,
                    )
                    for delivery in one.deliveries
                ]
                or MISSING,
                className="tags",
            ),
        ]
        for one in told
    ]
    return html.Section(
        [
            html.Div(
                [icon("notification"), "Delivery log", html.Span(f"{len(rows)}", className="count")],
                className="panel-head",
            ),
            table(columns, rows, label="Delivery log")
            if rows
            else empty_state("bell", "Nothing has happened yet that is worth telling."),
        ],
        className="panel",
        **aria(label="Delivery log"),
    )
