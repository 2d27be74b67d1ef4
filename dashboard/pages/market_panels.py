"""What the panels of the Market page show, as functions of what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from bots.orders import PositionSide
from bots.views import AuditView, BotView, FillView, SignalView
from dashboard.decision_words import why
from dashboard.figures.price_chart import buys
from dashboard.market_request import bot_href, market_href, venue_name
from dashboard.number_formats import (
    arrow,
    clock,
    day_and_time,
    duration,
    full_time,
    money,
    price,
    quantity,
)
from dashboard.panels import (
    Column,
    amount,
    change,
    empty_state,
    icon,
    link_button,
    side_tag,
    table,
    tag,
)
from data.messages import CollectorHealth
from data.models import Market
from data.timeframes import Timeframe

_ACTIONS = {
    "long_entry": "Long",
    "long_exit": "Exit long",
    "short_entry": "Short",
    "short_exit": "Exit short",
}


def bots_pill(bots: Sequence[BotView], market: Market) -> Component:
    """How many bots trade this market."""
    here = [bot for bot in bots if market in bot.markets]
    words = [html.B(str(len(here))), "bot on this market" if len(here) == 1 else "bots on this market"]
    return dcc.Link([icon("robot"), *words], href="/bots", className="pill")


def signals_list(signals: Sequence[SignalView]) -> Component:
    """The newest signals with the sentence that says why, newest first."""
    if not signals:
        return empty_state(
            "bolt",
            "No strategy has said anything on this market yet. Signals of running bots appear here.",
            link_button("See bots", "/bots", "robot"),
        )
    return html.Div([_signal(signal) for signal in signals])


def _signal(signal: SignalView) -> Component:
    way = "up" if buys(signal.action) else "down"
    return html.Div(
        [
            tag(f"{arrow(way)} {_ACTIONS.get(signal.action, signal.action)}", way),
            html.B(f"{signal.strategy} · {signal.timeframe}"),
            html.Time(clock(signal.opened_at_us), title=full_time(signal.opened_at_us), className="num"),
            html.P(" ".join(why(signal.record, signal.action))),
        ],
        className="signal",
    )


def positions_table(bots: Sequence[BotView], decimals: Mapping[Market, int], now_us: int) -> Component:
    """Open positions of all bots, marked at each bot's last close."""
    rows: list[list[Any]] = []
    for bot in bots:
        for held in bot.holdings:
            position, market = held.position, held.market
            digits = decimals.get(market, 2)
            long = position.side is PositionSide.LONG
            cost = position.entry_price * position.quantity
            stops = [level for level in (position.stop_price, position.trailing_price) if level is not None]
            # The nearer of two stops is the one that acts.
            stop = (max if long else min)(stops) if stops else None
            rows.append(
                [
                    dcc.Link(html.Strong(bot.name), href=bot_href(bot.name)),
                    dcc.Link(market.symbol, href=market_href(market, bot.timeframe or Timeframe.M1)),
                    tag(f"{'▲ Long' if long else '▼ Short'}", "up" if long else "down"),
                    quantity(position.quantity),
                    price(position.entry_price, digits),
                    price(held.price, digits),
                    price(stop, digits),
                    amount(position.unrealised_pnl),
                    change(float(position.unrealised_pnl / cost) if cost else None),
                    duration(now_us - position.entry_at_us),
                ]
            )
    if not rows:
        return empty_state(
            "wallet",
            "No open position. A running bot opens one when its strategy says so.",
            link_button("See bots", "/bots", "robot"),
        )
    columns = (
        Column("Bot"),
        Column("Symbol"),
        Column("Side"),
        Column("Size", numeric=True),
        Column("Entry", numeric=True),
        Column("Mark", numeric=True),
        Column("Stop", numeric=True),
        Column("P&L, quote", numeric=True),
        Column("P&L", numeric=True),
        Column("Held", numeric=True),
    )
    return table(columns, rows, label="Open positions")


def fills_table(
    fills: Sequence[FillView],
    decimals: int,
    *,
    with_bot: bool,
    symbols: Mapping[Market, int] | None = None,
) -> Component:
    """Executions, newest first; with `symbols`, the decimals of each market, they name theirs."""
    if not fills:
        return empty_state("receipt", "No fill yet. The first order a bot fills appears here.")
    rows: list[list[Any]] = [
        [
            *([dcc.Link(html.Strong(fill.bot), href=bot_href(fill.bot))] if with_bot else []),
            html.Span(day_and_time(fill.filled_at_us), title=full_time(fill.filled_at_us)),
            *([fill.market.symbol] if symbols is not None else []),
            side_tag(fill.side),
            fill.reason.value.replace("_", " "),
            quantity(fill.quantity),
            price(fill.price, decimals if symbols is None else symbols.get(fill.market, decimals)),
            money(fill.price * fill.quantity),
            money(fill.fee),
        ]
        for fill in fills
    ]
    columns = (
        *([Column("Bot")] if with_bot else []),
        Column("Time, UTC"),
        *([Column("Symbol", narrow=True)] if symbols is not None else []),
        Column("Side"),
        Column("Why"),
        Column("Size", numeric=True),
        Column("Price", numeric=True),
        Column("Notional", numeric=True),
        Column("Fee", numeric=True),
    )
    return table(columns, rows, label="Fills")


def events_list(events: Sequence[AuditView], *, with_bot: bool) -> Component:
    """The audit: who did what, when and why, newest first."""
    if not events:
        return empty_state("history", "Nothing happened yet. Every change of a bot is recorded here.")
    return html.Div(
        [
            html.Div(
                [
                    html.Time(day_and_time(event.at_us), title=full_time(event.at_us), className="num"),
                    html.P(
                        [
                            dcc.Link(html.Strong(f"{event.bot} "), href=bot_href(event.bot))
                            if with_bot
                            else None,
                            event.what,
                            html.Span(f" · {event.who}", className="muted"),
                        ]
                    ),
                    html.P(event.why) if event.why else None,
                ],
                className="event",
            )
            for event in events
        ],
        className="panel-body",
        style={"height": "100%"},
    )


def venue_banner(health: CollectorHealth | None, exchange: str) -> Component | None:
    """What is wrong with a venue in plain words, or None while all is well."""
    if health is None or health.state in ("live", "connecting") or not health.detail:
        return None
    return html.Div(
        [
            icon("plug-connected-x"),
            html.Div([html.Strong(f"{venue_name(exchange)}: "), health.detail]),
        ],
        className="banner bad" if health.state == "unreachable" else "banner",
        role="alert",
    )
