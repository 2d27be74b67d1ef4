"""The Backtests page: kept runs and searches, one of them in full, and the forms that start more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from dashboard.live_views import JOBS
from dashboard.page import Page
from dashboard.pages.backtests_bot import bot_modal, register_bot
from dashboard.pages.backtests_form import run_form, strategy_choices
from dashboard.pages.backtests_jobs import job_panel, jobs_strip, result_href
from dashboard.pages.backtests_list import compare_picks, runs_list
from dashboard.pages.backtests_start import parameters_of, register_start, stored_or_nothing
from dashboard.pages.runs import run_report
from dashboard.pages.runs_compare import compare_report
from dashboard.pages.strategies import asked
from dashboard.pages.sweeps import search_report, searches_table
from dashboard.panels import aria, error_state, icon, skeleton_rows, toast
from dashboard.readers import BotDesk, JobDesk, MarketReader, StrategyDesk, StrategyShelf
from dashboard.theme import Theme, theme_named
from data.errors import InvalidInput, Problem, TradingError
from jobs.model import JobKind, JobState
from jobs.research import ResearchReader

PATH = "/backtests"
WHO = "web page"
_MOST_LISTED = 200
_JOBS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSources:
    """What the page reads and asks for."""

    strategies: StrategyDesk
    shelf: StrategyShelf
    jobs: JobDesk
    research: ResearchReader
    market: MarketReader
    bots: BotDesk
    now_us: Callable[[], int]


def backtests_page(sources: BacktestSources) -> Page:
    return Page(
        path=PATH,
        title="Backtests",
        icon="history",
        layout=backtests_layout,
        register=lambda app: register_backtests(app, sources),
        topics=(JOBS,),
        key="t",
        on_phone=True,
    )


def backtests_layout() -> Component:
    """The page before anything was read."""
    return html.Div(
        [
            dcc.Store(id="backtests-changed", data=0),
            dcc.Store(id="backtests-goto"),
            dcc.Store(id="backtests-listed"),
            dcc.Store(id="backtests-scheme"),
            html.Div(
                [
                    html.H1("Backtests"),
                    html.Nav(
                        [
                            dcc.Link("Runs", href=PATH, className="view-link", id="view-runs"),
                            dcc.Link(
                                "Sweeps", href=f"{PATH}?view=sweeps", className="view-link", id="view-sweeps"
                            ),
                        ],
                        className="view-links",
                        **aria(label="Kept research"),
                    ),
                    html.Span(className="spacer"),
                    dcc.Link([icon("grid-dots"), "New sweep"], href=f"{PATH}?new=sweep", className="button"),
                    dcc.Link(
                        [icon("plus"), "New backtest"],
                        href=f"{PATH}?new=backtest",
                        className="button primary",
                    ),
                ],
                className="title-row",
            ),
            html.Div(id="backtests-jobs"),
            html.Div(html.Section(skeleton_rows(12), className="panel"), id="backtests-body"),
            bot_modal(),
        ],
        className="page backtests",
    )


def register_backtests(app: Dash, sources: BacktestSources) -> None:
    """The page's callbacks."""
    _register_body(app, sources)
    _register_jobs(app, sources)
    register_start(app, sources.strategies, sources.shelf, sources.jobs, sources.market)
    register_bot(app, sources.research, sources.bots)


def body_of(wanted: Mapping[str, str], sources: BacktestSources, theme: Theme) -> Component:
    """What an address shows. Reads the store. Raises InvalidInput for what is unknown."""
    if kind := wanted.get("new"):
        choices = strategy_choices(sources.strategies, sources.shelf)
        return run_form(
            "sweep" if kind == "sweep" else "backtest",
            choices,
            sources.market.markets(),
            wanted,
            parameters_of=lambda name: parameters_of(name, wanted, sources.strategies, sources.shelf),
            stored=lambda market: stored_or_nothing(market, sources.market),
        )
    if number := wanted.get("run"):
        return run_report(_number(number, "run"), sources.research, sources.market, theme)
    if id := wanted.get("search"):
        return search_report(sources.research.search(id), theme, median=wanted.get("cells") == "median")
    if pair := wanted.get("compare"):
        picked = [_number(part, "compare") for part in pair.split(",")[:2]]
        first = sources.research.run(picked[0])
        if len(picked) == 1:
            return compare_picks(first.summary, sources.research.runs(limit=_MOST_LISTED))
        return compare_report(first, sources.research.run(picked[1]), sources.research, theme)
    if number := wanted.get("job"):
        return job_panel(sources.jobs.job(_number(number, "job")), sources.now_us())
    if wanted.get("view") == "sweeps":
        searches = sources.research.searches(limit=_MOST_LISTED)
        return html.Section(searches_table(searches), className="panel list-panel", **aria(label="Searches"))
    return runs_list(sources.research.runs(wanted.get("q", ""), limit=_MOST_LISTED), wanted.get("q", ""))


def newest_of(wanted: Mapping[str, str], research: ResearchReader) -> str:
    """What is another text once the list at an address has something new. Reads the store."""
    if wanted.get("view") == "sweeps":
        searches = research.searches(limit=_MOST_LISTED)
        return " ".join(f"{one.id}:{one.finished_at_us}" for one in searches)
    return " ".join(str(one.id) for one in research.runs(limit=1))


