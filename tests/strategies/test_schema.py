from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # no types are published

from config.settings import PROJECT
from strategies.definition_reader import read_definition
from strategies.schema import strategy_schema
from tests.strategies.documents import BROKEN, EXAMPLE, broken
from tests.strategies.test_rules import CONDITIONS, TEMPLATES, document

VALIDATOR = Draft202012Validator(strategy_schema())


def test_the_published_schema_is_current() -> None:
    published = json.loads((PROJECT / "config/strategies/schema.json").read_text())
    assert published == strategy_schema(), "run: candlewick strategy schema > config/strategies/schema.json"
    Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_are_valid_and_described(path: Any) -> None:
    template = json.loads(path.read_text())
    VALIDATOR.validate(template)
    definition = read_definition(template, str(path))
    assert definition.description
    assert definition.warnings == ()


def test_the_example_is_valid() -> None:
    VALIDATOR.validate(EXAMPLE)


@pytest.mark.parametrize(
    ("place", "content", "field"),
    [
        case
        for case in BROKEN
        if case[0] in ("protection", "sizing", "indicator", "long")
        or case[2].endswith(("shift", ".by", ".type"))
    ],
)
def test_what_is_broken_in_shape_is_broken_under_the_schema(place: str, content: object, field: str) -> None:
    assert not VALIDATOR.is_valid(broken(place, content))


@given(entry=CONDITIONS)
@settings(max_examples=40, deadline=None)
def test_what_the_reader_accepts_is_valid_under_the_schema(entry: dict[str, Any]) -> None:
    written = document(long={"entry": entry})
    read_definition(written, "f")
    VALIDATOR.validate(written)
