"""The Bots page: all bots, one bot, or the form for a new one, as the address says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from dashboard.live_views import BOTS, SIGNALS
from dashboard.page import Page
from dashboard.pages.bot_page import TABS, bot_layout, register_bot_page
from dashboard.pages.bot_settings import register_settings
from dashboard.pages.bots_actions import action_dialogs, register_actions
from dashboard.pages.bots_clone import clone_and_delete_dialogs, register_clone_and_delete
from dashboard.pages.bots_overview import overview_layout, register_overview
from dashboard.pages.bots_sources import PATH, BotSources
from dashboard.pages.strategies import asked
from dashboard.pages.wizard import register_wizard, wizard_layout


def bots_page(sources: BotSources) -> Page:
    return Page(
        path=PATH,
        title="Bots",
        icon="robot",
        layout=bots_layout,
        register=lambda app: register_bots(app, sources),
        topics=(BOTS, SIGNALS),
        key="b",
        on_phone=True,
    )


def bots_layout() -> Component:
    """What all views share; the view itself follows the address."""
    return html.Div(
        [
            dcc.Store(id="bots-view-key"),
            dcc.Store(id="bots-goto"),
            dcc.Store(id="bots-ask"),
            dcc.Store(id="bots-selected", data=[]),
            html.Div(id="bots-view", className="bots-view"),
            *action_dialogs(),
            *clone_and_delete_dialogs(),
        ],
        className="page bots",
    )


def view_key(wanted: Mapping[str, str]) -> str:
    """Which view an address shows; another tab of the same bot is the same view."""
    if "new" in wanted:
        return f"new:{wanted['new']}"
    return f"bot:{wanted['bot']}" if wanted.get("bot") else "all"


def view_of(wanted: Mapping[str, str], sources: BotSources) -> list[Component]:
    """The view of an address before it has followed anything. Reads the store."""
    if "new" in wanted:
        return wizard_layout(wanted["new"], sources)
    if name := wanted.get("bot"):
        tab = wanted.get("tab", TABS[0])
        return bot_layout(name, tab if tab in TABS else TABS[0])
    return overview_layout(sources)


def register_bots(app: Dash, sources: BotSources) -> None:
    """The page's callbacks."""

    @app.callback(
        Output("bots-view", "children"),
        Output("bots-view-key", "data"),
        Input("url", "search"),
        State("url", "pathname"),
        State("bots-view-key", "data"),
    )
    async def show_view(search: str | None, pathname: str | None, before: str | None) -> tuple[Any, Any]:
        wanted = asked(search)
        key = view_key(wanted)
        if pathname != PATH or key == before:
            return no_update, no_update
        return await asyncio.to_thread(view_of, wanted, sources), key

    # The address is always there: only what is on this page may lead away from it.
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("bots", "goto"),
        Output("url", "search", allow_duplicate=True),
        Input("bots-goto", "data"),
        prevent_initial_call=True,
    )
    register_overview(app, sources)
    register_bot_page(app, sources)
    register_settings(app, sources)
    register_wizard(app, sources)
    register_actions(app, sources)
    register_clone_and_delete(app, sources)
