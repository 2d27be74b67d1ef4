"""Several positions and one capital: against a slow account, and what must always hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtesting.engine import run_backtest
from backtesting.portfolio import Leg, PortfolioResult, run_portfolio
from bots.orders import Costs, TradingRules
from data.errors import InvalidInput
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Protection, Signals, Sizing
from strategies.higher_timeframe import fold
from tests.backtesting.reference_engine import Bar, Say, Terms, _Desk
from tests.backtesting.series import (
    GivenSignals,
    bars_of,
    ohlcv_of,
    reference_terms,
    says_of,
    signals_at,
)
from tests.backtesting.test_engine_against_reference import COSTS, RULES, UNHURRIED
from tests.backtesting.test_parts_against_reference import PARTS, SIZINGS, growing_markets

CAPITAL = Decimal(10_000)
FREE = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
NO_FEES = Costs(fee_bps=Decimal(0), maker_fee_bps=Decimal(0))


class SlowLeg(_Desk):
    """A leg of the slow account: what it may spend depends on the others."""

    def __init__(
        self, account: SlowAccount, bars: Sequence[Bar], says: Sequence[Say], terms: Terms, us: int
    ) -> None:
        super().__init__(terms, Decimal(0))
        self.account, self.bars, self.says, self.duration_us = account, bars, says, us
        self.mark = bars[0].open

    @property
    def worth(self) -> Decimal:
        return Decimal(0) if self.held is None else self.held.away * self.held.quantity * self.mark

    def budget(self) -> Decimal:
        return min(self.account.equity() * self.terms.size, self.free())

    def free(self) -> Decimal:
        others = [leg for leg in self.account.legs if leg is not self]
        return self.account.cash() + 2 * sum((min(leg.worth, Decimal(0)) for leg in others), Decimal(0))


class SlowAccount:
    """Instant by instant: closes in the order of legs, then exits, entries and what opened beyond a level."""

    def __init__(self, capital: Decimal) -> None:
        self.capital = capital
        self.legs: list[SlowLeg] = []
        self.curve: list[Decimal] = []

    def cash(self) -> Decimal:
        return self.capital + sum((leg.outcome.cash for leg in self.legs), Decimal(0))

    def equity(self) -> Decimal:
        return self.cash() + sum((leg.worth for leg in self.legs), Decimal(0))

    def run(self) -> None:
        opens: dict[int, list[Any]] = {}
        closes: dict[int, list[Any]] = {}
        for leg in self.legs:
            for bar, say in zip(leg.bars, leg.says, strict=True):
                opens.setdefault(bar.at_us, []).append((leg, bar))
                closes.setdefault(bar.at_us + leg.duration_us, []).append((leg, bar, say))
        for now_us in sorted({*opens, *closes}):
            for leg, bar, say in closes.get(now_us, []):
                leg.inside(bar, (), leg.duration_us)
                leg.mark = bar.close
                leg.close(bar, say)
            if now_us in closes:
                self.curve.append(self.equity())
            opening = opens.get(now_us, [])
            for leg, bar in opening:
                leg.mark = bar.open
            for leg, bar in opening:
                leg.leave_as_decided(bar)
            for leg, bar in opening:
                leg.enter_as_decided(bar)
            for leg, bar in opening:
                leg.leave_beyond(bar)


def leg_of(
    name: str,
    ohlcv: Ohlcv,
    signals: Signals,
    *,
    protection: Protection = Protection(),  # noqa: B008  # frozen
    sizing: Sizing = Sizing(),  # noqa: B008  # frozen
    rules: TradingRules = FREE,
) -> Leg:
    strategy = GivenSignals(given=signals, timeframe=ohlcv.timeframe, protection=protection, sizing=sizing)
    return Leg(symbol=name, strategy=strategy, ohlcv=ohlcv, rules=rules)


def slow(legs: Sequence[Leg], costs: Costs) -> SlowAccount:
    account = SlowAccount(CAPITAL)
    for leg in legs:
        terms = reference_terms(costs, leg.rules, leg.strategy.protection, leg.strategy.sizing)
        says = says_of(leg.strategy.signals(leg.ohlcv))
        account.legs.append(SlowLeg(account, bars_of(leg.ohlcv), says, terms, leg.ohlcv.timeframe.us))
    with localcontext(Context(prec=60)):
        account.run()
    return account


def assert_same(fast: PortfolioResult, account: SlowAccount) -> None:
    near = Decimal("1e-14")
    for result, leg in zip(fast.legs, account.legs, strict=True):
        assert len(result.refused) == leg.outcome.refusals
        assert len(result.trades) == len(leg.outcome.trades)
        for got, expected in zip(result.trades, leg.outcome.trades, strict=True):
            assert (got.side, got.entry_at_us, got.exit_at_us, got.exit_reason) == (
                expected.side,
                expected.entry_at_us,
                expected.exit_at_us,
                expected.reason,
            )
            assert abs(got.quantity - expected.quantity) <= near * expected.quantity
            assert abs(got.pnl - expected.pnl) <= near * got.entry_price * got.quantity
    np.testing.assert_allclose(fast.equity, [float(value) for value in account.curve], rtol=1e-12, atol=1e-8)


@UNHURRIED
@given(growing_markets(), growing_markets(), COSTS, RULES, RULES, PARTS, SIZINGS, SIZINGS)
def test_two_symbols_equal_the_slow_account(
    first: tuple[Ohlcv, Signals],
    second: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    other_rules: TradingRules,
    protection: Protection,
    sizing: Sizing,
    other_sizing: Sizing,
) -> None:
    legs = [
        leg_of("A", *first, protection=protection, sizing=sizing, rules=rules),
        leg_of("B", *second, protection=protection, sizing=other_sizing, rules=other_rules),
    ]
    fast = run_portfolio(legs, capital=CAPITAL, costs=costs)
    assert_same(fast, slow(legs, costs))
    gains = sum((leg.ledger.cash for leg in fast.legs), Decimal(0))
    assert fast.cash == CAPITAL + gains


@UNHURRIED
@given(growing_markets(), COSTS, PARTS, SIZINGS)
def test_strategies_of_two_time_frames_on_one_symbol_equal_the_slow_account(
    market: tuple[Ohlcv, Signals], costs: Costs, protection: Protection, sizing: Sizing
) -> None:
    ohlcv, signals = market
    slower = fold(ohlcv, Timeframe.H2).candles
    if len(slower) == 0:
        return
    half = Signals(
        **{
            name: getattr(signals, name)[: len(slower)].copy()
            for name in ("long_entry", "long_exit", "short_entry", "short_exit", "long_add", "short_add")
        }
    )
    legs = [
        leg_of("A", ohlcv, signals, protection=protection, sizing=sizing),
        leg_of("A, slower", slower, half, protection=protection, sizing=sizing),
    ]
    assert_same(run_portfolio(legs, capital=CAPITAL, costs=costs), slow(legs, costs))


@UNHURRIED
@given(growing_markets(), COSTS, RULES, PARTS, SIZINGS, st.booleans())
def test_one_leg_is_the_single_run_to_the_last_digit(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    sizing: Sizing,
    close_at_end: bool,
) -> None:
    leg = leg_of("A", *market, protection=protection, sizing=sizing, rules=rules)
    alone = run_backtest(
        leg.strategy, leg.ohlcv, capital=CAPITAL, costs=costs, rules=rules, close_at_end=close_at_end
    )
    shared = run_portfolio([leg], capital=CAPITAL, costs=costs, close_at_end=close_at_end)
    assert tuple(fill for _, fill in shared.fills) == alone.fills
    assert shared.legs[0].trades == alone.trades
    assert shared.cash == alone.ledger.cash
    np.testing.assert_allclose(shared.equity, alone.equity, rtol=1e-12)


@UNHURRIED
@given(growing_markets(), growing_markets(), growing_markets(), COSTS, SIZINGS)
def test_longs_that_share_a_capital_never_owe_cash(
    one: tuple[Ohlcv, Signals],
    two: tuple[Ohlcv, Signals],
    three: tuple[Ohlcv, Signals],
    costs: Costs,
    sizing: Sizing,
) -> None:
    legs = [
        leg_of(name, ohlcv, replace(signals, short_entry=np.zeros(len(ohlcv), dtype=np.bool_)), sizing=sizing)
        for name, (ohlcv, signals) in zip("ABC", (one, two, three), strict=True)
    ]
    cash = CAPITAL
    for _, fill in run_portfolio(legs, capital=CAPITAL, costs=costs).fills:
        cash += (-1 if fill.side == "buy" else 1) * fill.price * fill.quantity - fill.fee
        assert cash >= 0


FLAT = [(100.0, 100.0, 100.0, 100.0)] * 4


def test_at_one_instant_exits_free_the_cash_that_entries_take() -> None:
    ohlcv = ohlcv_of(FLAT)
    legs = [
        leg_of("A", ohlcv, signals_at(4, long_entry=[1])),
        leg_of("B", ohlcv, signals_at(4, long_entry=[0], long_exit=[1])),
    ]
    result = run_portfolio(legs, capital=CAPITAL, costs=NO_FEES)
    assert [(owner, fill.side.value, fill.quantity) for owner, fill in result.fills] == [
        (1, "buy", Decimal(100)),
        (1, "sell", Decimal(100)),
        (0, "buy", Decimal(100)),
    ]


def test_at_one_instant_entries_are_filled_in_the_order_of_legs_and_the_rest_is_refused() -> None:
    ohlcv = ohlcv_of(FLAT)
    legs = [leg_of(name, ohlcv, signals_at(4, long_entry=[0])) for name in "AB"]
    result = run_portfolio(legs, capital=CAPITAL, costs=NO_FEES)
    assert [owner for owner, _ in result.fills] == [0]
    assert [order.refusal for order in result.legs[1].refused] == ["there is no cash to trade with: 0"]


def test_a_share_is_of_the_whole_account_s_equity() -> None:
    rising = ohlcv_of(
        [(100.0, 100.0, 100.0, 100.0), (100.0, 200.0, 100.0, 200.0), (200.0, 200.0, 200.0, 200.0)]
    )
    flat = ohlcv_of(FLAT[:3])
    half = Sizing(value=Decimal("0.5"))
    legs = [
        leg_of("A", rising, signals_at(3, long_entry=[0]), sizing=half),
        leg_of("B", flat, signals_at(3, long_entry=[1]), sizing=half),
    ]
    result = run_portfolio(legs, capital=CAPITAL, costs=NO_FEES)
    # 50 of A are worth 10,000 by then, so the account has 15,000; half of it is more than the cash left.
    assert [fill.quantity for _, fill in result.fills] == [Decimal(50), Decimal(50)]


def test_the_same_symbol_and_strategy_twice_is_refused() -> None:
    leg = leg_of("A", ohlcv_of(FLAT), signals_at(4))
    with pytest.raises(InvalidInput, match="once"):
        run_portfolio([leg, leg], capital=CAPITAL, costs=Costs())
