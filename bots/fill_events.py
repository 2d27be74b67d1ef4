"""What can happen to one position, event by event, for compiled code: entries, add-ons and every exit.

Part of the kernel in `bots.fills`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bots.fill_levels import (
    affordable,
    aim,
    arm,
    average_price,
    cash_in,
    follow,
    in_decimals_of,
    is_too_few,
    is_too_little,
    on_lot,
    quotient,
    reaches,
    round_price,
    slipped,
    stop_level,
    target_part,
    target_price,
)
from bots.fill_records import (
    ACCEPTED,
    ADD_ON,
    CASH_DECIMALS,
    ENTRY,
    ERROR_RANGE,
    EXIT_SIGNAL,
    LONG,
    REFUSED_BOTH_SIDES,
    REFUSED_NO_CASH,
    REFUSED_NOTIONAL,
    REFUSED_QUANTITY,
    SAYS_LONG_ADD,
    SAYS_LONG_ENTRY,
    SAYS_LONG_EXIT,
    SAYS_SHORT_ADD,
    SAYS_SHORT_ENTRY,
    SAYS_SHORT_EXIT,
    SHORT,
    TAKE_PROFIT,
    Exact,
    Finer,
)
from bots.wide_integers import (
    MAX_DECIMALS,
    Wide,
    add,
    decimal_of,
    float_power,
    less,
    subtract,
    ten_to,
    times,
    times_power,
    to_float,
    wide,
)
from data.kernel_cache import compiled


@compiled
def _fill(s: Any, t: Any, event: Any, buys: bool, price: Exact, quantity: Exact, maker: bool) -> None:
    """Move the cash and write what the event says of the fill itself."""
    product = times(wide(price[0]), quantity[0])
    spare = CASH_DECIMALS - price[1] - quantity[1] - t.fee_d
    if spare < 0 or to_float(product) * float_power(spare + t.fee_d) > 1e75:
        s.error = ERROR_RANGE
        return
    # With the fee a buy costs that much more than its notional, and a sale brings that much less.
    fee_m = t.maker_fee_m if maker else t.fee_m
    moved = times_power(times(product, ten_to(t.fee_d) + (fee_m if buys else -fee_m)), spare)
    cash = subtract(cash_in(s), moved) if buys else add(cash_in(s), moved)
    s.cash_0, s.cash_1, s.cash_2, s.cash_3 = cash
    s.cash = to_float(cash) / 1e40
    event.side = 1 if buys else -1
    event.price_m, event.price_d = price
    event.quantity_m, event.quantity_d = quantity
    event.refusal = ACCEPTED
    event.maker = 1 if maker else 0


@compiled
def _leave(
    s: Any,
    t: Any,
    event: Any,
    reason: int,
    number: Wide,
    decimals: int,
    reference: float,
    ambiguous: bool,
    part_m: int,
) -> None:
    """Close `part_m` of the position at a price rounded against us. All but a take-profit's slips."""
    buys = s.side < 0
    maker = reason == TAKE_PROFIT
    if not maker:
        number, decimals = slipped(t, number, decimals, buys)
    most = CASH_DECIMALS - t.fee_d - s.quantity_d
    price = round_price(s, t, number, decimals, buys, most)
    _fill(s, t, event, buys, price, (part_m, s.quantity_d), maker)
    event.position, event.reason = s.side, reason
    event.reference = reference
    event.ambiguous = 1 if ambiguous else 0
    if part_m < s.quantity_m:
        s.quantity_m -= part_m
        s.quantity = float(s.quantity_m) / float_power(s.quantity_d)
        return
    s.side = 0
    s.quantity = 0.0
    s.quantity_m = s.quantity_d = s.entry_m = s.entry_d = s.start_m = s.start_d = s.last_m = s.last_d = 0
    s.first_m = s.bought_m = s.sold_m = s.targets_done = s.adds_done = s.pending_add = 0
    s.extreme = s.fixed_guard = s.stop_guard = s.target_guard = 0.0
    s.extreme_is_entry = 0


@compiled
def leave_at(s: Any, t: Any, event: Any, reason: int, price: float) -> None:
    """Close the whole position at a market price."""
    mantissa, decimals = decimal_of(price)
    _leave(s, t, event, reason, wide(mantissa), decimals, price, False, s.quantity_m)


