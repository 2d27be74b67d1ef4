from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import procrastinate
import psycopg
import pytest

from database.engine import libpq_url
from database.migrate import migrate
from database.queue_schema import SEARCH_PATH
from database.repositories.job_repository import JobRepository
from jobs.model import JobKind, JobProgress, JobResult, JobState, JobView, ResultKind

pytestmark = pytest.mark.integration

T0 = 1_723_075_200_000_000


@pytest.fixture
def jobs(store_url: str) -> Iterator[JobRepository]:
    repository = JobRepository(store_url)
    yield repository
    repository.close()


def added(jobs: JobRepository, kind: JobKind = JobKind.BACKTEST, lock: str | None = None) -> JobView:
    number = jobs.add(kind, {"strategy": "50 % of all"}, title="a run", who="ada", lock=lock, asked_at_us=T0)
    return known(jobs, number)


def known(jobs: JobRepository, number: int) -> JobView:
    found = jobs.job(number)
    assert found is not None
    return found


def entry_of(url: str, job: int) -> int:
    """What a worker is given with the job."""
    with psycopg.connect(libpq_url(url)) as connection:
        row = connection.execute("SELECT queue_id FROM jobs WHERE job_id = %s", (job,)).fetchone()
    assert row is not None
    return int(row[0])


def take(url: str, entry: int, *, heartbeat_age_s: float = 0.0) -> None:
    """Fetch the entry as a worker does that was last heard of so long ago."""
    with psycopg.connect(libpq_url(url), options=SEARCH_PATH) as connection:
        connection.execute(
            "WITH worker AS (INSERT INTO procrastinate_workers (last_heartbeat)"
            " VALUES (now() - make_interval(secs => %s)) RETURNING id)"
            " UPDATE procrastinate_jobs SET status = 'doing',"
            " worker_id = (SELECT id FROM worker) WHERE id = %s",
            (heartbeat_age_s, entry),
        )


def statuses(url: str, job: int) -> list[str]:
    with psycopg.connect(libpq_url(url)) as connection:
        return [
            row[0]
            for row in connection.execute(
                "SELECT status::text FROM job_queue.procrastinate_jobs"
                " WHERE (args ->> 'job_id')::bigint = %s ORDER BY id",
                (job,),
            )
        ]


def test_a_job_and_its_entry_in_the_queue_come_together(jobs: JobRepository, store_url: str) -> None:
    job = added(jobs)

    assert (job.state, job.attempts, job.who, job.arguments) == (
        JobState.QUEUED,
        0,
        "ada",
        {"strategy": "50 % of all"},
    )
    assert statuses(store_url, job.id) == ["todo"]


def test_progress_and_result_come_back_as_they_went(jobs: JobRepository, store_url: str) -> None:
    job = added(jobs)
    entry = entry_of(store_url, job.id)
    progress = JobProgress(done=3, total=9, rate=1.5, left_s=4.0, message="candles", at_us=T0 + 5)
    result = JobResult(kind=ResultKind.RUN, reference="7", summary={"sharpe": 1.25})

    assert jobs.begin(job.id, entry, at_us=T0 + 1) is not None
    assert jobs.report(job.id, entry, progress)
    assert known(jobs, job.id).progress == progress
    jobs.finish(job.id, entry, JobState.DONE, at_us=T0 + 9, result=result)

    done = known(jobs, job.id)
    assert (done.state, done.result, done.attempts) == (JobState.DONE, result, 1)
    assert (done.started_at_us, done.finished_at_us) == (T0 + 1, T0 + 9)


def test_a_worker_whose_entry_is_no_longer_the_jobs_changes_nothing(
    jobs: JobRepository, store_url: str
) -> None:
    job = added(jobs)
    old = entry_of(store_url, job.id)
    jobs.begin(job.id, old, at_us=T0)
    jobs.interrupted(job.id, old, why="its worker died", at_us=T0)
    new = entry_of(store_url, job.id)
    assert new != old

    assert jobs.begin(job.id, old, at_us=T0) is None
    jobs.begin(job.id, new, at_us=T0)
    assert not jobs.report(
        job.id, old, JobProgress(done=1, total=1, rate=None, left_s=None, message="", at_us=T0)
    )
    assert jobs.finish(job.id, old, JobState.FAILED, at_us=T0, error="late") is None
    assert known(jobs, job.id).state is JobState.RUNNING


def test_a_job_whose_process_keeps_dying_fails_with_the_reason(jobs: JobRepository, store_url: str) -> None:
    job = added(jobs)
    for attempt in range(1, 4):
        entry = entry_of(store_url, job.id)
        jobs.begin(job.id, entry, at_us=T0)
        after = jobs.interrupted(job.id, entry, why="its process was killed", at_us=T0)
        assert after is not None
        assert (after.state, after.attempts) == (
            JobState.QUEUED if attempt < 3 else JobState.FAILED,
            attempt,
        )
    assert known(jobs, job.id).error == "its process was killed; begun 3 times, and not again"


