"""The Bots page: the desk in figures, every bot in a table, and one bot in detail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from bots.views import BotView
from dashboard.figures.equity import equity_figure
from dashboard.figures.sparkline import sparkline_image
from dashboard.live_views import BOTS, SIGNALS
from dashboard.market_day import SPARK_POINTS, MarketDays
from dashboard.page import Page
from dashboard.pages.bot_panels import (
    FILTERS,
    action_buttons,
    bot_cards,
    decisions_list,
    detail_head,
    facts,
    filter_data,
    grid_row,
    kpi_cards,
    matches,
    no_bots,
    stop_words,
    trades_table,
)
from dashboard.pages.market_panels import events_list, fills_table
from dashboard.panels import aria, data, error_state, icon, skeleton_rows, toast
from dashboard.readers import BotDesk
from dashboard.theme import Theme, theme_named
from dashboard.timed_cache import TimedCache
from data.errors import InvalidInput, TradingError

WHO = "web page"  # in the audit; there are no users yet
_SPARK_MAX_AGE_S = 20.0
_EQUITY_POINTS = 1_500
_ROWS = 40  # of each list; Dash walks every component of the page at each change
_ROW_HEIGHT = 46
_HEADER_HEIGHT = 36
_MOST_ROWS_SHOWN = 8

GRID_THEME = (
    "themeQuartz.withParams({backgroundColor:'var(--s1)',foregroundColor:'var(--tx)',"
    "headerBackgroundColor:'var(--s1)',headerTextColor:'var(--tx3)',borderColor:'var(--line)',"
    "rowHoverColor:'var(--s2)',selectedRowBackgroundColor:'var(--accent-bg)',accentColor:'var(--accent)',"
    "fontFamily:'inherit',fontSize:12.5,wrapperBorder:false,wrapperBorderRadius:0,"
    "headerColumnResizeHandleColor:'transparent',oddRowBackgroundColor:'var(--s1)'})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSources:
    """What the page reads."""

    bots: BotDesk
    days: MarketDays
    now_us: Callable[[], int]
    seconds: Callable[[], float]

    def decimals(self, bot: BotView) -> int:
        day = self.days.day(bot.market) if bot.market else None
        return day.decimals if day else 2


def bots_layout() -> Component:
    """The page before anything was read: every panel has its final size."""
    return html.Div(
        [
            dcc.Store(id="bots-shown", data=[]),
            dcc.Store(id="selected-bot"),
            dcc.Store(id="pending-stop"),
            html.Div(
                [
                    html.H1("Bots"),
                    dmc.SegmentedControl(
                        id="bots-filter",
                        data=[{"value": name, "label": name.capitalize()} for name in FILTERS],
                        value="all",
                        size="xs",
                        **aria(label="Filter by state"),
                    ),
                ],
                className="title-row",
            ),
            html.Section(
                [html.Div(dmc.Skeleton(height=40), className="panel kpi") for _ in range(6)],
                id="kpis",
                className="kpis",
                **aria(label="Key figures"),
            ),
            html.Section(
                [_grid(), html.Div(id="bots-cover")], className="panel grid-panel", **aria(label="Bots")
            ),
            html.Section(id="bot-cards", className="cards", **aria(label="Bots")),
            html.Div(
                [_equity_panel(), _detail_panel()],
                id="bot-detail",
                className="detail",
                style={"display": "none"},
            ),
            _confirmation(),
        ],
        className="page bots",
    )


def _grid() -> Component:
    def column(field: str, title: str, **options: Any) -> dict[str, Any]:
        return {"field": field, "headerName": title, "resizable": True, "sortable": True, **options}

    def two_lines(field: str, title: str, lines: str, **options: Any) -> dict[str, Any]:
        right = options.pop("right", True)
        looks = {"type": "rightAligned"} if right else {}
        return column(
            field,
            title,
            cellRenderer="TwoLines",
            cellRendererParams={"lines": lines, "right": right},
            **looks,
            **options,
        )

    columns = [
        column(
            "bot",
            "Bot",
            flex=1.6,
            minWidth=150,
            cellRenderer="TwoLines",
            cellRendererParams={"lines": "bot"},
            cellDataType=False,
        ),
        column(
            "market",
            "Market",
            flex=1,
            minWidth=105,
            cellRenderer="TwoLines",
            cellRendererParams={"lines": "market"},
            cellDataType=False,
        ),
        column("state", "State", cellRenderer="State", width=112),
        column("spark", "Equity curve", cellRenderer="Spark", width=122, sortable=False),
        two_lines("equity", "Equity", "equity_lines", flex=1, minWidth=105),
        two_lines("return", "Return", "return_lines", flex=1, minWidth=105),
        two_lines("position", "Position", "position_lines", flex=1.1, minWidth=120),
        two_lines("trades", "Trades", "trades_lines", width=92),
        two_lines("signal", "Last signal", "signal_lines", flex=1, minWidth=105),
        column("health", "Health", cellRenderer="Health", flex=1.5, minWidth=110),
        column("actions", "", cellRenderer="Actions", width=96, sortable=False, cellDataType=False),
    ]
    grid: Component = dag.AgGrid(
        id="bots-grid",
        className="bots-grid",
        columnDefs=columns,
        rowData=[],
        getRowId="params.data.id",
        dashGridOptions={
            "theme": {"function": GRID_THEME},
            "rowHeight": _ROW_HEIGHT,
            "headerHeight": _HEADER_HEIGHT,
            "rowSelection": {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True},
            "suppressCellFocus": False,
            "animateRows": False,
            "localeText": {"noRowsToShow": "No bot is in this state"},
        },
        style={"height": f"{_HEADER_HEIGHT + 3 * _ROW_HEIGHT}px", "width": "100%"},
    )
    return grid


def _equity_panel() -> Component:
    return html.Section(
        [
            html.Div(
                [
                    html.Div(id="detail-head", className="detail-head"),
                    html.Span(id="detail-actions", className="end"),
                ],
                className="panel-head",
            ),
            html.Div(
                dcc.Graph(
                    id="equity-graph",
                    config={"displayModeBar": False, "scrollZoom": True},
                    style={"height": "100%", "width": "100%"},
                    responsive=True,
                ),
                className="equity-box",
                role="img",
                **aria(label="Equity and drawdown of the selected bot"),
            ),
            html.Div(id="equity-cover", className="chart-cover"),
        ],
        className="panel",
        **aria(label="Equity and drawdown"),
    )


def _detail_panel() -> Component:
    return html.Section(
        [
            dmc.Tabs(
                dmc.TabsList(
                    [
                        dmc.TabsTab("Position", value="position"),
                        dmc.TabsTab("Fills", value="fills"),
                        dmc.TabsTab("Trades", value="trades"),
                        dmc.TabsTab("Decisions", value="decisions"),
                        dmc.TabsTab("Audit", value="audit"),
                    ]
                ),
                id="detail-tab",
                value="position",
                color="blue",
            ),
            html.Div(skeleton_rows(6), id="detail-body", className="tab-body"),
        ],
        className="panel detail-tabs",
        **aria(label="Details of the selected bot"),
    )


def _confirmation() -> Component:
    buttons = html.Div(
        [
            html.Button(
                "Keep running",
                id="stop-cancel",
                className="button",
                type="button",
                **data(autofocus="true"),
            ),
            html.Button("Stop, keep position", id="stop-keep", className="button", type="button"),
            html.Button(
                "Stop and close position",
                id="stop-close",
                className="button danger",
                type="button",
                disabled=True,
            ),
        ],
        className="confirm-buttons",
    )
    modal: Component = dmc.Modal(
        [
            html.Div(id="stop-words", className="confirm"),
            dmc.TextInput(
                id="stop-name",
                label="To close the position, type the bot's name",
                value="",
                debounce=False,
                size="xs",
                **aria(label="The bot's name"),
            ),
            buttons,
        ],
        id="stop-modal",
        title="",
        opened=False,
        centered=True,
        size=520,
        closeButtonProps=aria(label="Close"),
        transitionProps={"duration": 120},
    )
    return modal


def bots_page(sources: BotSources) -> Page:
    return Page(
        path="/bots",
        title="Bots",
        icon="robot",
        layout=bots_layout,
        register=lambda app: register_bots(app, sources),
        topics=(BOTS, SIGNALS),
        key="b",
        on_phone=True,
    )


def register_bots(app: Dash, sources: BotSources) -> None:
    """The page's callbacks."""
    _register_overview(app, sources)
    _register_detail(app, sources)
    _register_actions(app, sources)


