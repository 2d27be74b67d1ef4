"""A second, slow and plain evaluation of rules, sharing no code with the engine, to compare it with."""

from __future__ import annotations

import math
from typing import Any

from data.models import Ohlcv
from data.timeframes import Timeframe, floor_to
from strategies.indicators.registry import INDICATORS
from tests.strategies.series import ohlcv_of

PRICES = ("open", "high", "low", "close", "volume")


def naive_signals(document: dict[str, Any], ohlcv: Ohlcv) -> dict[str, list[bool]]:
    """Rule by rule ("long_entry") and candle by candle, from a document without parameter references."""
    series = naive_series(document, ohlcv)
    found = {}
    for side in ("long", "short"):
        for action in ("entry", "exit"):
            rule = document.get(side, {}).get(action)
            found[f"{side}_{action}"] = [
                rule is not None and outcome(rule, series, row) is True for row in range(len(ohlcv))
            ]
    return found


def naive_series(document: dict[str, Any], ohlcv: Ohlcv) -> dict[str, list[float]]:
    """Every price and indicator output on each candle."""
    series: dict[str, list[float]] = {name: getattr(ohlcv, name).tolist() for name in PRICES}
    for name, body in document.get("indicators", {}).items():
        spec = INDICATORS[body["type"]]
        given = {key: value for key, value in body.items() if key not in ("type", "timeframe")}
        params = spec.resolve(given, where="naive")
        if "timeframe" in body:
            higher, seen = naive_fold(ohlcv, Timeframe(body["timeframe"]))
            outputs = spec.batch(higher, params)
            columns = {
                output: [math.nan if at < 0 else float(outputs[output][at]) for at in seen]
                for output in spec.outputs
            }
        else:
            columns = {output: values.tolist() for output, values in spec.batch(ohlcv, params).items()}
        for output, values in columns.items():
            values = [math.nan if math.isinf(number) else number for number in values]
            series[name if spec.outputs == ("value",) else f"{name}.{output}"] = values
    return series


def naive_fold(ohlcv: Ohlcv, higher: Timeframe) -> tuple[Ohlcv, list[int]]:
    """Higher candles by gathering rows into a dictionary, and the last one closed by each row's close."""
    buckets: dict[int, list[int]] = {}
    for row, opened in enumerate(ohlcv.opened_at_us.tolist()):
        buckets.setdefault(floor_to(opened, higher), []).append(row)
    if not buckets:
        return ohlcv_of([], [], higher), []
    first = int(ohlcv.opened_at_us[0])
    data_end = int(ohlcv.opened_at_us[-1]) + ohlcv.timeframe.us
    opens, rows = [], []
    for opened, members in buckets.items():
        if opened < first or opened + higher.us > data_end:
            continue
        volume = 0.0
        for row in members:
            volume += float(ohlcv.volume[row])
        opens.append(opened)
        rows.append(
            (
                float(ohlcv.open[members[0]]),
                max(float(ohlcv.high[row]) for row in members),
                min(float(ohlcv.low[row]) for row in members),
                float(ohlcv.close[members[-1]]),
                volume,
            )
        )
    seen = []
    for opened in ohlcv.opened_at_us.tolist():
        closes = opened + ohlcv.timeframe.us
        seen.append(sum(1 for start in opens if start + higher.us <= closes) - 1)
    return ohlcv_of(opens, rows, higher), seen


def outcome(rule: dict[str, Any], series: dict[str, list[float]], row: int) -> bool | None:
    """True, False, or None for unknown."""
    ((operator, content),) = rule.items()
    if operator == "not":
        inner = outcome(content, series, row)
        return None if inner is None else not inner
    if operator in ("all", "any"):
        inners = [outcome(part, series, row) for part in content]
        if operator == "all":
            return False if False in inners else None if None in inners else True
        return True if True in inners else None if None in inners else False
    if operator in ("rising", "falling"):
        of, over = content
        now, then = value(of, series, row), value(of, series, row - over)
        if math.isnan(now) or math.isnan(then):
            return None
        return now > then if operator == "rising" else now < then
    left, right = (value(operand, series, row) for operand in content)
    if operator.startswith("crosses"):
        left_before, right_before = (value(operand, series, row - 1) for operand in content)
        if any(math.isnan(number) for number in (left, right, left_before, right_before)):
            return None
        if operator == "crosses_above":
            return left > right and left_before <= right_before
        return left < right and left_before >= right_before
    if math.isnan(left) or math.isnan(right):
        return None
    return {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[operator]


def value(operand: Any, series: dict[str, list[float]], row: int) -> float:
    """The operand's value on `row`, NaN before the first."""
    if isinstance(operand, dict):
        return value(operand["of"], series, row - operand["shift"])
    if isinstance(operand, str):
        return series[operand][row] if row >= 0 else math.nan
    return float(operand)


def outcome_of_record(node: list[Any], values: dict[str, float | None]) -> bool | None:
    """What a decision record's node must say, from the values in the record alone."""

    def at(operand: Any, earlier: int = 0) -> float:
        if not isinstance(operand, str):
            return float(operand)
        name, _, shift = operand.partition("@")
        total = int(shift or 0) + earlier
        found = values[f"{name}@{total}" if total else name]
        return math.nan if found is None else found

    _, operator, *content = node
    if operator in ("all", "any", "not"):
        for inner in content:
            assert inner[0] == outcome_of_record(inner, values)
        held = [inner[0] for inner in content]
        series: dict[str, list[float]] = {"t": [1.0], "f": [0.0], "u": [math.nan]}
        names = {True: "t", False: "f", None: "u"}
        parts = [{"gt": [names[one], 0.5]} for one in held]
        return outcome({operator: parts[0] if operator == "not" else parts}, series, 0)
    if operator in ("rising", "falling"):
        name, over = content
        return outcome({operator: ["x", 1]}, {"x": [at(name, over), at(name)]}, 1)
    left, right = content
    pair = {"a": [at(left, 1), at(left)], "b": [at(right, 1), at(right)]} if "cross" in operator else None
    if pair is not None:
        return outcome({operator: ["a", "b"]}, pair, 1)
    return outcome({operator: ["a", "b"]}, {"a": [at(left)], "b": [at(right)]}, 0)
