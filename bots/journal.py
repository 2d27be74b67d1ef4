"""The journal of an account: what each fill and funding moved between its balances, always zero in sum."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from bots.ledger import EXACT, Account, Booking, LedgerState, cost_of

_ZERO = Decimal(0)


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One booking, in quote currency. The five amounts sum to zero; see `bots.ledger.Account`."""

    at_us: int  # the venue's clock
    order_sequence: int | None  # of the fill; None for funding
    cash: Decimal
    position: Decimal = _ZERO  # at cost
    fees: Decimal = _ZERO
    realised: Decimal = _ZERO
    funding: Decimal = _ZERO


def paid_at(entries: Iterable[JournalEntry]) -> dict[int, Decimal]:
    """What positions were paid at each funding time, below 0 where they paid; fills are passed over."""
    found: dict[int, Decimal] = {}
    for entry in entries:
        if entry.order_sequence is None:
            found[entry.at_us] = EXACT.add(found.get(entry.at_us, _ZERO), entry.cash)
    return found


def entry_of(booking: Booking, *, at_us: int, order_sequence: int | None = None) -> JournalEntry:
    """The booking as one row. Raises AssertionError where it does not sum to zero."""
    amounts = {posting.account: posting.amount for posting in booking.postings}
    if total(amounts.values()) != 0:
        raise AssertionError(f"a booking that sums to {total(amounts.values())}: {booking}")
    return JournalEntry(
        at_us=at_us,
        order_sequence=order_sequence,
        cash=amounts.get(Account.CASH, _ZERO),
        position=amounts.get(Account.POSITION, _ZERO),
        fees=amounts.get(Account.FEES, _ZERO),
        realised=amounts.get(Account.REALISED, _ZERO),
        funding=amounts.get(Account.FUNDING, _ZERO),
    )


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Their exact sum."""
    result = _ZERO
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def differences(entries: Iterable[JournalEntry], books: LedgerState) -> dict[str, tuple[Decimal, Decimal]]:
    """Balances in which a journal from the first booking on and the books differ: (journal, books)."""
    rows = list(entries)
    pairs = {
        "cash": (EXACT.add(books.capital, total(row.cash for row in rows)), books.cash),
        "position": (total(row.position for row in rows), cost_of(books)),
        "fees": (total(row.fees for row in rows), books.fees),
        "realised": (EXACT.minus(total(row.realised for row in rows)), books.realised),
        "funding": (EXACT.minus(total(row.funding for row in rows)), books.funding),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
