"""Connections to PostgreSQL, and what their failures mean for the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import adbc_driver_manager
import psycopg
import sqlalchemy
from sqlalchemy import URL, Engine, event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from data.errors import InstallationError, TradingError, TransientError
from database.binary_arrays import ArrayDumper, BinaryArray

_DRIVER = "postgresql+psycopg"
_SCHEMES = frozenset({"postgres", "postgresql", _DRIVER})
# A server that vanished without a word (a pulled cable) is noticed within about half a minute.
_CONNECT_ARGS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# libpq reports a refused connection as text alone, without an SQLSTATE. Servers that speak another language
# than English fall through to TransientError, with their own words in the message.
_WRONG_SETUP = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
    "permission denied for database",
)
# SQLSTATE classes and codes after which the same statement may succeed later.
_TRANSIENT_CLASSES = ("08", "53", "57P", "40", "55P03", "25006")
_FORBIDDEN = "42501"
# A limit of the server's own settings: the same statement meets it again, whatever the 53 before it means.
_LIMITED = "53400"
# TimescaleDB's answer where a database made with its full edition is served by the Apache one.
_NOT_SUPPORTED = "0A000"
_UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError, adbc_driver_manager.OperationalError)


def normalise_url(url: str) -> URL:
    """The URL with the driver we use. Raises InstallationError for what is no PostgreSQL URL."""
    expected = "give DATABASE_URL as postgresql://user:password@host:5432/database"
    try:
        parsed = sqlalchemy.make_url(url)
    except (exc.ArgumentError, ValueError):
        # The text is not shown: it may hold a password.
        raise InstallationError(f"the database URL cannot be read; {expected}") from None
    if parsed.drivername not in _SCHEMES:
        raise InstallationError(f"the database URL begins with {parsed.drivername}://; {expected}")
    if not parsed.database:
        raise InstallationError(f"the database URL names no database; {expected}")
    return parsed.set(drivername=_DRIVER)


def libpq_url(url: str) -> str:
    """The URL as libpq wants it, password included: for drivers beside SQLAlchemy."""
    return normalise_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def sync_engine(url: str, *, application_name: str = "candlewick", pool_size: int = 2) -> Engine:
    """A pool of blocking connections; a connection that died in the pool is replaced in silence."""
    engine = sqlalchemy.create_engine(
        normalise_url(url),
        pool_size=pool_size,
        pool_pre_ping=True,
        connect_args={**_CONNECT_ARGS, "application_name": application_name},
    )
    event.listen(engine, "connect", _take_arrays)
    return engine


def async_engine(
    url: str,
    *,
    application_name: str = "candlewick",
    pool_size: int = 4,
    synchronous_commit: bool = True,
) -> AsyncEngine:
    """A pool of asyncio connections.

    Without `synchronous_commit` a power cut may lose the last fraction of a second, whole transactions at a
    time: right for market data, which the venue can replay, and never for orders or balances.
    """
    engine = create_async_engine(
        normalise_url(url),
        pool_size=pool_size,
        pool_pre_ping=True,
        connect_args={**_CONNECT_ARGS, "application_name": application_name},
    )
    event.listen(engine.sync_engine, "connect", _take_arrays)
    if not synchronous_commit:
        event.listen(engine.sync_engine, "connect", _relax_commits)
    return engine


def _take_arrays(connection: Any, _record: Any) -> None:
    """Teach a new connection to send `BinaryArray`; asyncio connections wrap the driver's own."""
    getattr(connection, "driver_connection", connection).adapters.register_dumper(BinaryArray, ArrayDumper)


def _relax_commits(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SET synchronous_commit = off")
    cursor.close()
    # The driver opened a transaction for the SET; a rollback would undo it.
    connection.commit()


@contextmanager
def database_errors(url: str | URL) -> Iterator[None]:
    """Turn a driver's failures inside the block into TransientError or InstallationError.

    Errors that mean a bug (bad SQL, a broken constraint) pass through as they are.
    """
    try:
        yield
    except (exc.DBAPIError, psycopg.Error, adbc_driver_manager.Error) as error:
        known = explain_failure(error, url)
        if known is None:
            raise
        raise known from error


def explain_failure(error: Exception, url: str | URL) -> TradingError | None:
    """One sentence without the password on what went wrong, as the error to raise; None for a bug of ours."""
    original = getattr(error, "orig", None) or error
    place = sqlalchemy.make_url(url).render_as_string(hide_password=True)
    words = " ".join(str(original).split())
    password = sqlalchemy.make_url(url).password
    if password:
        words = words.replace(str(password), "***")
    sqlstate = getattr(original, "sqlstate", None) or ""
    if sqlstate == _LIMITED:
        return InstallationError(f"a limit in the settings of the database at {place} is too low: {words}")
    if sqlstate == _NOT_SUPPORTED and "license" in words:
        return InstallationError(
            f"the database at {place} holds data compressed by TimescaleDB's full edition, which the Apache "
            "edition serving it now cannot read: start it with the community edition "
            f"(timescaledb.license = 'timescale'), or decompress its chunks there first ({words})"
        )
    if sqlstate.startswith(_TRANSIENT_CLASSES):
        return TransientError(f"the database at {place} cannot answer now: {words}")
    if sqlstate == _FORBIDDEN:
        return InstallationError(f"the database at {place} forbids what Candlewick needs: {words}")
    if sqlstate:
        # With an SQLSTATE of another class the server understood us and we were wrong, save at the door.
        if sqlstate.startswith(("28", "3D")):
            return InstallationError(f"the database at {place} does not let us in: {words}")
        return None
    if any(phrase in words for phrase in _WRONG_SETUP):
        return InstallationError(f"the database at {place} does not let us in: {words}")
    if isinstance(original, _UNREACHABLE):
        return TransientError(f"the database at {place} cannot be reached: {words}")
    return None