@compiled
def _take_target(s: Any, t: Any, event: Any, price: Exact, reference: float, ambiguous: bool) -> None:
    """Fill the next target at this price, or refuse it where its part is too small for the venue."""
    part = target_part(s, t)
    s.targets_done += 1
    quantity = (part, s.quantity_d)
    too_few = is_too_few(t, quantity)
    if part < s.quantity_m and (too_few or is_too_little(t, quantity, price)):
        event.side, event.position = -s.side, s.side
        event.reason, event.reference = TAKE_PROFIT, reference
        event.refusal = REFUSED_QUANTITY if too_few else REFUSED_NOTIONAL
        event.maker, event.ambiguous = 1, 0
        event.price_m, event.price_d = price
        event.quantity_m, event.quantity_d = quantity
        aim(s, t)
        return
    rest = (s.quantity_m - part, s.quantity_d)
    if is_too_few(t, rest) or is_too_little(t, rest, price):
        part = s.quantity_m  # what would be left could not be sold by itself
    _leave(s, t, event, TAKE_PROFIT, wide(price[0]), price[1], reference, ambiguous, part)
    if s.side != 0:
        s.sold_m += part
        aim(s, t)


@compiled
def _budget(s: Any, t: Any, equity: Wide, free: Wide) -> Wide:
    """What an entry may cost, fee included: its share of the equity, as far as there is free cash."""
    if max(abs(to_float(equity)), abs(to_float(free))) * max(t.size_m, float_power(t.size_d)) > 1e75:
        s.error = ERROR_RANGE
        return wide(0)
    share = times(equity, t.size_m)
    most = times_power(free, t.size_d)
    return most if less(most, share) else share


@compiled
def enter(s: Any, t: Any, event: Any, side: int, open_price: float, equity: Wide, free: Wide) -> None:
    """Size and fill an entry at the open, or refuse it; `equity` and `free` cash in 1e-40."""
    event.side = event.position = side
    event.reason, event.reference = ENTRY, open_price
    event.maker = event.ambiguous = 0
    buys = side > 0
    mantissa, decimals = decimal_of(open_price)
    number, decimals = slipped(t, wide(mantissa), decimals, buys)
    price = round_price(s, t, number, decimals, buys, MAX_DECIMALS)
    quantity = (0, 0)
    has_cash = price[0] > 0 and not less(free, wide(1)) and not less(equity, wide(1))
    if has_cash:
        quantity = affordable(s, t, price, _budget(s, t, equity, free), CASH_DECIMALS + t.size_d)
    event.price_m, event.price_d = price
    event.quantity_m, event.quantity_d = quantity
    if not has_cash:
        event.refusal = REFUSED_NO_CASH
    elif is_too_few(t, quantity):
        event.refusal = REFUSED_QUANTITY
    elif is_too_little(t, quantity, price):
        event.refusal = REFUSED_NOTIONAL
    else:
        _fill(s, t, event, buys, price, quantity, False)
        s.side = side
        s.quantity = float(quantity[0]) / float_power(quantity[1])
        s.quantity_m, s.quantity_d = quantity
        s.first_m = s.bought_m = quantity[0]
        s.sold_m = s.targets_done = s.adds_done = 0
        s.entry_m, s.entry_d = price
        s.start_m, s.start_d = price
        s.last_m, s.last_d = price
        s.extreme = float(price[0]) / float_power(price[1])
        s.extreme_is_entry = 1
        arm(s, t)


@compiled
def _add_on(s: Any, t: Any, event: Any, open_price: float, free: Wide) -> None:
    """Add to the position at the open and move its levels with the same fill, or refuse it.

    `free` is the account's cash but for what other positions tie up. A short ties up twice its own worth:
    what its sale brought in and as much of one's own.
    """
    buys = s.side > 0
    event.side = event.position = s.side
    event.reason, event.reference = ADD_ON, open_price
    event.maker = event.ambiguous = 0
    mantissa, decimals = decimal_of(open_price)
    number, decimals = slipped(t, wide(mantissa), decimals, buys)
    price = round_price(s, t, number, decimals, buys, CASH_DECIMALS - t.fee_d - s.quantity_d)
    if not buys:
        spare = CASH_DECIMALS - price[1] - s.quantity_d
        free = subtract(free, times_power(times(times(wide(price[0]), s.quantity_m), 2), spare))
    has_cash = price[0] > 0 and not less(free, wide(1))
    quantity = (0, 0)
    if has_cash:
        wanted, _ = quotient(times(wide(s.first_m), t.add_m), wide(1), -t.add_d)
        most = affordable(s, t, price, free, CASH_DECIMALS)
        if t.lot_m == 0 and most[1] > s.quantity_d:
            fewer, _ = quotient(wide(most[0]), wide(1), s.quantity_d - most[1])
            most = (fewer, s.quantity_d)
        quantity = on_lot(s, t, wanted, s.quantity_d)
        in_own = in_decimals_of(s, quantity)
        quantity = (min(in_own, in_decimals_of(s, most)), s.quantity_d)
    event.price_m, event.price_d = price
    event.quantity_m, event.quantity_d = quantity
    if not has_cash:
        event.refusal = REFUSED_NO_CASH
    elif is_too_few(t, quantity):
        event.refusal = REFUSED_QUANTITY
    elif is_too_little(t, quantity, price):
        event.refusal = REFUSED_NOTIONAL
    else:
        _fill(s, t, event, buys, price, quantity, False)
        if t.average != 0:
            s.entry_m, s.entry_d = average_price(s, price, quantity[0])
        s.quantity_m += quantity[0]
        s.bought_m += quantity[0]
        s.quantity = float(s.quantity_m) / float_power(s.quantity_d)
        s.last_m, s.last_d = price
        s.adds_done += 1
        if float(s.bought_m) > 4e18:
            s.error = ERROR_RANGE
        arm(s, t)


