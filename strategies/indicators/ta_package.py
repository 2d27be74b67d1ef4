"""The numbers of the PyPI package `ta` 0.11 by name (`ta:rsi`), over whole arrays only.

They differ from TA-Lib's while a series begins: `ta` starts its averages with the first value instead of the
mean of the first n, and counts the first candle's high minus low as a true range. Where `ta` answers 0 for
"no value yet" (ATR, ADX) the value is missing here. Our own kernels; source: the package's documentation and
stored results of it.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import talib

from data.models import FloatArray, Ohlcv
from strategies.indicators.sources import source_parameter, source_series
from strategies.indicators.spec import (
    PRICE_PANE,
    IndicatorParameter,
    IndicatorParams,
    IndicatorSpec,
    ParameterKind,
    period_parameter,
)
from strategies.indicators.talib_functions import ema_settling, wilder_settling
from strategies.indicators.windows import MAX_WINDOW, sliding_mean_deviation


def _weighted(values: FloatArray, weight: float) -> FloatArray:
    """The recursive mean that begins with the first value and gives each newer one `weight`, shape (n,).

    In the package's own order of operations: MACDs near 0 show the last bits of their EMAs.
    """
    kept = 1.0 - weight
    means = accumulate(values.tolist(), lambda mean, value: kept * mean + weight * value)
    return np.fromiter(means, dtype=np.float64, count=len(values))


def _ema(values: FloatArray, period: int) -> FloatArray:
    """That mean with an EMA's weight, missing until `period` values are seen; leading NaNs are skipped."""
    means = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    if len(known):
        first = int(known[0])
        means[first:] = _weighted(values[first:], 2.0 / (period + 1))
        means[first : first + period - 1] = np.nan
    return means


def _of_source(ohlcv: Ohlcv, params: IndicatorParams) -> FloatArray:
    return source_series(ohlcv, params["source"])


def _ema_batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    return {"value": _ema(_of_source(ohlcv, params), params["period"])}


def _rsi_batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    values, period = _of_source(ohlcv, params), params["period"]
    change = np.diff(values, prepend=values[:1])
    rises = _weighted(np.where(change > 0, change, 0.0), 1.0 / period)
    falls = _weighted(np.where(change < 0, -change, 0.0), 1.0 / period)
    strength = np.full(len(values), np.inf)
    # Falls that have almost faded make it larger than a double can be: an RSI of 100, as without any.
    with np.errstate(over="ignore"):
        np.divide(rises, falls, out=strength, where=falls > 0)
    rsi = 100.0 - 100.0 / (1.0 + strength)
    rsi[: period - 1] = np.nan
    return {"value": rsi}


def _macd_batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    values = _of_source(ohlcv, params)
    macd = _ema(values, params["fast"]) - _ema(values, params["slow"])
    signal = _ema(macd, params["signal"])
    return {"macd": macd, "signal": signal, "histogram": macd - signal}


def _macd_objection(params: IndicatorParams) -> str:
    return "" if params["fast"] < params["slow"] else "fast must be below slow"


def _bollinger_batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    middle, deviation = sliding_mean_deviation(_of_source(ohlcv, params), params["period"])
    away = params["deviations"] * deviation
    return {"upper": middle + away, "middle": middle, "lower": middle - away}


def _stochastic_batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    period, signal = params["period"], params["signal"]
    high, low, close = (source_series(ohlcv, name) for name in ("high", "low", "close"))
    lowest = talib.MIN(low, timeperiod=period) if period > 1 else low
    highest = talib.MAX(high, timeperiod=period) if period > 1 else high
    k = np.full(len(close), np.nan)
    # A range of 0 has no place for the close to stand at.
    np.divide(100.0 * (close - lowest), highest - lowest, out=k, where=highest > lowest)
    return {"k": k, "d": sliding_mean_deviation(k, signal)[0]}


def _atr_batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    close_before = np.concatenate([[np.nan], ohlcv.close[:-1]])[: len(ohlcv)]
    # The first candle has no close before it: its range alone counts.
    ranges = np.fmax(
        ohlcv.high - ohlcv.low,
        np.fmax(np.abs(ohlcv.high - close_before), np.abs(ohlcv.low - close_before)),
    )
    return {"value": talib.RMA(ranges, timeperiod=params["period"])}


