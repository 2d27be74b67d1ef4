"""The settings of a bot as a form, for new bots and for editing: fields, and the document they amount to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from bots.config import VENUES, FillRule, OnRestart
from bots.ladders.fields import FIELDS, Field, Kind
from bots.ladders.settings import IMMEDIATELY, LadderType
from bots.risk.limits import NAMES as LIMITS
from bots.risk.profiles import RiskBook
from dashboard.market_request import venue_name
from dashboard.pages.backtests_form import number_of
from dashboard.pages.bot_basket import EXAMPLE, read_weights, weights_of, weights_text
from data.errors import InvalidInput, Problem
from data.models import Market
from data.timeframes import Timeframe
from strategies.definition import ParameterRange
from strategies.loader import parse_document, parse_strategy

STRATEGY = "strategy"  # the kind of a bot that places one order at a time
KINDS = (STRATEGY, *(kind.value for kind in LadderType))
_ACCOUNT_LIMITS = frozenset({"max_symbol_notional", "max_correlated_exposure", "max_account_notional"})
BOT_LIMITS = tuple(name for name in LIMITS if name not in _ACCOUNT_LIMITS)
_LIMIT_WORDS = {
    "max_order_notional": ("Largest order", "quote currency, fee included"),
    "max_position_notional": ("Largest position", "quote currency"),
    "max_orders_per_minute": ("Orders a minute", "entries and add-ons"),
    "max_open_orders": ("Orders that wait", "for the next open"),
    "max_daily_loss": ("Loss of a day", "a fraction below 1, else an amount"),
    "max_drawdown": ("Drawdown", "fraction of the peak: 0.2 is 20 %"),
    "cool_down_minutes": ("Rest after it", "minutes without entries"),
    "min_order_notional": ("Smallest order", "quote currency"),
}
_FILL_WORDS = {
    FillRule.CANDLE: "The next candle's open",
    FillRule.DEPTH: "The recorded order book",
}
_RESTART_WORDS = {
    OnRestart.RESUME: "Resume: catch up as if it had never stopped",
    OnRestart.FLATTEN: "Flatten: close the position, then go on",
    OnRestart.FREEZE: "Freeze: keep the position and wait for a person",
}
_FLAGS = [{"value": "yes", "label": "Yes"}, {"value": "no", "label": "No"}]

# What a field means stands below it, so that the inputs of a row are on one line.
_ORDER = ["label", "input", "error", "description"]

Values = Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a person may choose from."""

    strategies: Sequence[str]
    markets: Sequence[Market]
    book: RiskBook


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field; `key` is its place in the bot's file, with a slash for a dot (Dash forbids those in ids)."""

    key: str
    label: str
    value: str = ""
    help: str = ""
    choices: Sequence[Mapping[str, str]] | None = None
    placeholder: str = ""
    disabled: bool = False
    wide: bool = False  # over the whole form


def field_component(field: FormField, scope: str) -> Component:
    """The input of a field; `scope` tells the forms of a page apart. What is typed counts when it is left."""
    identity = {"type": scope, "field": field.key}
    made: Component
    if field.choices is not None:
        made = dmc.Select(
            id=identity,
            label=field.label,
            description=field.help or None,
            data=list(field.choices),
            value=field.value or None,
            placeholder=field.placeholder or None,
            disabled=field.disabled,
            searchable=len(field.choices) > 8,
            allowDeselect=False,
            inputWrapperOrder=_ORDER,
            size="xs",
        )
    else:
        made = dmc.TextInput(
            id=identity,
            label=field.label,
            description=field.help or None,
            value=field.value,
            placeholder=field.placeholder or None,
            disabled=field.disabled,
            debounce=True,
            inputWrapperOrder=_ORDER,
            style={"gridColumn": "1 / -1"} if field.wide else None,
            size="xs",
        )
    return made


def section(title: str, fields: Sequence[FormField], scope: str) -> Component:
    """A titled group of fields."""
    body = [field_component(one, scope) for one in fields]
    return html.Section([html.H3(title), html.Div(body, className="bot-fields")], className="bot-section")


def parameters_of(strategy: str, rules_of: Callable[[str], str]) -> Mapping[str, ParameterRange]:
    """What a strategy lets one set; empty for one in Python, of which `rules_of` gives no JSON.

    Raises InvalidInput.
    """
    text = rules_of(strategy) if strategy else ""
    return parse_strategy(parse_document(text, strategy), strategy).definition.parameters if text else {}


