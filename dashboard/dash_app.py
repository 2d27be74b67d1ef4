"""The Dash application: the shell around the pages, the routes and the callbacks that belong to no page."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
import structlog
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update, set_props
from dash.development.base_component import Component
from fastapi import FastAPI

from dashboard.emergency_stop import register_stop, stop_button, stop_dialog
from dashboard.index_page import DeskApp, first_paint
from dashboard.live_hub import LiveHub
from dashboard.market_request import bot_href, market_href, venue_name
from dashboard.number_formats import MISSING, compact, duration, plain
from dashboard.page import Page
from dashboard.panels import Column, aria, empty_state, icon, link_button, table, tag, toast
from dashboard.readers import BotDesk, EmergencyStop, MarketReader
from dashboard.theme import MANTINE_THEME
from data.errors import TradingError
from data.timeframes import SECOND_US, Timeframe

TITLE = "Candlewick"
_SILENT_US = 15 * SECOND_US  # a collector that says nothing for so long is not well
_MOST_BOTS_FOUND = 200

log = structlog.get_logger(__name__)

HOME = "/market"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellSources:
    """What the header reads."""

    market: MarketReader
    bots: BotDesk
    stop: EmergencyStop
    hub: LiveHub
    now_us: Callable[[], int]


def build_dash(server: FastAPI, pages: Sequence[Page], sources: ShellSources, *, simulated: bool) -> Dash:
    """The application on that server, with every callback registered."""
    app = DeskApp(
        __name__,
        server=server,  # type: ignore[arg-type]  # Dash takes it, its annotation knows Flask alone
        title=TITLE,
        update_title="",
        assets_folder=str(Path(__file__).parent / "assets"),
        assets_ignore=r"(boot|start|codemirror)\.js|LICENSE.*",
        use_pages=False,
        include_pages_meta=False,
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1, viewport-fit=cover"}
        ],
        suppress_callback_exceptions=True,
        enable_mcp=False,
        add_log_handler=False,
        on_error=_report,
    )
    # No callback of ours runs over Dash's own WebSocket; the browser need not open one.
    app.backend.websocket_capability = False
    app.first_paint = first_paint(pages)
    app.layout = shell(pages, simulated=simulated)
    _register_shell(app, pages, sources)
    register_stop(app, sources.stop, sources.bots)
    for page in pages:
        page.register(app)
    return app


def _report(error: Exception) -> None:
    """An error of ours in a callback: the log has all of it, the person a sentence and its number."""
    number = secrets.token_hex(4)
    outputs = str(ctx.outputs_list)
    log.error("callback_failed", number=number, outputs=outputs, exc_info=error)
    message = f"Something went wrong here; the log has the details under {number}."
    # One for each callback: a page that is read again every second would pile them up until somebody looks.
    told = [{**one, "id": f"failed {outputs}"} for one in toast("Not shown", message, good=False)]
    set_props("notifications", {"sendNotifications": told})


def shell(pages: Sequence[Page], *, simulated: bool) -> Component:
    """Header, navigation and the place where a page goes."""
    known = {page.path: {"title": page.title, "topics": list(page.topics), "key": page.key} for page in pages}
    provider: Component = dmc.MantineProvider(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="scheme"),
            dcc.Store(id="pages-known", data=known),
            dcc.Store(id="live-epoch", data=0),
            dcc.Store(id="nudge-bots", data=0),
            dcc.Store(id="nudge-signals", data=0),
            dcc.Store(id="nudge-health", data=0),
            dcc.Store(id="nudge-jobs", data=0),
            dcc.Store(id="nudge-desk", data=0),
            dmc.NotificationContainer(
                id="notifications", position="bottom-right", sendNotifications=[], limit=4
            ),
            html.Div(
                [
                    _header(simulated=simulated),
                    html.Div(id="stop-banner"),
                    html.Nav([_nav_link(page) for page in pages], className="rail", **aria(label="Pages")),
                    html.Main(id="page", className="main"),
                    html.Nav(_phone_links(pages), className="tabbar", **aria(label="Pages, at the bottom")),
                ],
                className="shell",
            ),
            stop_dialog(),
        ],
        theme=MANTINE_THEME,
        defaultColorScheme="dark",
    )
    return provider


def _nav_link(page: Page) -> Component:
    return dcc.Link([icon(page.icon), html.Span(page.title)], href=page.path, className="nav")


def _phone_links(pages: Sequence[Page]) -> list[Component]:
    """The pages with a place of their own, and a menu of the others."""
    links = [_nav_link(page) for page in pages if page.on_phone]
    others = [page for page in pages if not page.on_phone]
    if others:
        links.append(
            dmc.Menu(
                [
                    dmc.MenuTarget(
                        html.Button(
                            [icon("dots"), html.Span("More")],
                            className="nav",
                            type="button",
                            **aria(label="More pages"),
                        )
                    ),
                    dmc.MenuDropdown(
                        [
                            dmc.MenuItem(page.title, href=page.path, leftSection=icon(page.icon))
                            for page in others
                        ]
                    ),
                ],
                position="top-end",
                shadow="md",
            )
        )
    return links


def _header(*, simulated: bool) -> Component:
    notice = html.Span(
        [icon("info-circle"), html.Span("SIMULATED", className="long")],
        className="pill simulated",
        title="Prices come from the simulated venue of the demo, not from a real one",
    )
    return html.Header(
        [
            dcc.Link(
                [html.Img(src="/assets/brand.svg", alt=""), html.Span("Candlewick")],
                href=HOME,
                className="brand",
            ),
            dmc.Select(
                id="search",
                placeholder="Search symbol or bot",
                searchable=True,
                clearable=False,
                size="xs",
                className="search",
                leftSection=icon("search"),
                rightSection=html.Span("Ctrl K", className="search-key"),
                rightSectionWidth=58,
                nothingFoundMessage="Nothing by that name",
                selectFirstOptionOnChange=True,
                maxDropdownHeight=360,
                **aria(label="Search symbol or bot"),
            ),
            html.Span(className="spacer"),
            notice if simulated else None,
            html.Span(
                [icon("shield-check"), "PAPER"],
                className="pill mode",
                title="Bots trade with virtual money; no order leaves this machine",
            ),
            html.Span(
                [html.I(id="feed-dot", className="dot"), html.Span(id="feed-text")], className="pill feed"
            ),
            dmc.Popover(
                [
                    dmc.PopoverTarget(
                        html.Button(
                            [icon("activity-heartbeat"), html.Span(id="collectors-text", className="num")],
                            id="collectors",
                            className="pill wide-only",
                            type="button",
                            title="How the collectors are",
                        )
                    ),
                    dmc.PopoverDropdown(html.Div(id="collectors-body"), p=0),
                ],
                id="collectors-popover",
                position="bottom-end",
                shadow="md",
                width="auto",
                trapFocus=False,
            ),
            dcc.Interval(id="collectors-timer", interval=2_000, disabled=True),
            stop_button(),
            html.Span(
                [icon("clock"), html.B(id="clock-text", className="num"), html.Span("UTC", id="clock-zone")],
                className="pill clock",
            ),
            dmc.ColorSchemeToggle(
                lightIcon=icon("sun"),
                darkIcon=icon("moon"),
                variant="subtle",
                color="gray",
                size=30,
                **aria(label="Light or dark"),
            ),
        ],
        className="head",
    )


def _register_shell(app: Dash, pages: Sequence[Page], sources: ShellSources) -> None:
    layouts = {page.path: page.layout for page in pages}
    layouts["/"] = layouts[HOME]

    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("candlewick", "page"),
        Input("page", "children"),
        State("url", "pathname"),
        State("pages-known", "data"),
    )
    # What draws in the scheme's colours waits for it: no figure is drawn dark first on a light page.
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("candlewick", "scheme"),
        Output("scheme", "data"),
        Input("url", "pathname"),
        State("scheme", "data"),
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("candlewick", "search"),
        Output("url", "href"),
        Output("search", "value"),
        Input("search", "value"),
        prevent_initial_call=True,
    )

    @app.callback(Output("page", "children"), Input("url", "pathname"))
    async def show_page(pathname: str | None) -> Component:
        if pathname in layouts:
            return layouts[pathname]()
        return empty_state(
            "search", f"There is no page at {pathname}.", link_button("Go to the market", HOME)
        )

    @app.callback(Output("search", "data"), Input("url", "pathname"))
    async def fill_search(_pathname: str | None) -> Any:
        def read() -> list[dict[str, Any]]:
            markets = [
                {
                    "value": market_href(market, Timeframe.M1),
                    "label": f"{market.symbol} · {venue_name(market.exchange)}",
                }
                for market in sources.market.markets()
            ]
            bots = [
                {"value": bot_href(bot.name), "label": bot.name}
                for bot in sources.bots.list_bots()[:_MOST_BOTS_FOUND]
            ]
            groups = (("Markets", markets), ("Bots", bots))
            return [{"group": name, "items": items} for name, items in groups if items]

        try:
            return await asyncio.to_thread(read)
        except TradingError:
            return no_update  # the page itself says that the store cannot be read

    @app.callback(
        Output("collectors-timer", "disabled"),
        Input("collectors-popover", "opened"),
        prevent_initial_call=True,
    )
    async def follow_collectors(opened: bool | None) -> bool:
        return not opened

    @app.callback(
        Output("collectors-body", "children"),
        Output("collectors-text", "children"),
        Input("collectors-popover", "opened"),
        Input("collectors-timer", "n_intervals"),
        Input("nudge-health", "data"),
    )
    async def show_collectors(
        _opened: bool | None, _ticks: int | None, _nudge: int | None
    ) -> tuple[Component, list[Any]]:
        return collectors_table(sources.hub, sources.now_us()), collectors_words(
            sources.hub, sources.now_us()
        )


def collectors_words(hub: LiveHub, now_us: int) -> list[Any]:
    """How many collectors are well, of how many."""
    known = hub.health().values()
    if not known:
        return ["No collector"]
    well = sum(one.state == "live" and now_us - one.sent_at_us < _SILENT_US for one in known)
    return ["Collectors ", html.B(f"{well}/{len(known)}")]


def collectors_table(hub: LiveHub, now_us: int) -> Component:
    """Every collector with its state, its figures and what it has to say."""
    known = sorted(hub.health().values(), key=lambda one: one.exchange)
    if not known:
        return empty_state(
            "plug-connected-x", "No collector has been heard of. candlewick up starts the collectors."
        )
    kinds = {"live": "up", "unreachable": "down", "stopped": "flat"}
    rows: list[list[Any]] = []
    for one in known:
        silent_us = now_us - one.sent_at_us
        state = tag(one.state, kinds.get(one.state, "warn"))
        if silent_us >= _SILENT_US:
            state = tag(f"silent {duration(silent_us)}", "warn")
        rows.append(
            [
                html.Strong(venue_name(one.exchange)),
                state,
                str(one.symbols),
                f"{one.trades_per_s:,.1f}",
                compact(one.trades_stored),
                f"{plain(one.lag_ms, 0)} ms" if one.state == "live" else MISSING,
                str(one.gaps_open),
                str(one.malformed),
            ]
        )
    columns = (
        Column("Venue"),
        Column("State"),
        Column("Symbols", numeric=True),
        Column("Trades/s", numeric=True),
        Column("Stored", numeric=True),
        Column("Lag", numeric=True),
        Column("Gaps", numeric=True),
        Column("Malformed", numeric=True),
    )
    details = [html.P(f"{venue_name(one.exchange)}: {one.detail}") for one in known if one.detail]
    return html.Div([table(columns, rows, label="Collectors"), *details], className="popover-table")
