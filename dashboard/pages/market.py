"""The Market page: symbol strip, live chart, watchlist, signals, positions and fills.

The chart, the strip's figures, the time frames, the watchlist and the trades are drawn by our own scripts
(`assets/26-chart.js`, `27-market.js`) from what `market_feed` and `market_marks` answer; Dash gives them
places (`data-island`) and shows the rest.
"""

from __future__ import annotations

import asyncio
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from bots.views import BotView, FillView
from dashboard.live_views import BOTS, QUOTES, SIGNALS
from dashboard.market_request import venue_name
from dashboard.market_sources import MarketSources
from dashboard.page import Page
from dashboard.pages.market_panels import (
    bots_pill,
    events_list,
    fills_table,
    positions_table,
    signals_list,
    venue_banner,
)
from dashboard.panels import aria, data, icon, read_or_error, skeleton_rows
from dashboard.readers import BotDesk
from data.errors import TradingError
from data.models import Market

# Dash walks every component of the page at each change: lists show what a person reads, the rest is on /bots.
_ROWS = 20  # of fills and events below the chart
_SIGNALS = 12


def market_layout() -> Component:
    """The page before anything was read: every panel has its final size."""
    return html.Div(
        [
            dcc.Store(id="market-request"),
            dcc.Store(id="markets-known"),
            dcc.Store(id="market-bots-news"),
            dcc.Store(id="market-signals-news"),
            dcc.Store(id="market-health-news"),
            html.H1("Market", className="visually-hidden"),
            html.Div(id="venue-banner"),
            _strip(),
            _chart_panel(),
            html.Aside([_watch_panel(), _tape_panel(), _signals_panel()], className="side"),
            html.Section(
                [
                    dmc.Tabs(
                        dmc.TabsList(
                            [
                                dmc.TabsTab("Positions", value="positions"),
                                dmc.TabsTab("Fills", value="fills"),
                                dmc.TabsTab("Bot events", value="events"),
                            ]
                        ),
                        id="market-tab",
                        value="positions",
                        color="blue",
                    ),
                    html.Div(skeleton_rows(4), id="market-tab-body", className="tab-body"),
                ],
                className="panel tabs-panel",
            ),
        ],
        className="page market",
    )


def _strip() -> Component:
    pick = html.Div(
        [
            html.Div(id="coin", className="coin", **aria(hidden="true")),
            html.Div(
                [
                    dmc.Select(
                        id="symbol-select",
                        searchable=True,
                        nothingFoundMessage="No such symbol",
                        allowDeselect=False,
                        size="xs",
                        maxDropdownHeight=320,
                        rightSection=icon("chevron-down"),
                        **aria(label="Symbol"),
                    ),
                    dmc.Select(
                        id="venue-select",
                        allowDeselect=False,
                        size="xs",
                        className="venue",
                        rightSection=icon("chevron-down"),
                        **aria(label="Venue"),
                    ),
                ]
            ),
        ],
        className="symbol-pick",
    )
    return html.Section(
        [
            pick,
            html.Div(className="facts-island", **data(island="facts")),
            html.Span(className="spacer"),
            html.Span(id="strip-age", className="stale num"),
            html.Span(id="bots-here", className="pills"),
        ],
        className="panel strip",
        **aria(label="Symbol"),
    )


def _chart_panel() -> Component:
    tools = html.Div(
        [
            html.Span(className="tools-island", **data(island="timeframes")),
            html.Span(className="tools-island", **data(island="drawings")),
            html.Span(className="spacer"),
            _icon_button("arrow-bar-to-right", "to-latest", "To the newest candle"),
            _icon_button("maximize", "full-screen", "Full screen"),
        ],
        className="tools",
    )
    return html.Section(
        [
            tools,
            html.Div(
                id="chart-box",
                className="chart-box",
                role="img",
                **aria(label="Price chart"),
                **data(island="chart"),
            ),
            html.Div(className="coverage-island", **data(island="coverage")),
        ],
        id="chart-panel",
        className="panel chart-panel",
        **aria(label="Chart"),
    )


def _icon_button(icon_name: str, component: str, label: str) -> Component:
    return html.Button(
        icon(icon_name),
        id=component,
        className="icon-button",
        title=label,
        type="button",
        **aria(label=label),
    )


def _watch_panel() -> Component:
    return html.Section(
        [
            html.Div(
                [icon("star"), html.Span(className="watch-tools", **data(island="watch-tools"))],
                className="panel-head",
            ),
            html.Div(className="panel-body", **data(island="watchlist")),
        ],
        className="panel",
        **aria(label="Watchlist"),
    )


def _tape_panel() -> Component:
    """Last trades with the best bid and ask; folded on a phone."""
    return html.Section(className="panel tape-panel", **aria(label="Trades"), **data(island="tape"))


def _signals_panel() -> Component:
    return html.Section(
        [
            html.Div([icon("bolt"), "Signals"], className="panel-head"),
            html.Div(skeleton_rows(5), id="signals", className="panel-body"),
        ],
        className="panel",
        **aria(label="Signals"),
    )


def market_page(sources: MarketSources) -> Page:
    return Page(
        path="/market",
        title="Market",
        icon="chart-candle",
        layout=market_layout,
        register=lambda app: register_market(app, sources),
        topics=(QUOTES, BOTS, SIGNALS),
        key="m",
        on_phone=True,
    )


def register_market(app: Dash, sources: MarketSources) -> None:
    """The page's callbacks."""
    _register_browser_side(app)
    _register_strip(app, sources)
    _register_side(app, sources)


