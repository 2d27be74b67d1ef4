"""Rules and decision records in words, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strategies.definition import (
    COMPARISONS,
    Comparison,
    Condition,
    Cross,
    Group,
    Slope,
)

_OUTCOMES = {True: "yes", False: "no", None: "not known yet"}


def condition_text(condition: Condition) -> str:
    """A condition as a sentence: "fast crosses above slow and rsi < 70"."""
    match condition:
        case Comparison(operator, left, right):
            return f"{left.text} {COMPARISONS[operator]} {right.text}"
        case Cross(operator, left, right):
            return f"{left.text} {_verb(operator)} {right.text}"
        case Slope(operator, of, over):
            return f"{of.text} {operator} over {over} {_candles(over)}"
        case Group("not", (only,)):
            return f"not ({condition_text(only)})"
        case Group(operator, conditions):
            joined = " and " if operator == "all" else " or "
            return joined.join(
                f"({condition_text(inner)})" if isinstance(inner, Group) else condition_text(inner)
                for inner in conditions
            )


def explain(record: Mapping[str, Any]) -> dict[str, str]:
    """Why each rule of a `Decision.record` held or did not, by rule ("long.entry").

    "rsi 31.4 < 35 yes · close 61,250 > trend 60,900 yes -> entry"; " · " joins what must all hold, " or "
    what need not. Ends in "entry" or "exit", or "no entry" or "no exit".
    """
    values = record["values"]
    found = {}
    for rule, node in record["rules"].items():
        action = rule.partition(".")[2]
        verdict = action if node[0] is True else f"no {action}"
        found[rule] = f"{_node_text(node, values)} -> {verdict}"
    return found


def _node_text(node: list[Any], values: Mapping[str, float | None]) -> str:
    outcome, operator, *content = node
    if operator == "not":
        return f"not ({_node_text(content[0], values)}) {_OUTCOMES[outcome]}"
    if operator in ("all", "any"):
        parts = [_node_text(inner, values) for inner in content]
        grouped = [
            f"({part})" if inner[1] in ("all", "any") and len(inner) > 3 else part
            for inner, part in zip(content, parts, strict=True)
        ]
        return (" · " if operator == "all" else " or ").join(grouped)
    if operator in ("rising", "falling"):
        name, over = content
        then = _number(values[_earlier(name, over)])
        text = f"{_seen(name, values)} {operator} over {over} {_candles(over)} (from {then})"
    elif operator in COMPARISONS:
        left, right = content
        text = f"{_seen(left, values)} {COMPARISONS[operator]} {_seen(right, values)}"
    else:
        left, right = content
        before = ", ".join(_number(values[_earlier(name, 1)]) for name in content if isinstance(name, str))
        text = f"{_seen(left, values)} {_verb(operator)} {_seen(right, values)} (before: {before})"
    return f"{text} {_OUTCOMES[outcome]}"


def _seen(operand: str | float, values: Mapping[str, float | None]) -> str:
    """ "rsi 31.4" for a name, "35" for a number."""
    return f"{operand} {_number(values[operand])}" if isinstance(operand, str) else _number(operand)


def _earlier(name: str, candles: int) -> str:
    base, _, shift = name.partition("@")
    return f"{base}@{int(shift or 0) + candles}"


def _number(value: float | None) -> str:
    """Six significant digits, but never fewer than the whole part has: 31.4, 61,250, 0.000123457."""
    if value is None:
        return "missing"
    if abs(value) >= 100_000:
        return f"{value:,.0f}"
    text = f"{value:.6g}"
    if "e" in text:
        return text
    whole, dot, fraction = text.partition(".")
    return f"{int(whole):,}{dot}{fraction}" if abs(value) >= 1000 else text


def _verb(operator: str) -> str:
    return operator.replace("_", " ")


def _candles(count: int) -> str:
    return "candle" if count == 1 else "candles"
