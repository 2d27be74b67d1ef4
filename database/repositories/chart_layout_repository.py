"""Layouts of the price chart and lists of markets: documents by kind and name; blocking, for any thread."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from data.timeframes import to_datetime
from database.engine import database_errors, sync_engine

# Changes that look before they write come one after the other: two at once would both find a name free, or no
# default yet, and the second would break a unique index. Readers do not wait.
_ONE_AT_A_TIME = "LOCK TABLE chart_layouts IN SHARE ROW EXCLUSIVE MODE"


class ChartLayoutRepository:
    """Kinds are "layout" and "watchlist". Raises TransientError while the database is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = sync_engine(url)

    def close(self) -> None:
        self._engine.dispose()

    def documents(self) -> list[tuple[Any, str, Any, bool]]:
        """Kind, name, content and whether it is its kind's default, in order of kind and name.

        The content is any JSON value: what was saved, by whichever version.
        """
        with database_errors(self._url), self._engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT kind, name, content::text, is_default FROM chart_layouts "
                "ORDER BY kind, lower(name), name"
            )
            return [(kind, name, json.loads(content), default) for kind, name, content, default in rows]

    def insert(self, kind: str, name: str, content: Mapping[str, Any], at_us: int) -> bool:
        """False where there is one of that kind and name; then it stays."""
        return self._changed(
            "INSERT INTO chart_layouts (kind, name, content, saved_at) VALUES (%s, %s, %s::jsonb, %s) "
            "ON CONFLICT DO NOTHING",
            (kind, name, json.dumps(content), to_datetime(at_us)),
        )

    def put(self, kind: str, name: str, content: Mapping[str, Any], at_us: int) -> None:
        """Insert it, or overwrite the content of what has that kind and name."""
        self._changed(
            "INSERT INTO chart_layouts (kind, name, content, saved_at) VALUES (%s, %s, %s::jsonb, %s) "
            "ON CONFLICT (kind, name) DO UPDATE SET content = excluded.content, saved_at = excluded.saved_at",
            (kind, name, json.dumps(content), to_datetime(at_us)),
        )

    def rename(self, kind: str, name: str, to: str) -> bool:
        """False where there is none of that name, or one of the new name already."""
        with database_errors(self._url), self._engine.begin() as connection:
            connection.exec_driver_sql(_ONE_AT_A_TIME)
            renamed = connection.exec_driver_sql(
                "UPDATE chart_layouts SET name = %s WHERE kind = %s AND name = %s AND NOT EXISTS "
                "(SELECT FROM chart_layouts taken WHERE taken.kind = %s AND taken.name = %s)",
                (to, kind, name, kind, to),
            )
            return renamed.rowcount > 0

    def delete(self, kind: str, name: str) -> bool:
        """False where there was none."""
        return self._changed("DELETE FROM chart_layouts WHERE kind = %s AND name = %s", (kind, name))

    def set_default(self, kind: str, name: str | None) -> bool:
        """Make it the only default of its kind, or none; False, nothing changed, where there is no such."""
        with database_errors(self._url), self._engine.begin() as connection:
            connection.exec_driver_sql(_ONE_AT_A_TIME)
            if name is not None:
                found = connection.exec_driver_sql(
                    "SELECT 1 FROM chart_layouts WHERE kind = %s AND name = %s", (kind, name)
                ).scalar()
                if found is None:
                    return False
            # Two statements: the index allows no moment with two of them.
            connection.exec_driver_sql(
                "UPDATE chart_layouts SET is_default = false WHERE kind = %s AND is_default", (kind,)
            )
            connection.exec_driver_sql(
                "UPDATE chart_layouts SET is_default = true WHERE kind = %s AND name = %s", (kind, name)
            )
            return True

    def _changed(self, sql: str, values: Sequence[Any]) -> bool:
        with database_errors(self._url), self._engine.begin() as connection:
            return connection.exec_driver_sql(sql, tuple(values)).rowcount > 0
