"""`candlewick strategy explain`: a bot's stored decision on one candle, in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from app.commands.moments import Moment
from app.composition import open_store
from bots.gates import Gate
from bots.orders import OrderReason
from bots.service import BotService
from bots.views import DecisionView, OrderView
from config.settings import load_settings
from data.errors import InvalidInput, Problem
from data.timeframes import floor_to, to_datetime
from strategies.explain import explain

_SIGNALS = ("long_entry", "long_exit", "short_entry", "short_exit")
_FIRST_LOOK = 1_000  # newest decisions to look through for the nearest; more if that is not far enough


@click.command("explain")
@click.option("--bot", required=True, help="Name of the bot.")
@click.option(
    "--at",
    "at_us",
    required=True,
    type=Moment(),
    help="ISO 8601, any time inside the candle; UTC if it says none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def explain_decision(bot: str, at_us: int, as_json: bool) -> None:
    """Say why a bot did or did not trade on a candle, from the decision it stored then."""
    with open_store(load_settings()) as store:
        decision = find_decision(store.bots, bot, at_us)
        orders = store.bots.orders_of(decision)
    document = decision_document(decision, orders)
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        click.echo(decision_text(document))


def find_decision(bots: BotService, bot: str, at_us: int) -> DecisionView:
    """The decision on the candle that holds `at_us`. Raises InvalidInput naming the nearest there are."""
    timeframe = bots.bot(bot).timeframe
    if timeframe is not None:
        decision = bots.decision(bot, floor_to(at_us, timeframe))
        if decision is not None:
            return decision
    nearest = _nearest(bots, bot, at_us)
    expected = f"the nearest are {' and '.join(nearest)}" if nearest else "it has made none yet"
    raise InvalidInput(
        Problem(
            where="--at", field="", value=_iso(at_us), expected=f"bot {bot} has no decision there; {expected}"
        )
    )


def decision_document(decision: DecisionView, orders: Sequence[OrderView] = ()) -> dict[str, Any]:
    """A decision as JSON values, with a sentence for each rule and what came of it.

    `orders` are those it led to as they stand now: one may have been refused after the decision, at its fill.
    """
    said = [name for name in _SIGNALS if getattr(decision, name)]
    return {
        "bot": decision.bot,
        "strategy_version": decision.strategy_version,
        "opened_at": _iso(decision.opened_at_us),
        "close": decision.close,
        "said": said,
        "outcome": decision.outcome or "no signal, nothing to do",
        "gate": str(decision.gate),
        "orders": [
            {
                "sequence": order.sequence,
                "side": str(order.side),
                "position_side": str(order.position_side),
                "reason": str(order.reason),
                "status": str(order.status),
                "refusal": order.refusal,
            }
            for order in orders
        ],
        "rules": _sentences(decision.record),
        "record": decision.record,
    }


def decision_text(document: dict[str, Any]) -> str:
    """The same for a person, a line for each rule."""
    lines = [f"{document['bot']}, candle {document['opened_at']}, close {document['close']:,}"]
    lines += [f"  {rule}: {sentence}" for rule, sentence in document["rules"].items()]
    if not document["rules"]:
        values = document["record"].get("values", {})
        seen = " · ".join(f"{name} {value}" for name, value in values.items())
        lines.append(f"  decided in Python{f', having seen {seen}' if seen else ''}")
    said = ", ".join(name.replace("_", " ") for name in document["said"]) or "nothing"
    lines += [f"  said: {said}", f"  outcome: {document['outcome']}"]
    if document["gate"] != Gate.NONE:
        lines.append(f"  stopped by: {document['gate'].replace('_', ' ')}")
    for order in document["orders"]:
        because = f": {order['refusal']}" if order["refusal"] else ""
        kind = "entry" if order["reason"] == OrderReason.ENTRY else "exit"
        lines.append(
            f"  order {order['sequence']}: {order['side']}, {order['position_side']} {kind},"
            f" {order['status']}{because}"
        )
    return "\n".join(lines)


def _sentences(record: dict[str, Any]) -> dict[str, str]:
    return explain(record) if "rules" in record and "values" in record else {}


def _nearest(bots: BotService, bot: str, at_us: int) -> list[str]:
    """Opens of the last decision before and the first after."""
    limit = _FIRST_LOOK
    while True:
        found = bots.decisions(bot, limit)
        if len(found) < limit or found[-1].opened_at_us <= at_us:
            break
        limit *= 8
    opens = [one.opened_at_us for one in found]
    before = max((opened for opened in opens if opened <= at_us), default=None)
    after = min((opened for opened in opens if opened > at_us), default=None)
    return [_iso(opened) for opened in (before, after) if opened is not None]


def _iso(at_us: int) -> str:
    return to_datetime(at_us).isoformat().replace("+00:00", "Z")