def _sparks(sources: BotSources) -> TimedCache[tuple[str, str], str | None]:
    def draw(key: tuple[str, str]) -> str | None:
        name, colour = key
        curve = sources.bots.equity(name, max_points=SPARK_POINTS)
        return sparkline_image(curve.equity, colour, width=96, height=26)

    return TimedCache(draw, seconds=sources.seconds, max_age_s=_SPARK_MAX_AGE_S)


def _spark_colour(bot: BotView, theme: Theme) -> str:
    return theme.down if (bot.return_rate or 0.0) < 0 else theme.up


def _register_overview(app: Dash, sources: BotSources) -> None:
    sparks = _sparks(sources)

    @app.callback(
        Output("kpis", "children"),
        Output("bots-filter", "data"),
        Output("bots-grid", "rowData"),
        Output("bots-grid", "rowTransaction"),
        Output("bots-grid", "style"),
        Output("bot-cards", "children"),
        Output("bots-shown", "data"),
        Output("bots-cover", "children"),
        Input("bots-filter", "value"),
        Input("nudge-bots", "data"),
        Input("live-epoch", "data"),
        Input("scheme", "data"),
        State("bots-shown", "data"),
    )
    async def show_bots(
        wanted: str, _nudge: int | None, _epoch: int | None, scheme: str | None, shown: list[str] | None
    ) -> tuple[Any, ...]:
        def read() -> tuple[Any, ...]:
            theme = theme_named(scheme)
            bots = sources.bots.list_bots()
            chosen = [bot for bot in bots if matches(bot, wanted)]
            rows = [grid_row(bot, sparks.get((bot.name, _spark_colour(bot, theme)))) for bot in chosen]
            names = [bot.name for bot in chosen]
            # The same bots again are an update in place: selection, sorting and scrolling stay.
            again = names == shown and bool(names)
            height = _HEADER_HEIGHT + _ROW_HEIGHT * min(_MOST_ROWS_SHOWN, max(2, len(bots))) + 2
            return (
                kpi_cards(bots),
                filter_data(bots),
                no_update if again else rows,
                {"update": rows, "async": False} if again else no_update,
                {"height": f"{height}px", "width": "100%", "display": "block" if bots else "none"},
                bot_cards(chosen),
                names,
                None if bots else no_bots(),
            )

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return (*[no_update] * 7, error_state("The bots", error))


