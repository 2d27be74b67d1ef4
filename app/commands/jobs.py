"""`candlewick jobs`: work that is done in the background: start it, follow it, end it."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click
import msgspec

from app.composition import open_store
from app.installation import Installation, running_in
from app.job_desk import open_jobs
from app.parent_watch import watch_parent
from app.services import services_in_reach
from config.logging import configure_logging
from config.settings import load_settings
from data.errors import InvalidInput, Problem
from data.timeframes import to_datetime
from jobs.model import JobKind, JobState, JobView
from jobs.service import JobService

_MOST_CONCURRENT = 32

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def command() -> None:
    """Backtests, searches, backfills, exports, imports and proofs that run in the background.

    A job survives the command or page that started it. `candlewick up` does them; `jobs run` does them alone.
    """


@command.command("start")
@click.argument("kind", type=click.Choice([kind.value for kind in JobKind]))
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--arguments", "document", metavar="JSON", help="All arguments as one JSON object instead.")
@json_option
def start(kind: str, arguments: tuple[str, ...], document: str | None, as_json: bool) -> None:
    """Queue a job. A VALUE is JSON where it can be read as JSON, else text.

    \b
    jobs start backtest strategy=ema_crossover venue=okx symbols='["BTC-USDT"]' from=2024-08-08
    jobs start sweep strategy=ema_crossover venue=okx symbol=BTC-USDT parameters='{"fast": "5:20:1"}'
    jobs start backfill venue=okx symbol=BTC-USDT from=2024-08-01
    jobs start export venue=okx symbol=BTC-USDT timeframe=1h file=hours.parquet
    jobs start import venue=okx symbol=BTC-USDT content=candles file=mine.csv
    jobs start proof strategy=ema_crossover
    """
    given = _assigned(arguments) if document is None else _object(document)
    if document is not None and arguments:
        raise click.UsageError("Give either NAME=VALUE or --arguments.")
    with _service() as jobs:
        _show(jobs.start(kind, given, getpass.getuser()), as_json=as_json)


@command.command("list")
@click.option("--kind", type=click.Choice([kind.value for kind in JobKind]), help="Of this kind alone.")
@click.option("--state", type=click.Choice([state.value for state in JobState]), help="In this state alone.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@json_option
def list_(kind: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List jobs, the newest first."""
    with _service() as jobs:
        found = jobs.jobs(limit, kind, state)
    if as_json:
        click.echo(json.dumps({"jobs": [_document(job) for job in found]}, indent=2))
        return
    if not found:
        click.echo("no jobs")
    for job in found:
        click.echo(f"{job.id:>6}  {job.state:<10}{job.kind:<10}{job.title}{_how_far(job)}")


@command.command("show")
@click.argument("number", type=int)
@json_option
def show(number: int, as_json: bool) -> None:
    """Show a job: what was asked, how far it is, its result or its error."""
    with _service() as jobs:
        _show(jobs.job(number), as_json=as_json)


@command.command("cancel")
@click.argument("number", type=int)
@json_option
def cancel(number: int, as_json: bool) -> None:
    """Take a job out of the queue, or end it where it runs."""
    with _service() as jobs:
        _show(jobs.cancel(number, getpass.getuser()), as_json=as_json)


@command.command("retry")
@click.argument("number", type=int)
@json_option
def retry(number: int, as_json: bool) -> None:
    """Queue a job again that failed or was cancelled. A search goes on where it stopped."""
    with _service() as jobs:
        _show(jobs.retry(number, getpass.getuser()), as_json=as_json)


@command.command("run")
@click.option(
    "--concurrency",
    type=click.IntRange(1, _MOST_CONCURRENT),
    default=2,
    show_default=True,
    help="Jobs at the same time. A search uses all cores by itself.",
)
def run(concurrency: int) -> None:
    """Do jobs until ended. What runs then is begun again by the next worker."""
    # The queue's library is needed here alone.
    from app.processes.jobs import WorkerPlan, work_on_jobs
    from messaging.job_news import JobNews

    supervised = watch_parent()
    settings = load_settings()
    configure_logging(settings.candlewick_log_level, process="jobs")
    installation = Installation(settings.candlewick_home)
    with services_in_reach(settings, installation, prepared=supervised) as services, ExitStack() as stack:
        news = JobNews(services.redis_url)
        stack.callback(news.close)
        asyncio.run(work_on_jobs(settings, services, plan=WorkerPlan(concurrency=concurrency), announce=news))


@command.command("execute", hidden=True)
@click.argument("number", type=int)
@click.argument("entry", type=int)
def execute(number: int, entry: int) -> None:
    """Do one job in this process, for the worker that took ENTRY from the queue."""
    from app.job_kinds.context import JobStopped
    from app.processes.job_child import do_one

    watch_parent(grace_s=5.0)
    settings = load_settings()
    configure_logging(settings.candlewick_log_level, process=f"job {number}")
    if settings.database_url is None:
        raise click.UsageError("A worker starts this command; DATABASE_URL is not set.")
    try:
        sys.exit(do_one(settings, settings.database_url.get_secret_value(), number, entry))
    except JobStopped:
        sys.exit(143)  # as a shell says of SIGTERM


@contextmanager
def _service() -> Iterator[JobService]:
    """Jobs of this installation, for one command."""
    settings = load_settings()
    running = running_in(settings.candlewick_home)
    redis_url = running.redis_url if running is not None else ""
    if settings.redis_url is not None:
        redis_url = settings.redis_url.get_secret_value()
    with open_store(settings) as store, open_jobs(store.url, redis_url) as jobs:
        yield jobs


def _assigned(arguments: tuple[str, ...]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{text!r} is no NAME=VALUE.")
        try:
            given[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            given[name] = value
    return given


def _object(document: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(document, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        expected = f"give a JSON object: {error}"
        problem = Problem(where="--arguments", field="", value=document[:100], expected=expected)
        raise InvalidInput(problem) from None


def _document(job: JobView) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(job)
    for name in ("asked_at", "started_at", "finished_at"):
        found[name] = _time(found.pop(f"{name}_us"))
    return found


def _show(job: JobView, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_document(job), indent=2))
        return
    click.echo(f"job {job.id}: {job.kind}, {job.title}\n  {job.state}{_how_far(job)}")
    for word, at_us in (
        ("asked", job.asked_at_us),
        ("began", job.started_at_us),
        ("over", job.finished_at_us),
    ):
        if at_us is not None:
            click.echo(f"  {word:<6} {_time(at_us)}{f' by {job.who}' if word == 'asked' else ''}")
    if job.cancelled_by:
        click.echo(f"  cancelled by {job.cancelled_by}")
    if job.error:
        click.echo(f"  {job.error}")
    if job.result is not None:
        click.echo(f"  {job.result.kind} {job.result.reference}")
        for name, value in job.result.summary.items():
            click.echo(f"    {name.replace('_', ' ')}: {value}")


def _how_far(job: JobView) -> str:
    if job.state is not JobState.RUNNING or job.progress is None:
        return ""
    progress = job.progress
    share = f"{progress.done:,} of {progress.total:,}" if progress.total else ""
    left = "" if progress.left_s is None else f"about {progress.left_s:,.0f} s left"
    return "  (" + ", ".join(part for part in (progress.message, share, left) if part) + ")"


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else to_datetime(at_us).isoformat()
