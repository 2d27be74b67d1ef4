"""What every strategy offers, whether it was written as JSON or in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from data.models import BoolArray, Candle, FloatArray, Ohlcv
from data.timeframes import Timeframe

MOST_ADD_ONS = 50
MOST_TARGETS = 8


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A take-profit for a part of the position."""

    at: float  # distance from the price that levels hang on, as a fraction of it
    fraction: float  # of all that entry and add-ons bought


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """Exits armed at the entry fill, as fractions of the entry price; None for no such exit."""

    stop_loss: float | None = None
    take_profit: float | None = None  # for the whole position, or
    trailing_stop: float | None = None
    targets: tuple[Target, ...] = ()  # for parts of it, the nearest first


class SizingType(StrEnum):
    FRACTION_OF_EQUITY = (
        "fraction_of_equity"  # of the equity at the fill; 1 means all cash left after the fee
    )


class LevelBase(StrEnum):
    """The price that stops and targets hang on once there are add-ons."""

    ENTRY = "entry"  # of the first fill
    AVERAGE = "average"  # of all that is held


class AddOns(msgspec.Struct, frozen=True, kw_only=True):
    """When and how a position grows after its entry."""

    most: int  # add-ons in one position
    size: float  # of one, as a share of the entry's quantity
    every: float | None = None  # only this far beyond the fill before (below 0: against the position)
    by_rule: bool = False  # only where the side's `add` rule holds
    levels: LevelBase = LevelBase.AVERAGE


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """How much an entry buys or sells short, and what is added to it later."""

    type: SizingType = SizingType.FRACTION_OF_EQUITY
    value: Decimal = Decimal(1)
    add_ons: AddOns | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What a strategy says on each closed candle, shape (n,); row i depends on candles up to i alone."""

    long_entry: BoolArray
    long_exit: BoolArray
    short_entry: BoolArray
    short_exit: BoolArray
    long_add: BoolArray | None = None  # None: never
    short_add: BoolArray | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy says on one closed candle and, taken or not, why."""

    strategy: str
    version: str
    opened_at_us: int  # of the candle that made it
    close: float  # of that candle
    long_entry: bool
    long_exit: bool
    short_entry: bool
    short_exit: bool
    long_add: bool = False
    short_add: bool = False
    record: dict[str, Any]  # the condition trees' outcomes with the values they saw; plain JSON values

    @property
    def says_nothing(self) -> bool:
        return not (
            self.long_entry
            or self.long_exit
            or self.short_entry
            or self.short_exit
            or self.long_add
            or self.short_add
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """One line a strategy computes, to be drawn: `values` of shape (n,), NaN while warming up."""

    name: str  # "fast", "bands.upper"
    label: str  # "EMA 12"
    pane: str  # "price", or the name of a pane of its own
    values: FloatArray


class StrategyStream(Protocol):
    """A strategy fed candle by candle. Same values, same decisions as over the whole array."""

    def update(self, candle: Candle) -> Decision:
        """Take the next closed candle of the strategy's time frame. Candles come in ascending order."""
        ...


class Strategy(Protocol):
    """Immutable; everything that varies came in when it was made."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str:
        """Hash of the definition and the parameter values in force: equal hashes decide alike."""
        ...

    @property
    def timeframe(self) -> Timeframe: ...
    @property
    def parameters(self) -> Mapping[str, float]:
        """Parameter values in force."""
        ...

    @property
    def protection(self) -> Protection: ...
    @property
    def sizing(self) -> Sizing: ...
    @property
    def warmup(self) -> int:
        """Candles of `timeframe` to be seen before values settle: history to load before going live."""
        ...

    def signals(self, ohlcv: Ohlcv) -> Signals: ...

    def stream(self) -> StrategyStream:
        """A fresh stream, before its first candle."""
        ...

    def overlays(self, ohlcv: Ohlcv) -> Sequence[Overlay]: ...