def _register_detail(app: Dash, sources: BotSources) -> None:
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("candlewick", "chooseBot"),
        Output("url", "search", allow_duplicate=True),
        Input("bots-grid", "selectedRows"),
        State("selected-bot", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("candlewick", "markBot"),
        Output("bots-grid", "selectedRows"),
        Input("selected-bot", "data"),
        Input("bots-shown", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("candlewick", "selectedBot"),
        Output("selected-bot", "data"),
        Input("url", "search"),
        Input("bots-shown", "data"),
    )

    @app.callback(
        Output("bot-detail", "style"),
        Output("detail-head", "children"),
        Output("detail-actions", "children"),
        Output("equity-graph", "figure"),
        Output("equity-cover", "children"),
        Output("detail-body", "children"),
        Input("selected-bot", "data"),
        Input("detail-tab", "value"),
        Input("nudge-bots", "data"),
        Input("live-epoch", "data"),
        Input("scheme", "data"),
        prevent_initial_call=True,
    )
    async def show_detail(
        name: str | None, tab: str, _nudge: int | None, _epoch: int | None, scheme: str | None
    ) -> tuple[Any, ...]:
        if not name:
            return {"display": "none"}, *[no_update] * 5

        def read() -> tuple[Any, ...]:
            bot = sources.bots.bot(name)
            curve = sources.bots.equity(name, max_points=_EQUITY_POINTS)
            theme = theme_named(scheme)
            figure = equity_figure(curve, capital=float(bot.capital), identity=name, theme=theme)
            waiting = (
                None
                if len(curve) > 1
                else html.Div(
                    [
                        icon("chart-line", "big"),
                        html.P("The equity curve begins with the second candle the bot processes."),
                    ],
                    className="panel-state",
                )
            )
            body = _detail_body(sources, bot, tab)
            return {}, detail_head(bot), action_buttons(bot, "detail"), figure, waiting, body

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return {}, [name], None, no_update, None, error_state(f"Bot {name}", error)


def _detail_body(sources: BotSources, bot: BotView, tab: str) -> Component:
    decimals = sources.decimals(bot)
    if tab == "fills":
        return fills_table(sources.bots.fills(bot.name, limit=_ROWS), decimals, with_bot=False)
    if tab == "trades":
        return trades_table(sources.bots.trades(bot.name, limit=_ROWS), decimals)
    if tab == "decisions":
        return decisions_list(sources.bots.decisions(bot.name, limit=_ROWS), decimals)
    if tab == "audit":
        return events_list(sources.bots.audit(bot.name, limit=_ROWS), with_bot=False)
    return facts(bot, decimals, sources.now_us())


def _register_actions(app: Dash, sources: BotSources) -> None:
    outputs = (
        Output("notifications", "sendNotifications"),
        Output("nudge-bots", "data"),
        Output("stop-modal", "opened"),
        Output("stop-modal", "title"),
        Output("stop-words", "children"),
        Output("pending-stop", "data"),
        Output("stop-name", "value"),
    )

    async def obey(work: Callable[[], BotView], title: str, nudge: int | None) -> tuple[Any, ...]:
        try:
            bot = await asyncio.to_thread(work)
        except InvalidInput as error:
            news = toast("Not possible", str(error), good=False)
        except TradingError as error:
            news = toast("Not done", str(error), good=False)
        else:
            news = toast(title, bot.name, good=True)
        return news, (nudge or 0) + 1, False, no_update, no_update, None, ""

    async def ask(name: str, action: str, nudge: int | None) -> tuple[Any, ...]:
        if action == "start":
            return await obey(lambda: sources.bots.start(name, who=WHO), "Bot is starting", nudge)
        if action == "pause":
            return await obey(lambda: sources.bots.pause(name, who=WHO), "Bot is pausing", nudge)
        try:
            bot = await asyncio.to_thread(sources.bots.bot, name)
        except TradingError as error:
            return toast("Not done", str(error), good=False), *[no_update] * 6
        if bot.position is None or bot.market is None:
            return await obey(lambda: sources.bots.stop(name, who=WHO), "Bot is stopping", nudge)
        words = stop_words(bot, await asyncio.to_thread(sources.decimals, bot))
        return no_update, no_update, True, f"Stop {name}?", words, name, ""

    @app.callback(
        *outputs,
        Input("bots-grid", "cellRendererData"),
        Input({"type": "bot-action", "action": ALL, "bot": ALL, "place": ALL}, "n_clicks"),
        Input("stop-cancel", "n_clicks"),
        Input("stop-keep", "n_clicks"),
        Input("stop-close", "n_clicks"),
        State("pending-stop", "data"),
        State("stop-name", "value"),
        State("nudge-bots", "data"),
        prevent_initial_call=True,
    )
    async def act(
        cell: dict[str, Any] | None,
        clicks: list[int | None],
        _cancel: int | None,
        _keep: int | None,
        _close: int | None,
        pending: str | None,
        typed: str | None,
        nudge: int | None,
    ) -> tuple[Any, ...]:
        nothing = (no_update,) * len(outputs)
        trigger = ctx.triggered_id
        if trigger == "bots-grid":
            value = (cell or {}).get("value")
            if not value:
                return nothing
            return await ask(str(value.get("bot")), str(value.get("action")), nudge)
        if trigger == "stop-cancel":
            return no_update, no_update, False, no_update, no_update, None, ""
        if trigger in ("stop-keep", "stop-close") and pending:
            flatten = trigger == "stop-close"
            if flatten and typed != pending:
                return nothing
            title = "Bot closes its position and stops" if flatten else "Bot is stopping"
            return await obey(lambda: sources.bots.stop(pending, who=WHO, flatten=flatten), title, nudge)
        # New buttons on the page trigger too, without a click.
        if isinstance(trigger, dict) and any(one["value"] for one in ctx.triggered):
            return await ask(str(trigger["bot"]), str(trigger["action"]), nudge)
        return nothing

    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("candlewick", "confirmName"),
        Output("stop-close", "disabled"),
        Input("stop-name", "value"),
        Input("pending-stop", "data"),
    )
