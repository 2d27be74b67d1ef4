"""How far a job is and how long it will take, told neither too often nor too late."""

from __future__ import annotations

import math
from collections.abc import Callable

from jobs.model import JobProgress

PUBLISH_EVERY_S = 0.25
STORE_EVERY_S = 1.0
_SOONEST_ESTIMATE_S = 0.5


class ProgressTeller:
    """Turns counts into progress, and hands it on at most so often. No clock of its own.

    `publish` gets it at most four times a second, `store` at most once; both get the last of each stage.
    """

    def __init__(
        self,
        *,
        publish: Callable[[JobProgress], None],
        store: Callable[[JobProgress], None],
        now_us: Callable[[], int],
    ) -> None:
        self._publish, self._store, self._now_us = publish, store, now_us
        self._published_us = self._stored_us = -math.inf
        self._stage = ""
        self._began_us = 0
        self._first = 0

    def __call__(self, done: int, total: int, message: str = "") -> None:
        """`done` of `total`, while busy with `message`; another message begins another stage."""
        at_us = self._now_us()
        begins = message != self._stage or self._began_us == 0
        if begins:
            # What an earlier attempt left behind took no time.
            self._stage, self._began_us, self._first = message, at_us, done
        spent_s = (at_us - self._began_us) / 1e6
        fresh = done - self._first
        rate = fresh / spent_s if fresh > 0 and spent_s >= _SOONEST_ESTIMATE_S else None
        progress = JobProgress(
            done=done,
            total=total,
            rate=rate,
            left_s=max(0, total - done) / rate if rate is not None and total > 0 else None,
            message=message,
            at_us=at_us,
        )
        at_once = begins or (total > 0 and done >= total)
        if at_once or at_us - self._published_us >= PUBLISH_EVERY_S * 1e6:
            self._published_us = at_us
            self._publish(progress)
        if at_once or at_us - self._stored_us >= STORE_EVERY_S * 1e6:
            self._stored_us = at_us
            self._store(progress)
