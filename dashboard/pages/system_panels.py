"""Panels of the System page: processes, database, Redis, jobs, logs, versions and configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from dashboard.number_formats import MISSING, compact, day_and_time, duration, full_time, plain, share, whole
from dashboard.panels import Column, aria, empty_state, icon, table, tag
from dashboard.system_readers import BusFacts, DatabaseFacts, LogEvent, ProcessFacts
from jobs.model import JobState, JobView

_STEP = 1024.0
_STATES = {
    "running": ("up", "circle-check"),
    "crash loop": ("down", "alert-triangle"),
    "misconfigured": ("down", "alert-triangle"),
    "stopped": ("flat", "player-stop"),
    "exited": ("flat", "player-stop"),
}
_LEVELS = {"warning": "warn", "error": "down", "critical": "down"}


def size(count: float | None) -> str:
    """Bytes as `38 MiB`, `1.4 GiB`."""
    if count is None:
        return MISSING
    for unit in ("B", "KiB", "MiB"):
        if count < _STEP:
            return f"{plain(count, 0)} {unit}"
        count /= _STEP
    return f"{plain(count, 1)} GiB" if count < _STEP else f"{plain(count / _STEP, 2)} TiB"


def panel(title: str, icon_name: str, body: Any, note: Any = None) -> Component:
    head: list[Any] = [icon(icon_name), title, html.Span(note, className="muted") if note else None]
    return html.Section(
        [html.Div(head, className="panel-head"), body], className="panel", **aria(label=title)
    )


def figures(processes: Sequence[ProcessFacts], jobs: Sequence[JobView], waiting: int) -> Component:
    """The system at a glance."""
    well = sum(one.state == "running" for one in processes)
    memory = sum(one.memory_bytes or 0 for one in processes)
    cpus = [one.cpu for one in processes if one.cpu is not None]
    counts = Counter(one.state for one in jobs)
    cards = (
        ("Processes running", str(well), f"of {len(processes)}", well < len(processes)),
        ("Processor", share(sum(cpus), 0) if cpus else MISSING, "of one core", False),
        ("Memory", size(memory) if processes else MISSING, "resident, of all processes", False),
        ("Restarts", str(sum(one.restarts for one in processes)), "since the start", False),
        (
            "Jobs",
            str(counts[JobState.RUNNING]),
            f"running, {counts[JobState.QUEUED]} queued",
            counts[JobState.QUEUED] > 10,
        ),
        ("Trades waiting", whole(waiting), "to be stored", waiting > 10_000),
    )
    return html.Div(
        [
            html.Div(
                [
                    html.Span(name),
                    html.Strong(value, className="num warn-text" if alarming else "num"),
                    html.Small(note),
                ],
                className="panel kpi",
            )
            for name, value, note, alarming in cards
        ],
        className="kpis",
    )


def processes_panel(processes: Sequence[ProcessFacts], now_us: int) -> Component:
    """Every process that a supervisor keeps."""
    if not processes:
        words = "No supervisor of this installation runs here: its parts were started apart or elsewhere."
        return panel("Processes", "cpu", empty_state("cpu", words))
    columns = (
        Column("Process"),
        Column("State"),
        Column("Id", numeric=True, narrow=True),
        Column("Processor", numeric=True),
        Column("Memory", numeric=True),
        Column("Restarts", numeric=True, narrow=True),
        Column("Since", numeric=True),
        Column("Last words", narrow=True),
    )
    rows: list[list[Any]] = []
    for one in processes:
        kind, icon_name = _STATES.get(one.state, ("warn", "clock"))
        rows.append(
            [
                html.Strong(one.name),
                tag(one.state.capitalize(), kind, icon_name),
                None if one.pid is None else str(one.pid),
                None if one.cpu is None else share(one.cpu),
                size(one.memory_bytes),
                str(one.restarts),
                html.Span(duration(now_us - one.since_us), title=full_time(one.since_us)),
                html.Span(one.detail, className="clip last-words", title=one.detail) if one.detail else None,
            ]
        )
    return panel("Processes", "cpu", table(columns, rows, label="Processes"))


def database_panels(facts: DatabaseFacts) -> list[Component]:
    """What is in the database, and what takes it long."""
    kind = f"TimescaleDB {facts.timescaledb}" if facts.timescaledb else "without TimescaleDB"
    note = (
        f"PostgreSQL {facts.version.split()[0]}, {kind}, {size(facts.bytes)}, "
        f"{facts.connections} of {facts.most_connections} connections"
    )
    every = max(facts.bytes, 1)
    tables: list[list[Any]] = [
        [
            html.B(one.name.replace("_", " ")),
            compact(one.rows) if one.rows >= 1_000 else str(one.rows),
            size(one.bytes),
            html.Div(html.I(style={"width": f"{100 * one.bytes / every:.1f}%"}), className="bar"),
        ]
        for one in facts.tables
    ]
    columns = (Column("Table"), Column("Rows", numeric=True), Column("Size", numeric=True), Column("Share"))
    statements: list[list[Any]] = [
        [
            html.Span(one.text, className="mono clip statement", title=one.text[:2_000]),
            None if one.calls is None else whole(one.calls),
            f"{plain(one.mean_ms, 1)} ms",
            f"{plain(one.total_ms / 1_000, 1)} s",
        ]
        for one in facts.statements
    ]
    heads = (
        Column("Statement"),
        Column("Calls", numeric=True, narrow=True),
        Column("Mean", numeric=True),
        Column("In all", numeric=True),
    )
    if facts.remembers_statements:
        said = "dearest since the server began to count"
    else:
        said = "running just now; pg_stat_statements is not installed"
    slow = (
        table(heads, statements, label="Slow statements")
        if statements
        else empty_state("circle-check", "No statement takes long just now.")
    )
    return [
        panel("Database", "database", table(columns, tables, label="Tables"), note),
        panel("Slow statements", "hourglass", slow, said),
    ]


def bus_panel(facts: BusFacts) -> Component:
    """Redis in a few figures."""
    shown = (
        ("Version", facts.version),
        ("Memory", size(facts.memory_bytes)),
        ("Most so far", size(facts.peak_bytes)),
        ("Clients", str(facts.clients)),
        ("Commands a second", whole(facts.commands_per_s)),
        ("Subscriptions", str(facts.channels)),
    )
    return panel("Redis", "bolt", fact_grid(shown))


def fact_grid(facts: Sequence[tuple[str, str]]) -> Component:
    return html.Div(
        [
            html.Div([html.Span(name), html.Span(value, className="text")], className="fact")
            for name, value in facts
        ],
        className="facts",
    )


def log_panel(events: Sequence[LogEvent], words: str) -> Component:
    """Warnings and errors of all processes; a click opens what else was written."""
    body: Component = (
        html.Div([_event(one) for one in events], className="log-lines")
        if events
        else empty_state(
            "logs",
            f"No warning or error holds “{words}”." if words else "No process has warned of anything.",
        )
    )
    field = dmc.TextInput(
        id="system-filter",
        value=words,
        placeholder="Words, or a log number",
        size="xs",
        debounce=400,
        leftSection=icon("search"),
        **aria(label="Search the logs"),
    )
    zone = html.Span("in UTC", className="muted", title="As the files of the log have it")
    head = [icon("logs"), "Warnings and errors", zone, field, html.Span(str(len(events)), className="count")]
    return html.Section(
        [html.Div(head, className="panel-head"), body], className="panel", **aria(label="Warnings and errors")
    )


def _event(one: LogEvent) -> Component:
    line = [
        html.Span(one.at[:19].replace("T", " "), className="num muted"),
        tag(one.level.capitalize(), _LEVELS.get(one.level, "flat")),
        html.B(one.process),
        html.Span(one.event.replace("_", " ")),
        html.Span(one.detail.partition("\n")[0], className="mono clip"),
    ]
    return html.Details([html.Summary(line), html.Pre(one.detail or "nothing more was written")])


def pairs_panel(title: str, icon_name: str, pairs: Sequence[tuple[str, str]], note: str) -> Component:
    """Names and values, as a table."""
    rows: list[list[Any]] = [
        [html.Span(name, className="mono"), html.Span(value, className="wrap")] for name, value in pairs
    ]
    return panel(title, icon_name, table((Column("Name"), Column("Value")), rows, label=title), note)


def jobs_panel(jobs: Sequence[JobView]) -> Component:
    """The queue: what runs, what waits, what failed lately."""
    shown = [one for one in jobs if not one.state.is_over] + [
        one for one in jobs if one.state is JobState.FAILED
    ][:8]
    rows: list[list[Any]] = [
        [
            html.Span(
                [html.B(one.title), html.Small(one.error or f"{one.kind}, by {one.who}")],
                className="cell-two wrap",
            ),
            tag(one.state.capitalize(), {"running": "accent", "failed": "down"}.get(one.state, "flat")),
            html.Span(day_and_time(one.asked_at_us), className="num"),
        ]
        for one in shown
    ]
    columns = (Column("Job"), Column("State"), Column("Asked, UTC"))
    body = (
        table(columns, rows, label="Queue")
        if rows
        else empty_state("circle-check", "No job runs, waits or failed.")
    )
    return panel("Queue", "list", body)
