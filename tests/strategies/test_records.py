from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.models import Candle
from data.timeframes import Timeframe
from strategies.loader import load_strategy
from strategies.records import pack, unpack
from strategies.templates import templates
from tests.strategies.series import candles_of, recorded_candles

FOLDER = Path(__file__).resolve().parents[2] / "config" / "strategies"
TEMPLATES = [template.path for template in templates(FOLDER)]
MOST = 200  # bytes
# What a bot adds to a record at most: the gate with the longest name, and orders of a bot that traded much.
ADDED = {"gate": "position_open", "orders": [123_456, 123_457]}


def recorded(shared_data: Path) -> list[Candle]:
    file = shared_data / "candles" / "binance_spot" / "BTCUSDT_5m_2024.csv.gz"
    return list(candles_of(recorded_candles(file, Timeframe.M5, 3_000)))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_leaves_records_of_less_than_200_bytes_as_stored(path: Path, shared_data: Path) -> None:
    strategy = load_strategy(path, timeframe="5m")
    stream = strategy.stream()
    made = [stream.update(candle).record for candle in recorded(shared_data)]
    sizes = [len(pack({**record, **ADDED})) for record in made]
    assert max(sizes) < MOST
    assert [unpack(pack(record)) for record in made[-50:]] == made[-50:]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_an_evaluator_of_its_own_finds_every_outcome_from_the_stored_record_alone(
    path: Path, shared_data: Path
) -> None:
    strategy = load_strategy(path, timeframe="5m")
    stream = strategy.stream()
    seen = set()
    for candle in recorded(shared_data):
        decision = stream.update(candle)
        record = unpack(pack(decision.record))
        for rule, node in record["rules"].items():
            outcome = evaluated(node, record["values"])
            assert outcome is node[0]
            assert getattr(decision, rule.replace(".", "_")) is (outcome is True)
            seen.add((rule, outcome))
    assert {outcome for _, outcome in seen} >= {True, False}


def evaluated(node: Any, values: Mapping[str, float | None]) -> bool | None:
    """The outcome of a node, from what it says it read: nothing of the engine's is used."""
    operator: str = node[1]
    content: list[Any] = node[2:]
    if operator in ("all", "any", "not"):
        inner = [evaluated(one, values) for one in content]
        for one, child in zip(content, inner, strict=True):
            assert one[0] is child
        if operator == "not":
            return None if inner[0] is None else not inner[0]
        settled = operator == "any"
        if settled in inner:
            return settled
        return None if None in inner else operator == "all"
    if operator in ("rising", "falling"):
        now, then = values[content[0]], values[shifted(content[0], content[1])]
        if now is None or then is None:
            return None
        return now > then if operator == "rising" else now < then
    look = partial(read, values)
    left, right = look(content[0], 0), look(content[1], 0)
    if operator.startswith("crosses"):
        was_left, was_right = look(content[0], 1), look(content[1], 1)
        if left is None or right is None or was_left is None or was_right is None:
            return None
        if operator == "crosses_above":
            return left > right and was_left <= was_right
        return left < right and was_left >= was_right
    if left is None or right is None:
        return None
    return {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[operator]


def read(values: Mapping[str, float | None], operand: str | float, ago: int) -> float | None:
    return values[shifted(operand, ago)] if isinstance(operand, str) else operand


def shifted(name: str, ago: int) -> str:
    base, _, shift = name.partition("@")
    shift_now = int(shift or 0) + ago
    return f"{base}@{shift_now}" if shift_now else base


names = st.sampled_from(["fast", "fast@1", "close", "bands.upper", "supertrend.direction", "x"])
numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-9, 10**12))
leaf = st.one_of(
    st.tuples(
        st.sampled_from([True, False, None]),
        st.sampled_from(["gt", "lte", "crosses_above"]),
        names,
        names | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 500),
    ).map(list),
    st.tuples(
        st.sampled_from([True, False, None]),
        st.sampled_from(["rising", "falling"]),
        names,
        st.integers(1, 300),
    ).map(list),
)
tree = st.recursive(
    leaf,
    lambda inner: st.tuples(
        st.sampled_from([True, False, None]), st.sampled_from(["all", "any", "not"]), inner, inner
    ).map(list),
    max_leaves=6,
)


@given(
    values=st.dictionaries(names, numbers),
    rules=st.dictionaries(st.sampled_from(["long.entry", "short.exit"]), tree),
    rest=st.dictionaries(st.sampled_from(["gate", "orders", "seen"]), st.integers(-9, 2**40) | names),
)
def test_any_record_comes_back_as_it_was(
    values: dict[str, Any], rules: dict[str, Any], rest: dict[str, Any]
) -> None:
    record = {"values": values, "rules": rules, **rest}
    assert unpack(pack(record)) == record


def test_records_that_are_not_of_rules_and_those_stored_as_json_are_read() -> None:
    python = {"values": {"upper": 61_300.5, "lower": None}}
    assert unpack(pack(python)) == python
    assert unpack(json.dumps(python).encode()) == python
    assert math.isclose(unpack(pack({"seen": 0.1}))["seen"], 0.1, rel_tol=0)
    with pytest.raises(ValueError, match="unknown layout"):
        unpack(b"\xffwhat")
