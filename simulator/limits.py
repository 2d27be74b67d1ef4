"""The venues' rate limits. Pure: the time comes in."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

OKX_REST_LIMITS = {  # path: requests per 2 s and address
    "/api/v5/public/time": 10,
    "/api/v5/public/instruments": 20,
    "/api/v5/public/funding-rate": 20,
    "/api/v5/public/funding-rate-history": 10,
    "/api/v5/public/mark-price": 10,
    "/api/v5/market/ticker": 20,
    "/api/v5/market/tickers": 20,
    "/api/v5/market/books": 40,
    "/api/v5/market/trades": 100,
    "/api/v5/market/history-trades": 20,
    "/api/v5/market/candles": 40,
    "/api/v5/market/history-candles": 20,
}
OKX_REST_WINDOW_S = 2.0

BINANCE_WEIGHT_LIMIT = 6000
_MINUTE_S = 60
# A client that goes on this often while refused is banned.
_BAN_AFTER = 50
_BAN_S = 120


@dataclass(slots=True)
class SlidingWindow:
    """At most `limit` events in any `window_s`."""

    limit: int
    window_s: float
    _taken: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> bool:
        """Count one event; False where it is one too many (it does not count then)."""
        while self._taken and now - self._taken[0] >= self.window_s:
            self._taken.popleft()
        if len(self._taken) >= self.limit:
            return False
        self._taken.append(now)
        return True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request of some weight is told."""

    used: int
    status: int  # 200, 429 or 418
    retry_after_s: int


@dataclass(slots=True)
class WeightBudget:
    """Binance's request weight of one address: so much per minute of the clock, then 429, then a ban."""

    limit: int = BINANCE_WEIGHT_LIMIT
    _minute: int = 0
    _used: int = 0
    _ignored: int = 0
    _banned_until: float = 0.0

    def take(self, weight: int, now: float) -> Verdict:
        """Count `weight` at `now` seconds since the epoch."""
        if now < self._banned_until:
            return Verdict(self._used, 418, math.ceil(self._banned_until - now))
        minute = int(now // _MINUTE_S)
        if minute != self._minute:
            self._minute, self._used, self._ignored = minute, 0, 0
        self._used += weight
        if self._used <= self.limit:
            return Verdict(self._used, 200, 0)
        self._ignored += 1
        if self._ignored > _BAN_AFTER:
            self._banned_until = now + _BAN_S
            return Verdict(self._used, 418, _BAN_S)
        return Verdict(self._used, 429, math.ceil((minute + 1) * _MINUTE_S - now))
