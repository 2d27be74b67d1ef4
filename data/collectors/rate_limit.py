"""Keeping within a venue's request limits."""

from __future__ import annotations

import asyncio

from data.exchanges.base import RestBudget


class TokenBucket:
    """Lets `budget.per_s` of weight pass each second, and at most `budget.burst` at once."""

    def __init__(self, budget: RestBudget) -> None:
        self._budget = budget
        self._tokens = budget.burst
        self._filled_at_s: float | None = None
        self._closed_until_s = 0.0

    async def acquire(self, weight: float = 1.0) -> None:
        """Wait until `weight` may be spent."""
        while True:
            wait_s = self._wait_s(weight)
            if wait_s <= 0:
                break
            await asyncio.sleep(wait_s)
        self._tokens -= weight

    def pause(self, for_s: float) -> None:
        """The venue asked for silence: nothing passes for so long, and then no burst."""
        self._tokens = 0.0
        self._closed_until_s = max(self._closed_until_s, asyncio.get_running_loop().time() + for_s)

    def _wait_s(self, weight: float) -> float:
        now_s = asyncio.get_running_loop().time()
        if now_s < self._closed_until_s:
            return self._closed_until_s - now_s
        since_s = now_s - (now_s if self._filled_at_s is None else self._filled_at_s)
        self._tokens = min(self._budget.burst, self._tokens + since_s * self._budget.per_s)
        self._filled_at_s = now_s
        # A request heavier than the whole bucket passes when the bucket is full.
        lacking = min(weight, self._budget.burst) - self._tokens
        return max(0.0, lacking / self._budget.per_s)