def _number(text: str, field: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 18:
        return int(text)
    raise InvalidInput(Problem(where="address", field=field, value=text[:40], expected="expected a number"))


def _register_body(app: Dash, sources: BacktestSources) -> None:
    # The shell tells when the scheme changes; which one a page opens in, the document knows.
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("backtests", "scheme"),
        Output("backtests-scheme", "data"),
        Input("scheme", "data"),
    )

    @app.callback(
        Output("backtests-body", "children"),
        Output("view-runs", "className"),
        Output("view-sweeps", "className"),
        Input("url", "search"),
        Input("backtests-scheme", "data"),
        Input("backtests-changed", "data"),
        State("url", "pathname"),
        State("view-runs", "className"),
    )
    async def show_body(
        search: str | None,
        scheme: str | None,
        _changed: int | None,
        pathname: str | None,
        mark: str,
    ) -> tuple[Any, Any, Any]:
        if pathname != PATH:
            return (no_update,) * 3
        wanted = asked(search)
        drawn = mark.endswith("current")
        if "new" in wanted and drawn and ctx.triggered_id == "backtests-scheme":
            return (no_update,) * 3  # what was filled in stays
        sweeps = wanted.get("view") == "sweeps" or "search" in wanted
        marks = ("view-link", "view-link current") if sweeps else ("view-link current", "view-link")
        try:
            body = await asyncio.to_thread(body_of, wanted, sources, theme_named(scheme))
        except TradingError as error:
            body = html.Section(error_state("This", error), className="panel")
        return body, *marks

    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input("sweep-cells", "value"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def choose_cells(cells: str, search: str | None) -> Any:
        wanted = asked(search)
        if "search" not in wanted or wanted.get("cells", "best") == cells:
            return no_update
        return f"?search={wanted['search']}&cells={cells}"

    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("backtests", "filter"),
        Output("url", "search", allow_duplicate=True),
        Input("runs-filter", "value"),
        prevent_initial_call=True,
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("backtests", "compare"),
        Output("runs-compare", "href"),
        Output("runs-compare", "className"),
        Input({"type": "run-pick", "run": ALL}, "checked"),
        State({"type": "run-pick", "run": ALL}, "id"),
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("backtests", "showTrade"),
        Output("run-prices", "visibleLogicalRange"),
        Input("run-trades", "cellClicked"),
        prevent_initial_call=True,
    )


def _register_jobs(app: Dash, sources: BacktestSources) -> None:
    # A callback runs where one of its outputs is on the page. The address always is, so it is not among the
    # outputs of what follows the jobs: other pages would ask as well.
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("backtests", "goto"),
        Output("url", "search", allow_duplicate=True),
        Input("backtests-goto", "data"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("backtests-jobs", "children"),
        Output("backtests-body", "children", allow_duplicate=True),
        Output("backtests-goto", "data"),
        Output("backtests-listed", "data"),
        Input("nudge-jobs", "data"),
        Input("live-epoch", "data"),
        Input("url", "search"),
        State("url", "pathname"),
        State("backtests-listed", "data"),
        prevent_initial_call="initial_duplicate",
    )
    async def follow_jobs(
        _nudge: int | None,
        _epoch: int | None,
        search: str | None,
        pathname: str | None,
        listed: str | None,
    ) -> tuple[Any, Any, Any, Any]:
        if pathname != PATH:
            return (no_update,) * 4
        wanted = asked(search)
        news = ctx.triggered_id in ("nudge-jobs", "live-epoch")

        def read() -> tuple[Any, Any, Any, Any]:
            if "job" in wanted:
                job = sources.jobs.job(_number(wanted["job"], "job"))
                href = result_href(job)
                # Who waits for a job on its page is led to what came of it.
                if news and job.state is JobState.DONE and href:
                    return None, no_update, href.partition(PATH)[2], no_update
                panel = job_panel(job, sources.now_us()) if news else no_update
                return None, panel, no_update, no_update
            if set(wanted) - {"view", "q"}:
                return (None, *(no_update,) * 3)
            kinds = (JobKind.BACKTEST, JobKind.SWEEP)
            jobs = [one for one in sources.jobs.jobs(_JOBS) if one.kind in kinds]
            newest = newest_of(wanted, sources.research)
            # The list stays as it is while nothing is new, with what is being typed and picked in it.
            changed = news and newest != listed
            body = body_of(wanted, sources, theme_named(None)) if changed else no_update
            return jobs_strip(jobs), body, no_update, newest

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return (error_state("The jobs", error), *(no_update,) * 3)

    @app.callback(
        Output("backtests-changed", "data"),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input({"type": "job-do", "do": ALL, "job": ALL}, "n_clicks"),
        State("backtests-changed", "data"),
        prevent_initial_call=True,
    )
    async def steer_job(_clicks: list[int | None], count: int | None) -> tuple[Any, Any]:
        which = ctx.triggered_id
        if not isinstance(which, dict) or not ctx.triggered[0]["value"]:
            return no_update, no_update
        do = sources.jobs.cancel if which["do"] == "cancel" else sources.jobs.retry
        try:
            job = await asyncio.to_thread(do, int(which["job"]), WHO)
        except TradingError as error:
            return no_update, toast("Not done", str(error), good=False)
        words = "Asked to end" if which["do"] == "cancel" else "Queued again"
        return (count or 0) + 1, toast(words, job.title, good=True)
