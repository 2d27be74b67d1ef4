from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from data.errors import InvalidInput
from jobs.messages import JobUpdate
from jobs.model import JobKind, JobState, JobView
from jobs.service import JobService

NOW_US = 1_723_075_200_000_000
PROOF = {"strategy": "trend"}


class MemoryJobs:
    """Satisfies `jobs.stores.JobStore` without a database."""

    def __init__(self) -> None:
        self.kept: dict[int, JobView] = {}

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
        number = len(self.kept) + 1
        self.kept[number] = JobView(
            id=number,
            kind=kind,
            title=title,
            arguments=arguments,
            who=who,
            state=JobState.QUEUED,
            attempts=0,
            progress=None,
            result=None,
            error="",
            cancelled_by="",
            asked_at_us=asked_at_us,
            started_at_us=None,
            finished_at_us=None,
        )
        return number

    def job(self, job: int) -> JobView | None:
        return self.kept.get(job)

    def jobs(self, *, limit: int, kind: JobKind | None, state: JobState | None) -> list[JobView]:
        newest = sorted(self.kept.values(), key=lambda job: -job.id)
        return [job for job in newest if kind in (None, job.kind) and state in (None, job.state)][:limit]

    def ask_to_cancel(self, job: int, *, who: str, at_us: int) -> bool:
        return self._moved(job, JobState.CANCELLED, (JobState.QUEUED, JobState.RUNNING))

    def queue_again(self, job: int, *, who: str, at_us: int) -> bool:
        return self._moved(job, JobState.QUEUED, (JobState.FAILED, JobState.CANCELLED))

    def _moved(self, job: int, to: JobState, allowed: tuple[JobState, ...]) -> bool:
        if self.kept[job].state not in allowed:
            return False
        self.kept[job] = msgspec.structs.replace(self.kept[job], state=to)
        return True


@pytest.fixture
def heard() -> list[JobUpdate]:
    return []


@pytest.fixture
def service(heard: list[JobUpdate]) -> JobService:
    return JobService(MemoryJobs(), clock=lambda: NOW_US, announce=heard.append)


def test_a_job_is_queued_told_and_known_afterwards(service: JobService, heard: list[JobUpdate]) -> None:
    job = service.start("proof", PROOF, "ada")

    assert (job.state, job.who, job.title) == (JobState.QUEUED, "ada", "look-ahead proof of trend")
    assert service.job(job.id) == job
    assert [(update.id, update.state) for update in heard] == [(job.id, JobState.QUEUED)]


def test_nothing_is_queued_for_arguments_that_are_wrong(service: JobService, heard: list[JobUpdate]) -> None:
    with pytest.raises(InvalidInput):
        service.start("proof", {"strategy": "a/b"}, "ada")
    with pytest.raises(InvalidInput, match="expected one of backtest, sweep"):
        service.start("dance", {}, "ada")

    assert service.jobs() == []
    assert heard == []


def test_only_a_job_that_is_not_over_can_be_cancelled_and_only_one_that_is_can_be_retried(
    service: JobService,
) -> None:
    job = service.start("proof", PROOF, "ada")
    with pytest.raises(InvalidInput, match="only what failed or was cancelled"):
        service.retry(job.id)

    assert service.cancel(job.id, "bob").state is JobState.CANCELLED
    with pytest.raises(InvalidInput, match="is cancelled already"):
        service.cancel(job.id, "bob")
    assert service.retry(job.id).state is JobState.QUEUED


def test_an_unknown_job_and_an_impossible_limit_are_bad_input(service: JobService) -> None:
    for call in (lambda: service.job(7), lambda: service.cancel(7, "bob"), lambda: service.jobs(0)):
        with pytest.raises(InvalidInput):
            call()
