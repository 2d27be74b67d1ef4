"""The Market page: symbol strip, live chart, watchlist, signals, positions and fills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component
from dash_tvlwc import Tvlwc

from bots.views import BotView, FillView
from dashboard.chart_data import FIRST_BARS, HISTORY_BARS, ChartData, ChartRows
from dashboard.figures.price_chart import (
    chart_options,
    fill_markers,
    history_chunk,
    merged_markers,
    overlay_colours,
    overlay_id,
    pane_options,
    position_lines,
    price_chart_series,
    signal_markers,
)
from dashboard.live_hub import LiveHub
from dashboard.live_views import BOTS, DEFAULT_OVERLAY, QUOTES, SIGNALS
from dashboard.market_day import MarketDays
from dashboard.market_request import MarketRequest, market_href, resolve, venue_name
from dashboard.page import Page
from dashboard.pages.market_panels import (
    COMMON_TIMEFRAMES,
    bots_pill,
    events_list,
    fills_table,
    no_market,
    positions_table,
    signals_list,
    strip_facts,
    timeframe_links,
    venue_banner,
    watchlist,
)
from dashboard.panels import aria, empty_state, error_state, icon, link_button, read_or_error, skeleton_rows
from dashboard.readers import BotDesk, MarketReader
from dashboard.theme import DARK, Theme, theme_named
from data.errors import TradingError
from data.models import Market
from data.timeframes import SECOND_US, Timeframe

# Dash walks every component of the page at each change: lists show what a person reads, the rest is on /bots.
_ROWS = 20  # of fills and events below the chart
_SIGNALS = 12
_MARKER_FILLS = 500
_MAX_HISTORY_SECONDS = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSources:
    """What the page reads."""

    market: MarketReader
    chart: ChartData
    days: MarketDays
    bots: BotDesk
    hub: LiveHub
    now_us: Callable[[], int]

    def resolve(self, request: Mapping[str, Any] | None) -> MarketRequest:
        """The request with what exists filled in. Reads the store."""
        return resolve(request or {}, self.market.markets(), self.chart.overlay_choices())

    def decimals(self, market: Market) -> int:
        day = self.days.day(market)
        return day.decimals if day else 2


def market_layout() -> Component:
    """The page before anything was read: every panel has its final size."""
    return html.Div(
        [
            dcc.Store(id="market-request"),
            dcc.Store(id="chart-view"),
            dcc.Store(id="chart-marks"),
            dcc.Store(id="marks-shown", data=True),
            dcc.Store(id="history-request"),
            dcc.Store(id="history-chunk"),
            dcc.Store(id="markets-known"),
            html.H1("Market", className="visually-hidden"),
            html.Div(id="venue-banner"),
            _strip(),
            _chart_panel(),
            html.Aside(
                [
                    _side_panel("Watchlist", "star", "watchlist"),
                    _side_panel("Signals", "bolt", "signals"),
                ],
                className="side",
            ),
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
            html.Div(dmc.Skeleton(height=30, width=320), id="strip-facts", style={"display": "contents"}),
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
            html.Span(id="timeframes", style={"display": "contents"}),
            dmc.Menu(
                [
                    dmc.MenuTarget(
                        html.Button(icon("chevron-down"), className="tool", **aria(label="More time frames"))
                    ),
                    dmc.MenuDropdown([], id="more-timeframes"),
                ],
                position="bottom-start",
            ),
            html.Span(className="rule"),
            icon("chart-line", "muted"),
            dmc.Select(
                id="overlay-select",
                allowDeselect=False,
                size="xs",
                className="overlay-pick",
                rightSection=icon("chevron-down"),
                comboboxProps={"width": 260, "position": "bottom-start"},
                **aria(label="Lines over the chart"),
            ),
            html.Button(
                [icon("bolt"), "Signals and fills"],
                id="marks-toggle",
                className="tool",
                type="button",
                **aria(pressed="true"),
            ),
            html.Span(className="spacer"),
            html.Button(
                icon("arrow-bar-to-right"),
                id="to-latest",
                className="icon-button",
                title="To the newest candle",
                **aria(label="To the newest candle"),
            ),
            html.Button(
                icon("maximize"),
                id="full-screen",
                className="icon-button",
                title="Full screen",
                **aria(label="Full screen"),
            ),
        ],
        className="tools",
    )
    chart = Tvlwc(
        id="chart",
        width="100%",
        height="100%",
        series=[],
        chartOptions=chart_options(DARK, Timeframe.M1),
        subscribeVisibleRange=True,
        subscribeCrosshair=True,
        reportThrottle=100,
    )
    return html.Section(
        [
            tools,
            html.Div(
                [
                    chart,
                    html.Div(
                        [
                            html.Div(id="legend-figures"),
                            html.Div(id="legend-lines", className="legend-lines"),
                        ],
                        className="legend",
                        **aria(hidden="true"),
                    ),
                    html.Div(id="chart-cover", className="chart-cover"),
                    html.Div(html.Div(), className="chart-wait", **aria(hidden="true")),
                ],
                id="chart-box",
                className="chart-box",
                role="img",
                **aria(label="Price chart"),
            ),
        ],
        id="chart-panel",
        className="panel chart-panel",
        **aria(label="Chart"),
    )


def _side_panel(title: str, icon_name: str, component: str) -> Component:
    return html.Section(
        [
            html.Div([icon(icon_name), title], className="panel-head"),
            html.Div(skeleton_rows(5), id=component, className="panel-body"),
        ],
        className="panel",
        **aria(label=title),
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
    _register_chart(app, sources)
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
    browser("chartShown", Input("chart-view", "data"), prevent_initial_call=True)
    browser("crosshair", Input("chart", "crosshair"), prevent_initial_call=True)
    browser(
        "wantHistory",
        Output("history-request", "data"),
        Input("chart", "barsInLogicalRange"),
        State("chart-view", "data"),
        prevent_initial_call=True,
    )
    browser(
        "joinHistory",
        Output("chart", "series", allow_duplicate=True),
        Output("chart-view", "data", allow_duplicate=True),
        Input("history-chunk", "data"),
        State("chart-view", "data"),
        prevent_initial_call=True,
    )
    browser(
        "mark",
        Output("chart", "series", allow_duplicate=True),
        Input("chart-marks", "data"),
        Input("marks-shown", "data"),
        prevent_initial_call=True,
    )
    browser(
        "toggle",
        Output("marks-shown", "data"),
        Input("marks-toggle", "n_clicks"),
        State("marks-shown", "data"),
        prevent_initial_call=True,
    )
    browser(
        "toLatest",
        Output("chart", "timeScaleAction", allow_duplicate=True),
        Input("to-latest", "n_clicks"),
        prevent_initial_call=True,
    )
    browser("fullScreen", Input("full-screen", "n_clicks"), prevent_initial_call=True)
    browser(
        "chooseMarket",
        Output("url", "search", allow_duplicate=True),
        Input("venue-select", "value"),
        Input("symbol-select", "value"),
        Input("overlay-select", "value"),
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
        Output("overlay-select", "data"),
        Output("overlay-select", "value"),
        Output("markets-known", "data"),
        Output("strip-facts", "children"),
        Output("bots-here", "children"),
        Output("timeframes", "children"),
        Output("more-timeframes", "children"),
        Input("market-request", "data"),
        prevent_initial_call=True,
    )
    async def show_strip(request: dict[str, Any] | None) -> tuple[Any, ...]:
        def read() -> tuple[Any, ...]:
            resolved = sources.resolve(request)
            market = resolved.market
            known: dict[str, list[str]] = {}
            for one in sources.market.markets():
                known.setdefault(one.exchange, []).append(one.symbol)
            if market is None:
                nothing = html.Span("No market to show", className="muted")
                return (None, [], None, [], None, [], None, known, nothing, None, [], [])
            last = sources.hub.last_price(market)
            return (
                market.symbol[:1],
                known[market.exchange],
                market.symbol,
                [{"value": exchange, "label": venue_name(exchange)} for exchange in known],
                market.exchange,
                _overlay_data(sources.chart),
                resolved.overlay,
                known,
                strip_facts(sources.days.day(market), market, last),
                bots_pill(sources.bots.list_bots(), market),
                timeframe_links(market, resolved.timeframe, resolved.overlay),
                [
                    dmc.MenuItem(
                        frame.value, href=market_href(market, frame, resolved.overlay), refresh=False
                    )
                    for frame in Timeframe
                    if frame not in COMMON_TIMEFRAMES
                ],
            )

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return (*[no_update] * 8, [error_state("The market", error)], *[no_update] * 3)

    @app.callback(
        Output("venue-banner", "children"),
        Input("market-request", "data"),
        Input("nudge-health", "data"),
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


def _overlay_data(chart: ChartData) -> list[dict[str, Any]]:
    strategies = [{"value": name, "label": name} for name in chart.overlay_choices()]
    averages = [{"value": DEFAULT_OVERLAY, "label": "EMA 12 and 26"}]
    groups = [{"group": "Averages", "items": averages}]
    return [*groups, {"group": "Strategies", "items": strategies}] if strategies else groups


def _register_chart(app: Dash, sources: MarketSources) -> None:
    @app.callback(
        Output("chart", "series"),
        Output("chart", "chartOptions"),
        Output("chart", "paneOptions"),
        Output("chart", "timeScaleAction"),
        Output("chart-view", "data"),
        Output("chart-cover", "children"),
        Input("market-request", "data"),
        State("chart-view", "data"),
        prevent_initial_call=True,
    )
    async def show_chart(request: dict[str, Any] | None, shown: dict[str, Any] | None) -> tuple[Any, ...]:
        def read() -> tuple[Any, ...]:
            resolved = sources.resolve(request)
            if resolved.market is None:
                cover = no_market(resolved.unknown, sources.hub.health())
                return [], no_update, [], no_update, None, cover
            theme = theme_named(resolved.scheme)
            rows = sources.chart.rows(resolved.market, resolved.timeframe, resolved.overlay, bars=FIRST_BARS)
            decimals = sources.decimals(resolved.market)
            view = _chart_view(resolved, resolved.market, rows, theme, decimals, sources.now_us())
            # Another market begins at its newest candle; the same one keeps what is in view.
            same = shown is not None and shown["key"] == view["key"]
            action = no_update if same else {"action": "resetTimeScale", "nonce": sources.now_us()}
            series = price_chart_series(rows.ohlcv, rows.overlays, theme=theme, decimals=decimals)
            options = chart_options(theme, resolved.timeframe)
            empty = None if len(rows.ohlcv) else _no_candles(resolved.market, resolved.timeframe)
            return series, options, pane_options(rows.overlays), action, view, empty

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return [], no_update, [], no_update, None, error_state("The chart", error)

    @app.callback(
        Output("history-chunk", "data"),
        Input("history-request", "data"),
        prevent_initial_call=True,
    )
    async def load_history(request: dict[str, Any] | None) -> Any:
        before = (request or {}).get("before")
        if not isinstance(before, int) or not 0 < before < _MAX_HISTORY_SECONDS:
            return no_update

        def read() -> Any:
            resolved = sources.resolve(request)
            if resolved.market is None:
                return no_update
            rows = sources.chart.rows(
                resolved.market,
                resolved.timeframe,
                resolved.overlay,
                bars=HISTORY_BARS,
                end_us=before * SECOND_US,
            )
            return {
                "key": resolved.view(resolved.market).key,
                "before": before,
                "more": rows.more,
                "rows": history_chunk(rows.ohlcv, rows.overlays, theme_named(resolved.scheme)),
            }

        try:
            return await asyncio.to_thread(read)
        except TradingError:
            return no_update  # what is on the screen stays; scrolling asks again

    @app.callback(
        Output("chart-marks", "data"),
        Input("chart-view", "data"),
        Input("nudge-signals", "data"),
        Input("nudge-bots", "data"),
        State("market-request", "data"),
        prevent_initial_call=True,
    )
    async def show_marks(
        view: dict[str, Any] | None, _signals: int | None, _bots: int | None, request: dict[str, Any] | None
    ) -> Any:
        if view is None:
            return no_update

        def read() -> Any:
            resolved = sources.resolve(request)
            market = resolved.market
            if market is None:
                return no_update
            theme = theme_named(resolved.scheme)
            here = [bot for bot in sources.bots.list_bots() if bot.market == market]
            frames = {bot.timeframe for bot in here if bot.timeframe} | {resolved.timeframe}
            said = [one for frame in frames for one in sources.bots.signals(market, frame, limit=500)]
            fills = [fill for bot in here for fill in sources.bots.fills(bot.name, limit=_MARKER_FILLS)]
            markers = merged_markers(
                signal_markers(said, resolved.timeframe, theme),
                fill_markers(fills, resolved.timeframe, theme),
                start_us=int(view["first"]) * SECOND_US,
            )
            positions = {bot.name: bot.position for bot in here if bot.position is not None}
            return {
                "key": resolved.view(market).key,
                "markers": markers,
                "lines": position_lines(positions, theme),
            }

        try:
            return await asyncio.to_thread(read)
        except TradingError:
            return no_update  # the panels beside the chart say what is wrong


def _chart_view(
    resolved: MarketRequest, market: Market, rows: ChartRows, theme: Theme, decimals: int, at_us: int
) -> dict[str, Any]:
    """What the browser needs to know of the chart: its identity, its topic, and what its lines are."""
    view = resolved.view(market)
    colours = overlay_colours(rows.overlays, theme)
    return {
        "key": view.key,
        "at": at_us,
        "topic": view.topic,
        "market": str(market),
        "exchange": market.exchange,
        "symbol": market.symbol,
        "timeframe": resolved.timeframe.value,
        "overlay": resolved.overlay,
        "decimals": decimals,
        "more": rows.more,
        "first": int(rows.ohlcv.opened_at_us[0]) // SECOND_US if len(rows.ohlcv) else 0,
        "marks": [
            [theme.warn, "Signal"],
            [theme.up_text, "B: bot bought"],
            [theme.down_text, "S: bot sold"],
        ],
        "overlays": [
            {"id": overlay_id(line), "label": line.label, "colour": colour, "pane": line.pane}
            for line, colour in zip(rows.overlays, colours, strict=True)
        ],
        "request": {
            "venue": market.exchange,
            "symbol": market.symbol,
            "tf": resolved.timeframe.value,
            "overlay": resolved.overlay,
            "scheme": resolved.scheme,
        },
    }


def _no_candles(market: Market, timeframe: Timeframe) -> Component:
    return empty_state(
        "clock",
        f"{market.symbol} has no closed {timeframe} candle yet. The first one appears when it closes.",
        link_button("Show 1m", market_href(market, Timeframe.M1), "chart-candle"),
    )


def _register_side(app: Dash, sources: MarketSources) -> None:
    @app.callback(Output("watchlist", "children"), Input("market-request", "data"), prevent_initial_call=True)
    async def show_watchlist(request: dict[str, Any] | None) -> Component:
        def read() -> Component:
            resolved = sources.resolve(request)
            days = sources.days.all()
            last = {
                day.market: newest
                for day in days
                if (newest := sources.hub.last_price(day.market)) is not None
            }
            return watchlist(
                days,
                last,
                current=resolved.market,
                timeframe=resolved.timeframe,
                theme=theme_named(resolved.scheme),
            )

        return await read_or_error("The watchlist", read)

    @app.callback(
        Output("signals", "children"),
        Input("market-request", "data"),
        Input("nudge-signals", "data"),
        prevent_initial_call=True,
    )
    async def show_signals(request: dict[str, Any] | None, _nudge: int | None) -> Component:
        def read() -> Component:
            resolved = sources.resolve(request)
            if resolved.market is None:
                return signals_list([])
            bots = [bot for bot in sources.bots.list_bots() if bot.market == resolved.market]
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
        Input("nudge-bots", "data"),
        prevent_initial_call=True,
    )
    async def show_tab(request: dict[str, Any] | None, tab: str, _nudge: int | None) -> Component:
        def read() -> Component:
            resolved = sources.resolve(request)
            bots = sources.bots.list_bots()
            if tab == "positions":
                markets = {bot.market for bot in bots if bot.market is not None and bot.position is not None}
                decimals = {market: sources.decimals(market) for market in markets}
                return positions_table(bots, decimals, sources.now_us())
            here = [bot for bot in bots if bot.market == resolved.market]
            if tab == "fills":
                decimals_here = sources.decimals(resolved.market) if resolved.market else 2
                return fills_table(_newest_fills(sources.bots, here), decimals_here, with_bot=True)
            events = [event for bot in here for event in sources.bots.audit(bot.name, limit=_ROWS)]
            newest = sorted(events, key=lambda event: event.at_us, reverse=True)
            return events_list(newest[:_ROWS], with_bot=True)

        return await read_or_error("The table", read)


def _newest_fills(desk: BotDesk, bots: list[BotView]) -> list[FillView]:
    fills = [fill for bot in bots for fill in desk.fills(bot.name, limit=_ROWS)]
    return sorted(fills, key=lambda fill: fill.filled_at_us, reverse=True)[:_ROWS]
