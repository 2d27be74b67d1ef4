"""Stored order books: the newest of a market, now or at a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bots.recorded_depth import NO_BOOK, RecordedBook
from data.models import BookLevel, BookSnapshot, Market
from database.market_queries import MarketReads, epoch_us, within

_COLUMNS = f"{epoch_us('at')}, bid_prices, bid_quantities, ask_prices, ask_quantities"


def latest_book(reads: MarketReads, market: Market) -> BookSnapshot | None:
    """The newest stored levels, or None."""
    rows = reads.rows(f"SELECT {_COLUMNS} FROM books WHERE {reads.of(market)} ORDER BY books.at DESC LIMIT 1")
    return _snapshot(market, rows[0]) if rows else None


def book_at(reads: MarketReads, market: Market, at_us: int) -> RecordedBook:
    """The newest stored levels at or before a moment, and whether later ones are stored."""
    of = reads.of(market)
    if of == "false":
        return NO_BOOK
    until, after = within("books.at", None, at_us + 1), within("books.at", at_us + 1, None)
    # In one statement: between two a snapshot of before could be stored, and one of after with it.
    (row,) = reads.rows(
        f"SELECT later.is_stored, found.* FROM (SELECT EXISTS (SELECT FROM books WHERE {of} AND {after[0]})"
        f" AS is_stored) later LEFT JOIN LATERAL (SELECT {_COLUMNS} FROM books WHERE {of} AND {until[0]}"
        " ORDER BY books.at DESC LIMIT 1) found ON true"
    )
    book = None if row["at"] is None else _snapshot(market, row)
    return RecordedBook(book=book, is_final=row["is_stored"])


def _snapshot(market: Market, row: Mapping[str, Any]) -> BookSnapshot:
    return BookSnapshot(
        exchange=market.exchange,
        symbol=market.symbol,
        at_us=row["at"],
        bids=_levels(row["bid_prices"], row["bid_quantities"]),
        asks=_levels(row["ask_prices"], row["ask_quantities"]),
    )


def _levels(prices: Sequence[float], quantities: Sequence[float]) -> tuple[BookLevel, ...]:
    return tuple(
        BookLevel(price=price, quantity=quantity) for price, quantity in zip(prices, quantities, strict=True)
    )
