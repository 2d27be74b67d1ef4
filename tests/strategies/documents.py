"""Strategy documents for tests."""

from __future__ import annotations

import copy
from typing import Any

# The example of the file format's description, word for word.
EXAMPLE: dict[str, Any] = {
    "name": "ema-cross-with-trend",
    "timeframe": "5m",
    "parameters": {
        "fast": {"default": 12, "min": 5, "max": 50, "step": 1},
        "slow": {"default": 26, "min": 10, "max": 200, "step": 2},
    },
    "indicators": {
        "fast": {"type": "ema", "period": {"parameter": "fast"}},
        "slow": {"type": "ema", "period": {"parameter": "slow"}},
        "rsi": {"type": "rsi", "period": 14},
        "trend": {"type": "sma", "period": 50, "timeframe": "1h"},
        "bands": {"type": "bollinger", "period": 20, "deviations": 2.0},
    },
    "long": {
        "entry": {
            "all": [{"crosses_above": ["fast", "slow"]}, {"gt": ["close", "trend"]}, {"lt": ["rsi", 70]}]
        },
        "exit": {"any": [{"crosses_below": ["fast", "slow"]}, {"gt": ["close", "bands.upper"]}]},
    },
    "protection": {"stop_loss": 0.02, "take_profit": 0.04, "trailing_stop": 0.015},
    "sizing": {"type": "fraction_of_equity", "value": 1.0},
}


def example(**changes: Any) -> dict[str, Any]:
    """A copy of the example with some top-level keys replaced."""
    return {**copy.deepcopy(EXAMPLE), **changes}


def nested(depth: int) -> dict[str, Any]:
    """`depth` conditions, each in the one before."""
    rule: dict[str, Any] = {"gt": ["close", 1]}
    for _ in range(depth - 1):
        rule = {"not": rule}
    return rule


