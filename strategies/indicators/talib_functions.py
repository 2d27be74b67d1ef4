"""TA-Lib's functions as indicators: its arrays for whole series, its O(1) handles for streams.

Source: TA-Lib 0.8, whose handles give the very bits of its batch functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import talib
from talib import stream as talib_stream

from data.models import FloatArray, Ohlcv
from strategies.indicators.sources import SOURCE_OF_CANDLE, SourceOfCandle, source_series
from strategies.indicators.spec import IndicatorParameter, IndicatorParams, IndicatorSpec, IndicatorStream

# TA-Lib's type stubs leave this name out.
_InsufficientHistory: type[Exception] = talib.InsufficientHistory  # type: ignore[attr-defined]

FROM_PARAMETER = "source"  # stands in `inputs` for the series that the parameter `source` names


@dataclass(frozen=True, slots=True, kw_only=True)
class TalibFunction:
    """One TA-Lib function: which series it reads, and its arguments from an indicator's parameters.

    `no_value` is what the function answers where it has none but does not say NaN (a mean by volume over
    candles without volume is 0 to TA-Lib); it becomes NaN.
    """

    function: str
    inputs: tuple[str, ...]
    arguments: Callable[[IndicatorParams], Mapping[str, float]]
    outputs: tuple[str, ...]
    warmup: Callable[[IndicatorParams], int]  # TA-Lib's lookback
    no_value: float | None = None

    def batch(self, ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
        """Each output over all candles, shape (n,)."""
        series = [source_series(ohlcv, name) for name in self._sources(params)]
        found = getattr(talib, self.function)(*series, **self.arguments(params))
        columns = found if isinstance(found, tuple) else (found,)
        return {
            name: self._with_nan(np.asarray(column, dtype=np.float64))
            for name, column in zip(self.outputs, columns, strict=True)
        }

    def stream(self, params: IndicatorParams) -> IndicatorStream:
        """A stream before its first candle."""
        pick = [SOURCE_OF_CANDLE[name] for name in self._sources(params)]
        return _TalibStream(self, pick, self.arguments(params), self.warmup(params) + 1)

    def _sources(self, params: IndicatorParams) -> list[str]:
        return [params["source"] if name == FROM_PARAMETER else name for name in self.inputs]

    def _with_nan(self, column: FloatArray) -> FloatArray:
        return column if self.no_value is None else np.where(column == self.no_value, np.nan, column)


class _TalibStream:
    """A TA-Lib handle that is opened as soon as the function has its first value."""

    def __init__(
        self,
        function: TalibFunction,
        pick: Sequence[SourceOfCandle],
        arguments: Mapping[str, float],
        needed: int,
    ) -> None:
        self._open = getattr(talib_stream, function.function)
        self._pick = pick
        self._arguments = arguments
        self._no_value = function.no_value
        self._nothing = (math.nan,) * len(function.outputs)
        self._history: list[list[float]] = [[] for _ in pick]
        self._needed = needed  # candles before the handle can open
        self._handle: Any = None

    def update(
        self, opened_at_us: int, open: float, high: float, low: float, close: float, volume: float
    ) -> tuple[float, ...]:
        if self._handle is None:
            for history, pick in zip(self._history, self._pick, strict=True):
                history.append(pick(open, high, low, close, volume))
            return self._try_to_open()
        found = self._handle.update(*[pick(open, high, low, close, volume) for pick in self._pick])
        return self._outputs(found)

    def _try_to_open(self) -> tuple[float, ...]:
        if len(self._history[0]) < self._needed:
            return self._nothing
        try:
            self._handle = self._open(*[np.array(history) for history in self._history], **self._arguments)
        except _InsufficientHistory:  # some functions need a little more than their lookback
            return self._nothing
        self._history = []
        return self._outputs(self._handle.value)

    def _outputs(self, found: Any) -> tuple[float, ...]:
        outputs = found if isinstance(found, tuple) else (found,)
        if self._no_value is None:
            return outputs
        return tuple(math.nan if value == self._no_value else float(value) for value in outputs)


class _JoinedStream:
    """Streams side by side; their outputs put in the order of the indicator's."""

    def __init__(self, streams: Sequence[IndicatorStream], order: Sequence[int]) -> None:
        self._streams = streams
        self._order = order

    def update(
        self, opened_at_us: int, open: float, high: float, low: float, close: float, volume: float
    ) -> tuple[float, ...]:
        found: list[float] = []
        for stream in self._streams:
            found.extend(stream.update(opened_at_us, open, high, low, close, volume))
        return tuple([found[position] for position in self._order])


def joined_indicator(
    *,
    name: str,
    title: str,
    summary: str,
    functions: tuple[TalibFunction, ...],
    parameters: tuple[IndicatorParameter, ...],
    warmup: Callable[[IndicatorParams], int],
    settling: Callable[[IndicatorParams], int] | None = None,
    outputs: tuple[str, ...],
    pane: str,
) -> IndicatorSpec:
    """The indicator whose outputs come from several TA-Lib functions, in an order of its own."""
    computed = [output for function in functions for output in function.outputs]
    order = [computed.index(output) for output in outputs]

    def batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
        columns = {}
        for function in functions:
            columns.update(function.batch(ohlcv, params))
        return {output: columns[output] for output in outputs}

    def stream(params: IndicatorParams) -> IndicatorStream:
        return _JoinedStream([function.stream(params) for function in functions], order)

    return IndicatorSpec(
        name=name,
        title=title,
        summary=summary,
        parameters=parameters,
        outputs=outputs,
        pane=pane,
        warmup=warmup,
        settling=settling or warmup,
        batch=batch,
        stream=stream,
    )


def talib_indicator(
    *,
    name: str,
    title: str,
    summary: str,
    function: str,
    inputs: tuple[str, ...],
    parameters: tuple[IndicatorParameter, ...] = (),
    arguments: Callable[[IndicatorParams], Mapping[str, float]],
    warmup: Callable[[IndicatorParams], int],
    settling: Callable[[IndicatorParams], int] | None = None,
    outputs: tuple[str, ...] = ("value",),
    pane: str,
    output_panes: Mapping[str, str] | None = None,
    objection: Callable[[IndicatorParams], str] | None = None,
    no_value: float | None = None,
) -> IndicatorSpec:
    """The indicator that one TA-Lib function computes. Without `settling` it depends on its window alone."""
    computed = TalibFunction(
        function=function,
        inputs=inputs,
        arguments=arguments,
        outputs=outputs,
        warmup=warmup,
        no_value=no_value,
    )
    spec = IndicatorSpec(
        name=name,
        title=title,
        summary=summary,
        parameters=parameters,
        outputs=outputs,
        pane=pane,
        warmup=warmup,
        settling=settling or warmup,
        batch=computed.batch,
        stream=computed.stream,
        output_panes=output_panes or {},
    )
    return spec if objection is None else replace(spec, objection=objection)


def period_argument(params: IndicatorParams) -> Mapping[str, float]:
    """The arguments of the many functions that take a length and nothing else."""
    return {"timeperiod": params["period"]}


def candles_to_forget(weight: float) -> int:
    """Candles until a recursive mean that gives its newest value `weight` has forgotten its seed to 1e-9."""
    return 1 if weight >= 1 else math.ceil(math.log(1e-9) / math.log1p(-weight))


def ema_settling(period: int) -> int:
    """Candles until an EMA no longer shows where it began."""
    return period - 1 + candles_to_forget(2.0 / (period + 1))


def wilder_settling(period: int) -> int:
    """Candles until a Wilder average (weight 1 / period) no longer shows where it began."""
    return period + candles_to_forget(1.0 / period)
