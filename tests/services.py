"""Real servers for tests: one of each for a whole session, started by the product's own launchers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

from embedded.postgres import EmbeddedPostgres
from embedded.valkey import EmbeddedValkey

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server of its own for this session."""
    home: Path = tmp_path_factory.mktemp("postgres")
    server = EmbeddedPostgres(home, log=home / "postgres.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def new_database(postgres: EmbeddedPostgres) -> Callable[[], str]:
    """Makes an empty database and returns its URL, as often as it is called."""

    def make() -> str:
        name = f"test_{next(_numbers)}"
        postgres.create_database(name)
        return postgres.url(name)

    return make


@pytest.fixture(scope="session")
def migrated_database(postgres: EmbeddedPostgres) -> Callable[[], str]:
    """Makes a database with the newest schema and nothing in it, as often as it is called.

    The migrations run once; every database is a copy of what they made, which takes a tenth of the time.
    """
    # Imported here: tests that need no database do without SQLAlchemy.
    from database.migrate import migrate

    template = f"template_{next(_numbers)}"
    postgres.create_database(template)
    migrate(postgres.url(template))

    def make() -> str:
        name = f"test_{next(_numbers)}"
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        server = postgres.url("postgres").replace("+psycopg", "")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(copy.format(sql.Identifier(name), sql.Identifier(template)))
        return postgres.url(name)

    return make


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], str]) -> str:
    """One empty database for the whole session, not migrated."""
    return new_database()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey server of its own for this session, with whatever the tests before left in it."""
    home: Path = tmp_path_factory.mktemp("valkey")
    server = EmbeddedValkey(home, log=home / "valkey.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(valkey_server: EmbeddedValkey) -> EmbeddedValkey:
    """The session's Valkey server with nothing in it: no test finds what another had remembered there."""
    with closing(redis.Redis.from_url(valkey_server.url())) as client:
        client.flushall()
    return valkey_server
