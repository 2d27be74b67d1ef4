"""Warnings and errors from the log files of an installation, the newest first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from dashboard.system_readers import LogEvent

_READ_BYTES = 512 * 1024  # of each file, from its end
_LONGEST_DETAIL = 4_000
# As structlog writes them: time, level in brackets, the event padded with spaces, its fields.
_LINE = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+Z) \[(\w+) *\] (.*)")
_LEVELS = frozenset({"warning", "error", "critical"})


def read_log_events(folder: Path, words: str, limit: int) -> list[LogEvent]:
    """Events of all logs in `folder` that hold every one of the words, at most `limit`, the newest first."""
    wanted = words.casefold().split()
    found = []
    for path in sorted(folder.rglob("*.log")):
        for one in events_of(_tail(path), path.stem):
            text = f"{one.at} {one.level} {one.process} {one.event} {one.detail}".casefold()
            if all(word in text for word in wanted):
                found.append(one)
    found.sort(key=lambda one: one.at, reverse=True)
    return found[:limit]


def events_of(text: str, process: str) -> Iterator[LogEvent]:
    """The warnings and errors of a log's text; lines that follow one, as a traceback's do, belong to it."""
    head: re.Match[str] | None = None
    rest: list[str] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            rest.append(line)
            continue
        if head is not None:
            yield _event(head, rest, process)
        head, rest = (match, []) if match[2] in _LEVELS else (None, [])
    if head is not None:
        yield _event(head, rest, process)


def _event(head: re.Match[str], rest: list[str], process: str) -> LogEvent:
    event, _, fields = head[3].partition("  ")
    if not fields:
        event, _, fields = head[3].partition(" ")
    detail = "\n".join([fields.strip(), *rest]).strip()
    return LogEvent(
        at=head[1], level=head[2], process=process, event=event.strip(), detail=detail[:_LONGEST_DETAIL]
    )


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _READ_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""  # it was tidied away meanwhile
