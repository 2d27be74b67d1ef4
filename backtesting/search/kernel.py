"""The fill rules in plain doubles, over signals as bitmaps: figures of one run, and nothing per candle.

The exact engine in `bots.fills` decides what a run was worth; this kernel ranks many. It follows the same
rules (docs/decisions/0005-fill-rules.md) in the same order, jumps from signal to signal while the account is
flat or holds a position without protection, and keeps no curve. Its amounts differ from the exact ones by
rounding of doubles alone: about 1e-13 of the equity a trade. With a lot size a quantity that comes out
within a few units in the last place of a whole lot may be one lot off.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from backtesting.search.bitmaps import compiled, next_set
from bots.orders import Costs, TradingRules
from data.models import FloatArray
from strategies.base import Protection, Sizing

# Rows of the terms.
_CAPITAL: Final = 0
_FEE: Final = 1
_MAKER_FEE: Final = 2
_SLIP: Final = 3
_TICK: Final = 4
_LOT: Final = 5
_STOP: Final = 6
_TARGET: Final = 7
_TRAIL: Final = 8
_SIZE: Final = 9
_MIN_QUANTITY: Final = 10
_MIN_NOTIONAL: Final = 11
_CLOSE_AT_END: Final = 12
_TERMS: Final = 13

# What the kernel counts, in the order of its output.
COUNTS: Final = (
    "final_equity",
    "trades",
    "wins",
    "gross_profit",
    "gross_loss",
    "return_sum",
    "max_drawdown",
    "exposed",
    "ambiguous_exits",
    "refused_orders",
    "fees_paid",
)
_FINAL: Final = 0
_TRADES: Final = 1
_WINS: Final = 2
_PROFIT: Final = 3
_LOSS: Final = 4
_RETURNS: Final = 5
_DRAWDOWN: Final = 6
_EXPOSED: Final = 7
_AMBIGUOUS: Final = 8
_REFUSED: Final = 9
_FEES: Final = 10

# Doubles that came about on different ways but mean one decimal differ by less than this fraction.
_SAME: Final = 2e-15
_UNITS: Final = 1e-15  # of a quotient, that a whole number of steps may be off


def terms_in_doubles(
    capital: float,
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    sizing: Sizing,
    *,
    close_at_end: bool,
) -> FloatArray:
    """What the kernel needs to know of an account. 0 stands for no such step or exit."""
    terms = np.zeros(_TERMS)
    terms[_CAPITAL] = capital
    terms[_FEE] = float(costs.fee_bps / 10_000)
    terms[_MAKER_FEE] = float(costs.maker_fee_bps / 10_000)
    terms[_SLIP] = float(costs.slippage_bps / 10_000)
    terms[_TICK] = float(rules.tick_size or 0)
    terms[_LOT] = float(rules.lot_size or 0)
    terms[_STOP] = protection.stop_loss or 0.0
    terms[_TARGET] = protection.take_profit or 0.0
    terms[_TRAIL] = protection.trailing_stop or 0.0
    terms[_SIZE] = float(sizing.value)
    terms[_MIN_QUANTITY] = float(rules.min_quantity)
    terms[_MIN_NOTIONAL] = float(rules.min_notional)
    terms[_CLOSE_AT_END] = 1.0 if close_at_end else 0.0
    return terms


@compiled
def _on_tick(price: float, tick: float, up: bool) -> float:
    if tick == 0.0:
        return price
    steps = price / tick
    spare = steps * _UNITS
    rounded: float = (np.ceil(steps - spare) if up else np.floor(steps + spare)) * tick
    return rounded


@compiled
def _slipped(price: float, t: Any, buys: bool) -> float:
    return _on_tick(price * (1.0 + (t[_SLIP] if buys else -t[_SLIP])), t[_TICK], buys)


@compiled
def _affordable(cash: float, price: float, t: Any) -> float:
    """The quantity an entry buys or sells short; 0 where it is refused."""
    if cash <= 0.0 or price <= 0.0:
        return 0.0
    quantity: float = t[_SIZE] * cash / (price * (1.0 + t[_FEE]))
    if t[_LOT] > 0.0:
        lots = quantity / t[_LOT]
        quantity = math.floor(lots + lots * _UNITS) * t[_LOT]
    if quantity < t[_MIN_QUANTITY] * (1.0 - _SAME) or quantity * price < t[_MIN_NOTIONAL] * (1.0 - _SAME):
        return 0.0
    return quantity


@compiled
def _book_exit(
    out: Any, cash: float, side: int, quantity: float, entry: float, price: float, t: Any, fee: float
) -> float:
    """The cash after leaving; counts the round trip."""
    notional = quantity * price
    paid = notional * fee
    pnl = side * quantity * (price - entry) - paid - quantity * entry * t[_FEE]
    out[_TRADES] += 1.0
    out[_FEES] += paid
    out[_RETURNS] += pnl / (quantity * entry)
    if pnl > 0.0:
        out[_WINS] += 1.0
        out[_PROFIT] += pnl
    else:
        out[_LOSS] -= pnl
    return cash + side * notional - paid


@compiled
def _stop_of(side: int, entry: float, extreme: float, t: Any) -> float:
    """The stop nearest to the market; out of reach where there is none."""
    level = -side * np.inf
    if t[_STOP] > 0.0:
        level = entry * (1.0 - side * t[_STOP])
    if t[_TRAIL] > 0.0:
        trail = extreme * (1.0 - side * t[_TRAIL])
        if side * trail > side * level:
            level = trail
    return level


@compiled
def _target_of(side: int, entry: float, t: Any) -> float:
    """The take-profit's limit price; out of reach where there is none."""
    factor = 1.0 + side * t[_TARGET]
    if t[_TARGET] == 0.0 or factor <= 0.0:
        return side * np.inf
    return _on_tick(entry * factor, t[_TICK], side > 0)


