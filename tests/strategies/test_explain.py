from __future__ import annotations

from typing import Any

from strategies.explain import condition_text, explain
from strategies.loader import parse_strategy
from tests.strategies.documents import EXAMPLE, example


def test_a_record_reads_as_the_sentence_of_its_rule() -> None:
    record = {
        "values": {"rsi": 31.4, "close": 61_250.0, "trend": 60_900.0},
        "rules": {"long.entry": [True, "all", [True, "lt", "rsi", 35], [True, "gt", "close", "trend"]]},
    }
    assert explain(record) == {"long.entry": "rsi 31.4 < 35 yes · close 61,250 > trend 60,900 yes -> entry"}


def test_every_operator_has_its_words() -> None:
    cross = [False, "crosses_above", "fast@1", 3]
    slope = [None, "rising", "slow", 2]
    rule: list[Any] = [None, "any", ["ignored"], ["ignored"]]
    rule[2:] = [[True, "not", cross], [None, "all", slope, [False, "gte", "close", 0.000123456789]]]
    values = {"fast@1": 2.5, "fast@2": 1_234_567.0, "slow": None, "slow@2": 1.0, "close": 1234.5678}
    assert explain({"values": values, "rules": {"short.exit": rule}}) == {
        "short.exit": "not (fast@1 2.5 crosses above 3 (before: 1,234,567) no) yes or "
        "(slow missing rising over 2 candles (from 1) not known yet · "
        "close 1,234.57 >= 0.000123457 no) -> no exit"
    }


def test_rules_read_as_sentences() -> None:
    strategy = parse_strategy(EXAMPLE, "f")
    assert condition_text(strategy.rules["long.entry"]) == (
        "fast crosses above slow and close > trend and rsi < 70"
    )
    entry = {"any": [{"not": {"falling": ["close", 1]}}, {"all": [{"gt": [{"of": "close", "shift": 2}, 1]}]}]}
    other = parse_strategy(example(long={"entry": entry}), "f")
    assert condition_text(other.rules["long.entry"]) == "(not (close falling over 1 candle)) or (close@2 > 1)"
