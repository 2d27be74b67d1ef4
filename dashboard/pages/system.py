"""The System page: what runs, how its services are, what went wrong, and what is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from dashboard.page import Page
from dashboard.pages.settings_forms import delivery_log
from dashboard.pages.strategies import asked
from dashboard.pages.system_panels import (
    bus_panel,
    database_panels,
    figures,
    jobs_panel,
    log_panel,
    pairs_panel,
    processes_panel,
)
from dashboard.panels import aria, error_state, icon, skeleton_rows
from dashboard.readers import HealthReader, JobDesk
from dashboard.settings_readers import SettingsDesk
from dashboard.system_readers import SystemDesk
from data.errors import TradingError

PATH = "/system"
_LIVE_MS = 5_000
_MOST_EVENTS = 200
_MOST_JOBS = 200
_MOST_ALERTS = 50
_VIEWS = {
    "": ("Running", "cpu"),
    "database": ("Database and Redis", "database"),
    "logs": ("Logs and alerts", "logs"),
    "configuration": ("Configuration", "adjustments"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSources:
    """What the page reads."""

    system: SystemDesk
    settings: SettingsDesk
    jobs: JobDesk
    health: HealthReader
    now_us: Callable[[], int]


def system_page(sources: SystemSources) -> Page:
    return Page(
        path=PATH,
        title="System",
        icon="server",
        layout=system_layout,
        register=lambda app: register_system(app, sources),
        key="y",
    )


def system_layout() -> Component:
    """The page before anything was read."""
    return html.Div(
        [
            dcc.Interval(id="system-live", interval=_LIVE_MS),
            html.Div(
                [
                    html.H1("System"),
                    html.Nav(
                        [
                            dcc.Link(
                                [icon(icon_name), title],
                                href=f"{PATH}?view={view}" if view else PATH,
                                className="view-link",
                                id=f"system-view-{view or 'running'}",
                            )
                            for view, (title, icon_name) in _VIEWS.items()
                        ],
                        className="view-links",
                        **aria(label="Parts of the page"),
                    ),
                ],
                className="title-row",
            ),
            html.Div(html.Section(skeleton_rows(10), className="panel"), id="system-body", className="stack"),
        ],
        className="page data system",
    )


def body_of(sources: SystemSources, wanted: Mapping[str, str], waiting: int) -> list[Component]:
    """What an address shows; a part that cannot be read says why. `waiting`: trades not stored yet."""
    view, system = wanted.get("view", ""), sources.system

    def part(what: str, read: Callable[[], Component | list[Component]]) -> list[Component]:
        try:
            found = read()
        except TradingError as error:
            return [html.Section(error_state(what, error), className="panel")]
        return found if isinstance(found, list) else [found]

    if view == "database":
        return [
            *part("Redis", lambda: bus_panel(system.bus())),
            *part("The database", lambda: database_panels(system.database())),
        ]
    if view == "logs":
        words = wanted.get("q", "")
        return [
            *part("The logs", lambda: log_panel(system.log_events(words, _MOST_EVENTS), words)),
            *part("The alerts", lambda: delivery_log(sources.settings.told(_MOST_ALERTS))),
        ]
    if view == "configuration":
        hidden = "of addresses that hold secrets only the place is shown"
        return [
            pairs_panel("Configuration in force", "adjustments", system.configuration(), hidden),
            pairs_panel("Versions", "versions", system.versions(), "of what this page runs on"),
        ]

    def running() -> list[Component]:
        processes = system.processes()
        jobs = sources.jobs.jobs(_MOST_JOBS)
        now_us = sources.now_us()
        return [figures(processes, jobs, waiting), processes_panel(processes, now_us), jobs_panel(jobs)]

    return part("What runs", running)


def register_system(app: Dash, sources: SystemSources) -> None:
    """The page's callbacks."""
    names = [view or "running" for view in _VIEWS]

    @app.callback(
        output=(
            Output("system-body", "children"),
            [Output(f"system-view-{name}", "className") for name in names],
        ),
        inputs={"search": Input("url", "search"), "_ticks": Input("system-live", "n_intervals")},
        state={"pathname": State("url", "pathname")},
    )
    async def show_view(*, search: str | None, _ticks: int | None, pathname: str | None) -> tuple[Any, Any]:
        wanted = asked(search)
        view = wanted.get("view", "") or "running"
        # What is searched, opened or read at leisure is not taken away every five seconds.
        if pathname != PATH or (ctx.triggered_id == "system-live" and view in ("logs", "configuration")):
            return no_update, [no_update] * len(names)
        marks = ["view-link current" if name == view else "view-link" for name in names]
        try:
            known = await sources.health.last_health()
        except TradingError:
            known = ()  # the panel on Redis says that it is away
        waiting = sum(one.queue_depth + one.journal_depth for one in known)
        return await asyncio.to_thread(body_of, sources, wanted, waiting), marks

    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("system", "filter"),
        Output("url", "search", allow_duplicate=True),
        Input("system-filter", "value"),
        prevent_initial_call=True,
    )