def _register_browser_side(app: Dash) -> None:
    def browser(function: str, *dependencies: Any, **options: Any) -> None:
        app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
            ClientsideFunction("candlewick", function), *dependencies, **options
        )

    browser(
        "marketRequest",
        Output("market-request", "data"),
        Input("url", "search"),
        Input("live-epoch", "data"),
        Input("scheme", "data"),
        State("market-request", "data"),
    )
    # Inputs of a callback are all of the shell or all of the page: news go through stores of the page.
    for name in ("bots", "signals", "health"):
        browser(
            f"{name}News",
            Output(f"market-{name}-news", "data"),
            Input(f"nudge-{name}", "data"),
            prevent_initial_call=True,
        )
    browser("toLatest", Input("to-latest", "n_clicks"), prevent_initial_call=True)
    browser("fullScreen", Input("full-screen", "n_clicks"), prevent_initial_call=True)
    browser(
        "chooseMarket",
        Output("url", "search", allow_duplicate=True),
        Input("venue-select", "value"),
        Input("symbol-select", "value"),
        State("markets-known", "data"),
        prevent_initial_call=True,
    )


def _register_strip(app: Dash, sources: MarketSources) -> None:
    @app.callback(
        Output("coin", "children"),
        Output("symbol-select", "data"),
        Output("symbol-select", "value"),
        Output("venue-select", "data"),
        Output("venue-select", "value"),
        Output("markets-known", "data"),
        Output("bots-here", "children"),
        Input("market-request", "data"),
        prevent_initial_call=True,
    )
    async def show_strip(request: dict[str, Any] | None) -> tuple[Any, ...]:
        def read() -> tuple[Any, ...]:
            resolved = sources.resolve(request)
            known: dict[str, list[str]] = {}
            for one in sources.market.markets():
                known.setdefault(one.exchange, []).append(one.symbol)
            venues = [{"value": exchange, "label": venue_name(exchange)} for exchange in known]
            market = resolved.market
            if market is None:
                # What exists can still be chosen: the symbols of the venue named, or of the first.
                asked = str((request or {}).get("venue", ""))
                venue = asked if asked in known else next(iter(known), None)
                return (None, known.get(venue or "", []), None, venues, venue, known, None)
            return (
                market.symbol[:1],
                known[market.exchange],
                market.symbol,
                venues,
                market.exchange,
                known,
                bots_pill(sources.bots.list_bots(), market),
            )

        try:
            return await asyncio.to_thread(read)
        except TradingError:
            return (no_update,) * 7  # the chart says that the store cannot be read

    @app.callback(
        Output("venue-banner", "children"),
        Input("market-request", "data"),
        Input("market-health-news", "data"),
        prevent_initial_call=True,
    )
    async def show_banner(request: dict[str, Any] | None, _nudge: int | None) -> Component | None:
        try:
            resolved = await asyncio.to_thread(sources.resolve, request)
        except TradingError:
            return None  # the chart says that the store cannot be read
        if resolved.market is None:
            return None
        exchange = resolved.market.exchange
        return venue_banner(sources.hub.health().get(exchange), exchange)


def _register_side(app: Dash, sources: MarketSources) -> None:
    @app.callback(
        Output("signals", "children"),
        Input("market-request", "data"),
        Input("market-signals-news", "data"),
        prevent_initial_call=True,
    )
    async def show_signals(request: dict[str, Any] | None, _nudge: int | None) -> Component:
        def read() -> Component:
            resolved = sources.resolve(request)
            if resolved.market is None:
                return signals_list([])
            bots = [bot for bot in sources.bots.list_bots() if resolved.market in bot.markets]
            frames = {bot.timeframe for bot in bots if bot.timeframe} | {resolved.timeframe}
            said = [
                one
                for frame in frames
                for one in sources.bots.signals(resolved.market, frame, limit=_SIGNALS)
            ]
            newest = sorted(said, key=lambda one: one.opened_at_us, reverse=True)
            return signals_list(newest[:_SIGNALS])

        return await read_or_error("The signals", read)

    @app.callback(
        Output("market-tab-body", "children"),
        Input("market-request", "data"),
        Input("market-tab", "value"),
        Input("market-bots-news", "data"),
        prevent_initial_call=True,
    )
    async def show_tab(request: dict[str, Any] | None, tab: str, _nudge: int | None) -> Component:
        def read() -> Component:
            resolved = sources.resolve(request)
            bots = sources.bots.list_bots()
            if tab == "positions":
                markets = {held.market for bot in bots for held in bot.holdings}
                decimals = {market: sources.decimals(market) for market in markets}
                return positions_table(bots, decimals, sources.now_us())
            here = [bot for bot in bots if resolved.market in bot.markets]
            if tab == "fills":
                decimals_here = sources.decimals(resolved.market) if resolved.market else 2
                return fills_table(
                    _newest_fills(sources.bots, here, resolved.market), decimals_here, with_bot=True
                )
            events = [event for bot in here for event in sources.bots.audit(bot.name, limit=_ROWS)]
            newest = sorted(events, key=lambda event: event.at_us, reverse=True)
            return events_list(newest[:_ROWS], with_bot=True)

        return await read_or_error("The table", read)


def _newest_fills(desk: BotDesk, bots: list[BotView], market: Market | None) -> list[FillView]:
    fills = [fill for bot in bots for fill in desk.fills(bot.name, limit=_ROWS) if fill.market == market]
    return sorted(fills, key=lambda fill: fill.filled_at_us, reverse=True)[:_ROWS]
