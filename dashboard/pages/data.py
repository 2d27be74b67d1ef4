"""The Data page: what is recorded, what of it is whole, and how more of it is fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from dashboard.figures.coverage import DAY_US
from dashboard.live_views import JOBS
from dashboard.page import Page
from dashboard.pages.data_collectors import collectors_panel
from dashboard.pages.data_coverage import (
    DAYS,
    PATH,
    calendar_panel,
    data_href,
    day_of,
    day_panel,
    market_page_of,
    read_cover,
)
from dashboard.pages.data_history import (
    FIELDS,
    KINDS,
    arguments_of,
    field_id,
    history_view,
    jobs_panel,
    problem_lines,
    uploaded,
    value_of,
)
from dashboard.pages.data_holes import holes_panel
from dashboard.pages.data_instruments import instruments_view
from dashboard.pages.strategies import asked
from dashboard.panels import aria, error_state, icon, skeleton_rows, toast
from dashboard.readers import HealthReader, MarketReader
from dashboard.store_readers import StoreDesk
from dashboard.theme import theme_named
from dashboard.timed_cache import TimedCache
from data.errors import InvalidInput, TradingError
from data.models import FloatArray, Market
from data.timeframes import SECOND_US, Timeframe
from jobs.model import JobKind

WHO = "web page"
_LIVE_MS = 5_000
_COVER_MS = 60_000
_RATES_S = 30.0
_MOST_JOBS = 200
_VIEWS = {
    "": ("Recording", "activity-heartbeat"),
    "holes": ("Holes and repairs", "alert-triangle"),
    "history": ("History and files", "database-import"),
    "instruments": ("Instruments", "list-details"),
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSources:
    """What the page reads and asks for."""

    store: StoreDesk
    market: MarketReader
    health: HealthReader
    now_us: Callable[[], int]
    seconds: Callable[[], float]


def data_page(sources: DataSources) -> Page:
    return Page(
        path=PATH,
        title="Data",
        icon="database",
        layout=data_layout,
        register=lambda app: register_data(app, sources),
        topics=(JOBS,),
        key="d",
        on_phone=True,
    )


def data_layout() -> Component:
    """The page before anything was read."""
    return html.Div(
        [
            dcc.Store(id="data-changed", data=0),
            dcc.Interval(id="data-live", interval=_LIVE_MS),
            dcc.Interval(id="data-slow", interval=_COVER_MS),
            html.Div(
                [
                    html.H1("Data"),
                    html.Nav(
                        [
                            dcc.Link(
                                [icon(icon_name), title],
                                href=data_href(view=view) if view else PATH,
                                className="view-link",
                                id=f"data-view-{view or 'recording'}",
                            )
                            for view, (title, icon_name) in _VIEWS.items()
                        ],
                        className="view-links",
                        **aria(label="Parts of the page"),
                    ),
                ],
                className="title-row",
            ),
            html.Div(html.Section(skeleton_rows(12), className="panel"), id="data-body", className="stack"),
        ],
        className="page data",
    )


def register_data(app: Dash, sources: DataSources) -> None:
    """The page's callbacks."""
    _register_views(app, sources)
    _register_collectors(app, sources)
    _register_jobs(app, sources)
    for kind in KINDS:
        _register_form(app, sources, kind)


def body_of(sources: DataSources, wanted: Mapping[str, str]) -> Component:
    """What an address shows. Reads the store. Raises InvalidInput for what is unknown."""
    store, now_us = sources.store, sources.now_us()
    view = wanted.get("view", "")
    if view == "history":
        markets = sorted({*store.facts.known_markets(), *store.ledger.recorded_markets()})
        return history_view(markets, store.files.imports(), wanted)
    if view == "instruments":
        return instruments_view(store.facts, wanted, now_us)
    until_us = day_of(wanted.get("until") or wanted.get("day"), now_us)
    if "until" not in wanted and until_us > day_of(None, now_us) - DAYS * DAY_US:
        until_us = day_of(None, now_us)  # a day that today's calendar shows as well
    recorded = store.ledger.recorded_markets()
    page = market_page_of(recorded, wanted)
    covers = read_cover(store.ledger, page.markets, until_us, now_us)
    if view == "holes":
        return holes_panel(covers, page, {one: store.ledger.repairs(one) for one in page.markets}, wanted)
    venue, _, symbol = wanted.get("market", "").partition(":")
    opened = [one for one in (Market(venue, symbol),) if one in recorded]
    chosen = next(
        (
            one
            for one in (*covers, *read_cover(store.ledger, opened, until_us, now_us))
            if one.market in opened
        ),
        None,
    )
    return html.Div(
        [
            html.Div(html.Section(skeleton_rows(4), className="panel"), id="data-collectors"),
            calendar_panel(covers, page, wanted, until_us, now_us),
            day_panel(chosen, wanted, day_of(wanted.get("day"), now_us)) if chosen is not None else None,
        ],
        className="stack",
    )


