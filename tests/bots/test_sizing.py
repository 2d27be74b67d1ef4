"""Sizing in decimals, and that the kernel decides the same."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_FLOOR, Context, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.engine import simulate
from bots import fill_records
from bots.booking import events_of
from bots.orders import Costs, TradingRules
from bots.sizing import refusal_of
from strategies.base import Protection, Sizing
from tests.backtesting.series import ohlcv_of, signals_at

_DIGITS = 15
_WIDE = Context(prec=120, rounding=ROUND_DOWN)


def affordable_quantity(
    cash: Decimal, price: Decimal, *, costs: Costs, rules: TradingRules, sizing: Sizing
) -> Decimal:
    """Base currency that the sizing's share of the cash pays for at `price`, fee included.

    Rounded down to the lot, or to 15 significant digits where there is none; 0 without cash.
    """
    if cash <= 0 or price <= 0:
        return Decimal(0)
    unit = _WIDE.multiply(price, 1 + _WIDE.multiply(costs.fee_bps, Decimal("0.0001")))
    quantity = _WIDE.divide(_WIDE.multiply(cash, sizing.value), unit)
    if rules.lot_size is None:
        return Context(prec=_DIGITS, rounding=ROUND_DOWN).plus(quantity)
    lots = _WIDE.divide(quantity, rules.lot_size).to_integral_value(ROUND_FLOOR)
    return _WIDE.multiply(lots, rules.lot_size)


@pytest.mark.parametrize(
    ("cash", "price", "lot", "share", "quantity"),
    [
        ("10000", "100", "0.001", "1", "99.900"),
        ("10000", "100", None, "1", "99.9000999000999"),
        ("10000", "100", "1000", "1", "0"),
        ("10000", "100", "0.001", "0.25", "24.975"),
        ("100.1", "100", "0.1", "1", "1"),  # exactly one with its fee
        ("100.0999999", "100", "0.1", "1", "0.9"),
        ("0", "100", "0.001", "1", "0"),
        ("-5", "100", "0.001", "1", "0"),
    ],
)
def test_the_share_of_cash_pays_for_the_quantity_and_its_fee(
    cash: str, price: str, lot: str | None, share: str, quantity: str
) -> None:
    rules = TradingRules(lot_size=None if lot is None else Decimal(lot))
    sizing = Sizing(value=Decimal(share))
    found = affordable_quantity(Decimal(cash), Decimal(price), costs=Costs(), rules=rules, sizing=sizing)
    assert found == Decimal(quantity)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.decimals("0.01", "1e9", places=2),
    st.decimals("0.01", "1e6", places=2),
    st.sampled_from([None, Decimal("0.00001"), Decimal("0.003"), Decimal(1)]),
    st.sampled_from([Decimal(1), Decimal("0.3"), Decimal("0.015")]),
    st.sampled_from([Decimal(0), Decimal(10), Decimal("7.5")]),
    st.sampled_from([Decimal(0), Decimal(10)]),
)
def test_the_kernel_buys_what_the_decimals_say(
    cash: Decimal, price: Decimal, lot: Decimal | None, share: Decimal, fee_bps: Decimal, least: Decimal
) -> None:
    costs, sizing = Costs(fee_bps=fee_bps), Sizing(value=share)
    rules = TradingRules(
        tick_size=Decimal("0.01"), lot_size=lot, min_notional=least, min_quantity=Decimal("0.01")
    )
    row = (float(price),) * 4
    run = simulate(
        signals_at(2, long_entry=[0]),
        ohlcv_of([row, row]),
        state=fill_records.flat_state(cash),
        terms=fill_records.terms_of(costs, rules, Protection(), sizing),
    )
    (event,) = events_of(run.events)
    quantity = affordable_quantity(cash, price, costs=costs, rules=rules, sizing=sizing)
    assert event.quantity == quantity
    assert (event.refusal == fill_records.ACCEPTED) == (refusal_of(quantity, price, cash, rules) == "")


def test_refusals_say_what_was_short() -> None:
    rules = TradingRules(lot_size=Decimal("0.001"), min_quantity=Decimal("0.01"), min_notional=Decimal(5))
    cash = Decimal(100)
    assert refusal_of(Decimal(1), Decimal(100), cash, rules) == ""
    assert refusal_of(Decimal(0), Decimal(100), cash, rules) == "100 does not pay for one lot of 0.001 at 100"
    assert refusal_of(Decimal("0.009"), Decimal(1_000), cash, rules) == (
        "the quantity 0.009 is below the minimum quantity 0.01"
    )
    assert refusal_of(Decimal("0.01"), Decimal("42.5"), cash, rules) == (
        "0.01 at 42.5 is worth 0.425, below the minimum notional 5"
    )
    assert refusal_of(Decimal(1), Decimal(0), cash, rules) == "the price rounds to 0"
    assert refusal_of(Decimal(0), Decimal(100), Decimal(0), rules) == "there is no cash to trade with: 0"
