"""The emergency stop of the whole desk: nothing new, what waits is cancelled, positions closed if asked.

The stop is a row in the database. The transaction that stores a step looks for it, so that no entry is ever
committed after it, whatever a runner knows by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from bots.bot_life import BotLife
from bots.entry_gates import EntryWish
from bots.gates import PASSED, Gate, GateVerdict
from bots.lifecycle import ACTIVE, BotState
from bots.views import BotView
from data.errors import InvalidInput
from data.models import Candle, Market

EMERGENCY_TOPIC = "control.emergency"


class EmergencyState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the desk is stopped, since when and by whom."""

    engaged: bool = False
    flatten: bool = False  # positions are closed too
    since_us: int | None = None  # our clock
    who: str = ""
    why: str = ""


class WaitingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An entry or add-on that is stored as waiting for the next open."""

    bot: str
    sequence: int


class LeftOver(msgspec.Struct, frozen=True, kw_only=True):
    """What is not yet, or not at all, as the stop wants it."""

    bot: str
    what: str  # "order 7", "long 0.5 BTC-USDT"
    why: str


class EmergencyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The stop and what it has not brought about."""

    state: EmergencyState
    orders: tuple[LeftOver, ...] = ()  # waiting orders; the database lets none of them be filled
    positions: tuple[LeftOver, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether nothing waits any more and, where that was asked, every position is closed."""
        return not self.orders and not (self.state.flatten and self.positions)


class EmergencyStore(Protocol):
    """Where the stop is kept. Synchronous; raises TransientError."""

    def emergency(self) -> EmergencyState: ...

    def engage(self, state: EmergencyState) -> EmergencyState:
        """Store the stop; from its commit on no entry is committed. One that stands is kept.

        Asked to flatten, it makes one flatten that did not.
        """
        ...

    def release(self, *, at_us: int, who: str, why: str) -> bool:
        """End the stop; False where there was none."""
        ...

    def waiting_orders(self) -> list[WaitingOrder]: ...


class PeoplesBots(Protocol):
    """What the desk needs of `bots.service.BotService`."""

    def list_bots(self) -> list[BotView]: ...

    def stop(self, name: str, *, who: str, why: str = "", flatten: bool = False) -> BotView: ...


class EmergencyDesk:
    """The stop for people: one button, one command. Needs the database alone; no other process must live."""

    def __init__(
        self,
        store: EmergencyStore,
        bots: PeoplesBots,
        *,
        clock: Callable[[], int],
        announce: Callable[[str], None] | None = None,
    ) -> None:
        """`clock` gives now in microseconds; `announce` wakes runners, which else look within a second."""
        self._store = store
        self._bots = bots
        self._clock = clock
        self._announce = announce

    def engage(self, who: str, why: str = "", *, flatten: bool = True) -> EmergencyReport:
        """Stop everything. When this returns, no entry can be committed any more. Harmless to repeat."""
        asked = EmergencyState(engaged=True, flatten=flatten, since_us=self._clock(), who=who, why=why)
        state = self._store.engage(asked)
        self._wake()
        if state.flatten:
            self._close_standing(who)
        return self.state()

    def release(self, who: str, why: str = "") -> bool:
        """Let bots enter again, from their next signal on. False where no stop was engaged."""
        released = self._store.release(at_us=self._clock(), who=who, why=why)
        self._wake()
        return released

    def state(self) -> EmergencyReport:
        """The stop, and every order and position that is left, with the reason."""
        state = self._store.emergency()
        if not state.engaged:
            return EmergencyReport(state=state)
        views = {view.name: view for view in self._bots.list_bots()}
        orders = tuple(
            LeftOver(bot=order.bot, what=f"order {order.sequence}", why=_why_waiting(views.get(order.bot)))
            for order in self._store.waiting_orders()
        )
        positions = tuple(
            LeftOver(
                bot=view.name,
                what=f"{one.position.side} {one.position.quantity} {one.market}",
                why=_why_open(view, state),
            )
            for view in views.values()
            for one in view.holdings
        )
        return EmergencyReport(state=state, orders=orders, positions=positions)

    def _close_standing(self, who: str) -> None:
        """Bots that stand still are woken up to close what they hold; those that run do so by themselves."""
        for view in self._bots.list_bots():
            if view.holds and view.state in (BotState.STOPPED, BotState.FAILED):
                try:
                    self._bots.stop(view.name, who=who, why="emergency stop", flatten=True)
                except InvalidInput:
                    continue  # it moved meanwhile; the report says what is left

    def _wake(self) -> None:
        if self._announce is not None:
            self._announce("")


class EmergencyWatch:
    """A runner's knowledge of the stop, and the gate that goes by it."""

    def __init__(self, store: EmergencyStore | None = None) -> None:
        """Without a store there is never a stop."""
        self._store = store
        self.state = EmergencyState()

    def refresh(self) -> bool:
        """Look; whether anything changed. Raises TransientError."""
        if self._store is None:
            return False
        before, self.state = self.state, self._store.emergency()
        return before != self.state

    def __call__(self, wish: EntryWish) -> GateVerdict:
        if not self.state.engaged:
            return PASSED
        return GateVerdict(gate=Gate.EMERGENCY, detail=self.sentence)

    def stop(self, bot: BotLife, forming: Mapping[Market, Candle], *, at_us: int) -> None:
        """Call off what waits, and close the position where that is asked and the market's price is known.

        `forming` are the candles in the making as they were last heard of.
        """
        bot.halt(self.sentence)
        if self.state.flatten and bot.has_position and bot.is_warm:
            bot.close_now(forming, why=self.sentence, at_us=at_us)

    @property
    def sentence(self) -> str:
        why = f": {self.state.why}" if self.state.why else ""
        return f"emergency stop by {self.state.who}{why}"


def left_over_lines(report: EmergencyReport) -> Sequence[str]:
    """What is left, one line each."""
    return [f"{one.bot}: {one.what}: {one.why}" for one in (*report.orders, *report.positions)]


def _why_waiting(view: BotView | None) -> str:
    if view is None or view.state not in ACTIVE:
        return "cannot be filled while the stop stands; its bot does not run"
    return "cannot be filled while the stop stands; no runner has cancelled it yet"


def _why_open(view: BotView, state: EmergencyState) -> str:
    if not state.flatten:
        if view.state in ACTIVE:
            return "left open, as asked; its stops and exits go on working"
        return "left open, as asked; UNPROTECTED, because its bot does not run"
    if view.state is BotState.FAILED:
        return f"its bot has failed and cannot close it: {view.health}"
    if view.state is BotState.CREATED:
        return "its bot was never started"
    if view.state is BotState.STOPPED and view.desired_state is not BotState.STOPPED:
        return "its bot is being started"
    return "is closed at the market's next trade that its runner hears of; none came yet, or no runner runs"
