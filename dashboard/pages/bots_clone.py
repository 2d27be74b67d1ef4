"""A copy of a bot, and the end of one: both are asked about in a dialogue."""

from __future__ import annotations

import asyncio
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from bots.lifecycle import BotCommand, allows
from bots.views import BotView
from dashboard.number_formats import money, signed, whole
from dashboard.pages.bots_panels import quote_of
from dashboard.pages.bots_sources import WHO, BotSources
from dashboard.panels import aria, data, toast
from data.errors import TradingError


def clone_and_delete_dialogs() -> list[Component]:
    """Both dialogues, closed."""
    return [dcc.Store(id="pending-clone"), dcc.Store(id="pending-delete"), _clone(), _delete()]


def _clone() -> Component:
    modal: Component = dmc.Modal(
        [
            html.P(
                "The copy has the same settings and a fresh account. Its settings can be changed afterwards.",
                className="confirm muted",
            ),
            dmc.TextInput(id="bot-clone-name", label="Name of the copy", value="", size="xs"),
            dmc.Switch(id="bot-clone-start", label="Start it at once", checked=False, size="xs", mt=12),
            html.Div(
                [
                    html.Button("Not now", id="bot-clone-cancel", className="button", type="button"),
                    html.Button(
                        "Create the copy", id="bot-clone-create", className="button primary", type="button"
                    ),
                ],
                className="confirm-buttons",
            ),
        ],
        id="bot-clone-modal",
        title="",
        opened=False,
        centered=True,
        size=440,
        closeButtonProps=aria(label="Close"),
        transitionProps={"duration": 120},
    )
    return modal


def _delete() -> Component:
    modal: Component = dmc.Modal(
        [
            html.Div(id="bot-delete-words", className="confirm"),
            dmc.TextInput(
                id="bot-delete-name",
                label="To delete it, type the bot's name",
                value="",
                size="xs",
                debounce=False,
            ),
            html.Div(
                [
                    html.Button(
                        "Keep it",
                        id="bot-delete-cancel",
                        className="button",
                        type="button",
                        **data(autofocus="true"),
                    ),
                    html.Button(
                        "Delete the bot",
                        id="bot-delete-do",
                        className="button danger",
                        type="button",
                        disabled=True,
                    ),
                ],
                className="confirm-buttons",
            ),
        ],
        id="bot-delete-modal",
        title="",
        opened=False,
        centered=True,
        size=480,
        closeButtonProps=aria(label="Close"),
        transitionProps={"duration": 120},
    )
    return modal


def can_delete(bot: BotView) -> bool:
    """Whether the bot stands still, as it must to be deleted."""
    return allows(BotCommand.DELETE, bot.state, bot.desired_state)


def delete_words(bot: BotView) -> list[Component]:
    """What goes with a bot, with figures."""
    result = f"{money(bot.equity)} {quote_of(bot)} ({signed(bot.equity - bot.capital)})"
    held = " Its open position is forgotten with it." if bot.holds else ""
    return [
        html.P(
            [
                "Its account of ",
                html.B(result),
                f", {whole(bot.trades)} closed trades, orders, fills, decisions and settings "
                f"are deleted.{held}",
            ]
        ),
        html.P("This cannot be undone. Its audit stays."),
    ]


def register_clone_and_delete(app: Dash, sources: BotSources) -> None:
    """The callbacks of both dialogues."""
    _register_clone(app, sources)
    _register_delete(app, sources)


