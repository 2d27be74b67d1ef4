"""The fill rules, once: compiled code that backtests run over whole arrays and bots candle by candle.

Every price, level, quantity and cash amount that decides something is an exact decimal. Doubles only sort out
quickly which candles can matter. The rules themselves stand in docs/decisions/0005-fill-rules.md.

All that a run carries from candle to candle is one `STATE` record, so a run over a span equals the runs over
its two halves, and `open_candle`, `close_candle` and `decide` one by one equal `run_candles`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from bots.fill_records import (
    ACCEPTED,
    CASH_DECIMALS,
    ENTRY,
    ERROR_RANGE,
    EVENTS_PER_CANDLE,
    EXIT_SIGNAL,
    LONG,
    PRICE_DIGITS,
    QUANTITY_DIGITS,
    REFUSED_BOTH_SIDES,
    REFUSED_NO_CASH,
    REFUSED_NOTIONAL,
    REFUSED_QUANTITY,
    SHORT,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP,
    Columns,
    Exact,
    Finer,
)
from bots.wide_integers import (
    MAX_DECIMALS,
    Wide,
    add,
    compare,
    compiled,
    decimal_of,
    floor_divide,
    less,
    subtract,
    times,
    times_power,
    to_float,
    wide,
)

# How much nearer a guard stands than its level: more than rounding can move it, less than a price step.
_NEARER: Final = 1e-13


@compiled
def _ten_to(exponent: int) -> int:
    power = 1
    for _ in range(exponent):
        power *= 10
    return power


@compiled
def _quotient(numerator: Wide, denominator: Wide, exponent: int) -> tuple[int, bool]:
    """numerator * 10**exponent / denominator rounded down, and whether that is exact; -1 out of range."""
    if exponent >= 0:
        return floor_divide(times_power(numerator, exponent), denominator)
    return floor_divide(numerator, times_power(denominator, -exponent))


@compiled
def _cash(s: Any) -> Wide:
    return s.cash_0, s.cash_1, s.cash_2, s.cash_3


@compiled
def _slipped(t: Any, number: Wide, decimals: int, buys: bool) -> tuple[Wide, int]:
    """The price worsened by the slippage, exactly."""
    factor = _ten_to(t.slip_d) + (t.slip_m if buys else -t.slip_m)
    return times(number, factor), decimals + t.slip_d


@compiled
def _round_price(s: Any, t: Any, number: Wide, decimals: int, up: bool, most_decimals: int) -> Exact:
    """The price on the tick, or of 17 digits where there is no tick."""
    step, kept = t.tick_m, t.tick_d
    if step == 0:
        step, kept = 1, min(decimals, MAX_DECIMALS, most_decimals)
        mantissa = to_float(number) * 10.0 ** (kept - decimals)
        while mantissa >= 10.0**PRICE_DIGITS and kept > 0:
            mantissa /= 10.0
            kept -= 1
    steps, exact = _quotient(number, wide(step), kept - decimals)
    if steps < 0 or float(steps) * float(step) > 9e18:
        s.error = ERROR_RANGE
        return 0, 0
    if up and not exact:
        steps += 1
    return steps * step, kept


@compiled
def _fill(s: Any, t: Any, event: Any, buys: bool, price: Exact, quantity: Exact, maker: bool) -> None:
    """Move the cash and write what the event says of the fill itself."""
    product = times(wide(price[0]), quantity[0])
    spare = CASH_DECIMALS - price[1] - quantity[1] - t.fee_d
    if spare < 0 or to_float(product) * 10.0 ** (spare + t.fee_d) > 1e75:
        s.error = ERROR_RANGE
        return
    notional = times_power(product, spare + t.fee_d)
    fee = times_power(times(product, t.maker_fee_m if maker else t.fee_m), spare)
    cash = subtract(_cash(s), add(notional, fee)) if buys else subtract(add(_cash(s), notional), fee)
    s.cash_0, s.cash_1, s.cash_2, s.cash_3 = cash
    s.cash = to_float(cash) / 1e40
    event.side = 1 if buys else -1
    event.price_m, event.price_d = price
    event.quantity_m, event.quantity_d = quantity
    event.refusal = ACCEPTED
    event.maker = 1 if maker else 0


@compiled
def _leave(
    s: Any, t: Any, event: Any, reason: int, number: Wide, decimals: int, reference: float, ambiguous: bool
) -> None:
    """Close the whole position at a price that slips, but for a take-profit's, and is rounded against us."""
    buys = s.side < 0
    maker = reason == TAKE_PROFIT
    if not maker:
        number, decimals = _slipped(t, number, decimals, buys)
    most = CASH_DECIMALS - t.fee_d - s.quantity_d
    price = _round_price(s, t, number, decimals, buys, most)
    _fill(s, t, event, buys, price, (s.quantity_m, s.quantity_d), maker)
    event.position, event.reason = s.side, reason
    event.reference = reference
    event.ambiguous = 1 if ambiguous else 0
    s.side = 0
    s.quantity = 0.0
    s.quantity_m = s.quantity_d = s.entry_m = s.entry_d = 0
    s.extreme = s.fixed_guard = s.stop_guard = s.target_guard = 0.0
    s.extreme_is_entry = 0


