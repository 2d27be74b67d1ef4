from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from dashboard.number_formats import (
    compact,
    direction,
    duration,
    full_time,
    money,
    percent,
    plain,
    price,
    price_decimals,
    quantity,
    share,
    signed,
)
from tests.dashboard.fakes import BTC, FakeMarket


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (318.44, "+318.44"),
        (-0.4149, "−0.41"),  # noqa: RUF001
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (-0.001, "0.00"),
        (12345.6, "+12,345.60"),
    ],
)
def test_a_gain_has_a_sign_a_loss_a_real_minus_and_nothing_has_neither(value: float, shown: str) -> None:
    assert signed(value) == shown


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_unknown_is_a_dash_and_never_a_zero(missing: float | None) -> None:
    for written in (signed, percent, money, compact, share):
        assert written(missing) == "–"  # noqa: RUF001
    assert price(missing, 2) == "–"  # noqa: RUF001
    assert direction(missing) == "flat"


def test_fractions_become_percent_with_two_decimals() -> None:
    assert percent(0.0184) == "+1.84%"
    assert percent(-0.00414) == "−0.41%"  # noqa: RUF001
    assert percent(0) == "0.00%"
    assert share(0.568) == "56.8%"


def test_what_rounds_to_zero_has_no_direction() -> None:
    assert direction(0.004) == "flat"
    assert direction(0.006) == "up"
    assert direction(Decimal("-0.01")) == "down"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (5_823, "5.82K"),
        (999_950, "1.00M"),
        (57_212, "57.2K"),
        (412.4, "412"),
        (2.5, "2.50"),
        (0.0421, "0.0421"),
        (0, "0"),
    ],
)
def test_volumes_have_three_significant_digits(value: float, shown: str) -> None:
    assert compact(value) == shown


def test_money_is_exact_to_the_cent_and_small_amounts_keep_their_digits() -> None:
    assert money(Decimal("12843.555")) == "12,843.56"
    assert money(Decimal("0.9998")) == "1.00"
    assert money(Decimal("0.00012345")) == "0.000123"
    assert plain(-1234.5, 1) == "−1,234.5"  # noqa: RUF001


def test_quantities_keep_their_own_decimals() -> None:
    assert quantity(Decimal("0.14820000")) == "0.1482"
    assert quantity(Decimal("1200")) == "1,200"
    assert quantity(Decimal("1E+3")) == "1,000"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(41, "41s"), (125, "2m 05s"), (8_220, "2h 17m"), (792_000, "9d 4h"), (-5, "0s")]
)
def test_durations_show_their_two_largest_units(seconds: int, shown: str) -> None:
    assert duration(seconds * 1_000_000) == shown


def test_times_say_that_they_are_utc() -> None:
    assert full_time(1_723_161_600_000_000) == "2024-08-09 00:00:00 UTC"


def test_prices_have_the_decimals_of_the_tick() -> None:
    market = FakeMarket()
    market.ticks[BTC] = Decimal("0.10000000")
    assert price_decimals(market.instrument(BTC), np.array([1.23456])) == 1


def test_without_an_instrument_prices_have_the_decimals_that_occur() -> None:
    assert price_decimals(None, np.array([1.5, 0.12345])) == 5
    assert price_decimals(None, np.array([60_000.0])) == 2
