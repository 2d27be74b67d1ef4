"""Figures of a collector that change with time."""

from __future__ import annotations

import psutil

_RATE_WINDOW_S = 5.0


class Rate:
    """How much a count grew in each second of the last window."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self._at_s: float | None = None
        self._count = 0

    def note(self, at_s: float, count: int) -> None:
        if self._at_s is None:
            self._at_s = at_s
        elif at_s - self._at_s >= _RATE_WINDOW_S:
            self.per_s = (count - self._count) / (at_s - self._at_s)
            self._at_s, self._count = at_s, count


def resident_bytes() -> int:
    """Memory of this process that is not swapped out."""
    return int(psutil.Process().memory_info().rss)
