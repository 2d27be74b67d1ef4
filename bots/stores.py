"""What bots need from a database and a bus; `app` hands over those that exist.

The store is synchronous: callers choose their thread. Every method raises TransientError while the database
cannot answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from bots.accounts import SubLedger
from bots.gates import Gate, GateVerdict, Violation
from bots.journal import JournalEntry
from bots.lifecycle import BotState
from bots.orders import GROWING, ClosedTrade, Fill, Order, OrderStatus
from bots.shards import WHOLE, Shard
from bots.views import (
    AuditView,
    BotView,
    DecisionView,
    EquityCurve,
    EquityPoint,
    FillView,
    OrderView,
    PositionView,
    SignalView,
    TradeView,
    VersionView,
)
from data.models import Market, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Decision

MOST_FRESH = 2_000  # candles of an outage, made up for in one transaction


class BotEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An entry for the audit: who did what, and why."""

    at_us: int
    who: str
    what: str
    why: str = ""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bot is and where a person wants it: the little that is polled every second."""

    bot_id: int
    name: str
    state: BotState
    desired: BotState
    flatten: bool  # the wish to stop includes closing the position
    step: int
    asked_at_us: int  # when the wish was written
    version: int = 1  # of the settings a person wants


class BotRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A bot as it was last committed: all that is needed to go on after a crash."""

    bot_id: int
    name: str
    config: dict[str, Any]  # as `bots.config.as_document` wrote it; only a name where the file is broken
    source: str  # the file it came from, or empty; read again when the bot starts
    state: BotState
    desired: BotState
    flatten: bool
    step: int  # how many steps were committed
    account: bytes | None  # the account's state as JSON; None before the first start
    strategy_version: str
    last_candle_us: int | None  # open of the last processed candle
    opened_candle_us: int | None  # open of the last candle whose open was traded on
    started_at_us: int | None
    health: str
    version: int = 1  # of the settings that are wanted
    applied: int = 1  # of those in `config`
    wanted: dict[str, Any] | None = None  # those settings; None: `config`
    reads_file: bool = True  # whether its file is read at a start; not once its settings were edited
    definition: str | None = None  # what the strategy that it ran last is made of, where that is kept


class AccountSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of an account that lists and pages show; the account's own state is the truth."""

    point: EquityPoint
    position: PositionView | None  # None for a bot with several symbols
    realised_pnl: Decimal  # quote currency
    fees_paid: Decimal  # quote currency
    trades: int
    wins: int
    positions: tuple[PositionView, ...] = ()  # by symbol, of a bot with several


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A bot just before the open of a candle. From here on the stored candles make its steps again."""

    opened_at_us: int
    config: dict[str, Any]  # in force from here on
    strategy_version: str
    account: bytes  # as in `BotRecord`


class PartSaid(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision of a bot with several symbols said of one of them."""

    symbol: str
    action: str  # "long_entry" or "long_exit"
    close: float


