"""What the System page shows: processes, services, logs and configuration of this installation."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import psutil
import redis
from pydantic import SecretStr

from app.installation import Installation
from app.log_lines import read_log_events
from app.supervisor import ProcessStatus, read_report
from config.settings import Settings
from dashboard.system_readers import (
    BusFacts,
    DatabaseFacts,
    LogEvent,
    ProcessFacts,
    Statement,
    TableSize,
)
from data.errors import TransientError
from database.repositories.server_repository import ServerRepository

_TIMEOUT_S = 2.0
_PACKAGES = ("candlewick", "dash", "plotly", "numpy", "numba", "pyarrow", "sqlalchemy", "psycopg", "redis")


class ThisInstallation:
    """Satisfies `dashboard.system_readers.SystemDesk`."""

    def __init__(
        self, settings: Settings, installation: Installation, server: ServerRepository, redis_url: str
    ) -> None:
        self._settings, self._installation, self._server = settings, installation, server
        self._redis_url = redis_url
        self._known: dict[int, psutil.Process] = {}

    def processes(self) -> Sequence[ProcessFacts]:
        """Everything that a supervisor of this installation keeps, in the order of its start."""
        found: list[ProcessStatus] = []
        home = self._installation
        for path in (home.processes_file, home.collectors_file, home.bots_file):
            report = read_report(path)
            if report is not None and report.is_current():
                found += report.processes
        facts = [self._facts(one) for one in found]
        self._known = {one.pid: self._known[one.pid] for one in facts if one.pid in self._known}
        return facts

    def database(self) -> DatabaseFacts:
        server = self._server.server()
        statements, remembered = self._server.statements()
        return DatabaseFacts(
            version=server.version,
            timescaledb=server.timescaledb,
            bytes=server.bytes,
            connections=server.connections,
            most_connections=server.most_connections,
            tables=[
                TableSize(name=one.name, bytes=one.bytes, rows=one.rows) for one in self._server.tables()
            ],
            statements=[
                Statement(text=one.text, calls=one.calls, mean_ms=one.mean_ms, total_ms=one.total_ms)
                for one in statements
            ],
            remembers_statements=remembered,
        )

    def bus(self) -> BusFacts:
        """Raises TransientError where Redis does not answer."""
        client = redis.Redis.from_url(
            self._redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        )
        try:
            info = client.info()
        except redis.RedisError as error:
            raise TransientError(f"Redis does not answer: {error}") from error
        finally:
            client.close()
        return BusFacts(
            version=str(info.get("valkey_version") or info.get("redis_version", "")),
            memory_bytes=int(info.get("used_memory", 0)),
            peak_bytes=int(info.get("used_memory_peak", 0)),
            clients=int(info.get("connected_clients", 0)),
            commands_per_s=int(info.get("instantaneous_ops_per_sec", 0)),
            channels=int(info.get("pubsub_channels", 0)) + int(info.get("pubsub_patterns", 0)),
        )

    def log_events(self, words: str, limit: int) -> Sequence[LogEvent]:
        return read_log_events(self._installation.logs, words, limit)

    def versions(self) -> Sequence[tuple[str, str]]:
        """Python, the system and the packages that matter."""
        found = [("Python", platform.python_version()), ("System", platform.platform())]
        for name in _PACKAGES:
            try:
                found.append((name, version(name)))
            except PackageNotFoundError:
                continue  # run from a folder that was not installed
        return found

    def configuration(self) -> Sequence[tuple[str, str]]:
        """Every setting in force by its variable's name; of a secret address only its place is shown."""
        found = []
        for name in type(self._settings).model_fields:
            value = getattr(self._settings, name)
            if isinstance(value, SecretStr):
                value = _place(value.get_secret_value())
            found.append((name.upper(), "not set" if value is None or value == "" else str(value)))
        return found

    def _facts(self, one: ProcessStatus) -> ProcessFacts:
        cpu: float | None = None
        memory: int | None = None
        if one.pid is not None:
            try:
                process = self._known.get(one.pid)
                if process is None or not process.is_running():
                    process = self._known[one.pid] = psutil.Process(one.pid)
                    process.cpu_percent()  # the first answer means nothing, it only begins to count
                else:
                    cpu = process.cpu_percent() / 100
                memory = process.memory_info().rss
            except psutil.Error:
                self._known.pop(one.pid, None)  # it has ended meanwhile
        return ProcessFacts(
            name=one.name,
            pid=one.pid,
            state=str(one.state),
            restarts=one.restarts,
            since_us=one.since_us,
            detail=one.detail,
            cpu=cpu,
            memory_bytes=memory,
        )


@contextmanager
def open_system_desk(settings: Settings, database_url: str, redis_url: str) -> Iterator[ThisInstallation]:
    """The desk, closed with the block."""
    with ExitStack() as stack:
        server = ServerRepository(database_url)
        stack.callback(server.close)
        yield ThisInstallation(settings, Installation(settings.candlewick_home), server, redis_url)


def _place(url: str) -> str:
    """Scheme, host and port of an address, without its user, password and what else may be secret."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "set, and hidden"
    return f"{parts.scheme}://{parts.hostname or ''}{port}" if parts.hostname else "set, and hidden"
