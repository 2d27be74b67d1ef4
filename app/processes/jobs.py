"""The worker: takes jobs from the queue, does each in a process of its own, and looks after what dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import procrastinate
import structlog
from procrastinate.exceptions import ConnectorException
from procrastinate.job_context import AbortReason
from procrastinate.worker import Worker

from app.composition import now_us
from app.installation import Installation, RunningServices
from app.parent_watch import LIFELINE
from app.processes.job_child import TRY_LATER
from config.settings import Settings
from data.errors import TransientError
from database.engine import libpq_url
from database.queue_schema import SEARCH_PATH
from database.repositories.job_repository import QUEUE, TASK, JobRepository
from embedded.processes import launch_command, spawn
from embedded.service_files import log_tail, open_log
from jobs.messages import JobUpdate, update_of
from jobs.model import JobState, JobView

log = structlog.get_logger()

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """How a worker goes about it; times in seconds."""

    concurrency: int = 2  # jobs at the same time
    heartbeat_every_s: float = 2.0
    silent_s: float = 10.0  # without a heartbeat for so long a worker is taken for dead
    look_every_s: float = 2.0  # for jobs of dead workers, and for jobs whose announcement was missed
    grace_s: float = 5.0  # between SIGTERM and SIGKILL for the process of a cancelled job
    retry_after_s: float = 10.0  # where a service was away; doubled with each attempt


class JobWorker:
    """Does jobs of one installation. Several may run side by side, on several machines as well."""

    def __init__(
        self,
        jobs: JobRepository,
        installation: Installation,
        services: RunningServices,
        *,
        announce: Callable[[JobUpdate], None],
        plan: WorkerPlan,
        program: tuple[str, ...] = (sys.executable, "-m", "app", "jobs", "execute"),
    ) -> None:
        """`program` is what does one job, given its number and the entry of the queue."""
        self._jobs, self._services, self._announce, self._plan = jobs, services, announce, plan
        self._program = program
        self._logs = installation.logs / "jobs"
        self._logs.mkdir(exist_ok=True)
        self._worker: Worker | None = None

    async def run(self, app: procrastinate.App) -> None:
        """Work until SIGTERM or SIGINT. What runs then is begun again by the next worker."""

        @app.task(name=TASK, queue=QUEUE, pass_context=True)
        async def run_job(context: procrastinate.JobContext, job_id: int) -> None:
            await self._take(context, job_id)

        self._worker = Worker(
            app=app,
            queues=[QUEUE],
            name="candlewick",
            concurrency=self._plan.concurrency,
            fetch_job_polling_interval=self._plan.look_every_s,
            abort_job_polling_interval=self._plan.look_every_s,
            shutdown_graceful_timeout=0,
            # What became of a job stands in our own table.
            delete_jobs="always",
            update_heartbeat_interval=self._plan.heartbeat_every_s,
            stalled_worker_timeout=self._plan.silent_s,
        )
        rescuer = asyncio.create_task(self._rescue_for_ever())
        try:
            await self._worker.run()  # type: ignore[no-untyped-call]
        finally:
            rescuer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await rescuer

    async def _take(self, context: procrastinate.JobContext, job_id: int) -> None:
        """Do one job to its end, whatever that is."""
        queue_id = context.job.id
        assert queue_id is not None
        job = await asyncio.to_thread(self._jobs.begin, job_id, queue_id, at_us=now_us())
        if job is None:
            log.info("job_is_not_ours", job=job_id)
            return
        self._tell(job)
        log.info("job_begins", job=job_id, kind=job.kind, attempt=job.attempts)
        path = self._logs / f"{job_id}.log"
        began = path.stat().st_size if path.exists() else 0
        with self._child(job_id, queue_id, path) as child:
            try:
                code = await _end_of(child)
            except asyncio.CancelledError:
                await asyncio.shield(self._end(child))
                if context.abort_reason() is AbortReason.USER_REQUEST:
                    over = await self._finish(job_id, queue_id)
                else:
                    over = await asyncio.to_thread(
                        self._jobs.interrupted,
                        job_id,
                        queue_id,
                        why="the worker was stopped",
                        at_us=now_us(),
                        count=False,
                    )
                self._tell(over)
                raise
        if code == 0:
            log.info("job_is_over", job=job_id)
            return
        await self._died(job, queue_id, code, log_tail(path, since=began))

    async def _finish(self, job_id: int, queue_id: int) -> JobView | None:
        return await asyncio.to_thread(
            self._jobs.finish, job_id, queue_id, JobState.CANCELLED, at_us=now_us()
        )

    async def _died(self, job: JobView, queue_id: int, code: int, tail: str) -> None:
        """Its process ended without a word on what became of the job."""
        delay_s = 0.0
        if code == TRY_LATER:
            delay_s = self._plan.retry_after_s * 2.0 ** (job.attempts - 1)
            why = f"a service was away: {tail}"
        elif code < 0:
            why = f"its process was killed by {signal.Signals(-code).name}"
        else:
            why = f"its process ended with status {code}: {tail}"
        after = await asyncio.to_thread(
            self._jobs.interrupted, job.id, queue_id, why=why, at_us=now_us(), delay_s=delay_s
        )
        log.warning("job_process_died", job=job.id, why=why, state=None if after is None else after.state)
        self._tell(after)

    @contextlib.contextmanager
    def _child(self, job_id: int, queue_id: int, path: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The process of one job; it and all that it started are gone after the block."""
        # The child reads this pipe to its end, which comes when we are no more, however that happens.
        lifeline, held = os.pipe()
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": self._services.database_url,
            "REDIS_URL": self._services.redis_url,
            "CANDLEWICK_VENUE_SOURCE": self._services.mode.value,
            LIFELINE: str(lifeline),
        }
        try:
            with open_log(path) as output:
                child = spawn(
                    launch_command(
                        [*self._program, str(job_id), str(queue_id)], on_parent_death=signal.SIGTERM
                    ),
                    output=output,
                    env=environment,
                    pass_fds=(lifeline,),
                )
            os.close(lifeline)
            try:
                yield child
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        finally:
            os.close(held)

    async def _end(self, child: subprocess.Popen[bytes]) -> None:
        """SIGTERM, and after the grace whatever it takes."""
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_end_of(child), self._plan.grace_s)

    async def _rescue_for_ever(self) -> None:
        """Look after jobs whose worker died without a word: ours of an earlier life, and other workers'."""
        while True:
            await asyncio.sleep(self._plan.look_every_s)
            try:
                await asyncio.to_thread(self._rescue)
            except TransientError as error:
                log.warning("jobs_not_looked_after", error=str(error))

    def _rescue(self) -> None:
        ours = None if self._worker is None else self._worker.worker_id
        for lost in self._jobs.lost(silent_s=self._plan.silent_s, besides=ours):
            after = self._jobs.interrupted(lost.id, lost.queue_id, why="its worker died", at_us=now_us())
            self._jobs.drop_entry(lost.queue_id)
            if after is not None:
                log.warning("job_of_a_dead_worker", job=lost.id, state=after.state)
                self._tell(after)

    def _tell(self, job: JobView | None) -> None:
        if job is not None:
            self._announce(update_of(job, sent_at_us=now_us()))


