"""What may keep a bot from entering although its strategy says so. Exits are never kept back.

A gate is asked once for each entry that would become an order, at the close of the candle that made it,
before the order exists. The first of several gates that refuses has its name in the decision's record.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from bots.accounts import SubLedger
from bots.gates import PASSED, GateVerdict
from bots.orders import PositionSide
from bots.stores import AccountSummary
from data.models import Market
from data.timeframes import Timeframe


class EntryWish(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that would become an order for the next open."""

    bot_id: int
    bot: str
    market: Market
    timeframe: Timeframe
    side: PositionSide
    opened_at_us: int  # of the candle that made it
    closes_at_us: int
    close: float  # its price
    seen_until_us: int | None  # close of the candle that the bot took before it; None for its first
    account: AccountSummary  # as it stands at that close
    notional: Decimal = Decimal(0)  # the most the order may cost, fee included, in quote currency
    share: SubLedger | None = None  # what the bot has of an account it shares, before that order
    before: int = 0  # orders of the same decision, in other symbols, that were asked about already


class EntryGate(Protocol):
    """Decides in the runner's worker thread, in microseconds where it can: hundreds of bots wait behind it.

    A TransientError holds the bot back until the gate can answer.
    """

    def __call__(self, wish: EntryWish, /) -> GateVerdict: ...


def ask(gates: Sequence[EntryGate], wish: EntryWish) -> GateVerdict:
    """The first refusal, else PASSED."""
    for gate in gates:
        verdict = gate(wish)
        if not verdict.passes:
            return verdict
    return PASSED
