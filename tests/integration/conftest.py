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
from tests.integration.processes import Program, running


@dataclass(frozen=True)
class Venue:
    """A simulated venue in a process of its own."""

    url: str

    def state(self) -> Any:
        with urlopen(f"{self.url}/sim/state", timeout=5) as reply:
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
        with urlopen(request, timeout=10) as reply:
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


@pytest.fixture
def desk(tmp_path: Path, migrated_database: Callable[[], str], valkey: EmbeddedValkey) -> Desk:
    """A database and a folder of its own; the bus is shared by the session."""
    home = tmp_path / "home"
    home.mkdir()
    return Desk(home=home, database_url=migrated_database(), redis_url=valkey.url())
