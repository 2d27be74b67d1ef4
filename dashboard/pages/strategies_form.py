"""The form over a strategy's JSON: each field shows one value and writes it back to its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from dashboard.pages.strategies_operands import operand_text, price_names
from dashboard.panels import aria, icon
from data.timeframes import Timeframe
from strategies.base import LevelBase
from strategies.definition import COMPARISONS, CROSSES, GROUPS, OPERATORS, SLOPES
from strategies.indicators.registry import INDICATORS
from strategies.indicators.spec import IndicatorParameter, ParameterKind

FIELD = "strategy-field"
ACTION = "strategy-action"
_SIDES = {"long": "Long", "short": "Short"}
_RULES = {"entry": "Enter", "exit": "Leave", "add": "Add to the position"}
_WORDS = {
    "all": "all of",
    "any": "any of",
    "not": "not",
    "gt": "is above",
    "gte": "is at least",
    "lt": "is below",
    "lte": "is at most",
    "crosses_above": "crosses above",
    "crosses_below": "crosses below",
    "rising": "is rising over",
    "falling": "is falling over",
}
_PROTECTION = {
    "stop_loss": "Stop-loss",
    "take_profit": "Take-profit",
    "trailing_stop": "Trailing stop",
}
_PARAMETER_HEAD = ("Name", "Default", "Least", "Most", "Step")


def strategy_form(document: Mapping[str, Any]) -> Component:
    """Every section of the document. What a form cannot show of it is left to the JSON, and said."""
    return html.Div(
        [
            _basics(document),
            _parameters(document),
            _indicators(document),
            *[_side(document, side) for side in _SIDES],
            _protection(document),
            _sizing(document),
        ],
        className="strategy-form",
    )


def field_id(at: str, kind: str) -> dict[str, str]:
    """Of the field for the value at a path; `kind` says how its text becomes a value."""
    return {"type": FIELD, "at": at, "as": kind}


def _section(
    title: str, note: str, body: Sequence[Component | None], action: Component | None = None
) -> Component:
    return html.Section(
        [
            html.Header([html.H2(title), html.Span(note, className="muted"), action]),
            *body,
        ],
        className="form-section",
        **aria(label=title),
    )


def _text(at: str, value: object, label: str, kind: str = "number", **options: Any) -> Component:
    shown = "" if value is None else value if isinstance(value, str) else operand_text(value)
    field: Component = dmc.TextInput(
        id=field_id(at, kind), value=shown, debounce=True, size="xs", label=label, **options
    )
    return field


def _operand(at: str, value: object, names: Sequence[str], label: str, kind: str = "operand") -> Component:
    field: Component = dmc.Autocomplete(
        id=field_id(at, kind),
        value=operand_text(value),
        data=list(names),
        debounce=True,
        size="xs",
        className="operand",
        **aria(label=label),
    )
    return field


def _choice(
    at: str, value: str | None, data: Sequence[Any], name: str, *, kind: str = "choice", **options: Any
) -> Component:
    field: Component = dmc.Select(
        id=field_id(at, kind),
        value=value,
        data=list(data),
        allowDeselect=False,
        size="xs",
        **(options or aria(label=name)),
    )
    return field


def action(what: str, at: str, label: str, icon_name: str = "plus", *, bare: bool = False) -> Component:
    """A button that changes the document's structure at a path."""
    names = {"title": label, **aria(label=f"{label} {at}".strip())} if bare else {}
    return html.Button(
        [icon(icon_name), None if bare else label],
        id={"type": ACTION, "at": at, "do": what},
        className="icon-button" if bare else "button small",
        type="button",
        **names,
    )


def _basics(document: Mapping[str, Any]) -> Component:
    return _section(
        "Basics",
        "",
        [
            html.Div(
                [
                    _text("name", document.get("name"), "Name", "text"),
                    _choice(
                        "timeframe",
                        document.get("timeframe"),
                        [one.value for one in Timeframe],
                        "Time frame",
                        label="Time frame",
                    ),
                    _text(
                        "description", document.get("description"), "Description", "text", className="wide"
                    ),
                ],
                className="form-row basics",
            )
        ],
    )


