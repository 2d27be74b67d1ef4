from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtesting.search import signals
from backtesting.search.bindings import Bindings
from backtesting.search.bitmaps import as_booleans, from_booleans, next_set
from backtesting.search.signals import CacheTooSmall, SharedSignals
from data.timeframes import Timeframe
from strategies.loader import parse_strategy
from tests.backtesting.search.documents import crossover, walk
from tests.strategies.documents import EXAMPLE

TEMPLATES = sorted(Path("config/strategies").glob("*_*.json"))
SIDES = ("long_entry", "long_exit", "short_entry", "short_exit")

RULES: list[Any] = [
    {"gt": ["fast", "slow"]},
    {"gte": ["close", {"of": "close", "shift": 3}]},
    {"lt": ["fast", 1_000]},
    {"lte": [1_000, "slow"]},
    {"rising": ["fast", 4]},
    {"falling": {"of": "slow", "over": 2}},
    {"crosses_above": ["close", "slow"]},
    {"crosses_below": [{"of": "fast", "shift": 2}, 1_000]},
    {"crosses_above": [{"parameter": "fast"}, "fast"]},
    {"gte": [{"of": "close", "shift": 500}, "close"]},
]
RULES += [{"not": rule} for rule in RULES]
RULES += [{"all": RULES[:3]}, {"any": RULES[11:14]}, {"not": {"all": [RULES[4], {"any": RULES[16:18]}]}}]


def assert_same_signals(document: dict[str, Any], candles: int = 300) -> None:
    strategy = parse_strategy(document, "test")
    ohlcv = walk(candles, timeframe=Timeframe(document["timeframe"]))
    bound = Bindings(document, "test", None).of(strategy.parameters)
    [words] = SharedSignals(ohlcv).of([bound.rules])
    expected = strategy.signals(ohlcv)
    for side in SIDES:
        np.testing.assert_array_equal(
            as_booleans(getattr(words, side), candles), getattr(expected, side), err_msg=side
        )


@pytest.mark.parametrize("rule", RULES, ids=json.dumps)
def test_bitmaps_say_what_the_rule_engine_says(rule: dict[str, Any]) -> None:
    # Prices on a coarse grid, so that equal values are met.
    assert_same_signals(crossover(long={"entry": rule, "exit": {"not": rule}}))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_every_template_gives_the_same_signals(path: Path) -> None:
    assert_same_signals(json.loads(path.read_text()), 1_500)


def test_a_higher_time_frame_joins_by_its_last_closed_candle() -> None:
    assert_same_signals(EXAMPLE, 1_500)


def test_what_is_kept_from_earlier_sets_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "FEWEST_ROWS", 4)
    monkeypatch.setattr(signals, "CACHE_BYTES", 0)
    ohlcv = walk(300)
    bindings = Bindings(crossover(), "test", None)
    shared = SharedSignals(ohlcv)
    for fast, slow in ((3, 9), (4, 9), (5, 10), (3, 9), (4, 11)):
        bound = bindings.of({"fast": fast, "slow": slow})
        [found] = shared.of([bound.rules])
        [alone] = SharedSignals(ohlcv).of([bound.rules])
        np.testing.assert_array_equal(found.long_entry, alone.long_entry)
    many = [bindings.of({"fast": fast, "slow": 50}).rules for fast in range(2, 12)]
    with pytest.raises(CacheTooSmall):
        shared.of(many)


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.data())
def test_the_next_bit_is_the_next_true(values: list[bool], data: st.DataObject) -> None:
    flags = np.array(values)
    words = from_booleans(flags)
    np.testing.assert_array_equal(as_booleans(words, len(flags)), flags)
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    expected = next((row for row in range(start, stop) if values[row]), stop)
    assert next_set(words, start, stop) == expected