def _register_clone(app: Dash, sources: BotSources) -> None:
    @app.callback(
        Output("bot-clone-modal", "opened"),
        Output("bot-clone-modal", "title"),
        Output("pending-clone", "data"),
        Output("bot-clone-name", "value"),
        Output("bot-clone-name", "error"),
        Output("bot-clone-start", "checked"),
        Input({"type": "bot-clone", "bot": ALL}, "n_clicks"),
        Input("bot-clone-cancel", "n_clicks"),
        prevent_initial_call=True,
    )
    async def open_clone(_clicks: list[int | None], _cancel: int | None) -> tuple[Any, ...]:
        which = ctx.triggered_id
        if not any(one["value"] for one in ctx.triggered):
            return (no_update,) * 6
        if not isinstance(which, dict):
            return False, *[no_update] * 5
        name = str(which["bot"])
        try:
            taken = {bot.name for bot in await asyncio.to_thread(sources.bots.list_bots)}
        except TradingError as error:
            return True, f"Copy {name}", name, "", str(error), False
        return True, f"Copy {name}", name, free_name(name, taken), None, False

    @app.callback(
        Output("bot-clone-modal", "opened", allow_duplicate=True),
        Output("bot-clone-name", "error", allow_duplicate=True),
        Output("bots-goto", "data", allow_duplicate=True),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input("bot-clone-create", "n_clicks"),
        State("pending-clone", "data"),
        State("bot-clone-name", "value"),
        State("bot-clone-start", "checked"),
        running=[(Output("bot-clone-create", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def clone(
        clicks: int | None, name: str | None, to: str | None, start: bool | None
    ) -> tuple[Any, Any, Any, Any]:
        if not clicks or not name:
            return (no_update,) * 4
        try:
            made = await asyncio.to_thread(
                sources.bots.clone, name, (to or "").strip(), who=WHO, start=bool(start)
            )
        except TradingError as error:
            return no_update, str(error), no_update, no_update
        news = toast("Copy created", f"{made.name} has the settings of {name}", good=True)
        return False, None, {"bot": made.name}, news


def free_name(name: str, taken: set[str]) -> str:
    """A name for a copy that no bot has: `trend_btc-2`."""
    stem, _, number = name.rpartition("-")
    stem, first = (stem, int(number) + 1) if stem and number.isdecimal() else (name, 2)
    return next(
        found for count in range(first, first + len(taken) + 1) if (found := f"{stem}-{count}") not in taken
    )


def _register_delete(app: Dash, sources: BotSources) -> None:
    @app.callback(
        Output("bot-delete-modal", "opened"),
        Output("bot-delete-modal", "title"),
        Output("bot-delete-words", "children"),
        Output("pending-delete", "data"),
        Output("bot-delete-name", "value"),
        Output("bot-delete-name", "error"),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input({"type": "bot-delete", "bot": ALL}, "n_clicks"),
        Input("bot-delete-cancel", "n_clicks"),
        prevent_initial_call=True,
    )
    async def open_delete(_clicks: list[int | None], _cancel: int | None) -> tuple[Any, ...]:
        which = ctx.triggered_id
        if not any(one["value"] for one in ctx.triggered):
            return (no_update,) * 7
        if not isinstance(which, dict):
            return False, *[no_update] * 6
        try:
            bot = await asyncio.to_thread(sources.bots.bot, str(which["bot"]))
        except TradingError as error:
            return *[no_update] * 6, toast("Not done", str(error), good=False)
        if not can_delete(bot):
            words = "Stop the bot first: only one that stands still can be deleted"
            return *[no_update] * 6, toast("Not possible", words, good=False)
        return True, f"Delete {bot.name}?", delete_words(bot), bot.name, "", None, no_update

    @app.callback(
        Output("bot-delete-modal", "opened", allow_duplicate=True),
        Output("bot-delete-name", "error", allow_duplicate=True),
        Output("bots-goto", "data", allow_duplicate=True),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input("bot-delete-do", "n_clicks"),
        State("pending-delete", "data"),
        State("bot-delete-name", "value"),
        running=[(Output("bot-delete-do", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def delete(clicks: int | None, name: str | None, typed: str | None) -> tuple[Any, Any, Any, Any]:
        if not clicks or not name or typed != name:
            return (no_update,) * 4
        try:
            await asyncio.to_thread(sources.bots.delete, name, who=WHO)
        except TradingError as error:
            return no_update, str(error), no_update, no_update
        return False, None, {}, toast("Bot deleted", name, good=True)

    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("candlewick", "confirmName"),
        Output("bot-delete-do", "disabled"),
        Input("bot-delete-name", "value"),
        Input("pending-delete", "data"),
    )
