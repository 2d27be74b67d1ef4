from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.pages.strategies_text import (
    marked,
    path_of,
    places_of,
    renamed,
    steps_of,
    value_at,
    with_value,
    without,
    written,
)
from data.errors import InvalidInput
from strategies.loader import parse_document, parse_strategy

TEMPLATES = sorted(
    path
    for path in (Path(__file__).resolve().parents[2] / "config" / "strategies").glob("*.json")
    if path.name != "schema.json"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(document=st.dictionaries(st.text(), JSON, max_size=4))
def test_writing_a_document_loses_nothing(document: dict[str, Any]) -> None:
    text = written(document)
    again = json.loads(text)
    assert again == document
    assert written(again) == text


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_every_value_of_a_template_is_found_where_it_stands(path: Path) -> None:
    text = path.read_text()
    document = json.loads(text)
    places = places_of(text)
    assert places[""].end - places[""].start == len(text.strip())
    for name, place in places.items():
        assert path_of(steps_of(name)) == name
        assert json.loads(text[place.start : place.end]) == value_at(document, name)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_changing_a_value_and_changing_it_back_gives_the_same_text(path: Path) -> None:
    text = path.read_text()
    document = json.loads(text)
    for name in places_of(text):
        value = value_at(document, name)
        if isinstance(value, dict | list) or value is None:
            continue
        changed = with_value(text, name, "something else")
        assert value_at(json.loads(changed), name) == "something else"
        assert with_value(changed, name, value) == text


def test_values_and_keys_are_added_taken_away_and_renamed() -> None:
    text = '{"name": "one", "long": {"entry": {"all": [{"gt": ["close", 1.50]}]}}}'
    more = with_value(text, "long.entry.all[1]", {"lt": ["rsi", 70]})
    assert json.loads(more)["long"]["entry"]["all"] == [{"gt": ["close", 1.5]}, {"lt": ["rsi", 70]}]
    assert json.loads(without(more, "long.entry.all[0]"))["long"]["entry"]["all"] == [{"lt": ["rsi", 70]}]
    assert json.loads(with_value(text, "protection.stop_loss", 0.02))["protection"] == {"stop_loss": 0.02}
    assert renamed(text, "long", "short") == text.replace('"long"', '"short"')


def _problems(text: str) -> list[tuple[int, str]]:
    try:
        parse_strategy(parse_document(text, "here"), "here")
    except InvalidInput as invalid:
        return [(one.line, one.field) for one in marked(text, invalid.problems)]
    return []


def test_each_problem_stands_at_its_line() -> None:
    text = (
        '{\n  "name": "a",\n  "timeframe": "7m",\n  "indicators": {\n    "fast": {"type": "emma"}\n  },\n'
        '  "long": {\n    "entry": {"all": [\n      {"gt": ["close", 1]},\n      {"gt": ["close", "nix"]}\n'
        "    ]}\n  },\n"
        '  "oops": 1\n}\n'
    )
    found = _problems(text)
    assert (3, "timeframe") in found
    assert (5, "indicators.fast.type") in found
    assert (10, "long.entry.all[1].gt[1]") in found
    assert (13, "oops") in found


def test_what_is_missing_is_told_at_the_object_that_lacks_it() -> None:
    assert _problems(
        '{\n "name": "a",\n "timeframe": "1m",\n "long": {\n "exit": {"gt": ["close", 1]}}}'
    ) == [(4, "long.entry")]


def test_broken_json_and_a_key_given_twice_have_their_lines() -> None:
    assert _problems('{\n  "name": "a",\n  nonsense\n}')[0][0] == 3
    assert _problems('{\n  "name": "a",\n  "name": "b"\n}') == [(3, "name")]
    assert _problems("") == [(1, "")]
