"""Python strategies for tests."""

from __future__ import annotations

HEAD = """
from __future__ import annotations

import numpy as np
from pydantic import Field

from data.models import Candle, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Overlay, Protection, Signals
from strategies.python.api import PythonStrategy, Said, StrategyParameters
"""

BREAKOUT = (
    HEAD
    + '''

class Breakout(PythonStrategy):
    """In above the highest high of the candles before,
    out below their lowest low.

    More about it.
    """

    timeframe = Timeframe.M15
    protection = Protection(stop_loss=0.02)

    class Parameters(StrategyParameters):
        period: int = Field(20, ge=2, le=200)

    @property
    def window(self) -> int:
        return self.parameters.period + 1

    def signals(self, ohlcv: Ohlcv) -> Signals:
        upper, lower = self.channel(ohlcv)
        return self.say(ohlcv, long_entry=ohlcv.close > upper, long_exit=ohlcv.close < lower)

    def channel(self, ohlcv: Ohlcv) -> tuple[np.ndarray, np.ndarray]:
        period = self.parameters.period
        upper = np.full(len(ohlcv), np.nan)
        lower = upper.copy()
        if len(ohlcv) > period:
            windows = np.lib.stride_tricks.sliding_window_view
            upper[period:] = windows(ohlcv.high, period).max(axis=1)[:-1]
            lower[period:] = windows(ohlcv.low, period).min(axis=1)[:-1]
        return upper, lower

    def overlays(self, ohlcv: Ohlcv) -> list[Overlay]:
        upper, lower = self.channel(ohlcv)
        return [
            Overlay(name=name, label=name, pane="price", values=values)
            for name, values in (("upper", upper), ("lower", lower))
        ]
'''
)

# Keeps a memory of all candles there ever were: in when the close is the highest since the start.
HIGHEST_EVER = (
    HEAD
    + '''

class Memory:
    def __init__(self) -> None:
        self.highest = 0.0

    def update(self, candle: Candle) -> Said:
        rises = candle.close > self.highest
        self.highest = max(self.highest, candle.close)
        return Said(long_entry=rises)


class HighestEver(PythonStrategy):
    """In on a new all-time high of the closes."""

    window = 1

    def signals(self, ohlcv: Ohlcv) -> Signals:
        before = np.concatenate([[0.0], np.maximum.accumulate(ohlcv.close)[:-1]])[: len(ohlcv)]
        return self.say(ohlcv, long_entry=ohlcv.close > before)

    def incremental(self) -> Memory:
        return Memory()
'''
)


def breakout(**changes: str) -> str:
    """The breakout strategy with some of its text replaced: `breakout(window="return 5")` and the like."""
    places = {
        "signals": "upper, lower = self.channel(ohlcv)\n        return self.say",
        "window": "return self.parameters.period + 1",
        "imports": "import numpy as np\n",
        "entry": "ohlcv.close > upper",
    }
    source = BREAKOUT
    for name, text in changes.items():
        assert places[name] in source
        source = source.replace(places[name], text, 1)
    return source