def _parameters(document: Mapping[str, Any]) -> Component:
    declared = _mapping(document.get("parameters"))
    rows = [
        html.Div(
            [
                _key_field(f"parameters.{name}", name, "Name of the parameter"),
                *[
                    dmc.TextInput(
                        id=field_id(f"parameters.{name}.{key}", "number"),
                        value=operand_text(_mapping(body).get(key)),
                        debounce=True,
                        size="xs",
                        **aria(label=f"{title} of {name}"),
                    )
                    for key, title in zip(("default", "min", "max", "step"), _PARAMETER_HEAD[1:], strict=True)
                ],
                action("remove", f"parameters.{name}", "Remove", "trash", bare=True),
            ],
            className="form-row parameter",
        )
        for name, body in declared.items()
    ]
    head = html.Div(
        [html.Span(title) for title in (*_PARAMETER_HEAD, "")], className="form-row parameter form-head"
    )
    return _section(
        "Parameters",
        "what a sweep may vary",
        [head if rows else None, *rows],
        action("parameter", "parameters", "Add parameter"),
    )


def _key_field(at: str, name: str, label: str) -> Component:
    field: Component = dmc.TextInput(
        id=field_id(at, "key"), value=name, debounce=True, size="xs", **aria(label=label)
    )
    return field


def _indicators(document: Mapping[str, Any]) -> Component:
    declared = _mapping(document.get("indicators"))
    parameters = [f"parameter: {name}" for name in _mapping(document.get("parameters"))]
    return _section(
        "Indicators",
        "numbers, or a parameter",
        [_indicator(name, _mapping(body), parameters) for name, body in declared.items()],
        action("indicator", "indicators", "Add indicator"),
    )


def _indicator(name: str, body: Mapping[str, Any], parameters: Sequence[str]) -> Component:
    at = f"indicators.{name}"
    kind = body.get("type")
    spec = INDICATORS.get(kind) if isinstance(kind, str) else None
    frames = [{"value": "", "label": "own"}, *[{"value": one.value, "label": one.value} for one in Timeframe]]
    knobs = [_knob(at, name, body, one, parameters) for one in (spec.parameters if spec else ())]
    return html.Div(
        [
            _key_field(at, name, "Name of the indicator"),
            _choice(
                f"{at}.type",
                kind if spec else None,
                [{"value": one.name, "label": f"{one.title} ({one.name})"} for one in INDICATORS.values()],
                f"Kind of {name}",
                kind="indicator",
                searchable=True,
                **aria(label=f"Kind of {name}"),
            ),
            html.Div(knobs, className="knobs"),
            html.Div(
                [
                    html.Label("time frame"),
                    _choice(f"{at}.timeframe", body.get("timeframe", ""), frames, f"Time frame of {name}"),
                ],
                className="knob",
            ),
            action("remove", at, "Remove", "trash", bare=True),
        ],
        className="form-row indicator",
        title=spec.summary if spec else "",
    )


def _knob(
    at: str, name: str, body: Mapping[str, Any], knob: IndicatorParameter, parameters: Sequence[str]
) -> Component:
    where, label = f"{at}.{knob.name}", f"{knob.name} of {name}"
    value = body.get(knob.name)
    if knob.kind is ParameterKind.CHOICE:
        control = _choice(where, str(value or knob.default), knob.choices, label)
    else:
        control = dmc.Autocomplete(
            id=field_id(where, "number"),
            value=operand_text(value),
            placeholder=str(knob.default),
            data=list(parameters),
            debounce=True,
            size="xs",
            **aria(label=label),
        )
    return html.Div([html.Label(knob.name.replace("_", " "), title=knob.summary), control], className="knob")


def _side(document: Mapping[str, Any], side: str) -> Component:
    title = _SIDES[side]
    if side not in document:
        return _section(title, "not traded", [], action("side", side, f"Trade {side}"))
    rules = _mapping(document[side])
    names = price_names(document)
    return _section(
        title,
        "on closed candles",
        [
            *[
                html.Div(
                    [
                        html.H3(
                            [
                                words,
                                action("remove", f"{side}.{key}", "Remove", "trash", bare=True)
                                if key != "entry"
                                else None,
                            ]
                        ),
                        _condition(f"{side}.{key}", rules[key], names),
                    ],
                    className="rule",
                )
                for key, words in _RULES.items()
                if key in rules
            ],
            html.Div(
                [
                    action("rule", f"{side}.{key}", f"Rule to {words.lower()}")
                    for key, words in _RULES.items()
                    if key not in rules
                ],
                className="form-actions",
            ),
        ],
        action("remove", side, f"Do not trade {side}", "x"),
    )


