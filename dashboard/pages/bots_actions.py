"""Start, pause and stop, of one bot or of several at once; stopping what holds a position is confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from bots.orders import PositionSide
from bots.views import BotView
from dashboard.number_formats import price, quantity, signed
from dashboard.pages.bots_panels import allowed_actions, quote_of
from dashboard.pages.bots_sources import WHO, BotSources
from dashboard.panels import aria, data, toast
from data.errors import TradingError

CLOSE_SEVERAL = "close"  # typed instead of a name when several bots are stopped
_MOST_NAMED = 6
_DOING = {"start": "starting", "pause": "pausing", "stop": "stopping"}
_ASK = ("start", "pause", "stop")


def action_dialogs() -> list[Component]:
    """The question before bots that hold positions are stopped."""
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
    return [
        dcc.Store(id="pending-stop"),
        dmc.Modal(
            [
                html.Div(id="stop-words", className="confirm"),
                dmc.TextInput(
                    id="stop-name",
                    label="To close positions, type the word shown above",
                    value="",
                    debounce=False,
                    size="xs",
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
        ),
    ]


def register_actions(app: Dash, sources: BotSources) -> None:
    """The callbacks of every start, pause and stop button of the page."""
    outputs = (
        Output("notifications", "sendNotifications"),
        Output("nudge-bots", "data"),
        Output("stop-modal", "opened"),
        Output("stop-modal", "title"),
        Output("stop-words", "children"),
        Output("stop-name", "label"),
        Output("pending-stop", "data"),
        Output("stop-name", "value"),
    )

    async def obey(
        names: Sequence[str], action: str, nudge: int | None, *, flatten: bool = False
    ) -> tuple[Any, ...]:
        news = await asyncio.to_thread(ask_bots, sources, names, action, flatten=flatten)
        return news, (nudge or 0) + 1, False, *[no_update] * 3, None, ""

    async def ask(names: Sequence[str], action: str, nudge: int | None) -> tuple[Any, ...]:
        if action != "stop":
            return await obey(names, action, nudge)

        def read() -> tuple[list[BotView], list[Component]]:
            bots = [sources.bots.bot(name) for name in names]
            holding = [bot for bot in bots if bot.holds]
            return holding, stop_words(holding, {bot.name: sources.decimals(bot.market) for bot in holding})

        try:
            holding, words = await asyncio.to_thread(read)
        except TradingError as error:
            return toast("Not done", str(error), good=False), *[no_update] * 7
        if not holding:
            return await obey(names, action, nudge)
        word = names[0] if len(names) == 1 else CLOSE_SEVERAL
        title = f"Stop {names[0]}?" if len(names) == 1 else f"Stop {len(names)} bots?"
        label = f"To close {'the position' if len(holding) == 1 else 'the positions'}, type {word}"
        return no_update, no_update, True, title, words, label, {"bots": list(names), "word": word}, ""

    @app.callback(
        *outputs,
        Input("bots-ask", "data"),
        Input({"type": "bot-action", "action": ALL, "bot": ALL, "place": ALL}, "n_clicks"),
        Input({"type": "bots-bulk", "action": ALL}, "n_clicks"),
        Input("stop-cancel", "n_clicks"),
        Input("stop-keep", "n_clicks"),
        Input("stop-close", "n_clicks"),
        State("bots-selected", "data"),
        State("pending-stop", "data"),
        State("stop-name", "value"),
        State("nudge-bots", "data"),
        prevent_initial_call=True,
    )
    async def act(
        asked: dict[str, Any] | None,
        _clicks: list[int | None],
        _bulk: list[int | None],
        _cancel: int | None,
        _keep: int | None,
        _close: int | None,
        selected: list[str] | None,
        pending: dict[str, Any] | None,
        typed: str | None,
        nudge: int | None,
    ) -> tuple[Any, ...]:
        nothing = (no_update,) * len(outputs)
        trigger = ctx.triggered_id
        if trigger == "bots-ask":
            if not asked or asked.get("action") not in _ASK:
                return nothing
            return await ask([str(asked.get("bot"))], str(asked["action"]), nudge)
        if trigger == "stop-cancel":
            return no_update, no_update, False, *[no_update] * 3, None, ""
        if trigger in ("stop-keep", "stop-close") and pending:
            flatten = trigger == "stop-close"
            if flatten and typed != pending["word"]:
                return nothing
            return await obey([str(name) for name in pending["bots"]], "stop", nudge, flatten=flatten)
        # New buttons on the page trigger too, without a click.
        if isinstance(trigger, dict) and any(one["value"] for one in ctx.triggered):
            names = [str(trigger["bot"])] if "bot" in trigger else [str(name) for name in selected or []]
            if names and trigger["action"] in _ASK:
                return await ask(names, str(trigger["action"]), nudge)
        return nothing

    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("bots", "confirmStop"),
        Output("stop-close", "disabled"),
        Input("stop-name", "value"),
        Input("pending-stop", "data"),
    )


def ask_bots(
    sources: BotSources, names: Sequence[str], action: str, *, flatten: bool = False
) -> list[dict[str, Any]]:
    """Ask each bot; the toast that says what came of it. Of several, those that cannot are passed over."""
    service = sources.bots
    commands: dict[str, Callable[[str], BotView]] = {
        "start": lambda name: service.start(name, who=WHO),
        "pause": lambda name: service.pause(name, who=WHO),
        "stop": lambda name: service.stop(name, who=WHO, flatten=flatten),
    }
    done, refused = [], []
    for name in names:
        try:
            if len(names) > 1 and action not in allowed_actions(service.bot(name)):
                continue  # it is there already
            commands[action](name)
            done.append(name)
        except TradingError as error:
            refused.append(str(error))
    doing = "closing positions and stopping" if flatten and len(names) > 1 else _DOING[action]
    if refused:
        return toast(f"Not done for {len(refused)} of {len(names)}", " ".join(refused), good=False)
    if not done:
        return toast("Nothing to do", f"None of these bots can {action} now", good=True)
    if len(done) == 1:
        title = "Bot closes its position and stops" if flatten else f"Bot is {doing}"
        return toast(title, done[0], good=True)
    return toast(f"{len(done)} bots are {doing}", ", ".join(done), good=True)


def stop_words(holding: Sequence[BotView], decimals: dict[str, int]) -> list[Component]:
    """What stopping these bots means, each of which holds a position, with figures."""
    if len(holding) == 1:
        return [_one(holding[0], decimals[holding[0].name]), _kept(1)]
    total: dict[str, Decimal] = {}
    for bot in holding:
        total[quote_of(bot)] = total.get(quote_of(bot), Decimal(0)) + bot.unrealised_pnl
    money = ", ".join(f"{signed(value)} {quote}" for quote, value in sorted(total.items()))
    more = len(holding) - _MOST_NAMED
    return [
        html.P([html.B(f"{len(holding)} of them hold positions"), f", at {money} now:"]),
        html.Ul(
            [
                *(html.Li([html.B(bot.name), f" {_held(bot)}"]) for bot in holding[:_MOST_NAMED]),
                html.Li(f"and {more} more") if more > 0 else None,
            ]
        ),
        html.P("Closing ends each of them at its market's next open."),
        _kept(len(holding)),
    ]


def _held(bot: BotView) -> str:
    if bot.position is None:
        return ", ".join(f"{quantity(one.position.quantity)} {one.market.symbol}" for one in bot.holdings)
    symbol = bot.market.symbol if bot.market else ""
    return f"{symbol} {bot.position.side.value} ({quantity(bot.position.quantity)})"


def _one(bot: BotView, decimals: int) -> Component:
    if bot.position is None:
        words = "Closing sells all of it at the next candle's open."
        pnl = f", now at {signed(bot.unrealised_pnl)} {quote_of(bot)}. "
        return html.P(["It holds ", html.B(_held(bot)), pnl, words])
    long = bot.position.side is PositionSide.LONG
    return html.P(
        [
            "It holds ",
            html.B(_held(bot)),
            f", now at {signed(bot.position.unrealised_pnl)} {quote_of(bot)}. ",
            "Closing sells it at the next candle's open, about "
            if long
            else "Closing buys it back at the next candle's open, about ",
            html.B(price(bot.last_price, decimals)),
            ".",
        ]
    )


def _kept(positions: int) -> Component:
    one = positions == 1
    return html.P(
        [
            "Kept open, the position stays as it is, " if one else "Kept open, positions stay as they are, ",
            html.B("without stop and target"),
            ", until the bot is started again." if one else ", until their bots are started again.",
            " History and settings are kept either way.",
        ]
    )
