"""A strategy that another process makes of its recipe is the same strategy."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from backtesting.recipes import made_from, recipe_of
from data.models import Ohlcv
from strategies.base import Strategy
from strategies.loader import parse_strategy
from strategies.python.source import load_source
from tests.backtesting.search.documents import walk
from tests.backtesting.test_backtest_command import STRATEGY
from tests.strategies.python_sources import BREAKOUT

CANDLES: Ohlcv = walk(600)
MADE: dict[str, Strategy] = {
    "rules": parse_strategy(STRATEGY, "cross.json", {"fast": 5, "slow": 40}, "1h"),
    "python": load_source(BREAKOUT, "mine.py", name="mine", parameters={"period": "30"}, timeframe="1h"),
}


@pytest.mark.parametrize("kind", MADE)
def test_the_strategy_says_the_same_elsewhere(kind: str) -> None:
    strategy = MADE[kind]
    again = made_from(pickle.loads(pickle.dumps(recipe_of(strategy))))
    assert (again.name, again.version, again.timeframe) == (
        strategy.name,
        strategy.version,
        strategy.timeframe,
    )
    assert (dict(again.parameters), again.protection, again.sizing) == (
        dict(strategy.parameters),
        strategy.protection,
        strategy.sizing,
    )
    said, says = strategy.signals(CANDLES), again.signals(CANDLES)
    np.testing.assert_array_equal(said.long_entry, says.long_entry)
    np.testing.assert_array_equal(said.long_exit, says.long_exit)
    assert said.long_entry.any()


def test_a_program_that_makes_another_strategy_of_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="version"):
        made_from(replace(recipe_of(MADE["rules"]), version="another"))
