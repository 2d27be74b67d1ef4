"""A database, a bus and a folder for the real program, and the simulated venue it records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest

from embedded.valkey import EmbeddedValkey
from tests.integration.processes import PATIENCE_S, Program, running


@dataclass(frozen=True)
class Venue:
    """A simulated venue in a process of its own."""

    url: str

    def state(self) -> Any:
        with urlopen(f"{self.url}/sim/state", timeout=PATIENCE_S) as reply:
            return json.load(reply)

    def plan(self, *faults: dict[str, object]) -> None:
        """Adds faults, as in a fault plan."""
        self._tell("POST", json.dumps(faults).encode())

    def heal(self) -> None:
        """Ends every fault."""
        self._tell("DELETE", None)

    def _tell(self, method: str, body: bytes | None) -> None:
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.url}/sim/faults", data=body, headers=headers, method=method)
        with urlopen(request, timeout=PATIENCE_S) as reply:
            assert reply.status == 200


StartVenue = Callable[..., AbstractContextManager[Venue]]


@pytest.fixture
def simulated_venue(tmp_path: Path) -> StartVenue:
    """Starts `candlewick simulate` with the given arguments."""

    @contextmanager
    def start(*arguments: str) -> Iterator[Venue]:
        log = tmp_path / "simulate.log"
        with running("simulate", "--port", "0", "--json", *arguments, environment={}, log=log) as program:
            yield Venue(url=program.json_line()["url"])

    return start


_STUCK = 4_231  # an advisory lock's number
_WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
_OTHERS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@dataclass(frozen=True)
class Desk:
    """What a recording process of the program needs, and a look into what it stored."""

    home: Path
    database_url: str
    redis_url: str

    def environment(self, venue: Venue) -> dict[str, str]:
        ws = venue.url.replace("http", "ws", 1)
        return {
            "CANDLEWICK_HOME": str(self.home),
            "CANDLEWICK_VENUE_SOURCE": "simulated",
            "CANDLEWICK_COLLECTORS": str(self.home / "collectors.json"),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "OKX_REST_URL": venue.url,
            "OKX_WS_URL": ws,
            "BINANCE_REST_URL": venue.url,
            "BINANCE_WS_URL": ws,
            "BINANCE_FUTURES_REST_URL": venue.url,
            "BINANCE_FUTURES_WS_URL": f"{ws}/fstream",
        }

    def record(self, venues: Mapping[str, list[str]]) -> None:
        """Write the collectors' file: symbols by venue."""
        settings = {exchange: {"symbols": symbols} for exchange, symbols in venues.items()}
        (self.home / "collectors.json").write_text(json.dumps(settings))

    def collector(self, venue: Venue, *arguments: str) -> AbstractContextManager[Program]:
        return running(
            "collect", *arguments, environment=self.environment(venue), log=self.home / "collect.log"
        )

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What a query finds; nothing while the schema is not there yet."""
        url = self.database_url.replace("+psycopg", "")
        with psycopg.connect(url) as connection:
            try:
                return connection.execute(sql, parameters).fetchall()
            except psycopg.errors.UndefinedTable:
                return []

    def count(self, table: str) -> int:
        rows = self.rows(f"SELECT count(*) FROM {table}")
        return int(rows[0][0]) if rows else 0

    @contextmanager
    def stuck_at(self, *, trades: int) -> Iterator[None]:
        """Once that many trades are stored, whoever stores more waits for the end of this.

        So a process can be killed in the middle of its work, however fast it is and we are.
        """
        with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (_STUCK,))
            connection.execute(
                f"""
                CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF (SELECT count(*) FROM trades) >= {trades} THEN
                        PERFORM pg_advisory_xact_lock({_STUCK});
                    END IF;
                    RETURN NULL;
                END $$;
                CREATE TRIGGER wait_here BEFORE INSERT ON trades EXECUTE FUNCTION wait_here();
                """.encode()
            )
            yield
            connection.execute("SELECT pg_advisory_unlock(%s)", (_STUCK,))
            connection.execute("DROP FUNCTION wait_here CASCADE")

    def is_stuck(self) -> bool:
        """Whether somebody waits because of `stuck_at`."""
        return bool(self.rows(_WAITING, _STUCK))

    def is_left_alone(self) -> bool:
        """Whether nobody is connected any more: the server notices late that a killed process is gone."""
        return not self.rows(_OTHERS)


@pytest.fixture
def desk(tmp_path: Path, migrated_database: Callable[[], str], valkey: EmbeddedValkey) -> Desk:
    """A database and a folder of its own; the bus is shared by the session."""
    home = tmp_path / "home"
    home.mkdir()
    return Desk(home=home, database_url=migrated_database(), redis_url=valkey.url())
