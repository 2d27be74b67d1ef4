"""A job on the page: how far it is, and how to end it or begin it again."""

from __future__ import annotations

from collections.abc import Sequence

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard.live_views import progress_percent, progress_words
from dashboard.number_formats import day_and_time, duration, full_time, zone_name
from dashboard.panels import aria, icon, tag
from jobs.model import JobState, JobView, ResultKind

_LOOKS = {
    JobState.QUEUED: ("Queued", "flat", "hourglass"),
    JobState.RUNNING: ("Running", "accent", "player-play"),
    JobState.DONE: ("Done", "up", "circle-check"),
    JobState.FAILED: ("Failed", "down", "alert-triangle"),
    JobState.CANCELLED: ("Cancelled", "flat", "ban"),
}


def job_href(job: int) -> str:
    """The address under which a job is found again after a reload."""
    return f"/backtests?job={job}"


def result_href(job: JobView) -> str | None:
    """Where the result of a finished job is shown."""
    if job.result is None:
        return None
    if job.result.kind is ResultKind.RUN:
        return f"/backtests?run={job.result.reference}"
    if job.result.kind is ResultKind.SEARCH:
        return f"/backtests?search={job.result.reference}"
    return None


def job_tag(job: JobView) -> Component:
    words, kind, icon_name = _LOOKS[job.state]
    return tag(words, kind, icon_name)


def progress(job: JobView) -> Component:
    """The bar and the words beside it, which the WebSocket keeps moving."""
    return html.Div(
        [
            dmc.Progress(
                id=f"job-bar-{job.id}",
                value=progress_percent(job.progress),
                size="sm",
                **aria(label=f"Progress of job {job.id}"),
            ),
            html.Span(
                progress_words(job.progress)
                or ("Waiting for a worker" if job.state is JobState.QUEUED else "Starting"),
                id=f"job-words-{job.id}",
                className="num muted",
            ),
        ],
        className="job-progress",
    )


def job_panel(job: JobView, now_us: int) -> Component:
    """One job in full."""
    result = result_href(job)
    times = [f"asked {day_and_time(job.asked_at_us)} {zone_name()} by {job.who}"]
    if job.started_at_us is not None:
        end = job.finished_at_us or now_us
        times.append(f"ran {duration(end - job.started_at_us)}" if job.state.is_over else "running")
    if job.attempts > 1:
        times.append(f"attempt {job.attempts}")
    return html.Section(
        [
            html.Div(
                [job_tag(job), html.B(job.title), html.Span(f"Job {job.id}", className="muted num end")],
                className="panel-head",
            ),
            html.Div(
                [
                    None if job.state.is_over else progress(job),
                    html.P(" · ".join(times), className="muted"),
                    html.Div([icon("alert-triangle"), html.P(job.error)], className="banner bad")
                    if job.error
                    else None,
                    html.Div(
                        [
                            None if job.state.is_over else _button("cancel", job.id, "Cancel", "x"),
                            _button("retry", job.id, "Try again", "refresh")
                            if job.state in (JobState.FAILED, JobState.CANCELLED)
                            else None,
                            dcc.Link("Open the result", href=result, className="button primary")
                            if result
                            else None,
                            dcc.Link("Back to the list", href="/backtests", className="button"),
                        ],
                        className="job-actions",
                    ),
                ],
                className="job-body",
            ),
        ],
        className="panel job",
        **aria(label=f"Job {job.id}"),
    )


def _button(what: str, job: int, label: str, icon_name: str) -> Component:
    return html.Button(
        [icon(icon_name), label],
        id={"type": "job-do", "do": what, "job": job},
        className="button",
        type="button",
    )


def jobs_strip(jobs: Sequence[JobView]) -> Component | None:
    """What is going on or went wrong lately, above the lists."""
    shown = [one for one in jobs if not one.state.is_over][:6]
    failed = [one for one in jobs[:5] if one.state is JobState.FAILED]
    if not shown and not failed:
        return None
    return html.Section(
        [
            html.Div(
                [
                    dcc.Link([job_tag(one), html.B(one.title)], href=job_href(one.id), className="job-title"),
                    progress(one)
                    if not one.state.is_over
                    else html.Span(one.error, className="muted clip", title=full_time(one.finished_at_us)),
                ],
                className="job-line",
            )
            for one in (*shown, *failed)
        ],
        className="panel jobs-strip",
        **aria(label="Jobs"),
    )
