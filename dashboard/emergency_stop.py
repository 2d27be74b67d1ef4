"""The emergency stop on every page: its button, its question, and the banner while it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from bots.emergency import EmergencyReport, LeftOver
from bots.lifecycle import ACTIVE
from bots.views import BotView
from dashboard.number_formats import clock, full_time, signed, zone_name
from dashboard.panels import aria, data, icon, toast
from dashboard.readers import BotDesk, EmergencyStop
from data.errors import TradingError

WHO = "web page"
_LOOK_AGAIN_MS = 5_000  # news come over the live socket; this is for what was missed
_MOST_NAMED = 8
_LONGEST_REASON = 200  # characters


def stop_button() -> Component:
    """Opens the question; pressed while the desk is stopped, it asks whether to go on."""
    return html.Button(
        [icon("hand-stop"), html.Span("Stop all", className="stop-all-word")],
        id="stop-all",
        className="stop-all",
        type="button",
        title="Emergency stop: nothing new is ordered, what waits is cancelled",
        **aria(label="Emergency stop"),
    )


def stop_dialog() -> Component:
    """Everything of the stop that is on each page besides the button and the banner."""
    body: Component = html.Div(
        [
            dcc.Interval(id="stop-all-timer", interval=_LOOK_AGAIN_MS),
            dcc.Store(id="stop-all-engaged"),
            dmc.Modal(
                [
                    html.Div(id="stop-all-words", className="confirm"),
                    html.Div(
                        [
                            dmc.Switch(
                                id="stop-all-flatten",
                                label="Close every open position at the market, too",
                                checked=True,
                                size="xs",
                            ),
                            dmc.TextInput(
                                id="stop-all-why",
                                label="Reason, for the audit",
                                value="",
                                size="xs",
                                mt=10,
                            ),
                        ],
                        id="stop-all-fields",
                    ),
                    html.Div(id="stop-all-problem", className="down", role="alert"),
                    html.Div(
                        [
                            html.Button(
                                "Keep trading",
                                id="stop-all-cancel",
                                className="button",
                                type="button",
                                **data(autofocus="true"),
                            ),
                            html.Button(
                                "Stop everything", id="stop-all-do", className="button danger", type="button"
                            ),
                        ],
                        className="confirm-buttons",
                    ),
                ],
                id="stop-all-modal",
                title="",
                opened=False,
                centered=True,
                size=520,
                closeButtonProps=aria(label="Close"),
                transitionProps={"duration": 120},
            ),
        ]
    )
    return body


def register_stop(app: Dash, stop: EmergencyStop, bots: BotDesk) -> None:
    """The callbacks of button, question and banner. All of their inputs are in the shell."""

    @app.callback(
        Output("stop-banner", "children"),
        Output("stop-all-engaged", "data"),
        Output("stop-all", "className"),
        Input("stop-all-timer", "n_intervals"),
        Input("nudge-desk", "data"),
        Input("live-epoch", "data"),
        State("stop-all-engaged", "data"),
    )
    async def show_state(
        _ticks: int | None, _nudge: int | None, _epoch: int | None, before: bool | None
    ) -> tuple[Any, Any, Any]:
        try:
            report = await asyncio.to_thread(stop.state)
        except TradingError as error:
            return unknown_banner(error), no_update, no_update
        engaged = report.state.engaged
        name = "stop-all engaged" if engaged else "stop-all"
        return banner(report), no_update if engaged == before else engaged, name

    @app.callback(
        Output("stop-all-modal", "opened"),
        Output("stop-all-modal", "title"),
        Output("stop-all-words", "children"),
        Output("stop-all-fields", "style"),
        Output("stop-all-flatten", "checked"),
        Output("stop-all-why", "value"),
        Output("stop-all-cancel", "children"),
        Output("stop-all-do", "children"),
        Output("stop-all-do", "className"),
        Output("stop-all-problem", "children"),
        Input("stop-all", "n_clicks"),
        Input("stop-all-cancel", "n_clicks"),
        State("stop-all-engaged", "data"),
        prevent_initial_call=True,
    )
    async def ask(_open: int | None, _cancel: int | None, engaged: bool | None) -> tuple[Any, ...]:
        if ctx.triggered_id != "stop-all":
            return False, *[no_update] * 9
        if engaged:
            words: list[Component] = [
                html.P("Bots enter again from their next signal on. What was closed stays closed.")
            ]
            return (
                True,
                "Release the emergency stop?",
                words,
                {"display": "none"},
                *[no_update] * 2,
                "Stay stopped",
                "Release the stop",
                "button primary",
                None,
            )
        # The question must open even while nothing can be read: stopping comes first.
        try:
            words = question(await asyncio.to_thread(bots.list_bots))
        except TradingError as error:
            words = [html.P(f"What the bots hold cannot be shown now: {error}")]
        return (
            True,
            "Stop the whole desk?",
            words,
            {},
            True,
            "",
            "Keep trading",
            "Stop everything",
            "button danger",
            None,
        )

    @app.callback(
        Output("stop-all-modal", "opened", allow_duplicate=True),
        Output("stop-all-problem", "children", allow_duplicate=True),
        Output("stop-banner", "children", allow_duplicate=True),
        Output("stop-all-engaged", "data", allow_duplicate=True),
        Output("stop-all", "className", allow_duplicate=True),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input("stop-all-do", "n_clicks"),
        State("stop-all-engaged", "data"),
        State("stop-all-flatten", "checked"),
        State("stop-all-why", "value"),
        running=[(Output("stop-all-do", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def do(
        clicks: int | None, engaged: bool | None, flatten: bool | None, why: str | None
    ) -> tuple[Any, ...]:
        if not clicks:
            return (no_update,) * 6
        reason = (why or "").strip()[:_LONGEST_REASON]

        def work() -> EmergencyReport:
            if engaged:
                stop.release(WHO)
                return stop.state()
            return stop.engage(WHO, reason, flatten=bool(flatten))

        try:
            report = await asyncio.to_thread(work)
        except TradingError as error:
            what = "The stop still stands" if engaged else "The desk is NOT stopped"
            return True, f"{what}: {error}", *[no_update] * 4
        stands = report.state.engaged
        news = (
            toast("The desk is stopped", "No entry can be ordered until you release it", good=True)
            if stands
            else toast("Released", "Bots enter again from their next signal on", good=True)
        )
        return False, None, banner(report), stands, "stop-all engaged" if stands else "stop-all", news


def question(bots: Sequence[BotView]) -> list[Component]:
    """What stopping does, with figures."""
    active = sum(bot.state in ACTIVE for bot in bots)
    holding = [bot for bot in bots if bot.holds]
    held_now = sum(len(bot.holdings) for bot in holding)
    pnl: dict[str, Decimal] = {}
    for bot in holding:
        if bot.market is not None:
            quote = bot.market.symbol.removesuffix("-PERP").rpartition("-")[2]
            pnl[quote] = pnl.get(quote, Decimal(0)) + bot.unrealised_pnl
    at_work = f"{active} bots are" if active != 1 else "1 bot is"
    money = ", ".join(f"{signed(value)} {quote}" for quote, value in sorted(pnl.items()))
    positions = f"{held_now} positions are" if held_now != 1 else "1 position is"
    held = f"{positions} open, at {money} now." if holding else "No position is open."
    return [
        html.P(
            [
                html.B(f"{at_work} at work. "),
                "From the moment you confirm, none of them can enter anything, and orders that wait are "
                "cancelled. The stop holds until a person releases it.",
            ]
        ),
        html.P(
            [
                html.B(held),
                " Positions that are left open keep their stops and exits only while their bots run."
                if holding
                else "",
            ]
        ),
    ]


def banner(report: EmergencyReport) -> Component | None:
    """That the desk is stopped, since when, by whom, and what is left; None while it is not."""
    state = report.state
    if not state.engaged:
        return None
    left = [*report.orders, *report.positions]
    since = clock(state.since_us)
    told = f" by {state.who}" + (f": {state.why}" if state.why else "")
    closing = "positions are closed" if state.flatten else "positions stay open, as asked"
    return html.Div(
        [
            icon("hand-stop"),
            html.Div(
                [
                    html.Strong("Emergency stop. "),
                    html.Span(
                        [
                            "Stopped since ",
                            html.Span(
                                f"{since} {zone_name()}", className="num", title=full_time(state.since_us)
                            ),
                            told,
                            f". Nothing new is ordered; {closing}.",
                        ]
                    ),
                    _left(left, report.is_done),
                ]
            ),
            html.Span("Press the button above to release it", className="stop-hint"),
        ],
        className="banner bad stop-banner",
        role="alert",
    )


def _left(left: Sequence[LeftOver], is_done: bool) -> Component | None:
    if not left:
        return None
    orders = "order or position" if len(left) == 1 else "orders and positions"
    words = f"{len(left)} {orders} {'left open' if is_done else 'not settled yet'}"
    more = len(left) - _MOST_NAMED
    return html.Details(
        [
            html.Summary(words),
            html.Ul(
                [
                    *(html.Li([html.B(one.bot), f" {one.what}: {one.why}"]) for one in left[:_MOST_NAMED]),
                    html.Li(f"and {more} more") if more > 0 else None,
                ]
            ),
        ]
    )


def unknown_banner(error: TradingError) -> Component:
    """Whether the desk is stopped cannot be read: that is said, not guessed."""
    return html.Div(
        [
            icon("alert-triangle"),
            html.Div([html.Strong("Whether an emergency stop stands is not known. "), str(error)]),
        ],
        className="banner stop-banner",
        role="status",
    )
