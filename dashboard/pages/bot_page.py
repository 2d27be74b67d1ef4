"""One bot: its figures, the market with its fills, its equity, and everything it did and why."""

from __future__ import annotations

import asyncio
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component
from dash_tvlwc import Tvlwc

from bots.views import BotView
from dashboard.figures.equity import equity_figure
from dashboard.figures.price_chart import (
    chart_options,
    fill_markers,
    merged_markers,
    pane_options,
    position_lines,
    price_chart_series,
    signal_markers,
)
from dashboard.pages.bot_basket import parts_table, weights_of
from dashboard.pages.bot_decisions import FILTERS as DECISION_FILTERS
from dashboard.pages.bot_decisions import decisions_list
from dashboard.pages.bot_panels import bot_head, bot_kpis, facts, orders_table, page_actions, trades_table
from dashboard.pages.bot_settings import settings_panel
from dashboard.pages.bots_sources import BotSources
from dashboard.pages.market_panels import events_list, fills_table
from dashboard.panels import (
    aria,
    chart_skeleton,
    empty_state,
    error_state,
    icon,
    link_button,
    read_or_error,
    skeleton_rows,
)
from dashboard.theme import DARK, Theme, theme_named
from data.errors import TradingError
from data.timeframes import Timeframe

TABS = ("position", "orders", "fills", "trades", "decisions", "settings", "audit")
_BARS = 600  # of the price chart
_MARKED_FILLS = 500
_EQUITY_POINTS = 1_500
_ROWS = 60  # of each list; Dash walks every component of the page at each change
_DECISIONS = 150  # read to find those of a filter


def bot_layout(name: str, tab: str) -> list[Component]:
    """The view before anything was read: every panel has its final size, and nothing of another bot."""
    return [
        dcc.Store(id="bot-shown", data=name),
        dcc.Store(id="bot-drawn"),
        html.Div(
            [
                link_button("All bots", "/bots", "chevron-left"),
                html.Div([html.H1(name)], id="bot-head", className="detail-head"),
                html.Span(className="spacer"),
                html.Div(id="bot-actions", className="row-actions"),
            ],
            className="title-row bot-title",
        ),
        html.Div(id="bot-trouble"),
        html.Section(
            [html.Div(dmc.Skeleton(height=40), className="panel kpi") for _ in range(6)],
            id="bot-kpis",
            className="kpis",
            **aria(label="Key figures"),
        ),
        html.Div([_price_panel(), _equity_panel()], className="bot-charts"),
        _tabs_panel(tab),
    ]


def _price_panel() -> Component:
    return html.Section(
        [
            html.Div(
                [icon("chart-candle"), html.Span("Market and fills", id="bot-chart-title")],
                className="panel-head",
            ),
            html.Div(
                [
                    Tvlwc(
                        id="bot-chart",
                        width="100%",
                        height="100%",
                        series=[],
                        chartOptions=chart_options(DARK, Timeframe.M1),
                    ),
                    html.Div(chart_skeleton(), id="bot-chart-cover", className="chart-cover"),
                ],
                className="bot-canvas",
                id="bot-chart-box",
                role="img",
                **aria(label="Price chart with the bot's fills, which are in the table below"),
            ),
        ],
        className="panel",
        **aria(label="Market and fills"),
    )


def _equity_panel() -> Component:
    return html.Section(
        [
            html.Div([icon("chart-line"), "Equity and drawdown"], className="panel-head"),
            html.Div(
                dcc.Graph(
                    id="equity-graph",
                    config={"displayModeBar": False, "scrollZoom": True},
                    style={"height": "100%", "width": "100%"},
                    responsive=True,
                ),
                className="bot-canvas equity-box",
                role="img",
                **aria(label="Equity and drawdown of the bot"),
            ),
            html.Div(chart_skeleton(), id="equity-cover", className="chart-cover under-head"),
        ],
        className="panel",
        **aria(label="Equity and drawdown"),
    )


