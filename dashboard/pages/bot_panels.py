"""What the panels of the Bots page show, as functions of what was read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from bots.lifecycle import BotCommand, BotState, allows
from bots.orders import PositionSide
from bots.views import BotView, DecisionView, TradeView
from dashboard.decision_words import actions, said, why
from dashboard.figures.price_chart import buys
from dashboard.market_request import bot_href, market_href, venue_name
from dashboard.number_formats import (
    MISSING,
    arrow,
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
    signed,
)
from dashboard.panels import (
    STATE_ICONS,
    Column,
    amount,
    aria,
    change,
    empty_state,
    icon,
    side_tag,
    state_kind,
    state_tag,
    state_text,
    table,
    tag,
)
from data.models import Side
from data.timeframes import Timeframe

FILTERS = ("all", "running", "paused", "stopped", "failed")
_STOPPED = frozenset({BotState.STOPPED, BotState.STOPPING, BotState.CREATED})


def matches(bot: BotView, wanted: str) -> bool:
    """Whether a bot belongs to a filter of the title row."""
    if wanted == "stopped":
        return bot.state in _STOPPED
    return wanted == "all" or bot.state.value == wanted


def filter_data(bots: Sequence[BotView]) -> list[dict[str, str]]:
    """The filters with how many bots each shows."""
    return [
        {
            "value": name,
            "label": f"{name.capitalize()}  {sum(matches(bot, name) for bot in bots)}",
        }
        for name in FILTERS
    ]


def quote_of(bot: BotView) -> str:
    """The currency a bot's money is in."""
    if bot.market is None:
        return ""
    return bot.market.symbol.removesuffix("-PERP").rpartition("-")[2]


def kpi_cards(bots: Sequence[BotView]) -> list[Component]:
    """The desk in six figures. Money of different quote currencies is never added up."""
    equity: dict[str, Decimal] = defaultdict(Decimal)
    capital: dict[str, Decimal] = defaultdict(Decimal)
    open_pnl: dict[str, Decimal] = defaultdict(Decimal)
    fees: dict[str, Decimal] = defaultdict(Decimal)
    for bot in bots:
        if bot.market is None:
            continue
        quote = quote_of(bot)
        equity[quote] += bot.equity
        capital[quote] += bot.capital
        open_pnl[quote] += bot.unrealised_pnl
        fees[quote] += bot.fees_paid
    quote = max(capital, key=lambda one: capital[one], default="")
    others = f" · and {len(capital) - 1} more currencies" if len(capital) > 1 else ""
    gain = equity[quote] - capital[quote]
    rate = float(gain / capital[quote]) if capital[quote] else None
    positions = [bot for bot in bots if bot.position is not None]
    trades, wins = sum(bot.trades for bot in bots), sum(bot.wins for bot in bots)
    running = sum(bot.state is BotState.RUNNING for bot in bots)
    troubled = sum(bool(bot.health) for bot in bots)
    held = sum((bot.equity - bot.cash for bot in positions if quote_of(bot) == quote), Decimal(0))
    exposure = float(abs(held) / equity[quote]) if equity[quote] else None

    def card(title: str, figure: Any, note: Any) -> Component:
        return html.Div(
            [html.Span(title), html.Strong(figure, className="num"), html.Small(note)], className="panel kpi"
        )

    unit = f"{quote}{others}" if quote else "no bot yet"
    return [
        card("Total equity", money(equity[quote]) if capital else MISSING, unit),
        card(
            "P&L since start",
            amount(gain) if capital else MISSING,
            [change(rate), "of capital"] if capital else "no bot yet",
        ),
        card(
            "Open positions",
            str(len(positions)),
            ["Unrealised", amount(open_pnl[quote])] if positions else f"Exposure {share(exposure)}",
        ),
        card("Win rate", share(wins / trades if trades else None), f"{trades:,} closed trades"),
        card("Fees paid", money(fees[quote]) if capital else MISSING, unit),
        card(
            "Bots running",
            [str(running), html.Span(f" / {len(bots)}", className="of")],
            [
                html.I(className="dot bad"),
                f"{troubled} need attention" if troubled != 1 else "1 needs attention",
            ]
            if troubled
            else "All well",
        ),
    ]