async def _end_of(child: subprocess.Popen[bytes]) -> int:
    while (code := child.poll()) is None:  # noqa: ASYNC110 - a process sets no event
        await asyncio.sleep(_POLL_S)
    return code


@asynccontextmanager
async def job_queue(database_url: str, *, connections: int) -> AsyncIterator[procrastinate.App]:
    """The queue, open for a worker. Raises TransientError while the database cannot be reached."""
    connector = procrastinate.PsycopgConnector(
        conninfo=libpq_url(database_url),
        min_size=1,
        max_size=connections,
        kwargs={"options": SEARCH_PATH, "application_name": "candlewick job queue", "connect_timeout": 5},
    )
    app = procrastinate.App(connector=connector)
    try:
        async with app.open_async():
            yield app
    except ConnectorException as error:
        raise TransientError(f"the queue of jobs cannot be reached: {error.__cause__ or error}") from error


async def work_on_jobs(
    settings: Settings,
    services: RunningServices,
    *,
    plan: WorkerPlan,
    announce: Callable[[JobUpdate], None],
) -> None:
    """Do this installation's jobs until SIGTERM or SIGINT."""
    jobs = JobRepository(services.database_url, pool_size=plan.concurrency + 2)
    try:
        worker = JobWorker(
            jobs, Installation(settings.candlewick_home), services, announce=announce, plan=plan
        )
        async with job_queue(services.database_url, connections=plan.concurrency + 2) as app:
            await worker.run(app)
    finally:
        jobs.close()