@compiled
def _leave_at(s: Any, t: Any, event: Any, reason: int, price: float) -> None:
    mantissa, decimals = decimal_of(price)
    _leave(s, t, event, reason, wide(mantissa), decimals, price, False)


@compiled
def _affordable(s: Any, t: Any, price: Exact) -> Exact:
    """The largest quantity on the lot that the sizing's share of the cash pays for, fee included."""
    cash = _cash(s)
    if to_float(cash) * t.size_m > 1e75:
        s.error = ERROR_RANGE
        return 0, 0
    budget = times(cash, t.size_m)
    budget_d = CASH_DECIMALS + t.size_d
    unit = times(wide(price[0]), _ten_to(t.fee_d) + t.fee_m)  # one of the base, fee included
    unit_d = price[1] + t.fee_d
    lot, lot_d = t.lot_m, t.lot_d
    if lot == 0:
        rough = to_float(budget) / to_float(unit) * 10.0 ** (unit_d - budget_d)
        lot = 1
        lot_d = QUANTITY_DIGITS - 1 - int(np.floor(np.log10(rough)))
        lot_d = max(0, min(lot_d, CASH_DECIMALS - price[1] - t.fee_d))
    lots, _ = _quotient(budget, times(unit, lot), unit_d + lot_d - budget_d)
    if t.lot_m == 0 and lot_d > 0 and lots >= _ten_to(QUANTITY_DIGITS):
        # The logarithm of a number beside a power of ten came out one too low.
        lots //= 10
        lot_d -= 1
    if lots < 0 or float(lots) * float(lot) > 9e18:
        s.error = ERROR_RANGE
        return 0, 0
    return lots * lot, lot_d


@compiled
def _enter(s: Any, t: Any, event: Any, side: int, open_price: float) -> None:
    """Size and fill an entry at the open, or refuse it."""
    event.side = event.position = side
    event.reason, event.reference = ENTRY, open_price
    event.maker = event.ambiguous = 0
    buys = side > 0
    mantissa, decimals = decimal_of(open_price)
    number, decimals = _slipped(t, wide(mantissa), decimals, buys)
    price = _round_price(s, t, number, decimals, buys, MAX_DECIMALS)
    quantity = (0, 0)
    has_cash = price[0] > 0 and not less(_cash(s), wide(1))
    if has_cash:
        quantity = _affordable(s, t, price)
    event.price_m, event.price_d = price
    event.quantity_m, event.quantity_d = quantity
    notional = times(wide(price[0]), quantity[0])
    if not has_cash:
        event.refusal = REFUSED_NO_CASH
    elif (
        quantity[0] == 0
        or compare(wide(quantity[0]), quantity[1], wide(t.min_quantity_m), t.min_quantity_d) < 0
    ):
        event.refusal = REFUSED_QUANTITY
    elif compare(notional, price[1] + quantity[1], wide(t.min_notional_m), t.min_notional_d) < 0:
        event.refusal = REFUSED_NOTIONAL
    else:
        _fill(s, t, event, buys, price, quantity, False)
        s.side = side
        s.quantity = float(quantity[0]) / 10.0 ** quantity[1]
        s.quantity_m, s.quantity_d = quantity
        s.entry_m, s.entry_d = price
        s.extreme = float(price[0]) / 10.0 ** price[1]
        s.extreme_is_entry = 1
        _arm(s, t)


