"""What the panels of a bot's page show, as functions of what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from bots.orders import OrderStatus, PositionSide
from bots.risk.views import DrawdownView
from bots.views import BotView, OrderView, TradeView
from dashboard.market_request import market_href, venue_name
from dashboard.number_formats import (
    MISSING,
    clock,
    day_and_time,
    direction,
    duration,
    full_time,
    money,
    percent,
    price,
    quantity,
    share,
    whole,
    zone_name,
)
from dashboard.pages.bots_clone import can_delete
from dashboard.pages.bots_panels import action_buttons, position_text, quote_of
from dashboard.panels import Column, amount, aria, change, empty_state, icon, side_tag, state_tag, table, tag
from data.models import Market, Side
from data.timeframes import Timeframe

_ORDER_KINDS = {
    OrderStatus.PENDING: "accent",
    OrderStatus.FILLED: "up",
    OrderStatus.REFUSED: "warn",
    OrderStatus.CANCELLED: "flat",
}


def bot_head(bot: BotView) -> list[Component]:
    """Name, state, market and strategy."""
    market = (
        dcc.Link(
            [
                ", ".join(bot.symbols) or bot.market.symbol,
                html.Span(f" · {venue_name(bot.market.exchange)} · {bot.timeframe or MISSING}"),
            ],
            href=market_href(bot.market, bot.timeframe or Timeframe.M1),
            className="muted",
        )
        if bot.market
        else None
    )
    found = [html.H1(bot.name), state_tag(bot.state, bot.desired_state), market]
    strategy = html.Span(
        bot.strategy, className="muted", title=f"Version {bot.strategy_version or 'not loaded'}"
    )
    return [*(one for one in found if one is not None), strategy]


def page_actions(bot: BotView) -> list[Component]:
    """What can be done with the bot now."""
    return [
        action_buttons(bot, "page"),
        html.Button(
            [icon("copy"), html.Span("Clone", className="wide-word")],
            id={"type": "bot-clone", "bot": bot.name},
            className="button",
            type="button",
            **aria(label=f"Clone {bot.name}"),
        ),
        html.Button(
            [icon("trash")],
            id={"type": "bot-delete", "bot": bot.name},
            className="button",
            type="button",
            disabled=not can_delete(bot),
            title="Delete the bot" if can_delete(bot) else "Only a bot that stands still can be deleted",
            **aria(label=f"Delete {bot.name}"),
        ),
    ]


def bot_kpis(bot: BotView, fall: DrawdownView | None) -> list[Component]:
    """The bot in six figures."""

    def card(title: str, figure: Any, note: Any) -> Component:
        return html.Div(
            [html.Span(title), html.Strong(figure, className="num"), html.Small(note)], className="panel kpi"
        )

    held, pnl, way = position_text(bot)
    quote = quote_of(bot)
    lost = None if fall is None else -fall.drawdown
    return [
        card("Equity", money(bot.equity), f"{quote}, began with {money(bot.capital)}"),
        card("P&L since start", amount(bot.equity - bot.capital), [change(bot.return_rate), "of capital"]),
        card(
            "Position", html.Span(held, className=way), [pnl, " unrealised"] if pnl else "waits for a signal"
        ),
        card(
            "Drawdown now",
            html.Span(percent(lost), className=direction((lost or 0.0) * 100)),
            f"below {money(fall.peak)}" if fall is not None else "not known",
        ),
        card("Win rate", share(bot.win_rate), f"{whole(bot.trades)} closed trades"),
        card("Fees paid", money(bot.fees_paid), f"last candle {clock(bot.last_candle_us)} {zone_name()}"),
    ]


def facts(bot: BotView, decimals: int, now_us: int) -> Component:
    """The position and the account of one bot, in words and figures."""
    position = bot.position

    def fact(name: str, value: Any, title: str = "") -> Component:
        return html.Div([html.Span(name), html.Span(value, className="num", title=title)], className="fact")

    account = [
        fact("Equity", money(bot.equity)),
        fact("Cash", money(bot.cash)),
        fact("Realised P&L", amount(bot.realised_pnl)),
        fact("Unrealised P&L", amount(bot.unrealised_pnl)),
        fact("Fees paid", money(bot.fees_paid)),
        fact("Win rate", f"{share(bot.win_rate)} of {whole(bot.trades)}" if bot.trades else MISSING),
        fact("Last candle", clock(bot.last_candle_us), full_time(bot.last_candle_us)),
        *([] if bot.symbols else [fact("Last price", price(bot.last_price, decimals))]),
        fact("Running since", day_and_time(bot.started_at_us), full_time(bot.started_at_us)),
        fact(
            "Version", html.Span(bot.strategy_version[:10] or MISSING, className="mono"), bot.strategy_version
        ),
    ]
    held = (
        [
            fact("Position", tag(position_text(bot)[0], position_text(bot)[2])),
            fact("Entry", price(position.entry_price, decimals), full_time(position.entry_at_us)),
            fact("Held", duration(now_us - position.entry_at_us)),
            fact("Stop", price(position.stop_price, decimals)),
            fact("Trailing stop", price(position.trailing_price, decimals)),
            fact("Target", price(position.target_price, decimals)),
        ]
        if position is not None
        else [fact("Position", tag(position_text(bot)[0], position_text(bot)[2]) if bot.holds else "Flat")]
    )
    return html.Div(html.Div([*held, *account], className="facts"), className="panel-body")


def trades_table(
    trades: Sequence[TradeView], decimals: int, *, symbols: Mapping[Market, int] | None = None
) -> Component:
    """Closed round trips, newest first; with `symbols`, the decimals of each market, they name theirs."""
    if not trades:
        return empty_state("scale", "No closed trade yet.")
    rows: list[list[Any]] = [
        [
            html.Span(day_and_time(trade.exit_at_us), title=full_time(trade.exit_at_us)),
            *([trade.market.symbol] if symbols is not None else []),
            side_tag(
                Side.BUY if trade.side is PositionSide.LONG else Side.SELL, trade.side.value.capitalize()
            ),
            quantity(trade.quantity),
            price(trade.entry_price, decimals if symbols is None else symbols.get(trade.market, decimals)),
            price(trade.exit_price, decimals if symbols is None else symbols.get(trade.market, decimals)),
            amount(trade.pnl),
            change(float(trade.return_rate)),
            trade.exit_reason.value.replace("_", " "),
        ]
        for trade in trades
    ]
    columns = (
        Column("Closed, UTC"),
        *([Column("Symbol", narrow=True)] if symbols is not None else []),
        Column("Side"),
        Column("Size", numeric=True),
        Column("Entry", numeric=True),
        Column("Exit", numeric=True),
        Column("P&L", numeric=True),
        Column("Return", numeric=True),
        Column("Exit by"),
    )
    return table(columns, rows, label="Closed trades")


def orders_table(orders: Sequence[OrderView], *, with_symbol: bool = False) -> Component:
    """Orders, newest first, with why one was refused or called off."""
    if not orders:
        return empty_state("receipt", "No order yet. A signal that passes every gate makes one.")
    rows: list[list[Any]] = [
        [
            f"{order.sequence}",
            html.Span(day_and_time(order.decided_at_us), title=full_time(order.decided_at_us)),
            *([order.market.symbol] if with_symbol else []),
            side_tag(order.side),
            order.position_side.value.capitalize(),
            order.reason.value.replace("_", " "),
            quantity(order.quantity),
            tag(order.status.value.capitalize(), _ORDER_KINDS[order.status]),
            html.Span(order.refusal, className="wrap") if order.refusal else MISSING,
        ]
        for order in orders
    ]
    columns = (
        Column("Number", numeric=True),
        Column("Decided, UTC"),
        *([Column("Symbol", narrow=True)] if with_symbol else []),
        Column("Side"),
        Column("Position", narrow=True),
        Column("Why"),
        Column("Size", numeric=True),
        Column("Status"),
        Column("What came of it"),
    )
    return table(columns, rows, label="Orders")