@compiled
def block_extremes(values: FloatArray, highest: FloatArray, lowest: FloatArray) -> None:
    """The highest and the lowest of each eight values in a row; a rest at the end is left out."""
    for block in range(len(highest)):
        high = low = values[block * 8]
        for i in range(block * 8 + 1, block * 8 + 8):
            high, low = max(high, values[i]), min(low, values[i])
        highest[block], lowest[block] = high, low


@compiled
def _first_touch(
    highs: FloatArray,
    lows: FloatArray,
    block_high: FloatArray,
    block_low: FloatArray,
    side: int,
    row: int,
    last: int,
    entry: float,
    extreme: float,
    target: float,
    t: Any,
) -> tuple[int, float]:
    """The first candle up to `last` that touches a level, else `last + 1`; the extreme of those before."""
    # A little nearer than the levels, so that what is equal but for rounding counts as touched.
    trail = t[_TRAIL]
    if side > 0:
        stop = _stop_of(1, entry, extreme, t) * (1.0 + _SAME)
        target *= 1.0 - _SAME
        i = row
        while i <= last:
            if i & 7 == 0 and i + 7 <= last:
                high = block_high[i >> 3]
                if block_low[i >> 3] > stop and high < target and (trail == 0.0 or high <= extreme):
                    i += 8
                    continue
            for _ in range(min(8 - (i & 7), last + 1 - i)):
                if lows[i] <= stop or highs[i] >= target:
                    return i, extreme
                if trail > 0.0 and highs[i] > extreme:
                    extreme = highs[i]
                    stop = max(stop, extreme * (1.0 - trail) * (1.0 + _SAME))
                i += 1
    else:
        stop = _stop_of(-1, entry, extreme, t) * (1.0 - _SAME)
        target *= 1.0 + _SAME
        i = row
        while i <= last:
            if i & 7 == 0 and i + 7 <= last:
                low = block_low[i >> 3]
                if block_high[i >> 3] < stop and low > target and (trail == 0.0 or low >= extreme):
                    i += 8
                    continue
            for _ in range(min(8 - (i & 7), last + 1 - i)):
                if highs[i] >= stop or lows[i] <= target:
                    return i, extreme
                if trail > 0.0 and lows[i] < extreme:
                    extreme = lows[i]
                    stop = min(stop, extreme * (1.0 + trail) * (1.0 - _SAME))
                i += 1
    return last + 1, extreme


