"""The Settings page: what is recorded and for how long, who is told what, and how the pages look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from alerts.model import DeliveryState
from dashboard.page import Page
from dashboard.pages.settings_display import display_form
from dashboard.pages.settings_forms import (
    collectors_body,
    delivery_log,
    notifications_body,
    notifications_form,
    retention_days,
    retention_form,
    told_problems,
    venues_form,
)
from dashboard.pages.strategies import asked
from dashboard.panels import aria, error_state, icon, skeleton_rows, toast
from dashboard.settings_readers import SettingsDesk
from data.errors import InvalidInput, TradingError

PATH = "/settings"
WHO = "web page"
_MOST_TOLD = 100
_VIEWS = {
    "": ("Venues and symbols", "world"),
    "retention": ("Retention", "history"),
    "notifications": ("Notifications", "bell"),
    "display": ("Display", "sun"),
}
_RULE_FIELDS = ("when", "to", "bots", "markets", "most")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsSources:
    """What the page reads and changes."""

    desk: SettingsDesk


def settings_page(sources: SettingsSources) -> Page:
    return Page(
        path=PATH,
        title="Settings",
        icon="settings",
        layout=settings_layout,
        register=lambda app: register_settings(app, sources),
        key=",",
    )


def settings_layout() -> Component:
    """The page before anything was read."""
    return html.Div(
        [
            dcc.Store(id="settings-changed", data=0),
            dcc.Store(id="settings-shown"),
            html.Div(
                [
                    html.H1("Settings"),
                    html.Nav(
                        [
                            dcc.Link(
                                [icon(icon_name), title],
                                href=f"{PATH}?view={view}" if view else PATH,
                                className="view-link",
                                id=f"settings-view-{view or 'venues'}",
                            )
                            for view, (title, icon_name) in _VIEWS.items()
                        ],
                        className="view-links",
                        **aria(label="Parts of the page"),
                    ),
                ],
                className="title-row",
            ),
            html.Div(
                html.Section(skeleton_rows(10), className="panel"), id="settings-body", className="stack"
            ),
        ],
        className="page data settings-page",
    )


def body_of(desk: SettingsDesk, wanted: Mapping[str, str]) -> Component:
    """What an address shows. Reads files and the store. Raises InvalidInput for a file that is broken."""
    view = wanted.get("view", "")
    if view == "retention":
        return retention_form(desk.retention())
    if view == "display":
        return display_form(desk.display())
    if view == "notifications":
        return html.Div(
            [notifications_form(desk.notifications(), desk.channels()), delivery_log(desk.told(_MOST_TOLD))],
            className="stack",
        )
    return venues_form(desk.collectors())


def register_settings(app: Dash, sources: SettingsSources) -> None:
    """The page's callbacks."""
    desk = sources.desk
    names = [view or "venues" for view in _VIEWS]

    @app.callback(
        output=(
            Output("settings-body", "children"),
            [Output(f"settings-view-{name}", "className") for name in names],
        ),
        inputs={"search": Input("url", "search"), "_changed": Input("settings-changed", "data")},
        state={"pathname": State("url", "pathname")},
    )
    async def show_view(*, search: str | None, _changed: int | None, pathname: str | None) -> tuple[Any, Any]:
        if pathname != PATH:
            return no_update, [no_update] * len(names)
        wanted = asked(search)
        view = wanted.get("view", "") or "venues"
        marks = ["view-link current" if name == view else "view-link" for name in names]
        try:
            body = await asyncio.to_thread(body_of, desk, wanted)
        except TradingError as error:
            body = html.Section(error_state("This part", error), className="panel")
        return body, marks

    _register_venues(app, desk)
    _register_notifications(app, desk)
    _register_rest(app, desk)
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("settings", "apply"),
        Input("settings-shown", "data"),
        prevent_initial_call=True,
    )


def _outputs(form: str) -> tuple[Output, ...]:
    return (
        Output("settings-changed", "data", allow_duplicate=True),
        Output(f"settings-{form}-problems", "children"),
        Output("notifications", "sendNotifications", allow_duplicate=True),
    )


async def _saved(save: Callable[[], None], count: int | None, words: str) -> tuple[Any, Any, Any]:
    """Save in a thread; what is wrong is told at the form."""
    try:
        await asyncio.to_thread(save)
    except InvalidInput as invalid:
        return no_update, told_problems(invalid.problems), no_update
    except TradingError as error:
        return no_update, error_state("This", error), no_update
    return (count or 0) + 1, None, toast("Saved", words, good=True)


