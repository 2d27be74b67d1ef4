"""A strategy file's content, checked and with its parameters filled in: values, no behaviour.

`strategies.definition_reader` makes these from JSON, `strategies.rules` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.timeframes import Timeframe
from strategies.base import Protection, Sizing
from strategies.indicators.spec import IndicatorParams, IndicatorSpec

PRICE_SERIES = ("open", "high", "low", "close", "volume")  # operands every strategy has
COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
CROSSES = ("crosses_above", "crosses_below")
SLOPES = ("rising", "falling")
GROUPS = ("all", "any", "not")
OPERATORS = (*GROUPS, *COMPARISONS, *CROSSES, *SLOPES)
MAX_LOOK_BACK = 10_000  # candles, for `shift` and for `rising` and `falling`
MAX_DEPTH = 32  # conditions within conditions


@dataclass(frozen=True, slots=True)
class Constant:
    """A number in a rule: written there, or the value of a parameter."""

    value: float

    @property
    def text(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True, slots=True)
class Series:
    """A price or an indicator's output as it was `shift` candles of the strategy's time frame ago."""

    name: str  # "close", "fast", "bands.upper"
    shift: int = 0

    @property
    def text(self) -> str:
        """As records name it: "fast", one candle before "fast@1"."""
        return f"{self.name}@{self.shift}" if self.shift else self.name

    def before(self, candles: int) -> Series:
        """The same series that many candles earlier."""
        return Series(self.name, self.shift + candles)


Operand = Constant | Series


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left` against `right` on this candle: gt, gte, lt or lte."""

    operator: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Cross:
    """crosses_above: left > right on this candle and left <= right on the one before; below mirrors it."""

    operator: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Slope:
    """rising: the value is greater than it was `over` candles ago, whatever lay between; falling: smaller."""

    operator: str
    of: Series
    over: int


@dataclass(frozen=True, slots=True)
class Group:
    """`all`, `any` or `not` (which has one condition)."""

    operator: str
    conditions: tuple[Condition, ...]


Condition = Comparison | Cross | Slope | Group


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRules:
    """When to enter, leave and add to one side. Without `exit` only protection ends a position."""

    entry: Condition
    exit: Condition | None
    add: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterRange:
    """What a sweep may vary: `minimum` to `maximum` in steps of `step`, each None where not given."""

    default: float
    minimum: float | None
    maximum: float | None
    step: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorUse:
    """An indicator as a strategy uses it; `timeframe` is None for the strategy's own."""

    spec: IndicatorSpec
    params: IndicatorParams
    timeframe: Timeframe | None

    @property
    def label(self) -> str:
        """ "EMA 12", "SMA 50 1h"."""
        label = self.spec.label(self.params)
        return f"{label} {self.timeframe}" if self.timeframe else label


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyDefinition:
    """One strategy file with the parameter values in force."""

    name: str
    description: str
    timeframe: Timeframe
    parameters: Mapping[str, ParameterRange]
    values: Mapping[str, float]  # of the parameters, in force
    indicators: Mapping[str, IndicatorUse]
    long: SideRules | None
    short: SideRules | None
    protection: Protection
    sizing: Sizing
    version: str
    warnings: tuple[str, ...]  # not wrong, but likely not meant
    document: Mapping[str, Any]  # as written, but for the time frame in force
