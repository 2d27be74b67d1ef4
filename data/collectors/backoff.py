"""How long to wait before the next attempt."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double from `first_s` to `longest_s`, each shortened by up to a half at random."""

    def __init__(self, first_s: float = 0.5, longest_s: float = 30.0, seed: int | None = None) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._random = random.Random(seed)
        self._attempts = 0

    def next_s(self) -> float:
        """Seconds to wait now. Clients that lost one server together do not come back together."""
        # The exponent is bounded: a venue may stay away for weeks.
        longest_s = min(self._longest_s, self._first_s * 2.0 ** min(self._attempts, 16))
        self._attempts += 1
        return max(self._first_s, longest_s * self._random.uniform(0.5, 1.0))

    def reset(self) -> None:
        """The last attempt succeeded."""
        self._attempts = 0
