"""A strategy written in Python, behind the interface that every strategy has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn, TypeVar

import numpy as np
from pydantic import ValidationError

from data.errors import InvalidInput, Problem
from data.models import Candle, FloatArray, IntArray, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Decision, Overlay, Protection, Signals, Sizing, StrategyStream
from strategies.python.api import Incremental, PythonStrategy, Said

_T = TypeVar("_T")
MOST_WINDOW = 20_000  # candles
_COLUMNS = ("long_entry", "long_exit", "short_entry", "short_exit")


class LoadedPythonStrategy:
    """Satisfies `strategies.base.Strategy`. Batch and stream run the same `signals` of the same class."""

    def __init__(
        self,
        made: type[PythonStrategy],
        source: str,
        *,
        name: str,
        parameters: Mapping[str, float | str] | None = None,
        timeframe: Timeframe | str | None = None,
    ) -> None:
        """`name` is the file's. Raises InvalidInput for unfit parameters, time frame or window."""
        self.name = name
        self._made = made
        self._source = source
        self.timeframe = _timeframe(name, made.timeframe if timeframe is None else timeframe)
        try:
            self._values = made.Parameters.model_validate(dict(parameters or {}))
        except ValidationError as invalid:
            raise InvalidInput(*_problems(name, invalid, made)) from None
        found = self._values.model_dump()
        for field, value in found.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                _refuse(name, f"Parameters.{field}", repr(value), "a parameter is a number: int or float")
        self.parameters: Mapping[str, float] = found
        self.protection: Protection = _instance(name, "protection", made.protection, Protection)
        self.sizing: Sizing = _instance(name, "sizing", made.sizing, Sizing)
        self.warmup = self._window()

    @cached_property
    def version(self) -> str:
        """SHA-256, in hex, of the canonical JSON of source, parameter values and time frame."""
        decisive = {
            "parameters": dict(self.parameters),
            "python": self._source,
            "timeframe": self.timeframe.value,
        }
        text = json.dumps(decisive, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def source(self) -> str:
        """The file's text."""
        return self._source

    @property
    def description(self) -> str:
        """The class's docstring up to its first blank line."""
        return " ".join((self._made.__doc__ or "").split("\n\n")[0].split())

    @property
    def is_incremental(self) -> bool:
        """Whether it keeps a memory of its own instead of being run over its window."""
        return self.instance().incremental() is not None

    def instance(self) -> PythonStrategy:
        """A fresh instance of the class in the file."""
        return self._made(self._values, self.timeframe)

    def signals(self, ohlcv: Ohlcv) -> Signals:
        """What the code says on each candle. Raises InvalidInput for another time frame or a wrong result."""
        if ohlcv.timeframe is not self.timeframe:
            _refuse(
                self.name,
                "timeframe",
                self.timeframe.value,
                f"the candles given are of {ohlcv.timeframe}; the two must be the same",
            )
        return checked_signals(self.instance().signals(ohlcv), len(ohlcv), self.name)

    def stream(self) -> StrategyStream:
        memory = self.instance().incremental()
        return _WindowStream(self) if memory is None else _IncrementalStream(self, memory)

    def overlays(self, ohlcv: Ohlcv) -> Sequence[Overlay]:
        return self.instance().overlays(ohlcv)

    def _window(self) -> int:
        try:
            window = self.instance().window
        except NotImplementedError:
            _refuse(self.name, "window", "", "say how many candles a signal may depend on: window = 200")
        if isinstance(window, bool) or not isinstance(window, int) or not 1 <= window <= MOST_WINDOW:
            _refuse(self.name, "window", repr(window), f"expected a whole number from 1 to {MOST_WINDOW:,}")
        return window


def checked_signals(found: object, length: int, where: str) -> Signals:
    """`found` if it is Signals of bool columns of that length. Raises InvalidInput naming what it is."""
    if not isinstance(found, Signals):
        _refuse(where, "signals", type(found).__name__, "signals returns Signals: use self.say(ohlcv, ...)")
    for name in _COLUMNS:
        column = getattr(found, name)
        if not isinstance(column, np.ndarray) or column.dtype != np.bool_ or column.shape != (length,):
            shape = getattr(column, "shape", None)
            kind = getattr(column, "dtype", type(column).__name__)
            _refuse(where, f"signals.{name}", f"{kind} {shape}", f"expected bool of shape ({length},)")
    return found


class _WindowStream:
    """Runs the strategy over the newest `window` candles and takes what it says on the last."""

    def __init__(self, strategy: LoadedPythonStrategy) -> None:
        self._strategy = strategy
        self._window = strategy.warmup
        room = max(64, 2 * self._window)
        self._opened: IntArray = np.zeros(room, dtype=np.int64)
        self._prices: FloatArray = np.zeros((5, room))
        self._end = 0

    def update(self, candle: Candle) -> Decision:
        """Take the next closed candle. Raises ValueError for one of another time frame or out of order."""
        self._append(candle)
        ohlcv = self._newest()
        said = self._strategy.signals(ohlcv)
        return _decision(
            self._strategy,
            candle,
            Said(**{name: bool(getattr(said, name)[-1]) for name in _COLUMNS}),
            self._strategy.overlays(ohlcv),
        )

    def _append(self, candle: Candle) -> None:
        last = int(self._opened[self._end - 1]) if self._end else None
        _check_order(self._strategy, candle, last)
        if self._end == len(self._opened):
            kept = self._window - 1
            self._opened[:kept] = self._opened[self._end - kept : self._end].copy()
            self._prices[:, :kept] = self._prices[:, self._end - kept : self._end].copy()
            self._end = kept
        self._opened[self._end] = candle.opened_at_us
        self._prices[:, self._end] = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        self._end += 1

    def _newest(self) -> Ohlcv:
        part = slice(max(0, self._end - self._window), self._end)
        prices = self._prices[:, part].copy()
        return Ohlcv(
            timeframe=self._strategy.timeframe,
            opened_at_us=self._opened[part].copy(),
            open=prices[0],
            high=prices[1],
            low=prices[2],
            close=prices[3],
            volume=prices[4],
        )


class _IncrementalStream:
    """Hands candles to the memory that the strategy keeps itself."""

    def __init__(self, strategy: LoadedPythonStrategy, memory: Incremental) -> None:
        self._strategy = strategy
        self._memory = memory
        self._last_us: int | None = None

    def update(self, candle: Candle) -> Decision:
        """Take the next closed candle. Raises ValueError for one of another time frame or out of order."""
        _check_order(self._strategy, candle, self._last_us)
        self._last_us = candle.opened_at_us
        said = self._memory.update(candle)
        if not isinstance(said, Said):
            _refuse(self._strategy.name, "incremental", type(said).__name__, "update returns Said(...)")
        return _decision(self._strategy, candle, said, ())


def _check_order(strategy: LoadedPythonStrategy, candle: Candle, last_us: int | None) -> None:
    if candle.timeframe != strategy.timeframe:
        raise ValueError(f"a candle of {candle.timeframe} for a strategy of {strategy.timeframe}")
    if last_us is not None and candle.opened_at_us <= last_us:
        raise ValueError(f"candle at {candle.opened_at_us} us does not follow the one at {last_us} us")


def _decision(
    strategy: LoadedPythonStrategy, candle: Candle, said: Said, overlays: Sequence[Overlay]
) -> Decision:
    """The record holds the newest value of each overlay; the code that judged them is the version's."""
    values: dict[str, Any] = {}
    for overlay in overlays:
        value = float(overlay.values[-1])
        values[overlay.name] = value if np.isfinite(value) else None
    return Decision(
        strategy=strategy.name,
        version=strategy.version,
        opened_at_us=candle.opened_at_us,
        close=float(candle.close),
        long_entry=bool(said.long_entry),
        long_exit=bool(said.long_exit),
        short_entry=bool(said.short_entry),
        short_exit=bool(said.short_exit),
        record={"values": values},
    )


def _timeframe(where: str, found: object) -> Timeframe:
    try:
        return Timeframe(str(found))
    except ValueError:
        _refuse(where, "timeframe", f'"{found}"', f"expected one of {', '.join(Timeframe)}")


def _instance(where: str, field: str, found: object, wanted: type[_T]) -> _T:
    if not isinstance(found, wanted):
        _refuse(where, field, repr(found)[:60], f"expected {wanted.__name__}(...)")
    return found


def _problems(where: str, invalid: ValidationError, made: type[PythonStrategy]) -> list[Problem]:
    known = ", ".join(made.Parameters.model_fields) or "none"
    return [
        Problem(
            where=where,
            field=".".join(("parameters", *(str(part) for part in error["loc"]))),
            value=repr(error["input"])[:60],
            expected=f"{error['msg']}; parameters are {known}",
        )
        for error in invalid.errors()
    ]


def _refuse(where: str, field: str, value: str, expected: str) -> NoReturn:
    raise InvalidInput(Problem(where=where, field=field, value=value, expected=expected))
