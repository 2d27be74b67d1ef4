"""Partial targets and add-ons as strategy files write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from data.errors import InvalidInput
from strategies.base import AddOns, LevelBase, Target
from strategies.definition_reader import read_definition
from strategies.rules import RuleStrategy
from strategies.schema import strategy_schema
from tests.backtesting.series import candle_of, ohlcv_of

LADDER = [{"at": 0.02, "fraction": 0.5}, {"at": 0.04, "fraction": 0.5}]


def document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "parts",
        "timeframe": "1h",
        "long": {"entry": {"gt": ["close", 100]}, "add": {"rising": ["close", 1]}},
        "protection": {"take_profit": LADDER},
        "add_ons": {"most": 3, "size": 0.5},
        **changes,
    }


def targets(*given: dict[str, float]) -> dict[str, Any]:
    return {"protection": {"take_profit": list(given)}}


def problems_of(**changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        read_definition(document(**changes), "file")
    return [(problem.field, problem.expected) for problem in caught.value.problems]


def test_targets_and_add_ons_are_read_as_written_and_valid_under_the_schema() -> None:
    definition = read_definition(document(), "file")
    assert definition.protection.targets == (Target(at=0.02, fraction=0.5), Target(at=0.04, fraction=0.5))
    assert definition.protection.take_profit is None
    assert definition.sizing.add_ons == AddOns(most=3, size=0.5, by_rule=True, levels=LevelBase.AVERAGE)
    Draft202012Validator(strategy_schema()).validate(document())


def test_a_distance_alone_or_beside_a_rule_and_the_levels_base() -> None:
    add_ons = {"most": 2, "size": 1, "every": -0.01, "levels": "entry"}
    both = read_definition(document(add_ons=add_ons), "file").sizing.add_ons
    assert both == AddOns(most=2, size=1, every=-0.01, by_rule=True, levels=LevelBase.ENTRY)
    alone = read_definition(document(long={"entry": {"gt": ["close", 1]}}, add_ons=add_ons), "file")
    assert alone.sizing.add_ons == AddOns(most=2, size=1, every=-0.01, levels=LevelBase.ENTRY)


def test_numbers_of_parts_may_be_parameters() -> None:
    parameters = {"far": {"default": 0.05}, "often": {"default": 4}}
    targets = [{"at": {"parameter": "far"}, "fraction": 1}]
    made = document(
        parameters=parameters,
        protection={"take_profit": targets},
        add_ons={"most": {"parameter": "often"}, "size": 0.5},
    )
    definition = read_definition(made, "file", {"far": 0.06})
    assert definition.protection.targets == (Target(at=0.06, fraction=1.0),)
    assert definition.sizing.add_ons is not None
    assert definition.sizing.add_ons.most == 4


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"protection": {"take_profit": []}}, "protection.take_profit"),
        ({"protection": {"take_profit": [{"at": 0.02}]}}, "protection.take_profit[0].fraction"),
        ({"protection": {"take_profit": list(reversed(LADDER))}}, "protection.take_profit[1].at"),
        (targets(*LADDER, {"at": 0.1, "fraction": 0.1}), "protection.take_profit[2].fraction"),
        (targets({"at": 0.02, "fraction": 0.5, "price": 1}), "protection.take_profit[0].price"),
        ({"add_ons": {"most": 0, "size": 0.5}}, "add_ons.most"),
        ({"add_ons": {"most": 3, "size": 0.5, "every": 0}}, "add_ons.every"),
        ({"add_ons": {"most": 3, "size": 0.5, "levels": "last"}}, "add_ons.levels"),
        ({"add_ons": {"size": 0.5}}, "add_ons.most"),
        ({"add_ons": 3}, "add_ons"),
        ({"add_ons": {"most": 3, "size": 0.5}, "long": {"entry": {"gt": ["close", 1]}}}, "add_ons.every"),
    ],
)
def test_what_is_wrong_is_named_at_its_field(changes: dict[str, Any], field: str) -> None:
    assert field in [at for at, _ in problems_of(**changes)]


def test_an_add_rule_without_add_ons_says_what_is_missing() -> None:
    made = document()
    del made["add_ons"]
    with pytest.raises(InvalidInput) as caught:
        read_definition(made, "file")
    assert [problem.field for problem in caught.value.problems] == ["add_ons"]


def test_add_rules_speak_alike_over_arrays_and_candle_by_candle() -> None:
    closes = [99.0, 101.0, 102.0, 101.5, 103.0, 103.0, 104.0]
    ohlcv = ohlcv_of([(close, close, close, close) for close in closes])
    strategy = RuleStrategy(read_definition(document(), "file"))
    signals = strategy.signals(ohlcv)
    assert signals.long_add is not None
    assert signals.long_add.tolist() == [False, True, True, False, True, False, True]
    assert signals.short_add is None
    stream = strategy.stream()
    said = [stream.update(candle_of(ohlcv, row)).long_add for row in range(len(ohlcv))]
    np.testing.assert_array_equal(said, signals.long_add)
