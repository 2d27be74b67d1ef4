"""Names for what stopped a signal on its way to an order, and what a gate answers."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec


class Gate(StrEnum):
    """Why a signal led to no order. Stored with each decision: names stay."""

    NONE = "none"  # nothing stopped it, or nothing was said
    POSITION_OPEN = "position_open"  # an entry while a position is held
    NO_POSITION = "no_position"  # an exit with nothing to leave
    CONTRADICTION = "contradiction"  # long and short entry on one candle
    STALE_DATA = "stale_data"  # the market's trades do not come as they usually do
    MISSING_DATA = "missing_data"  # minutes before the candle that nothing is known of
    LIMIT = "limit"  # of the bot or of the desk
    BUDGET = "budget"  # no money left for it
    MIN_NOTIONAL = "min_notional"  # too small for the venue, known at the close already
    COOLDOWN = "cooldown"
    PAUSED = "paused"
    STOPPING = "stopping"
    OUTAGE = "outage"  # made up for after the bot's process had ended
    EMERGENCY = "emergency_stop"  # of the whole desk, until a person releases it


# Data that nobody should trade on: where one symbol of several has it, nothing is done in any.
DATA_GATES: Final = frozenset({Gate.STALE_DATA, Gate.MISSING_DATA})


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that an order would have broken."""

    limit: str  # its name in the file: "max_order_notional"
    gate: Gate
    used: Decimal  # what there would be with the order
    allowed: Decimal
    detail: str  # a sentence for a person


class GateVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate says; `detail` is a sentence for a person, empty where it lets pass."""

    gate: Gate = Gate.NONE
    detail: str = ""
    violations: tuple[Violation, ...] = ()  # every limit that would be broken, the one it names first

    @property
    def passes(self) -> bool:
        return self.gate is Gate.NONE


PASSED: Final = GateVerdict()
