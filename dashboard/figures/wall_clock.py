"""Times and numbers of Plotly figures as the browser that asked wants them written.

Plotly has one time zone, UTC, so a figure's times are the wall clock's of the zone in force. Its own
separators of thousands and fractions follow the same preference.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.number_formats import zone_name
from dashboard.writing import current_writing
from data.models import IntArray
from data.timeframes import SECOND_US, to_datetime

_QUARTER_US = 900_000_000  # no zone changes its offset within a quarter of an hour


def wall_times(at_us: IntArray) -> NDArray[np.datetime64]:
    """The moments as the clocks of the zone in force show them, shape (n,); an hour may come twice a year."""
    if current_writing().zone is UTC or not len(at_us):
        return at_us.view("datetime64[us]")
    quarters, which = np.unique(at_us // _QUARTER_US, return_inverse=True)
    ahead = np.array([_ahead_s(int(quarter) * _QUARTER_US) for quarter in quarters], dtype=np.int64)
    return (at_us + ahead[which] * SECOND_US).view("datetime64[us]")


def _ahead_s(at_us: int) -> float:
    offset = to_datetime(at_us).astimezone(current_writing().zone).utcoffset()
    assert offset is not None  # an aware time has one
    return offset.total_seconds()


def written_layout() -> dict[str, Any]:
    """The part of a layout that says how numbers are written."""
    separators = current_writing().separators
    return {"separators": separators.get(ord("."), ".") + separators.get(ord(","), ",")}


def hover_time(*, seconds: bool = False) -> str:
    """How a time axis writes the moment under the pointer, its zone named."""
    return f"%d %b %Y %H:%M{':%S' if seconds else ''} {zone_name()}"
