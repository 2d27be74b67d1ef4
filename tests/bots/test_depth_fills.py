"""Market orders of an account that go through a recorded book, beside the plain rule."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.engine import run_backtest
from bots.orders import GROWING, Costs, Fill, OrderReason, RulesFrom, TradingRules
from bots.paper_account import AccountState, PaperAccount
from bots.recorded_depth import OpenDepth
from bots.risk.unlimited import unlimited
from data.models import BookLevel, BookSnapshot, Ohlcv, Side
from strategies.base import Protection, Signals, Sizing
from tests.backtesting.series import GivenSignals, candle_of, ohlcv_of, signals_at
from tests.backtesting.test_engine_against_reference import COSTS, RULES
from tests.backtesting.test_parts_against_reference import PARTS, SIZINGS, growing_markets
from tests.bots.test_paper_account import CAPITAL, CENTS, Diary, account, decision_of

D = Decimal
Books = Callable[[int, float], BookSnapshot | None]
_MARKET_ORDERS = GROWING | {OrderReason.EXIT_SIGNAL}


def book(
    at_us: int, bids: list[tuple[float, float]], asks: list[tuple[float, float]] | None = None
) -> BookSnapshot:
    both = [
        tuple(BookLevel(price=price, quantity=quantity) for price, quantity in side)
        for side in (bids, bids if asks is None else asks)
    ]
    return BookSnapshot(exchange="okx", symbol="BTC-USDT", at_us=at_us, bids=both[0], asks=both[1])


def stepped(ohlcv: Ohlcv, signals: Signals, books: Books, bot: PaperAccount) -> tuple[Diary, PaperAccount]:
    diary = Diary()
    for row in range(len(ohlcv)):
        at_us, price = int(ohlcv.opened_at_us[row]), float(ohlcv.open[row])
        diary.note(bot.open_candle(at_us, price, OpenDepth(at_us, partial(books, at_us, price))))
        diary.note(bot.close_candle(candle_of(ohlcv, row)))
        diary.note(bot.decide(unlimited(decision_of(ohlcv, signals, row))))
    return diary, bot


def without_depth(fills: list[Fill]) -> tuple[Fill, ...]:
    return tuple(msgspec.structs.replace(fill, depth=None) for fill in fills)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(growing_markets(), COSTS, RULES, RULES, PARTS, SIZINGS, st.booleans())
def test_a_bottomless_level_at_the_open_gives_the_fills_of_a_backtest_without_slippage(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    later: TradingRules,
    protection: Protection,
    sizing: Sizing,
    rounded: bool,
) -> None:
    ohlcv, signals = market
    costs = msgspec.structs.replace(costs, slippage_bps=D(0))
    changed = (RulesFrom(valid_from_us=int(ohlcv.opened_at_us[len(ohlcv) // 2]), rules=later),)
    terms = (rules, changed) if rounded else (TradingRules(), ())
    expected = run_backtest(
        GivenSignals(given=signals, protection=protection, sizing=sizing),
        ohlcv,
        capital=CAPITAL,
        costs=costs,
        rules=terms[0],
        later_rules=terms[1],
    )
    diary, bot = stepped(
        ohlcv,
        signals,
        lambda at_us, price: book(at_us, [(price, 1e9)]),
        account(costs, terms[0], protection, None, sizing, terms[1]),
    )
    assert without_depth(diary.fills) == expected.fills
    assert bot.state.ledger == expected.ledger
    assert bot.pending == expected.pending
    for fill in diary.fills:
        assert fill.reason not in _MARKET_ORDERS or fill.depth is not None


@settings(max_examples=30, deadline=None, derandomize=True)
@given(growing_markets(), COSTS, RULES, PARTS, SIZINGS, st.booleans())
def test_without_a_snapshot_the_fills_are_those_of_the_plain_rule_and_say_so(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    sizing: Sizing,
    rounded: bool,
) -> None:
    ohlcv, signals = market
    rules = rules if rounded else TradingRules()
    expected = run_backtest(
        GivenSignals(given=signals, protection=protection, sizing=sizing),
        ohlcv,
        capital=CAPITAL,
        costs=costs,
        rules=rules,
    )
    diary, bot = stepped(
        ohlcv, signals, lambda at_us, price: None, account(costs, rules, protection, None, sizing)
    )
    assert without_depth(diary.fills) == expected.fills
    assert bot.state.ledger == expected.ledger
    for fill in diary.fills:
        if fill.depth is not None or fill.reason in _MARKET_ORDERS:
            assert fill.depth is not None
            assert fill.depth.plain == "no snapshot of the order book is recorded"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    growing_markets(),
    COSTS,
    RULES,
    PARTS,
    SIZINGS,
    st.booleans(),
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 900)), min_size=1, max_size=6),
)
def test_in_thin_books_every_fill_is_what_its_levels_say_and_the_books_stay_exact(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    sizing: Sizing,
    rounded: bool,
    steps: list[tuple[int, int]],
) -> None:
    ohlcv, signals = market
    rules = rules if rounded else TradingRules()

    def thin(at_us: int, price: float) -> BookSnapshot:
        bids, asks, bid, ask = [], [], price, price
        for bps, quantity in steps:
            bid, ask = round(bid * (1 - bps / 1e4), 6), round(ask * (1 + bps / 1e4), 6)
            bids.append((bid, quantity / 100))
            asks.append((ask, quantity / 100))
        return book(at_us, bids, asks)

    diary, bot = stepped(ohlcv, signals, thin, account(costs, rules, protection, None, sizing))
    bot.ledger.verify()
    slip = 1 + costs.slippage_bps.scaleb(-4)
    for fill in diary.fills:
        use = fill.depth
        if use is None:
            assert fill.reason not in _MARKET_ORDERS
            continue
        assert use.plain == ""
        assert sum((part for _, part in use.levels), use.beyond) == fill.quantity
        assert fill.slippage >= 0
        if use.levels and not use.beyond:
            exact = sum(price * part for price, part in use.levels) / fill.quantity
            worse = fill.price - exact if fill.side is Side.BUY else exact - fill.price
            assert D("-1e-15") < worse < (rules.tick_size or exact * D("1e-14")) + D("1e-15")
            best, last = use.levels[0][0], use.levels[-1][0]
            assert fill.price >= best if fill.side is Side.BUY else fill.price <= best
            assert rules.tick_size or min(best, last) / slip <= fill.price <= max(best, last) * slip


def test_a_reversal_takes_what_its_exit_has_left_of_the_same_bids() -> None:
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0)] * 4)
    signals = signals_at(4, long_entry=[0], long_exit=[1], short_entry=[1])
    costs = Costs(fee_bps=D(0), maker_fee_bps=D(0), slippage_bps=D(100))
    levels = {
        1: book(0, [], [(100.0, 50.0), (101.0, 1000.0)]),
        2: book(0, [(100.0, 60.0), (99.0, 60.0)], []),
    }
    first_us, step_us = int(ohlcv.opened_at_us[0]), ohlcv.timeframe.us

    def books(at_us: int, price: float) -> BookSnapshot | None:
        found = levels.get((at_us - first_us) // step_us)
        return None if found is None else msgspec.structs.replace(found, at_us=at_us)

    diary, _ = stepped(ohlcv, signals, books, account(costs, CENTS, Protection()))
    entry, leaving, short = diary.fills
    # 50 at 100 and the rest at 101; at 100.50 10,000 does not pay for another lot of 0.001.
    assert (entry.quantity, entry.price) == (D("99.502"), D("100.50"))
    assert leaving.depth is not None
    assert leaving.depth.levels == ((D("100.0"), D("60.0")), (D("99.0"), D("39.502")))
    assert short.depth is not None
    (taken,) = short.depth.levels
    assert taken == (D("99.0"), D("20.498"))
    # Behind the last level the slippage of 1 % comes on top.
    assert short.depth.beyond == short.quantity - D("20.498")
    exact = (D("20.498") * 99 + short.depth.beyond * D("98.01")) / short.quantity
    assert short.price <= exact < short.price + D("0.01")


def test_a_stop_that_the_open_jumped_over_goes_through_the_book_and_a_target_does_not() -> None:
    def left_at(price: float, levels: list[tuple[float, float]]) -> Fill:
        ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0)] * 2 + [(price, price, price, price)])
        signals = signals_at(3, long_entry=[0])
        protection = Protection(stop_loss=0.05, take_profit=0.05)
        diary, _ = stepped(
            ohlcv,
            signals,
            lambda at_us, open_: book(at_us, levels if open_ == price else [(100.0, 1e6)]),
            account(Costs(slippage_bps=D(50)), CENTS, protection),
        )
        return diary.fills[-1]

    stop = left_at(90.0, [(90.5, 10.0), (89.0, 1e6)])
    assert (stop.reason, stop.price < 90, stop.depth is None) == (OrderReason.STOP_LOSS, True, False)
    target = left_at(110.0, [(108.0, 10.0), (107.0, 1e6)])
    assert (target.reason, target.price, target.depth) == (OrderReason.TAKE_PROFIT, D("110.00"), None)


def test_a_position_is_flattened_through_the_book_at_an_open() -> None:
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0)] * 3)
    bot = account(Costs(), CENTS, Protection())
    _, bot = stepped(
        ohlcv.rows(0, 2), signals_at(2, long_entry=[0]), lambda at_us, price: book(at_us, [(100.0, 1e6)]), bot
    )
    state = msgspec.json.decode(msgspec.json.encode(bot.state), type=AccountState)
    at_us = int(ohlcv.opened_at_us[2])
    depth = OpenDepth(at_us, lambda: book(at_us, [(99.0, 1.0), (98.0, 1e6)]))
    step = account(Costs(), CENTS, Protection(), state).flatten(at_us, 100.0, depth=depth)
    (fill,) = step.fills
    assert fill.depth is not None
    assert fill.depth.levels[0] == (D("99.0"), D("1.0"))
    assert fill.price == D("98.01")


@pytest.mark.parametrize("quantity", [0.0005, 1e6])
def test_an_entry_that_pays_for_no_lot_is_refused_in_words(quantity: float) -> None:
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0)] * 2)
    rules = TradingRules(tick_size=D("0.01"), lot_size=D(1000))
    diary, _ = stepped(
        ohlcv,
        signals_at(2, long_entry=[0]),
        lambda at_us, price: book(at_us, [(100.0, quantity), (101.0, 1.0)]),
        account(Costs(), rules, Protection()),
    )
    assert diary.fills == []
    assert "does not pay for one lot of 1000" in diary.orders[-1].refusal
