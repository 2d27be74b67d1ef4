"""The program as a person runs it, in a folder of its own, with a hand on its processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import click
import msgspec
import psutil
import psycopg

from app.installation import RunningServices, running_in
from app.supervisor import SupervisorReport, read_report
from data.collectors.journal import Journal, journals_in
from data.models import Market
from embedded.service_files import free_port

PROJECT = Path(__file__).resolve().parents[2]
_FOREIGN = ("CANDLEWICK_", "DATABASE_URL", "REDIS_URL", "OKX_", "BINANCE_")
_STARTED_S = 300.0  # all waiting ends by an event; these ends are for a machine with much else to do
_COMMAND_S = 1_800.0
_HISTORY_MS = 900_000  # the markets are made up from so long ago on: a longer past costs the venue time

# A symbol that no venue trades stands beside the others all the time.
DEAD_SYMBOL = "NOPE-USDT"
RECORDED: Mapping[str, Sequence[str]] = {
    "okx": ("BTC-USDT", "ETH-USDT", "BTC-USDT-PERP"),
    "binance": ("BTC-USDT", "ETH-USDT", "BTC-USDT-PERP"),
}
MARKETS = [Market(exchange, symbol) for exchange, symbols in RECORDED.items() for symbol in symbols]
SHARDS = ("collector-okx", "collector-binance", "collector-binance-usdm")


def tell(sentence: str) -> None:
    """Say how far it has come."""
    click.echo(f"{datetime.now(UTC):%H:%M:%S} {sentence}", err=True)


class ProofError(Exception):
    """What was to happen did not, so that nothing more can be proven."""


class Desk:
    """A running installation: its folder, its database, its venue's truth."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes]) -> None:
        self.home, self._process = home, process
        self.services = self._started()
        venue_port = (home / "run" / "simulator.port").read_text()
        self.venue_url = f"http://127.0.0.1:{venue_port}"
        self.wait("trades of every market", lambda: len(self.stored_ends()) == len(MARKETS), _STARTED_S)

    def _started(self) -> RunningServices:
        deadline_s = time.monotonic() + _STARTED_S
        while (services := running_in(self.home)) is None or not (self.home / "run/simulator.port").exists():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise ProofError(f"`candlewick up --demo` did not start; see {self.home}/up.log")
            time.sleep(0.1)
        return services

    # The store

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What a query finds; nothing while the schema is not there yet."""
        with psycopg.connect(
            self.services.database_url.replace("+psycopg", ""), autocommit=True
        ) as connection:
            try:
                cursor = connection.execute(sql.encode(), parameters)
            except psycopg.errors.UndefinedTable:
                return []
            return cursor.fetchall() if cursor.description else []

    def stored_ends(self) -> dict[Market, int]:
        """Of each recorded market the last id that the ledger has."""
        try:
            found = self.rows(
                "SELECT exchange, symbol, max(last_id) FROM trade_runs JOIN markets USING (market_id) "
                "GROUP BY 1, 2"
            )
        except psycopg.OperationalError:
            return {}  # it is starting, or was killed a moment ago
        return {Market(exchange, symbol): last_id for exchange, symbol, last_id in found}

    # The venue

    def state(self) -> Any:
        return self._venue("/sim/state")

    def true_ends(self) -> dict[Market, int]:
        """Of each recorded market the venue's last id."""
        return {
            market: row["last_id"]
            for row in self.state()["markets"]
            if (market := Market(row["exchange"], row["symbol"])) in MARKETS
        }

    def truth(self, kind: str, market: Market, **query: object) -> list[dict[str, Any]]:
        """The venue's own trades or candles of a market; times in ms."""
        wanted = {"exchange": market.exchange, "symbol": market.symbol, **query}
        found: list[dict[str, Any]] = self._venue(f"/sim/truth/{kind}?{urlencode(wanted)}")
        return found

    def inject(self, plan: Sequence[Mapping[str, object]]) -> None:
        """Post a plan of faults; `at_s` counts from now."""
        request = Request(
            f"{self.venue_url}/sim/faults",
            data=json.dumps(list(plan)).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urlopen(request, timeout=10):
            pass

    def clear_faults(self) -> None:
        """End every fault, also what is planned."""
        with urlopen(Request(f"{self.venue_url}/sim/faults", method="DELETE"), timeout=10):
            pass

    def second(self) -> float:
        """The second of the venue's minute."""
        return int(self.state()["clock_ms"]["okx"]) % 60_000 / 1_000

    def _venue(self, path: str) -> Any:
        with urlopen(self.venue_url + path, timeout=60) as reply:
            return json.load(reply)

    # The processes

    def journalled_ends(self) -> dict[Market, int]:
        """Of each market the last id in the collectors' journals."""
        ends: dict[Market, int] = {}
        for folder in journals_in(self.home / "journal"):
            with tempfile.TemporaryDirectory(dir=self.home.parent) as copies:
                try:
                    journal = Journal(shutil.copytree(folder, Path(copies) / "journal"))
                except shutil.Error:
                    continue  # a part of it was let go meanwhile
                journal.open()
                page = journal.read(journal.begin, sys.maxsize)
                journal.close()
            for record in page.records:
                for market, run in record.batch.runs:
                    ends[market] = max(run.last_id, ends.get(market, 0))
        return ends

    def away_ms(self, exchange: str, since_ms: int) -> list[int]:
        """When collectors said, as it is stored, that they could not reach the exchange; ascending."""
        found = self.rows(
            "SELECT (extract(epoch FROM sent_at) * 1000)::bigint FROM collector_figures WHERE exchange = %s "
            "AND state = ANY(%s) AND sent_at > to_timestamp(%s) ORDER BY 1",
            exchange,
            ["unreachable", "reconnecting", "connecting"],
            since_ms / 1_000,
        )
        return [row[0] for row in found]

    def pid_of(self, name: str) -> int:
        """The process of a service, of a part of `up`, or of a collector's shard."""
        for file in ("processes.json", "collectors.json"):
            for process in _processes(read_report(self.home / "run" / file)):
                if process.name == name and process.pid is not None:
                    return int(process.pid)
        raise ProofError(f"no process {name} runs")

    def kill(self, name: str) -> None:
        """`kill -9`."""
        os.kill(self.pid_of(name), signal.SIGKILL)

    @contextmanager
    def stopped_database(self) -> Iterator[None]:
        """Every process of PostgreSQL hangs (SIGSTOP) while this is open."""
        server = psutil.Process(self.pid_of("postgres"))
        family = [server, *server.children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                if process.is_running():
                    process.resume()

    def record(self, symbols: Mapping[str, Sequence[str]]) -> None:
        """Change the collectors' settings in one step."""
        partial = self.home / "wanted.partial"
        partial.write_text(_wanted(symbols))
        partial.replace(self.home / "wanted.json")

    def log_lines(self, event: str, shard: str = "collector*") -> int:
        """How often the collectors, or one of them, have logged that event."""
        return sum(
            path.read_text(errors="replace").count(event)
            for path in (self.home / "logs").glob(f"{shard}.log")
        )

    def candlewick(self, *arguments: str) -> Any:
        """One command with `--json`, run as a person would; its document."""
        began_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "app", *arguments, "--json"],
            cwd=PROJECT,
            env=_environment(self.home),
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
        )
        tell(f"candlewick {' '.join(arguments)}: {time.monotonic() - began_s:.1f} s")
        if done.returncode not in (0, 1) or not done.stdout:
            raise ProofError(f"candlewick {' '.join(arguments)}: {done.stderr[-2_000:]}")
        return json.loads(done.stdout)

    def wait(self, what: str, look: Callable[[], object], timeout_s: float) -> float:
        """Look until it is so; returns the seconds that took. Raises ProofError when it takes too long."""
        began_s = time.monotonic()
        while not look():
            if time.monotonic() - began_s > timeout_s:
                raise ProofError(f"waited {timeout_s:g} s for {what} in vain")
            if self._process.poll() is not None:
                raise ProofError(f"`candlewick up` ended; see {self.home}/up.log")
            time.sleep(0.1)
        return time.monotonic() - began_s