class DecisionMade(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and what the bot did with it, in words; empty when there was nothing to do."""

    decision: Decision
    outcome: str
    seen: tuple[float, float, float, float] | None = None  # the candle's open, high, low and volume
    gate: Gate = Gate.NONE  # what stopped its entry, or left it without effect
    orders: tuple[int, ...] = ()  # sequences of the orders it led to, refused ones included
    violations: tuple[Violation, ...] = ()  # limits that its entry or add-on would have broken
    parts: tuple[PartSaid, ...] = ()  # by symbol, of a bot with several


class LimitBroken(msgspec.Struct, frozen=True, kw_only=True):
    """A violation for the list of them; the decision on that candle holds the same."""

    opened_at_us: int  # of the deciding candle
    at_us: int  # its close, the venue's clock
    violation: Violation


class BotStep(msgspec.Struct, frozen=True, kw_only=True):
    """All that changes when a bot takes a step: stored in one transaction, whole or not at all, and once.

    `step` is the number of this step; it is applied only where the stored number is one less. Fields that are
    None stay as they are.
    """

    bot_id: int
    step: int
    at_us: int  # our clock
    state: BotState
    health: str
    settle: tuple[BotState, BotState] | None = (
        None  # (wish seen, wish from now on): set unless a person was faster
    )
    config: dict[str, Any] | None = None
    applied: int | None = None  # `config` is this version of the settings, in force from now on
    from_file: bool = False  # `config` was read from the bot's file and is a new version
    strategy: str | None = None  # its own name
    strategy_version: str | None = None
    market: Market | None = None
    timeframe: Timeframe | None = None
    started_at_us: int | None = None
    account: bytes | None = None
    summary: AccountSummary | None = None
    last_candle_us: int | None = None
    last_price: float | None = None
    opened_candle_us: int | None = None
    orders: Sequence[Order] = ()  # as they stand now: new ones, and those whose status changed
    fills: Sequence[Fill] = ()
    trades: Sequence[ClosedTrade] = ()
    equity: Sequence[EquityPoint] = ()
    decisions: Sequence[DecisionMade] = ()
    events: Sequence[BotEvent] = ()
    checkpoints: Sequence[Checkpoint] = ()
    definition: str | None = None  # what the strategy is made of, by its version; None: stored already
    entries: Sequence[JournalEntry] = ()
    violations: Sequence[LimitBroken] = ()
    sub_ledger: SubLedger | None = None  # None: the bot has an account of its own

    @property
    def grows(self) -> bool:
        """Whether it opens or enlarges a position, or orders to: what a stop or an empty account forbids."""
        return any(fill.reason in GROWING for fill in self.fills) or any(
            order.reason in GROWING and order.status is OrderStatus.PENDING for order in self.orders
        )


class RunnerClaim(Protocol):
    """The right to run the bots of a shard, held by one process at a time."""

    def held(self) -> bool:
        """Whether it is still ours; False once the connection that carried it broke."""
        ...

    def release(self) -> None: ...


class BotStore(Protocol):
    """Where bots live."""

    # What the runner does

    def claim(self, shard: Shard = WHOLE) -> RunnerClaim | None:
        """The right to run the bots of that shard, or None while another process has any of its slots."""
        ...

    def wishes(self, shard: Shard = WHOLE) -> list[Wish]:
        """Where the shard's bots are and where people want them, by bot id."""
        ...

    def record(self, bot_id: int) -> BotRecord | None: ...

    def commit(self, steps: Sequence[BotStep]) -> frozenset[int]:
        """Store steps of different bots in one transaction; the ids of those that were applied.

        A step whose number is not the next of its bot changes nothing at all: somebody else moved the bot.
        Nor does one that enters what the emergency stop or the bot's account forbids; see `verdict`.
        """
        ...

    def verdict(self, step: BotStep) -> GateVerdict:
        """What stands against storing that step now, but for its number; exits always pass."""
        ...

    # What people do

    def views(self) -> list[BotView]:
        """Every bot, in order of name."""
        ...

    def view(self, name: str) -> BotView | None: ...

    def wish(self, name: str) -> Wish | None: ...

    def create(
        self,
        config: dict[str, Any],
        *,
        name: str,
        source: str,
        desired: BotState,
        health: str,
        event: BotEvent,
        reads_file: bool = True,
    ) -> bool:
        """Add a bot, CREATED, or FAILED if `health` says what is wrong. False if the name is taken.

        With `reads_file` its settings are read from `source` again at each start, where that is a file.
        """
        ...

    def ask(self, seen: Wish, desired: BotState, *, flatten: bool, event: BotEvent) -> bool:
        """Write a wish, unless the bot's state or wish is no longer the one seen (then False)."""
        ...

    def edit(
        self, seen: Wish, config: dict[str, Any], *, reverts_to: int | None = None, event: BotEvent
    ) -> bool:
        """Add a version of the settings, wanted from now on. False where another was added meanwhile."""
        ...

    def versions(self, name: str) -> list[VersionView]:
        """Every version of the bot's settings, newest first."""
        ...

    def checkpoints(self, name: str, *, start_us: int, end_us: int) -> list[Checkpoint]:
        """Those before candles that open in `[start_us, end_us)`, ascending."""
        ...

    def decisions_between(self, name: str, *, start_us: int, end_us: int) -> list[DecisionView]:
        """Decisions on candles that open in `[start_us, end_us)`, ascending."""
        ...

    def fills_between(self, name: str, *, start_us: int, end_us: int) -> list[FillView]:
        """Fills of `[start_us, end_us)`, ascending."""
        ...

    def equity_between(self, name: str, *, start_us: int, end_us: int) -> dict[int, Decimal]:
        """Equity by the close of its candle, for closes in `[start_us, end_us)`."""
        ...

    def definition(self, strategy_version: str) -> str | None:
        """What that version of a strategy is made of, as `BotStep.definition` gave it."""
        ...

    def delete(self, seen: Wish, *, event: BotEvent) -> bool:
        """Remove a bot with its orders, fills and decisions; its audit stays. False as for `ask`."""
        ...

    def fills(self, name: str | None, *, limit: int) -> list[FillView]:
        """The newest fills, newest first; of all bots if `name` is None."""
        ...

    def orders(self, name: str | None, *, limit: int) -> list[OrderView]: ...

    def orders_numbered(self, name: str, sequences: Sequence[int]) -> list[OrderView]:
        """Those orders of one bot as they stand now, in order of their sequence."""
        ...

    def trades(self, name: str | None, *, limit: int) -> list[TradeView]: ...

    def equity(
        self, name: str, *, start_us: int | None, end_us: int | None, max_points: int
    ) -> EquityCurve: ...

    def decisions(self, name: str, *, limit: int, saying_something: bool) -> list[DecisionView]: ...

    def decision(self, name: str, opened_at_us: int) -> DecisionView | None: ...

    def audit(self, name: str | None, *, limit: int) -> list[AuditView]: ...

    def signals(
        self, market: Market, timeframe: Timeframe, *, start_us: int | None, end_us: int | None, limit: int
    ) -> list[SignalView]: ...


class FreshCandleReader(Protocol):
    """Reads what many bots wait for in one round trip. Synchronous; raises TransientError."""

    def candles_since(
        self, wanted: Mapping[tuple[Market, Timeframe], int]
    ) -> Mapping[tuple[Market, Timeframe], Ohlcv]:
        """The oldest stored candles of each series that opened after the time given for it, ascending.

        At least `MOST_FRESH` of each, where there are so many; a series without any may be left out.
        """
        ...


class BotBus(Protocol):
    """News between processes. What cannot be sent is dropped: the store is polled as well."""

    async def publish(self, topic: str, payload: bytes) -> None: ...

    def subscribe(self, patterns: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        """(topic, payload) of every message whose topic matches; reconnects for ever."""
        ...
