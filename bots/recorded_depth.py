"""The recorded order book at the moment of an open: which snapshot counts, and why none does."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, Protocol, runtime_checkable

import msgspec

from bots.book_walk import BookWalk
from bots.orders import DepthUse
from data.models import BookSnapshot, Market, Side

# Snapshots are stored once a second: ten that did not come say that nothing is known of the book any more.
MOST_AGE_US: Final = 10_000_000

# So long after its time, by the candles stored since, a snapshot is stored or will never be.
SETTLES_US: Final = 5_000_000


class RecordedBook(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a market's book at a moment."""

    book: BookSnapshot | None  # the newest snapshot at or before it; None where there is none
    is_final: bool  # whether a later one is stored: they come in order, so this one stays the newest


NO_BOOK: Final = RecordedBook(book=None, is_final=False)


@runtime_checkable
class BookReader(Protocol):
    """Stored snapshots of order books. Synchronous; raises TransientError."""

    def book_at(self, market: Market, at_us: int) -> RecordedBook: ...


class OpenDepth:
    """Both sides of the book for the market orders of one open, read when the first of them asks."""

    def __init__(self, at_us: int, read: Callable[[], BookSnapshot | None]) -> None:
        self._at_us = at_us
        self._read = read
        self._is_read = False
        self._book: BookSnapshot | None = None
        self._walks: dict[Side, BookWalk] = {}

    def walk(self, side: Side, *, tick: Decimal | None, slippage: Decimal) -> BookWalk | DepthUse:
        """The levels that orders of this side go through, or why the plain rule holds for them."""
        if not self._is_read:
            self._book, self._is_read = self._read(), True
        book = self._book
        if book is None:
            return DepthUse(snapshot_us=None, plain="no snapshot of the order book is recorded")
        age_us = self._at_us - book.at_us
        if age_us > MOST_AGE_US:
            seconds = f"{age_us / 1e6:.1f} s, at most {MOST_AGE_US / 1e6:g} s"
            return DepthUse(snapshot_us=book.at_us, plain=f"the newest snapshot is too old: {seconds}")
        levels = book.asks if side is Side.BUY else book.bids
        if not any(level.quantity > 0 for level in levels):
            kind = "asks" if side is Side.BUY else "bids"
            return DepthUse(snapshot_us=book.at_us, plain=f"the newest snapshot has no {kind}")
        if side not in self._walks:
            self._walks[side] = BookWalk(book.at_us, levels, side, tick=tick, slippage=slippage)
        return self._walks[side]


class MarketDepth:
    """The books that a bot's market orders go through, of its one market."""

    def __init__(self, market: Market, books: BookReader | None) -> None:
        """Without `books` there is never a snapshot."""
        self._market = market
        self._books = books

    def at(self, at_us: int) -> OpenDepth:
        """For the orders of an open at that time."""
        return OpenDepth(at_us, lambda: self._recorded(at_us).book)

    def is_known(self, at_us: int) -> bool:
        """Whether the store has the book of that moment for good. Else orders wait until the candle closes.

        A snapshot is stored up to a second after its time: a bot that did not wait for it would fill at
        another one than a bot that makes up for the same candle later.
        """
        return self._recorded(at_us).is_final

    def is_awaited(self, at_us: int, *, known_us: int) -> bool:
        """Whether even a candle that has closed must wait for it, being shorter than that takes.

        `known_us` is the close of the newest stored candle.
        """
        return known_us < at_us + SETTLES_US and not self.is_known(at_us)

    def _recorded(self, at_us: int) -> RecordedBook:
        return NO_BOOK if self._books is None else self._books.book_at(self._market, at_us)