def parameter_fields(parameters: Mapping[str, ParameterRange], given: Values) -> list[FormField]:
    """One field per parameter of a strategy; empty means its default."""
    return [
        FormField(
            key=f"parameters/{name}",
            label=name,
            value=given.get(f"parameters/{name}") or "",
            help=_bounds(one),
            placeholder=f"{one.default:g}",
        )
        for name, one in parameters.items()
    ]


def _bounds(one: ParameterRange) -> str:
    if one.minimum is None or one.maximum is None:
        return "no bounds"
    return f"{one.minimum:g} to {one.maximum:g}"


def ladder_fields(
    kind: LadderType, given: Values, choices: Choices, fixed: Collection[str] = ()
) -> list[FormField]:
    """One field per setting of a bot with several orders."""
    found = []
    for name, one in FIELDS[kind].items():
        key = f"settings/{name}"
        words = name.replace("_", " ").capitalize()
        found.append(
            FormField(
                key=key,
                label=words if one.required else f"{words} (optional)",
                value=given.get(key) or "",
                help=one.means,
                choices=_setting_choices(one, choices),
                placeholder=f"as in {EXAMPLE}" if one.kind is Kind.WEIGHTS else "",
                wide=one.kind is Kind.WEIGHTS,
                disabled=key in fixed,
            )
        )
    return found


def _setting_choices(field: Field, choices: Choices) -> list[dict[str, str]] | None:
    if field.kind is Kind.FLAG:
        return _FLAGS
    if field.kind is Kind.CHOICE:
        return [{"value": one, "label": one.capitalize()} for one in field.choices]
    if field.kind is Kind.ENTRY:
        return [{"value": IMMEDIATELY, "label": "Immediately"}, *_plain(choices.strategies)]
    return None


def trading_fields(kind: str, given: Values, choices: Choices, fixed: Collection[str]) -> list[FormField]:
    """Name, market, time frame and, where the bot follows one, the strategy."""
    markets = [
        {"value": str(one), "label": f"{one.symbol} · {venue_name(one.exchange)}"} for one in choices.markets
    ]
    if given.get("market") and all(one["value"] != given["market"] for one in markets):
        markets.append({"value": str(given["market"]), "label": str(given["market"])})
    own = "The strategy's own" if kind == STRATEGY else "1m, or its entry's own"
    own = "1m" if kind == LadderType.REBALANCE else own
    frames = [{"value": "own", "label": own}]
    frames += [{"value": one.value, "label": one.value} for one in Timeframe]
    fields = [FormField(key="name", label="Name", value=given.get("name") or "", disabled="name" in fixed)]
    if kind == LadderType.REBALANCE:
        venues = [{"value": one, "label": venue_name(one)} for one in VENUES]
        fields.append(
            FormField(
                key="venue",
                label="Venue",
                value=given.get("venue") or "",
                help="of all its symbols",
                choices=venues,
                disabled="venue" in fixed,
            )
        )
    else:
        fields.append(
            FormField(
                key="market",
                label="Market",
                value=given.get("market") or "",
                choices=markets,
                disabled="market" in fixed,
            )
        )
    if kind == STRATEGY:
        strategy = given.get("strategy") or ""
        names = [*choices.strategies, *([strategy] if strategy not in ("", *choices.strategies) else [])]
        fields.append(FormField(key="strategy", label="Strategy", value=strategy, choices=_plain(names)))
    fields.append(
        FormField(key="timeframe", label="Time frame", value=given.get("timeframe") or "own", choices=frames)
    )
    if kind in (STRATEGY, LadderType.REBALANCE):
        fields.append(
            FormField(
                key="fill",
                label="Market orders fill at",
                value=given.get("fill") or FillRule.CANDLE.value,
                choices=[{"value": one.value, "label": words} for one, words in _FILL_WORDS.items()],
            )
        )
    return fields


def money_fields(given: Values, choices: Choices, fixed: Collection[str]) -> list[FormField]:
    """Capital, account and costs."""
    accounts = [{"value": "none", "label": "One of its own"}, *_plain(list(choices.book.accounts))]
    return [
        FormField(
            key="capital",
            label="Capital",
            value=given.get("capital") or "",
            help="quote currency",
            disabled="capital" in fixed,
        ),
        FormField(
            key="account",
            label="Account",
            value=given.get("account") or "none",
            help="its money",
            choices=accounts,
        ),
        FormField(
            key="fee_bps", label="Taker fee", value=given.get("fee_bps") or "", help="bps: 10 is 0.1 %"
        ),
        FormField(key="maker_fee_bps", label="Maker fee", value=given.get("maker_fee_bps") or "", help="bps"),
        FormField(
            key="slippage_bps",
            label="Slippage",
            value=given.get("slippage_bps") or "",
            help="bps, against us",
        ),
    ]


