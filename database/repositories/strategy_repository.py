"""Saved strategies in PostgreSQL: a row for each name, its versions in a table that only grows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine

from data.timeframes import to_datetime, to_us
from database.engine import database_errors, sync_engine
from strategies.versions import Badge, ProofStatus, StrategyKind, StrategySummary, StrategyVersion

# A proof that found something stays found; one that got no further than before does not replace it.
_WORTH = {ProofStatus.NOT_PROVEN: 0, ProofStatus.PROVEN: 1, ProofStatus.REFUTED: 2}

_VERSION = """
SELECT s.name, v.version, v.number, v.kind, v.content, v.saved_at, v.who, v.why, v.badge
FROM strategy_versions v JOIN strategies s USING (strategy_id)
"""


class StrategyRepository:
    """Satisfies `strategies.versions.StrategyStore`. Safe to use from several threads."""

    def __init__(self, url: str, *, pool_size: int = 2) -> None:
        self._url = url
        self._engine: Engine = sync_engine(url, application_name="candlewick strategies", pool_size=pool_size)

    def close(self) -> None:
        self._engine.dispose()

    def summaries(self, *, archived: bool) -> list[StrategySummary]:
        rows = self._rows(
            "SELECT s.name, v.kind, s.newest, v.badge, v.saved_at, s.archived_at,"
            " (SELECT count(*) FROM strategy_versions o WHERE o.strategy_id = s.strategy_id) AS versions"
            " FROM strategies s"
            " JOIN strategy_versions v ON v.strategy_id = s.strategy_id AND v.version = s.newest"
            " WHERE s.archived_at IS NULL OR %s ORDER BY s.name",
            (archived,),
        )
        return [
            StrategySummary(
                name=row["name"],
                kind=StrategyKind(row["kind"]),
                versions=row["versions"],
                newest=row["newest"],
                badge=msgspec.convert(row["badge"], Badge),
                saved_at_us=to_us(row["saved_at"]),
                archived=row["archived_at"] is not None,
            )
            for row in rows
        ]

    def history(self, name: str) -> list[StrategyVersion]:
        rows = self._rows(
            f"{_VERSION} WHERE s.name = %s ORDER BY v.version = s.newest DESC, v.number DESC", (name,)
        )
        return [_version(row) for row in rows]

    def save(self, version: StrategyVersion) -> StrategyVersion:
        with self._transaction() as connection:
            # The row is locked: two who save at once number their versions one after the other.
            strategy_id = connection.exec_driver_sql(
                "INSERT INTO strategies (name, newest) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET newest = excluded.newest, archived_at = NULL"
                " RETURNING strategy_id",
                (version.name, version.version),
            ).scalar_one()
            key = (strategy_id, version.version)
            stored = connection.exec_driver_sql(
                "SELECT badge FROM strategy_versions WHERE strategy_id = %s AND version = %s", key
            ).scalar_one_or_none()
            if stored is None:
                _insert(connection, strategy_id, version)
            elif _gets_further(version.badge, msgspec.convert(stored, Badge)):
                connection.exec_driver_sql(
                    "UPDATE strategy_versions SET badge = %s::jsonb WHERE strategy_id = %s AND version = %s",
                    (_json(version.badge), *key),
                )
            row = (
                connection.exec_driver_sql(f"{_VERSION} WHERE strategy_id = %s AND v.version = %s", key)
                .mappings()
                .one()
            )
        return _version(dict(row))

    def rename(self, name: str, to: str) -> bool:
        renamed = self._rows(
            "UPDATE strategies SET name = %s WHERE name = %s"
            " AND NOT EXISTS (SELECT 1 FROM strategies WHERE name = %s) RETURNING name",
            (to, name, to),
        )
        return bool(renamed)

    def archive(self, name: str, at_us: int) -> bool:
        archived = self._rows(
            "UPDATE strategies SET archived_at = %s WHERE name = %s AND archived_at IS NULL RETURNING name",
            (to_datetime(at_us), name),
        )
        return bool(archived)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with database_errors(self._url), self._engine.begin() as connection:
            yield connection

    def _rows(self, sql: str, parameters: tuple[Any, ...]) -> Sequence[Mapping[str, Any]]:
        with self._transaction() as connection:
            return [dict(row) for row in connection.exec_driver_sql(sql, parameters).mappings()]


def _insert(connection: Connection, strategy_id: int, version: StrategyVersion) -> None:
    connection.exec_driver_sql(
        "INSERT INTO strategy_versions"
        " (strategy_id, version, number, kind, content, saved_at, who, why, badge)"
        " VALUES (%s, %s, (SELECT count(*) + 1 FROM strategy_versions WHERE strategy_id = %s),"
        " %s, %s, %s, %s, %s, %s::jsonb)",
        (
            strategy_id,
            version.version,
            strategy_id,
            str(version.kind),
            version.content,
            to_datetime(version.saved_at_us),
            version.who,
            version.why,
            _json(version.badge),
        ),
    )


def _gets_further(new: Badge, old: Badge) -> bool:
    return (_WORTH[new.status], new.covered) > (_WORTH[old.status], old.covered)


def _json(badge: Badge) -> str:
    return msgspec.json.encode(badge).decode()


def _version(row: Mapping[str, Any]) -> StrategyVersion:
    return StrategyVersion(
        name=row["name"],
        version=row["version"],
        number=row["number"],
        kind=StrategyKind(row["kind"]),
        content=row["content"],
        saved_at_us=to_us(row["saved_at"]),
        who=row["who"],
        why=row["why"],
        badge=msgspec.convert(row["badge"], Badge),
    )