@compiled
def _arm(s: Any, t: Any) -> None:
    """Set the guards of a position. With no such exit a guard is out of reach."""
    entry = float(s.entry_m) / 10.0**s.entry_d
    s.fixed_guard = -s.side * np.inf
    s.target_guard = s.side * np.inf
    if t.stop_m > 0:
        s.fixed_guard = entry * (1.0 - s.side * t.stop_m / 10.0**t.stop_d) * (1.0 + s.side * _NEARER)
    if t.target_m > 0:
        s.target_guard = entry * (1.0 + s.side * t.target_m / 10.0**t.target_d) * (1.0 - s.side * _NEARER)
    _follow(s, t)


@compiled
def _follow(s: Any, t: Any) -> None:
    """Move the stop's guard after the extreme."""
    s.stop_guard = s.fixed_guard
    if t.trail_m > 0:
        trail = s.extreme * (1.0 - s.side * t.trail_m / 10.0**t.trail_d) * (1.0 + s.side * _NEARER)
        if s.side * trail > s.side * s.stop_guard:
            s.stop_guard = trail


@compiled
def _stop_level(s: Any, t: Any) -> tuple[int, Wide, int]:
    """The stop nearest to the market: its reason, 0 where there is none, and its exact level."""
    reason = 0
    level, decimals = wide(0), 0
    if t.stop_m > 0:
        reason = STOP_LOSS
        level = times(wide(s.entry_m), _ten_to(t.stop_d) - s.side * t.stop_m)
        decimals = s.entry_d + t.stop_d
    if t.trail_m > 0:
        extreme = decimal_of(s.extreme)
        if s.extreme_is_entry != 0:
            extreme = (s.entry_m, s.entry_d)
        trail = times(wide(extreme[0]), _ten_to(t.trail_d) - s.side * t.trail_m)
        trail_d = extreme[1] + t.trail_d
        if reason == 0 or s.side * compare(trail, trail_d, level, decimals) > 0:
            reason, level, decimals = TRAILING_STOP, trail, trail_d
    return reason, level, decimals


@compiled
def _target_price(s: Any, t: Any) -> Exact:
    """The limit price of the take-profit; mantissa 0 where there is none.

    A limit order is filled at its level or better, so its tick lies at the level or beyond it.
    """
    factor = _ten_to(t.target_d) + s.side * t.target_m
    if t.target_m == 0 or factor <= 0:
        return 0, 0
    level = times(wide(s.entry_m), factor)
    most = CASH_DECIMALS - t.fee_d - s.quantity_d
    return _round_price(s, t, level, s.entry_d + t.target_d, s.side > 0, most)


@compiled
def _reaches(price: float, level: Wide, decimals: int, direction: int) -> bool:
    """Whether the price is at the level or beyond it: above (direction 1) or below (-1)."""
    mantissa, price_d = decimal_of(price)
    return direction * compare(wide(mantissa), price_d, level, decimals) >= 0


@compiled
def _opens_quietly(s: Any, price: float) -> bool:
    """Whether nothing can happen at this open: no order is due and no level is near."""
    if s.pending_exit != 0 or s.pending_entry != 0:
        return False
    if s.side > 0:
        return bool(s.stop_guard < price < s.target_guard)
    return bool(s.side == 0 or s.target_guard < price < s.stop_guard)


