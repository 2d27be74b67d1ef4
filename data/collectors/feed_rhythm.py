"""How often a market trades as a rule, by the venue's clock: plain arithmetic."""

from __future__ import annotations

_QUANTILE = 0.99
_BUCKETS = 48  # of pauses by powers of two, from a microsecond up to four years
_FEWEST = 20  # pauses, before anything is said
_MEMORY = 1_000.0  # pauses; when so many are known, all count half


class FeedRhythm:
    """Remembers the pauses between a market's trades, the newer ones more than the older.

    What it says is a pause that all but one in a hundred stay below, rounded up to a power of two.
    """

    __slots__ = ("_known", "_weights", "last_at_us")

    def __init__(self) -> None:
        self.last_at_us = 0  # the newest trade; 0: none yet
        self._weights = [0.0] * _BUCKETS
        self._known = 0.0

    def note(self, traded_at_us: int) -> None:
        """A trade; of many at the same moment, and of one out of order, nothing is learnt."""
        pause_us = traded_at_us - self.last_at_us
        if pause_us <= 0:
            return
        if self.last_at_us:
            self._weights[min(pause_us.bit_length(), _BUCKETS - 1)] += 1.0
            self._known += 1.0
            if self._known >= _MEMORY:
                self._weights = [weight / 2 for weight in self._weights]
                self._known /= 2
        self.last_at_us = traded_at_us

    def usual_pause_s(self) -> float | None:
        """Seconds; None while too little is known."""
        if self._known < _FEWEST:
            return None
        seen = 0.0
        for bucket, weight in enumerate(self._weights):
            seen += weight
            if seen >= _QUANTILE * self._known:
                return float(2**bucket) / 1e6
        return None
