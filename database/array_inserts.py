"""Many rows with one statement: each column goes to the server as one binary array."""

from __future__ import annotations

from typing import Any

from psycopg import Cursor


def insert_columns(cursor: Cursor[Any], sql: str, rows: list[tuple[Any, ...]]) -> None:
    """Run `sql`, which unnests a `%b::type[]` for each column of `rows`; nothing without rows."""
    if rows:
        cursor.execute(sql, tuple(list(column) for column in zip(*rows, strict=True)))
