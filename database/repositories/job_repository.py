"""Jobs in PostgreSQL, and their entries in Procrastinate's queue: both change in one transaction.

A job has one entry at a time. Whoever works on a job says which entry it was given, and changes nothing where
that is no longer the job's: a worker that was taken for dead cannot spoil what another one does in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec
from procrastinate import SyncPsycopgConnector
from procrastinate.jobs import Job as Entry
from procrastinate.manager import JobManager
from procrastinate.sql import queries
from sqlalchemy import Connection, Engine

from data.timeframes import to_datetime, to_us
from database.engine import database_errors, sync_engine
from jobs.model import MOST_ATTEMPTS, JobKind, JobProgress, JobResult, JobState, JobView

QUEUE = "candlewick"
TASK = "run_job"

_COLUMNS = (
    "job_id, kind, title, arguments, who, state, attempts, progress, result, error, cancelled_by,"
    " asked_at, started_at, finished_at"
)


class LostJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job whose worker is gone, or whose entry has left the queue without a word."""

    id: int
    queue_id: int


class JobRepository:
    """Satisfies `jobs.stores.JobStore`; the rest is for workers. Safe to use from several threads."""

    def __init__(self, url: str, *, pool_size: int = 2) -> None:
        self._url = url
        self._engine: Engine = sync_engine(url, application_name="candlewick jobs", pool_size=pool_size)
        # Never opened: it works on our connections.
        self._queue = JobManager(SyncPsycopgConnector())

    def close(self) -> None:
        self._engine.dispose()

    # --- for people

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
        with self._transaction() as connection:
            job: int = connection.exec_driver_sql(
                "INSERT INTO jobs (kind, title, arguments, who, lock, state, asked_at)"
                " VALUES (%s, %s, %s::json, %s, %s, 'queued', %s) RETURNING job_id",
                (kind.value, title, _json(arguments), who, lock, to_datetime(asked_at_us)),
            ).scalar_one()
            self._enter(connection, job, lock)
        return job

    def job(self, job: int) -> JobView | None:
        found = self._rows(f"SELECT {_COLUMNS} FROM jobs WHERE job_id = %s", (job,))
        return _view(found[0]) if found else None

    def jobs(self, *, limit: int, kind: JobKind | None, state: JobState | None) -> list[JobView]:
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM jobs WHERE (%s::text IS NULL OR kind = %s)"
            " AND (%s::text IS NULL OR state = %s) ORDER BY job_id DESC LIMIT %s",
            (kind, kind, state, state, limit),
        )
        return [_view(row) for row in rows]

    def ask_to_cancel(self, job: int, *, who: str, at_us: int) -> bool:
        with self._transaction() as connection:
            # A job that waits is over at once; one that runs is over when its worker has ended it.
            found = connection.exec_driver_sql(
                "UPDATE jobs SET cancelled_by = %s,"
                " state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,"
                " finished_at = CASE state WHEN 'queued' THEN %s ELSE finished_at END"
                " WHERE job_id = %s AND state IN ('queued', 'running') RETURNING queue_id",
                (who, to_datetime(at_us), job),
            ).scalar_one_or_none()
            if found is None:
                return False
            self._on_queue(connection, "cancel_job", job_id=found, abort=True, delete_job=True)
        return True

    def queue_again(self, job: int, *, who: str, at_us: int) -> bool:
        with self._transaction() as connection:
            found = connection.exec_driver_sql(
                "UPDATE jobs SET state = 'queued', who = %s, asked_at = %s, attempts = 0, progress = NULL,"
                " error = '', cancelled_by = '', started_at = NULL, finished_at = NULL"
                " WHERE job_id = %s AND state IN ('failed', 'cancelled') RETURNING lock",
                (who, to_datetime(at_us), job),
            ).one_or_none()
            if found is None:
                return False
            self._enter(connection, job, found[0])
        return True

    # --- for workers

    def begin(self, job: int, queue_id: int, *, at_us: int) -> JobView | None:
        """The job, running now; None where this entry of the queue is no longer the job's."""
        return self._changed(
            job,
            queue_id,
            "state = 'running', attempts = attempts + 1, started_at = %s, progress = NULL, error = ''",
            (to_datetime(at_us),),
            state=JobState.QUEUED,
        )

    def report(self, job: int, queue_id: int, progress: JobProgress) -> bool:
        """Keep how far it is; False where the job is no longer ours."""
        return self._changed(job, queue_id, "progress = %s::json", (_json(progress),)) is not None

    def finish(
        self,
        job: int,
        queue_id: int,
        state: JobState,
        *,
        at_us: int,
        result: JobResult | None = None,
        error: str = "",
    ) -> JobView | None:
        """Done, failed or cancelled; None where the job is no longer ours."""
        return self._changed(
            job,
            queue_id,
            "state = %s, finished_at = %s, result = coalesce(%s::json, result), error = %s",
            (state.value, to_datetime(at_us), None if result is None else _json(result), error),
        )

    def interrupted(
        self, job: int, queue_id: int, *, why: str, at_us: int, delay_s: float = 0.0, count: bool = True
    ) -> JobView | None:
        """What became of a job whose process ended without a word: it is queued again, or has failed.

        It fails when it was begun `MOST_ATTEMPTS` times, and is cancelled where that had been asked for. With
        `count` false this attempt does not count: the worker was stopped, through no fault of the job. None
        where the job is no longer ours.
        """
        with self._transaction() as connection:
            row = (
                connection.exec_driver_sql(
                    f"SELECT {_COLUMNS}, lock FROM jobs WHERE job_id = %s AND queue_id = %s"
                    " AND state IN ('queued', 'running') FOR UPDATE",
                    (job, queue_id),
                )
                .mappings()
                .one_or_none()
            )
            if row is None:
                return None
            attempts = row["attempts"] - (0 if count or row["state"] == JobState.QUEUED else 1)
            if row["cancelled_by"]:
                state, error = JobState.CANCELLED, ""
            elif attempts >= MOST_ATTEMPTS[JobKind(row["kind"])]:
                times = "once" if attempts == 1 else f"{attempts} times"
                state, error = JobState.FAILED, f"{why}; begun {times}, and not again"
            else:
                state, error = JobState.QUEUED, f"{why}; begun again" if count else ""
            finished_at = to_datetime(at_us) if state.is_over else None
            connection.exec_driver_sql(
                "UPDATE jobs SET state = %s, error = %s, attempts = %s, finished_at = %s WHERE job_id = %s",
                (state.value, error, attempts, finished_at, job),
            )
            if state is JobState.QUEUED:
                due_us = at_us + round(delay_s * 1e6) if delay_s > 0 else None
                self._enter(connection, job, row["lock"], at_us=due_us)
            changed = connection.exec_driver_sql(
                f"SELECT {_COLUMNS} FROM jobs WHERE job_id = %s", (job,)
            ).mappings()
            return _view(dict(changed.one()))

    def lost(self, *, silent_s: float, besides: int | None) -> list[LostJob]:
        """Jobs under way whose worker has been silent for so long, that of the id `besides` left out.

        Also those whose entry is not in the queue any more, or is over, while the job is not.
        """
        rows = self._rows(
            "SELECT j.job_id AS id, j.queue_id FROM jobs j"
            " LEFT JOIN job_queue.procrastinate_jobs q ON q.id = j.queue_id"
            " LEFT JOIN job_queue.procrastinate_workers w ON w.id = q.worker_id"
            " WHERE j.state IN ('queued', 'running') AND (q.id IS NULL OR q.status NOT IN ('todo', 'doing')"
            " OR q.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < now() - %s)"
            " AND q.worker_id IS DISTINCT FROM %s)",
            (timedelta(seconds=silent_s), besides),
        )
        return [msgspec.convert(row, LostJob) for row in rows]

    def drop_entry(self, queue_id: int) -> None:
        """Take the entry of a dead worker out of the queue, so that its lock is free."""
        with self._transaction() as connection, _names_of_the_queue(connection):
            connection.exec_driver_sql("DELETE FROM procrastinate_jobs WHERE id = %s", (queue_id,))

    # --- the queue

    def _enter(self, connection: Connection, job: int, lock: str | None, *, at_us: int | None = None) -> None:
        """Give the job a new entry in the queue, the only one that counts from now on."""
        entry = Entry(
            id=None,
            queue=QUEUE,
            task_name=TASK,
            task_kwargs={"job_id": job},
            lock=lock,
            queueing_lock=None,
            scheduled_at=None if at_us is None else to_datetime(at_us),
        )
        with _names_of_the_queue(connection):
            queued = self._queue.defer_job(entry, connection=connection.connection.driver_connection)
        connection.exec_driver_sql("UPDATE jobs SET queue_id = %s WHERE job_id = %s", (queued.id, job))

    def _on_queue(self, connection: Connection, query: str, **parameters: Any) -> None:
        with _names_of_the_queue(connection):
            connection.exec_driver_sql(queries[query], parameters)

    def _changed(
        self,
        job: int,
        queue_id: int,
        assignments: str,
        parameters: tuple[Any, ...],
        *,
        state: JobState = JobState.RUNNING,
    ) -> JobView | None:
        rows = self._rows(
            f"UPDATE jobs SET {assignments} WHERE job_id = %s AND queue_id = %s AND state = %s"
            f" RETURNING {_COLUMNS}",
            (*parameters, job, queue_id, state.value),
        )
        return _view(rows[0]) if rows else None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with database_errors(self._url), self._engine.begin() as connection:
            yield connection

    def _rows(self, sql: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
        with self._transaction() as connection:
            return [dict(row) for row in connection.exec_driver_sql(sql, parameters).mappings()]


@contextmanager
def _names_of_the_queue(connection: Connection) -> Iterator[None]:
    """Inside the block the queue's tables are found by their bare names, as its functions expect."""
    before = connection.exec_driver_sql("SELECT current_setting('search_path')").scalar_one()
    connection.exec_driver_sql("SELECT set_config('search_path', %s, true)", (f"job_queue, {before}",))
    yield
    connection.exec_driver_sql("SELECT set_config('search_path', %s, true)", (before,))


def _view(row: Mapping[str, Any]) -> JobView:
    return JobView(
        id=row["job_id"],
        kind=JobKind(row["kind"]),
        title=row["title"],
        arguments=row["arguments"],
        who=row["who"],
        state=JobState(row["state"]),
        attempts=row["attempts"],
        progress=None if row["progress"] is None else msgspec.convert(row["progress"], JobProgress),
        result=None if row["result"] is None else msgspec.convert(row["result"], JobResult),
        error=row["error"],
        cancelled_by=row["cancelled_by"],
        asked_at_us=to_us(row["asked_at"]),
        started_at_us=None if row["started_at"] is None else to_us(row["started_at"]),
        finished_at_us=None if row["finished_at"] is None else to_us(row["finished_at"]),
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