def _tabs_panel(tab: str) -> Component:
    return html.Section(
        [
            html.Div(
                [
                    dmc.Tabs(
                        dmc.TabsList([dmc.TabsTab(name.capitalize(), value=name) for name in TABS]),
                        id="bot-tab",
                        value=tab,
                        color="blue",
                    ),
                    dmc.SegmentedControl(
                        id="bot-decisions-filter",
                        data=[{"value": name, "label": label} for name, label in DECISION_FILTERS.items()],
                        value="all",
                        size="xs",
                        style={"display": "flex" if tab == "decisions" else "none"},
                        **aria(label="Which decisions"),
                    ),
                ],
                className="tabs-head",
            ),
            html.Div(skeleton_rows(6), id="bot-body", className="tab-body"),
        ],
        className="panel detail-tabs bot-tabs",
        **aria(label="Details of the bot"),
    )


def register_bot_page(app: Dash, sources: BotSources) -> None:
    """The callbacks of this view."""
    _register_head(app, sources)
    _register_charts(app, sources)
    _register_tabs(app, sources)


def _register_head(app: Dash, sources: BotSources) -> None:
    @app.callback(
        Output("bot-head", "children"),
        Output("bot-actions", "children"),
        Output("bot-trouble", "children"),
        Output("bot-kpis", "children"),
        Input("bot-shown", "data"),
        Input("nudge-bots", "data"),
        Input("live-epoch", "data"),
    )
    async def show_head(name: str, _nudge: int | None, _epoch: int | None) -> tuple[Any, ...]:
        def read() -> tuple[Any, ...]:
            bot = sources.bots.bot(name)
            falls = {one.name: one for one in sources.risk.drawdowns()}
            trouble = html.Div([icon("alert-triangle"), bot.health], className="banner", role="alert")
            return (
                bot_head(bot),
                page_actions(bot),
                trouble if bot.health else None,
                bot_kpis(bot, falls.get(name)),
            )

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return no_update, None, error_state(f"Bot {name}", error), no_update


def _register_charts(app: Dash, sources: BotSources) -> None:
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("bots", "follow"),
        Output("bot-chart", "visibleLogicalRange"),
        Input("bot-chart", "series"),
        Input("bot-shown", "data"),
    )

    @app.callback(
        Output("bot-chart", "series"),
        Output("bot-chart", "chartOptions"),
        Output("bot-chart", "paneOptions"),
        Output("bot-chart-cover", "children"),
        Output("bot-chart-title", "children"),
        Output("equity-graph", "figure"),
        Output("equity-cover", "children"),
        Output("bot-drawn", "data"),
        Input("bot-shown", "data"),
        Input("nudge-bots", "data"),
        Input("live-epoch", "data"),
        Input("scheme", "data"),
        State("bot-drawn", "data"),
    )
    async def draw(
        name: str, _nudge: int | None, _epoch: int | None, scheme: str | None, drawn: str | None
    ) -> tuple[Any, ...]:
        def read() -> tuple[Any, ...]:
            bot = sources.bots.bot(name)
            # Another bot's news are news of this page too: what has not changed is not drawn again.
            held = max((one.position.entry_at_us for one in bot.holdings), default=0)
            key = f"{name}|{scheme}|{bot.last_candle_us}|{held}|{bot.trades}|{bot.fees_paid}"
            if key == drawn:
                return (no_update,) * 8
            theme = theme_named(scheme)
            curve = sources.bots.equity(name, max_points=_EQUITY_POINTS)
            figure = equity_figure(curve, capital=float(bot.capital), identity=name, theme=theme)
            waiting = empty_state(
                "chart-line", "The equity curve begins with the second candle the bot processes."
            )
            return *_price_chart(sources, bot, theme), figure, None if len(curve) > 1 else waiting, key

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return *[no_update] * 3, error_state("The chart", error), *[no_update] * 4


