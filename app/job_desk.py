"""Jobs of an installation, for a process or a command that asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from app.composition import now_us
from database.repositories.job_repository import JobRepository
from jobs.service import JobService
from messaging.job_news import JobNews


@contextmanager
def open_jobs(database_url: str, redis_url: str) -> Iterator[JobService]:
    """The service, closed with the block; without a bus (an empty URL) pages hear of changes later."""
    with ExitStack() as stack:
        repository = JobRepository(database_url)
        stack.callback(repository.close)
        news = None
        if redis_url:
            news = JobNews(redis_url)
            stack.callback(news.close)
        yield JobService(repository, clock=now_us, announce=news)
