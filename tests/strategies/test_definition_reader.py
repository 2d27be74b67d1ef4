from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe
from strategies.base import Protection
from strategies.definition_reader import read_definition, version_of
from strategies.indicators.registry import INDICATORS
from tests.strategies.documents import BROKEN, EXAMPLE, broken, example, nested


def problems_of(document: object, **given: Any) -> list[Problem]:
    with pytest.raises(InvalidInput) as caught:
        read_definition(document, "trend.json", **given)
    assert all(problem.where == "trend.json" for problem in caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize(("place", "content", "field"), BROKEN)
def test_a_broken_field_is_named_and_nothing_else(place: str, content: object, field: str) -> None:
    problems = problems_of(broken(place, content))
    assert [problem.field for problem in problems] == [field]
    assert problems[0].expected
    assert problems[0].value


def test_every_problem_is_named_at_once() -> None:
    document = example(timeframe="7m", sizing={"value": 3}, extra=1)
    document["long"]["exit"] = {"any": [{"gt": ["closs", 1]}, {"gt": ["bands.uper", 1]}]}
    assert {problem.field for problem in problems_of(document)} == {
        "extra",
        "timeframe",
        "sizing.value",
        "long.exit.any[0].gt[0]",
        "long.exit.any[1].gt[0]",
    }


@pytest.mark.parametrize(
    ("place", "content", "words"),
    [
        ("timeframe", "7m", "expected one of 1s, 1m, 3m"),
        ("long.entry", {"gt": ["bands.uper", 1]}, 'did you mean "upper"? known: upper, middle, lower'),
        ("long.entry", {"gt": ["bands", 1]}, "bands.upper, bands.middle, bands.lower"),
        ("long.entry", {"gt": ["close", "tredn"]}, 'did you mean "trend"?'),
        ("long.entry", {"gt": ["close", "70"]}, "without quotes"),
        ("long.entyr", {"gt": ["close", 1]}, 'did you mean "entry"? known: entry, exit'),
        ("long.entry", {"cross_above": ["fast", "slow"]}, 'did you mean "crosses_above"?'),
        ("long.entry", {"gt": ["close", {"of": "fast", "shift": -1}]}, "look ahead"),
        ("indicators.rsi", {"type": "RSI"}, 'did you mean "rsi"?'),
        ("indicators.rsi", {"type": "rsi", "timeframe": "3m"}, "multiple of the strategy's 5m"),
        ("protection.stop_loss", {"parameter": "fast"}, "the value of parameter fast"),
    ],
)
def test_a_problem_says_what_would_be_right(place: str, content: object, words: str) -> None:
    assert words in problems_of(broken(place, content))[0].expected


def test_a_parameter_named_as_an_operand_is_shown_how_to_be_read() -> None:
    document = example(parameters={**EXAMPLE["parameters"], "limit": {"default": 3}})
    document["long"]["entry"] = {"gt": ["close", "limit"]}
    assert '{"parameter": "limit"}' in problems_of(document)[0].expected


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_a_document_is_an_object(document: object) -> None:
    assert problems_of(document)[0].field == ""


def test_what_is_missing_is_named() -> None:
    assert [problem.field for problem in problems_of({})] == ["name", "timeframe", ""]


def test_the_example_is_read_whole() -> None:
    definition = read_definition(EXAMPLE, "trend.json")
    assert definition.name == "ema-cross-with-trend"
    assert definition.timeframe is Timeframe.M5
    assert dict(definition.values) == {"fast": 12, "slow": 26}
    assert definition.indicators["slow"].params["period"] == 26
    assert definition.indicators["trend"].timeframe is Timeframe.H1
    assert definition.protection == Protection(stop_loss=0.02, take_profit=0.04, trailing_stop=0.015)
    assert definition.sizing.value == Decimal(1)
    assert definition.short is None


def test_short_mirrors_long_and_either_is_enough() -> None:
    document = example(short=copy.deepcopy(EXAMPLE["long"]))
    both = read_definition(document, "f")
    assert both.short == both.long
    del document["long"]
    alone = read_definition(document, "f")
    assert alone.short == both.long
    assert alone.long is None


def test_parameters_reach_every_number() -> None:
    document = {
        "name": "everywhere",
        "timeframe": "1m",
        "parameters": {
            "candles": {"default": 3},
            "width": {"default": 2.5},
            "stop": {"default": 0.03},
            "size": {"default": 0.1},
        },
        "indicators": {
            "bands": {
                "type": "bollinger",
                "period": {"parameter": "candles"},
                "deviations": {"parameter": "width"},
            }
        },
        "long": {
            "entry": {
                "all": [
                    {"gt": [{"of": "close", "shift": {"parameter": "candles"}}, {"parameter": "width"}]},
                    {"rising": ["bands.upper", {"parameter": "candles"}]},
                ]
            }
        },
        "protection": {"stop_loss": {"parameter": "stop"}, "take_profit": None},
        "sizing": {"value": {"parameter": "size"}},
    }
    definition = read_definition(document, "f", {"candles": "5", "stop": 0.04})
    assert definition.indicators["bands"].params["period"] == 5
    assert definition.indicators["bands"].params["deviations"] == 2.5
    assert definition.protection == Protection(stop_loss=0.04)
    assert definition.sizing.value == Decimal("0.1")
    assert "Series(name='close', shift=5)" in repr(definition.long)
    assert "Constant(value=2.5)" in repr(definition.long)
    assert "over=5" in repr(definition.long)
    assert definition.warnings == ()


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"fast": 4}, "parameters.fast", "from 5 to 50"),
        ({"fast": 51}, "parameters.fast", "from 5 to 50"),
        ({"slow": 27}, "parameters.slow", "10 plus whole steps of 2: 26 or 28"),
        ({"fast": "many"}, "parameters.fast", "a number"),
        ({"fast": "nan"}, "parameters.fast", "a number"),
        ({"fats": 7}, "parameters.fats", 'did you mean "fast"?'),
    ],
)
def test_a_parameter_given_keeps_bounds_and_steps(given: dict[str, Any], field: str, words: str) -> None:
    (problem,) = problems_of(EXAMPLE, parameters=given)
    assert problem.field == field
    assert words in problem.expected