def _price_chart(sources: BotSources, bot: BotView, theme: Theme) -> tuple[Any, ...]:
    """Series, options of chart and panes, what covers the chart while there is none, and its title."""
    market, timeframe = bot.market, bot.timeframe or Timeframe.M1
    if market is None:
        words = "The bot's market is not known."
        return [], no_update, no_update, empty_state("chart-candle", words), no_update
    candles = sources.market.candles(market, timeframe, limit=_BARS)
    title = f"{market.symbol} · {timeframe.value}"
    if not len(candles):
        words = f"No candle of {market.symbol} is stored yet; the bot waits for the first one."
        return [], chart_options(theme, timeframe), no_update, empty_state("chart-candle", words), title
    start_us = int(candles.opened_at_us[0])
    made = sources.bots.fills(bot.name, limit=_MARKED_FILLS)
    fills = fill_markers([fill for fill in made if fill.market == market], timeframe, theme)
    said = [
        one
        for one in sources.bots.signals(market, timeframe, start_us=start_us)
        if one.version == bot.strategy_version
    ]
    held = next((one.position for one in bot.holdings if one.market == market), None)
    lines = position_lines({bot.name: held}, theme) if held else []
    series = price_chart_series(
        candles,
        [],
        theme=theme,
        decimals=sources.decimals(market),
        markers=merged_markers(signal_markers(said, timeframe, theme), fills, start_us=start_us),
        price_lines=lines,
    )
    return series, chart_options(theme, timeframe), pane_options([]), None, title


def _register_tabs(app: Dash, sources: BotSources) -> None:
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("bots", "tab"),
        Output("url", "search", allow_duplicate=True),
        Input("bot-tab", "value"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("bot-body", "children"),
        Output("bot-decisions-filter", "style"),
        Input("bot-shown", "data"),
        Input("bot-tab", "value"),
        Input("bot-decisions-filter", "value"),
    )
    async def show_tab(name: str, tab: str, wanted: str) -> tuple[Component, dict[str, str]]:
        style = {"display": "flex" if tab == "decisions" else "none"}
        return await read_or_error("This", lambda: tab_body(sources, name, tab, wanted)), style

    @app.callback(
        Output("bot-body", "children", allow_duplicate=True),
        Input("nudge-bots", "data"),
        Input("live-epoch", "data"),
        State("bot-shown", "data"),
        State("bot-tab", "value"),
        State("bot-decisions-filter", "value"),
        prevent_initial_call=True,
    )
    async def refresh_tab(_nudge: int | None, _epoch: int | None, name: str, tab: str, wanted: str) -> Any:
        if tab == "settings":
            return no_update  # what somebody is writing there stays
        return await read_or_error("This", lambda: tab_body(sources, name, tab, wanted))


def tab_body(sources: BotSources, name: str, tab: str, wanted: str) -> Component:
    """What a tab shows. Reads the store. Raises InvalidInput for an unknown bot."""
    bot = sources.bots.bot(name)
    decimals = sources.decimals(bot.market)
    symbols = {market: sources.decimals(market) for market in bot.markets} if bot.symbols else None
    if tab == "orders":
        return orders_table(sources.bots.orders(name, limit=_ROWS), with_symbol=bool(bot.symbols))
    if tab == "fills":
        return fills_table(sources.bots.fills(name, limit=_ROWS), decimals, with_bot=False, symbols=symbols)
    if tab == "trades":
        return trades_table(sources.bots.trades(name, limit=_ROWS), decimals, symbols=symbols)
    if tab == "decisions":
        saying = wanted != "all"
        found = sources.bots.decisions(name, limit=_DECISIONS if saying else _ROWS, saying_something=saying)
        return decisions_list(found, decimals, wanted)
    if tab == "settings":
        return settings_panel(sources, bot)
    if tab == "audit":
        return events_list(sources.bots.audit(name, limit=_ROWS), with_bot=False)
    if symbols is not None:
        _, settings = sources.bots.settings(name)
        parts = parts_table(bot, weights_of(settings.get("settings") or {}), symbols)
        return html.Div([parts, facts(bot, decimals, sources.now_us())])
    return facts(bot, decimals, sources.now_us())