@contextmanager
def running_desk(home: Path, *, rate: float) -> Iterator[Desk]:
    """`candlewick up --demo` in the new folder `home`, its markets `rate` times as busy as usual."""
    home.mkdir(parents=True)
    (home / "bots").mkdir()
    now_ms = time.time_ns() // 1_000_000
    state = {"seed": 7, "listed_at_ms": now_ms - _HISTORY_MS, "rate": rate}
    (home / "simulator.json").write_bytes(msgspec.json.encode(state))
    (home / "wanted.json").write_text(_wanted(RECORDED))
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "up", "--demo", "--port", str(free_port(None))],
            cwd=PROJECT,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Desk(home, process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wanted(symbols: Mapping[str, Sequence[str]]) -> str:
    return json.dumps(
        {
            exchange: {
                # Quotes come by another connection, to which OKX announces its upgrades.
                "symbols": {
                    name: ["trades", "quotes"] if name == names[0] else ["trades"]
                    for name in [*names, DEAD_SYMBOL]
                },
                "history_candles": 100,
            }
            for exchange, names in symbols.items()
        }
    )


def _environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **clean,
        "CANDLEWICK_HOME": str(home),
        "CANDLEWICK_COLLECTORS": str(home / "wanted.json"),
        "CANDLEWICK_BOTS": str(home / "bots"),
    }


def _processes(report: SupervisorReport | None) -> Sequence[Any]:
    return () if report is None else report.processes
