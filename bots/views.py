"""What a page or a command shows of a bot: frozen values, exact money, times in us since the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from bots.gates import Gate, Violation
from bots.lifecycle import BotState
from bots.orders import DepthUse, OrderReason, OrderStatus, PositionSide
from data.models import FloatArray, IntArray, Market, Side
from data.timeframes import Timeframe


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
    """An open position. Levels are prices in quote currency, None where the strategy sets no such exit."""

    side: PositionSide
    quantity: Decimal  # base currency
    entry_price: Decimal
    entry_at_us: int
    stop_price: Decimal | None = None  # the fixed stop-loss
    target_price: Decimal | None = None
    trailing_price: Decimal | None = None  # where the trailing stop stands now
    unrealised_pnl: Decimal = Decimal(0)  # quote currency, at the last processed close, before exit fees
    symbol: str = ""  # of a bot with several; empty: its market's
    last_price: float | None = None  # that symbol's last processed close; None: the bot's own


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What a bot holds of one market."""

    market: Market
    position: PositionView
    price: Decimal  # the last processed close, else the entry's

    @property
    def value(self) -> Decimal:
        """Its worth at that price, above 0, in quote currency."""
        return self.position.quantity * self.price


class BotView(msgspec.Struct, frozen=True, kw_only=True):
    """One bot as it stands. A bot whose file is broken has state FAILED, and None where nothing is known."""

    name: str
    strategy: str  # the strategy's own name once it was loaded, the file's until then
    strategy_version: str  # hash; empty until loaded
    market: Market | None
    timeframe: Timeframe | None
    mode: str  # "paper"
    state: BotState
    desired_state: BotState  # what a person asked for
    capital: Decimal  # quote currency it began with
    equity: Decimal  # cash plus the position marked at the last processed close
    cash: Decimal
    position: PositionView | None  # None for a bot with several symbols, which has `positions`
    realised_pnl: Decimal  # closed trades, net of fees
    unrealised_pnl: Decimal
    fees_paid: Decimal
    trades: int  # closed round trips
    wins: int  # of them with a pnl above 0
    last_candle_us: int | None  # open of the last processed candle
    last_price: float | None  # its close
    last_signal: str  # "long_entry", several joined by ", "; empty when it never said anything
    last_signal_us: int | None  # open of the candle that made it
    health: str  # plain words for a person; empty when all is well
    created_at_us: int
    started_at_us: int | None  # the last start a person asked for
    updated_at_us: int
    symbols: tuple[str, ...] = ()  # of a bot with several; empty: its market's alone
    positions: tuple[PositionView, ...] = ()  # by symbol, of a bot with several; `position` is None then

    @property
    def markets(self) -> tuple[Market, ...]:
        """All that it trades; none where its market is not known."""
        if self.market is None:
            return ()
        return tuple(Market(self.market.exchange, one) for one in self.symbols) or (self.market,)

    @property
    def holds(self) -> bool:
        """Whether any position is open."""
        return self.position is not None or bool(self.positions)

    @property
    def holdings(self) -> tuple[Holding, ...]:
        """Every open position with its market."""
        if self.market is None:
            return ()
        parts = self.positions if self.position is None else (self.position,)
        return tuple(self._holding(self.market, one) for one in parts)

    def _holding(self, market: Market, position: PositionView) -> Holding:
        last = position.last_price if position.symbol else self.last_price
        return Holding(
            market=Market(market.exchange, position.symbol) if position.symbol else market,
            position=position,
            price=position.entry_price if last is None else Decimal(repr(last)),
        )

    @property
    def return_rate(self) -> float | None:
        """Equity over capital minus 1; None without capital."""
        return float(self.equity / self.capital) - 1 if self.capital else None

    @property
    def win_rate(self) -> float | None:
        """Fraction of closed trades that won; None before the first."""
        return self.wins / self.trades if self.trades else None


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """One order; `sequence` counts the bot's orders from 1."""

    bot: str
    market: Market
    sequence: int
    side: Side
    position_side: PositionSide
    reason: OrderReason
    status: OrderStatus
    decided_at_us: int
    quantity: Decimal | None
    refusal: str  # why it was refused or cancelled; empty otherwise


class FillView(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. `fee` and `slippage` are quote currency."""

    bot: str
    market: Market
    order_sequence: int
    side: Side
    position_side: PositionSide
    reason: OrderReason
    price: Decimal
    quantity: Decimal
    fee: Decimal
    slippage: Decimal
    filled_at_us: int  # open of the candle it happened in
    ambiguous: bool
    depth: DepthUse | None = None  # None: no market order, or its bot does not ask for depth


class TradeView(msgspec.Struct, frozen=True, kw_only=True):
    """A closed round trip, net of fees."""

    bot: str
    market: Market
    sequence: int  # counts the bot's closed trades from 1
    side: PositionSide
    entry_at_us: int
    entry_price: Decimal
    exit_at_us: int
    exit_price: Decimal
    quantity: Decimal
    fees: Decimal
    pnl: Decimal
    return_rate: Decimal
    exit_reason: OrderReason


class EquityPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Equity at the close of one candle, exact, in quote currency."""

    at_us: int  # close of the candle
    equity: Decimal
    cash: Decimal
    position: Decimal  # base currency, negative when short; 0 for a bot with several symbols


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityCurve:
    """Equity points as columns of shape (n,), ascending in time, for figures."""

    at_us: IntArray  # closes of candles
    equity: FloatArray
    cash: FloatArray
    position: FloatArray  # base currency, negative when short

    def __len__(self) -> int:
        return len(self.at_us)


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """What the strategy said on one closed candle, why, and what came of it."""

    bot: str
    strategy_version: str
    opened_at_us: int  # of the candle
    close: float
    long_entry: bool
    long_exit: bool
    short_entry: bool
    short_exit: bool
    outcome: (
        str  # what the bot did with it, in words: "entry ordered", "paused: no new entries"; empty: nothing
    )
    record: dict[str, Any]  # see strategies.base.Decision
    gate: Gate = Gate.NONE  # what stopped an entry, or left the signal without effect
    orders: tuple[int, ...] = ()  # sequences of the orders it led to
    violations: tuple[Violation, ...] = ()  # limits that its entry or add-on would have broken
    seen: tuple[float, float, float, float] | None = None  # the candle's open, high, low and volume


class SignalView(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a strategy said on one candle of a market: a marker on a chart."""

    strategy: str
    version: str
    market: Market
    timeframe: Timeframe
    opened_at_us: int  # of the candle that made it
    action: str  # "long_entry", "long_exit", "short_entry", "short_exit"
    close: float
    record: dict[str, Any]


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a bot's settings."""

    bot: str
    version: int  # counts from 1
    at_us: int
    who: str
    why: str
    from_file: bool
    reverts_to: int | None
    applied_at_us: int | None  # None: never in force, or not yet
    config: dict[str, Any]  # as in the bot's file


class AuditView(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the audit, which only ever grows."""

    bot: str
    at_us: int
    who: str  # "anna", "runner"
    what: str  # "created", "asked to start", "running", ...
    why: str
