"""What the System page needs from outside; `app` hands over what satisfies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """One process of the installation as it is now."""

    name: str
    pid: int | None
    state: str
    restarts: int
    since_us: int  # in this state
    detail: str  # its last words, where it ended badly
    cpu: float | None  # share of one core since it was last asked; None: not known yet
    memory_bytes: int | None  # resident


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """A table with its indexes; of a hypertable all its chunks."""

    name: str
    bytes: int
    rows: int  # as the server estimates


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement that takes the database long."""

    text: str
    calls: int | None  # None: it runs just now, and only that is known
    mean_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """The database server and what is in it."""

    version: str
    timescaledb: str  # empty where it is not there
    bytes: int
    connections: int
    most_connections: int
    tables: Sequence[TableSize]  # the largest first
    statements: Sequence[Statement]  # the dearest first
    remembers_statements: bool  # else only those that run just now are known


@dataclass(frozen=True, slots=True, kw_only=True)
class BusFacts:
    """Redis, over which news goes."""

    version: str
    memory_bytes: int
    peak_bytes: int
    clients: int
    commands_per_s: int
    channels: int  # with subscribers


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """What a process wrote down as a warning or worse."""

    at: str  # ISO 8601, UTC
    level: str
    process: str
    event: str
    detail: str  # its fields, and what followed it, such as a traceback


class SystemDesk(Protocol):
    """The installation as it is now. Synchronous; each raises TransientError where it cannot be asked."""

    def processes(self) -> Sequence[ProcessFacts]: ...
    def database(self) -> DatabaseFacts: ...
    def bus(self) -> BusFacts: ...

    def log_events(self, words: str, limit: int) -> Sequence[LogEvent]:
        """The newest first; only those that hold all the words, such as a log number."""
        ...

    def versions(self) -> Sequence[tuple[str, str]]: ...

    def configuration(self) -> Sequence[tuple[str, str]]:
        """Every setting in force by its variable's name; secrets are hidden."""
        ...
