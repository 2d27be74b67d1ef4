"""Exact whole numbers of 256 bits for compiled code, and the decimal behind a double.

Cash counted in the smallest step that prices, quantities and fees can make needs about forty decimals: more
than a double or an int64 holds. A `Wide` is four unsigned 64-bit limbs, lowest first, two's complement.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]  # comes without types
from numba import types
from numba.extending import intrinsic

from data.kernel_cache import compiled

Wide: TypeAlias = tuple[np.uint64, np.uint64, np.uint64, np.uint64]

MAX_DECIMALS = 22  # 10**22 is the largest power of ten that a double holds exactly
_MAX_MANTISSA = 1e18
_EXACT_INTEGER = 2.0**50

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TOP = np.uint64(63)
_INT64 = np.uint64(2**62)
_POWERS = np.array([10**k for k in range(19)], dtype=np.int64)
_FLOAT_POWERS = np.array([10.0**k for k in range(61)])  # exact up to MAX_DECIMALS
_TWO_64 = 2.0**64


@compiled
def ten_to(exponent: int) -> int:
    """10**exponent, for exponents up to 18."""
    return int(_POWERS[exponent])


@compiled
def float_power(exponent: int) -> float:
    """10.0**exponent, exact for exponents up to 22."""
    if 0 <= exponent < len(_FLOAT_POWERS):
        return float(_FLOAT_POWERS[exponent])
    return 10.0**exponent


@intrinsic
def _multiply(typing: Any, a: Any, b: Any) -> Any:
    """The 128 bits of the product of two limbs, highest first: one instruction of the machine."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        double = ir.IntType(128)
        whole = builder.mul(*(builder.zext(limb, double) for limb in arguments))
        high = builder.trunc(builder.lshr(whole, double(64)), ir.IntType(64))
        return context.make_tuple(
            builder, signature.return_type, (high, builder.trunc(whole, ir.IntType(64)))
        )

    pair: Any = types.UniTuple(types.uint64, 2)  # type: ignore[no-untyped-call]  # numba has none
    return pair(types.uint64, types.uint64), build


_product: Any = _multiply


def _on_whole(operation: str) -> Any:
    """A compiled function that does the machine's own 256-bit operation on two numbers."""

    @intrinsic
    def operate(typing: Any, a: Any, b: Any) -> Any:
        limbs: Any = types.UniTuple(types.uint64, 4)  # type: ignore[no-untyped-call]  # numba has none

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            limb, whole = ir.IntType(64), ir.IntType(256)
            numbers = []
            for argument in arguments:
                number = builder.zext(builder.extract_value(argument, 0), whole)
                for k in range(1, 4):
                    part = builder.zext(builder.extract_value(argument, k), whole)
                    number = builder.or_(number, builder.shl(part, whole(64 * k)))
                numbers.append(number)
            found = getattr(builder, operation)(*numbers)
            parts = [builder.trunc(builder.lshr(found, whole(64 * k)), limb) for k in range(4)]
            return context.make_tuple(builder, signature.return_type, parts)

        return limbs(limbs, limbs), build

    return operate


_sum = _on_whole("add")
_difference = _on_whole("sub")


@compiled
def _carry(total: np.uint64, part: np.uint64) -> np.uint64:
    return _ONE if total < part else _ZERO


@compiled
def wide(number: int) -> Wide:
    """A whole number of at least 0."""
    return np.uint64(number), _ZERO, _ZERO, _ZERO


@compiled
def add(a: Wide, b: Wide) -> Wide:
    """The sum, modulo 2**256."""
    total: Wide = _sum(a, b)
    return total


@compiled
def negate(a: Wide) -> Wide:
    """Minus the number."""
    difference: Wide = _difference((_ZERO, _ZERO, _ZERO, _ZERO), a)
    return difference


@compiled
def subtract(a: Wide, b: Wide) -> Wide:
    """The difference, modulo 2**256."""
    difference: Wide = _difference(a, b)
    return difference


@compiled
def is_negative(a: Wide) -> bool:
    """Whether the number is below 0."""
    return bool((a[3] >> _TOP) == _ONE)


@compiled
def less(a: Wide, b: Wide) -> bool:
    """Whether a < b."""
    return is_negative(subtract(a, b))


@compiled
def times(a: Wide, factor: int) -> Wide:
    """The product with a whole number of at least 0 that fits an int64, modulo 2**256."""
    by = np.uint64(factor)
    high0, r0 = _product(a[0], by)
    high1, low1 = _product(a[1], by)
    high2, low2 = _product(a[2], by)
    r1 = low1 + high0
    carry = _carry(r1, low1)
    r2 = low2 + high1
    next_carry = _carry(r2, low2)
    r2 = r2 + carry
    next_carry = next_carry + _carry(r2, carry)
    return r0, r1, r2, a[3] * by + high2 + next_carry


