"""The queue of jobs is Procrastinate's: its tables and functions, in a schema of their own, kept up to date.

The library brings its whole schema as one file, and each change of it since as another. A new database gets
the first; one that an earlier version of the library made gets the changes that it has not seen, in order.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sqlalchemy import Connection

SCHEMA = "job_queue"
# For a session of the library's own, whose statements name its tables without their schema.
SEARCH_PATH = f"-c search_path={SCHEMA}"


def update_queue_schema(connection: Connection) -> list[str]:
    """Apply what the database lacks, and return the names of those files.

    Each is committed by itself: a new value of an enumeration may be used only after the transaction that
    added it. What is interrupted goes on the next time. A database from before there were jobs is left alone.
    """
    exists = connection.exec_driver_sql("SELECT to_regclass('job_queue.applied_files')").scalar_one()
    if exists is None:
        return []
    folder = _folder()
    applied = set(connection.exec_driver_sql("SELECT name FROM job_queue.applied_files").scalars())
    changes = sorted(path.name for path in (folder / "migrations").glob("*.sql"))
    missing = [name for name in changes if name not in applied]
    if applied:
        for name in missing:
            _apply(connection, folder / "migrations" / name, [name])
    else:
        _apply(connection, folder / "schema.sql", missing)
    return missing


def _apply(connection: Connection, file: Path, names: list[str]) -> None:
    """Run one file and note the changes that it stands for."""
    connection.exec_driver_sql("SELECT set_config('search_path', %s, true)", (SCHEMA,))
    _execute(connection, file.read_text(encoding="utf-8"))
    connection.exec_driver_sql("INSERT INTO job_queue.applied_files SELECT unnest(%s::text[])", (names,))
    connection.commit()


def _execute(connection: Connection, statements: str) -> None:
    """Many statements at once, in which a per cent sign means itself."""
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor:
        cursor.execute(statements)


def _folder() -> Path:
    # Importing the library would cost every command a tenth of a second.
    found = importlib.util.find_spec("procrastinate")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "sql"
