"""What people set of a bot that places several orders. Amounts are quote currency, rates are fractions."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from bots.orders import PositionSide
from data.timeframes import Timeframe

IMMEDIATELY = "immediately"


class LadderType(StrEnum):
    """`type` in a bot's file."""

    GRID = "grid"
    DCA = "dca"
    PYRAMID = "pyramid"
    REBALANCE = "rebalance"


class Spacing(StrEnum):
    ARITHMETIC = "arithmetic"  # equal distances in quote currency
    GEOMETRIC = "geometric"  # equal ratios


class GridSettings(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="grid"):
    """Buys at every price of a range and sells each of them one price higher."""

    lower: Decimal
    upper: Decimal
    levels: int  # prices from `lower` to `upper`, both included; one rung less
    order_notional: Decimal  # of each rung
    spacing: Spacing = Spacing.ARITHMETIC
    trailing_up: bool = False  # the range follows a price that has left it upwards
    buy_at_start: bool = False  # rungs above the first price are bought at once
    stop_price: Decimal | None = None  # all is sold there and the grid ends; follows a trailing range


class DcaSettings(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="dca"):
    """An entry, safety orders further and further against it, and one exit above the average price."""

    base_notional: Decimal
    safety_notional: Decimal  # of the first safety order
    safety_orders: int
    step: Decimal  # from the entry to the first safety order
    take_profit: Decimal  # from the average price
    step_scale: Decimal = Decimal(1)  # each distance over the one before
    volume_scale: Decimal = Decimal(1)  # each amount over the one before
    stop_loss: Decimal | None = None  # from the entry, beyond the last safety order
    side: PositionSide = PositionSide.LONG
    entry: str = IMMEDIATELY  # or a strategy file whose entry signals begin a round
    losing_rounds: int = 1  # after so many the bot ends


class PyramidSettings(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="pyramid"):
    """An entry that is added to as the price goes its way, under a stop that follows each add-on."""

    first_notional: Decimal
    add_notional: Decimal  # of the first add-on
    add_ons: int
    every: Decimal  # from the newest fill to the close that asks for the next
    stop_loss: Decimal  # from the newest fill; never loosened
    volume_scale: Decimal = Decimal(1)
    take_profit: Decimal | None = None  # from the average price
    add_rule: bool = False  # only where the entry strategy's `add` rule holds as well
    side: PositionSide = PositionSide.LONG
    entry: str = IMMEDIATELY
    losing_rounds: int = 1


class RebalanceSettings(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="rebalance"):
    """A basket of symbols whose parts are brought back to their weights."""

    weights: dict[str, Decimal]  # by symbol; what is left of 1 stays cash
    threshold: Decimal | None = None  # once a part is this far from its weight, as a share of the equity
    every: Timeframe | None = None  # and at the first close of each such interval
    stop_loss: Decimal | None = None  # of the capital: all is sold and the bot ends


LadderSettings = GridSettings | DcaSettings | PyramidSettings
AnySettings = LadderSettings | RebalanceSettings
SETTINGS: dict[LadderType, type[AnySettings]] = {
    LadderType.GRID: GridSettings,
    LadderType.DCA: DcaSettings,
    LadderType.PYRAMID: PyramidSettings,
    LadderType.REBALANCE: RebalanceSettings,
}


def type_of(settings: AnySettings) -> LadderType:
    """What kind of bot has these settings."""
    return next(kind for kind, made in SETTINGS.items() if isinstance(settings, made))


def entry_of(settings: AnySettings) -> str | None:
    """The strategy file whose signals begin a round; None where none is asked."""
    entry = getattr(settings, "entry", IMMEDIATELY)
    return None if entry == IMMEDIATELY else str(entry)


def towards(side: PositionSide) -> int:
    """+1 where rising prices are gains, else -1."""
    return 1 if side is PositionSide.LONG else -1
