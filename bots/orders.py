"""Orders, fills and the terms they are made on. Money is exact here: `Decimal`, quote currency per base."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from data.models import Side


class PositionSide(StrEnum):
    LONG = "long"
    SHORT = "short"


class OrderReason(StrEnum):
    """Why an order was made; an exit's reason is also the trade's `exit_reason`."""

    ENTRY = "entry"
    EXIT_SIGNAL = "signal"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TRAILING_STOP = "trailing_stop"
    END = "end"  # --close-at-end
    FLATTEN = "flatten"  # a person, or on_restart
    ADD_ON = "add_on"


# Reasons of orders that open or enlarge a position: all that limits and an emergency stop keep back.
GROWING = frozenset({OrderReason.ENTRY, OrderReason.ADD_ON})


class OrderStatus(StrEnum):
    PENDING = "pending"  # waits for the next candle's open
    FILLED = "filled"
    REFUSED = "refused"  # `refusal` says why
    CANCELLED = "cancelled"


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What a fill costs, in basis points (1/10,000) of the notional or the price."""

    fee_bps: Decimal = Decimal(10)  # taker
    maker_fee_bps: Decimal = Decimal(10)
    slippage_bps: Decimal = Decimal(0)  # worsens the price of market and stop fills


class TradingRules(msgspec.Struct, frozen=True, kw_only=True):
    """The steps and minima of an instrument; None where orders are not rounded."""

    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    min_quantity: Decimal = Decimal(0)
    min_notional: Decimal = Decimal(0)


class RulesFrom(msgspec.Struct, frozen=True, kw_only=True):
    """Rules that an instrument has had since a time, until the next ones."""

    valid_from_us: int
    rules: TradingRules


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One wish to trade. `sequence` counts a bot's orders from 1, so that none can be made twice."""

    sequence: int
    side: Side
    position_side: PositionSide
    reason: OrderReason
    status: OrderStatus
    decided_at_us: (
        int  # close of the candle whose signal made it, or open of the candle a protective exit hit
    )
    quantity: Decimal | None = None  # None for an entry until its fill is sized
    refusal: str = ""
    symbol: str = ""  # of a bot with several; empty: the one its account follows


class LimitOrder(Order, frozen=True, kw_only=True, gc=False):
    """An order that rests in the market until the price goes through its own."""

    limit_price: Decimal


class DepthUse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a market order met the recorded order book."""

    snapshot_us: int | None  # the snapshot's time, the venue's clock; None where none was recorded
    digest: str = ""  # of all levels of its side, by which a change of them is found
    levels: tuple[tuple[Decimal, Decimal], ...] = ()  # price and quantity of each that was taken, best first
    beyond: Decimal = Decimal(0)  # quantity that they did not hold, filled behind the last recorded level
    behind: Decimal = Decimal(0)  # the price of that; 0 where there is none
    plain: str = ""  # why the candle's open was taken instead of levels; empty where they were


class Fill(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One execution of an order. `fee` is in quote currency and never negative."""

    order_sequence: int
    side: Side
    position_side: PositionSide
    reason: OrderReason
    price: Decimal
    quantity: Decimal
    fee: Decimal
    slippage: Decimal  # quote currency lost to slippage, depth and rounding, against the reference price
    filled_at_us: int  # open of the candle it happened in, or of the finer data that decided it
    ambiguous: bool = False  # stop and target lay inside one candle and nothing finer decided
    symbol: str = ""  # as its order's
    depth: DepthUse | None = None  # None: the order was no market order, or its bot does not ask for depth


class ClosedTrade(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A round trip, net of fees: of a whole position, or of the part that one exit closed.

    `entry_price` is the average of what was bought, of 20 digits where add-ons make it one without end.
    """

    side: PositionSide
    entry_at_us: int
    entry_price: Decimal
    exit_at_us: int
    exit_price: Decimal
    quantity: Decimal
    fees: Decimal
    pnl: Decimal  # quote currency
    return_rate: Decimal  # pnl over the entry's cost
    exit_reason: OrderReason
    symbol: str = ""  # as its orders'
