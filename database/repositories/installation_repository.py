"""Facts about this installation that belong to its database: whose trades it holds, for instance."""

from __future__ import annotations

from database.engine import database_errors, sync_engine


class InstallationRepository:
    """Keys and values in text; blocking. Each call opens its own connection: it is used at start-up."""

    def __init__(self, url: str) -> None:
        self._url = url

    def claim_venue_source(self, source: str) -> str:
        """Mark a database that holds nothing yet as holding `source` ("real", "simulated").

        Returns what it is marked as, which may be the other one. Two claims at once agree.
        """
        return self.claim("venue_source", source)

    def claim(self, key: str, value: str) -> str:
        """Set `key` unless it is set, and return what it is."""
        found = self._value(
            """
            WITH new AS (
                INSERT INTO installation (key, value) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING value
            )
            SELECT value FROM new UNION ALL SELECT value FROM installation WHERE key = %s
            """,
            (key, value, key),
        )
        # Another process may have set it between this statement's snapshot and its insert.
        return found if found is not None else self.claim(key, value)

    def get(self, key: str) -> str | None:
        """The value of `key`, or None."""
        return self._value("SELECT value FROM installation WHERE key = %s", (key,))

    def set(self, key: str, value: str) -> None:
        """Set `key`, whatever it was."""
        self._value(
            """
            INSERT INTO installation (key, value) VALUES (%s, %s)
            ON CONFLICT (key) DO UPDATE SET value = excluded.value, set_at = now()
            RETURNING value
            """,
            (key, value),
        )

    def _value(self, sql: str, parameters: tuple[str, ...]) -> str | None:
        engine = sync_engine(self._url)
        try:
            with database_errors(self._url), engine.begin() as connection:
                found = connection.exec_driver_sql(sql, parameters).scalar()
                return None if found is None else str(found)
        finally:
            engine.dispose()