def test_a_parameter_may_stand_on_any_step_and_on_the_default() -> None:
    document = example()
    document["parameters"]["fast"] = {"default": 7.0, "min": 5, "max": 50, "step": 5}
    document["parameters"]["limit"] = {"default": 0.1, "min": 0.1, "max": 5, "step": 0.1}
    for fast in (5, 7, 50):
        assert read_definition(document, "f", {"fast": fast, "limit": 0.7}).values["fast"] == fast


def test_another_time_frame_replaces_the_documents_own() -> None:
    definition = read_definition(EXAMPLE, "f", timeframe="15m")
    assert definition.timeframe is Timeframe.M15
    assert definition.document["timeframe"] == "15m"
    assert EXAMPLE["timeframe"] == "5m"
    assert problems_of(EXAMPLE, timeframe="1h")[0].field == "indicators.trend.timeframe"
    assert problems_of(EXAMPLE, timeframe="1y")[0].field == "timeframe"


def test_the_version_follows_what_decides_and_nothing_else() -> None:
    version = read_definition(EXAMPLE, "f").version
    assert len(version) == 64
    reordered = dict(reversed(list(example(sizing={"value": 1, "type": "fraction_of_equity"}).items())))
    assert read_definition(reordered, "elsewhere").version == version
    assert read_definition(example(description="words"), "f").version == version
    assert read_definition(EXAMPLE, "f", {"fast": 12}).version == version
    others = [
        read_definition(EXAMPLE, "f", {"fast": 13}).version,
        read_definition(EXAMPLE, "f", timeframe="15m").version,
        read_definition(example(protection={}), "f").version,
    ]
    assert len({version, *others}) == 4


def test_the_version_is_the_documented_hash() -> None:
    # sha256sum of: {"definition":{"a":[1,0.5]},"parameters":{"n":2}}
    found = version_of({"a": [1.0, 0.5], "description": "x"}, {"n": 2.0})
    assert found == "bf977c773a760aaf8c07646a5cc69c6e6446840cc188bbee41c0ddbea93a1234"


def test_what_is_likely_not_meant_is_a_warning() -> None:
    document = example(short={"entry": {"gt": ["close", 1]}}, protection={})
    document["parameters"]["idle"] = {"default": 1}
    document["indicators"]["idle"] = {"type": "rsi"}
    warnings = read_definition(document, "f").warnings
    assert len(warnings) == 3
    assert any("parameters.idle" in warning for warning in warnings)
    assert any("indicators.idle" in warning for warning in warnings)
    assert any("short.exit" in warning for warning in warnings)
    assert "never reached" in read_definition(EXAMPLE, "f").warnings[0]


def test_conditions_may_lie_deep() -> None:
    read_definition(example(long={"entry": nested(32)}), "f")


@pytest.mark.parametrize("name", INDICATORS)
def test_every_indicator_can_be_used_with_its_defaults(name: str) -> None:
    outputs = INDICATORS[name].outputs
    operand = "it" if len(outputs) == 1 else f"it.{outputs[-1]}"
    document = example(indicators={"it": {"type": name}}, long={"entry": {"gt": [operand, 0]}})
    assert read_definition(document, "f").indicators["it"].spec is INDICATORS[name]
