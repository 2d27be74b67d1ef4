"""What a market order pays in a recorded book, against plain fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.book_walk import BookWalk
from bots.recorded_depth import MOST_AGE_US, OpenDepth
from data.models import BookLevel, BookSnapshot, Side

D = Decimal
NOW = 1_760_000_040_000_000
NOTHING = D(0)
SIDES = st.sampled_from([Side.BUY, Side.SELL])
TICKS = st.sampled_from([None, D("0.1"), D("0.01"), D("0.25")])
SLIPPAGES = st.sampled_from([D(0), D("0.0005"), D("0.01")])
# Cents, so that every price and quantity has a short decimal.
BOOKS = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 5_000)), min_size=1, max_size=20)
QUANTITIES = st.integers(1, 80_000).map(lambda cents: D(cents) / 100)


def levels_of(steps: list[tuple[int, int]], side: Side) -> tuple[BookLevel, ...]:
    """Levels that lie so many cents behind each other, from 100 up for buys and from 100 down for sells."""
    cents, found = 100_000, []
    for gap, quantity in steps:
        cents += gap if side is Side.BUY else -gap
        found.append(BookLevel(price=cents / 1000, quantity=quantity / 100))
    return tuple(found)


def walk_of(
    steps: list[tuple[int, int]], side: Side, tick: Decimal | None = None, slippage: Decimal = NOTHING
) -> BookWalk:
    return BookWalk(NOW, levels_of(steps, side), side, tick=tick, slippage=slippage)


def average(levels: tuple[BookLevel, ...], quantity: Decimal, side: Side, slippage: Decimal) -> Fraction:
    left, cost = Fraction(quantity), Fraction(0)
    for level in levels:
        part = min(left, Fraction(repr(level.quantity)))
        cost += part * Fraction(repr(level.price))
        left -= part
    worse = 1 + Fraction(slippage) if side is Side.BUY else 1 - Fraction(slippage)
    return (cost + left * Fraction(repr(levels[-1].price)) * worse) / Fraction(quantity)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(BOOKS, SIDES, TICKS, SLIPPAGES, QUANTITIES)
def test_the_price_is_the_weighted_average_on_the_tick_against_us_and_never_better_than_the_touch(
    steps: list[tuple[int, int]], side: Side, tick: Decimal | None, slippage: Decimal, quantity: Decimal
) -> None:
    walk = walk_of(steps, side, tick, slippage)
    price = walk.price(quantity)
    exact = average(levels_of(steps, side), quantity, side, slippage)
    worse = Fraction(price) - exact if side is Side.BUY else exact - Fraction(price)
    assert 0 <= worse < (exact / 10**14 if tick is None else Fraction(tick))
    assert price >= walk.touch if side is Side.BUY else price <= walk.touch
    if tick is not None:
        assert price % tick == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(BOOKS, SIDES, TICKS, SLIPPAGES, QUANTITIES, QUANTITIES)
def test_a_larger_order_never_gets_a_better_price(
    steps: list[tuple[int, int]],
    side: Side,
    tick: Decimal | None,
    slippage: Decimal,
    quantity: Decimal,
    more: Decimal,
) -> None:
    walk = walk_of(steps, side, tick, slippage)
    small, large = walk.price(quantity), walk.price(quantity + more)
    assert small <= large if side is Side.BUY else small >= large


@settings(max_examples=60, deadline=None, derandomize=True)
@given(BOOKS, SIDES, QUANTITIES, QUANTITIES)
def test_what_is_taken_sums_up_exactly_and_the_next_order_finds_what_is_left(
    steps: list[tuple[int, int]], side: Side, first: Decimal, second: Decimal
) -> None:
    alone = walk_of(steps, side).take(first + second)
    walk = walk_of(steps, side)
    one, other = walk.take(first), walk.take(second)
    for use, quantity in ((one, first), (other, second), (alone, first + second)):
        assert sum((part for _, part in use.levels), use.beyond) == quantity
    assert one.beyond + other.beyond == alone.beyond
    together: dict[Decimal, Decimal] = {}
    for price, part in (*one.levels, *other.levels):
        together[price] = together.get(price, D(0)) + part
    assert together == dict(alone.levels)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(BOOKS, SIDES, TICKS, SLIPPAGES, st.integers(1, 2_000_000))
def test_a_budget_buys_as_many_lots_as_it_pays_for_and_not_one_more(
    steps: list[tuple[int, int]], side: Side, tick: Decimal | None, slippage: Decimal, budget: int
) -> None:
    walk = walk_of(steps, side, tick, slippage)
    lot, fee = D("0.01"), D("1.001")

    def spends(quantity: Decimal, price: Decimal) -> Decimal:
        return quantity * price * fee

    most = walk.most(D(budget), spends, step=lot, at_most=D(10**6))
    assert most % lot == 0
    assert most == 0 or spends(most, walk.price(most)) <= budget
    assert spends(most + lot, walk.price(most + lot)) > budget
    few = walk.most(D(budget), spends, step=lot, at_most=D("0.055"))
    assert few == min(most, D("0.05"))


@pytest.mark.parametrize(
    ("age_us", "asks", "words"),
    [
        (MOST_AGE_US, 1.0, ""),
        (MOST_AGE_US + 1, 1.0, "the newest snapshot is too old: 10.0 s, at most 10 s"),
        (0, 0.0, "the newest snapshot has no asks"),
        (None, 1.0, "no snapshot of the order book is recorded"),
    ],
)
def test_a_snapshot_that_is_absent_empty_or_too_old_is_not_walked_and_says_so(
    age_us: int | None, asks: float, words: str
) -> None:
    book = None
    if age_us is not None:
        book = BookSnapshot(
            exchange="okx",
            symbol="BTC-USDT",
            at_us=NOW - age_us,
            bids=(),
            asks=(BookLevel(price=100.0, quantity=asks),),
        )
    reads = []

    def read() -> BookSnapshot | None:
        reads.append(1)
        return book

    depth = OpenDepth(NOW, read)
    assert reads == []
    found = depth.walk(Side.BUY, tick=None, slippage=D(0))
    if words:
        assert not isinstance(found, BookWalk)
        assert found.plain == words
    else:
        assert isinstance(found, BookWalk)
        assert depth.walk(Side.BUY, tick=None, slippage=D(0)) is found
    assert reads == [1]
