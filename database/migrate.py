"""Brings a database to the schema this program needs; a revision is a file in `migrations/versions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from data.errors import InstallationError
from database.engine import database_errors, sync_engine
from database.queue_schema import update_queue_schema

if TYPE_CHECKING:
    from alembic.config import Config

# Any fixed number serves; it is shared with no other program's advisory locks in the same database.
_LOCK = 0x63616E64_6C657769
_FOLDER = Path(__file__).resolve().parent / "migrations"


def migrate(url: str, *, revision: str = "head") -> str:
    """Apply what is missing, all of it or nothing, and return the revision the database is at.

    Two processes may do this at once: one waits for the other. Raises InstallationError for a database that
    a newer Candlewick migrated, TransientError while the server cannot be reached.
    """
    # Imported here: Alembic takes a fifth of the time in which a command starts, and few commands migrate.
    from alembic import command
    from alembic.util import CommandError

    engine = sync_engine(url, application_name="candlewick migrate")
    try:
        with database_errors(url), engine.connect() as lock:
            # A session's lock on its own connection: it ends with the process, whatever happens.
            lock = lock.execution_options(isolation_level="AUTOCOMMIT")
            lock.exec_driver_sql("SELECT pg_advisory_lock(%s)", (_LOCK,))
            try:
                with engine.connect() as connection:
                    command.upgrade(alembic_config(connection), revision)
                    connection.commit()
                    update_queue_schema(connection)
                found = lock.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
            finally:
                lock.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (_LOCK,))
    except CommandError as error:
        raise InstallationError(
            f"the database was migrated by a newer Candlewick than this one ({error}); update the program"
        ) from error
    finally:
        engine.dispose()
    return str(found)


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings; commands that touch a database need the connection."""
    from alembic.config import Config

    config = Config()
    # Alembic's options are read through ConfigParser, where a per cent sign begins an interpolation.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config