def _condition(at: str, condition: Any, names: Sequence[str]) -> Component:
    operator = next(iter(condition)) if isinstance(condition, dict) and len(condition) == 1 else None
    if operator not in OPERATORS:
        return html.Code(json.dumps(condition), title="Change it as JSON")
    inside, body = f"{at}.{operator}", condition[operator]
    pick = _choice(
        at,
        operator,
        [{"value": one, "label": _WORDS[one]} for one in OPERATORS],
        "Condition",
        kind="operator",
    )
    end = action("remove", at, "Remove", "trash", bare=True) if at.endswith("]") else None
    if operator in ("all", "any") and isinstance(body, list):
        return html.Div(
            [
                html.Div(
                    [pick, action("condition", inside, "Add condition"), end], className="condition-head"
                ),
                *[_condition(f"{inside}[{row}]", one, names) for row, one in enumerate(body)],
            ],
            className="condition group",
        )
    if operator in GROUPS:
        return html.Div(
            [html.Div([pick, end], className="condition-head"), _condition(inside, body, names)],
            className="condition group",
        )
    if operator in (*COMPARISONS, *CROSSES) and isinstance(body, list) and len(body) == 2:
        left, right = (_operand(f"{inside}[{row}]", body[row], names, "Operand") for row in (0, 1))
        return html.Div([left, pick, right, end], className="condition leaf")
    if operator in SLOPES:
        series, over = (
            (f"{inside}[0]", f"{inside}[1]") if isinstance(body, list) else (f"{inside}.of", f"{inside}.over")
        )
        values = body if isinstance(body, list) else [_mapping(body).get("of"), _mapping(body).get("over")]
        if len(values) == 2:
            return html.Div(
                [
                    _operand(series, values[0], names, "What"),
                    pick,
                    _operand(over, values[1], [], "Candles", "number"),
                    html.Span("candles", className="muted"),
                    end,
                ],
                className="condition leaf",
            )
    return html.Code(json.dumps(condition), title="Change it as JSON")


def _protection(document: Mapping[str, Any]) -> Component:
    protection = _mapping(document.get("protection"))
    targets = protection.get("take_profit")
    fields = [
        html.Div([html.Label(label), html.Span(f"{len(targets)} targets, in the JSON", className="muted")])
        if key == "take_profit" and isinstance(targets, list)
        else _text(f"protection.{key}", protection.get(key), label, placeholder="none")
        for key, label in _PROTECTION.items()
    ]
    return _section(
        "Protection",
        "fractions of the entry price: 0.02 is 2%",
        [html.Div(fields, className="form-row three")],
    )


def _sizing(document: Mapping[str, Any]) -> Component:
    sizing, add_ons = _mapping(document.get("sizing")), document.get("add_ons")
    rows = [
        html.Div(
            [_text("sizing.value", sizing.get("value"), "Share of the equity", placeholder="1")],
            className="form-row three",
        )
    ]
    if isinstance(add_ons, dict):
        rows.append(
            html.Div(
                [
                    _text("add_ons.most", add_ons.get("most"), "Add-ons at most"),
                    _text("add_ons.size", add_ons.get("size"), "Size, of the entry"),
                    _text("add_ons.every", add_ons.get("every"), "Every, of the price", placeholder="any"),
                    _choice(
                        "add_ons.levels",
                        add_ons.get("levels", LevelBase.AVERAGE.value),
                        [base.value for base in LevelBase],
                        "Levels hang on",
                        label="Levels hang on",
                    ),
                    action("remove", "add_ons", "Remove", "trash", bare=True),
                ],
                className="form-row three",
            )
        )
    return _section(
        "Size",
        "1 is all cash that is left after the fee",
        rows,
        None if isinstance(add_ons, dict) else action("add_ons", "add_ons", "Add-ons"),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