def _register_venues(app: Dash, desk: SettingsDesk) -> None:
    @app.callback(
        output=_outputs("collectors"),
        inputs={"clicks": Input("settings-collectors-save", "n_clicks")},
        state={
            "ids": State({"type": "settings-symbol", "venue": ALL, "line": ALL}, "id"),
            "symbols": State({"type": "settings-symbol", "venue": ALL, "line": ALL}, "value"),
            "channels": State({"type": "settings-channels", "venue": ALL, "line": ALL}, "value"),
            "count": State("settings-changed", "data"),
        },
        prevent_initial_call=True,
    )
    async def save_venues(
        *,
        clicks: int | None,
        ids: list[dict[str, Any]],
        symbols: list[Any],
        channels: list[Any],
        count: int | None,
    ) -> tuple[Any, Any, Any]:
        if not clicks:
            return (no_update,) * 3
        lines = [(one["venue"], *rest) for one, *rest in zip(ids, symbols, channels, strict=True)]

        def save() -> None:
            desk.save_collectors(collectors_body(desk.collectors(), lines))

        return await _saved(save, count, "The collectors follow within seconds.")


def _register_notifications(app: Dash, desk: SettingsDesk) -> None:
    @app.callback(
        output=_outputs("notifications"),
        inputs={"clicks": Input("settings-notifications-save", "n_clicks")},
        state={
            "names": State({"type": "settings-channel", "line": ALL}, "value"),
            "variables": State({"type": "settings-variable", "line": ALL}, "value"),
            "rules": [
                State({"type": f"settings-rule-{field}", "line": ALL}, "value") for field in _RULE_FIELDS
            ],
            "summary_at": State("settings-summary-at", "value"),
            "count": State("settings-changed", "data"),
        },
        prevent_initial_call=True,
    )
    async def save_notifications(
        *,
        clicks: int | None,
        names: list[Any],
        variables: list[Any],
        rules: list[list[Any]],
        summary_at: str | None,
        count: int | None,
    ) -> tuple[Any, Any, Any]:
        if not clicks:
            return (no_update,) * 3
        channels = list(zip(names, variables, strict=True))
        body = notifications_body(channels, list(zip(*rules, strict=True)), summary_at)
        return await _saved(lambda: desk.save_notifications(body), count, "It counts from now on.")

    @app.callback(
        Output("settings-changed", "data", allow_duplicate=True),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input({"type": "settings-test", "channel": ALL}, "n_clicks"),
        State("settings-changed", "data"),
        prevent_initial_call=True,
    )
    async def try_channel(_clicks: list[int | None], count: int | None) -> tuple[Any, Any]:
        which = ctx.triggered_id
        if not isinstance(which, dict) or not ctx.triggered[0]["value"]:
            return no_update, no_update
        name = str(which["channel"])
        try:
            told = await asyncio.to_thread(desk.test_channel, name, WHO)
        except TradingError as error:
            return no_update, toast("Not sent", str(error), good=False)
        (delivery,) = told.deliveries
        if delivery.state is DeliveryState.SENT:
            return (count or 0) + 1, toast("Sent", f"{name} took the message.", good=True)
        return (count or 0) + 1, toast("Not sent", f"{name}: {delivery.error}", good=False)


def _register_rest(app: Dash, desk: SettingsDesk) -> None:
    @app.callback(
        output=_outputs("retention"),
        inputs={"clicks": Input("settings-retention-save", "n_clicks")},
        state={
            "ids": State({"type": "settings-days", "kind": ALL}, "id"),
            "days": State({"type": "settings-days", "kind": ALL}, "value"),
            "count": State("settings-changed", "data"),
        },
        prevent_initial_call=True,
    )
    async def save_retention(
        *, clicks: int | None, ids: list[dict[str, str]], days: list[Any], count: int | None
    ) -> tuple[Any, Any, Any]:
        if not clicks:
            return (no_update,) * 3
        filled = {one["kind"]: value for one, value in zip(ids, days, strict=True)}
        return await _saved(
            lambda: desk.save_retention(retention_days(filled), WHO),
            count,
            "Older data goes at the next daily turn, or the next start.",
        )

    @app.callback(
        output=(*_outputs("display"), Output("settings-shown", "data")),
        inputs={"clicks": Input("settings-display-save", "n_clicks")},
        state={
            "theme": State("settings-theme", "value"),
            "palette": State("settings-palette", "value"),
            "zone": State("settings-zone", "value"),
            "numbers": State("settings-numbers", "value"),
            "chart": State("settings-chart", "value"),
            "count": State("settings-changed", "data"),
        },
        prevent_initial_call=True,
    )
    async def save_display(
        *,
        clicks: int | None,
        theme: str | None,
        palette: str | None,
        zone: str | None,
        numbers: str | None,
        chart: str | None,
        count: int | None,
    ) -> tuple[Any, Any, Any, Any]:
        if not clicks:
            return (no_update,) * 4
        display = {"theme": theme, "palette": palette, "zone": zone, "numbers": numbers, "chart": chart}
        done = await _saved(
            lambda: desk.save_display(display, WHO), count, "Every browser follows when it loads."
        )
        return *done, no_update if done[0] is no_update else display
