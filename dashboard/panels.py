"""The pieces every page is made of: icons, tags, tables and the four states of a panel."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
import structlog
from dash import dcc, html
from dash.development.base_component import Component

from bots.lifecycle import BotState
from dashboard.number_formats import MISSING, arrow, direction, in_zone, percent, signed
from data.errors import TradingError
from data.models import Side

log = structlog.get_logger(__name__)

STATE_ICONS = {
    BotState.CREATED: "clock",
    BotState.RUNNING: "player-play",
    BotState.PAUSED: "player-pause",
    BotState.STOPPING: "clock",
    BotState.STOPPED: "player-stop",
    BotState.FAILED: "alert-triangle",
}

Content = Component | str | Sequence[Component | str | None] | None


def aria(**attributes: str) -> dict[str, Any]:
    """`aria-...` attributes, whose names are no Python names."""
    return {f"aria-{name}": value for name, value in attributes.items()}


def data(**attributes: str) -> dict[str, Any]:
    """`data-...` attributes."""
    return {f"data-{name}": value for name, value in attributes.items()}


def icon(name: str, class_name: str = "") -> html.Span:
    """An icon in the colour of the text around it, silent to screen readers."""
    return html.Span(className=f"i i-{name} {class_name}".strip(), **aria(hidden="true"))


def tag(text: str, kind: str, icon_name: str | None = None) -> html.Span:
    """A small coloured label; `kind` is up, down, warn, accent or flat."""
    return html.Span([icon(icon_name) if icon_name else None, text], className=f"tag tag-{kind}")


def side_tag(side: Side, text: str | None = None) -> html.Span:
    """▲ Buy or ▼ Sell."""
    way = "up" if side is Side.BUY else "down"
    return tag(f"{arrow(way)} {text or side.value.capitalize()}", way)


def change(rate: float | None, **properties: Any) -> html.Span:
    """A rate with sign, colour and arrow: ▲ +1.84%."""
    way = direction(None if rate is None else rate * 100)
    return html.Span(f"{arrow(way)} {percent(rate)}".strip(), className=f"num {way}", **properties)


def amount(value: Any, decimals: int = 2) -> html.Span:
    """A gain or loss with sign and colour."""
    return html.Span(signed(value, decimals), className=f"num {direction(value, decimals)}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; numbers stand right, words left."""

    title: str
    numeric: bool = False
    narrow: bool = False  # left out on phones


def table(columns: Sequence[Column], rows: Sequence[Sequence[Content]], *, label: str) -> html.Div:
    """A plain table for up to some dozens of rows."""

    def name(column: Column) -> str:
        return ("num " if column.numeric else "") + ("wide-only" if column.narrow else "")

    head = html.Tr(
        [html.Th(in_zone(column.title), className=name(column), scope="col") for column in columns]
    )
    body = [
        html.Tr(
            [
                html.Td(MISSING if cell is None else cell, className=name(column))
                for column, cell in zip(columns, row, strict=True)
            ]
        )
        for row in rows
    ]
    return html.Div(
        html.Table([html.Thead(head), html.Tbody(body)], **aria(label=label)),
        className="table-wrap",
        tabIndex=0,
        role="region",
        **aria(label=label),
    )


def empty_state(icon_name: str, sentence: str, action: Content = None) -> html.Div:
    """Nothing to show: why, and what to do next."""
    return html.Div(
        [icon(icon_name, "big"), html.P(sentence), html.Div(action, className="state-action")],
        className="panel-state",
    )


def error_state(what: str, error: Exception) -> html.Div:
    """What failed, why, a way to try again, and the number under which the log has the details."""
    number = secrets.token_hex(4)
    log.warning("panel_failed", panel=what, why=str(error), number=number)
    return html.Div(
        [
            icon("alert-triangle", "big down"),
            html.P([html.Strong(f"{what} cannot be shown. "), str(error)]),
            html.Div(
                [
                    html.A([icon("refresh"), "Try again"], href="", className="button"),
                    html.Span(f"Log number {number}", className="muted mono"),
                ],
                className="state-action",
            ),
        ],
        className="panel-state error",
        role="alert",
    )


def toast(title: str, message: str, *, good: bool) -> list[dict[str, Any]]:
    """A short note at the edge of the window. What failed stays until it is dismissed."""
    return [
        {
            "action": "show",
            "title": title,
            "message": message,
            "color": "teal" if good else "red",
            "autoClose": 5_000 if good else False,
            "icon": icon("circle-check" if good else "alert-triangle"),
            "closeButtonProps": aria(label="Dismiss"),
        }
    ]


async def read_or_error(what: str, read: Callable[[], Component]) -> Component:
    """What `read` gives, read in a thread, or the panel that says why it could not be read."""
    try:
        return await asyncio.to_thread(read)
    except TradingError as error:
        return error_state(what, error)


def skeleton_rows(rows: int) -> html.Div:
    """Grey lines of the final size while something loads."""
    return html.Div(
        [dmc.Skeleton(height=14, radius=4, mb=14) for _ in range(rows)],
        className="skeleton",
        **aria(hidden="true"),
    )


def chart_skeleton() -> html.Div:
    """The grey shape of a chart while it loads; fills the place the chart will have."""
    return html.Div(html.Div(), className="skeleton chart-skeleton", **aria(hidden="true"))


def link_button(text: str, href: str, icon_name: str | None = None) -> dcc.Link:
    """A link that looks like a button, within the application."""
    return dcc.Link([icon(icon_name) if icon_name else None, text], href=href, className="button")


def state_tag(state: BotState, desired: BotState) -> html.Span:
    """A bot's state; where a person asked for another one, that is said too."""
    return tag(state_text(state, desired), state_kind(state), STATE_ICONS[state])


def state_text(state: BotState, desired: BotState) -> str:
    """`Running`, or `Created, starting` while a wish is on its way."""
    word = state.value.capitalize()
    if desired is state or state in (BotState.STOPPING, BotState.FAILED):
        return word
    wish = {
        BotState.RUNNING: "starting",
        BotState.PAUSED: "pausing",
        BotState.STOPPED: "stopping",
    }.get(desired)
    return f"{word}, {wish}" if wish else word


def state_kind(state: BotState) -> str:
    """The colour of a state: green works, amber waits, red needs a person."""
    return {
        BotState.RUNNING: "up",
        BotState.PAUSED: "warn",
        BotState.STOPPING: "warn",
        BotState.FAILED: "down",
    }.get(state, "flat")
