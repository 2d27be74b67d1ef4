"""Where alerts come from: queries over what other parts store, each read on from where it was left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from alerts.model import Alert, AlertKind
from data.timeframes import to_us

_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSource:
    """Rows of one table that may be worth an alert.

    `query` takes a position and gives rows with a larger one; `newest` gives the largest there is.
    Transactions may commit out of order, so the last `overlap` positions are read again each time: an alert's
    key makes that harmless.
    """

    name: str
    newest: str
    query: str
    overlap: int
    alert: Callable[[Any], Alert]


def _bot_failed(row: Any) -> Alert:
    return Alert(
        key=f"bot_event:{row['position']}",
        kind=AlertKind.BOT_FAILED,
        at_us=to_us(row["at"]),
        title=f"Bot {row['bot']} {row['what']}",
        body=row["why"] or "It did not say why.",
        bot=row["bot"],
    )


def _order_filled(row: Any) -> Alert:
    verb = "bought" if row["side"] == "buy" else "sold"
    quantity, price, fee = (_plain(row[name]) for name in ("quantity", "price", "fee"))
    return Alert(
        key=f"fill:{row['bot_id']}:{row['order_sequence']}",
        kind=AlertKind.ORDER_FILLED,
        at_us=to_us(row["filled_at"]),
        title=f"{row['bot']} {verb} {quantity} {row['symbol'] or ''} at {price}".replace("  ", " "),
        body=f"{row['reason'].replace('_', ' ')}, fee {fee}, {row['filled_at']:%Y-%m-%d %H:%M:%S} UTC, paper",
        bot=row["bot"],
        market=f"{row['exchange']}:{row['symbol']}" if row["symbol"] else "",
    )


def _hole_found(row: Any) -> Alert:
    market = f"{row['exchange']}:{row['symbol']}"
    trades = row["last_id"] - row["first_id"] + 1
    return Alert(
        key=f"hole:{market}:{row['first_id']}",
        kind=AlertKind.HOLE_FOUND,
        at_us=to_us(row["found_at"]),
        title=f"{market}: {trades:,} trades are missing",
        body=f"Ids {row['first_id']} to {row['last_id']}: {row['reason'].replace('_', ' ')}.",
        market=market,
    )


def _limit_hit(row: Any) -> Alert:
    return Alert(
        # A limit that holds for hours would be told at every signal: once a day is enough.
        key=f"limit:{row['bot_id']}:{row['limit_name']}:{row['at']:%Y-%m-%d}",
        kind=AlertKind.LIMIT_HIT,
        at_us=to_us(row["at"]),
        title=f"{row['bot']}: {row['limit_name']} kept an entry back",
        body=f"{row['detail']}.",
        bot=row["bot"],
    )


def _stopped(row: Any) -> Alert:
    return Alert(
        key=f"emergency_stop:{row['position']}",
        kind=AlertKind.EMERGENCY_STOP,
        at_us=to_us(row["engaged_at"]),
        title=f"Emergency stop by {row['who']}",
        body=f"{row['why'] or 'No reason was given.'} Positions are {_HELD[row['flatten']]}.",
    )


_HELD = {True: "closed", False: "left as they are"}


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


SOURCES = (
    AlertSource(
        name="bot_events",
        newest="SELECT max(event_id) FROM bot_events",
        query="""
            SELECT event_id AS position, bot, at, what, why FROM bot_events
            WHERE event_id > %s AND what IN ('failed', 'crash_loop') ORDER BY event_id LIMIT 1000
        """,
        overlap=1_000,
        alert=_bot_failed,
    ),
    AlertSource(
        name="bot_fills",
        newest="SELECT max(fill_id) FROM bot_fills",
        query="""
            SELECT f.fill_id AS position, f.bot_id, b.name AS bot, f.order_sequence, f.side, f.reason,
                   f.price, f.quantity, f.fee, f.filled_at, m.exchange, m.symbol
            FROM bot_fills f JOIN bots b USING (bot_id) LEFT JOIN markets m ON m.market_id = f.market_id
            WHERE f.fill_id > %s ORDER BY f.fill_id LIMIT 1000
        """,
        overlap=1_000,
        alert=_order_filled,
    ),
    AlertSource(
        name="trade_gaps",
        newest="SELECT (extract(epoch FROM max(found_at)) * 1000000)::bigint FROM trade_gaps",
        query="""
            SELECT (extract(epoch FROM g.found_at) * 1000000)::bigint AS position, m.exchange, m.symbol,
                   g.first_id, g.last_id, g.reason, g.found_at
            FROM trade_gaps g JOIN markets m USING (market_id)
            WHERE g.found_at > 'epoch'::timestamptz + %s * interval '1 microsecond'
            ORDER BY g.found_at LIMIT 1000
        """,
        overlap=5 * _MINUTE_US,
        alert=_hole_found,
    ),
    AlertSource(
        name="risk_violations",
        newest="SELECT max(violation_id) FROM risk_violations",
        query="""
            SELECT violation_id AS position, bot_id, bot, at, limit_name, detail FROM risk_violations
            WHERE violation_id > %s ORDER BY violation_id LIMIT 1000
        """,
        overlap=1_000,
        alert=_limit_hit,
    ),
    AlertSource(
        name="emergency_stops",
        newest="SELECT max(stop_id) FROM emergency_stops",
        query="""
            SELECT stop_id AS position, engaged_at, who, why, flatten FROM emergency_stops
            WHERE stop_id > %s ORDER BY stop_id LIMIT 100
        """,
        overlap=10,
        alert=_stopped,
    ),
)
