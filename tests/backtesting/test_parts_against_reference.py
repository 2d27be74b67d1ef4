"""Partial targets, add-ons and changing rules: the fast engine against the slow one."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.engine import run_backtest
from bots.orders import Costs, RulesFrom, TradingRules
from data.models import Ohlcv
from strategies.base import AddOns, LevelBase, Protection, Signals, Sizing, Target
from tests.backtesting.reference_engine import run_reference
from tests.backtesting.series import GivenSignals, bars_of, reference_terms, says_of
from tests.backtesting.test_engine_against_reference import (
    CAPITAL,
    COSTS,
    FRACTIONS,
    RULES,
    UNHURRIED,
    _inside,
    assert_equal,
    both,
    markets,
)

LADDERS = st.sampled_from(
    [
        ((0.01, 0.5), (0.03, 0.5)),
        ((0.005, 0.25), (0.01, 0.25), (0.04, 0.25)),
        ((0.001, 0.1), (0.002, 0.2), (0.004, 0.3), (0.02, 0.4)),
        ((0.02, 0.333333333),),
        ((0.002, 0.001), (0.01, 0.999)),
    ]
).map(lambda rungs: tuple(Target(at=at, fraction=fraction) for at, fraction in rungs))
PARTS = st.builds(Protection, stop_loss=FRACTIONS, trailing_stop=FRACTIONS, targets=LADDERS)
ADD_ONS = st.builds(
    AddOns,
    most=st.sampled_from([1, 3]),
    size=st.sampled_from([0.25, 0.5, 1.0, 0.3333]),
    every=st.sampled_from([None, 0.002, 0.01, -0.004]),
    by_rule=st.booleans(),
    levels=st.sampled_from(LevelBase),
)
SIZINGS = st.builds(
    Sizing,
    value=st.sampled_from(["0.2", "0.5", "1", "0.01"]).map(Decimal),
    add_ons=st.one_of(st.none(), ADD_ONS),
)
SMALL_MINIMA = st.sampled_from([Decimal(0), Decimal(120), Decimal(1_500)])


@st.composite
def growing_markets(draw: st.DrawFn) -> tuple[Ohlcv, Signals]:
    """Signals with add-ons among them."""
    ohlcv, signals = draw(markets())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    adds = rng.random((2, len(ohlcv))) < 0.3
    return ohlcv, replace(signals, long_add=adds[0], short_add=adds[1])


@UNHURRIED
@given(growing_markets(), COSTS, RULES, SMALL_MINIMA, PARTS, SIZINGS)
def test_parts_and_add_ons_equal_the_reference(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    least: Decimal,
    protection: Protection,
    sizing: Sizing,
) -> None:
    ohlcv, signals = market
    rules = TradingRules(tick_size=rules.tick_size, lot_size=rules.lot_size, min_notional=least)
    # An average price has no end, so the shares of cost that parts take are compared to 1e-14.
    assert_equal(*both(signals, ohlcv, costs, rules, protection, sizing), exact=False)


@UNHURRIED
@given(growing_markets(), COSTS, PARTS, SIZINGS, st.integers(0, 2**32 - 1))
def test_parts_placed_by_finer_candles_equal_the_reference(
    market: tuple[Ohlcv, Signals], costs: Costs, protection: Protection, sizing: Sizing, seed: int
) -> None:
    ohlcv, signals = market
    finer = _inside(ohlcv, seed)
    rules = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
    assert_equal(*both(signals, ohlcv, costs, rules, protection, sizing, finer=finer), exact=False)


@settings(UNHURRIED, max_examples=80)
@given(growing_markets(), COSTS, RULES, RULES, RULES, PARTS, SIZINGS)
def test_rules_that_change_within_a_run_equal_the_reference(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    first: TradingRules,
    second: TradingRules,
    third: TradingRules,
    protection: Protection,
    sizing: Sizing,
) -> None:
    ohlcv, signals = market
    later = [
        RulesFrom(valid_from_us=int(ohlcv.opened_at_us[len(ohlcv) // 3]) + 1, rules=second),
        RulesFrom(valid_from_us=int(ohlcv.opened_at_us[2 * len(ohlcv) // 3]) + 2, rules=third),
    ]
    assert_equal(*both(signals, ohlcv, costs, first, protection, sizing, later_rules=later), exact=False)


@settings(UNHURRIED, max_examples=80)
@given(growing_markets(), COSTS, PARTS, SIZINGS)
def test_the_best_case_is_the_reference_with_targets_first(
    market: tuple[Ohlcv, Signals], costs: Costs, protection: Protection, sizing: Sizing
) -> None:
    ohlcv, signals = market
    rules = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
    strategy = GivenSignals(given=signals, protection=protection, sizing=sizing)
    result = run_backtest(strategy, ohlcv, capital=CAPITAL, costs=costs, rules=rules)
    terms = replace(reference_terms(costs, rules, protection, sizing), target_first=True)
    best = run_reference(bars_of(ohlcv), says_of(signals), terms, CAPITAL).equity
    curve = result.equity if result.best_case_equity is None else result.best_case_equity
    np.testing.assert_allclose(curve, [float(value) for value in best], rtol=1e-12)
    assert (result.best_case_equity is None) == (result.metrics.ambiguous_exits == 0)


@UNHURRIED
@given(growing_markets(), COSTS, RULES, SMALL_MINIMA, PARTS, SIZINGS)
def test_the_books_reconcile_and_a_long_never_owes_cash(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    least: Decimal,
    protection: Protection,
    sizing: Sizing,
) -> None:
    ohlcv, signals = market
    never = np.zeros(len(ohlcv), dtype=np.bool_)
    longs = replace(signals, short_entry=never)
    rules = TradingRules(tick_size=rules.tick_size, lot_size=rules.lot_size, min_notional=least)
    strategy = GivenSignals(given=longs, protection=protection, sizing=sizing)
    result = run_backtest(strategy, ohlcv, capital=CAPITAL, costs=costs, rules=rules)
    cash = CAPITAL
    for fill in result.fills:
        cash += (-1 if fill.side == "buy" else 1) * fill.price * fill.quantity - fill.fee
        assert cash >= 0
    books = result.ledger
    assert cash == books.cash
    value = books.cash + books.quantity * Decimal(repr(float(ohlcv.close[-1])))
    assert abs(float(value) - result.equity[-1]) <= 1e-12 * float(CAPITAL) * 10
    realised = sum((trade.pnl for trade in result.trades), Decimal(0))
    assert books.cost is not None
    # What was gained is what the account holds now, at cost, over what was paid in and into open positions.
    assert abs(books.cash + books.cost + books.entry_fee - CAPITAL - realised) <= Decimal("1e-12")
