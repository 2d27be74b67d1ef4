"""The fill rules for several positions that share one account's cash: compiled code over whole arrays.

Each position is a leg: one strategy on one symbol, with a `STATE` record of its own. The order in which legs
meet at one instant is settled in docs/decisions/0009-portfolios.md. What happens to a leg is the very code
that single runs use, in `bots.fill_events`; only the cash an entry may take is the account's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bots.fill_events import (
    complete,
    decide_on,
    fill_add_on,
    fill_entry,
    fill_exit,
    leave_beyond,
    moves_quietly,
    opens_quietly,
    protect,
)
from bots.fill_levels import cash_in, worth
from bots.fill_records import EVENTS_PER_CANDLE, Finer
from bots.wide_integers import Wide, add, subtract, times, to_float
from data.kernel_cache import compiled
from data.models import FloatArray, IntArray


class Legs(NamedTuple):
    """Candles of all legs, one leg after the other, and how they meet in time.

    Leg k has the rows `[rows[k], rows[k + 1])`, the terms `[terms[k], terms[k + 1])` and the finer candles
    `[finer[k], finer[k + 1])`. `opening` and `closing` list all rows in order of the time at which they open
    or close, and of their legs at one instant.
    """

    opened_at_us: IntArray
    duration_us: IntArray  # of each leg
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    says: NDArray[np.uint8]
    leg: IntArray  # of each row
    terms: IntArray
    finer: IntArray
    opening: IntArray
    closing: IntArray


@compiled
def _equity(states: Any, marks: Any, cash: Wide) -> Wide:
    """The account's cash and what every position would bring, in 1e-40."""
    equity = cash
    for k in range(len(states)):
        if states[k].side > 0:
            equity = add(equity, worth(states[k], marks[k]))
        elif states[k].side < 0:
            equity = subtract(equity, worth(states[k], marks[k]))
    return equity


@compiled
def _free(states: Any, marks: Any, cash: Wide, own: int) -> Wide:
    """The cash that is not tied up by the short positions of other legs: twice what each is worth."""
    free = cash
    for k in range(len(states)):
        if k != own and states[k].side < 0:
            free = subtract(free, times(worth(states[k], marks[k]), 2))
    return free


@compiled
def _with_changes(cash: Wide, before: Wide, after: Wide) -> Wide:
    return add(cash, subtract(after, before))


@compiled
def _terms_row(legs: Legs, terms: Any, k: int, at_us: int) -> int:
    """The terms of a leg that hold at a time."""
    row = int(legs.terms[k])
    while row + 1 < legs.terms[k + 1] and terms[row + 1].valid_from_us <= at_us:
        row += 1
    return row


@compiled
def run_legs(
    states: Any,
    terms: Any,
    legs: Legs,
    finer: Finer,
    capital: Wide,
    at: Any,
    marks: Any,
    equity: Any,
    leg_equity: Any,
    out: Any,
) -> int:
    """Run from instant to instant; how many events were written to `out`, whose `row` counts all legs' rows.

    `at` carries where the run stands: rows opened, rows closed, instants told, instants with a position. Each
    leg's record counts its own cash alone, from 0. `equity` gets the account's at every instant at which a
    candle closes, `leg_equity` each leg's own gain at its closes. Stops early, to be called again, where
    `out` might not hold the next instant's events, and at an error.
    """
    opened, closed, told, exposed = at[0], at[1], at[2], at[3]
    count = 0
    room = len(out) - (EVENTS_PER_CANDLE + 1) * len(states)
    total = len(legs.opening)
    cash = capital
    for k in range(len(states)):
        cash = add(cash, cash_in(states[k]))
    bad = False
    while closed < total and count <= room and not bad:
        row = legs.closing[closed]
        now_us = legs.opened_at_us[row] + legs.duration_us[legs.leg[row]]
        if opened < total and legs.opened_at_us[legs.opening[opened]] < now_us:
            now_us = legs.opened_at_us[legs.opening[opened]]
        # What closes now lies behind what opens now.
        first_closed = closed
        held = False
        while closed < total:
            row = legs.closing[closed]
            k = legs.leg[row]
            if legs.opened_at_us[row] + legs.duration_us[k] != now_us:
                break
            s, t = states[k], terms[_terms_row(legs, terms, k, legs.opened_at_us[row])]
            if s.side != 0:
                held = True
                s.exposed += 1
                before = cash_in(s)
                if not moves_quietly(s, legs.high[row], legs.low[row]):
                    first, last = legs.finer[k], legs.finer[k + 1]
                    own = Finer(
                        finer.opened_at_us[first:last],
                        finer.open[first:last],
                        finer.high[first:last],
                        finer.low[first:last],
                    )
                    opened_at_us = legs.opened_at_us[row]
                    count = protect(
                        s, t, row, opened_at_us, now_us, legs.high[row], legs.low[row], own, out, count
                    )
                cash = _with_changes(cash, before, cash_in(s))
                complete(s, t, legs.high[row], legs.low[row])
            marks[k] = legs.close[row]
            leg_equity[row] = s.cash + s.side * s.quantity * legs.close[row]
            if legs.says[row] != 0 or (s.side != 0 and t.every_sign != 0):
                out[count].row, out[count].at_us = row, now_us
                count += decide_on(s, t, out[count], legs.close[row], legs.says[row])
            bad = bad or s.error != 0
            closed += 1
        if closed > first_closed:
            value = to_float(cash) / 1e40
            for k in range(len(states)):
                value += states[k].side * states[k].quantity * marks[k]
                held = held or states[k].side != 0
            equity[told] = value
            told += 1
            if held:
                exposed += 1
        last_opened = opened
        while last_opened < total and legs.opened_at_us[legs.opening[last_opened]] == now_us:
            row = legs.opening[last_opened]
            marks[legs.leg[row]] = legs.open[row]
            last_opened += 1
        # First what is due to leave, so that its cash is there for what is due to enter.
        for phase in range(3):
            for i in range(opened, last_opened):
                row = legs.opening[i]
                k = legs.leg[row]
                s, t = states[k], terms[_terms_row(legs, terms, k, now_us)]
                price = legs.open[row]
                if opens_quietly(s, price):
                    continue
                before = cash_in(s)
                if phase == 0:
                    count += fill_exit(s, t, out[count], row, now_us, price)
                elif phase == 1:
                    value_now = _equity(states, marks, cash)
                    free = _free(states, marks, cash, k)
                    count += fill_entry(s, t, out[count], row, now_us, price, value_now, free)
                    count += fill_add_on(s, t, out[count], row, now_us, price, free)
                else:
                    count = leave_beyond(s, t, row, now_us, price, out, count)
                cash = _with_changes(cash, before, cash_in(s))
                bad = bad or s.error != 0
        opened = last_opened
    at[0], at[1], at[2], at[3] = opened, closed, told, exposed
    return count
