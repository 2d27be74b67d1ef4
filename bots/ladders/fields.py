"""Every setting of a ladder: what it may be, and the sentence that says so; for parser and JSON schema."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from bots.ladders.settings import IMMEDIATELY, LadderType, Spacing
from bots.orders import PositionSide
from data.timeframes import Timeframe

MOST_LEVELS = 201
MOST_SAFETY_ORDERS = 50
MOST_ADD_ONS = 20
MOST_SYMBOLS = 20


class Kind(StrEnum):
    NUMBER = "number"
    WHOLE = "whole number"
    FLAG = "flag"
    CHOICE = "choice"
    ENTRY = "entry"
    WEIGHTS = "weights"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One setting. Bounds are exclusive at zero, inclusive elsewhere."""

    kind: Kind
    means: str
    required: bool = False
    above: Decimal | None = None
    most: Decimal | None = None
    least: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What would be right, for a person."""
        if self.kind is Kind.FLAG:
            return "must be true or false"
        if self.kind is Kind.CHOICE:
            return f"must be one of {', '.join(self.choices)}"
        if self.kind is Kind.ENTRY:
            return f'must be "{IMMEDIATELY}" or the name of a strategy file'
        if self.kind is Kind.WEIGHTS:
            return 'must be an object of symbols and weights, as in {"BTC-USDT": 0.6, "ETH-USDT": 0.3}'
        if self.kind is Kind.WHOLE:
            return f"must be a whole number from {self.least} to {self.most}"
        bounds = f"above {self.above}" + ("" if self.most is None else f" and at most {self.most}")
        return f"must be a number {bounds}: {self.means}"

    def schema(self) -> dict[str, Any]:
        """This setting in JSON Schema."""
        found: dict[str, Any] = {"description": self.means}
        if self.kind is Kind.FLAG:
            return {**found, "type": "boolean"}
        if self.kind is Kind.CHOICE:
            return {**found, "enum": list(self.choices)}
        if self.kind is Kind.ENTRY:
            return {**found, "type": "string", "minLength": 1}
        if self.kind is Kind.WEIGHTS:
            return {
                **found,
                "type": "object",
                "minProperties": 1,
                "maxProperties": MOST_SYMBOLS,
                "propertyNames": {"pattern": "^[A-Z0-9]+-[A-Z0-9]+(-[A-Z0-9]+)*$"},
                "additionalProperties": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            }
        if self.kind is Kind.WHOLE:
            assert self.most is not None
            return {**found, "type": "integer", "minimum": self.least, "maximum": int(self.most)}
        assert self.above is not None
        bounds: dict[str, Any] = {"exclusiveMinimum": int(self.above)}
        if self.most is not None:
            bounds["maximum"] = int(self.most)
        return {**found, "type": "number", **bounds}


def _amount(means: str, *, required: bool = False) -> Field:
    return Field(kind=Kind.NUMBER, means=means, required=required, above=Decimal(0))


def _fraction(means: str, *, required: bool = False) -> Field:
    return Field(kind=Kind.NUMBER, means=means, required=required, above=Decimal(0), most=Decimal(1))


def _scale(means: str) -> Field:
    return Field(kind=Kind.NUMBER, means=means, above=Decimal(0), most=Decimal(10))


def _whole(means: str, least: int, most: int, *, required: bool = True) -> Field:
    return Field(kind=Kind.WHOLE, means=means, required=required, least=least, most=Decimal(most))


_SIDE = Field(
    kind=Kind.CHOICE, means="the side it trades on", choices=tuple(side.value for side in PositionSide)
)
_ENTRY = Field(kind=Kind.ENTRY, means='what begins a round: "immediately", or a strategy file')
_ROUNDS = _whole("losing rounds after which the bot ends", 1, 1_000, required=False)

FIELDS: dict[LadderType, dict[str, Field]] = {
    LadderType.GRID: {
        "lower": _amount("the lowest price", required=True),
        "upper": _amount("the highest price", required=True),
        "levels": _whole("prices from lower to upper, both included", 2, MOST_LEVELS),
        "order_notional": _amount("quote currency of each rung", required=True),
        "spacing": Field(
            kind=Kind.CHOICE,
            means="equal distances (arithmetic) or equal ratios (geometric)",
            choices=tuple(spacing.value for spacing in Spacing),
        ),
        "trailing_up": Field(
            kind=Kind.FLAG, means="whether the range follows a price that leaves it upwards"
        ),
        "buy_at_start": Field(kind=Kind.FLAG, means="whether rungs above the first price are bought at once"),
        "stop_price": _amount("where everything is sold and the grid ends"),
    },
    LadderType.DCA: {
        "base_notional": _amount("quote currency of the entry", required=True),
        "safety_notional": _amount("quote currency of the first safety order", required=True),
        "safety_orders": _whole("how many safety orders", 0, MOST_SAFETY_ORDERS),
        "step": _fraction("distance from the entry to the first safety order", required=True),
        "take_profit": _fraction("distance from the average price to the exit", required=True),
        "step_scale": _scale("each distance over the one before"),
        "volume_scale": _scale("each amount over the one before"),
        "stop_loss": _fraction("distance from the entry to the stop, beyond the last safety order"),
        "side": _SIDE,
        "entry": _ENTRY,
        "losing_rounds": _ROUNDS,
    },
    LadderType.PYRAMID: {
        "first_notional": _amount("quote currency of the entry", required=True),
        "add_notional": _amount("quote currency of the first add-on", required=True),
        "add_ons": _whole("how many add-ons", 1, MOST_ADD_ONS),
        "every": _fraction("distance from the newest fill to a close that asks for the next", required=True),
        "stop_loss": _fraction("distance of the stop from the newest fill", required=True),
        "volume_scale": _scale("each amount over the one before"),
        "take_profit": _fraction("distance from the average price to the exit"),
        "add_rule": Field(kind=Kind.FLAG, means="whether the entry strategy's `add` rule must hold as well"),
        "side": _SIDE,
        "entry": _ENTRY,
        "losing_rounds": _ROUNDS,
    },
    LadderType.REBALANCE: {
        "weights": Field(kind=Kind.WEIGHTS, means="weight of each symbol, the rest is cash", required=True),
        "threshold": _fraction("distance from a weight, as a share of the equity, that asks to rebalance"),
        "every": Field(
            kind=Kind.CHOICE,
            means="rebalance at the first close of each such interval",
            choices=tuple(frame.value for frame in Timeframe),
        ),
        "stop_loss": _fraction("share of the capital lost at which everything is sold"),
    },
}


def settings_schema() -> dict[str, Any]:
    """The JSON Schema of `type` and `settings` in a bot's file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Candlewick bot with several orders",
        "description": "The keys of a bot's file that make it a grid, a DCA bot, a pyramid or a basket.",
        "type": "object",
        "required": ["type", "settings"],
        "oneOf": [
            {
                "properties": {
                    "type": {"const": kind.value},
                    "settings": {
                        "type": "object",
                        "properties": {name: field.schema() for name, field in fields.items()},
                        "required": [name for name, field in fields.items() if field.required],
                        "additionalProperties": False,
                    },
                }
            }
            for kind, fields in FIELDS.items()
        ],
    }
