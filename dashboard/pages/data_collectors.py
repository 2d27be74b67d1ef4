"""The collectors on the Data page: how each process is, what it takes in, and what it has lost and mended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from dash import html
from dash.development.base_component import Component

from dashboard.figures.sparkline import sparkline_image
from dashboard.number_formats import MISSING, compact, duration, plain, whole
from dashboard.panels import Column, aria, empty_state, icon, table, tag
from dashboard.theme import Theme
from data.messages import CollectorHealth
from data.models import FloatArray
from data.timeframes import SECOND_US

SILENT_US = 15 * SECOND_US  # a collector that says nothing for so long is not well
_LAGS_MS = 2_000.0
_MEBIBYTE = 2**20
_KINDS = {"live": "up", "unreachable": "down", "stopped": "flat"}
_MOST_STALE = 6


def shard_name(health: CollectorHealth) -> str:
    """The process without the word that they all begin with: `okx`, `binance-usdm`."""
    return (health.shard or health.exchange).removeprefix("collector-")


def collectors_panel(
    known: Sequence[CollectorHealth], rates: Mapping[str, FloatArray], theme: Theme, now_us: int
) -> Component:
    """Figures over all collectors, a table of them, and what they complain of.

    `rates` holds each shard's trades a second of the last hour, ascending in time.
    """
    if not known:
        words = "No collector has been heard of. candlewick up starts one for each recorded venue."
        return html.Section(empty_state("plug-connected-x", words), className="panel")
    said = [html.P([html.B(shard_name(one)), " ", one.detail]) for one in known if one.detail]
    stale = [_stale(one) for one in known if one.stale_symbols]
    rows = [_row(one, rates.get(one.shard), theme, now_us) for one in known]
    return html.Div(
        [
            _figures(known, now_us),
            html.Section(
                [
                    html.Div(
                        [
                            icon("plug"),
                            "Collectors",
                            html.Span("one process for each product of a venue", className="muted wide-only"),
                        ],
                        className="panel-head",
                    ),
                    html.Div(table(_COLUMNS, rows, label="Collectors"), className="as-table"),
                    html.Div([_card(one, now_us) for one in known], className="as-cards"),
                    html.Div([*said, *stale], className="panel-notes") if said or stale else None,
                ],
                className="panel",
                **aria(label="Collectors"),
            ),
        ],
        className="stack",
    )


_COLUMNS = (
    Column("Collector"),
    Column("State"),
    Column("Symbols", numeric=True),
    Column("Trades/s", numeric=True),
    Column("Last hour"),
    Column("Messages/s", numeric=True),
    Column("Lag", numeric=True),
    Column("Stored", numeric=True),
    Column("Waiting", numeric=True),
    Column("Gaps", numeric=True),
    Column("Mended", numeric=True),
    Column("Open", numeric=True),
    Column("Malformed", numeric=True),
    Column("Reconnects", numeric=True),
    Column("Restarts", numeric=True),
    Column("Memory", numeric=True),
)


def _row(one: CollectorHealth, rates: FloatArray | None, theme: Theme, now_us: int) -> list[Any]:
    drawn = None if rates is None else sparkline_image(rates, theme.accent, width=110)
    waiting = one.queue_depth + one.journal_depth
    return [
        html.Strong(shard_name(one)),
        _state(one, now_us),
        str(one.symbols),
        plain(one.trades_per_s, 1),
        html.Img(src=drawn, alt="", className="rate-line") if drawn else MISSING,
        plain(one.messages_per_s, 0),
        _lag(one),
        compact(one.trades_stored),
        _noted(waiting, 10_000),
        str(one.gaps_found),
        str(one.gaps_repaired),
        _noted(one.gaps_open, 0),
        _noted(one.malformed, 0),
        str(one.reconnects),
        _noted(one.restarts, 0),
        f"{plain(one.memory_bytes / _MEBIBYTE, 0)} MiB",
    ]


def _card(one: CollectorHealth, now_us: int) -> Component:
    facts = (
        ("Trades/s", plain(one.trades_per_s, 1)),
        ("Lag", _lag(one)),
        ("Symbols", str(one.symbols)),
        ("Open gaps", _noted(one.gaps_open, 0)),
        ("Waiting", plain(one.queue_depth + one.journal_depth, 0)),
        ("Memory", f"{plain(one.memory_bytes / _MEBIBYTE, 0)} MiB"),
    )
    return html.Div(
        [
            html.Div([html.Strong(shard_name(one)), _state(one, now_us)], className="card-head"),
            fact_list(facts),
        ],
        className="data-card",
    )


def fact_list(facts: Sequence[tuple[str, Any]]) -> Component:
    """Names over values, in as many columns as there is room."""
    return html.Div(
        [
            html.Div([html.Span(name), html.Span(value, className="num")], className="fact")
            for name, value in facts
        ],
        className="facts",
    )


def _state(one: CollectorHealth, now_us: int) -> Component:
    silent_us = now_us - one.sent_at_us
    if silent_us >= SILENT_US:
        return tag(f"silent {duration(silent_us)}", "warn", "clock")
    icon_name = {"live": "circle-check", "unreachable": "wifi-off", "stopped": "player-stop"}.get(
        one.state, "refresh"
    )
    return tag(one.state.capitalize(), _KINDS.get(one.state, "warn"), icon_name)


def _lag(one: CollectorHealth) -> Component | str:
    if one.state != "live":
        return MISSING
    late = one.lag_ms >= _LAGS_MS
    return html.Span(f"{plain(one.lag_ms, 0)} ms", className="num warn-text" if late else "num")


def _noted(count: int, well: int) -> Component:
    """A count that turns amber above what is well."""
    return html.Span(whole(count), className="num warn-text" if count > well else "num")


def _stale(one: CollectorHealth) -> Component:
    more = len(one.stale_symbols) - _MOST_STALE
    named = ", ".join(one.stale_symbols[:_MOST_STALE]) + (f" and {more} more" if more > 0 else "")
    return html.P([html.B(shard_name(one)), f" hears less than usual of {named}"])


def _figures(known: Sequence[CollectorHealth], now_us: int) -> Component:
    well = [one for one in known if one.state == "live" and now_us - one.sent_at_us < SILENT_US]
    lags = np.array([one.lag_ms for one in well])
    waiting = sum(one.queue_depth + one.journal_depth for one in known)
    open_gaps = sum(one.gaps_open for one in known)
    cards = (
        ("Collectors live", f"{len(well)}", f"of {len(known)}", len(well) < len(known)),
        ("Trades", plain(sum(one.trades_per_s for one in well), 1), "a second", False),
        (
            "Slowest lag",
            f"{plain(float(lags.max()), 0)} ms" if len(lags) else MISSING,
            "venue's clock to ours",
            bool(len(lags)) and float(lags.max()) >= _LAGS_MS,
        ),
        ("Waiting to be stored", whole(waiting), "in memory and in the journal", waiting > 10_000),
        ("Open gaps", whole(open_gaps), "still to be fetched", open_gaps > 0),
        ("Symbols", whole(sum(one.symbols for one in known)), "recorded", False),
    )
    return html.Div(
        [
            html.Div(
                [
                    html.Span(name),
                    html.Strong(value, className="num warn-text" if alarming else "num"),
                    html.Small(note),
                ],
                className="panel kpi",
            )
            for name, value, note, alarming in cards
        ],
        className="kpis",
    )