@compiled
def opens_quietly(s: Any, price: float) -> bool:
    """Whether nothing can happen at this open: no order is due and no level is near."""
    if s.pending_exit != 0 or s.pending_entry != 0 or s.pending_add != 0:
        return False
    if s.side > 0:
        return bool(s.stop_guard < price < s.target_guard)
    return bool(s.side == 0 or s.target_guard < price < s.stop_guard)


# What is called at every fill takes the one event it may write, not the array: passing an array counts
# references, which are atomic operations, to each of its callers' arrays.


@compiled
def fill_exit(s: Any, t: Any, event: Any, row: int, at_us: int, price: float) -> int:
    """At a candle's first price: the exit that is due. How many events were written, at most 1."""
    if s.pending_exit == 0:
        return 0
    s.pending_exit = 0
    if s.side == 0:
        return 0
    event.row, event.at_us = row, at_us
    leave_at(s, t, event, EXIT_SIGNAL, price)
    return 1


@compiled
def fill_entry(
    s: Any, t: Any, event: Any, row: int, at_us: int, price: float, equity: Wide, free: Wide
) -> int:
    """At a candle's first price: the entry that is due. How many events were written, at most 1."""
    if s.pending_entry == 0:
        return 0
    side = s.pending_entry
    s.pending_entry = 0
    if s.side != 0:
        return 0
    event.row, event.at_us = row, at_us
    enter(s, t, event, side, price, equity, free)
    return 1


@compiled
def fill_add_on(s: Any, t: Any, event: Any, row: int, at_us: int, price: float, free: Wide) -> int:
    """At a candle's first price: the add-on that is due. How many events were written, at most 1."""
    if s.pending_add == 0:
        return 0
    s.pending_add = 0
    if s.side == 0:
        return 0
    event.row, event.at_us = row, at_us
    _add_on(s, t, event, price, free)
    return 1


@compiled
def leave_beyond(s: Any, t: Any, row: int, at_us: int, price: float, out: Any, count: int) -> int:
    """At a candle's first price: exits whose level it has jumped over."""
    while not opens_quietly(s, price):
        reason, level, decimals = stop_level(s, t)
        out[count].row, out[count].at_us = row, at_us
        if reason != 0 and reaches(price, level, decimals, -s.side):
            leave_at(s, t, out[count], reason, price)
            return count + 1
        target = target_price(s, t)
        if target[0] == 0 or not reaches(price, wide(target[0]), target[1], s.side):
            return count
        mantissa, price_d = decimal_of(price)
        most = CASH_DECIMALS - t.fee_d - s.quantity_d
        limit = round_price(s, t, wide(mantissa), price_d, s.side < 0, most)
        _take_target(s, t, out[count], limit, price, False)
        count += 1
    return count


@compiled
def open_at(s: Any, t: Any, row: int, at_us: int, price: float, out: Any, count: int) -> int:
    """What happens at a candle's first price in an account of one position."""
    count += fill_exit(s, t, out[count], row, at_us, price)
    count += fill_entry(s, t, out[count], row, at_us, price, cash_in(s), cash_in(s))
    count += fill_add_on(s, t, out[count], row, at_us, price, cash_in(s))
    if opens_quietly(s, price):
        return count
    return leave_beyond(s, t, row, at_us, price, out, count)


@compiled
def _first_touched(
    side: int, row: int, until_us: int, stop: Wide, stop_d: int, target: Exact, finer: Finer
) -> tuple[int, int]:
    """Which of stop (1) and target (2) the finer data show first from `row` on, and in which row.

    0 where they do not tell. A target's mantissa is 0 where there is none.
    """
    limit = wide(target[0])
    while row < len(finer.opened_at_us) and finer.opened_at_us[row] < until_us:
        adverse = finer.low[row] if side > 0 else finer.high[row]
        favourable = finer.high[row] if side > 0 else finer.low[row]
        stopped = reaches(adverse, stop, stop_d, -side)
        reached = target[0] > 0 and reaches(favourable, limit, target[1], side)
        if stopped and reached:
            # Where the finer candle opened may still tell.
            stopped = reaches(finer.open[row], stop, stop_d, -side)
            reached = target[0] > 0 and reaches(finer.open[row], limit, target[1], side)
            if not (stopped or reached):
                return 0, row
        if stopped or reached:
            return 1 if stopped else 2, row
        row += 1
    return 0, row