def allowed_actions(bot: BotView) -> list[str]:
    """What a person may ask of the bot now; starting and pausing never at once."""
    commands = (BotCommand.START, BotCommand.PAUSE, BotCommand.STOP)
    allowed = [command.value for command in commands if allows(command, bot.state, bot.desired_state)]
    # Stopping a stopped bot only matters while it holds a position, which it can then close.
    idle = bot.state in (BotState.STOPPED, BotState.FAILED) and bot.position is None
    return [name for name in allowed if not (name == "stop" and idle)]


def position_text(bot: BotView) -> tuple[str, str, str]:
    """First line, second line and direction of a bot's position."""
    position = bot.position
    if position is None:
        return ("Flat", "", "flat")
    long = position.side is PositionSide.LONG
    pnl = position.unrealised_pnl
    return (
        f"{'▲ Long' if long else '▼ Short'} {quantity(position.quantity)}",
        signed(pnl),
        "up" if long else "down",
    )


def grid_row(bot: BotView, spark: str | None) -> dict[str, Any]:
    """A row of the table of bots: raw values to sort by, texts to show."""
    rate = bot.return_rate
    way = direction(None if rate is None else rate * 100)
    strategy = f"{bot.strategy} · {bot.timeframe}" if bot.timeframe else bot.strategy
    signal = bot.last_signal.replace("_", " ") or MISSING
    return {
        "id": bot.name,
        "bot": [bot.name, strategy],
        "market": [bot.market.symbol, venue_name(bot.market.exchange)] if bot.market else [MISSING, ""],
        "state": bot.state.value,
        "state_text": state_text(bot.state, bot.desired_state),
        "state_kind": state_kind(bot.state),
        "state_icon": STATE_ICONS[bot.state],
        "spark": spark,
        "equity": float(bot.equity),
        "equity_lines": [money(bot.equity), quote_of(bot)],
        "return": rate,
        "return_lines": [f"{arrow(way)} {percent(rate)}".strip(), signed(bot.equity - bot.capital), way],
        "position": float(bot.unrealised_pnl),
        "position_lines": list(position_text(bot)),
        "trades": bot.trades,
        "trades_lines": [f"{bot.trades:,}", share(bot.win_rate) + " won" if bot.trades else ""],
        "signal": bot.last_signal_us or 0,
        "signal_lines": [signal, clock(bot.last_signal_us) if bot.last_signal_us else ""],
        "health": bot.health,
        "actions": allowed_actions(bot),
    }


def action_buttons(bot: BotView, place: str) -> Component:
    """Start, pause and stop, as far as they are possible now."""
    looks = {
        "start": ("Start", "player-play", "primary"),
        "pause": ("Pause", "player-pause", ""),
        "stop": ("Stop", "player-stop", ""),
    }
    return html.Div(
        [
            html.Button(
                [icon(looks[action][1]), looks[action][0]],
                id={"type": "bot-action", "action": action, "bot": bot.name, "place": place},
                className=f"button {looks[action][2]}".strip(),
                type="button",
                **aria(label=f"{looks[action][0]} {bot.name}"),
            )
            for action in allowed_actions(bot)
        ],
        className="row-actions",
        style={"gap": "8px"},
    )


def bot_cards(bots: Sequence[BotView]) -> list[Component]:
    """The table of bots for narrow screens."""
    return [_bot_card(bot) for bot in bots]


def _bot_card(bot: BotView) -> Component:
    where = f"{bot.strategy} · {bot.timeframe or MISSING} · {bot.market.symbol if bot.market else MISSING}"
    text, pnl, way = position_text(bot)
    return html.Div(
        [
            html.Div(
                [
                    dcc.Link(html.Strong(bot.name), href=bot_href(bot.name)),
                    state_tag(bot.state, bot.desired_state),
                ],
                className="row",
            ),
            html.Div(where, className="muted"),
            html.Div(
                [
                    html.Span(money(bot.equity), className="num equity"),
                    change(bot.return_rate),
                    html.Span(className="spacer"),
                    html.Span([text, " ", pnl], className=f"num {way}"),
                ],
                className="row",
            ),
            html.Div(bot.health, className="health-note wrap") if bot.health else None,
            action_buttons(bot, "card"),
        ],
        className="panel bot-card",
    )


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
        fact("Win rate", f"{share(bot.win_rate)} of {bot.trades:,}" if bot.trades else MISSING),
        fact("Last candle", clock(bot.last_candle_us), full_time(bot.last_candle_us)),
        fact("Last price", price(bot.last_price, decimals)),
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
        else [fact("Position", "Flat")]
    )
    trouble = html.Div([icon("alert-triangle"), bot.health], className="banner") if bot.health else None
    return html.Div(
        [
            html.Div(trouble, style={"padding": "12px 12px 0"}) if trouble else None,
            html.Div([*held, *account], className="facts"),
        ],
        className="panel-body",
        style={"height": "100%"},
    )


