"""What a grid, a DCA bot and a pyramid have in common, seen from their account."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol, TypeVar

import msgspec

from bots.ladders.state import PlanState
from bots.ledger import LedgerState
from bots.orders import OrderReason, PositionSide
from data.models import Side
from strategies.base import Decision


class Want(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A limit order that should rest in the market now."""

    tag: int  # of the rung it serves
    side: Side
    price: Decimal
    quantity: Decimal
    opens: bool  # opens or enlarges the position, else leaves a part of it


class Wish(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A market order for the next open; `notional` bounds what an opening one spends."""

    reason: OrderReason
    notional: Decimal = Decimal(0)


State = TypeVar("State", bound=PlanState)


class Plan(Protocol[State]):
    """Rules without a memory of their own: the state comes in and goes out."""

    @property
    def side(self) -> PositionSide: ...

    def start(self) -> State:
        """Before the first candle."""
        ...

    def stop(self, plan: State) -> Decimal | None:
        """Where everything is closed; None while there is no such price."""
        ...

    def wanted(self, plan: State, books: LedgerState) -> Sequence[Want]:
        """The limit orders that should rest now. An opening one that would cross the market waits."""
        ...

    def limit_filled(
        self, plan: State, want: Want, quantity: Decimal, books: LedgerState, pnl: Decimal
    ) -> State:
        """After a fill of a resting order was booked; `pnl` is what it closed, net of fees."""
        ...

    def market_quantity(self, plan: State, wish: Wish, price: Decimal, books: LedgerState) -> Decimal | str:
        """How much an opening market order buys at `price`, or why it is refused."""
        ...

    def market_filled(self, plan: State, price: Decimal, quantity: Decimal) -> State:
        """After an opening market order was booked."""
        ...

    def entry_missed(self, plan: State) -> State:
        """After the entry was refused or found nothing to buy."""
        ...

    def left(self, plan: State, price: Decimal, pnl: Decimal) -> State:
        """After everything was closed at the market; `pnl` is net of fees."""
        ...

    def decide(
        self, plan: State, close: Decimal, decision: Decision, books: LedgerState, *, may_grow: bool
    ) -> tuple[State, Wish | None]:
        """At a candle's close: the state from now on, and a market order for the next open."""
        ...

    def finished(self, plan: State, books: LedgerState, *, stopped: bool) -> str:
        """Why nothing more is done, empty where the ladder goes on; `stopped`: the stop was reached."""
        ...
