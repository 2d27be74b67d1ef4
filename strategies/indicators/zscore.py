"""How unusual a value is among its last ones."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from data.models import FloatArray, Ohlcv
from strategies.indicators.sources import SOURCE_OF_CANDLE, source_parameter, source_series
from strategies.indicators.spec import (
    IndicatorParameter,
    IndicatorParams,
    IndicatorSpec,
    IndicatorStream,
    ParameterKind,
)
from strategies.indicators.windows import MAX_WINDOW, mean_deviation, sliding_mean_deviation


def _batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    values = source_series(ohlcv, params["source"])
    mean, deviation = sliding_mean_deviation(values, params["period"])
    scores = np.full(len(values), np.nan)
    np.divide(values - mean, deviation, out=scores, where=deviation > 0)
    return {"value": scores}


class _ZscoreStream:
    """The score candle by candle, from a window of values."""

    def __init__(self, params: IndicatorParams) -> None:
        self._pick = SOURCE_OF_CANDLE[params["source"]]
        self._period = params["period"]
        self._window: deque[float] = deque(maxlen=self._period)

    def update(
        self, opened_at_us: int, open: float, high: float, low: float, close: float, volume: float
    ) -> tuple[float, ...]:
        value = self._pick(open, high, low, close, volume)
        self._window.append(value)
        if len(self._window) < self._period:
            return (math.nan,)
        mean, deviation = mean_deviation(self._window)
        return ((value - mean) / deviation if deviation > 0 else math.nan,)


def _stream(params: IndicatorParams) -> IndicatorStream:
    return _ZscoreStream(params)


ZSCORE = IndicatorSpec(
    name="zscore",
    title="Z",
    summary="How many population standard deviations the value is from the mean of the last `period` values; "
    "none where they are all equal.",
    parameters=(
        IndicatorParameter(
            name="period",
            summary="candles",
            kind=ParameterKind.INTEGER,
            default=20,
            minimum=2,
            maximum=MAX_WINDOW,
        ),
        source_parameter(),
    ),
    outputs=("value",),
    pane="zscore",
    warmup=lambda params: params["period"] - 1,
    settling=lambda params: params["period"] - 1,
    batch=_batch,
    stream=_stream,
)
