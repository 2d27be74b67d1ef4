"""A market's history from its venue, as a job. What is stored is not fetched again, so it can be repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from app.history_loading import USUAL_TIMEFRAMES, backfilled
from app.job_kinds.context import JobContext
from data.collectors.backfill import OnProgress
from data.errors import InvalidInput, Problem
from jobs.arguments import BackfillArguments, market_of, moment_of
from jobs.model import JobResult, ResultKind


def run(arguments: BackfillArguments, context: JobContext) -> JobResult:
    """Fetch it. Raises InvalidInput for an unknown symbol, TransientError where the venue is away."""
    now_us, market = context.now_us(), market_of(arguments)
    start_us, wished_us = moment_of(arguments.start), moment_of(arguments.end)
    assert start_us is not None
    end_us = now_us if wished_us is None else min(wished_us, now_us)
    if start_us >= end_us:
        expected = "expected a time that is past"
        raise InvalidInput(Problem(where="job", field="from", value=arguments.start, expected=expected))

    @contextmanager
    def watch(label: str) -> Iterator[OnProgress]:
        yield lambda done, total: context.tell(done, total, label)

    summary = asyncio.run(
        backfilled(
            context.settings,
            context.database_url,
            market,
            (start_us, end_us),
            timeframes=arguments.timeframes or USUAL_TIMEFRAMES,
            trades=arguments.trades,
            watch=watch,
        )
    )
    return JobResult(kind=ResultKind.STORE, reference=str(market), summary=summary)
