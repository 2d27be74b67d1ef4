"""Alerts and their deliveries in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine

from alerts.model import (
    Alert,
    AlertKind,
    ChannelHealth,
    Delivery,
    DeliveryState,
    DueDelivery,
    StoredAlert,
)
from data.timeframes import to_datetime, to_us
from database.alert_sources import SOURCES, AlertSource
from database.engine import database_errors, sync_engine

_HOUR_US = 3_600_000_000

_ALERTS = "SELECT alert_id, key, kind, at, title, body, bot, market FROM alerts"
_DELIVERIES = "SELECT alert_id, channel, state, attempts, next_try_at, tried_at, error FROM alert_deliveries"


class AlertRepository:
    """Satisfies `alerts.stores.AlertStore`. Safe to use from several threads."""

    def __init__(self, url: str, *, pool_size: int = 2) -> None:
        self._url = url
        self._engine: Engine = sync_engine(url, application_name="candlewick alerts", pool_size=pool_size)

    def close(self) -> None:
        self._engine.dispose()

    def collect(self, route: Callable[[Alert], Mapping[str, int]], *, at_us: int) -> list[Alert]:
        with self._transaction() as connection:
            new = []
            for source in SOURCES:
                for alert in _unread(connection, source):
                    if _insert(connection, alert, route(alert), at_us) is not None:
                        new.append(alert)
        return new

    def add(self, alert: Alert, channels: Mapping[str, int], *, at_us: int) -> StoredAlert | None:
        with self._transaction() as connection:
            alert_id = _insert(connection, alert, channels, at_us)
            return None if alert_id is None else _stored(connection, "alert_id = %s", (alert_id,))[0]

    def due(self, *, at_us: int, limit: int) -> list[DueDelivery]:
        with self._transaction() as connection:
            deliveries = [
                _delivery(row)
                for row in _rows(
                    connection,
                    f"{_DELIVERIES} WHERE state = 'pending' AND next_try_at <= %s"
                    " ORDER BY next_try_at, alert_id LIMIT %s",
                    (to_datetime(at_us), limit),
                )
            ]
            alerts = {
                row["alert_id"]: _alert(row)
                for row in _rows(
                    connection,
                    f"{_ALERTS} WHERE alert_id = ANY(%s)",
                    ([one.alert_id for one in deliveries],),
                )
            }
        return [DueDelivery(delivery=one, alert=alerts[one.alert_id]) for one in deliveries]

    def settle(
        self, due: DueDelivery, state: DeliveryState, *, error: str, at_us: int, next_try_at_us: int | None
    ) -> None:
        with self._transaction() as connection:
            connection.exec_driver_sql(
                "UPDATE alert_deliveries SET state = %s, attempts = attempts + 1, error = %s, tried_at = %s,"
                " next_try_at = coalesce(%s, next_try_at) WHERE alert_id = %s AND channel = %s",
                (
                    state.value,
                    error,
                    to_datetime(at_us),
                    None if next_try_at_us is None else to_datetime(next_try_at_us),
                    due.delivery.alert_id,
                    due.delivery.channel,
                ),
            )

    def newest(self, *, limit: int) -> list[StoredAlert]:
        with self._transaction() as connection:
            return _stored(
                connection,
                "alert_id IN (SELECT alert_id FROM alerts ORDER BY alert_id DESC LIMIT %s)",
                (limit,),
            )

    def alert(self, alert_id: int) -> StoredAlert | None:
        with self._transaction() as connection:
            return next(iter(_stored(connection, "alert_id = %s", (alert_id,))), None)

    def channel_health(self, *, since_us: int) -> Sequence[ChannelHealth]:
        with self._transaction() as connection:
            rows = _rows(
                connection,
                """
                SELECT channel,
                       count(*) FILTER (WHERE state = 'sent' AND tried_at >= %s) AS sent,
                       count(*) FILTER (WHERE state = 'failed' AND tried_at >= %s) AS failed,
                       count(*) FILTER (WHERE state = 'pending') AS waiting,
                       max(tried_at) FILTER (WHERE state = 'sent') AS last_sent,
                       max(tried_at) FILTER (WHERE error <> '' AND state <> 'dropped') AS last_error_at,
                       (array_agg(error ORDER BY tried_at DESC)
                        FILTER (WHERE error <> '' AND state <> 'dropped'))[1] AS last_error
                FROM alert_deliveries GROUP BY channel ORDER BY channel
                """,
                (to_datetime(since_us), to_datetime(since_us)),
            )
        return [
            ChannelHealth(
                channel=row["channel"],
                sent=row["sent"],
                failed=row["failed"],
                waiting=row["waiting"],
                last_error=row["last_error"] or "",
                last_error_at_us=None if row["last_error_at"] is None else to_us(row["last_error_at"]),
                last_sent_at_us=None if row["last_sent"] is None else to_us(row["last_sent"]),
            )
            for row in rows
        ]

    def summary(self, start_us: int, end_us: int) -> str:
        span = (to_datetime(start_us), to_datetime(end_us))
        with self._transaction() as connection:
            bots = _rows(
                connection,
                """
                SELECT b.name, b.state, first.equity AS first_equity, last.equity AS last_equity,
                       f.fills, f.fees
                FROM bots b
                LEFT JOIN LATERAL (SELECT equity FROM bot_equity e WHERE e.bot_id = b.bot_id AND e.at >= %s
                                   AND e.at < %s ORDER BY at LIMIT 1) first ON true
                LEFT JOIN LATERAL (SELECT equity FROM bot_equity e WHERE e.bot_id = b.bot_id AND e.at >= %s
                                   AND e.at < %s ORDER BY at DESC LIMIT 1) last ON true
                CROSS JOIN LATERAL (SELECT count(*) AS fills, coalesce(sum(fee), 0) AS fees FROM bot_fills f
                                    WHERE f.bot_id = b.bot_id AND f.filled_at >= %s AND f.filled_at < %s) f
                ORDER BY b.name
                """,
                span * 3,
            )
            (gaps,) = _rows(
                connection,
                "SELECT count(*) AS holes FROM trade_gaps WHERE found_at >= %s AND found_at < %s",
                span,
            )
        lines = []
        for row in bots:
            if row["first_equity"] is None:
                lines.append(f"{row['name']}: {row['state']}, nothing happened")
                continue
            change = row["last_equity"] - row["first_equity"]
            lines.append(
                f"{row['name']}: {row['state']}, equity {row['last_equity']:,.2f} ({change:+,.2f}), "
                f"{row['fills']} fills, fees {row['fees']:,.2f}"
            )
        lines.append(f"Holes found in the market data: {gaps['holes']}")
        return "\n".join(lines)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with database_errors(self._url), self._engine.begin() as connection:
            yield connection


def _rows(connection: Connection, query: str, values: tuple[Any, ...]) -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.exec_driver_sql(query, values).mappings()]


def _unread(connection: Connection, source: AlertSource) -> list[Alert]:
    """Alerts of rows that were not read before, but for the overlap; the cursor moves on behind them."""
    cursor = connection.exec_driver_sql(
        "SELECT began, position FROM alert_cursors WHERE source = %s FOR UPDATE", (source.name,)
    ).one_or_none()
    if cursor is None:
        newest = connection.exec_driver_sql(source.newest).scalar_one() or 0
        connection.exec_driver_sql(
            "INSERT INTO alert_cursors (source, began, position) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (source.name, newest, newest),
        )
        return []
    rows = _rows(connection, source.query, (max(cursor.began, cursor.position - source.overlap),))
    if rows:
        connection.exec_driver_sql(
            "UPDATE alert_cursors SET position = greatest(position, %s) WHERE source = %s",
            (rows[-1]["position"], source.name),
        )
    return [source.alert(row) for row in rows]


def _insert(connection: Connection, alert: Alert, channels: Mapping[str, int], at_us: int) -> int | None:
    now = to_datetime(at_us)
    alert_id = connection.exec_driver_sql(
        "INSERT INTO alerts (key, kind, at, stored_at, title, body, bot, market)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (key) DO NOTHING RETURNING alert_id",
        (
            alert.key,
            alert.kind.value,
            to_datetime(alert.at_us),
            now,
            alert.title,
            alert.body,
            alert.bot,
            alert.market,
        ),
    ).scalar_one_or_none()
    if alert_id is None:
        return None
    for channel, most_per_hour in channels.items():
        lately = connection.exec_driver_sql(
            "SELECT count(*) FROM alert_deliveries d JOIN alerts a USING (alert_id)"
            " WHERE d.channel = %s AND d.state <> 'dropped' AND a.stored_at > %s",
            (channel, to_datetime(at_us - _HOUR_US)),
        ).scalar_one()
        full = lately >= most_per_hour
        connection.exec_driver_sql(
            "INSERT INTO alert_deliveries (alert_id, channel, state, next_try_at, error)"
            " VALUES (%s, %s, %s, %s, %s)",
            (
                alert_id,
                channel,
                "dropped" if full else "pending",
                now,
                f"more than {most_per_hour} in an hour" if full else "",
            ),
        )
    return int(alert_id)


def _stored(connection: Connection, condition: str, values: tuple[Any, ...]) -> list[StoredAlert]:
    alerts = _rows(connection, f"{_ALERTS} WHERE {condition} ORDER BY alert_id DESC", values)
    ids = [row["alert_id"] for row in alerts]
    deliveries: dict[int, list[Delivery]] = {alert_id: [] for alert_id in ids}
    for row in _rows(connection, f"{_DELIVERIES} WHERE alert_id = ANY(%s) ORDER BY channel", (ids,)):
        deliveries[row["alert_id"]].append(_delivery(row))
    return [
        StoredAlert(
            alert_id=row["alert_id"], alert=_alert(row), deliveries=tuple(deliveries[row["alert_id"]])
        )
        for row in alerts
    ]


def _alert(row: Mapping[str, Any]) -> Alert:
    return Alert(
        key=row["key"],
        kind=AlertKind(row["kind"]),
        at_us=to_us(row["at"]),
        title=row["title"],
        body=row["body"],
        bot=row["bot"],
        market=row["market"],
    )


def _delivery(row: Mapping[str, Any]) -> Delivery:
    sent = row["state"] == DeliveryState.SENT
    return Delivery(
        alert_id=row["alert_id"],
        channel=row["channel"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        next_try_at_us=to_us(row["next_try_at"]),
        error=row["error"],
        sent_at_us=to_us(row["tried_at"]) if sent else None,
    )