# What is put where in the example, and the field that must be named.
BROKEN: list[tuple[str, Any, str]] = [
    ("name", "", "name"),
    ("name", 7, "name"),
    ("name", "two\nlines", "name"),
    ("description", 7, "description"),
    ("timeframe", "7m", "timeframe"),
    ("timeframe", 5, "timeframe"),
    ("timeframe", None, "timeframe"),
    ("timeframe", "1h", "indicators.trend.timeframe"),
    ("parameters", [], "parameters"),
    ("parameters.fast", 12, "parameters.fast"),
    ("parameters.fast", {"min": 5}, "parameters.fast.default"),
    ("parameters.fast", {"default": "12"}, "parameters.fast.default"),
    ("parameters.fast", {"default": True}, "parameters.fast.default"),
    ("parameters.fast", {"default": 3, "min": 5}, "parameters.fast.default"),
    ("parameters.fast", {"default": 13, "max": 12}, "parameters.fast.default"),
    ("parameters.fast", {"default": 7, "min": 9, "max": 5}, "parameters.fast.min"),
    ("parameters.fast", {"default": 7, "step": 0}, "parameters.fast.step"),
    ("parameters.fast", {"default": 7, "step": -1}, "parameters.fast.step"),
    ("parameters.fast", {"default": 7, "maximum": 9}, "parameters.fast.maximum"),
    ("parameters.fast", {"default": 7.5}, "indicators.fast.period"),
    ("parameters.fast", {"default": 0}, "indicators.fast.period"),
    ("parameters.a b", {"default": 7}, "parameters.a b"),
    ("indicators", [], "indicators"),
    ("indicators.rsi", "rsi", "indicators.rsi"),
    ("indicators.rsi", {}, "indicators.rsi.type"),
    ("indicators.rsi", {"type": "rsii"}, "indicators.rsi.type"),
    ("indicators.rsi", {"type": 7}, "indicators.rsi.type"),
    ("indicators.rsi", {"type": "rsi", "periods": 14}, "indicators.rsi.periods"),
    ("indicators.rsi", {"type": "rsi", "period": 1}, "indicators.rsi.period"),
    ("indicators.rsi", {"type": "rsi", "period": -3}, "indicators.rsi.period"),
    ("indicators.rsi", {"type": "rsi", "period": "14"}, "indicators.rsi.period"),
    ("indicators.rsi", {"type": "rsi", "period": 14.5}, "indicators.rsi.period"),
    ("indicators.rsi", {"type": "rsi", "period": None}, "indicators.rsi.period"),
    ("indicators.rsi", {"type": "rsi", "period": {"parameter": "fats"}}, "indicators.rsi.period.parameter"),
    ("indicators.rsi", {"type": "rsi", "period": {"param": "fast"}}, "indicators.rsi.period"),
    ("indicators.rsi", {"type": "rsi", "source": "colse"}, "indicators.rsi.source"),
    ("indicators.rsi", {"type": "rsi", "source": {"parameter": "fast"}}, "indicators.rsi.source"),
    ("indicators.rsi", {"type": "rsi", "timeframe": "5m"}, "indicators.rsi.timeframe"),
    ("indicators.rsi", {"type": "rsi", "timeframe": "1m"}, "indicators.rsi.timeframe"),
    ("indicators.rsi", {"type": "rsi", "timeframe": "hour"}, "indicators.rsi.timeframe"),
    ("indicators.rsi", {"type": "macd", "fast": 26, "slow": 12}, "indicators.rsi"),
    ("indicators.close", {"type": "rsi"}, "indicators.close"),
    ("indicators.b.c", {"type": "rsi"}, "indicators.b.c"),
    ("long", [], "long"),
    ("long", {}, "long.entry"),
    ("long", {"exit": {"gt": ["close", 1]}}, "long.entry"),
    ("long.entyr", {"gt": ["close", 1]}, "long.entyr"),
    ("long.entry", None, "long.entry"),
    ("long.entry", [], "long.entry"),
    ("long.entry", {}, "long.entry"),
    ("long.entry", "fast > slow", "long.entry"),
    ("long.entry", {"gt": ["close", 1], "lt": ["close", 9]}, "long.entry"),
    ("long.entry", {"greater": ["close", 1]}, "long.entry.greater"),
    ("long.entry", {"all": []}, "long.entry.all"),
    ("long.entry", {"any": []}, "long.entry.any"),
    ("long.entry", {"all": {"gt": ["close", 1]}}, "long.entry.all"),
    ("long.entry", {"all": [{"gt": ["close", 1]}, {"gt": ["clse", 1]}]}, "long.entry.all[1].gt[0]"),
    ("long.entry", {"any": [{"all": [{"lt": [1, "x"]}]}]}, "long.entry.any[0].all[0].lt[1]"),
    ("long.entry", {"not": [{"gt": ["close", 1]}]}, "long.entry.not"),
    ("long.entry", {"not": {"gt": ["close"]}}, "long.entry.not.gt"),
    ("long.entry", {"gt": ["close", 1, 2]}, "long.entry.gt"),
    ("long.entry", {"gt": "close"}, "long.entry.gt"),
    ("long.entry", {"gt": ["close", None]}, "long.entry.gt[1]"),
    ("long.entry", {"gt": ["close", True]}, "long.entry.gt[1]"),
    ("long.entry", {"gt": ["close", "70"]}, "long.entry.gt[1]"),
    ("long.entry", {"gt": ["close", []]}, "long.entry.gt[1]"),
    ("long.entry", {"gt": ["bands", 1]}, "long.entry.gt[0]"),
    ("long.entry", {"gt": ["bands.uper", 1]}, "long.entry.gt[0]"),
    ("long.entry", {"gt": ["fast.upper", 1]}, "long.entry.gt[0]"),
    ("long.entry", {"gt": ["close.value", 1]}, "long.entry.gt[0]"),
    ("long.entry", {"gt": ["close", {"parameter": "trend"}]}, "long.entry.gt[1].parameter"),
    ("long.entry", {"gt": ["close", {"parameter": 3}]}, "long.entry.gt[1].parameter"),
    ("long.entry", {"gt": ["close", {"of": "fast"}]}, "long.entry.gt[1].shift"),
    ("long.entry", {"gt": ["close", {"of": "fast", "shift": -1}]}, "long.entry.gt[1].shift"),
    ("long.entry", {"gt": ["close", {"of": "fast", "shift": 1.5}]}, "long.entry.gt[1].shift"),
    ("long.entry", {"gt": ["close", {"of": "fast", "shift": 99999}]}, "long.entry.gt[1].shift"),
    ("long.entry", {"gt": ["close", {"of": "fats", "shift": 1}]}, "long.entry.gt[1].of"),
    ("long.entry", {"gt": ["close", {"of": 7, "shift": 1}]}, "long.entry.gt[1].of"),
    ("long.entry", {"gt": ["close", {"of": "fast", "shift": 1, "by": 2}]}, "long.entry.gt[1].by"),
    ("long.entry", {"gt": ["close", {"shift": 1}]}, "long.entry.gt[1]"),
    ("long.entry", {"crosses_above": ["fast"]}, "long.entry.crosses_above"),
    ("long.entry", {"crosses_above": [1, 2]}, "long.entry.crosses_above"),
    ("long.entry", {"rising": "fast"}, "long.entry.rising"),
    ("long.entry", {"rising": ["fast"]}, "long.entry.rising"),
    ("long.entry", {"rising": ["fast", 0]}, "long.entry.rising[1]"),
    ("long.entry", {"rising": ["fast", 1.5]}, "long.entry.rising[1]"),
    ("long.entry", {"rising": [3, 3]}, "long.entry.rising[0]"),
    ("long.entry", {"falling": {"of": "fast", "over": -1}}, "long.entry.falling.over"),
    ("long.entry", {"falling": {"of": "fast", "for": 3}}, "long.entry.falling"),
    ("long.entry", nested(33), "long.entry" + ".not" * 32),
    ("short", {"entry": {"gt": ["clos", 1]}}, "short.entry.gt[0]"),
    ("protection", [], "protection"),
    ("protection.stop", 0.02, "protection.stop"),
    ("protection.stop_loss", 0, "protection.stop_loss"),
    ("protection.stop_loss", -0.02, "protection.stop_loss"),
    ("protection.stop_loss", 1, "protection.stop_loss"),
    ("protection.stop_loss", "2%", "protection.stop_loss"),
    ("protection.stop_loss", {"parameter": "fast"}, "protection.stop_loss"),
    ("protection.take_profit", 0, "protection.take_profit"),
    ("protection.trailing_stop", 2, "protection.trailing_stop"),
    ("sizing.type", "all_in", "sizing.type"),
    ("sizing.value", 0, "sizing.value"),
    ("sizing.value", 1.5, "sizing.value"),
    ("sizing.amount", 1, "sizing.amount"),
    ("sizing", None, "sizing"),
    ("indicator", {}, "indicator"),
]


def broken(place: str, content: object) -> dict[str, Any]:
    """The example with `content` at `place`: a top-level key, or a key of what that holds."""
    document = example()
    section, dot, key = place.partition(".")
    if dot:
        document[section][key] = content
    else:
        document[section] = content
    return document
