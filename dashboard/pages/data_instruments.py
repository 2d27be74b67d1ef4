"""Instruments on the Data page: each market's rules, how they were before, and what happened to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard.number_formats import MISSING, day_and_time, duration, full_time, quantity, whole
from dashboard.pages.data_coverage import data_href, market_cell
from dashboard.panels import Column, aria, empty_state, icon, table, tag
from dashboard.store_readers import FactsReader
from data.errors import InvalidInput, Problem
from data.models import FeedState, InstrumentStatus, InstrumentVersion, Market, MarketEvent, MarketEventKind

_MOST_EVENTS = 200
_MOST_MARKETS = 300
_STATUS = {InstrumentStatus.TRADING: "up", InstrumentStatus.HALTED: "warn", InstrumentStatus.DELISTED: "down"}
_EVENTS = {
    MarketEventKind.LISTED: ("Listed", "accent"),
    MarketEventKind.HALTED: ("Halted", "warn"),
    MarketEventKind.RESUMED: ("Resumed", "up"),
    MarketEventKind.DELISTED: ("Delisted", "down"),
    MarketEventKind.RULES_CHANGED: ("Rules changed", "flat"),
}
_RULES = (
    ("tick_size", "Tick"),
    ("lot_size", "Lot"),
    ("min_quantity", "Least quantity"),
    ("min_notional", "Least notional"),
    ("contract_size", "Contract"),
)


def instruments_view(facts: FactsReader, wanted: Mapping[str, str], now_us: int) -> Component:
    """All instruments with their feeds, or one with its history. Reads the store. Raises InvalidInput."""
    if name := wanted.get("market"):
        venue, _, symbol = name.partition(":")
        market = Market(venue, symbol)
        versions = facts.instrument_versions(market)
        if not versions:
            raise InvalidInput(
                Problem(
                    where="address",
                    field="market",
                    value=name[:60],
                    expected="nothing is stored of this market",
                )
            )
        return html.Div(
            [_history(market, versions), events_panel(facts.events(market, limit=_MOST_EVENTS))],
            className="stack",
        )
    words = wanted.get("q", "").casefold()
    feeds = {one.market: one for one in facts.feeds()}
    markets = [one for one in facts.known_markets() if words in str(one).casefold()]
    rows = [_row(one, facts, feeds.get(one), now_us) for one in markets[:_MOST_MARKETS]]
    count = (
        whole(len(markets))
        if len(markets) <= _MOST_MARKETS
        else f"first {_MOST_MARKETS} of {whole(len(markets))}"
    )
    return html.Div(
        [
            html.Section(
                [
                    html.Div(
                        [
                            icon("list-details"),
                            "Instruments",
                            dmc.TextInput(
                                id="data-filter",
                                value=wanted.get("q", ""),
                                placeholder="Filter",
                                size="xs",
                                debounce=300,
                                leftSection=icon("filter"),
                                **aria(label="Filter instruments"),
                            ),
                            html.Span(count, className="count"),
                        ],
                        className="panel-head",
                    ),
                    table(_COLUMNS, rows, label="Instruments")
                    if rows
                    else empty_state("list-details", "No instrument by that name is stored."),
                ],
                className="panel",
                **aria(label="Instruments"),
            ),
            events_panel(facts.events(limit=_MOST_EVENTS)),
        ],
        className="stack",
    )


_COLUMNS = (
    Column("Symbol"),
    Column("Kind", narrow=True),
    Column("Status"),
    Column("Tick", numeric=True),
    Column("Lot", numeric=True, narrow=True),
    Column("Least notional", numeric=True, narrow=True),
    Column("Contract", numeric=True, narrow=True),
    Column("Feed"),
    Column("So since, UTC", numeric=True, narrow=True),
    Column("Versions", numeric=True, narrow=True),
)


def _row(market: Market, facts: FactsReader, feed: FeedState | None, now_us: int) -> list[Any]:
    versions = facts.instrument_versions(market)
    now = versions[-1].instrument
    return [
        dcc.Link(market_cell(market), href=data_href(view="instruments", market=str(market))),
        now.kind.value,
        tag(now.status.value.capitalize(), _STATUS[now.status]),
        quantity(now.tick_size),
        quantity(now.lot_size),
        quantity(now.min_notional) if now.min_notional else MISSING,
        quantity(now.contract_size),
        _feed(feed, now_us),
        MISSING if feed is None else day_and_time(feed.since_us),
        str(len(versions)),
    ]


def _feed(feed: FeedState | None, now_us: int) -> Component | str:
    if feed is None:
        return MISSING
    if feed.stale:
        return html.Span(tag(f"Stale {duration(now_us - feed.since_us)}", "warn", "clock"), title=feed.detail)
    return html.Span(tag("Fresh", "up", "circle-check"), title=feed.detail)


def _history(market: Market, versions: Sequence[InstrumentVersion]) -> Component:
    now = versions[-1].instrument
    columns = (
        Column("Since, UTC"),
        Column("Status"),
        *(Column(title, numeric=True, narrow=name == "contract_size") for name, title in _RULES),
    )
    rows = []
    for number in range(len(versions) - 1, -1, -1):
        before = versions[number - 1].instrument if number else None
        rows.append(_version_row(versions[number], before))
    return html.Section(
        [
            html.Div(
                [
                    icon("history"),
                    f"{market.symbol} rules",
                    html.Span(f"{now.venue_symbol} at the venue, {now.kind.value}", className="muted"),
                    dcc.Link("All instruments", href=data_href(view="instruments"), className="link end"),
                ],
                className="panel-head",
            ),
            table(columns, rows, label=f"Rules of {market.symbol}"),
        ],
        className="panel",
        **aria(label="Rules"),
    )


def _version_row(version: InstrumentVersion, before: Any) -> list[Any]:
    one = version.instrument
    since = (
        html.Span(
            day_and_time(version.valid_from_us), className="num", title=full_time(version.valid_from_us)
        )
        if version.valid_from_us
        else "first known"
    )
    cells: list[Any] = [since, tag(one.status.value.capitalize(), _STATUS[one.status])]
    for name, _ in _RULES:
        value = getattr(one, name)
        changed = before is not None and getattr(before, name) != value
        cells.append(html.Span(quantity(value), className="num warn-text" if changed else "num"))
    return cells


def events_panel(events: Sequence[MarketEvent]) -> Component:
    """What happened to markets as a whole, the newest first."""
    columns = (Column("When, UTC"), Column("Symbol"), Column("What"), Column("In words"))
    rows: list[list[Any]] = [
        [
            html.Span(day_and_time(one.at_us), className="num", title=full_time(one.at_us)),
            market_cell(one.market),
            tag(*_EVENTS[one.kind]),
            html.Span(one.detail, className="wrap"),
        ]
        for one in events
    ]
    return html.Section(
        [
            html.Div(
                [icon("calendar-event"), "Market events", html.Span(whole(len(rows)), className="count")],
                className="panel-head",
            ),
            table(columns, rows, label="Market events")
            if rows
            else empty_state(
                "calendar-event", "No market was listed, halted or changed since recording began."
            ),
        ],
        className="panel",
        **aria(label="Market events"),
    )
