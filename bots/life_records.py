"""What a bot keeps from step to step beside its account, and what has happened since the last one."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from bots.journal import JournalEntry
from bots.lifecycle import BotState
from bots.orders import ClosedTrade, Fill, Order
from bots.risk.state import RiskState
from bots.stores import BotEvent, Checkpoint, DecisionMade, LimitBroken
from bots.views import EquityPoint


class SavedLife(msgspec.Struct, frozen=True, kw_only=True):
    """What a bot keeps beside its row's columns and its account: figures, and where its history begins."""

    trades: int
    wins: int
    profit: Decimal  # of closed trades, net of fees, in quote currency
    warm_from_us: int | None = None  # open of the first candle the strategy saw
    trade_from_us: int | None = None  # candles that open before this only warm up
    checkpoint_us: int | None = None  # open of the candle before which the newest checkpoint was taken
    risk: RiskState | None = None  # what limits remember; None in states of old
    promised: Decimal = Decimal(0)  # notional of the newest entry or add-on that was ordered


@dataclass(slots=True)
class News:
    """What has happened since the last step."""

    changed: bool = False
    settle: tuple[BotState, BotState] | None = None
    opened_candle_us: int | None = None
    orders: dict[int, Order] = field(default_factory=dict)  # by sequence: only the newest word counts
    fills: list[Fill] = field(default_factory=list)
    closed: list[ClosedTrade] = field(default_factory=list)
    equity: list[EquityPoint] = field(default_factory=list)
    decisions: list[DecisionMade] = field(default_factory=list)
    events: list[BotEvent] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    entries: list[JournalEntry] = field(default_factory=list)
    violations: list[LimitBroken] = field(default_factory=list)
