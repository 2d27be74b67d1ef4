"""Forms of the Data page that fetch, take in and give out data, and the jobs that do it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard.market_request import VENUES
from dashboard.number_formats import day_and_time, full_time, whole, zone_name
from dashboard.pages.backtests_jobs import job_tag, progress
from dashboard.pages.data_coverage import data_href
from dashboard.panels import aria, empty_state, icon
from data.errors import InvalidInput, Problem
from data.models import Market
from data.timeframes import Timeframe
from jobs.model import JobKind, JobState, JobView, ResultKind

KINDS = (JobKind.BACKFILL, JobKind.IMPORT, JobKind.EXPORT)
LARGEST_UPLOAD = 64 * 2**20
_JOBS = 30
_TITLES = {
    JobKind.BACKFILL: ("Fetch history", "database-import", "from the venue"),
    JobKind.IMPORT: ("Import a file", "upload", "candles or trades"),
    JobKind.EXPORT: ("Export", "database-export", "candles or trades to a file"),
}
# Argument of a job and the component that asks for it, in the order in which they stand.
FIELDS: Mapping[JobKind, tuple[str, ...]] = {
    JobKind.BACKFILL: ("venue", "symbol", "from", "to", "timeframes", "trades"),
    JobKind.IMPORT: ("venue", "symbol", "content", "timeframe", "file"),
    JobKind.EXPORT: ("venue", "symbol", "content", "timeframe", "from", "to", "format"),
}
_FORMATS = ("csv", "csv.gz", "parquet")


def field_id(kind: JobKind, name: str) -> str:
    return f"data-{kind}-{name}"


def value_of(name: str) -> str:
    """The property that holds what was filled in."""
    return "checked" if name == "trades" else "value"


def arguments_of(kind: JobKind, filled: Mapping[str, Any]) -> dict[str, Any]:
    """What the job is told; fields left empty are left out."""
    given = {name: value.strip() if isinstance(value, str) else value for name, value in filled.items()}
    told: dict[str, Any] = {name: value for name, value in given.items() if value not in (None, "", [])}
    told["symbol"] = str(told.get("symbol", "")).upper()
    if kind is JobKind.EXPORT:
        trades = told.pop("content", "candles") == "trades"
        ending = told.pop("format", "csv")
        told["trades"] = trades
        if trades:
            told.pop("timeframe", None)
        what = "trades" if trades else told.get("timeframe", "")
        span = "-".join(str(told[name])[:10] for name in ("from", "to") if name in told)
        name = "-".join(part for part in (str(told.get("venue", "")), told["symbol"], what, span) if part)
        told["file"] = f"{name}.{ending}".replace("/", "-")
    if kind is JobKind.IMPORT and told.get("content") == "trades":
        told.pop("timeframe", None)
    return told


def uploaded(name: str | None, contents: str | None) -> tuple[str, bytes] | None:
    """The file that a browser sent with the form; None without one. Raises InvalidInput."""
    if not name or not contents:
        return None
    try:
        return name, base64.b64decode(contents.partition(",")[2], validate=True)
    except binascii.Error as error:
        problem = Problem(
            where="upload", field="file", value=name[:60], expected="it came incomplete; send it again"
        )
        raise InvalidInput(problem) from error


def history_view(markets: Sequence[Market], imports: Sequence[str], wanted: Mapping[str, str]) -> Component:
    """The three forms beside each other, and below them the jobs, which are read apart."""
    venue, _, symbol = wanted.get("market", "").partition(":")
    if not symbol and markets:
        venue, symbol = markets[0].exchange, markets[0].symbol
    symbols = sorted({one.symbol for one in markets})
    return html.Div(
        [
            html.Div(
                [
                    _form(JobKind.BACKFILL, _backfill(venue, symbol, symbols, wanted), "Fetch"),
                    _form(JobKind.IMPORT, _import(venue, symbol, symbols, imports), "Import"),
                    _form(JobKind.EXPORT, _export(venue, symbol, symbols), "Export"),
                ],
                className="data-forms",
            ),
            html.Div(id="data-jobs"),
        ],
        className="stack",
    )


def _form(kind: JobKind, fields: Sequence[Component], verb: str) -> Component:
    title, icon_name, note = _TITLES[kind]
    return html.Section(
        [
            html.Div([icon(icon_name), title, html.Span(note, className="muted")], className="panel-head"),
            html.Div(
                [
                    *fields,
                    html.Div(id=f"data-{kind}-problems", className="run-problems", role="alert"),
                    html.Button(
                        [icon(icon_name), verb],
                        id=f"data-{kind}-start",
                        className="button primary",
                        type="button",
                    ),
                ],
                className="data-form",
            ),
        ],
        className="panel",
        **aria(label=title),
    )


def _market(kind: JobKind, venue: str, symbol: str, symbols: Sequence[str]) -> Component:
    return html.Div(
        [
            dmc.Select(
                id=field_id(kind, "venue"),
                label="Venue",
                data=[{"value": name, "label": label} for name, label in VENUES.items()],
                value=venue or None,
                allowDeselect=False,
            ),
            dmc.Autocomplete(
                id=field_id(kind, "symbol"), label="Symbol", data=list(symbols), value=symbol, limit=20
            ),
        ],
        className="data-row",
    )


def _span(kind: JobKind, start: str, end: str) -> Component:
    return html.Div(
        [
            dmc.TextInput(
                id=field_id(kind, "from"), label="From, UTC", placeholder="2026-11-01", value=start
            ),
            dmc.TextInput(id=field_id(kind, "to"), label="To, UTC", placeholder="now", value=end),
        ],
        className="data-row",
    )


def _backfill(venue: str, symbol: str, symbols: Sequence[str], wanted: Mapping[str, str]) -> list[Component]:
    kind = JobKind.BACKFILL
    return [
        _market(kind, venue, symbol, symbols),
        _span(kind, wanted.get("from", ""), wanted.get("to", "")),
        dmc.MultiSelect(
            id=field_id(kind, "timeframes"),
            label="Candles",
            placeholder="all but 1s",
            data=[one.value for one in Timeframe],
            value=[],
            clearable=True,
        ),
        dmc.Switch(
            id=field_id(kind, "trades"),
            label="Trades as well, to close holes",
            checked=wanted.get("trades") == "1",
            size="xs",
        ),
    ]


def _content(kind: JobKind, timeframe: str, note: str) -> Component:
    return html.Div(
        [
            dmc.Select(
                id=field_id(kind, "content"),
                label="What",
                data=[{"value": "candles", "label": "Candles"}, {"value": "trades", "label": "Trades"}],
                value="candles",
                allowDeselect=False,
            ),
            dmc.Select(
                id=field_id(kind, "timeframe"),
                label="Time frame",
                placeholder=note,
                data=[one.value for one in Timeframe],
                value=timeframe or None,
                clearable=True,
            ),
        ],
        className="data-row",
    )


def _import(venue: str, symbol: str, symbols: Sequence[str], imports: Sequence[str]) -> list[Component]:
    kind = JobKind.IMPORT
    return [
        _market(kind, venue, symbol, symbols),
        _content(kind, "", "as in the file"),
        html.Div(  # its script comes when the page stands: the place is kept
            dcc.Upload(
                [icon("upload"), html.Span("Drop a file here or choose one", id="data-upload-name")],
                id="data-upload",
                className="upload",
                className_active="upload over",
                max_size=LARGEST_UPLOAD,
            ),
            className="upload-place",
        ),
        dmc.Select(
            id=field_id(kind, "file"),
            label="Or a file that lies in the folder imports",
            placeholder=f"for more than {LARGEST_UPLOAD // 2**20} MiB",
            data=list(imports),
            value=None,
            clearable=True,
            searchable=True,
        ),
    ]


def _export(venue: str, symbol: str, symbols: Sequence[str]) -> list[Component]:
    kind = JobKind.EXPORT
    return [
        _market(kind, venue, symbol, symbols),
        _content(kind, "1m", "of candles"),
        _span(kind, "", ""),
        dmc.Select(
            id=field_id(kind, "format"),
            label="Format",
            data=[{"value": one, "label": one.upper()} for one in _FORMATS],
            value="csv",
            allowDeselect=False,
        ),
    ]


def problem_lines(problems: Sequence[Problem]) -> list[Component]:
    """What is wrong with a form, one line each."""
    return [
        html.P(
            [icon("alert-triangle"), html.Span([html.B(one.field), f" {one.value} {one.expected}"])],
            className="run-problem",
        )
        for one in problems
    ]


def jobs_panel(jobs: Sequence[JobView]) -> Component:
    """What was asked for lately, with its progress, and where the files are."""
    shown = [one for one in jobs if one.kind in KINDS][:_JOBS]
    body: Component = (
        html.Div([_job(one) for one in shown])
        if shown
        else empty_state("database-import", "Nothing was fetched, imported or exported here yet.")
    )
    return html.Section(
        [
            html.Div(
                [icon("list"), "Jobs", html.Span(f"{len(shown)}", className="count")], className="panel-head"
            ),
            body,
        ],
        className="panel",
        **aria(label="Jobs"),
    )


def _job(job: JobView) -> Component:
    title = _TITLES[job.kind][0]
    return html.Div(
        [
            html.Div(
                [
                    job_tag(job),
                    html.Span(
                        [html.B(job.title), html.Small(f"{title}, job {job.id}")], className="cell-two"
                    ),
                ],
                className="job-title",
            ),
            progress(job) if not job.state.is_over else html.Span(_outcome(job), className="muted wrap"),
            html.Div(_actions(job), className="job-actions"),
        ],
        className="job-line data-job",
    )


def _outcome(job: JobView) -> list[Any]:
    at = html.Span(day_and_time(job.finished_at_us), className="num", title=full_time(job.finished_at_us))
    if job.state is JobState.FAILED:
        return [html.Span(job.error, className="down"), " ", at]
    if job.result is None:
        return [at]
    return [at, f" {zone_name()}", *(f" · {part}" for part in _told(job.result.summary))]


def _told(summary: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The figures of a summary as words: `1,000 rows`."""
    parts: list[str] = []
    for name, value in summary.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            parts += _told(value, f"{label} " if name != "candles" else "")
        elif isinstance(value, int) and not isinstance(value, bool) and value:
            parts.append(f"{whole(value)} {label}")
    return parts[:8]


def _actions(job: JobView) -> list[Any]:
    actions: list[Any] = []
    if not job.state.is_over:
        actions.append(_button("cancel", job.id, "Cancel", "x"))
    elif job.state in (JobState.FAILED, JobState.CANCELLED):
        actions.append(_button("retry", job.id, "Try again", "refresh"))
    elif job.result is not None and job.result.kind is ResultKind.FILE:
        name = job.result.reference.rpartition("/")[2]
        actions.append(
            html.A([icon("download"), "Download"], href=f"/exports/{name}", download=name, className="button")
        )
    elif job.result is not None and job.result.kind is ResultKind.STORE:
        actions.append(dcc.Link("Coverage", href=data_href(market=job.result.reference), className="button"))
    return actions


def _button(what: str, job: int, label: str, icon_name: str) -> Component:
    return html.Button(
        [icon(icon_name), label],
        id={"type": "data-job", "do": what, "job": job},
        className="button",
        type="button",
    )