def _adx_batch(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    period, rows = params["period"], len(ohlcv)
    adx = np.full(rows, np.nan)
    if rows < 2 * period:
        return {"value": adx}
    high, low, close = ohlcv.high, ohlcv.low, ohlcv.close
    ranges = np.maximum(high[1:], close[:-1]) - np.minimum(low[1:], close[:-1])
    up, down = np.diff(high), -np.diff(low)
    # The package's sums are these means times the period, which falls out of their ratios.
    mean_range = talib.RMA(ranges, timeperiod=period)[period - 1 :]
    mean_up = talib.RMA(np.where((up > down) & (up > 0), up, 0.0), timeperiod=period)[period - 1 :]
    mean_down = talib.RMA(np.where((down > up) & (down > 0), down, 0.0), timeperiod=period)[period - 1 :]
    plus, minus, directional = (np.zeros(len(mean_range)) for _ in range(3))
    np.divide(100.0 * mean_up, mean_range, out=plus, where=mean_range != 0)
    np.divide(100.0 * mean_down, mean_range, out=minus, where=mean_range != 0)
    both = plus + minus
    np.divide(100.0 * np.abs(plus - minus), both, out=directional, where=both != 0)
    adx[period:] = talib.RMA(directional, timeperiod=period)
    return {"value": adx}


def _window_parameter(name: str, default: int, summary: str, *, minimum: int) -> IndicatorParameter:
    return IndicatorParameter(
        name=name,
        summary=summary,
        kind=ParameterKind.INTEGER,
        default=default,
        minimum=minimum,
        maximum=MAX_WINDOW,
    )


TA_RSI = IndicatorSpec(
    name="ta:rsi",
    title="RSI (ta)",
    summary="RSI as the package ta has it: Wilder's averages begin with the first candle's change of 0, so "
    "the first value comes one candle before TA-Lib's.",
    parameters=(period_parameter(14), source_parameter()),
    outputs=("value",),
    pane="rsi",
    warmup=lambda params: params["period"] - 1,
    settling=lambda params: wilder_settling(params["period"]),
    batch=_rsi_batch,
    stream=None,
)
TA_MACD = IndicatorSpec(
    name="ta:macd",
    title="MACD (ta)",
    summary="MACD as the package ta has it: every EMA begins with its first value; macd starts "
    "before signal.",
    parameters=(
        period_parameter(12, name="fast", summary="candles of the fast EMA"),
        period_parameter(26, name="slow", summary="candles of the slow EMA"),
        period_parameter(9, name="signal", minimum=1, summary="candles of the signal's EMA"),
        source_parameter(),
    ),
    outputs=("macd", "signal", "histogram"),
    pane="macd",
    warmup=lambda params: params["slow"] + params["signal"] - 2,
    settling=lambda params: ema_settling(params["slow"]) + ema_settling(params["signal"]),
    batch=_macd_batch,
    stream=None,
    objection=_macd_objection,
)
TA_ATR = IndicatorSpec(
    name="ta:atr",
    title="ATR (ta)",
    summary="ATR as the package ta has it: the first candle's range counts as a true range, so the first "
    "value comes one candle before TA-Lib's; missing before that, where ta answers 0.",
    parameters=(period_parameter(14, minimum=1),),
    outputs=("value",),
    pane="atr",
    warmup=lambda params: params["period"] - 1,
    settling=lambda params: wilder_settling(params["period"]),
    batch=_atr_batch,
    stream=None,
)
TA_ADX = IndicatorSpec(
    name="ta:adx",
    title="ADX (ta)",
    summary="ADX as the package ta has it: its sums begin with `period` whole candles where TA-Lib's begin "
    "with one less; missing before its first value, where ta answers 0.",
    parameters=(period_parameter(14),),
    outputs=("value",),
    pane="adx",
    warmup=lambda params: 2 * params["period"] - 1,
    settling=lambda params: 2 * wilder_settling(params["period"]),
    batch=_adx_batch,
    stream=None,
)
TA_BOLLINGER = IndicatorSpec(
    name="ta:bollinger",
    title="BB (ta)",
    summary="Bollinger bands as the package ta has them: the same population deviation as bollinger.",
    parameters=(
        _window_parameter("period", 20, "candles", minimum=2),
        IndicatorParameter(
            name="deviations",
            summary="distance of the bands in standard deviations",
            kind=ParameterKind.NUMBER,
            default=2.0,
            minimum=0.0,
            maximum=100.0,
        ),
        source_parameter(),
    ),
    outputs=("upper", "middle", "lower"),
    pane=PRICE_PANE,
    warmup=lambda params: params["period"] - 1,
    settling=lambda params: params["period"] - 1,
    batch=_bollinger_batch,
    stream=None,
)
TA_EMA = IndicatorSpec(
    name="ta:ema",
    title="EMA (ta)",
    summary="EMA as the package ta has it: it begins with the first value, not with a mean.",
    parameters=(period_parameter(14, minimum=1), source_parameter()),
    outputs=("value",),
    pane=PRICE_PANE,
    warmup=lambda params: params["period"] - 1,
    settling=lambda params: ema_settling(params["period"]),
    batch=_ema_batch,
    stream=None,
)
TA_STOCHASTIC = IndicatorSpec(
    name="ta:stochastic",
    title="Stochastic (ta)",
    summary="Stochastic as the package ta has it: k is not smoothed (stochastic with smoothing 1) and starts "
    "before d; none where the range is 0.",
    parameters=(
        period_parameter(14, minimum=1, summary="candles of the range"),
        _window_parameter("signal", 3, "candles of the mean of k that makes d", minimum=1),
    ),
    outputs=("k", "d"),
    pane="stochastic",
    warmup=lambda params: params["period"] + params["signal"] - 2,
    settling=lambda params: params["period"] + params["signal"] - 2,
    batch=_stochastic_batch,
    stream=None,
)

TA_PACKAGE_INDICATORS = (TA_RSI, TA_MACD, TA_ATR, TA_ADX, TA_BOLLINGER, TA_EMA, TA_STOCHASTIC)
