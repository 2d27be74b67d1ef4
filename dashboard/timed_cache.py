"""Values that are dear to read and may be a little old."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TimedCache(Generic[K, V]):
    """Reads a value again when the known one is older than `max_age_s`. Safe to use from several threads.

    Two threads may read the same value at once; the later answer stays.
    """

    def __init__(self, read: Callable[[K], V], *, seconds: Callable[[], float], max_age_s: float) -> None:
        """`seconds` is a clock that never steps back."""
        self._read = read
        self._seconds = seconds
        self._max_age_s = max_age_s
        self._known: dict[K, tuple[float, V]] = {}
        self._lock = threading.Lock()

    def get(self, key: K) -> V:
        """The value, at most `max_age_s` old. Raises what reading raises."""
        now = self._seconds()
        with self._lock:
            found = self._known.get(key)
        if found is not None and now - found[0] < self._max_age_s:
            return found[1]
        value = self._read(key)
        with self._lock:
            self._known[key] = (now, value)
        return value

    def remembered(self, key: K) -> V | None:
        """What was read last, however old, without reading; None if nothing was."""
        with self._lock:
            found = self._known.get(key)
        return found[1] if found is not None else None
