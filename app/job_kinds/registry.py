"""Which code does a job of which kind; it is imported in the process of such a job alone."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

from app.job_kinds.context import JobContext
from jobs.arguments import parse_arguments
from jobs.model import JobKind, JobResult, JobView

_MODULES: Mapping[JobKind, str] = {
    JobKind.BACKTEST: "app.job_kinds.backtest",
    JobKind.SWEEP: "app.job_kinds.sweep",
    JobKind.BACKFILL: "app.job_kinds.backfill",
    JobKind.EXPORT: "app.job_kinds.transfer_out",
    JobKind.IMPORT: "app.job_kinds.transfer_in",
    JobKind.PROOF: "app.job_kinds.proof",
}


def do_job(job: JobView, context: JobContext) -> JobResult:
    """Do what the job asks for. Raises what its code raises; its arguments are checked once more first."""
    arguments = parse_arguments(job.kind, job.arguments)
    run = importlib.import_module(_MODULES[job.kind]).run
    return cast(JobResult, run(arguments, context))
