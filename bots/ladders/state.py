"""Everything that a ladder carries from step to step; JSON keeps every digit."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from bots.ledger import LedgerState
from bots.orders import LimitOrder, Order

_ZERO = Decimal(0)
EXIT_TAG = -1  # of orders that belong to no single rung


class Resting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A limit order in the market; `order.quantity` is what is left of it."""

    order: LimitOrder
    tag: int  # of the rung it serves

    @property
    def price(self) -> Decimal:
        return self.order.limit_price


class Due(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A market order for the next open."""

    order: Order
    notional: Decimal  # what an opening order may spend; 0 for one that closes everything


class Rung(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One place of a ladder: what it may hold and what it holds."""

    price: Decimal  # it buys at (sells at, when short)
    quantity: Decimal  # when full
    held: Decimal = _ZERO
    cost_price: Decimal = _ZERO  # all that is held was bought at; 0 while nothing is
    is_full: bool = False  # was filled, so what is held waits for its exit


class GridState(msgspec.Struct, frozen=True, kw_only=True, tag_field="plan", tag="grid"):
    levels: tuple[Decimal, ...]  # ascending; one more than there are rungs
    rungs: tuple[Rung, ...]
    stop: Decimal | None
    realised: Decimal = _ZERO  # of what rungs have sold over its cost, before fees
    shifts: int = 0  # how often the range has followed the price
    begun: bool = False


class RoundState(msgspec.Struct, frozen=True, kw_only=True, tag_field="plan", tag="round"):
    """An open round of a DCA or pyramid bot, or the wait for one."""

    base_price: Decimal | None = None  # of the entry's fill; None while flat
    newest_price: Decimal = _ZERO  # of the newest fill
    rungs: tuple[Rung, ...] = ()  # safety orders
    adds: int = 0
    stop: Decimal | None = None
    gain: Decimal = _ZERO  # of what the round has closed, net of fees
    losing_rounds: int = 0
    rounds: int = 0  # that have ended


PlanState = GridState | RoundState


class LadderState(msgspec.Struct, frozen=True, kw_only=True):
    """One account with its ladder."""

    ledger: LedgerState
    plan: PlanState
    sequence: int = 0  # of the newest order
    resting: tuple[Resting, ...] = ()  # in the order in which they were placed
    due: tuple[Due, ...] = ()
    last_price: Decimal | None = None
    opened_at_us: int | None = None  # the candle whose open was run but not its close
    last_opened_at_us: int | None = None
    last_closes_at_us: int | None = None
    exposed_candles: int = 0
    growing: bool = False  # whether orders that enlarge the position may rest: the gate let them pass
    asked_until: int = 0  # newest order that the gate has seen
    finished: str = ""  # why the ladder has ended; empty while it works
    gap_loss: Decimal = _ZERO  # what stops lost beyond their level with its slippage
    most_committed: Decimal = _ZERO  # most capital that was ever bound, fees included
    most_orders: int = 0  # most orders that ever waited together
