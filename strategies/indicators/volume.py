"""What the traded volume says. Source: TA-Lib."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from data.models import BoolArray, FloatArray, Ohlcv
from strategies.indicators.sources import source_parameter, source_series
from strategies.indicators.spec import (
    PRICE_PANE,
    IndicatorParams,
    IndicatorSpec,
    IndicatorStream,
    period_parameter,
)
from strategies.indicators.talib_functions import (
    FROM_PARAMETER,
    ema_settling,
    period_argument,
    talib_indicator,
)


def _has_volume(ohlcv: Ohlcv) -> BoolArray:
    return ohlcv.volume > 0


def _has_money_flow(ohlcv: Ohlcv) -> BoolArray:
    typical = source_series(ohlcv, "hlc3")
    flowed: BoolArray = (ohlcv.volume > 0) & (np.diff(typical, prepend=typical[:1]) != 0)
    return flowed


class _VolumeMark:
    """Whether a candle has volume."""

    def counts(self, high: float, low: float, close: float, volume: float) -> bool:
        return volume > 0


class _MoneyFlowMark:
    """Whether a candle has volume at another typical price than the candle before."""

    def __init__(self) -> None:
        self._before = math.nan

    def counts(self, high: float, low: float, close: float, volume: float) -> bool:
        typical = (high + low + close) / 3.0
        before, self._before = self._before, typical
        return volume > 0 and typical != before and not math.isnan(before)


class _StreamWithout:
    """A stream whose values are missing where no candle of its window counts."""

    def __init__(self, inner: IndicatorStream, mark: _VolumeMark | _MoneyFlowMark, period: int) -> None:
        self._inner = inner
        self._mark = mark
        self._period = period
        self._since = period  # candles since one counted

    def update(
        self, opened_at_us: int, open: float, high: float, low: float, close: float, volume: float
    ) -> tuple[float, ...]:
        self._since = 0 if self._mark.counts(high, low, close, volume) else self._since + 1
        values = self._inner.update(opened_at_us, open, high, low, close, volume)
        return values if self._since < self._period else (math.nan,) * len(values)


def _missing_without(
    spec: IndicatorSpec,
    counts: Callable[[Ohlcv], BoolArray],
    mark: Callable[[], _VolumeMark | _MoneyFlowMark],
) -> IndicatorSpec:
    """The same, without a value where no candle of its last `period` counts.

    There TA-Lib divides the rounding errors of two running sums, or answers 0.
    """
    inner_batch, inner_stream = spec.batch, spec.stream
    assert inner_stream is not None

    def batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
        rows = np.arange(len(ohlcv))
        last = np.maximum.accumulate(np.where(counts(ohlcv), rows, -1))
        known = (rows - last < params["period"]) & (last >= 0)
        return {name: np.where(known, values, np.nan) for name, values in inner_batch(ohlcv, params).items()}

    def stream(params: IndicatorParams) -> IndicatorStream:
        return _StreamWithout(inner_stream(params), mark(), params["period"])

    return replace(spec, batch=batch, stream=stream)


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
VWAP = _missing_without(
    talib_indicator(
        name="vwap",
        title="VWAP",
        summary="Mean price of the last `period` candles weighted by volume; none where nothing was traded.",
        function="VWMA",
        inputs=(FROM_PARAMETER, "volume"),
        parameters=(period_parameter(20, minimum=1), source_parameter("hlc3")),
        arguments=period_argument,
        warmup=lambda params: params["period"] - 1,
        pane=PRICE_PANE,
    ),
    _has_volume,
    _VolumeMark,
)
VWMA = replace(
    VWAP,
    name="vwma",
    title="VWMA",
    summary="Volume-weighted moving average: vwap over the close unless another source is named; none where "
    "nothing was traded.",
    parameters=(period_parameter(20, minimum=1), source_parameter()),
)
MFI = _missing_without(
    talib_indicator(
        name="mfi",
        title="MFI",
        summary="Money flow index, 0 to 100: an RSI of hlc3 weighted by volume; none where no candle of the "
        "last `period` was traded at another hlc3 than the one before.",
        function="MFI",
        inputs=("high", "low", "close", "volume"),
        parameters=(period_parameter(14),),
        arguments=period_argument,
        warmup=lambda params: params["period"],
        pane="mfi",
    ),
    _has_money_flow,
    _MoneyFlowMark,
)
CMF = _missing_without(
    talib_indicator(
        name="cmf",
        title="CMF",
        summary="Chaikin money flow, -1 to 1: volume weighted by where the close stands in the candle's "
        "range, over all volume of `period` candles; none where nothing was traded.",
        function="CMF",
        inputs=("high", "low", "close", "volume"),
        parameters=(period_parameter(20),),
        arguments=period_argument,
        warmup=lambda params: params["period"] - 1,
        pane="cmf",
    ),
    _has_volume,
    _VolumeMark,
)
AD = talib_indicator(
    name="ad",
    title="A/D",
    summary="Accumulation/distribution: volume added up, weighted by where the close stands in the candle's "
    "range. Its level depends on where the series began; compare it with itself, not with a number.",
    function="AD",
    inputs=("high", "low", "close", "volume"),
    arguments=lambda params: {},
    warmup=lambda params: 0,
    pane="ad",
)
FORCE_INDEX = talib_indicator(
    name="force_index",
    title="Force",
    summary="Elder's force index: the EMA of the close's change times the volume.",
    function="EFI",
    inputs=("close", "volume"),
    parameters=(period_parameter(13, minimum=1),),
    arguments=period_argument,
    warmup=lambda params: params["period"],
    # Twice: gains and losses cancel, and what is left may be far smaller than what has to be forgotten.
    settling=lambda params: 1 + 2 * ema_settling(params["period"]),
    pane="force_index",
)

VOLUME_INDICATORS = (OBV, VWAP, VWMA, MFI, CMF, AD, FORCE_INDEX)
