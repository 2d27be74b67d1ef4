"""From a backtest to a bot that does the same on live data."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from bots.config import parse_bot
from dashboard.market_request import bot_href, markets_words
from dashboard.panels import aria
from dashboard.readers import BotDesk
from data.errors import InvalidInput, Problem, TradingError
from jobs.research import ResearchReader, RunView

WHO = "web page"


def bot_modal() -> Component:
    """Name and capital are asked for; everything else is taken from the run."""
    modal: Component = dmc.Modal(
        [
            dcc.Store(id="bot-run"),
            html.P(id="bot-words", className="confirm"),
            html.Div(
                [
                    dmc.TextInput(id="bot-name", label="Name of the bot", value="", size="xs"),
                    dmc.TextInput(id="bot-capital", label="Capital", value="", size="xs"),
                ],
                className="run-row two",
            ),
            dmc.Switch(id="bot-start", label="Start it at once", size="xs", checked=False, mt=12),
            html.Div(id="bot-problem", className="down", role="alert"),
            html.Div(
                [
                    html.Button("Not now", id="bot-cancel", className="button", type="button"),
                    html.Button("Create the bot", id="bot-create", className="button primary", type="button"),
                ],
                className="confirm-buttons",
            ),
        ],
        id="bot-modal",
        title="Create a bot from this run",
        opened=False,
        centered=True,
        size=480,
        closeButtonProps=aria(label="Close"),
        transitionProps={"duration": 120},
    )
    return modal


def bot_document(run: RunView, name: str, capital: str) -> dict[str, Any]:
    """The bot file that trades as the run did. Raises InvalidInput unless the run was of one market."""
    source, manifest = run.manifest.get("source"), run.manifest
    if not isinstance(source, Mapping) or not source.get("venue"):
        expected = "a bot trades one market of a venue; this run was made over a file or over several symbols"
        raise InvalidInput(Problem(where="bot", field="symbol", value="", expected=expected))
    costs = manifest["costs"]
    return {
        "name": name,
        "venue": source["venue"],
        "symbol": source["symbol"],
        "strategy": source["strategy"],
        "timeframe": manifest["timeframe"],
        "parameters": manifest["parameters"],
        "mode": "paper",
        "capital": capital,
        "fee_bps": str(costs["fee_bps"]),
        "maker_fee_bps": str(costs["maker_fee_bps"]),
        "slippage_bps": str(costs["slippage_bps"]),
        "on_restart": "resume",
    }


def register_bot(app: Dash, research: ResearchReader, bots: BotDesk) -> None:
    """The callbacks of the dialogue."""

    @app.callback(
        Output("bot-modal", "opened"),
        Output("bot-run", "data"),
        Output("bot-name", "value"),
        Output("bot-capital", "value"),
        Output("bot-words", "children"),
        Output("bot-problem", "children"),
        Input({"type": "bot-open", "run": ALL}, "n_clicks"),
        Input("bot-cancel", "n_clicks"),
        prevent_initial_call=True,
    )
    async def open_modal(_clicks: list[int | None], _cancel: int | None) -> tuple[Any, ...]:
        which = ctx.triggered_id
        if not ctx.triggered[0]["value"]:
            return (no_update,) * 6
        if not isinstance(which, dict):
            return False, *(no_update,) * 5
        try:
            run = await asyncio.to_thread(research.run, int(which["run"]))
        except TradingError as error:
            return True, None, "", "", None, str(error)
        one = run.summary
        name = f"{one.strategy}-{one.id}".replace(" ", "-").lower()
        values = ", ".join(f"{key} {value:g}" for key, value in one.parameters.items()) or "none"
        where = f" on {markets_words(one.markets)}, {', '.join(one.timeframes)}, with parameters: {values}."
        words = [html.B(one.strategy), where, " It trades with virtual money and the costs of this run."]
        return True, one.id, name, f"{float(run.metrics['initial_equity']):.0f}", words, None

    @app.callback(
        Output("url", "href", allow_duplicate=True),
        Output("bot-problem", "children", allow_duplicate=True),
        Input("bot-create", "n_clicks"),
        State("bot-run", "data"),
        State("bot-name", "value"),
        State("bot-capital", "value"),
        State("bot-start", "checked"),
        running=[(Output("bot-create", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def create(
        clicks: int | None, run: int | None, name: str | None, capital: str | None, start: bool | None
    ) -> tuple[Any, Any]:
        if not clicks or run is None:
            return no_update, no_update

        def make() -> str:
            document = bot_document(research.run(run), (name or "").strip(), (capital or "").strip())
            config = parse_bot(document, where="bot")
            return bots.create(config, who=WHO, why=f"from backtest {run}", start=bool(start)).name

        try:
            return bot_href(await asyncio.to_thread(make)), None
        except TradingError as error:
            return no_update, str(error)
