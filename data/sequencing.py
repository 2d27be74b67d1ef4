"""Putting one market's trades in order by their ids, once each, and knowing which are missing."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import msgspec

from data.models import Trade, TradeGap, TradeRun

_NOTHING: tuple[Trade, ...] = ()


class MissingRange(msgspec.Struct, frozen=True):
    """Ids that must exist, `first_id` to `last_id` inclusive, and have not come."""

    first_id: int
    last_id: int

    def __len__(self) -> int:
        return self.last_id - self.first_id + 1


class TradeSequencer:
    """Takes a market's trades in any order, with duplicates, and gives each once, in id order.

    Ids rise by one. What comes before its turn is kept until the missing ids have come or are given up.
    """

    __slots__ = (
        "_first_at_us",
        "_first_id",
        "_known_id",
        "_last_at_us",
        "_max_waiting",
        "_next_id",
        "_waiting",
        "_waiting_ids",
        "before_run",
        "duplicates",
    )

    def __init__(self, run: TradeRun | None = None, *, max_waiting: int = 200_000) -> None:
        """Go on after `run`, or begin with the first trade that comes."""
        self._max_waiting = max_waiting
        self._waiting: dict[int, Trade] = {}
        self._waiting_ids: list[int] = []  # a heap of the keys of `_waiting`
        self.duplicates = 0
        self.before_run = 0  # trades of before the current run, which cannot be placed: dropped and counted
        self._first_id: int | None = None
        self._next_id = 0
        self._known_id = -1  # the largest id known to exist
        self._first_at_us = self._last_at_us = 0
        if run is not None:
            self._first_id, self._next_id, self._known_id = run.first_id, run.last_id + 1, run.last_id
            self._first_at_us, self._last_at_us = run.first_at_us, run.last_at_us

    @property
    def next_id(self) -> int | None:
        """The id whose turn it is; None before the first trade."""
        return None if self._first_id is None and self._known_id < 0 else self._next_id

    @property
    def run(self) -> TradeRun | None:
        """The current run of ids without a hole; its `last_at_us` is the newest time in it."""
        if self._first_id is None:
            return None
        return TradeRun(
            first_id=self._first_id,
            last_id=self._next_id - 1,
            first_at_us=self._first_at_us,
            last_at_us=self._last_at_us,
        )

    @property
    def waiting(self) -> int:
        """How many trades wait for a missing one."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether as many trades wait as may. The caller must give the missing ids up before going on."""
        return len(self._waiting) >= self._max_waiting

    def accept(self, trades: Sequence[Trade]) -> Sequence[Trade]:
        """Return the trades whose turn has come, in id order."""
        if self._known_id < self._next_id and self._first_id is not None:
            # By far the commonest case: the next trades in their order, and nothing waits or is missing.
            next_id, last_at_us = self._next_id, self._last_at_us
            for trade in trades:
                if trade.trade_id != next_id:
                    break
                next_id += 1
                if trade.traded_at_us > last_at_us:
                    last_at_us = trade.traded_at_us
            else:
                self._next_id = next_id
                self._known_id = next_id - 1
                self._last_at_us = last_at_us
                return trades
        for trade in trades:
            self._keep(trade)
        return self._released()

    def expect_through(self, last_id: int) -> None:
        """Learn that all ids up to `last_id` exist, although their trades have not come."""
        if self.next_id is None:
            return
        self._known_id = max(self._known_id, last_id)

    def missing(self) -> MissingRange | None:
        """The lowest ids that must exist and have not come."""
        if self._next_id > self._known_id:
            return None
        if self._waiting_ids:
            return MissingRange(self._next_id, self._waiting_ids[0] - 1)
        return MissingRange(self._next_id, self._known_id)

    def give_up(
        self, lost: MissingRange, reason: str, found_at_us: int
    ) -> tuple[TradeGap, TradeRun | None, Sequence[Trade]]:
        """Go on without `lost`, which must begin at the lowest missing id and lie inside the missing range.

        Returns the gap, the run that it ended (None if the gap follows another at once) and the trades whose
        turn has come: they begin a new run. Raises ValueError for ids that are not missing.
        """
        missing = self.missing()
        if missing is None or lost.first_id != missing.first_id or lost.last_id > missing.last_id:
            raise ValueError(f"{lost} is not the beginning of what is missing: {missing}")
        gap = TradeGap(first_id=lost.first_id, last_id=lost.last_id, reason=reason, found_at_us=found_at_us)
        ended = self.run
        self._first_id = None
        self._next_id = lost.last_id + 1
        return gap, ended, self._released()

    def _keep(self, trade: Trade) -> None:
        trade_id = trade.trade_id
        if self._known_id < 0:
            self._next_id = trade_id
        if trade_id < self._next_id:
            if self._first_id is not None and trade_id >= self._first_id:
                self.duplicates += 1
            else:
                self.before_run += 1
        elif trade_id in self._waiting:
            self.duplicates += 1
        else:
            self._waiting[trade_id] = trade
            heapq.heappush(self._waiting_ids, trade_id)
            self._known_id = max(self._known_id, trade_id)

    def _released(self) -> Sequence[Trade]:
        waiting, ids = self._waiting, self._waiting_ids
        if not ids or ids[0] != self._next_id:
            return _NOTHING
        released: list[Trade] = []
        while ids and ids[0] == self._next_id:
            released.append(waiting.pop(heapq.heappop(ids)))
            self._next_id += 1
        if self._first_id is None:
            self._first_id = released[0].trade_id
            self._first_at_us = self._last_at_us = released[0].traded_at_us
        self._last_at_us = max(self._last_at_us, max(trade.traded_at_us for trade in released))
        return released