@compiled
def _mark(
    closes: FloatArray,
    block_close_high: FloatArray,
    block_close_low: FloatArray,
    row: int,
    until: int,
    cash: float,
    signed: float,
    peak: float,
    floor: float,
    fall: float,
) -> tuple[float, float, float]:
    """Mark equity at the closes from `row` up to `until`: its peak, and how far it fell from one."""
    i = row
    while i < until:
        if i & 7 == 0 and i + 8 <= until:
            one, other = cash + signed * block_close_high[i >> 3], cash + signed * block_close_low[i >> 3]
            if max(one, other) <= peak and min(one, other) >= floor:
                i += 8
                continue
        for _ in range(min(8 - (i & 7), until - i)):
            equity = cash + signed * closes[i]
            if equity > peak:
                peak = equity
                floor = peak * (1.0 - fall)
            elif equity < floor:
                floor = equity
                fall = 1.0 - equity / peak
            i += 1
    return peak, floor, fall


@compiled
def _mark_cash(cash: float, peak: float, floor: float, fall: float) -> tuple[float, float, float]:
    """Mark a flat account."""
    if cash > peak:
        return cash, cash * (1.0 - fall), fall
    if cash < floor:
        return peak, cash, 1.0 - cash / peak
    return peak, floor, fall


def blocks_of(highs: FloatArray, lows: FloatArray, closes: FloatArray) -> FloatArray:
    """Highest high, lowest low, highest and lowest close of each eight candles, shape (4, blocks)."""
    blocks = np.empty((4, len(closes) // 8))
    other = np.empty(len(closes) // 8)
    block_extremes(highs, blocks[0], other)
    block_extremes(lows, other, blocks[1])
    block_extremes(closes, blocks[2], blocks[3])
    return blocks


@compiled
def run_bitmaps(
    opens: FloatArray,
    highs: FloatArray,
    lows: FloatArray,
    closes: FloatArray,
    blocks: FloatArray,
    long_entry: Any,
    long_exit: Any,
    short_entry: Any,
    short_exit: Any,
    t: FloatArray,
    start: int,
    stop: int,
    sample_rows: Any,
    samples: FloatArray,
    out: FloatArray,
    trips: Any,
) -> None:
    """Run rows `start` up to `stop` from a flat account.

    `blocks` is `blocks_of` the candles. `samples` gets the equity at the closes of `sample_rows` (ascending;
    before `start` it is the capital), `out` the `COUNTS`, `trips`, as far as it has room, a row (entry row,
    exit row, side) for each round trip.
    """
    out[:] = 0.0
    cash = t[_CAPITAL]
    # Below `floor` equity has fallen further from its peak than ever, by more than the fraction `fall`.
    peak, floor, fall = cash, cash, 0.0
    protected = t[_STOP] > 0.0 or t[_TARGET] > 0.0 or t[_TRAIL] > 0.0
    sample = 0
    while sample < len(sample_rows) and sample_rows[sample] < start:
        samples[sample] = cash
        sample += 1
    next_sample = sample_rows[sample] if sample < len(sample_rows) else stop
    side, waits_to_enter = 0, 0
    waits_to_leave = False
    quantity = entry = extreme = target = 0.0
    entered = row = start
    trip = 0
    # Where the next signal of each kind lies; looked up again only once it has been passed.
    long_at = short_at = leave_long_at = leave_short_at = -1
    while row < stop:
        if side == 0 and waits_to_enter == 0:
            # Flat: on to the next candle that asks for an entry at its close.
            if long_at < row:
                long_at = next_set(long_entry, row, stop)
            if short_at < row:
                short_at = next_set(short_entry, row, stop)
            signal = min(long_at, short_at)
            until = min(signal + 1, stop)
            while next_sample < until:
                samples[sample] = cash
                sample += 1
                next_sample = sample_rows[sample] if sample < len(sample_rows) else stop
            row = until
            if signal == stop:
                break
            if long_at == short_at:
                out[_REFUSED] += 1.0
            else:
                waits_to_enter = 1 if signal == long_at else -1
            continue
        # The candle's open: due orders, then levels it has jumped over.
        price = opens[row]
        left = False
        if waits_to_leave:
            waits_to_leave = False
            cash = _book_exit(out, cash, side, quantity, entry, _slipped(price, t, side < 0), t, t[_FEE])
            left = True
        if waits_to_enter != 0 and (side == 0 or left):
            if left and trip < len(trips):
                trips[trip, 0], trips[trip, 1], trips[trip, 2] = entered, row, side
                trip += 1
            left = False
            side, waits_to_enter = waits_to_enter, 0
            entry = _slipped(price, t, side > 0)
            quantity = _affordable(cash, entry, t)
            if quantity <= 0.0:
                out[_REFUSED] += 1.0
                side = 0
                # What was left at this open leaves a flat account at the close.
                peak, floor, fall = _mark_cash(cash, peak, floor, fall)
            else:
                fee = quantity * entry * t[_FEE]
                out[_FEES] += fee
                cash -= side * quantity * entry + fee
                extreme, entered = entry, row
                target = _target_of(side, entry, t)
        if side != 0 and not left:
            # Held over this open. On to the candle whose close asks to leave, or that touches a level.
            if side > 0:
                if leave_long_at < row:
                    leave_long_at = next_set(long_exit, row, stop)
                asks = leave_long_at
            else:
                if leave_short_at < row:
                    leave_short_at = next_set(short_exit, row, stop)
                asks = leave_short_at
            last = min(asks, stop - 1)
            touched = last + 1
            if protected:
                touched, extreme = _first_touch(
                    highs, lows, blocks[0], blocks[1], side, row, last, entry, extreme, target, t
                )
            out[_EXPOSED] += touched - row
            signed = side * quantity
            while row < touched:
                until = min(touched - 1, next_sample)
                peak, floor, fall = _mark(
                    closes, blocks[2], blocks[3], row, until + 1, cash, signed, peak, floor, fall
                )
                while until == next_sample:
                    samples[sample] = cash + signed * closes[until]
                    sample += 1
                    next_sample = sample_rows[sample] if sample < len(sample_rows) else stop
                row = until + 1
            if touched <= last:
                price = opens[row]
                level = _stop_of(side, entry, extreme, t)
                adverse = lows[row] if side > 0 else highs[row]
                favourable = highs[row] if side > 0 else lows[row]
                fee = t[_FEE]
                if side * price <= side * level + _SAME * price:
                    leaves_at = _slipped(price, t, side < 0)
                elif side * price >= side * target - _SAME * price:
                    leaves_at, fee = _on_tick(price, t[_TICK], side < 0), t[_MAKER_FEE]
                else:
                    out[_EXPOSED] += 1.0
                    if side * adverse <= side * level + _SAME * adverse:
                        if side * favourable >= side * target - _SAME * favourable:
                            out[_AMBIGUOUS] += 1.0
                        leaves_at = _slipped(level, t, side < 0)
                    else:
                        leaves_at, fee = target, t[_MAKER_FEE]
                cash = _book_exit(out, cash, side, quantity, entry, leaves_at, t, fee)
                left = True
            else:
                row = last
            if not left:
                # The close of `row` is marked; it asks to leave, or the span ends with it.
                if asks == row:
                    waits_to_leave = True
                    other = short_entry if side > 0 else long_entry
                    if (other[row >> 6] >> np.uint64(row & 63)) & np.uint64(1):
                        waits_to_enter = -side
                row += 1
                continue
        if left:
            if trip < len(trips):
                trips[trip, 0], trips[trip, 1], trips[trip, 2] = entered, row, side
                trip += 1
            side = 0
            peak, floor, fall = _mark_cash(cash, peak, floor, fall)
        # Flat at this candle's close, whose signals count.
    equity = cash
    if side != 0:
        equity = cash + side * quantity * closes[stop - 1]
        if t[_CLOSE_AT_END] > 0.0:
            leaves_at = _slipped(closes[stop - 1], t, side < 0)
            equity = _book_exit(out, cash, side, quantity, entry, leaves_at, t, t[_FEE])
            if trip < len(trips):
                trips[trip, 0], trips[trip, 1], trips[trip, 2] = entered, stop - 1, side
            while sample > 0 and sample_rows[sample - 1] == stop - 1:
                sample -= 1
                samples[sample] = equity
    out[_FINAL] = equity
    out[_DRAWDOWN] = fall
