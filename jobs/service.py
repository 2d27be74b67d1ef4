"""What people do with jobs, on the command line and the page alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from data.errors import InvalidInput, Problem
from jobs.arguments import as_document, parse_arguments
from jobs.messages import JobUpdate, update_of
from jobs.model import JobKind, JobState, JobView
from jobs.stores import JobStore

MOST_LISTED = 1_000


class JobService:
    """Jobs for people. Synchronous: a page calls it in a thread.

    A method that takes a number raises InvalidInput for an unknown job; every method raises TransientError
    while the database cannot answer.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        clock: Callable[[], int],
        announce: Callable[[JobUpdate], None] | None = None,
    ) -> None:
        """`clock` gives now in microseconds; `announce` tells the pages of a change, which else look."""
        self._store, self._clock, self._announce = store, clock, announce

    def start(self, kind: JobKind | str, arguments: Mapping[str, Any], who: str) -> JobView:
        """Check the arguments and queue the job. It survives the process that asked for it.

        Raises InvalidInput with everything that is wrong with them; then nothing is queued.
        """
        wanted = _kind(kind)
        parsed = parse_arguments(wanted, arguments)
        number = self._store.add(
            wanted,
            as_document(parsed),
            title=parsed.title(),
            who=who,
            lock=parsed.lock(),
            asked_at_us=self._clock(),
        )
        return self._told(number)

    def jobs(
        self, limit: int = 100, kind: JobKind | str | None = None, state: JobState | str | None = None
    ) -> list[JobView]:
        """The newest jobs first, at most `limit`; of one kind or in one state where that is given."""
        if not 1 <= limit <= MOST_LISTED:
            raise _wrong("limit", str(limit), f"give a whole number from 1 to {MOST_LISTED:,}")
        return self._store.jobs(
            limit=limit,
            kind=None if kind is None else _kind(kind),
            state=None if state is None else _state(state),
        )

    def job(self, id: int) -> JobView:
        """The job of this number, as it stands now."""
        found = self._store.job(id)
        if found is None:
            raise _wrong("", str(id), "there is no job of this number; `candlewick jobs list` shows them")
        return found

    def cancel(self, id: int, who: str) -> JobView:
        """Take a queued job out of the queue; end a running one within seconds, whatever it is busy with.

        Raises InvalidInput where it is over already.
        """
        self.job(id)
        if not self._store.ask_to_cancel(id, who=who, at_us=self._clock()):
            raise _wrong("", str(id), f"is {self.job(id).state} already; only a job that is not over can be")
        return self._told(id)

    def retry(self, id: int, who: str = "") -> JobView:
        """Queue a job that failed or was cancelled once more, with the same arguments.

        What it had stored before stays and is not done again. Raises InvalidInput for one in another state.
        """
        job = self.job(id)
        parse_arguments(job.kind, job.arguments)
        if not self._store.queue_again(id, who=who or job.who, at_us=self._clock()):
            raise _wrong("", str(id), f"is {job.state}; only what failed or was cancelled can be retried")
        return self._told(id)

    def _told(self, number: int) -> JobView:
        job = self.job(number)
        if self._announce is not None:
            self._announce(update_of(job, sent_at_us=self._clock()))
        return job


def _kind(kind: JobKind | str) -> JobKind:
    try:
        return JobKind(kind)
    except ValueError:
        raise _wrong("kind", f'"{kind}"', f"expected one of {', '.join(JobKind)}") from None


def _state(state: JobState | str) -> JobState:
    try:
        return JobState(state)
    except ValueError:
        raise _wrong("state", f'"{state}"', f"expected one of {', '.join(JobState)}") from None


def _wrong(field: str, value: str, expected: str) -> InvalidInput:
    return InvalidInput(Problem(where="job", field=field, value=value, expected=expected))
