"""Accounts, violations, journals and the emergency stop in PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine

from bots.accounts import AccountTerms, AccountView, opened
from bots.emergency import EmergencyState, WaitingOrder
from bots.gates import Gate, Violation
from bots.journal import JournalEntry
from bots.risk.state import RiskState
from bots.risk.views import ViolationView
from data.errors import TransientError
from data.timeframes import to_datetime, to_us
from database.engine import database_errors, sync_engine
from database.step_guards import ENTRY_LOCK, read_accounts

# A stop waits this long for steps that are being stored; then it is written without waiting for them.
_PATIENCE_MS = 100
_LONGEST_MS = 10_000


class RiskRepository:
    """Satisfies `bots.emergency.EmergencyStore` and `bots.risk.desk.RiskStore`. Thread-safe."""

    def __init__(self, url: str, *, pool_size: int = 2) -> None:
        self._url = url
        self._engine: Engine = sync_engine(url, application_name="candlewick risk", pool_size=pool_size)

    def close(self) -> None:
        self._engine.dispose()

    # The emergency stop

    def emergency(self) -> EmergencyState:
        rows = self._rows(
            "SELECT engaged_at, who, why, flatten FROM emergency_stops WHERE released_at IS NULL"
        )
        return _emergency(rows[0]) if rows else EmergencyState()

    def engage(self, state: EmergencyState) -> EmergencyState:
        try:
            with self._transaction() as connection:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
                # Behind every transaction that stores an entry now; those that come later see the row.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (ENTRY_LOCK,))
                _put_stop(connection, state)
        except TransientError:
            # Somebody holds a step's transaction open. The row stops all that begin from now on; what had
            # looked before is over once the lock is free.
            with self._transaction() as connection:
                _put_stop(connection, state)
            with self._transaction() as connection:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LONGEST_MS}")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (ENTRY_LOCK,))
        return self.emergency()

    def release(self, *, at_us: int, who: str, why: str) -> bool:
        with self._transaction() as connection:
            released = connection.exec_driver_sql(
                "UPDATE emergency_stops SET released_at = %s, released_by = %s, release_why = %s"
                " WHERE released_at IS NULL",
                (to_datetime(at_us), who, why),
            ).rowcount
        return bool(released)

    def waiting_orders(self) -> list[WaitingOrder]:
        rows = self._rows(
            "SELECT b.name, o.order_sequence FROM bot_orders o JOIN bots b USING (bot_id)"
            " WHERE o.status = 'pending' AND o.reason IN ('entry', 'add_on')"
            " ORDER BY b.name, o.order_sequence"
        )
        return [WaitingOrder(bot=row["name"], sequence=row["order_sequence"]) for row in rows]

    # Accounts

    def save_accounts(self, accounts: Sequence[AccountTerms]) -> None:
        """Make these accounts, or give those that exist their new terms."""
        with self._transaction() as connection:
            for terms in sorted(accounts, key=lambda terms: terms.name):
                connection.exec_driver_sql(
                    "INSERT INTO accounts (account, quote, capital, limits, state)"
                    " VALUES (%s, %s, %s, %s::jsonb, %s::jsonb) ON CONFLICT (account) DO UPDATE SET"
                    " quote = excluded.quote, capital = excluded.capital, limits = excluded.limits"
                    " WHERE (accounts.quote, accounts.capital, accounts.limits)"
                    " IS DISTINCT FROM (excluded.quote, excluded.capital, excluded.limits)",
                    (
                        terms.name,
                        terms.quote,
                        terms.capital,
                        msgspec.json.encode(terms.limits).decode(),
                        msgspec.json.encode(opened(terms).state).decode(),
                    ),
                )

    def accounts(self) -> list[AccountView]:
        """Every account with its bots, in order of name."""
        with self._transaction() as connection:
            return read_accounts(connection)

    def account(self, name: str) -> AccountView | None:
        with self._transaction() as connection:
            found = read_accounts(connection, [name])
        return found[0] if found else None

    # Limits

    def save_limits(self, document: Mapping[str, Any], at_us: int) -> bool:
        """Write down the limits in force from now on; False where they are what they were."""
        text = msgspec.json.encode(document, order="sorted").decode()
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self._transaction() as connection:
            return bool(
                connection.exec_driver_sql(
                    "INSERT INTO risk_files (loaded_at, digest, document) SELECT %s, %s, %s::jsonb"
                    " WHERE %s IS DISTINCT FROM"
                    " (SELECT digest FROM risk_files ORDER BY loaded_at DESC LIMIT 1)"
                    " ON CONFLICT (loaded_at) DO NOTHING",
                    (to_datetime(at_us), digest, text, digest),
                ).rowcount
            )

    # What happened

    def violations(self, bot: str | None, *, limit: int) -> list[ViolationView]:
        """The newest, newest first; of all bots if `bot` is None."""
        rows = self._rows(
            "SELECT * FROM risk_violations WHERE (%s::text IS NULL OR bot = %s)"
            " ORDER BY violation_id DESC LIMIT %s",
            (bot, bot, limit),
        )
        return [
            ViolationView(
                bot=row["bot"],
                account=row["account"],
                opened_at_us=to_us(row["opened_at"]),
                at_us=to_us(row["at"]),
                stored_at_us=to_us(row["stored_at"]),
                violation=Violation(
                    limit=row["limit_name"],
                    gate=Gate(row["gate"]),
                    used=row["used"],
                    allowed=row["allowed"],
                    detail=row["detail"],
                ),
            )
            for row in rows
        ]

    def journal(self, bot: str) -> list[JournalEntry]:
        """Every booking of a bot, the oldest first."""
        rows = self._rows(
            "SELECT j.* FROM bot_journal j JOIN bots b USING (bot_id) WHERE b.name = %s ORDER BY j.entry_id",
            (bot,),
        )
        return [
            JournalEntry(
                at_us=to_us(row["at"]),
                order_sequence=row["order_sequence"],
                **{name: row[name] for name in _BALANCES},
            )
            for row in rows
        ]

    def remembered(self) -> dict[str, RiskState]:
        """What the limits of each bot remember, as of its newest step."""
        rows = self._rows(
            "SELECT name, account -> 'risk' AS risk FROM bots"
            " WHERE jsonb_typeof(account -> 'risk') = 'object'"
        )
        return {row["name"]: msgspec.convert(row["risk"], RiskState) for row in rows}

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with database_errors(self._url), self._engine.begin() as connection:
            yield connection

    def _rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Mapping[str, Any]]:
        with self._transaction() as connection:
            return [dict(row) for row in connection.exec_driver_sql(sql, parameters).mappings()]


_BALANCES = ("cash", "position", "fees", "realised", "funding")


def _put_stop(connection: Connection, state: EmergencyState) -> None:
    assert state.since_us is not None
    connection.exec_driver_sql(
        "INSERT INTO emergency_stops (engaged_at, who, why, flatten) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT ((true)) WHERE released_at IS NULL"
        " DO UPDATE SET flatten = emergency_stops.flatten OR excluded.flatten",
        (to_datetime(state.since_us), state.who, state.why, state.flatten),
    )


def _emergency(row: Mapping[str, Any]) -> EmergencyState:
    return EmergencyState(
        engaged=True,
        flatten=row["flatten"],
        since_us=to_us(row["engaged_at"]),
        who=row["who"],
        why=row["why"],
    )
