"""What a bot's strategy said on each candle, why, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from dash import html
from dash.development.base_component import Component

from bots.gates import Gate
from bots.views import DecisionView
from dashboard.decision_words import actions, said, why
from dashboard.figures.price_chart import buys
from dashboard.number_formats import arrow, day_and_time, full_time, plain, price, rewritten
from dashboard.panels import empty_state, tag

FILTERS = {"all": "All", "signals": "Signals", "held": "Kept back"}
_MOST_SHOWN = 60
# What stopped a signal, in the words of a person.
_GATES = {
    Gate.POSITION_OPEN: "a position is open already",
    Gate.NO_POSITION: "there is nothing to leave",
    Gate.CONTRADICTION: "long and short at once",
    Gate.STALE_DATA: "the market's trades do not come as they usually do",
    Gate.MISSING_DATA: "minutes before it are missing in the store",
    Gate.LIMIT: "a limit",
    Gate.BUDGET: "no money left for it",
    Gate.MIN_NOTIONAL: "too small for the venue",
    Gate.COOLDOWN: "entries rest after a drawdown",
    Gate.PAUSED: "the bot was paused",
    Gate.STOPPING: "the bot was stopping",
    Gate.OUTAGE: "made up for after an outage",
    Gate.EMERGENCY: "emergency stop",
}


def is_held_back(decision: DecisionView) -> bool:
    """Whether it said something that led to no order."""
    return decision.gate is not Gate.NONE


def decisions_list(decisions: Sequence[DecisionView], decimals: int, wanted: str = "all") -> Component:
    """Decisions, newest first; `wanted` is a key of FILTERS."""
    chosen = [one for one in decisions if wanted != "held" or is_held_back(one)][:_MOST_SHOWN]
    if not chosen:
        words = {
            "signals": "The strategy has not said anything yet.",
            "held": "Nothing was kept back: every signal of late led to an order.",
        }
        first = "No candle was decided on yet. A running bot decides each time a candle closes."
        return empty_state(
            "list-details", words.get(wanted, first) if decisions or wanted != "all" else first
        )
    return html.Div(
        [_decision(one, decimals) for one in chosen], className="panel-body", style={"height": "100%"}
    )


def _decision(decision: DecisionView, decimals: int) -> Component:
    words, names = said(decision), actions(decision)
    way = "flat" if not names else "up" if buys(names[0]) else "down"
    head = (
        tag(f"{arrow(way)} {', '.join(words)}", way) if words else html.Span("No signal", className="muted")
    )
    held = (
        tag(f"Kept back: {_GATES.get(decision.gate, decision.gate.value)}", "warn", "hand-stop")
        if is_held_back(decision)
        else None
    )
    orders = ", ".join(f"order {number}" for number in decision.orders)
    return html.Div(
        [
            html.Time(
                day_and_time(decision.opened_at_us), title=full_time(decision.opened_at_us), className="num"
            ),
            html.Div(
                [
                    head,
                    held,
                    None
                    if "parts" in decision.record
                    else html.Span(f"close {price(decision.close, decimals)}", className="num muted"),
                    html.Span(rewritten(decision.outcome)) if decision.outcome else None,
                    html.Span(orders, className="muted") if orders else None,
                ],
                className="decision-head",
            ),
            *[html.P(sentence) for sentence in why(decision.record)],
            *[
                html.P(
                    [
                        html.B(one.limit.replace("_", " ")),
                        f": {rewritten(one.detail)} ({plain(one.used, 2)} of {plain(one.allowed, 2)})",
                    ],
                    className="warn-text",
                )
                for one in decision.violations
            ],
        ],
        className="event",
    )
