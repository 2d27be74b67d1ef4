"""Keeps bots from entering on data that nobody should trade on: stale feeds and candles after a hole.

Exits are not asked about: leaving a position must work whatever the data is like.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from bots.entry_gates import EntryWish
from bots.gates import PASSED, Gate, GateVerdict
from data.models import FeedState, Market
from data.stores import CoverageReader
from data.timeframes import to_datetime


class FeedReader(Protocol):
    """Where collectors keep how feeds are. Synchronous; raises TransientError while it cannot answer."""

    def feeds(self) -> list[FeedState]:
        """The newest state of every market's feed."""
        ...


class FeedWatch:
    """An entry gate. Hears news in one thread and is asked in another."""

    def __init__(self, feeds: FeedReader | None = None, coverage: CoverageReader | None = None) -> None:
        """Without `feeds` only news count; without `coverage` no candle counts as one after a hole."""
        self._reader = feeds
        self._coverage = coverage
        self._feeds: dict[Market, FeedState] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read the stored states, for news that were missed. Raises TransientError."""
        if self._reader is not None:
            self.hear(self._reader.feeds())

    def hear(self, feeds: Sequence[FeedState]) -> None:
        """Take states in; an older one than the known changes nothing."""
        with self._lock:
            for feed in feeds:
                known = self._feeds.get(feed.market)
                if known is None or feed.since_us >= known.since_us:
                    self._feeds[feed.market] = feed

    def __call__(self, wish: EntryWish) -> GateVerdict:
        """Whether the wish's candle, and what came since, may be traded on."""
        feed = self._feeds.get(wish.market)
        # Candles of long before it went stale, made up for after an outage of ours, are as good as any.
        if feed is not None and feed.stale and wish.closes_at_us + wish.timeframe.us > feed.since_us:
            why = f" ({feed.detail})" if feed.detail else ""
            detail = f"the feed is stale since {_iso(feed.since_us)}{why}: no new entries"
            return GateVerdict(gate=Gate.STALE_DATA, detail=detail)
        if self._coverage is None or wish.seen_until_us is None or wish.seen_until_us >= wish.opened_at_us:
            return PASSED
        # An interval without a candle: was it empty, or does nobody know?
        missing = self._coverage.missing_minutes(wish.market, wish.seen_until_us, wish.opened_at_us)
        if not missing:
            return PASSED
        detail = f"data is missing from {_iso(missing[0][0])} to {_iso(missing[-1][1])}: no new entries"
        return GateVerdict(gate=Gate.MISSING_DATA, detail=detail)


def _iso(at_us: int) -> str:
    return to_datetime(at_us).isoformat(timespec="seconds").replace("+00:00", "Z")