def _register_views(app: Dash, sources: DataSources) -> None:
    names = [view or "recording" for view in _VIEWS]

    @app.callback(
        output=(
            Output("data-body", "children"),
            [Output(f"data-view-{name}", "className") for name in names],
        ),
        inputs={"search": Input("url", "search"), "_ticks": Input("data-slow", "n_intervals")},
        state={"pathname": State("url", "pathname")},
    )
    async def show_view(*, search: str | None, _ticks: int | None, pathname: str | None) -> tuple[Any, Any]:
        if pathname != PATH:
            return no_update, [no_update] * len(names)
        wanted = asked(search)
        view = wanted.get("view", "")
        view = view if view in _VIEWS else ""
        if ctx.triggered_id == "data-slow" and view in ("history", "instruments"):
            return no_update, [no_update] * len(names)  # what was filled in stays
        marks = ["view-link current" if name == (view or "recording") else "view-link" for name in names]
        try:
            body = await asyncio.to_thread(body_of, sources, wanted)
        except TradingError as error:
            body = html.Section(error_state("This part", error), className="panel")
        return body, marks

    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("data", "filter"),
        Output("url", "search", allow_duplicate=True),
        Input("data-filter", "value"),
        prevent_initial_call=True,
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("data", "uploadName"),
        Output("data-upload-name", "children"),
        Input("data-upload", "filename"),
        prevent_initial_call=True,
    )


def _register_collectors(app: Dash, sources: DataSources) -> None:
    rates: TimedCache[str, FloatArray] = TimedCache(
        lambda shard: _last_hour(sources, shard), seconds=sources.seconds, max_age_s=_RATES_S
    )

    @app.callback(
        Output("data-collectors", "children"),
        Input("data-live", "n_intervals"),
        Input("nudge-health", "data"),
        Input("scheme", "data"),
    )
    async def show_collectors(_ticks: int | None, _nudge: int | None, scheme: str | None) -> Component:
        try:
            known = await sources.health.last_health()
        except TradingError as error:
            return html.Section(error_state("The collectors", error), className="panel")

        def read() -> dict[str, FloatArray]:
            return {one.shard: rates.get(one.shard) for one in known if one.shard}

        try:
            lines = await asyncio.to_thread(read)
        except TradingError as error:
            # The database is away and the bus is not: the figures are still worth showing.
            log.warning("collector_rates_unknown", why=str(error))
            lines = {}
        return collectors_panel(known, lines, theme_named(scheme), sources.now_us())


def _last_hour(sources: DataSources, shard: str) -> FloatArray:
    """A shard's trades a second of the last hour, one value a minute. Reads the store."""
    now_us = sources.now_us()
    words = sources.store.facts.health_history(shard, now_us - Timeframe.H1.us, now_us + SECOND_US)
    minutes: dict[int, list[float]] = {}
    for one in words:
        minutes.setdefault(one.sent_at_us // Timeframe.M1.us, []).append(one.trades_per_s)
    return np.array([sum(found) / len(found) for _, found in sorted(minutes.items())])


def _register_jobs(app: Dash, sources: DataSources) -> None:
    @app.callback(
        Output("data-jobs", "children"),
        Input("nudge-jobs", "data"),
        Input("live-epoch", "data"),
        Input("data-changed", "data"),
    )
    async def show_jobs(_nudge: int | None, _epoch: int | None, _changed: int | None) -> Component:
        try:
            jobs = await asyncio.to_thread(sources.store.jobs.jobs, _MOST_JOBS)
        except TradingError as error:
            return html.Section(error_state("The jobs", error), className="panel")
        return jobs_panel(jobs)

    @app.callback(
        Output("data-changed", "data"),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input({"type": "data-job", "do": ALL, "job": ALL}, "n_clicks"),
        State("data-changed", "data"),
        prevent_initial_call=True,
    )
    async def steer_job(_clicks: list[int | None], count: int | None) -> tuple[Any, Any]:
        which = ctx.triggered_id
        if not isinstance(which, dict) or not ctx.triggered[0]["value"]:
            return no_update, no_update
        do = sources.store.jobs.cancel if which["do"] == "cancel" else sources.store.jobs.retry
        try:
            job = await asyncio.to_thread(do, int(which["job"]), WHO)
        except TradingError as error:
            return no_update, toast("Not done", str(error), good=False)
        words = "Asked to end" if which["do"] == "cancel" else "Queued again"
        return (count or 0) + 1, toast(words, job.title, good=True)


def _register_form(app: Dash, sources: DataSources, kind: JobKind) -> None:
    state: dict[str, Any] = {
        "filled": [State(field_id(kind, name), value_of(name)) for name in FIELDS[kind]],
        "count": State("data-changed", "data"),
    }
    if kind is JobKind.IMPORT:
        state["upload"] = [State("data-upload", "filename"), State("data-upload", "contents")]

    @app.callback(
        output=(
            Output("data-changed", "data", allow_duplicate=True),
            Output(f"data-{kind}-problems", "children"),
            Output("notifications", "sendNotifications", allow_duplicate=True),
        ),
        inputs={"clicks": Input(f"data-{kind}-start", "n_clicks")},
        state=state,
        prevent_initial_call=True,
    )
    async def start(
        *, clicks: int | None, filled: list[Any], count: int | None, upload: list[str | None] | None = None
    ) -> tuple[Any, Any, Any]:
        if not clicks:
            return (no_update,) * 3

        def ask() -> str:
            arguments = arguments_of(kind, dict(zip(FIELDS[kind], filled, strict=True)))
            sent = uploaded(*upload) if upload else None
            if sent is not None and "file" not in arguments:
                arguments["file"] = sources.store.files.keep(*sent)
            return sources.store.jobs.start(kind, arguments, WHO).title

        try:
            title = await asyncio.to_thread(ask)
        except InvalidInput as invalid:
            return no_update, problem_lines(invalid.problems), no_update
        except TradingError as error:
            return no_update, error_state("The job", error), no_update
        return (count or 0) + 1, None, toast("Queued", title, good=True)
