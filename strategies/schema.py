"""The JSON Schema of strategy files, for editors and other programs, made from what the reader accepts.

A schema cannot see everything: that names are declared, that a higher time frame is a multiple, that a
parameter keeps its bounds. Whatever the reader accepts is valid under the schema; the reader has the last
word.
"""

from __future__ import annotations

from typing import Any

from data.timeframes import Timeframe
from strategies.base import MOST_ADD_ONS, MOST_TARGETS, LevelBase, SizingType
from strategies.definition import COMPARISONS, CROSSES, MAX_LOOK_BACK, SLOPES
from strategies.definition_reader import NAME
from strategies.indicators.registry import INDICATORS
from strategies.indicators.spec import IndicatorParameter, IndicatorSpec, ParameterKind

Schema = dict[str, Any]


def strategy_schema() -> Schema:
    """JSON Schema, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Candlewick strategy",
        "description": "Rules on closed candles; parameters are what a sweep may vary.",
        **_object(
            {
                "name": {"type": "string", "minLength": 1, "maxLength": 100},
                "description": {"type": "string", "minLength": 1, "maxLength": 1000},
                "timeframe": {"enum": [timeframe.value for timeframe in Timeframe]},
                "parameters": _named(_ref("parameter")),
                "indicators": _named(_ref("indicator")),
                "long": _ref("side"),
                "short": _ref("side"),
                "protection": _ref("protection"),
                "sizing": _ref("sizing"),
                "add_ons": _ref("add_ons"),
            },
            required=["name", "timeframe"],
        ),
        "anyOf": [{"required": ["long"]}, {"required": ["short"]}],
        "$defs": {
            "parameter": _object(
                {
                    "default": {"type": "number"},
                    "min": {"type": "number"},
                    "max": {"type": "number"},
                    "step": {"type": "number", "exclusiveMinimum": 0},
                },
                required=["default"],
            ),
            "parameter_reference": _object({"parameter": {"type": "string"}}, required=["parameter"]),
            "indicator": {"oneOf": [_indicator(spec) for spec in INDICATORS.values()]},
            "side": _object(
                {"entry": _ref("condition"), "exit": _ref("condition"), "add": _ref("condition")},
                required=["entry"],
            ),
            "condition": {"oneOf": _conditions()},
            "operand": {
                "oneOf": [
                    {"type": "number"},
                    {
                        "type": "string",
                        "description": "a price, an indicator, or an output of it: bands.upper",
                    },
                    _ref("shifted"),
                    _ref("parameter_reference"),
                ]
            },
            "shifted": _object(
                {"of": {"type": "string"}, "shift": _or_parameter(_count(0))}, required=["of", "shift"]
            ),
            "protection": _object(
                {
                    "stop_loss": _optional(_fraction(below=1)),
                    "take_profit": {
                        "oneOf": [*_optional(_fraction(most=1000))["oneOf"], _ref("targets")],
                    },
                    "trailing_stop": _optional(_fraction(below=1)),
                }
            ),
            "targets": {
                "type": "array",
                "description": "each takes a fraction of all that was bought; the nearest comes first",
                "minItems": 1,
                "maxItems": MOST_TARGETS,
                "items": _object(
                    {
                        "at": _or_parameter(_fraction(most=1000)),
                        "fraction": _or_parameter(_fraction(most=1)),
                    },
                    required=["at", "fraction"],
                ),
            },
            "add_ons": _object(
                {
                    "most": _or_parameter({"type": "integer", "minimum": 1, "maximum": MOST_ADD_ONS}),
                    "size": _or_parameter(_fraction(most=10)),
                    "every": _optional(
                        {"type": "number", "exclusiveMinimum": -1, "exclusiveMaximum": 1, "not": {"const": 0}}
                    ),
                    "levels": {"enum": [base.value for base in LevelBase]},
                },
                required=["most", "size"],
            ),
            "sizing": _object(
                {
                    "type": {"enum": [kind.value for kind in SizingType]},
                    "value": _or_parameter(_fraction(most=1)),
                }
            ),
        },
    }


def _conditions() -> list[Schema]:
    several = {"type": "array", "items": _ref("condition"), "minItems": 1}
    pair = {"type": "array", "items": _ref("operand"), "minItems": 2, "maxItems": 2}
    moving = {"oneOf": [{"type": "string"}, _ref("shifted")]}
    over = _or_parameter(_count(1))
    slope = {
        "oneOf": [
            {"type": "array", "prefixItems": [moving, over], "minItems": 2, "maxItems": 2},
            _object({"of": moving, "over": over}, required=["of", "over"]),
        ]
    }
    contents: dict[str, Schema] = {
        "all": several,
        "any": several,
        "not": _ref("condition"),
        **dict.fromkeys([*COMPARISONS, *CROSSES], pair),
        **dict.fromkeys(SLOPES, slope),
    }
    return [_object({operator: content}, required=[operator]) for operator, content in contents.items()]


def _indicator(spec: IndicatorSpec) -> Schema:
    properties: dict[str, Schema] = {
        "type": {"const": spec.name},
        "timeframe": {"enum": [timeframe.value for timeframe in Timeframe]},
    }
    properties.update({parameter.name: _indicator_parameter(parameter) for parameter in spec.parameters})
    return {"description": spec.summary, **_object(properties, required=["type"])}


def _indicator_parameter(parameter: IndicatorParameter) -> Schema:
    about = {"description": parameter.summary, "default": parameter.default}
    if parameter.kind is ParameterKind.CHOICE:
        return {**about, "enum": list(parameter.choices)}
    # JSON Schema takes 14.0 for an integer, as the reader does.
    number: Schema = {"type": parameter.kind.value}
    if parameter.minimum > float("-inf"):
        number["minimum"] = parameter.minimum
    if parameter.maximum < float("inf"):
        number["maximum"] = parameter.maximum
    return {**about, **_or_parameter(number)}


def _object(properties: dict[str, Schema], required: list[str] | None = None) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _named(items: Schema) -> Schema:
    """An object with names of our grammar as keys."""
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
        "additionalProperties": items,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or_parameter(number: Schema) -> Schema:
    return {"oneOf": [number, _ref("parameter_reference")]}


def _optional(number: Schema) -> Schema:
    return {"oneOf": [number, _ref("parameter_reference"), {"type": "null"}]}


def _count(least: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": MAX_LOOK_BACK}


def _fraction(*, below: float | None = None, most: float | None = None) -> Schema:
    schema: Schema = {"type": "number", "exclusiveMinimum": 0}
    if below is not None:
        schema["exclusiveMaximum"] = below
    if most is not None:
        schema["maximum"] = most
    return schema