def trades_table(trades: Sequence[TradeView], decimals: int) -> Component:
    """Closed round trips, newest first."""
    if not trades:
        return empty_state("scale", "No closed trade yet.")
    rows: list[list[Any]] = [
        [
            html.Span(day_and_time(trade.exit_at_us), title=full_time(trade.exit_at_us)),
            side_tag(
                Side.BUY if trade.side is PositionSide.LONG else Side.SELL, trade.side.value.capitalize()
            ),
            quantity(trade.quantity),
            price(trade.entry_price, decimals),
            price(trade.exit_price, decimals),
            amount(trade.pnl),
            change(float(trade.return_rate)),
            trade.exit_reason.value.replace("_", " "),
        ]
        for trade in trades
    ]
    columns = (
        Column("Closed, UTC"),
        Column("Side"),
        Column("Size", numeric=True),
        Column("Entry", numeric=True),
        Column("Exit", numeric=True),
        Column("P&L", numeric=True),
        Column("Return", numeric=True),
        Column("Exit by"),
    )
    return table(columns, rows, label="Closed trades")


def decisions_list(decisions: Sequence[DecisionView], decimals: int) -> Component:
    """What the strategy said on each candle and why, newest first."""
    if not decisions:
        return empty_state(
            "list-details", "No candle was decided on yet. A running bot decides each time a candle closes."
        )
    return html.Div(
        [_decision(decision, decimals) for decision in decisions],
        className="panel-body",
        style={"height": "100%"},
    )


def _decision(decision: DecisionView, decimals: int) -> Component:
    words, names = said(decision), actions(decision)
    way = "flat" if not names else "up" if buys(names[0]) else "down"
    head = (
        tag(f"{arrow(way)} {', '.join(words)}", way) if words else html.Span("No signal", className="muted")
    )
    return html.Div(
        [
            html.Time(
                day_and_time(decision.opened_at_us), title=full_time(decision.opened_at_us), className="num"
            ),
            html.P(
                [
                    head,
                    html.Span(f"  close {price(decision.close, decimals)}", className="num muted"),
                    f" · {decision.outcome}" if decision.outcome else None,
                ]
            ),
            *[html.P(sentence) for sentence in why(decision.record)],
        ],
        className="event",
    )


def detail_head(bot: BotView) -> list[Component]:
    """Name, state and market of the selected bot."""
    market = (
        dcc.Link(
            [bot.market.symbol, html.Span(f" · {venue_name(bot.market.exchange)} · {bot.timeframe}")],
            href=market_href(bot.market, bot.timeframe or Timeframe.M1),
            className="muted",
        )
        if bot.market
        else html.Span(bot.strategy, className="muted")
    )
    return [html.Span(bot.name), state_tag(bot.state, bot.desired_state), market]


def stop_words(bot: BotView, decimals: int) -> list[Component]:
    """What stopping a bot with an open position means, with figures."""
    position, market = bot.position, bot.market
    assert position is not None  # only asked for a bot that holds one
    assert market is not None
    held = f"{market.symbol} {position.side.value} ({quantity(position.quantity)})"
    near = price(bot.last_price, decimals)
    return [
        html.P(
            [
                "It holds ",
                html.B(held),
                f", now at {signed(position.unrealised_pnl)} {quote_of(bot)}. ",
                "Closing sells it at the next candle's open, about "
                if position.side is PositionSide.LONG
                else "Closing buys it back at the next candle's open, about ",
                html.B(near),
                ".",
            ]
        ),
        html.P(
            [
                "Kept open, the position stays as it is, ",
                html.B("without stop and target"),
                ", until the bot is started again. History and settings are kept either way.",
            ]
        ),
    ]


def no_bots() -> Component:
    """The place of the table while there are no bots."""
    return empty_state(
        "robot",
        "There are no bots yet. Put a bot file into config/bots, or create one with: "
        "candlewick bots create FILE",
    )
