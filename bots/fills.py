"""The fill rules, once: compiled code that backtests run over whole arrays and bots candle by candle.

Every price, level, quantity and cash amount that decides something is an exact decimal. Doubles only sort out
quickly which candles can matter. The rules themselves stand in docs/decisions/0005-fill-rules.md and
0008-partial-exits-and-add-ons.md; what they compute lies in `fill_levels`, what they do in `fill_events`.

All that a run carries from candle to candle is one `STATE` record, so a run over a span equals the runs over
its two halves, and `open_candle`, `close_candle` and `decide` one by one equal `run_candles`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bots.fill_events import (
    complete,
    decide_on,
    fill_add_on,
    fill_entry,
    fill_exit,
    leave_at,
    leave_beyond,
    moves_quietly,
    open_at,
    opens_quietly,
    protect,
)
from bots.fill_levels import arm as arm_levels
from bots.fill_levels import cash_in, follow
from bots.fill_records import EVENTS_PER_CANDLE, Columns, Finer
from data.kernel_cache import compiled


@compiled
def _skip_quiet(
    s: Any, t: Any, opens: Any, highs: Any, lows: Any, closes: Any, start: int, stop: int, equity: Any
) -> int:
    """Run candles at whose closes nothing is said, of `[start, stop)`, up to the first that may do something.

    The equity of those passed is written; the row of the first that was not is returned. A position is held
    and has levels.
    """
    cash, held = s.cash, s.side * s.quantity
    i = start
    trails = t.trail_m > 0
    extreme, stop_guard, target_guard = s.extreme, s.stop_guard, s.target_guard
    if s.side > 0:
        while (
            i < stop
            and stop_guard < lows[i]
            and highs[i] < target_guard
            and stop_guard < opens[i] < target_guard
        ):
            equity[i] = cash + held * closes[i]
            if trails and highs[i] > extreme:
                extreme = s.extreme = highs[i]
                s.extreme_is_entry = 0
                follow(s, t)
                stop_guard = s.stop_guard
            i += 1
    else:
        while (
            i < stop
            and target_guard < lows[i]
            and highs[i] < stop_guard
            and target_guard < opens[i] < stop_guard
        ):
            equity[i] = cash + held * closes[i]
            if trails and lows[i] < extreme:
                extreme = s.extreme = lows[i]
                s.extreme_is_entry = 0
                follow(s, t)
                stop_guard = s.stop_guard
            i += 1
    s.exposed += i - start
    return i


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
    gets cash plus the marked position at each close, in quote currency. Of several `terms` each holds for
    candles that open at or after its time.
    """
    s = state[0]
    opened_at_us, opens, highs, lows, closes = columns[:5]
    says, rows = columns.says, columns.rows
    room = len(out) - EVENTS_PER_CANDLE
    count = 0
    i = max(start, 0)
    said = np.searchsorted(rows, i)
    term = 0
    t = terms[0]
    changes_at = 0 if len(terms) > 1 else len(opened_at_us)  # the row from which other terms hold
    while i < len(opened_at_us):
        if count > room:
            return i, count
        if i >= changes_at:
            while term + 1 < len(terms) and terms[term + 1].valid_from_us <= opened_at_us[i]:
                term += 1
            t = terms[term]
            changes_at = len(opened_at_us)
            if term + 1 < len(terms):
                changes_at = np.searchsorted(opened_at_us, terms[term + 1].valid_from_us)
        while said < len(rows) and rows[said] < i:
            said += 1
        if (
            s.opened == 0
            and s.pending_exit == 0
            and s.pending_entry == 0
            and s.pending_add == 0
            and not (s.side != 0 and t.every_sign != 0)
        ):
            quiet_to = min(rows[said] if said < len(rows) else len(opened_at_us), changes_at)
            if i < quiet_to:
                if s.side == 0 or (np.isinf(s.stop_guard) and np.isinf(s.target_guard)):
                    cash, held = s.cash, s.side * s.quantity
                    if s.side == 0:
                        for quiet in range(i, quiet_to):
                            equity[quiet] = cash
                    else:
                        for quiet in range(i, quiet_to):
                            equity[quiet] = cash + held * closes[quiet]
                        s.exposed += quiet_to - i
                    i = quiet_to
                else:
                    i = _skip_quiet(s, t, opens, highs, lows, closes, i, quiet_to, equity)
                if i == quiet_to:
                    continue
        at_us = opened_at_us[i]
        if s.opened != 0:
            s.opened = 0
        elif not opens_quietly(s, opens[i]):
            price = opens[i]
            count += fill_exit(s, t, out[count], i, at_us, price)
            count += fill_entry(s, t, out[count], i, at_us, price, cash_in(s), cash_in(s))
            count += fill_add_on(s, t, out[count], i, at_us, price, cash_in(s))
            if not opens_quietly(s, price):
                count = leave_beyond(s, t, i, at_us, price, out, count)
        if s.side != 0:
            s.exposed += 1
            # A position without levels has no use for highs and lows, and a row far away is slow to read.
            if t.trail_m > 0 or not (np.isinf(s.stop_guard) and np.isinf(s.target_guard)):
                if not moves_quietly(s, highs[i], lows[i]):
                    count = protect(s, t, i, at_us, at_us + duration_us, highs[i], lows[i], finer, out, count)
                complete(s, t, highs[i], lows[i])
        equity[i] = s.cash + s.side * s.quantity * closes[i]
        if says[i] != 0 or (s.side != 0 and t.every_sign != 0):
            out[count].row, out[count].at_us = i, at_us + duration_us
            count += decide_on(s, t, out[count], closes[i], says[i])
        if s.error != 0:
            return i, count
        i += 1
    return len(opened_at_us), count


@compiled
def open_candle(state: Any, terms: Any, at_us: int, price: float, out: Any) -> int:
    """A bot's first half of a candle, when its first trade is known; how many events were written."""
    s = state[0]
    s.opened = 1
    return open_at(s, terms[0], 0, at_us, price, out, 0)


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
        count = open_at(s, t, 0, at_us, price, out, count)
    if s.side != 0:
        s.exposed += 1
        if not moves_quietly(s, high, low):
            count = protect(s, t, 0, at_us, until_us, high, low, finer, out, count)
        complete(s, t, high, low)
    return count


@compiled
def decide(state: Any, terms: Any, at_us: int, close: float, says: int, out: Any) -> int:
    """Turn a closed candle's `SAYS_...` bits into pending orders; how many events (refusals) were written."""
    out[0].row, out[0].at_us = 0, at_us
    return int(decide_on(state[0], terms[0], out[0], close, says))


@compiled
def close_position(state: Any, terms: Any, row: int, at_us: int, price: float, reason: int, out: Any) -> int:
    """Leave the market at once at `price`, worsened by slippage; orders that wait are dropped."""
    s, t = state[0], terms[0]
    s.pending_exit = s.pending_entry = s.pending_add = 0
    if s.side == 0:
        return 0
    out[0].row, out[0].at_us = row, at_us
    leave_at(s, t, out[0], reason, price)
    return 1


@compiled
def arm(state: Any, terms: Any) -> None:
    """Set the levels of a position that was put into the record from outside."""
    arm_levels(state[0], terms[0])
