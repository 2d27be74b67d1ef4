"""Prices, levels and quantities of the fill rules in exact whole numbers, for compiled code.

Part of the kernel in `bots.fills`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from bots.fill_records import (
    CASH_DECIMALS,
    ERROR_RANGE,
    PRICE_DIGITS,
    QUANTITY_DIGITS,
    STOP_LOSS,
    TRAILING_STOP,
    Exact,
)
from bots.wide_integers import (
    MAX_DECIMALS,
    Wide,
    add,
    compare,
    decimal_of,
    float_power,
    floor_divide,
    ten_to,
    times,
    times_power,
    to_float,
    wide,
)
from data.kernel_cache import compiled

# How much nearer a guard stands than its level: more than rounding can move it, less than a price step.
_NEARER: Final = 1e-13
_MOST_MANTISSA: Final = 9e18


@compiled
def quotient(numerator: Wide, denominator: Wide, exponent: int) -> tuple[int, bool]:
    """numerator * 10**exponent / denominator rounded down, and whether that is exact; -1 out of range."""
    if exponent >= 0:
        return floor_divide(times_power(numerator, exponent), denominator)
    return floor_divide(numerator, times_power(denominator, -exponent))


@compiled
def cash_in(s: Any) -> Wide:
    return s.cash_0, s.cash_1, s.cash_2, s.cash_3


@compiled
def slipped(t: Any, number: Wide, decimals: int, buys: bool) -> tuple[Wide, int]:
    """The price worsened by the slippage, exactly."""
    factor = ten_to(t.slip_d) + (t.slip_m if buys else -t.slip_m)
    return times(number, factor), decimals + t.slip_d


@compiled
def round_price(s: Any, t: Any, number: Wide, decimals: int, up: bool, most_decimals: int) -> Exact:
    """The price on the tick, or of 17 digits where there is no tick."""
    step, kept = t.tick_m, t.tick_d
    if step == 0:
        step, kept = 1, min(decimals, MAX_DECIMALS, most_decimals)
        mantissa = to_float(number) * float_power(kept - decimals)
        while mantissa >= 1e17 and kept > 0:
            mantissa /= 10.0
            kept -= 1
    steps, exact = quotient(number, wide(step), kept - decimals)
    if steps < 0 or float(steps) * float(step) > _MOST_MANTISSA:
        s.error = ERROR_RANGE
        return 0, 0
    if up and not exact:
        steps += 1
    return steps * step, kept


@compiled
def affordable(s: Any, t: Any, price: Exact, budget: Wide, budget_d: int) -> Exact:
    """The largest quantity on the lot that the budget pays for, fee included."""
    unit = times(wide(price[0]), ten_to(t.fee_d) + t.fee_m)  # one of the base, fee included
    unit_d = price[1] + t.fee_d
    lot, lot_d = t.lot_m, t.lot_d
    if lot == 0:
        rough = to_float(budget) / to_float(unit) * float_power(unit_d - budget_d)
        lot = 1
        lot_d = QUANTITY_DIGITS - 1 - int(np.floor(np.log10(rough)))
        lot_d = max(0, min(lot_d, CASH_DECIMALS - price[1] - t.fee_d))
    lots, _ = quotient(budget, times(unit, lot), unit_d + lot_d - budget_d)
    if t.lot_m == 0 and lot_d > 0 and lots >= 10**QUANTITY_DIGITS:
        # The logarithm of a number beside a power of ten came out one too low.
        lots //= 10
        lot_d -= 1
    if lots < 0 or float(lots) * float(lot) > _MOST_MANTISSA:
        s.error = ERROR_RANGE
        return 0, 0
    return lots * lot, lot_d


@compiled
def arm(s: Any, t: Any) -> None:
    """Set the guards of a position. With no such exit a guard is out of reach."""
    s.fixed_guard = -s.side * np.inf
    if t.stop_m > 0:
        entry = float(s.entry_m) / float_power(s.entry_d)
        s.fixed_guard = entry * (1.0 - s.side * t.stop_m / float_power(t.stop_d)) * (1.0 + s.side * _NEARER)
    aim(s, t)
    follow(s, t)


@compiled
def aim(s: Any, t: Any) -> None:
    """Set the guard of the next target."""
    s.target_guard = s.side * np.inf
    k = s.targets_done
    if k < t.targets:
        entry = float(s.entry_m) / float_power(s.entry_d)
        away = s.side * t.target_m[k] / float_power(t.target_d[k])
        s.target_guard = entry * (1.0 + away) * (1.0 - s.side * _NEARER)


@compiled
def follow(s: Any, t: Any) -> None:
    """Move the stop's guard after the extreme."""
    s.stop_guard = s.fixed_guard
    if t.trail_m > 0:
        trail = s.extreme * (1.0 - s.side * t.trail_m / float_power(t.trail_d)) * (1.0 + s.side * _NEARER)
        if s.side * trail > s.side * s.stop_guard:
            s.stop_guard = trail


@compiled
def stop_level(s: Any, t: Any) -> tuple[int, Wide, int]:
    """The stop nearest to the market: its reason, 0 where there is none, and its exact level."""
    reason = 0
    level, decimals = wide(0), 0
    if t.stop_m > 0:
        reason = STOP_LOSS
        level = times(wide(s.entry_m), ten_to(t.stop_d) - s.side * t.stop_m)
        decimals = s.entry_d + t.stop_d
    if t.trail_m > 0:
        extreme = decimal_of(s.extreme)
        if s.extreme_is_entry != 0:
            extreme = (s.start_m, s.start_d)
        trail = times(wide(extreme[0]), ten_to(t.trail_d) - s.side * t.trail_m)
        trail_d = extreme[1] + t.trail_d
        if reason == 0 or s.side * compare(trail, trail_d, level, decimals) > 0:
            reason, level, decimals = TRAILING_STOP, trail, trail_d
    return reason, level, decimals


