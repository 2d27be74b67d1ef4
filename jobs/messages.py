"""What jobs tell while they run. The database holds the truth, these bring news."""

from __future__ import annotations

import msgspec

from jobs.model import JobKind, JobProgress, JobResult, JobState, JobView

ALL_JOBS = "jobs.*"


class JobUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="job"):
    """A job as it stands now: enough to change a row of a table without asking the database."""

    id: int
    kind: JobKind
    title: str
    state: JobState
    progress: JobProgress | None
    result: JobResult | None
    error: str
    sent_at_us: int


def job_topic(job: int) -> str:
    return f"jobs.{job}"


def update_of(job: JobView, *, sent_at_us: int, progress: JobProgress | None = None) -> JobUpdate:
    """The news that `job` is; `progress` where it is newer than what is stored."""
    return JobUpdate(
        id=job.id,
        kind=job.kind,
        title=job.title,
        state=job.state,
        progress=progress or job.progress,
        result=job.result,
        error=job.error,
        sent_at_us=sent_at_us,
    )
