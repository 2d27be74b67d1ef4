"""The books balance to the last digit, whatever is booked."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.ledger import EXACT, Account, Ledger, LedgerState, exact, exact_price, fee_of, slippage_of
from bots.orders import Costs, Fill, OrderReason, PositionSide
from data.errors import RejectedError
from data.models import Side

AMOUNTS = st.decimals("1e-12", "1e9", allow_nan=False, allow_infinity=False, places=12)


def fill(
    reason: OrderReason,
    side: Side,
    price: Decimal,
    quantity: Decimal,
    fee: Decimal = Decimal(0),
    position: PositionSide = PositionSide.LONG,
    at_us: int = 0,
) -> Fill:
    return Fill(
        order_sequence=1,
        side=side,
        position_side=position,
        reason=reason,
        price=price,
        quantity=quantity,
        fee=fee,
        slippage=Decimal(0),
        filled_at_us=at_us,
    )


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.sampled_from(PositionSide)), max_size=8
    )
)
def test_every_booking_sums_to_zero_and_everything_paid_in_is_accounted_for(
    round_trips: list[tuple[Decimal, Decimal, Decimal, Decimal, Decimal, PositionSide]],
) -> None:
    ledger = Ledger.opened_with(Decimal(10_000))
    balances = dict.fromkeys(Account, Decimal(0))
    pnl = Decimal(0)
    for entry, leave, quantity, fee, exit_fee, position in round_trips:
        sides = (Side.BUY, Side.SELL) if position is PositionSide.LONG else (Side.SELL, Side.BUY)
        first = ledger.book(fill(OrderReason.ENTRY, sides[0], entry, quantity, fee, position))
        second = ledger.book(fill(OrderReason.STOP_LOSS, sides[1], leave, quantity, exit_fee, position))
        for booking in (first, second):
            total = Decimal(0)
            for posting in booking.postings:
                balances[posting.account] = EXACT.add(balances[posting.account], posting.amount)
                total = EXACT.add(total, posting.amount)
            assert total == 0
        assert first.closed is None
        assert second.closed is not None
        pnl = EXACT.add(pnl, second.closed.pnl)
        ledger.verify()
    state = ledger.state
    assert balances[Account.POSITION] == 0
    assert state.cash == EXACT.add(Decimal(10_000), balances[Account.CASH]) == EXACT.add(Decimal(10_000), pnl)
    assert balances[Account.FEES] == state.fees
    assert balances[Account.REALISED] == EXACT.minus(state.realised)


def test_a_round_trip_is_net_of_both_fees() -> None:
    ledger = Ledger.opened_with(Decimal(1_000))
    ledger.book(fill(OrderReason.ENTRY, Side.BUY, Decimal(100), Decimal(2), Decimal("0.2"), at_us=5))
    assert ledger.equity(Decimal(110)) == Decimal("1019.8")
    assert ledger.unrealised(Decimal(110)) == 20
    assert ledger.entry_price == 100
    trade = ledger.book(
        fill(OrderReason.TAKE_PROFIT, Side.SELL, Decimal(110), Decimal(2), Decimal("0.22"), at_us=9)
    ).closed
    assert trade is not None
    assert (trade.pnl, trade.fees, trade.return_rate) == (
        Decimal("19.58"),
        Decimal("0.42"),
        Decimal("0.0979"),
    )
    assert (trade.entry_at_us, trade.exit_at_us) == (5, 9)
    assert ledger.cash == Decimal("1019.58")


def test_a_restored_ledger_goes_on_as_if_it_had_never_stopped() -> None:
    ledger = Ledger.opened_with(Decimal(1_000))
    ledger.book(
        fill(
            OrderReason.ENTRY, Side.SELL, Decimal("0.1"), Decimal("2.50"), Decimal("0.2"), PositionSide.SHORT
        )
    )
    saved = msgspec.json.encode(ledger.state)
    restored = Ledger(msgspec.json.decode(saved, type=LedgerState))
    last = fill(
        OrderReason.EXIT_SIGNAL, Side.BUY, Decimal("0.3"), Decimal("2.50"), Decimal(1), PositionSide.SHORT
    )
    assert restored.book(last) == ledger.book(last)
    assert restored.state == ledger.state


def test_books_that_do_not_balance_are_not_opened() -> None:
    with pytest.raises(AssertionError, match="the books hold 999 but 1000 came in"):
        Ledger(LedgerState(capital=Decimal(1_000), cash=Decimal(999)))


@pytest.mark.parametrize(
    "wrong",
    [
        fill(OrderReason.STOP_LOSS, Side.SELL, Decimal(1), Decimal(1)),
        fill(OrderReason.ENTRY, Side.SELL, Decimal(1), Decimal(1)),
    ],
)
def test_a_fill_that_needs_a_position_is_rejected_without_one(wrong: Fill) -> None:
    ledger = Ledger.opened_with(Decimal(10))
    before = ledger.state
    with pytest.raises(RejectedError):
        ledger.book(wrong)
    assert ledger.state == before


@pytest.mark.parametrize(
    "wrong",
    [
        fill(OrderReason.EXIT_SIGNAL, Side.SELL, Decimal(1), Decimal(3)),
        fill(OrderReason.EXIT_SIGNAL, Side.BUY, Decimal(1), Decimal(1)),
        fill(OrderReason.ENTRY, Side.BUY, Decimal(1), Decimal(1)),
        fill(OrderReason.ADD_ON, Side.SELL, Decimal(1), Decimal(1), position=PositionSide.SHORT),
    ],
)
def test_a_fill_that_does_not_fit_the_position_is_rejected(wrong: Fill) -> None:
    ledger = Ledger.opened_with(Decimal(10))
    ledger.book(fill(OrderReason.ENTRY, Side.BUY, Decimal(1), Decimal(2)))
    before = ledger.state
    with pytest.raises(RejectedError, match="a position of 2"):
        ledger.book(wrong)
    assert ledger.state == before


def test_parts_are_counted_at_the_average_cost_and_lose_nothing() -> None:
    ledger = Ledger.opened_with(Decimal(1_000))
    ledger.book(fill(OrderReason.ENTRY, Side.BUY, Decimal(10), Decimal(2), Decimal("0.2")))
    ledger.book(fill(OrderReason.ADD_ON, Side.BUY, Decimal(13), Decimal(1), Decimal("0.1")))
    assert ledger.entry_price == 11
    third = ledger.book(
        fill(OrderReason.TAKE_PROFIT, Side.SELL, Decimal(12), Decimal(1), Decimal("0.1"))
    ).closed
    rest = ledger.book(fill(OrderReason.STOP_LOSS, Side.SELL, Decimal(9), Decimal(2), Decimal("0.2"))).closed
    assert third is not None
    assert rest is not None
    assert (third.quantity, third.entry_price, third.pnl) == (
        Decimal(1),
        Decimal(11),
        Decimal("0.8"),
    )
    assert (rest.quantity, rest.pnl) == (Decimal(2), Decimal("-4.4"))
    assert ledger.cash == Decimal("996.4")
    ledger.verify()


PARTS = st.lists(st.tuples(st.booleans(), AMOUNTS, AMOUNTS, AMOUNTS), min_size=1, max_size=12)


@settings(deadline=None)
@given(PARTS, st.sampled_from(PositionSide))
def test_whatever_is_added_and_taken_in_parts_the_books_stay_exact(
    steps: list[tuple[bool, Decimal, Decimal, Decimal]], position: PositionSide
) -> None:
    opens, closes = (Side.BUY, Side.SELL) if position is PositionSide.LONG else (Side.SELL, Side.BUY)
    ledger = Ledger.opened_with(Decimal(10_000))
    cash, pnl = Decimal(10_000), Decimal(0)
    for adds, price, quantity, fee in steps:
        held = ledger.quantity.copy_abs()
        if held == 0 or adds:
            reason = OrderReason.ADD_ON if held else OrderReason.ENTRY
            made = fill(reason, opens, price, quantity, fee, position)
        else:
            made = fill(OrderReason.TAKE_PROFIT, closes, price, min(quantity, held), fee, position)
        booking = ledger.book(made)
        assert reduce(EXACT.add, [posting.amount for posting in booking.postings]) == 0
        notional = EXACT.multiply(price, made.quantity)
        cash = EXACT.subtract((EXACT.subtract if made.side is Side.BUY else EXACT.add)(cash, notional), fee)
        if booking.closed is not None:
            pnl = EXACT.add(pnl, booking.closed.pnl)
        ledger.verify()
        assert ledger.cash == cash
    state = ledger.state
    assert state.cost is not None
    # Every unit of profit is told by a trade or still lies in the open position at cost.
    assert EXACT.add(EXACT.add(state.cash, state.cost), state.entry_fee) == EXACT.add(Decimal(10_000), pnl)


def test_the_crossing_to_decimals_keeps_every_digit() -> None:
    assert exact(4396373, 2) == Decimal("43963.73")
    assert exact_price(0.1) == Decimal("0.1")
    assert exact_price(0.30000000000000004) == Decimal("0.30000000000000004")


def test_fees_and_slippage_are_exact_and_signed_against_us() -> None:
    costs = Costs(fee_bps=Decimal("7.5"), maker_fee_bps=Decimal(2))
    assert fee_of(Decimal("0.3"), Decimal(7), costs, maker=False) == Decimal("0.001575")
    assert fee_of(Decimal("0.3"), Decimal(7), costs, maker=True) == Decimal("0.00042")
    assert slippage_of(Side.BUY, Decimal("1.1"), Decimal(1), Decimal(2)) == Decimal("0.2")
    assert slippage_of(Side.SELL, Decimal("0.9"), Decimal(1), Decimal(2)) == Decimal("0.2")
