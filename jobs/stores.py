"""Where jobs are kept and queued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from jobs.model import JobKind, JobState, JobView


class JobStore(Protocol):
    """Jobs with their queue. Every method raises TransientError while the database cannot answer."""

    def add(
        self,
        kind: JobKind,
        arguments: Mapping[str, Any],
        *,
        title: str,
        who: str,
        lock: str | None,
        asked_at_us: int,
    ) -> int:
        """Keep and queue a job, both or neither; its number. Of equal `lock` one runs at a time."""
        ...

    def job(self, job: int) -> JobView | None:
        """The job of this number, if there is one."""
        ...

    def jobs(self, *, limit: int, kind: JobKind | None, state: JobState | None) -> list[JobView]:
        """The newest jobs first."""
        ...

    def ask_to_cancel(self, job: int, *, who: str, at_us: int) -> bool:
        """Take a queued job out, have a running one ended; False where it is over already."""
        ...

    def queue_again(self, job: int, *, who: str, at_us: int) -> bool:
        """Queue a job that failed or was cancelled, as if it were new; False where it is neither."""
        ...
