"""What jobs tell the pages, from processes and threads that have no event loop of their own."""

from __future__ import annotations

import msgspec
import structlog
from redis import Redis
from redis.exceptions import RedisError

from jobs.messages import JobUpdate, job_topic

log = structlog.get_logger()


class JobNews:
    """Publishes what changed. Safe to call from several threads."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)

    def __call__(self, update: JobUpdate) -> None:
        """Never fails: it is stored already or within a second, and pages that miss it look there."""
        try:
            self._client.publish(job_topic(update.id), msgspec.json.encode(update))
        except (RedisError, OSError) as error:
            log.info("job_news_lost", job=update.id, reason=str(error))

    def close(self) -> None:
        self._client.close()