@compiled
def _open(s: Any, t: Any, row: int, at_us: int, price: float, out: Any, count: int) -> int:
    """What happens at a candle's first price: due orders, then exits whose level it has jumped over."""
    if s.pending_exit != 0:
        s.pending_exit = 0
        if s.side != 0:
            out[count].row, out[count].at_us = row, at_us
            _leave_at(s, t, out[count], EXIT_SIGNAL, price)
            count += 1
    if s.pending_entry != 0:
        side = s.pending_entry
        s.pending_entry = 0
        if s.side == 0:
            out[count].row, out[count].at_us = row, at_us
            _enter(s, t, out[count], side, price)
            count += 1
    if _opens_quietly(s, price):
        return count
    reason, level, decimals = _stop_level(s, t)
    if reason == 0 or not _reaches(price, level, decimals, -s.side):
        target = _target_price(s, t)
        reached = target[0] > 0 and _reaches(price, wide(target[0]), target[1], s.side)
        reason = TAKE_PROFIT if reached else 0
    if reason != 0:
        out[count].row, out[count].at_us = row, at_us
        _leave_at(s, t, out[count], reason, price)
        count += 1
    return count


@compiled
def _first_touched(
    side: int, at_us: int, until_us: int, stop: Wide, stop_d: int, target: Exact, finer: Finer
) -> tuple[int, int]:
    """Which of stop (1) and target (2) the finer candles show first, and when; 0 where they do not tell."""
    limit = wide(target[0])
    row = np.searchsorted(finer.opened_at_us, at_us)
    while row < len(finer.opened_at_us) and finer.opened_at_us[row] < until_us:
        adverse = finer.low[row] if side > 0 else finer.high[row]
        favourable = finer.high[row] if side > 0 else finer.low[row]
        stopped = _reaches(adverse, stop, stop_d, -side)
        reached = _reaches(favourable, limit, target[1], side)
        if stopped and reached:
            # Where the finer candle opened may still tell.
            stopped = _reaches(finer.open[row], stop, stop_d, -side)
            reached = _reaches(finer.open[row], limit, target[1], side)
            if not (stopped or reached):
                return 0, at_us
        if stopped or reached:
            return 1 if stopped else 2, finer.opened_at_us[row]
        row += 1
    return 0, at_us


@compiled
def _protect(s: Any, t: Any, event: Any, until_us: int, high: float, low: float, finer: Finer) -> bool:
    """Exits inside a candle whose range came near a level. Whether there was one."""
    adverse = low if s.side > 0 else high
    favourable = high if s.side > 0 else low
    reason, stop, stop_d = _stop_level(s, t)
    target = _target_price(s, t)
    stopped = reason != 0 and _reaches(adverse, stop, stop_d, -s.side)
    reached = target[0] > 0 and _reaches(favourable, wide(target[0]), target[1], s.side)
    ambiguous = False
    if stopped and reached:
        first, event.at_us = _first_touched(s.side, event.at_us, until_us, stop, stop_d, target, finer)
        ambiguous = first == 0
        stopped = first != 2
    if stopped:
        _leave(s, t, event, reason, stop, stop_d, to_float(stop) / 10.0**stop_d, ambiguous)
    elif reached:
        price = float(target[0]) / 10.0 ** target[1]
        _leave(s, t, event, TAKE_PROFIT, wide(target[0]), target[1], price, False)
    return stopped or reached


@compiled
def _moves_quietly(s: Any, high: float, low: float) -> bool:
    """Whether no level is near this candle's range."""
    if s.side > 0:
        return bool(s.stop_guard < low and high < s.target_guard)
    return bool(s.side == 0 or (s.target_guard < low and high < s.stop_guard))


@compiled
def _complete(s: Any, t: Any, high: float, low: float) -> None:
    """Count a candle as completed: from now on the trailing stop knows its extreme."""
    if s.side == 0 or t.trail_m == 0:
        return
    favourable = high if s.side > 0 else low
    if s.side * favourable > s.side * s.extreme:
        s.extreme = favourable
        s.extreme_is_entry = 0
        _follow(s, t)


@compiled
def _decide(
    s: Any, event: Any, close: float, long_entry: bool, long_exit: bool, short_entry: bool, short_exit: bool
) -> bool:
    """Turn a closed candle's signals into orders for the next open. Whether it was a refusal."""
    if s.side > 0:
        if long_exit:
            s.pending_exit = 1
            s.pending_entry = SHORT if short_entry else 0
    elif s.side < 0:
        if short_exit:
            s.pending_exit = 1
            s.pending_entry = LONG if long_entry else 0
    elif long_entry and short_entry:
        event.side = event.position = LONG
        event.reason, event.refusal, event.reference = ENTRY, REFUSED_BOTH_SIDES, close
        event.price_m = event.price_d = event.quantity_m = event.quantity_d = event.maker = (
            event.ambiguous
        ) = 0
        return True
    elif long_entry:
        s.pending_entry = LONG
    elif short_entry:
        s.pending_entry = SHORT
    return False


