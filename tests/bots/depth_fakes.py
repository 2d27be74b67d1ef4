"""Candles and recorded order books in memory."""

from __future__ import annotations

import random
from collections.abc import Iterable

from bots.recorded_depth import RecordedBook
from data.models import BookLevel, BookSnapshot, Market, Ohlcv
from tests.bots.bot_fakes import BTC, MemoryCandles


class MemoryBooks(MemoryCandles):
    """Satisfies CandleReader and BookReader."""

    def __init__(self, *series: tuple[Market, Ohlcv], books: Iterable[BookSnapshot] = ()) -> None:
        super().__init__(*series)
        self.books = {book.at_us: book for book in books}

    def book_at(self, market: Market, at_us: int) -> RecordedBook:
        before = [known for known in self.books if known <= at_us]
        newest = self.books[max(before)] if before else None
        return RecordedBook(book=newest, is_final=len(before) < len(self.books))


def book_of(at_us: int, bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> BookSnapshot:
    sides = [tuple(BookLevel(price=price, quantity=of) for price, of in side) for side in (bids, asks)]
    return BookSnapshot(exchange=BTC.exchange, symbol=BTC.symbol, at_us=at_us, bids=sides[0], asks=sides[1])


def books_around(
    ohlcv: Ohlcv, seed: int = 1, *, depth: float = 40.0, absent: float = 0.1
) -> list[BookSnapshot]:
    """Two snapshots before each open, some too old or absent: five thin levels around the price."""
    chance = random.Random(seed)
    found = []
    for at_us, price in zip(ohlcv.opened_at_us.tolist(), ohlcv.open.tolist(), strict=True):
        if chance.random() < absent:
            continue
        for age_us in sorted((chance.randrange(15_000_000), chance.randrange(1_000_000)), reverse=True):
            steps = [(chance.uniform(1e-5, 5e-4) * (1 + n), chance.uniform(0.1, depth)) for n in range(5)]
            steps.sort()
            bids = [(round(price * (1 - gap), 2), round(of, 4)) for gap, of in steps]
            asks = [(round(price * (1 + gap), 2), round(of, 4)) for gap, of in steps]
            found.append(book_of(at_us - age_us, bids, asks))
    return found
