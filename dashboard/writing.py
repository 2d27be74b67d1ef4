"""In which time zone and with which separators a browser wants times and numbers written.

The browser says so in a cookie (`dashboard.writing_cookie`); for the length of its request it holds for
whatever writes (`dashboard.number_formats`), in threads too. What goes to all tabs over the WebSocket is
written in the default way and turned into theirs by each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

LOCAL_ZONE = "local"  # whatever the browser's is; a browser names it in its cookie
_NO_BREAK = "\N{NO-BREAK SPACE}"
# Between thousands, and before the fraction.
NUMBERS: Mapping[str, tuple[str, str]] = {
    "comma-point": (",", "."),
    "point-comma": (".", ","),
    "space-point": (_NO_BREAK, "."),
    "space-comma": (_NO_BREAK, ","),
    "quote-point": ("\N{RIGHT SINGLE QUOTATION MARK}", "."),
    "none-point": ("", "."),
}


@dataclass(frozen=True, slots=True)
class Writing:
    """How numbers and times are written."""

    zone: tzinfo = UTC
    zone_words: str = "UTC"  # as headings name the zone
    separators: Mapping[int, str] = field(default_factory=dict)  # from comma and point, for `str.translate`


_DEFAULT = Writing()
_WRITING: ContextVar[Writing] = ContextVar("writing")


def current_writing() -> Writing:
    """What holds for the request that is being answered, else the default."""
    return _WRITING.get(_DEFAULT)


@contextmanager
def written_as(writing: Writing) -> Iterator[None]:
    """Let it hold for the block, and for the threads that are begun in it."""
    before = _WRITING.set(writing)
    try:
        yield
    finally:
        _WRITING.reset(before)


def zones() -> list[str]:
    """Every zone of the system's database that a person would choose, UTC first."""
    places = {name for name in available_timezones() if "/" in name and not name.startswith("Etc/")}
    return ["UTC", *sorted(places)]


def known_zone(name: str) -> bool:
    return _zone(name) is not None


@lru_cache(maxsize=256)
def parse_writing(text: str) -> Writing:
    """`Europe/Berlin|point-comma|canvas` as a cookie holds it; the default for what is none of ours.

    What draws the prices the browser asks for by itself.
    """
    zone_name, numbers, *_ = *text.split("|"), ""
    zone = _zone(zone_name)
    group, point = NUMBERS.get(numbers, NUMBERS["comma-point"])
    separators = {} if (group, point) == (",", ".") else {ord(","): group, ord("."): point}
    if zone is None or zone is UTC:
        return Writing(separators=separators)
    return Writing(zone, zone_name.rpartition("/")[2].replace("_", " "), separators)


@lru_cache(maxsize=1_024)
def _zone(name: str) -> tzinfo | None:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, LookupError):
        return None  # no such zone, or no name of one
