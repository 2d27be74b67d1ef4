"""The form for a new bot: its kind, its settings, and what it may cost before it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from bots.ladders.settings import LadderType
from dashboard.pages.bot_basket import suggested_weights
from dashboard.pages.bot_check import check, cost_panel, problem_lines, read_choices
from dashboard.pages.bot_form import (
    KINDS,
    STRATEGY,
    Choices,
    check_shelf,
    document_of,
    field_component,
    ladder_fields,
    limit_fields,
    money_fields,
    parameter_fields,
    parameters_of,
    restart_field,
    section,
    told,
    trading_fields,
)
from dashboard.pages.bots_panels import new_bot_href
from dashboard.pages.bots_sources import WHO, BotSources
from dashboard.panels import aria, empty_state, error_state, icon, link_button, toast
from data.errors import InvalidInput, Problem, TradingError
from data.models import Market

SCOPE = "new-bot"
_LOOKS = {
    STRATEGY: ("Strategy", "math-function", "Follows one strategy, an order at a time"),
    "grid": ("Grid", "grid-dots", "Buys low and sells high within a range"),
    "dca": ("DCA", "stack-2", "Averages down with safety orders"),
    "pyramid": ("Pyramid", "trending-up", "Adds to what goes its way"),
    "rebalance": ("Basket", "chart-pie", "Holds several symbols at their weights"),
}
# What a form begins with; every figure can be changed, and what they amount to stands beside them.
_CAPITAL = "10000"
_BEGINNINGS: dict[str, dict[str, str]] = {
    STRATEGY: {},
    "grid": {"levels": "21", "order_notional": "450", "spacing": "geometric"},
    "dca": {
        "base_notional": "500",
        "safety_notional": "500",
        "safety_orders": "5",
        "step": "0.01",
        "step_scale": "1.3",
        "volume_scale": "1.4",
        "take_profit": "0.012",
        "stop_loss": "0.15",
    },
    "pyramid": {
        "first_notional": "2000",
        "add_notional": "1000",
        "add_ons": "4",
        "every": "0.02",
        "stop_loss": "0.03",
        "volume_scale": "0.8",
        "entry": "immediately",
    },
    "rebalance": {"threshold": "0.05", "every": "1w", "stop_loss": "0.3"},
}
_RANGE = (("lower", Decimal("0.92")), ("upper", Decimal("1.08")), ("stop_price", Decimal("0.88")))


def wizard_layout(kind: str, sources: BotSources) -> list[Component]:
    """The form for a kind of bot. Reads the store."""
    wanted = kind if kind in KINDS else STRATEGY
    head = html.Div(
        [link_button("All bots", "/bots", "chevron-left"), html.H1("New bot")],
        className="title-row bot-title",
    )
    try:
        choices = read_choices(sources)
        taken = {bot.name for bot in sources.bots.list_bots()}
    except TradingError as error:
        return [head, error_state("The form", error)]
    if not choices.markets:
        words = "No market has candles yet, so there is nothing a bot could trade."
        return [
            head,
            empty_state("chart-candle", words, link_button("See the market", "/market", "chart-candle")),
        ]
    return [
        head,
        dcc.Store(id="wizard-kind", data=wanted),
        html.Nav(
            [_kind_card(one, wanted) for one in KINDS], className="kind-cards", **aria(label="Kind of bot")
        ),
        html.Div([_form(wanted, choices, taken), _summary(), _end()], className="wizard"),
    ]


def _kind_card(kind: str, current: str) -> Component:
    title, icon_name, words = _LOOKS.get(kind, (kind.capitalize(), "robot", ""))
    return dcc.Link(
        [icon(icon_name), html.Span([html.B(title), html.Small(words)])],
        href=new_bot_href(kind),
        className="kind-card current" if kind == current else "kind-card",
        title="Chosen" if kind == current else None,
    )


def _form(kind: str, choices: Choices, taken: set[str]) -> Component:
    market = next((one for one in choices.markets if one.symbol == "BTC-USDT"), choices.markets[0])
    strategy = choices.strategies[0] if choices.strategies else ""
    given: dict[str, str | None] = {
        "name": _free(f"{kind}_{market.symbol.split('-')[0].lower()}", taken),
        "market": str(market),
        "strategy": strategy,
        "capital": _CAPITAL,
        "fee_bps": "10",
        "maker_fee_bps": "10",
        "slippage_bps": "1",
    }
    given |= {f"settings/{name}": value for name, value in _BEGINNINGS.get(kind, {}).items()}
    if kind == LadderType.REBALANCE:
        venue, weights = suggested_weights(choices.markets)
        given |= {"name": _free("basket", taken), "venue": venue, "settings/weights": weights}
    own: Component
    if kind == STRATEGY:
        own = html.Section(
            [html.H3("Parameters"), html.Div(id="new-bot-parameters", className="bot-fields")],
            className="bot-section",
        )
    else:
        title = "Weights" if kind == LadderType.REBALANCE else "Orders"
        own = section(title, ladder_fields(LadderType(kind), given, choices), SCOPE)
    return html.Section(
        [
            section("What it trades", trading_fields(kind, given, choices, ()), SCOPE),
            own,
            section("Money", money_fields(given, choices, ()), SCOPE),
            section("Limits", limit_fields(given, choices), SCOPE),
            html.Section(
                [html.H3("Restart"), field_component(restart_field(given), SCOPE)], className="bot-section"
            ),
        ],
        className="panel bot-form",
        **aria(label="Settings of the new bot"),
    )


def _summary() -> Component:
    return html.Section(
        [
            html.Div([icon("shield-half"), "Before it starts"], className="panel-head"),
            html.Div(id="wizard-cost", className="cost-panel", **aria(live="polite")),
        ],
        className="panel wizard-summary",
        **aria(label="What the bot may cost"),
    )


def _end() -> Component:
    """What ends the form: always in the window, under the worst case where there is room for both."""
    return html.Section(
        [
            html.Div(id="wizard-problems", role="alert"),
            html.Div(
                [
                    dmc.Switch(id="wizard-start", label="Start it at once", checked=False, size="xs"),
                    html.Button(
                        [icon("plus"), "Create the bot"],
                        id="wizard-create",
                        className="button primary",
                        type="button",
                    ),
                ],
                className="wizard-end",
            ),
            html.P(
                "It trades with virtual money; no order leaves this machine.", className="muted wizard-note"
            ),
        ],
        className="panel wizard-last",
        **aria(label="Create the bot"),
    )


def _free(name: str, taken: set[str]) -> str:
    names = (name, *(f"{name}_{count}" for count in range(2, len(taken) + 3)))
    return next(one for one in names if one not in taken)


def register_wizard(app: Dash, sources: BotSources) -> None:
    """The callbacks of the form."""
    _register_fields(app, sources)
    _register_check(app, sources)
    _register_create(app, sources)


def _register_fields(app: Dash, sources: BotSources) -> None:
    @app.callback(
        Output("new-bot-parameters", "children"),
        Input({"type": SCOPE, "field": "strategy"}, "value"),
    )
    async def show_parameters(name: str | None) -> Any:
        def read() -> Any:
            check_shelf(sources.strategies(), name or "", "strategy")
            fields = parameter_fields(parameters_of(name or "", sources.rules_of), {})
            if not fields:
                return html.Span("This strategy has none that can be set here.", className="muted")
            return [field_component(one, SCOPE) for one in fields]

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return html.Span(str(error), className="down")

    @app.callback(
        *(Output({"type": SCOPE, "field": f"settings/{name}"}, "value") for name, _ in _RANGE),
        Input({"type": SCOPE, "field": "market"}, "value"),
        State("wizard-kind", "data"),
    )
    async def suggest_range(market: str | None, kind: str) -> tuple[Any, ...]:
        if kind != "grid" or not market:
            return (no_update,) * len(_RANGE)
        day = await asyncio.to_thread(sources.days.day, Market(*market.split(":", 1)))
        if day is None:
            return (no_update,) * len(_RANGE)
        last = Decimal(repr(day.last))
        return tuple(f"{round(last * factor, day.decimals):f}" for _, factor in _RANGE)


def _values(ids: Sequence[dict[str, str]], values: Sequence[str | None]) -> dict[str, str | None]:
    return {one["field"]: value for one, value in zip(ids, values, strict=True)}


def _register_check(app: Dash, sources: BotSources) -> None:
    @app.callback(
        Output({"type": SCOPE, "field": ALL}, "error"),
        Output("wizard-cost", "children"),
        Input({"type": SCOPE, "field": ALL}, "value"),
        State({"type": SCOPE, "field": ALL}, "id"),
        State("wizard-kind", "data"),
    )
    async def check_fields(
        values: list[str | None], ids: list[dict[str, str]], kind: str
    ) -> tuple[list[str | None], Any]:
        given = _values(ids, values)
        keys = list(given)

        def read() -> tuple[list[str | None], Any]:
            try:
                checked = check(sources, document_of(kind, given))
            except InvalidInput as invalid:
                at, others = told(invalid.problems, keys)
                # What is still empty is not wrong yet.
                at = [words if given[key] else None for key, words in zip(keys, at, strict=True)]
                return at, _unfinished(invalid.problems, others)
            return [None] * len(keys), cost_panel(checked, sources.decimals(checked.config.market))

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return [None] * len(keys), error_state("The check", error)


def _unfinished(problems: Sequence[Problem], others: Sequence[Problem]) -> list[Component]:
    count = "One setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    return [
        empty_state(
            "adjustments", f"{count} missing or not usable yet. What the bot may cost shows up here."
        ),
        *problem_lines(others),
    ]


def _register_create(app: Dash, sources: BotSources) -> None:
    @app.callback(
        Output("bots-goto", "data", allow_duplicate=True),
        Output("wizard-problems", "children"),
        Output({"type": SCOPE, "field": ALL}, "error", allow_duplicate=True),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input("wizard-create", "n_clicks"),
        State({"type": SCOPE, "field": ALL}, "value"),
        State({"type": SCOPE, "field": ALL}, "id"),
        State("wizard-kind", "data"),
        State("wizard-start", "checked"),
        running=[(Output("wizard-create", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def create(
        clicks: int | None,
        values: list[str | None],
        ids: list[dict[str, str]],
        kind: str,
        start: bool | None,
    ) -> tuple[Any, Any, Any, Any]:
        given = _values(ids, values)
        if not clicks:
            return no_update, no_update, [no_update] * len(ids), no_update

        def make() -> str:
            checked = check(sources, document_of(kind, given))
            return sources.bots.create(checked.config, who=WHO, start=bool(start)).name

        try:
            name = await asyncio.to_thread(make)
        except InvalidInput as invalid:
            at, _ = told(invalid.problems, list(given))
            return no_update, problem_lines(invalid.problems), at, no_update
        except TradingError as error:
            return no_update, error_state("The bot", error), [no_update] * len(ids), no_update
        news = toast(
            "Bot created", f"{name} is starting" if start else f"{name} waits for its start", good=True
        )
        return {"bot": name}, None, [None] * len(ids), news
