"""A job: work that was asked for on a page or on the command line and is done by a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class JobKind(StrEnum):
    """What a job does; the arguments of each are in `jobs.arguments`."""

    BACKTEST = "backtest"
    SWEEP = "sweep"  # a walk-forward search as well
    BACKFILL = "backfill"
    EXPORT = "export"
    IMPORT = "import"
    PROOF = "proof"


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it unless somebody asks for it again."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class JobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is. `done` and `total` count whatever the job is made of: trials, pages, candles."""

    done: int
    total: int  # 0: not known yet
    rate: float | None  # done per second since the job began to count; None before anything is known
    left_s: float | None  # estimate; None before anything is known
    message: str  # what it is busy with, in words
    at_us: int


class ResultKind(StrEnum):
    """What a finished job left behind."""

    RUN = "run"  # a stored backtest; the reference is its number
    SEARCH = "search"  # a stored search; the reference is its id
    FILE = "file"  # the reference is a path below CANDLEWICK_HOME
    STORE = "store"  # market data; the reference is the market
    BADGE = "badge"  # a proof; the reference is the strategy


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where the result of a job is, and what is worth telling of it at once."""

    kind: ResultKind
    reference: str
    summary: dict[str, Any]


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as people see it."""

    id: int
    kind: JobKind
    title: str  # what was asked, in one line
    arguments: Mapping[str, Any]
    who: str
    state: JobState
    attempts: int  # how often it was begun
    progress: JobProgress | None
    result: JobResult | None
    error: str  # why it failed, or was begun again; empty otherwise
    cancelled_by: str  # who asked it to end; empty if nobody did
    asked_at_us: int
    started_at_us: int | None  # of the newest attempt
    finished_at_us: int | None


# How often a job is begun at most, where its process or its worker dies or a service is away for a moment.
# All kinds are harmless to repeat: a run is kept once, a search goes on, files are replaced whole.
MOST_ATTEMPTS: Mapping[JobKind, int] = {
    JobKind.BACKTEST: 3,
    JobKind.SWEEP: 5,
    JobKind.BACKFILL: 5,
    JobKind.EXPORT: 3,
    JobKind.IMPORT: 2,
    # A strategy that kills the process that proves it will do so again.
    JobKind.PROOF: 1,
}
