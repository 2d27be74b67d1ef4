"""What a strategy written in Python builds on.

class Breakout(PythonStrategy):
    \"\"\"In above the highest high of the last candles, out below the lowest low.\"\"\"

    timeframe = Timeframe.M15

    class Parameters(StrategyParameters):
        period: int = Field(20, ge=2, le=200)

    @property
    def window(self) -> int:
        return self.parameters.period + 1

    def signals(self, ohlcv: Ohlcv) -> Signals:
        ...
        return self.say(ohlcv, long_entry=above, long_exit=below)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel

from data.models import BoolArray, Candle, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Overlay, Protection, Signals, Sizing


class StrategyParameters(BaseModel, frozen=True, extra="forbid"):
    """Numbers that a sweep may vary, each with a default and its bounds (`pydantic.Field`)."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What an incremental strategy says on one candle."""

    long_entry: bool = False
    long_exit: bool = False
    short_entry: bool = False
    short_exit: bool = False


class Incremental(Protocol):
    """A strategy's memory, fed candle by candle. It must say what `signals` says, on every bar."""

    def update(self, candle: Candle) -> Said: ...


class PythonStrategy:
    """Subclass it once in a file. The file's name is the strategy's."""

    timeframe: Timeframe = Timeframe.M5  # the file's own; a bot or a backtest may ask for another
    protection: ClassVar[Protection] = Protection()
    sizing: ClassVar[Sizing] = Sizing()

    Parameters: ClassVar[type[StrategyParameters]] = StrategyParameters

    def __init__(self, parameters: Any, timeframe: Timeframe) -> None:
        """`parameters` is an instance of the class's own `Parameters`. Override nothing of this."""
        self.parameters = parameters
        self.timeframe = timeframe

    @property
    def window(self) -> int:
        """Candles, the newest included, that a signal may depend on. Live, no more than these are given."""
        raise NotImplementedError

    def signals(self, ohlcv: Ohlcv) -> Signals:
        """What is said on each candle, from that one and those before alone."""
        raise NotImplementedError

    def incremental(self) -> Incremental | None:
        """A fresh memory, for a strategy that depends on all candles there ever were; else None."""
        return None

    def overlays(self, ohlcv: Ohlcv) -> Sequence[Overlay]:
        """Lines to draw; their newest values also stand in the decision's record."""
        return ()

    @staticmethod
    def say(
        ohlcv: Ohlcv,
        *,
        long_entry: ArrayLike = False,
        long_exit: ArrayLike = False,
        short_entry: ArrayLike = False,
        short_exit: ArrayLike = False,
    ) -> Signals:
        """Signals from conditions, each of shape (n,) or one value for all candles."""

        def column(condition: ArrayLike) -> BoolArray:
            found = np.asarray(condition)
            if found.dtype != np.bool_:
                raise TypeError(f"a signal is an array of bool, not of {found.dtype}; write a comparison")
            return np.array(np.broadcast_to(found, (len(ohlcv),)), dtype=np.bool_)

        return Signals(
            long_entry=column(long_entry),
            long_exit=column(long_exit),
            short_entry=column(short_entry),
            short_exit=column(short_exit),
        )