@compiled
def protect(
    s: Any,
    t: Any,
    row: int,
    at_us: int,
    until_us: int,
    high: float,
    low: float,
    finer: Finer,
    out: Any,
    count: int,
) -> int:
    """Exits inside a candle whose range came near a level."""
    seen = -1  # finer rows before it lie behind us; -1 until one has placed an exit
    when_us = at_us
    while s.side != 0:
        adverse = low if s.side > 0 else high
        favourable = high if s.side > 0 else low
        reason, stop, stop_d = stop_level(s, t)
        target = target_price(s, t)
        stopped = reason != 0 and reaches(adverse, stop, stop_d, -s.side)
        reached = target[0] > 0 and reaches(favourable, wide(target[0]), target[1], s.side)
        if not (stopped or reached):
            return count
        ambiguous = False
        if (stopped and reached) or seen >= 0:
            # An exit that comes after one which finer data placed is placed by them as well.
            limit = target if reached else (0, 0)
            first = seen if seen >= 0 else int(np.searchsorted(finer.opened_at_us, at_us))
            shown, part = _first_touched(s.side, first, until_us, stop, stop_d, limit, finer)
            if shown != 0:
                when_us = finer.opened_at_us[part]
                # What has one price, as a trade, may be beyond the next level too; a range was used up.
                seen = part if finer.high[part] == finer.low[part] else part + 1
                stopped = shown == 1
            elif stopped and reached:
                ambiguous = True
                stopped = t.target_first == 0
        out[count].row, out[count].at_us = row, when_us
        if stopped:
            level = to_float(stop) / float_power(stop_d)
            _leave(s, t, out[count], reason, stop, stop_d, level, ambiguous, s.quantity_m)
        else:
            _take_target(s, t, out[count], target, float(target[0]) / float_power(target[1]), ambiguous)
        count += 1
    return count


@compiled
def moves_quietly(s: Any, high: float, low: float) -> bool:
    """Whether no level is near this candle's range."""
    if s.side > 0:
        return bool(s.stop_guard < low and high < s.target_guard)
    return bool(s.side == 0 or (s.target_guard < low and high < s.stop_guard))


@compiled
def complete(s: Any, t: Any, high: float, low: float) -> None:
    """Count a candle as completed: from now on the trailing stop knows its extreme."""
    if s.side == 0 or t.trail_m == 0:
        return
    favourable = high if s.side > 0 else low
    if s.side * favourable > s.side * s.extreme:
        s.extreme = favourable
        s.extreme_is_entry = 0
        follow(s, t)


@compiled
def _may_add(s: Any, t: Any, close: float, says: bool) -> bool:
    """Whether a candle that closes here asks for an add-on."""
    if s.adds_done >= t.most_adds or (t.add_on_signal != 0 and not says):
        return False
    if t.every_sign == 0:
        return says
    beyond = s.side * t.every_sign
    level = times(wide(s.last_m), ten_to(t.every_d) + beyond * t.every_m)
    return reaches(close, level, s.last_d + t.every_d, beyond)


@compiled
def decide_on(s: Any, t: Any, event: Any, close: float, says: int) -> bool:
    """Turn what was said of a closed candle into orders for the next open. Whether it was a refusal."""
    if s.side > 0:
        if says & SAYS_LONG_EXIT:
            s.pending_exit = 1
            s.pending_entry = SHORT if says & SAYS_SHORT_ENTRY else 0
        elif t.most_adds > 0 and _may_add(s, t, close, says & SAYS_LONG_ADD != 0):
            s.pending_add = 1
    elif s.side < 0:
        if says & SAYS_SHORT_EXIT:
            s.pending_exit = 1
            s.pending_entry = LONG if says & SAYS_LONG_ENTRY else 0
        elif t.most_adds > 0 and _may_add(s, t, close, says & SAYS_SHORT_ADD != 0):
            s.pending_add = 1
    elif says & SAYS_LONG_ENTRY and says & SAYS_SHORT_ENTRY:
        event.side = event.position = LONG
        event.reason, event.refusal, event.reference = ENTRY, REFUSED_BOTH_SIDES, close
        event.price_m = event.price_d = event.quantity_m = event.quantity_d = event.maker = (
            event.ambiguous
        ) = 0
        return True
    elif says & SAYS_LONG_ENTRY:
        s.pending_entry = LONG
    elif says & SAYS_SHORT_ENTRY:
        s.pending_entry = SHORT
    return False
