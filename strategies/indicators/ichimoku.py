"""Ichimoku's lines, each given at the candle where it is drawn. Source: Hosoda; midpoints by TA-Lib."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from data.models import FloatArray, Ohlcv
from strategies.indicators.spec import (
    PRICE_PANE,
    IndicatorParams,
    IndicatorSpec,
    IndicatorStream,
    period_parameter,
)
from strategies.indicators.talib_functions import TalibFunction


def _midpoint(name: str) -> TalibFunction:
    """The middle of the highest high and the lowest low over as many candles as the parameter `name` says."""
    return TalibFunction(
        function="MIDPRICE",
        inputs=("high", "low"),
        arguments=lambda params: {"timeperiod": params[name]},
        outputs=(name,),
        warmup=lambda params: params[name] - 1,
    )


_CONVERSION, _BASE, _SPAN = _midpoint("conversion"), _midpoint("base"), _midpoint("span")


def _batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    conversion = _CONVERSION.batch(ohlcv, params)["conversion"]
    base = _BASE.batch(ohlcv, params)["base"]
    span = _SPAN.batch(ohlcv, params)["span"]
    later = params["displacement"]
    return {
        "conversion": conversion,
        "base": base,
        "span_a": _delayed((conversion + base) / 2.0, later),
        "span_b": _delayed(span, later),
    }


def _delayed(values: FloatArray, candles: int) -> FloatArray:
    """`values`, each given `candles` rows later, shape (n,)."""
    delayed = np.full(len(values), np.nan)
    kept = max(0, len(values) - candles)
    delayed[len(values) - kept :] = values[:kept]
    return delayed


class _IchimokuStream:
    """The lines candle by candle; the spans wait in a queue until the candle where they apply."""

    def __init__(self, params: IndicatorParams) -> None:
        self._lines = [line.stream(params) for line in (_CONVERSION, _BASE, _SPAN)]
        self._waiting = deque([(math.nan, math.nan)] * params["displacement"])

    def update(
        self, opened_at_us: int, open: float, high: float, low: float, close: float, volume: float
    ) -> tuple[float, ...]:
        conversion, base, span = [
            line.update(opened_at_us, open, high, low, close, volume)[0] for line in self._lines
        ]
        self._waiting.append(((conversion + base) / 2.0, span))
        return (conversion, base, *self._waiting.popleft())


def _stream(params: IndicatorParams) -> IndicatorStream:
    return _IchimokuStream(params)


def _warmup(params: IndicatorParams) -> int:
    longest = max(params["conversion"], params["base"], params["span"])
    return int(longest) - 1 + int(params["displacement"])


ICHIMOKU = IndicatorSpec(
    name="ichimoku",
    title="Ichimoku",
    summary="Middles of the highest high and the lowest low over three lengths: conversion, base, and the "
    "cloud between span_a (middle of both) and span_b. The spans stand at the candle where they are drawn, "
    "computed `displacement` candles before it; a chart that counts the newest candle as the first of 26 "
    "wants 25. The lagging span is the close seen from a later candle and is not offered.",
    parameters=(
        period_parameter(9, name="conversion", summary="candles of the conversion line (tenkan)"),
        period_parameter(26, name="base", summary="candles of the base line (kijun)"),
        period_parameter(52, name="span", summary="candles of span_b (senkou B)"),
        period_parameter(
            26, name="displacement", minimum=0, summary="candles between computing the spans and drawing them"
        ),
    ),
    outputs=("conversion", "base", "span_a", "span_b"),
    pane=PRICE_PANE,
    warmup=_warmup,
    settling=_warmup,
    batch=_batch,
    stream=_stream,
)