def test_a_worker_that_is_stopped_costs_the_job_no_attempt(jobs: JobRepository, store_url: str) -> None:
    job = added(jobs, JobKind.PROOF)
    entry = entry_of(store_url, job.id)
    jobs.begin(job.id, entry, at_us=T0)

    after = jobs.interrupted(job.id, entry, why="stopped", at_us=T0, count=False)

    assert after is not None
    assert (after.state, after.attempts, after.error) == (JobState.QUEUED, 0, "")


def test_a_waiting_job_is_cancelled_at_once_and_leaves_the_queue(jobs: JobRepository, store_url: str) -> None:
    job = added(jobs)

    assert jobs.ask_to_cancel(job.id, who="bob", at_us=T0 + 3)

    cancelled = known(jobs, job.id)
    assert (cancelled.state, cancelled.cancelled_by, cancelled.finished_at_us) == (
        JobState.CANCELLED,
        "bob",
        T0 + 3,
    )
    assert statuses(store_url, job.id) == []
    assert not jobs.ask_to_cancel(job.id, who="bob", at_us=T0)


def test_a_cancelled_job_can_be_queued_again_as_if_it_were_new(jobs: JobRepository, store_url: str) -> None:
    job = added(jobs)
    jobs.ask_to_cancel(job.id, who="bob", at_us=T0)

    assert jobs.queue_again(job.id, who="eve", at_us=T0 + 9)
    assert not jobs.queue_again(job.id, who="eve", at_us=T0 + 9)

    again = known(jobs, job.id)
    assert (again.state, again.who, again.cancelled_by, again.finished_at_us) == (
        JobState.QUEUED,
        "eve",
        "",
        None,
    )
    assert statuses(store_url, job.id) == ["todo"]


def test_lost_are_jobs_of_silent_workers_and_those_whose_entry_is_gone(
    jobs: JobRepository, store_url: str
) -> None:
    silent, lively, gone, waiting = (added(jobs) for _ in range(4))
    for job, age_s in ((silent, 60.0), (lively, 0.0)):
        entry = entry_of(store_url, job.id)
        take(store_url, entry, heartbeat_age_s=age_s)
        jobs.begin(job.id, entry, at_us=T0)
    jobs.drop_entry(entry_of(store_url, gone.id))

    lost = {one.id for one in jobs.lost(silent_s=10.0, besides=None)}

    assert lost & {silent.id, lively.id, gone.id, waiting.id} == {silent.id, gone.id}


def test_a_cancelled_job_of_a_dead_worker_is_cancelled_and_not_begun_again(
    jobs: JobRepository, store_url: str
) -> None:
    job = added(jobs)
    entry = entry_of(store_url, job.id)
    take(store_url, entry, heartbeat_age_s=60.0)
    jobs.begin(job.id, entry, at_us=T0)
    jobs.ask_to_cancel(job.id, who="bob", at_us=T0)

    after = jobs.interrupted(job.id, entry, why="its worker died", at_us=T0 + 1)

    assert after is not None
    assert after.state is JobState.CANCELLED


def functions_of_the_queue(url: str) -> dict[str, str]:
    with psycopg.connect(libpq_url(url)) as connection:
        return dict(
            connection.execute(
                "SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc"
                " WHERE pronamespace = 'job_queue'::regnamespace"
            ).fetchall()
        )


def test_a_queue_that_an_earlier_library_made_becomes_that_of_this_one(
    new_database: Callable[[], str], store_url: str
) -> None:
    url = new_database()
    migrate(url)
    files = sorted((Path(procrastinate.__file__).parent / "sql" / "migrations").glob("*.sql"))
    earlier = [file for file in files if not file.name.startswith("03.04")]
    assert 0 < len(earlier) < len(files)
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        connection.execute("DROP SCHEMA job_queue CASCADE")
        connection.execute("CREATE SCHEMA job_queue")
        connection.execute("CREATE TABLE job_queue.applied_files (name text PRIMARY KEY)")
        connection.execute("SET search_path TO job_queue")
        for file in earlier:
            connection.execute(file.read_bytes())
            connection.execute("INSERT INTO applied_files VALUES (%s)", (file.name,))

    migrate(url)

    assert functions_of_the_queue(url) == functions_of_the_queue(store_url)


def test_jobs_are_listed_newest_first_by_kind_and_state(jobs: JobRepository) -> None:
    first, second = added(jobs, JobKind.EXPORT), added(jobs, JobKind.EXPORT)
    jobs.ask_to_cancel(first.id, who="bob", at_us=T0)

    def listed(state: JobState | None) -> list[int]:
        return [job.id for job in jobs.jobs(limit=10, kind=JobKind.EXPORT, state=state)]

    assert listed(None) == [second.id, first.id]
    assert listed(JobState.CANCELLED) == [first.id]
