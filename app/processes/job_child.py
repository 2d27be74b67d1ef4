"""The process that does one job. What becomes of it is in the database before the process ends."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType

import structlog

from app.composition import now_us
from app.job_kinds.context import JobContext, JobStopped
from app.job_kinds.registry import do_job
from config.settings import Settings
from data.errors import TradingError, TransientError
from database.repositories.job_repository import JobRepository
from jobs.messages import JobUpdate, update_of
from jobs.model import JobProgress, JobState, JobView
from jobs.progress import ProgressTeller
from messaging.job_news import JobNews

TRY_LATER = 75  # exit status: a service was away; sysexits.h calls it EX_TEMPFAIL
_NICE = 10  # collectors and bots come first
_LONGEST_ERROR = 4_000  # letters

log = structlog.get_logger()


def do_one(settings: Settings, database_url: str, job_id: int, queue_id: int) -> int:
    """Do the job and keep its result or its error; the exit status of this process.

    0: it is over, or is no longer ours. `TRY_LATER`: a service is away, and the worker decides.
    """
    os.nice(_NICE)
    asked_to_end: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked_to_end.append(number)
        raise JobStopped

    signal.signal(signal.SIGTERM, stop)
    with ExitStack() as stack:
        jobs = JobRepository(database_url)
        stack.callback(jobs.close)
        announce: Callable[[JobUpdate], None] = _unheard
        if settings.redis_url is not None:
            news = JobNews(settings.redis_url.get_secret_value())
            stack.callback(news.close)
            announce = news
        job = jobs.job(job_id)
        if job is None or job.state is not JobState.RUNNING:
            return 0
        context = JobContext(
            settings=settings,
            database_url=database_url,
            tell=_teller(jobs, job, queue_id, announce),
            now_us=now_us,
        )
        try:
            try:
                result = do_job(job, context)
            except Exception as error:
                if not asked_to_end:
                    raise
                # Raised in the middle of somebody else's code, a signal may come out as any error of theirs.
                # What becomes of the job is for the worker to say, who sent it.
                log.info("job_stopped", job=job_id, error=repr(error))
                return 0
        except TransientError as error:
            # For the worker, which reads our last lines.
            log.warning("job_interrupted", job=job_id, error=str(error))
            return TRY_LATER
        except TradingError as error:
            over = jobs.finish(
                job_id, queue_id, JobState.FAILED, at_us=now_us(), error=str(error)[:_LONGEST_ERROR]
            )
        except Exception as error:  # noqa: BLE001 - the job is the boundary: its error is kept, then shown
            traceback.print_exc()
            over = jobs.finish(job_id, queue_id, JobState.FAILED, at_us=now_us(), error=_bug(error))
        else:
            over = jobs.finish(job_id, queue_id, JobState.DONE, at_us=now_us(), result=result)
        if over is not None:
            announce(update_of(over, sent_at_us=now_us()))
    return 0


def _teller(
    jobs: JobRepository, job: JobView, queue_id: int, announce: Callable[[JobUpdate], None]
) -> ProgressTeller:
    def store(progress: JobProgress) -> None:
        try:
            ours = jobs.report(job.id, queue_id, progress)
        except TransientError as error:
            log.info("job_progress_not_stored", job=job.id, error=str(error))
            return
        if not ours:
            # Somebody took our worker for dead; another process does the job.
            raise JobStopped

    def publish(progress: JobProgress) -> None:
        announce(update_of(job, sent_at_us=now_us(), progress=progress))

    return ProgressTeller(publish=publish, store=store, now_us=now_us)


def _bug(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(frame.filename)}:{frame.lineno}"  # noqa: PTH119 - a frame names no file for certain
    text = f"{type(error).__name__}: {error} ({where}); this is a fault of the program, its log has more"
    return text[:_LONGEST_ERROR]


def _unheard(update: JobUpdate) -> None:
    log.debug("job_not_announced", job=update.id)