@compiled
def run_candles(
    state: Any,
    terms: Any,
    columns: Columns,
    duration_us: int,
    finer: Finer,
    start: int,
    equity: Any,
    out: Any,
) -> tuple[int, int]:
    """Run the rows from `start` on; the first row not run and how many events were written to `out`.

    Stops early where `out` (`EVENT` records) might not hold the next row's events, and at an error. `equity`
    gets cash plus the marked position at each close, in quote currency.
    """
    s, t = state[0], terms[0]
    opened_at_us, opens, highs, lows, closes = columns[:5]
    long_entry, long_exit, short_entry, short_exit = columns[5:]
    room = len(out) - EVENTS_PER_CANDLE
    count = 0
    for i in range(max(start, 0), len(opened_at_us)):
        if count > room:
            return i, count
        at_us = opened_at_us[i]
        if s.opened != 0:
            s.opened = 0
        elif not _opens_quietly(s, opens[i]):
            count = _open(s, t, i, at_us, opens[i], out, count)
        if s.side != 0:
            s.exposed += 1
            if not _moves_quietly(s, highs[i], lows[i]):
                out[count].row, out[count].at_us = i, at_us
                count += _protect(s, t, out[count], at_us + duration_us, highs[i], lows[i], finer)
            _complete(s, t, highs[i], lows[i])
        equity[i] = s.cash + s.side * s.quantity * closes[i]
        if long_entry[i] | long_exit[i] | short_entry[i] | short_exit[i]:
            out[count].row, out[count].at_us = i, at_us + duration_us
            count += _decide(
                s, out[count], closes[i], long_entry[i], long_exit[i], short_entry[i], short_exit[i]
            )
        if s.error != 0:
            return i, count
    return len(opened_at_us), count


@compiled
def open_candle(state: Any, terms: Any, at_us: int, price: float, out: Any) -> int:
    """A bot's first half of a candle, when its first trade is known; how many events were written."""
    s = state[0]
    s.opened = 1
    return _open(s, terms[0], 0, at_us, price, out, 0)


@compiled
def close_candle(
    state: Any,
    terms: Any,
    at_us: int,
    until_us: int,
    price: float,
    high: float,
    low: float,
    finer: Finer,
    out: Any,
) -> int:
    """The rest of a bot's candle, and its first half at the open `price` where that was not run before."""
    s, t = state[0], terms[0]
    count = 0
    if s.opened != 0:
        s.opened = 0
    else:
        count = _open(s, t, 0, at_us, price, out, count)
    if s.side != 0:
        s.exposed += 1
        if not _moves_quietly(s, high, low):
            out[count].row, out[count].at_us = 0, at_us
            count += _protect(s, t, out[count], until_us, high, low, finer)
        _complete(s, t, high, low)
    return count


@compiled
def decide(
    state: Any,
    at_us: int,
    close: float,
    long_entry: bool,
    long_exit: bool,
    short_entry: bool,
    short_exit: bool,
    out: Any,
) -> int:
    """Turn a closed candle's signals into pending orders; how many events (refusals) were written."""
    out[0].row, out[0].at_us = 0, at_us
    return int(_decide(state[0], out[0], close, long_entry, long_exit, short_entry, short_exit))


@compiled
def close_position(state: Any, terms: Any, row: int, at_us: int, price: float, reason: int, out: Any) -> int:
    """Leave the market at once at `price`, worsened by slippage; orders that wait are dropped."""
    s, t = state[0], terms[0]
    s.pending_exit = s.pending_entry = 0
    if s.side == 0:
        return 0
    out[0].row, out[0].at_us = row, at_us
    _leave_at(s, t, out[0], reason, price)
    return 1


@compiled
def arm(state: Any, terms: Any) -> None:
    """Set the levels of a position that was put into the record from outside."""
    _arm(state[0], terms[0])
