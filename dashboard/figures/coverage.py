"""Coverage as a calendar of days and as the minutes of one day; plain arithmetic over the ledger's spans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from data.coverage import BEFORE_RECORDING, NEVER_RECORDED, NOT_YET_RECORDED, MinuteState, StateSpan
from data.timeframes import Timeframe, floor_to

MINUTE_US = Timeframe.M1.us
HOUR_US = Timeframe.H1.us
DAY_US = Timeframe.D1.us
# The newest minute is complete only when a trade after it has come and was stored.
IN_THE_MAKING_US = 5 * MINUTE_US


class Shade(StrEnum):
    """How a minute or a day is drawn, from the best to the worst."""

    NONE = "none"  # nobody recorded yet, or the minute is still in the making
    COMPLETE = "complete"
    REPAIRED = "repaired"
    VENUE_DOWN = "venue_down"
    MISSING = "missing"


_ORDER = tuple(Shade)
_SHADES = {
    MinuteState.COMPLETE: Shade.COMPLETE,
    MinuteState.REPAIRED: Shade.REPAIRED,
    MinuteState.VENUE_DOWN: Shade.VENUE_DOWN,
    MinuteState.MISSING: Shade.MISSING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadedSpan:
    """Minutes in a row of one shade for one reason."""

    start_us: int
    end_us: int
    shade: Shade
    reason: str

    @property
    def minutes(self) -> int:
        return (self.end_us - self.start_us) // MINUTE_US


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCover:
    """A day in UTC: its worst shade and how many minutes there are of each."""

    day_us: int
    worst: Shade
    minutes: dict[Shade, int]


def shaded(spans: Iterable[StateSpan], now_us: int) -> list[ShadedSpan]:
    """The spans as they are drawn: what nobody recorded yet, or what is still in the making, is no hole."""
    found = []
    for span in spans:
        shade = _SHADES[span.state]
        fresh = span.reason == NOT_YET_RECORDED and now_us - span.start_us <= IN_THE_MAKING_US
        if shade is Shade.MISSING and (fresh or span.reason in (BEFORE_RECORDING, NEVER_RECORDED)):
            shade = Shade.NONE
        found.append(ShadedSpan(start_us=span.start_us, end_us=span.end_us, shade=shade, reason=span.reason))
    return found


def days_of(spans: Sequence[ShadedSpan]) -> list[DayCover]:
    """Every day that the spans touch, ascending. Spans are ascending and without a hole."""
    found: dict[int, dict[Shade, int]] = {}
    for span in spans:
        for start_us, end_us in _cut(span.start_us, span.end_us, DAY_US):
            minutes = found.setdefault(floor_to(start_us, Timeframe.D1), dict.fromkeys(Shade, 0))
            minutes[span.shade] += (end_us - start_us) // MINUTE_US
    return [
        DayCover(
            day_us=day_us,
            worst=max((one for one in minutes if minutes[one]), key=_ORDER.index),
            minutes=minutes,
        )
        for day_us, minutes in found.items()
    ]


def hours_of(spans: Sequence[ShadedSpan], day_us: int) -> list[list[ShadedSpan]]:
    """What each of the 24 hours of a day is made of; hours of which the spans say nothing are empty."""
    hours: list[list[ShadedSpan]] = [[] for _ in range(24)]
    for span in spans:
        first_us, last_us = max(span.start_us, day_us), min(span.end_us, day_us + DAY_US)
        for start_us, end_us in _cut(first_us, last_us, HOUR_US):
            part = ShadedSpan(start_us=start_us, end_us=end_us, shade=span.shade, reason=span.reason)
            hours[(start_us - day_us) // HOUR_US].append(part)
    return hours


def _cut(start_us: int, end_us: int, step_us: int) -> Iterable[tuple[int, int]]:
    """The span in parts that each lie within one step."""
    while start_us < end_us:
        until_us = min(end_us, start_us // step_us * step_us + step_us)
        yield start_us, until_us
        start_us = until_us
