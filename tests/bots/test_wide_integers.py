"""256-bit arithmetic against Python's own whole numbers and decimals."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from hypothesis import example, given, settings
from hypothesis.strategies import floats, integers

from bots.wide_integers import (
    Wide,
    add,
    compare,
    decimal_of,
    floor_divide,
    negate,
    subtract,
    times,
    times_power,
    to_float,
)

UNHURRIED = settings(deadline=None)  # the first call may compile
MASK = 2**64 - 1
ANY = integers(-(2**250), 2**250)


def of(number: int) -> Wide:
    a, b, c, d = ((number >> shift) & MASK for shift in (0, 64, 128, 192))
    return np.uint64(a), np.uint64(b), np.uint64(c), np.uint64(d)


def back(number: Wide) -> int:
    value = sum(int(limb) << (64 * place) for place, limb in enumerate(number))
    return value - 2**256 if value >= 2**255 else value


@UNHURRIED
@given(ANY, ANY)
def test_sums_and_differences_are_exact(a: int, b: int) -> None:
    assert back(add(of(a), of(b))) == a + b
    assert back(subtract(of(a), of(b))) == a - b
    assert back(negate(of(a))) == -a


@UNHURRIED
@given(integers(-(2**180), 2**180), integers(0, 2**62), integers(0, 20))
def test_products_are_exact(a: int, factor: int, exponent: int) -> None:
    assert back(times(of(a), factor)) == a * factor
    assert back(times_power(of(a), exponent)) == a * 10**exponent


@UNHURRIED
@given(integers(0, 2**61), integers(1, 2**180), integers(-2, 2))
@example(10**15, 10**40, -1)
def test_quotients_round_down_even_beside_a_whole_number(quotient: int, divisor: int, nudge: int) -> None:
    numerator = max(quotient * divisor + nudge, 0)
    expected, rest = divmod(numerator, divisor)
    assert floor_divide(of(numerator), of(divisor)) == (expected, rest == 0)


def test_a_quotient_too_large_is_told() -> None:
    assert floor_divide(of(2**100), of(1)) == (-1, False)


@UNHURRIED
@given(ANY)
def test_doubles_are_close(a: int) -> None:
    assert abs(to_float(of(a)) - float(a)) <= abs(float(a)) * 1e-15


@UNHURRIED
@given(integers(0, 10**30), integers(0, 20), integers(0, 10**30), integers(0, 20))
def test_decimals_of_different_scale_compare(a: int, a_decimals: int, b: int, b_decimals: int) -> None:
    left, right = a * 10**b_decimals, b * 10**a_decimals
    assert compare(of(a), a_decimals, of(b), b_decimals) == (left > right) - (left < right)


@UNHURRIED
@given(floats(1e-4, 1e12))
@example(0.30000000000000004)
@example(43963.73)
@example(9007199254740993.0)
@example(68719476736.51562)  # the double lies halfway between this decimal and the next
@example(68719476736.54688)
def test_a_double_gives_the_decimal_that_python_prints(value: float) -> None:
    mantissa, decimals = decimal_of(value)
    printed = Decimal(repr(value))
    assert Decimal(int(mantissa)).scaleb(-int(decimals)) == printed
    assert float(f"{int(mantissa)}e-{int(decimals)}") == value


def test_quotients_beyond_two_to_the_53_stay_whole_numbers() -> None:
    quotient, exact = floor_divide(of(9_007_199_254_740_993), of(1))
    assert isinstance(quotient, int)
    assert (quotient, exact) == (9_007_199_254_740_993, True)
