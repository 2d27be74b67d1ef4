"""A candle's open where market orders go through the recorded order book.

The orders, their sizes' limits, refusals and levels are those of the kernel in `bots.fills`: its own compiled
functions do the work, order by order, at the price that the book gives instead of the candle's open.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal
from typing import Any, Final

from bots import fill_events
from bots.book_walk import BookWalk, step_of
from bots.fill_records import (
    EXIT_SIGNAL,
    REASON_NUMBERS,
    STOP_LOSS,
    TRAILING_STOP,
    Records,
    cash_of,
    copy_of,
    wide_cash,
)
from bots.ledger import EXACT, exact
from bots.orders import DepthUse, OrderReason
from bots.recorded_depth import OpenDepth
from bots.wide_integers import Wide
from data.models import Side

_ZERO, _ONE, _TWO = Decimal(0), Decimal(1), Decimal(2)
_UP = Context(prec=60, rounding=ROUND_UP)
_STOPS: Final = (STOP_LOSS, TRAILING_STOP)

Uses = list[DepthUse | None]  # of each event: how it met the book; None for one that is no market order


class DepthOpen:
    """One open of one account. What it does lies in the events; `uses` stand beside them."""

    def __init__(
        self, kernel: Records, terms: Records, at_us: int, price: float, depth: OpenDepth, events: Records
    ) -> None:
        """`price` is the candle's open, which decides about levels and fills what finds no book."""
        self._kernel, self._at_us, self._price = kernel, at_us, price
        self._depth, self._events = depth, events
        self._s, self._t = kernel[0], terms[0]
        # A walked price has its slippage in it.
        walked = terms.copy()
        walked["slip_m"] = walked["slip_d"] = 0
        self._walked = walked[0]
        self._fee = exact(int(self._t["fee_m"]), int(self._t["fee_d"]))
        self.uses: Uses = []

    def run(self) -> int:
        """Everything that happens at this open; how many events were written."""
        self._s["opened"] = 1
        self._exit()
        self._entry()
        self._add_on()
        self._levels()
        return len(self.uses)

    def leave(self, reason: OrderReason) -> int:
        """Leave the market at this open and drop what waits; how many events were written."""
        s = self._s
        s["pending_exit"] = s["pending_entry"] = s["pending_add"] = 0
        if s["side"]:
            self._leave(REASON_NUMBERS[reason])
        return len(self.uses)

    # Order by order, as `fill_events.open_at`

    def _exit(self) -> None:
        is_due, self._s["pending_exit"] = bool(self._s["pending_exit"]), 0
        if is_due and self._s["side"]:
            self._leave(EXIT_SIGNAL)

    def _leave(self, reason: int) -> None:
        """Close the whole position."""
        s = self._s
        quantity = self._held
        walk = self._walk(Side.SELL if s["side"] > 0 else Side.BUY)
        self._event["row"], self._event["at_us"] = 0, self._at_us
        if isinstance(walk, DepthUse):
            fill_events.leave_at(s, self._t, self._event, reason, self._price)
            self.uses.append(walk)
            return
        fill_events.leave_at(s, self._walked, self._event, reason, float(walk.price(quantity)))
        self._took(walk, quantity)

    def _entry(self) -> None:
        s, side = self._s, int(self._s["pending_entry"])
        if not side or s["side"]:
            self._plainly(fill_events.fill_entry, None, self._cash, self._cash)
            return
        cash = cash_of(self._kernel)
        share = EXACT.multiply(cash, exact(int(self._t["size_m"]), int(self._t["size_d"])))
        walk = self._walk(Side.BUY if side > 0 else Side.SELL)
        if isinstance(walk, DepthUse) or share <= 0:
            use = walk if isinstance(walk, DepthUse) else None
            self._plainly(fill_events.fill_entry, use, self._cash, self._cash)
            return

        def spends(quantity: Decimal, price: Decimal) -> Decimal:
            return EXACT.multiply(EXACT.multiply(quantity, price), _ONE + self._fee)

        # Where the price rounds to nothing the kernel says so.
        lowest = walk.lowest or walk.touch
        at_most = _UP.divide(share, EXACT.multiply(lowest, _ONE + self._fee))
        quantity = walk.most(share, spends, step=self._step(at_most), at_most=at_most)
        price = walk.price(quantity or self._step(at_most))
        # Just the money for it: the kernel's own sizing comes to the same quantity, or refuses it in words.
        free = spends(quantity, price) if quantity else cash
        self._walking(fill_events.fill_entry, walk, quantity, price, wide_cash(cash), wide_cash(free))

    def _add_on(self) -> None:
        s, side = self._s, int(self._s["side"])
        if not s["pending_add"] or not side:
            self._plainly(fill_events.fill_add_on, None, self._cash)
            return
        cash = cash_of(self._kernel)
        walk = self._walk(Side.BUY if side > 0 else Side.SELL)
        if isinstance(walk, DepthUse) or cash <= 0:
            use = walk if isinstance(walk, DepthUse) else None
            self._plainly(fill_events.fill_add_on, use, self._cash)
            return
        held = self._held

        def spends(quantity: Decimal, price: Decimal) -> Decimal:
            # A short ties up twice its own worth beside what is added.
            own = _ZERO if side > 0 else EXACT.multiply(EXACT.multiply(_TWO, price), held)
            return EXACT.add(EXACT.multiply(EXACT.multiply(quantity, price), _ONE + self._fee), own)

        decimals = int(s["quantity_d"])
        step = exact(int(self._t["lot_m"]), int(self._t["lot_d"])) if self._t["lot_m"] else exact(1, decimals)
        share = EXACT.multiply(
            Decimal(int(s["first_m"])), exact(int(self._t["add_m"]), int(self._t["add_d"]))
        )
        wanted = EXACT.scaleb(share.to_integral_value(ROUND_DOWN), -decimals)
        quantity = walk.most(cash, spends, step=step, at_most=wanted)
        price = walk.price(quantity or step)
        free = spends(quantity, price) if quantity else cash
        self._walking(fill_events.fill_add_on, walk, quantity, price, wide_cash(free))

    def _levels(self) -> None:
        """Exits whose level the candle's open has jumped over: a stop is a market order, a target a limit."""
        s, t, count = self._s, self._t, len(self.uses)
        if fill_events.opens_quietly(s, self._price):
            return
        trial, trial_events = copy_of(self._kernel), self._events.copy()
        after = fill_events.leave_beyond(trial[0], t, 0, self._at_us, self._price, trial_events, count)
        if after == count + 1 and int(trial_events["reason"][count]) in _STOPS:
            self._leave(int(trial_events["reason"][count]))
            return
        after = fill_events.leave_beyond(s, t, 0, self._at_us, self._price, self._events, count)
        self.uses += [None] * (after - count)

    # What the kernel is told

    @property
    def _event(self) -> Any:
        """The record that the next event is written into."""
        return self._events[len(self.uses)]

    @property
    def _cash(self) -> Wide:
        s = self._s
        return s["cash_0"], s["cash_1"], s["cash_2"], s["cash_3"]

    @property
    def _held(self) -> Decimal:
        return exact(int(self._s["quantity_m"]), int(self._s["quantity_d"]))

    def _walk(self, side: Side) -> BookWalk | DepthUse:
        t = self._t
        tick = exact(int(t["tick_m"]), int(t["tick_d"])) if t["tick_m"] else None
        slippage = exact(int(t["slip_m"]), int(t["slip_d"]))
        return self._depth.walk(side, tick=tick, slippage=slippage)

    def _step(self, quantity: Decimal) -> Decimal:
        lot = exact(int(self._t["lot_m"]), int(self._t["lot_d"])) if self._t["lot_m"] else None
        return step_of(lot, quantity)

    def _plainly(self, fill: Callable[..., int], use: DepthUse | None, *money: Any) -> None:
        if fill(self._s, self._t, self._event, 0, self._at_us, self._price, *money):
            self.uses.append(use)

    def _walking(
        self, fill: Callable[..., int], walk: BookWalk, quantity: Decimal, price: Decimal, *money: Any
    ) -> None:
        fill(self._s, self._walked, self._event, 0, self._at_us, float(price), *money)
        self._took(walk, quantity)

    def _took(self, walk: BookWalk, quantity: Decimal) -> None:
        """The event was written at the walk's price; what it filled is gone from the book."""
        event = self._event
        event["reference"] = float(walk.touch)
        if event["refusal"]:
            self.uses.append(None)
            return
        if exact(int(event["quantity_m"]), int(event["quantity_d"])) != quantity:
            raise AssertionError(f"the book was walked for {quantity}, the kernel filled {event}")
        self.uses.append(walk.take(quantity))