@compiled
def target_price(s: Any, t: Any) -> Exact:
    """The limit price of the next take-profit; mantissa 0 where there is none.

    A limit order is filled at its level or better, so its tick lies at the level or beyond it.
    """
    k = s.targets_done
    if k >= t.targets:
        return 0, 0
    factor = ten_to(t.target_d[k]) + s.side * t.target_m[k]
    if factor <= 0:
        return 0, 0
    level = times(wide(s.entry_m), factor)
    most = CASH_DECIMALS - t.fee_d - s.quantity_d
    return round_price(s, t, level, s.entry_d + t.target_d[k], s.side > 0, most)


@compiled
def reaches(price: float, level: Wide, decimals: int, direction: int) -> bool:
    """Whether the price is at the level or beyond it: above (direction 1) or below (-1)."""
    mantissa, price_d = decimal_of(price)
    return direction * compare(wide(mantissa), price_d, level, decimals) >= 0


@compiled
def worth(s: Any, price: float) -> Wide:
    """What the position's quantity costs at this price, in 1e-40; of at least 0."""
    mantissa, decimals = decimal_of(price)
    spare = CASH_DECIMALS - decimals - s.quantity_d
    if spare < 0:
        s.error = ERROR_RANGE
        return wide(0)
    return times_power(times(wide(mantissa), s.quantity_m), spare)


@compiled
def on_lot(s: Any, t: Any, number: int, decimals: int) -> Exact:
    """The quantity rounded down to the lot."""
    if t.lot_m == 0:
        return number, decimals
    lots, _ = quotient(wide(number), wide(t.lot_m), t.lot_d - decimals)
    if lots < 0 or float(lots) * float(t.lot_m) > _MOST_MANTISSA:
        s.error = ERROR_RANGE
        return 0, 0
    return lots * t.lot_m, t.lot_d


@compiled
def in_decimals_of(s: Any, quantity: Exact) -> int:
    """The quantity in the position's decimals, which grow where the quantity has more."""
    more = quantity[1] - s.quantity_d
    if more > 0:
        factor = ten_to(min(more, 18))
        if more > 18 or float(s.bought_m) * float(factor) > _MOST_MANTISSA:
            s.error = ERROR_RANGE
            return 0
        s.quantity_m *= factor
        s.first_m *= factor
        s.bought_m *= factor
        s.sold_m *= factor
        s.quantity_d = quantity[1]
        return quantity[0]
    scaled, _ = quotient(wide(quantity[0]), wide(1), -more)
    if scaled < 0:
        s.error = ERROR_RANGE
        return 0
    return scaled


@compiled
def target_part(s: Any, t: Any) -> int:
    """What the next target takes, in the position's decimals and on the lot; 0 where that is nothing.

    Targets take shares of all that was bought. What an earlier one could not take for smallness is in it.
    """
    k = s.targets_done
    if k == t.targets - 1 and t.share_m[k] == ten_to(t.share_d):
        return int(s.quantity_m)
    together, _ = quotient(times(wide(s.bought_m), t.share_m[k]), wide(1), -t.share_d)
    if together <= s.sold_m:
        return 0
    part = in_decimals_of(s, on_lot(s, t, together - s.sold_m, s.quantity_d))
    return int(min(part, s.quantity_m))


@compiled
def is_too_few(t: Any, quantity: Exact) -> bool:
    """Whether the venue takes no order of this quantity."""
    return (
        quantity[0] == 0
        or compare(wide(quantity[0]), quantity[1], wide(t.min_quantity_m), t.min_quantity_d) < 0
    )


@compiled
def is_too_little(t: Any, quantity: Exact, price: Exact) -> bool:
    """Whether the venue takes no order of this notional."""
    if t.min_notional_m == 0:
        return False
    notional = times(wide(price[0]), quantity[0])
    return compare(notional, price[1] + quantity[1], wide(t.min_notional_m), t.min_notional_d) < 0


@compiled
def average_price(s: Any, price: Exact, quantity_m: int) -> Exact:
    """The mean of the price that levels hang on and of what is added to it, of 17 digits, rounded down."""
    decimals = max(s.entry_d, price[1])
    held = times_power(times(wide(s.entry_m), s.quantity_m), decimals - s.entry_d)
    added = times_power(times(wide(price[0]), quantity_m), decimals - price[1])
    together = add(held, added)
    quantity = s.quantity_m + quantity_m
    rough = to_float(together) / float(quantity) / float_power(decimals)
    kept = PRICE_DIGITS - 1 - int(np.floor(np.log10(rough)))
    kept = max(0, min(kept, MAX_DECIMALS))
    mantissa, _ = quotient(together, wide(quantity), kept - decimals)
    if kept > 0 and mantissa >= 10**PRICE_DIGITS:
        # The logarithm of a number beside a power of ten came out one too low.
        mantissa //= 10
        kept -= 1
    if mantissa < 0:
        s.error = ERROR_RANGE
        return 0, 0
    return mantissa, kept
