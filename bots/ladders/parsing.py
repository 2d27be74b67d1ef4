"""From the `settings` of a bot's file to settings that make sense, every problem named."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

import msgspec

from bots.ladders.fields import FIELDS, MOST_SYMBOLS, Field, Kind
from bots.ladders.grid import grid_levels
from bots.ladders.settings import (
    IMMEDIATELY,
    SETTINGS,
    AnySettings,
    DcaSettings,
    GridSettings,
    LadderType,
    PyramidSettings,
    RebalanceSettings,
)
from bots.ladders.worst_case import basket_worst_case, round_trip, safety_orders, worst_case
from bots.orders import Costs, PositionSide, TradingRules

_SYMBOL = re.compile(r"[A-Z0-9]+-[A-Z0-9]+(-[A-Z0-9]+)*")
Wrong = Callable[[str, str, str], None]  # field, value, expected


def parse_settings(
    kind: LadderType, document: object, *, capital: Decimal, costs: Costs, wrong: Wrong
) -> AnySettings | None:
    """The settings, or None where something is wrong with them: each problem goes to `wrong`."""
    if not isinstance(document, Mapping):
        wrong("settings", _shown(document), "must be an object: what the bot is to do")
        return None
    problems = 0

    def counted(field: str, value: str, expected: str) -> None:
        nonlocal problems
        problems += 1
        wrong(field, value, expected)

    fields = FIELDS[kind]
    for key in document:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known settings are {', '.join(fields)}"
            counted(f"settings.{key}", "an unknown setting", hint)
    found: dict[str, Any] = {"type": kind.value}
    for name, field in fields.items():
        value = document.get(name)
        if value is None:
            if field.required:
                counted(f"settings.{name}", "missing", field.expected)
        else:
            read = _value(value, field, f"settings.{name}", counted)
            if read is not None:
                found[name] = read
    if problems:
        return None
    settings = msgspec.convert(found, SETTINGS[kind])
    _check(settings, capital, costs, counted)
    return None if problems else settings


def settings_document(settings: AnySettings) -> dict[str, Any]:
    """The settings as plain JSON values, amounts as strings; `parse_settings` reads them back."""
    document: dict[str, Any] = msgspec.to_builtins(settings)
    document.pop("type")
    if isinstance(settings, RebalanceSettings):
        # As a list: databases forget the order of an object's keys, and the order of the weights counts.
        document["weights"] = [list(pair) for pair in document["weights"].items()]
    return {name: value for name, value in document.items() if value is not None}


def _value(value: object, field: Field, place: str, wrong: Wrong) -> object | None:
    if field.kind is Kind.FLAG:
        if isinstance(value, bool):
            return value
    elif field.kind is Kind.CHOICE:
        if value in field.choices:
            return value
    elif field.kind is Kind.ENTRY:
        if isinstance(value, str) and value.strip():
            return value
    elif field.kind is Kind.WEIGHTS:
        return _weights(value, field, place, wrong)
    else:
        number = _number(value)
        if number is not None and _fits(number, field):
            return int(number) if field.kind is Kind.WHOLE else number
    wrong(place, _shown(value), field.expected)
    return None


def _fits(number: Decimal, field: Field) -> bool:
    if field.kind is Kind.WHOLE:
        assert field.least is not None
        assert field.most is not None
        return number == number.to_integral_value() and field.least <= number <= field.most
    assert field.above is not None
    return number > field.above and (field.most is None or number <= field.most) and number < Decimal("1e15")


def _weights(value: object, field: Field, place: str, wrong: Wrong) -> dict[str, Decimal] | None:
    if isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        names = [str(symbol) for symbol, _ in value]
        for symbol in sorted({name for name in names if names.count(name) > 1}):
            wrong(f"{place}.{symbol}", "given twice", "write it once")
        value = {str(symbol): weight for symbol, weight in value}
    if not isinstance(value, Mapping) or not 1 <= len(value) <= MOST_SYMBOLS:
        wrong(place, _shown(value), field.expected)
        return None
    weights: dict[str, Decimal] = {}
    for symbol, weight in value.items():
        number = _number(weight)
        if not _SYMBOL.fullmatch(str(symbol)):
            wrong(f"{place}.{symbol}", str(symbol), "must be BASE-QUOTE in capitals, as in BTC-USDT")
        elif number is None or not 0 < number <= 1:
            wrong(f"{place}.{symbol}", _shown(weight), "must be a weight above 0 and at most 1")
        else:
            weights[str(symbol)] = number
    return weights


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _check(settings: AnySettings, capital: Decimal, costs: Costs, wrong: Wrong) -> None:
    """What single fields cannot say."""
    told = _Once(wrong)
    if isinstance(settings, GridSettings):
        _check_grid(settings, costs, told)
    elif isinstance(settings, RebalanceSettings):
        _check_basket(settings, costs, told)
    else:
        _check_rounds(settings, costs, told)
    if told.some:
        return
    if isinstance(settings, RebalanceSettings):
        worst = basket_worst_case(settings, costs, capital)
    else:
        worst = worst_case(settings, costs)
    if worst.capital > capital:
        expected = f"must be at least {worst.capital}: all orders filled bind as much, fees included"
        wrong("capital", str(capital), expected)
    elif worst.has_stop and worst.loss > capital:
        wrong("capital", str(capital), f"must be at least {worst.loss}: so much may be lost")


class _Once:
    """Passes problems on and remembers that there were some."""

    def __init__(self, wrong: Wrong) -> None:
        self._wrong = wrong
        self.some = False

    def __call__(self, field: str, value: str, expected: str) -> None:
        self.some = True
        self._wrong(field, value, expected)


def _check_grid(settings: GridSettings, costs: Costs, wrong: Wrong) -> None:
    if settings.upper <= settings.lower:
        wrong("settings.upper", str(settings.upper), f"must be above lower, {settings.lower}")
        return
    if settings.stop_price is not None and settings.stop_price >= settings.lower:
        wrong("settings.stop_price", str(settings.stop_price), f"must be below lower, {settings.lower}")
    levels = grid_levels(settings, TradingRules())
    fee = costs.maker_fee_bps.scaleb(-4)
    narrowest = min(above / below for below, above in pairwise(levels))
    if narrowest * (1 - fee) <= 1 + fee:
        value = f"{settings.levels} prices, {float(narrowest - 1):.4%} apart at the narrowest"
        expected = f"must leave more than both fees, {float((1 + fee) / (1 - fee) - 1):.4%}, between prices"
        wrong("settings.levels", value, expected)


def _check_rounds(settings: DcaSettings | PyramidSettings, costs: Costs, wrong: Wrong) -> None:
    short = settings.side is PositionSide.SHORT
    fee, maker_fee = costs.fee_bps.scaleb(-4), costs.maker_fee_bps.scaleb(-4)
    if settings.take_profit is not None:
        exit_price = 1 - settings.take_profit if short else 1 + settings.take_profit
        gain = (1 - fee) - exit_price * (1 + maker_fee) if short else exit_price * (1 - maker_fee) - (1 + fee)
        if gain <= 0:
            expected = f"must be more than both fees, {float(fee + maker_fee):.4%}"
            wrong("settings.take_profit", str(settings.take_profit), expected)
    if settings.stop_loss is not None and settings.stop_loss >= 1 and not short:
        wrong("settings.stop_loss", str(settings.stop_loss), "must be below 1: the price cannot fall further")
    if isinstance(settings, PyramidSettings):
        if settings.add_rule and settings.entry == IMMEDIATELY:
            wrong("settings.add_rule", "true", "needs a strategy as entry, whose `add` rule is asked")
        return
    distances = [distance for distance, _ in safety_orders(settings)]
    furthest = distances[-1] if distances else Decimal(0)
    if not short and furthest >= 1:
        value = f"{settings.safety_orders} orders, the last {float(furthest):.2%} below the entry"
        wrong("settings.step_scale", value, "must keep the last safety order above a price of 0")
    elif settings.stop_loss is not None and settings.stop_loss <= furthest:
        expected = f"must lie beyond the last safety order, {float(furthest):.4%} from the entry"
        wrong("settings.stop_loss", str(settings.stop_loss), expected)
    if short and settings.stop_loss is None:
        wrong("settings.stop_loss", "missing", "a short bot needs one: a price has no highest point")


def _check_basket(settings: RebalanceSettings, costs: Costs, wrong: Wrong) -> None:
    total = sum(settings.weights.values(), Decimal(0))
    if total > 1:
        wrong("settings.weights", str(total), "must be 1 together at most; the rest stays cash")
    for symbol in settings.weights:
        if symbol.count("-") > 1:
            wrong(f"settings.weights.{symbol}", symbol, "must be a spot symbol: a basket holds what it buys")
    quotes = {symbol.split("-")[1] for symbol in settings.weights}
    if len(quotes) > 1:
        wrong("settings.weights", ", ".join(sorted(quotes)), "must all be traded in one currency")
    if settings.threshold is None and settings.every is None:
        wrong("settings.threshold", "missing", "give threshold, every or both: when to rebalance")
    lost = total * round_trip(costs)
    if settings.stop_loss is not None and settings.stop_loss <= lost:
        expected = f"must be more than buying and selling everything costs, {float(lost):.4%}"
        wrong("settings.stop_loss", str(settings.stop_loss), expected)


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