def limit_fields(given: Values, choices: Choices) -> list[FormField]:
    """A profile of the risk file, and limits of the bot's own laid over it; empty means none."""
    profile = given.get("limits/profile") or "none"
    known = choices.book.profiles.get(profile)
    profiles = [{"value": "none", "label": "No profile"}, *_plain(list(choices.book.profiles))]
    fields = [
        FormField(key="limits/profile", label="Profile", value=profile, help="risk file", choices=profiles)
    ]
    for name in BOT_LIMITS:
        words, unit = _LIMIT_WORDS.get(name, (name.replace("_", " ").capitalize(), ""))
        inherited = getattr(known, name, None) if known is not None else None
        fields.append(
            FormField(
                key=f"limits/{name}",
                label=words,
                value=given.get(f"limits/{name}") or "",
                help=unit,
                placeholder="none" if inherited is None else f"{inherited} by the profile",
            )
        )
    return fields


def restart_field(given: Values) -> FormField:
    return FormField(
        key="on_restart",
        label="After its process ended",
        value=given.get("on_restart") or OnRestart.RESUME.value,
        choices=[{"value": one.value, "label": words} for one, words in _RESTART_WORDS.items()],
    )


def _plain(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"value": name, "label": name} for name in names]


def values_of(document: Mapping[str, Any]) -> dict[str, str]:
    """The fields that a bot's document fills."""
    found: dict[str, str] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            found |= {f"{key}/{name}": _text(one) for name, one in value.items() if one is not None}
        elif value is not None and key not in ("venue", "symbol", "type", "mode"):
            found[key] = _text(value)
    if document.get("venue") and document.get("symbol"):
        found["market"] = f"{document['venue']}:{document['symbol']}"
    elif document.get("venue"):
        found["venue"] = str(document["venue"])
        found["settings/weights"] = weights_text(weights_of(document.get("settings") or {}))
    return found


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.15g}"
    text = str(value)
    if "." in text and isinstance(value, str | Decimal) and text.replace(".", "", 1).isdigit():
        return text.rstrip("0").rstrip(".")
    return text


def document_of(kind: str, values: Values) -> dict[str, Any]:
    """The bot's document; empty fields are left out, what is no number is left to be refused by name."""
    document: dict[str, Any] = {} if kind == STRATEGY else {"type": kind, "settings": {}}
    flags = (
        {name for name, one in FIELDS[LadderType(kind)].items() if one.kind is Kind.FLAG}
        if kind in list(LadderType)
        else set()
    )
    for key, value in values.items():
        text = (value or "").strip()
        part, _, name = key.partition("/")
        if not text or (key in ("account", "limits/profile") and text == "none"):
            continue
        if key == "timeframe" and text == "own":
            continue
        if key == "market":
            document["venue"], _, document["symbol"] = text.partition(":")
        elif not name:
            document[part] = text
        elif part == "parameters":
            document.setdefault(part, {})[name] = number_of(text)
        elif name == "weights":
            document.setdefault(part, {})[name] = read_weights(text)
        else:
            document.setdefault(part, {})[name] = text == "yes" if name in flags else text
    return document


def told(problems: Sequence[Problem], keys: Sequence[str]) -> tuple[list[str | None], list[Problem]]:
    """What stands at each field of `keys`, and the problems that have none."""
    at: dict[str, str] = {}
    elsewhere = []
    for one in problems:
        key = one.field.replace(".", "/")
        key = "market" if key in ("venue", "symbol") and key not in keys else key
        if key.startswith("settings/weights/") and key not in keys:
            # One field holds them all: it says which of them is meant.
            one = replace(one, value=f"{key.rpartition('/')[2]} {one.value}")
            key = "settings/weights"
        if key in keys:
            at.setdefault(
                key, one.expected if one.value in ("", "missing") else f"{one.value}: {one.expected}"
            )
        else:
            elsewhere.append(one)
    return [at.get(key) for key in keys], elsewhere


def check_shelf(names: Sequence[str], wanted: str, field: str) -> None:
    """Raise InvalidInput unless `wanted` is on the shelf: a name that comes from a browser is no path."""
    if wanted.removesuffix(".json") not in {name.removesuffix(".json") for name in names}:
        expected = f"must be one of {', '.join(names) or 'none'}"
        raise InvalidInput(Problem(where="bot", field=field, value=f'"{wanted[:60]}"', expected=expected))
