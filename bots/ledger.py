"""The exact books of one account: every fill as postings that sum to zero.

Nothing here rounds: amounts are decimals of as many digits as they need. The crossing from what the fill
kernel counts, whole mantissas, and from doubles to `Decimal` is `exact` and `exact_price`.
"""

from __future__ import annotations

from decimal import (
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    getcontext,
    setcontext,
)
from enum import StrEnum

import msgspec

from bots.orders import ClosedTrade, Costs, Fill, OrderReason, PositionSide
from data.errors import RejectedError
from data.models import Side

# A sum or product that would need more digits than this raises instead of being rounded.
EXACT = Context(prec=160, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_RATES = Context(prec=20)
_WIDE = Context(prec=160)
_SMALLEST = Decimal("1e-40")
_ZERO = Decimal(0)
_BPS = Decimal("0.0001")
# Looking up an enum's member costs as much as a sum.
_BUY, _SELL, _LONG = Side.BUY, Side.SELL, PositionSide.LONG
_ENTRY, _ADD_ON = OrderReason.ENTRY, OrderReason.ADD_ON


def exact(mantissa: int, decimals: int) -> Decimal:
    """mantissa * 10**-decimals: what the kernel counted, as money."""
    return Decimal(mantissa).scaleb(-decimals, EXACT)


def exact_price(price: float) -> Decimal:
    """The decimal that a venue's price was read from: the shortest that gives the same double."""
    return Decimal(repr(float(price)))


class Account(StrEnum):
    """Where a posting goes. Balances are in quote currency."""

    CAPITAL = "capital"  # what was paid in, as a negative balance
    CASH = "cash"  # includes what a short sale brought in
    POSITION = "position"  # at cost: positive long, negative short
    FEES = "fees"
    REALISED = "realised"  # profits of closed trades before fees, as a negative balance
    FUNDING = "funding"  # what a perpetual's position was paid, as a negative balance


_CASH, _POSITION = Account.CASH, Account.POSITION
_FEES, _REALISED = Account.FEES, Account.REALISED


class Posting(msgspec.Struct, frozen=True, gc=False):
    """One side of a booking."""

    account: Account
    amount: Decimal  # quote currency


class Booking(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one fill did to the books; the postings sum to zero."""

    postings: tuple[Posting, ...]
    closed: ClosedTrade | None = None  # the round trip that this fill ended


class LedgerState(msgspec.Struct, frozen=True, kw_only=True):
    """The books at one moment, enough to go on from."""

    capital: Decimal
    cash: Decimal
    quantity: Decimal = _ZERO  # base currency, negative when short
    entry_price: Decimal = _ZERO
    entry_fee: Decimal = _ZERO
    entry_at_us: int = 0
    cost: Decimal | None = None  # of the position, signed as it is; None: quantity at the entry price
    fees: Decimal = _ZERO  # paid so far
    realised: Decimal = _ZERO  # profit of closed trades before fees
    slippage: Decimal = _ZERO  # lost to slippage and rounding so far
    turnover: Decimal = _ZERO  # notional of all fills
    funding: Decimal = _ZERO  # received for a perpetual's positions, below 0 where more was paid


def cost_of(state: LedgerState) -> Decimal:
    """What the open position has cost, signed as it is."""
    return EXACT.multiply(state.quantity, state.entry_price) if state.cost is None else state.cost


class Ledger:
    """One account with at most one position at a time, which may be added to and left in parts.

    A position is counted at its average cost. What a part that is left has cost is its share of that, and of
    the fees paid on the way in; a share without an end is rounded to 1e-40, and the rest stays with the rest,
    so that nothing is lost between parts.
    """

    def __init__(self, state: LedgerState) -> None:
        self._capital = state.capital
        self._cash = state.cash
        self._quantity = state.quantity
        self._entry_price = state.entry_price
        self._cost = cost_of(state)
        self._entry_fee = state.entry_fee
        self._entry_at_us = state.entry_at_us
        self._fees = state.fees
        self._realised = state.realised
        self._slippage = state.slippage
        self._turnover = state.turnover
        self._funding = state.funding
        self.verify()

    @classmethod
    def opened_with(cls, capital: Decimal) -> Ledger:
        """New books with `capital` paid in, in quote currency."""
        return cls(LedgerState(capital=capital, cash=capital))

    @property
    def state(self) -> LedgerState:
        return LedgerState(
            capital=self._capital,
            cash=self._cash,
            quantity=self._quantity,
            entry_price=self._entry_price,
            entry_fee=self._entry_fee,
            entry_at_us=self._entry_at_us,
            cost=self._cost,
            fees=self._fees,
            realised=self._realised,
            slippage=self._slippage,
            turnover=self._turnover,
            funding=self._funding,
        )

    @property
    def cash(self) -> Decimal:
        return self._cash

    @property
    def quantity(self) -> Decimal:
        """Base currency held, negative when short."""
        return self._quantity

    @property
    def entry_price(self) -> Decimal:
        """The average of what the open position was bought for; 0 when flat."""
        return self._entry_price

    def equity(self, price: Decimal) -> Decimal:
        """Cash and the position marked at `price`."""
        return EXACT.add(self._cash, EXACT.multiply(self._quantity, price))

    def unrealised(self, price: Decimal) -> Decimal:
        """What the open position would bring at `price` over its cost, before fees."""
        return EXACT.subtract(EXACT.multiply(self._quantity, price), self._cost)

    def book(self, fill: Fill) -> Booking:
        """Enter a fill into the books. Raises RejectedError for one that does not fit the position."""
        # Operators take half the time of a context's methods, and a run books tens of thousands of fills.
        before = getcontext()
        setcontext(EXACT)
        try:
            return self._book(fill)
        finally:
            setcontext(before)

    def _book(self, fill: Fill) -> Booking:
        """The same, with `EXACT` as the context of this thread."""
        notional = fill.price * fill.quantity
        buys = fill.side is _BUY
        signed = fill.quantity if buys else fill.quantity.copy_negate()
        cost = notional if buys else notional.copy_negate()
        cash = -(cost + fill.fee)
        closed = None
        if fill.reason is _ENTRY or fill.reason is _ADD_ON:
            self._check_opening(fill)
            released = gain = _ZERO
            if self._quantity == 0:
                self._entry_price, self._entry_at_us = fill.price, fill.filled_at_us
            self._quantity = self._quantity + signed
            self._cost = self._cost + cost
            self._entry_fee = self._entry_fee + fill.fee
            if fill.reason is _ADD_ON:
                self._entry_price = _RATES.divide(self._cost, self._quantity)
            moved = cost
        else:
            self._check_closing(fill, signed)
            released, entry_fee = self._released(fill.quantity)
            gain = -(cost + released)
            closed = self._closed(fill, gain, released.copy_abs(), entry_fee)
            self._realised = self._realised + gain
            self._quantity = self._quantity + signed
            self._cost = self._cost - released
            self._entry_fee = self._entry_fee - entry_fee
            if self._quantity == 0:
                self._quantity = self._cost = self._entry_price = self._entry_fee = _ZERO
                self._entry_at_us = 0
            moved = -released
        postings: tuple[Posting, ...] = (
            Posting(_CASH, cash),
            Posting(_POSITION, moved),
            Posting(_FEES, fill.fee),
        )
        if closed is not None:
            postings = (*postings, Posting(_REALISED, -gain))
        self._cash = self._cash + cash
        self._fees = self._fees + fill.fee
        self._slippage = self._slippage + fill.slippage
        self._turnover = self._turnover + notional
        return Booking(postings=postings, closed=closed)

    def book_funding(self, amount: Decimal) -> Booking:
        """Enter what the open position was paid for being held; below 0 for what it paid."""
        self._cash = EXACT.add(self._cash, amount)
        self._funding = EXACT.add(self._funding, amount)
        return Booking(
            postings=(Posting(Account.CASH, amount), Posting(Account.FUNDING, EXACT.minus(amount)))
        )

    def verify(self) -> None:
        """Raise AssertionError unless every quote unit is accounted for: what came in is somewhere."""
        held = EXACT.add(EXACT.add(self._cash, self._cost), self._fees)
        put_in = EXACT.add(EXACT.add(self._capital, self._realised), self._funding)
        if held != put_in:
            raise AssertionError(f"the books hold {held} but {put_in} came in")

    def _check_opening(self, fill: Fill) -> None:
        long = fill.position_side is _LONG
        opens = _BUY if long else _SELL
        if self._quantity == 0:
            fits = fill.reason is _ENTRY
        else:
            fits = fill.reason is _ADD_ON and (self._quantity > 0) == long
        if not fits or fill.side is not opens:
            raise RejectedError(
                f"a {fill.reason} fill that {fill.side}s against a position of {self._quantity}"
            )

    def _check_closing(self, fill: Fill, signed: Decimal) -> None:
        if self._quantity == 0:
            raise RejectedError(f"a {fill.reason} fill that {fill.side}s without a position")
        if (signed > 0) == (self._quantity > 0) or signed.copy_abs() > self._quantity.copy_abs():
            raise RejectedError(f"a fill of {signed} against a position of {self._quantity}")

    def _released(self, quantity: Decimal) -> tuple[Decimal, Decimal]:
        """What a part of the position has cost, signed as that is, and its share of the entry fees."""
        whole = self._quantity.copy_abs()
        if quantity == whole:
            return self._cost, self._entry_fee
        return _share(self._cost, quantity, whole), _share(self._entry_fee, quantity, whole)

    def _closed(self, fill: Fill, gain: Decimal, entry_notional: Decimal, entry_fee: Decimal) -> ClosedTrade:
        fees = entry_fee + fill.fee
        pnl = gain - fees
        return ClosedTrade(
            side=fill.position_side,
            entry_at_us=self._entry_at_us,
            entry_price=self._entry_price,
            exit_at_us=fill.filled_at_us,
            exit_price=fill.price,
            quantity=fill.quantity,
            fees=fees,
            pnl=pnl,
            return_rate=_RATES.divide(pnl, entry_notional),
            exit_reason=fill.reason,
        )


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """amount * part / whole, to 1e-40 where it has no end."""
    return _WIDE.quantize(_WIDE.divide(EXACT.multiply(amount, part), whole), _SMALLEST)


def fee_of(price: Decimal, quantity: Decimal, costs: Costs, *, maker: bool) -> Decimal:
    """The fee of a fill, in quote currency, unrounded."""
    bps = costs.maker_fee_bps if maker else costs.fee_bps
    return EXACT.multiply(EXACT.multiply(price, quantity), EXACT.multiply(bps, _BPS))


def slippage_of(side: Side, price: Decimal, reference: Decimal, quantity: Decimal) -> Decimal:
    """What a fill lost against the reference price, in quote currency; below 0 where it gained."""
    worse = EXACT.subtract(price, reference) if side is _BUY else EXACT.subtract(reference, price)
    return EXACT.multiply(worse, quantity)
