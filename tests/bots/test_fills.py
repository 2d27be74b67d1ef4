"""The kernel carries everything in its state: spans join, and steps equal the whole."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.engine import Simulation, simulate
from bots import fill_records
from bots.orders import Costs, TradingRules
from data.errors import InvalidInput, RejectedError
from data.models import Ohlcv
from strategies.base import Protection, Signals, Sizing
from tests.backtesting.series import ohlcv_of, signals_at
from tests.backtesting.test_engine_against_reference import COSTS, PROTECTIONS, RULES, markets


def simulated(
    ohlcv: Ohlcv, signals: Signals, terms: fill_records.Records, state: fill_records.Records | None = None
) -> Simulation:
    start = fill_records.flat_state(Decimal(10_000)) if state is None else state
    return simulate(signals, ohlcv, state=start, terms=terms)


def part(signals: Signals, rows: slice) -> Signals:
    return Signals(
        long_entry=signals.long_entry[rows],
        long_exit=signals.long_exit[rows],
        short_entry=signals.short_entry[rows],
        short_exit=signals.short_exit[rows],
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(markets(), COSTS, RULES, PROTECTIONS, st.floats(0, 1), st.booleans())
def test_two_halves_give_the_whole(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    share: float,
    rounded: bool,
) -> None:
    ohlcv, signals = market
    terms = fill_records.terms_of(costs, rules if rounded else TradingRules(), protection, Sizing())
    cut = 1 + int(share * (len(ohlcv) - 2))
    whole = simulated(ohlcv, signals, terms)
    first = simulated(ohlcv.rows(0, cut), part(signals, slice(0, cut)), terms)
    second = simulated(ohlcv.rows(cut, len(ohlcv)), part(signals, slice(cut, None)), terms, first.state)
    np.testing.assert_array_equal(whole.equity, np.concatenate((first.equity, second.equity)))
    later = second.events.copy()
    later["row"] += cut
    np.testing.assert_array_equal(whole.events, np.concatenate((first.events, later)))
    np.testing.assert_array_equal(whole.state, second.state)


def test_the_events_of_a_long_run_all_arrive() -> None:
    """More events than the first buffer holds."""
    count = 12_000
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0)] * count)
    signals = signals_at(count, long_entry=range(0, count, 2), long_exit=range(1, count, 2))
    costs = Costs(fee_bps=Decimal(0))
    terms = fill_records.terms_of(costs, TradingRules(), Protection(), Sizing())
    events = simulated(ohlcv, signals, terms).events
    np.testing.assert_array_equal(events["row"], np.arange(1, count))


def test_a_state_is_left_as_it_was() -> None:
    state = fill_records.flat_state(Decimal(100))
    before = state.copy()
    terms = fill_records.terms_of(Costs(), TradingRules(), Protection(), Sizing())
    simulated(ohlcv_of([(1.0, 1.0, 1.0, 1.0)] * 3), signals_at(3, long_entry=[0]), terms, state)
    np.testing.assert_array_equal(state, before)


@pytest.mark.parametrize(
    "cash", ["10000", "-12.5", "0", "0.0000000000000000000000000000000000000001", "9e29"]
)
def test_cash_comes_back_as_it_went_in(cash: str) -> None:
    assert fill_records.cash_of(fill_records.flat_state(Decimal(cash))) == Decimal(cash)
    assert fill_records.flat_state(Decimal(cash))["cash"][0] == pytest.approx(float(cash), rel=1e-15)


@pytest.mark.parametrize("cash", ["1e30", "1e-41", "NaN"])
def test_cash_that_can_not_be_counted_is_refused(cash: str) -> None:
    with pytest.raises(InvalidInput):
        fill_records.flat_state(Decimal(cash))


def test_a_quantity_of_too_many_lots_is_an_error_and_not_a_wrong_number() -> None:
    rules = TradingRules(lot_size=Decimal("1e-18"), tick_size=Decimal("0.01"))
    terms = fill_records.terms_of(Costs(), rules, Protection(), Sizing())
    with pytest.raises(RejectedError, match="more digits"):
        simulated(ohlcv_of([(1.0, 1.0, 1.0, 1.0)] * 3), signals_at(3, long_entry=[0]), terms)


def test_steps_and_fees_with_more_digits_than_can_be_counted_are_refused() -> None:
    rules = TradingRules(lot_size=Decimal("1e-18"), tick_size=Decimal("1e-18"))
    with pytest.raises(InvalidInput, match="40 decimals together"):
        fill_records.terms_of(Costs(fee_bps=Decimal("0.125")), rules, Protection(), Sizing())


@pytest.mark.parametrize("value", ["0", "-0.5", "1.01", "Infinity"])
def test_a_size_outside_zero_to_one_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="at most 1"):
        fill_records.terms_of(Costs(), TradingRules(), Protection(), Sizing(value=Decimal(value)))
