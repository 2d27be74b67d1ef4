"""The series an indicator may be computed from: a price of the candle, a mean of prices, or the volume."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from data.models import FloatArray, Ohlcv
from strategies.indicators.spec import IndicatorParameter, ParameterKind

# The same expressions over columns and over one candle, so that both give the same bits.
_OF_COLUMNS: Mapping[str, Callable[[Ohlcv], FloatArray]] = {
    "open": lambda ohlcv: ohlcv.open,
    "high": lambda ohlcv: ohlcv.high,
    "low": lambda ohlcv: ohlcv.low,
    "close": lambda ohlcv: ohlcv.close,
    "volume": lambda ohlcv: ohlcv.volume,
    "hl2": lambda ohlcv: (ohlcv.high + ohlcv.low) / 2.0,
    "hlc3": lambda ohlcv: (ohlcv.high + ohlcv.low + ohlcv.close) / 3.0,
    "ohlc4": lambda ohlcv: (ohlcv.open + ohlcv.high + ohlcv.low + ohlcv.close) / 4.0,
}
SourceOfCandle = Callable[[float, float, float, float, float], float]
SOURCE_OF_CANDLE: Mapping[str, SourceOfCandle] = {
    "open": lambda open, high, low, close, volume: open,
    "high": lambda open, high, low, close, volume: high,
    "low": lambda open, high, low, close, volume: low,
    "close": lambda open, high, low, close, volume: close,
    "volume": lambda open, high, low, close, volume: volume,
    "hl2": lambda open, high, low, close, volume: (high + low) / 2.0,
    "hlc3": lambda open, high, low, close, volume: (high + low + close) / 3.0,
    "ohlc4": lambda open, high, low, close, volume: (open + high + low + close) / 4.0,
}
SOURCES = tuple(SOURCE_OF_CANDLE)


def source_parameter(default: str = "close") -> IndicatorParameter:
    """Which series of the candles an indicator reads."""
    return IndicatorParameter(
        name="source",
        summary="the series it is computed from; hl2 is (high+low)/2, hlc3 (high+low+close)/3, "
        "ohlc4 the mean of all four prices",
        kind=ParameterKind.CHOICE,
        default=default,
        choices=SOURCES,
    )


def source_series(ohlcv: Ohlcv, source: str) -> FloatArray:
    """The named series of `ohlcv`, shape (n,), as contiguous float64."""
    return np.ascontiguousarray(_OF_COLUMNS[source](ohlcv), dtype=np.float64)
