"""The Bots page's figures over all bots, the rows of its table, and the cards that stand for it on phones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from bots.lifecycle import BotCommand, BotState, allows
from bots.orders import PositionSide
from bots.views import BotView, FillView
from dashboard.market_request import bot_href, venue_name
from dashboard.number_formats import (
    MISSING,
    arrow,
    clock,
    day_and_time,
    direction,
    full_time,
    money,
    percent,
    price,
    quantity,
    share,
    signed,
    whole,
)
from dashboard.pages.bot_basket import position_words
from dashboard.panels import (
    STATE_ICONS,
    Column,
    amount,
    aria,
    change,
    empty_state,
    icon,
    link_button,
    side_tag,
    state_kind,
    state_tag,
    state_text,
    table,
)
from data.models import Market

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


def new_bot_href(kind: str = "strategy") -> str:
    """The address of the form for a new bot."""
    return f"/bots?new={kind}"


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
    positions = [held for bot in bots for held in bot.holdings]
    trades, wins = sum(bot.trades for bot in bots), sum(bot.wins for bot in bots)
    running = sum(bot.state is BotState.RUNNING for bot in bots)
    troubled = sum(bool(bot.health) for bot in bots)
    held = sum((bot.equity - bot.cash for bot in bots if quote_of(bot) == quote), Decimal(0))
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
        card("Win rate", share(wins / trades if trades else None), f"{whole(trades)} closed trades"),
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
    idle = bot.state in (BotState.STOPPED, BotState.FAILED) and not bot.holds
    return [name for name in allowed if not (name == "stop" and idle)]


def position_text(bot: BotView) -> tuple[str, str, str]:
    """First line, second line and direction of a bot's position."""
    position = bot.position
    if bot.positions:
        return (position_words(bot), signed(bot.unrealised_pnl), "up")
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
    if bot.symbols and bot.last_signal:
        signal = "rebalance"
    return {
        "id": bot.name,
        "bot": [bot.name, strategy],
        "market": [_symbols(bot), venue_name(bot.market.exchange)] if bot.market else [MISSING, ""],
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
        "trades_lines": [whole(bot.trades), share(bot.win_rate) + " won" if bot.trades else ""],
        "signal": bot.last_signal_us or 0,
        "signal_lines": [signal, clock(bot.last_signal_us) if bot.last_signal_us else ""],
        "health": bot.health,
        # One text: the grid leaves a cell alone whose value is the same, and a button under a finger stays.
        "actions": " ".join(allowed_actions(bot)),
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


def bot_cards(bots: Sequence[BotView], picked: Collection[str] = ()) -> list[Component]:
    """The table of bots for narrow screens; `picked` are selected."""
    return [_bot_card(bot, picked=bot.name in picked) for bot in bots]


def _bot_card(bot: BotView, *, picked: bool) -> Component:
    where = f"{bot.strategy} · {bot.timeframe or MISSING} · {_symbols(bot) if bot.market else MISSING}"
    text, pnl, way = position_text(bot)
    return html.Div(
        [
            html.Div(
                [
                    dmc.Checkbox(
                        id={"type": "bot-pick", "bot": bot.name},
                        checked=picked,
                        size="sm",
                        **aria(label=f"Select {bot.name}"),
                    ),
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


def _symbols(bot: BotView) -> str:
    """Its symbol; of several what the first is in and how many more."""
    assert bot.market is not None
    base = bot.market.symbol.partition("-")[0]
    return f"{base} + {len(bot.symbols) - 1}" if len(bot.symbols) > 1 else bot.market.symbol


def no_bots() -> Component:
    """The place of the table while there are no bots."""
    return empty_state(
        "robot",
        "There are no bots yet. Make one here, put a bot file into config/bots, or use: "
        "candlewick bots create FILE",
        link_button("New bot", new_bot_href(), "plus"),
    )


def latest_fills(fills: Sequence[FillView], decimals: Mapping[Market, int]) -> Component:
    """Executions of all bots, newest first; `decimals` are those of each market's prices."""
    if not fills:
        return empty_state("receipt", "No fill yet. The first order a bot fills appears here.")
    rows: list[list[Any]] = [
        [
            dcc.Link(html.Strong(fill.bot), href=bot_href(fill.bot)),
            html.Span(day_and_time(fill.filled_at_us), title=full_time(fill.filled_at_us)),
            fill.market.symbol,
            side_tag(fill.side),
            quantity(fill.quantity),
            price(fill.price, decimals.get(fill.market, 2)),
            fill.reason.value.replace("_", " "),
        ]
        for fill in fills
    ]
    columns = (
        Column("Bot"),
        Column("Time, UTC"),
        Column("Symbol", narrow=True),
        Column("Side"),
        Column("Size", numeric=True, narrow=True),
        Column("Price", numeric=True),
        Column("Why", narrow=True),
    )
    return table(columns, rows, label="Latest fills")
