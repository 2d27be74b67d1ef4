"""All bots: figures over them, the table with what can be done to several at once, and the latest news."""

from __future__ import annotations

import asyncio
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from bots.views import BotView
from dashboard.figures.sparkline import sparkline_image
from dashboard.market_day import SPARK_POINTS
from dashboard.pages.bots_grid import bots_grid, grid_height
from dashboard.pages.bots_panels import (
    bot_cards,
    filter_data,
    grid_row,
    kpi_cards,
    latest_fills,
    matches,
    new_bot_href,
    no_bots,
)
from dashboard.pages.bots_sources import BotSources
from dashboard.pages.market_panels import events_list
from dashboard.panels import aria, error_state, icon, read_or_error, skeleton_rows
from dashboard.theme import Theme, theme_named
from dashboard.timed_cache import TimedCache
from data.errors import TradingError

_SPARK_MAX_AGE_S = 20.0
_NEWS = 30  # of fills and of events


def overview_layout(sources: BotSources) -> list[Component]:
    """The view before it follows the bots: every panel has its final size. Reads the store."""
    try:
        bots = sources.bots.list_bots()
    except TradingError:
        bots = []  # what fills the view says why
    return [
        dcc.Store(id="bots-shown", data=[]),
        html.Div(
            [
                html.H1("Bots"),
                dmc.SegmentedControl(
                    id="bots-filter",
                    data=filter_data(bots),
                    value="all",
                    size="xs",
                    **aria(label="Filter by state"),
                ),
                html.Span(className="spacer"),
                dcc.Link([icon("plus"), "New bot"], href=new_bot_href(), className="button primary"),
            ],
            className="title-row bots-title",
        ),
        html.Section(
            kpi_cards(bots)
            if bots
            else [html.Div(dmc.Skeleton(height=40), className="panel kpi") for _ in range(6)],
            id="kpis",
            className="kpis",
            **aria(label="Key figures"),
        ),
        _bulk_bar(),
        html.Section(
            [bots_grid(len(bots)), html.Div(id="bots-cover")],
            className="panel grid-panel",
            style={"--grid-height": grid_height(len(bots))},
            **aria(label="Bots"),
        ),
        html.Section(id="bot-cards", className="cards", **aria(label="Bots")),
        html.Div(
            [
                _news_panel("Latest fills", "receipt", "bots-fills"),
                _news_panel("What happened", "history", "bots-events"),
            ],
            className="bots-news",
        ),
    ]


def _bulk_bar() -> Component:
    looks = (
        ("start", "Start", "player-play"),
        ("pause", "Pause", "player-pause"),
        ("stop", "Stop", "player-stop"),
    )
    return html.Div(
        [
            html.Span("Several at once", id="bulk-count"),
            *(
                html.Button(
                    [icon(icon_name), word],
                    id={"type": "bots-bulk", "action": action},
                    className="button",
                    type="button",
                    **aria(label=f"{word} the selected bots"),
                )
                for action, word, icon_name in looks
            ),
            html.Button("Clear", id="bulk-clear", className="button plain", type="button"),
        ],
        id="bulk-bar",
        className="bulk-bar",
        role="toolbar",
        style={"display": "none"},
        **aria(label="Selected bots"),
    )


def _news_panel(title: str, icon_name: str, component: str) -> Component:
    return html.Section(
        [
            html.Div([icon(icon_name), title], className="panel-head"),
            html.Div(skeleton_rows(5), id=component, className="tab-body"),
        ],
        className="panel",
        **aria(label=title),
    )


def register_overview(app: Dash, sources: BotSources) -> None:
    """The callbacks of this view."""
    sparks = _sparks(sources)

    @app.callback(
        Output("kpis", "children"),
        Output("bots-filter", "data"),
        Output("bots-grid", "rowData"),
        Output("bots-grid", "rowTransaction"),
        Output("bots-grid", "style"),
        Output("bot-cards", "children"),
        Output("bots-shown", "data"),
        Output("bots-cover", "children"),
        Input("bots-filter", "value"),
        Input("nudge-bots", "data"),
        Input("live-epoch", "data"),
        Input("scheme", "data"),
        State("bots-shown", "data"),
        State({"type": "bot-pick", "bot": ALL}, "id"),
        State({"type": "bot-pick", "bot": ALL}, "checked"),
    )
    async def show_bots(
        wanted: str,
        _nudge: int | None,
        _epoch: int | None,
        scheme: str | None,
        shown: list[str] | None,
        picks: list[dict[str, str]],
        ticked: list[bool | None],
    ) -> tuple[Any, ...]:
        picked = {one["bot"] for one, tick in zip(picks, ticked, strict=True) if tick}

        def read() -> tuple[Any, ...]:
            theme = theme_named(scheme)
            bots = sources.bots.list_bots()
            chosen = [bot for bot in bots if matches(bot, wanted)]
            rows = [grid_row(bot, sparks.get((bot.name, _spark_colour(bot, theme)))) for bot in chosen]
            names = [bot.name for bot in chosen]
            # The same bots again are an update in place: selection, sorting and scrolling stay.
            again = names == shown and bool(names)
            return (
                kpi_cards(bots),
                filter_data(bots),
                no_update if again else rows,
                {"update": rows, "async": False} if again else no_update,
                {"height": grid_height(len(bots)), "width": "100%", "display": "block" if bots else "none"},
                bot_cards(chosen, picked),
                names,
                None if bots else no_bots(),
            )

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return (*[no_update] * 7, error_state("The bots", error))

    @app.callback(
        Output("bots-fills", "children"),
        Output("bots-events", "children"),
        Input("bots-shown", "data"),
        Input("nudge-bots", "data"),
    )
    async def show_news(_shown: list[str] | None, _nudge: int | None) -> tuple[Component, Component]:
        return (
            await read_or_error("The fills", lambda: _latest_fills(sources)),
            await read_or_error(
                "The events", lambda: events_list(sources.bots.audit(limit=_NEWS), with_bot=True)
            ),
        )

    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("bots", "select"),
        Output("bots-selected", "data"),
        Output("bulk-bar", "style"),
        Output("bulk-count", "children"),
        Input("bots-grid", "selectedRows"),
        Input({"type": "bot-pick", "bot": ALL}, "checked"),
        State({"type": "bot-pick", "bot": ALL}, "id"),
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("bots", "clearPicks"),
        Output("bots-grid", "selectedRows"),
        Output({"type": "bot-pick", "bot": ALL}, "checked"),
        Input("bulk-clear", "n_clicks"),
        State({"type": "bot-pick", "bot": ALL}, "id"),
        prevent_initial_call=True,
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("bots", "open"),
        Output("bots-goto", "data", allow_duplicate=True),
        Input("bots-grid", "cellClicked"),
        prevent_initial_call=True,
    )


def _latest_fills(sources: BotSources) -> Component:
    fills = sources.bots.fills(limit=_NEWS)
    return latest_fills(fills, {market: sources.decimals(market) for market in {one.market for one in fills}})


def _sparks(sources: BotSources) -> TimedCache[tuple[str, str], str | None]:
    def draw(key: tuple[str, str]) -> str | None:
        name, colour = key
        curve = sources.bots.equity(name, max_points=SPARK_POINTS)
        return sparkline_image(curve.equity, colour, width=96, height=26)

    return TimedCache(draw, seconds=sources.seconds, max_age_s=_SPARK_MAX_AGE_S)


def _spark_colour(bot: BotView, theme: Theme) -> str:
    return theme.down if (bot.return_rate or 0.0) < 0 else theme.up
