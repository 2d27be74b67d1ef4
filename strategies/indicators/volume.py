"""What the traded volume says. Source: TA-Lib."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from data.models import FloatArray, Ohlcv
from strategies.indicators.sources import source_parameter
from strategies.indicators.spec import PRICE_PANE, IndicatorParams, IndicatorStream, period_parameter
from strategies.indicators.talib_functions import FROM_PARAMETER, period_argument, talib_indicator

OBV = talib_indicator(
    name="obv",
    title="OBV",
    summary="On-balance volume: volume added where the close rose, subtracted where it fell. Its level "
    "depends on where the series began; compare it with itself, not with a number.",
    function="OBV",
    inputs=("close", "volume"),
    arguments=lambda params: {},
    warmup=lambda params: 0,
    pane="obv",
)
_VWMA = talib_indicator(
    name="vwap",
    title="VWAP",
    summary="Mean price of the last `period` candles weighted by volume; none where nothing was traded.",
    function="VWMA",
    inputs=(FROM_PARAMETER, "volume"),
    parameters=(period_parameter(20, minimum=1), source_parameter("hlc3")),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane=PRICE_PANE,
)


def _vwap(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    # Where no candle of the window has volume, TA-Lib divides the rounding errors of two running sums.
    rows = np.arange(len(ohlcv))
    last_traded = np.maximum.accumulate(np.where(ohlcv.volume > 0, rows, -1))
    traded = rows - last_traded < params["period"]
    values = _VWMA.batch(ohlcv, params)["value"]
    return {"value": np.where(traded & (last_traded >= 0), values, np.nan)}


class _VwapStream:
    """The same, candle by candle."""

    def __init__(self, params: IndicatorParams) -> None:
        assert _VWMA.stream is not None
        self._weighted = _VWMA.stream(params)
        self._period = params["period"]
        self._candles_without_volume = self._period

    def update(
        self, opened_at_us: int, open: float, high: float, low: float, close: float, volume: float
    ) -> tuple[float, ...]:
        self._candles_without_volume = 0 if volume > 0 else self._candles_without_volume + 1
        values = self._weighted.update(opened_at_us, open, high, low, close, volume)
        return values if self._candles_without_volume < self._period else (math.nan,)


def _vwap_stream(params: IndicatorParams) -> IndicatorStream:
    return _VwapStream(params)


VWAP = replace(_VWMA, batch=_vwap, stream=_vwap_stream)

VOLUME_INDICATORS = (OBV, VWAP)
