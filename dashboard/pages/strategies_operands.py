"""What a person writes in a field of the form, as JSON values and back; and what its buttons add."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dashboard.pages.strategies_text import renamed, steps_of, value_at, with_value, without
from strategies.definition import GROUPS, PRICE_SERIES, SLOPES
from strategies.indicators.registry import INDICATORS

_PARAMETER = re.compile(r"parameter:\s*(\S+)")
_FIRST_CONDITION: dict[str, Any] = {"gt": ["close", "open"]}


def operand_text(value: object) -> str:
    """An operand as the form writes it: `70`, `fast`, `fast@1`, `parameter: slow`; empty for none."""
    if value is None:
        return ""
    if isinstance(value, dict):
        if set(value) == {"parameter"}:
            return f"parameter: {value['parameter']}"
        if set(value) == {"of", "shift"} and isinstance(value["of"], str):
            return f"{value['of']}@{operand_text(value['shift'])}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def operand_of(text: str) -> Any:
    """The reverse of `operand_text`. What is no number and no reference is a name."""
    text = text.strip()
    if found := _PARAMETER.fullmatch(text):
        return {"parameter": found[1]}
    try:
        value = json.loads(text)
    except ValueError:
        name, at, shift = text.partition("@")
        return {"of": name.strip(), "shift": operand_of(shift)} if at and name else text
    return value


def price_names(document: Mapping[str, Any]) -> list[str]:
    """What rules may name: prices, indicators with each of their outputs, parameters."""
    names = list(PRICE_SERIES)
    indicators = document.get("indicators")
    for name, body in (indicators if isinstance(indicators, dict) else {}).items():
        kind = body.get("type") if isinstance(body, dict) else None
        spec = INDICATORS.get(kind) if isinstance(kind, str) else None
        several = spec is not None and len(spec.outputs) > 1
        names += [f"{name}.{output}" for output in spec.outputs] if spec and several else [name]
    parameters = document.get("parameters")
    names += [f"parameter: {name}" for name in (parameters if isinstance(parameters, dict) else {})]
    return names


def changed(text: str, at: str, kind: str, shown: str | None) -> str:
    """The text after a person wrote `shown` into the field of kind `kind` for the value at `at`.

    The same text where that changes nothing, so that fields may be filled without being taken for edits.
    """
    document = json.loads(text)
    shown = (shown or "").strip()
    if kind == "key":
        before = str(steps_of(at)[-1])
        holder = value_at(document, at.rpartition(".")[0])
        free = isinstance(holder, dict) and shown and shown not in holder
        return renamed(text, at, shown) if free and shown != before else text
    value = value_at(document, at)
    if kind == "operator":
        return text if value is None or shown in value else with_value(text, at, _recast(value, shown))
    if kind == "indicator":
        if shown == value or shown not in INDICATORS:
            return text
        return with_value(text, at.rpartition(".")[0], _indicator(shown, document, at))
    if shown == ("" if value is None else operand_text(value)):
        return text
    if not shown:
        return text if value is None else without(text, at)
    return with_value(text, at, shown if kind in ("text", "choice") else operand_of(shown))


def acted(text: str, what: str, at: str) -> str:
    """The text after a button of the form: something is added at `at`, or what is there is removed."""
    document = json.loads(text)
    if what == "remove":
        return without(text, at)
    if what == "parameter":
        return with_value(
            text, f"parameters.{_free(document, at, 'value')}", {"default": 10, "min": 1, "max": 100}
        )
    if what == "indicator":
        return with_value(text, f"indicators.{_free(document, at, 'average')}", {"type": "ema", "period": 20})
    if what == "side":
        return with_value(text, at, {"entry": {"all": [_FIRST_CONDITION]}})
    if what == "rule":
        return with_value(text, at, {"all": [_FIRST_CONDITION]})
    if what == "condition":
        return with_value(text, f"{at}[{len(value_at(document, at) or [])}]", _FIRST_CONDITION)
    if what == "add_ons":
        return with_value(text, at, {"most": 1, "size": 1.0})
    return text


def _free(document: Any, at: str, name: str) -> str:
    taken = value_at(document, at) or {}
    number = 1
    while (found := name if number == 1 else f"{name}{number}") in taken:
        number += 1
    return found


def _recast(condition: Any, operator: str) -> dict[str, Any]:
    """The condition with another operator, keeping what both can hold."""
    (before, body) = (
        next(iter(condition.items())) if isinstance(condition, dict) and condition else ("", None)
    )
    if operator in ("all", "any"):
        kept = body if before in ("all", "any") else [body] if before == "not" else [condition]
        return {operator: kept}
    if operator == "not":
        alone = before in ("all", "any") and isinstance(body, list) and len(body) == 1
        return {operator: body[0] if alone and isinstance(body, list) else condition}
    if before in GROUPS:
        first = body[0] if isinstance(body, list) and body else body
        # A group of one becomes its condition; of several none may get lost by a click.
        single = before == "not" or (isinstance(body, list) and len(body) == 1)
        return _recast(first, operator) if single else dict(condition)
    pair = (
        body
        if isinstance(body, list)
        else [body.get("of"), body.get("over")]
        if isinstance(body, dict)
        else []
    )
    left, right = (*pair, "close", "open")[:2]
    if operator in SLOPES:
        return {
            operator: [
                left if isinstance(left, str | dict) else "close",
                right if isinstance(right, int) else 3,
            ]
        }
    return {operator: [left, right]}


def _indicator(kind: str, document: Any, at: str) -> dict[str, Any]:
    """The indicator with another kind, keeping the parameters that it has as well."""
    body = value_at(document, at.rpartition(".")[0]) or {}
    known = {one.name for one in INDICATORS[kind].parameters} | {"timeframe"}
    return {"type": kind, **{name: value for name, value in body.items() if name in known}}
