"""What people set on the page, as JSON values by name; blocking, for any thread."""

from __future__ import annotations

import json
from typing import Any

from data.timeframes import to_datetime
from database.engine import database_errors, sync_engine


class DeskRepository:
    """Settings of the installation. Raises TransientError while the database is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = sync_engine(url)

    def close(self) -> None:
        self._engine.dispose()

    def get(self, name: str) -> Any:
        """The value of that name as JSON gives it, or None."""
        with database_errors(self._url), self._engine.connect() as connection:
            found = connection.exec_driver_sql(
                "SELECT value::text FROM desk_settings WHERE name = %s", (name,)
            ).scalar()
        return None if found is None else json.loads(found)

    def set(self, name: str, value: Any, *, who: str, at_us: int) -> None:
        """Set it, whatever it was."""
        with database_errors(self._url), self._engine.begin() as connection:
            connection.exec_driver_sql(
                """
                INSERT INTO desk_settings (name, value, set_by, set_at) VALUES (%s, %s::jsonb, %s, %s)
                ON CONFLICT (name) DO UPDATE
                SET value = excluded.value, set_by = excluded.set_by, set_at = excluded.set_at
                """,
                (name, json.dumps(value), who, to_datetime(at_us)),
            )