@compiled
def times_power(a: Wide, exponent: int) -> Wide:
    """The product with 10**exponent, exponent >= 0."""
    if exponent == 0:
        return a
    while exponent > 18:
        a = times(a, _POWERS[18])
        exponent -= 18
    return times(a, _POWERS[exponent])


@compiled
def to_float(a: Wide) -> float:
    """A double within a few units in the last place of the number."""
    if is_negative(a):
        b = negate(a)
        sign = -1.0
    else:
        b = a
        sign = 1.0
    high = (float(b[3]) * _TWO_64 + float(b[2])) * _TWO_64
    return sign * ((high + float(b[1])) * _TWO_64 + float(b[0]))


@compiled
def floor_divide(numerator: Wide, denominator: Wide) -> tuple[int, bool]:
    """The quotient rounded down and whether it is exact, for numerator >= 0 and denominator > 0.

    The quotient must be below 2**62; -1 says that it is not.
    """
    if numerator[1] == _ZERO and numerator[2] == _ZERO and numerator[3] == _ZERO:
        if denominator[1] != _ZERO or denominator[2] != _ZERO or denominator[3] != _ZERO:
            return 0, numerator[0] == _ZERO
        if numerator[0] < _INT64 and denominator[0] < _INT64:
            small, by_small = int(np.int64(numerator[0])), int(np.int64(denominator[0]))
            return small // by_small, small % by_small == 0
    by = to_float(denominator)
    estimate = to_float(numerator) / by
    if estimate > 4.6e18:
        return -1, False
    quotient = int(estimate)
    rest = subtract(numerator, times(denominator, quotient))
    # The estimate is a few hundred off at most; what is left over is divided once more.
    step = math.floor(to_float(rest) / by)
    quotient += step
    rest = subtract(rest, times(denominator, step)) if step >= 0 else add(rest, times(denominator, -step))
    while is_negative(rest):
        quotient -= 1
        rest = add(rest, denominator)
    while not less(rest, denominator):
        quotient += 1
        rest = subtract(rest, denominator)
    exact = rest[0] == _ZERO and rest[1] == _ZERO and rest[2] == _ZERO and rest[3] == _ZERO
    return quotient, exact


@compiled
def compare(a: Wide, a_decimals: int, b: Wide, b_decimals: int) -> int:
    """-1, 0 or 1 as a * 10**-a_decimals is below, equal to or above b * 10**-b_decimals."""
    if a_decimals < b_decimals:
        a = times_power(a, b_decimals - a_decimals)
    elif b_decimals < a_decimals:
        b = times_power(b, a_decimals - b_decimals)
    if less(a, b):
        return -1
    if less(b, a):
        return 1
    return 0


@compiled
def decimal_of(value: float) -> tuple[int, int]:
    """The shortest decimal that is read back as the double `value` > 0, as (mantissa, decimals).

    This is what Python prints, as long as it has at most 22 decimals and 18 digits.
    """
    for k in range(9):
        product = math.floor(value * _FLOAT_POWERS[k] + 0.5)
        # Both sides are exact here, so the division rounds once, as reading the decimal would.
        if product < _EXACT_INTEGER and product / _FLOAT_POWERS[k] == value:
            return int(product), k
    half_ulp = math.ldexp(1.0, math.frexp(value)[1] - 54)
    # The halves of Veltkamp's splitting make the error of each product below exact (Dekker 1971).
    scaled = 134217729.0 * value
    value_high = scaled - (scaled - value)
    value_low = value - value_high
    mantissa, decimals = 0, 0
    for k in range(MAX_DECIMALS + 1):
        power = _FLOAT_POWERS[k]
        product = value * power
        if product > _MAX_MANTISSA:
            break
        scaled = 134217729.0 * power
        power_high = scaled - (scaled - power)
        power_low = power - power_high
        error = value_low * power_low - (
            ((product - value_high * power_high) - value_low * power_high) - value_high * power_low
        )
        base = math.floor(product)
        fraction = (product - base) + error
        nearest = math.floor(fraction + 0.5)
        mantissa, decimals = int(base) + int(nearest), k
        if nearest - fraction == 0.5 and mantissa % 2 == 1:
            mantissa -= 1  # of two decimals that are as near, Python prints the even one
        if abs(fraction - nearest) < half_ulp * power:
            break
    return mantissa, decimals
