"""Averages of a series over its last candles. Source: TA-Lib."""

from __future__ import annotations

import math

from strategies.indicators.sources import source_parameter
from strategies.indicators.spec import PRICE_PANE, period_parameter
from strategies.indicators.talib_functions import (
    FROM_PARAMETER,
    candles_to_forget,
    ema_settling,
    period_argument,
    talib_indicator,
)

SMA = talib_indicator(
    name="sma",
    title="SMA",
    summary="Simple moving average: the mean of the last `period` values.",
    function="SMA",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(20, minimum=1), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane=PRICE_PANE,
)
EMA = talib_indicator(
    name="ema",
    title="EMA",
    summary="Exponential moving average, weight 2 / (period + 1), seeded with the mean of `period` values.",
    function="EMA",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(20, minimum=1), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    settling=lambda params: ema_settling(params["period"]),
    pane=PRICE_PANE,
)
WMA = talib_indicator(
    name="wma",
    title="WMA",
    summary="Weighted moving average: the newest value weighs `period`, the oldest 1.",
    function="WMA",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(20, minimum=1), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane=PRICE_PANE,
)
DEMA = talib_indicator(
    name="dema",
    title="DEMA",
    summary="Double exponential moving average: twice the EMA minus the EMA of the EMA, for less lag.",
    function="DEMA",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(20), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: 2 * (params["period"] - 1),
    settling=lambda params: 2 * ema_settling(params["period"]),
    pane=PRICE_PANE,
)
TEMA = talib_indicator(
    name="tema",
    title="TEMA",
    summary="Triple exponential moving average: 3 EMA - 3 EMA(EMA) + EMA(EMA(EMA)), for still less lag.",
    function="TEMA",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(20), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: 3 * (params["period"] - 1),
    settling=lambda params: 3 * ema_settling(params["period"]),
    pane=PRICE_PANE,
)
HMA = talib_indicator(
    name="hma",
    title="HMA",
    summary="Hull moving average: the WMA over sqrt(period) candles of twice the WMA over half the period "
    "minus the WMA over the whole, both lengths rounded down.",
    function="HMA",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(20), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"] + math.isqrt(params["period"]) - 2,
    pane=PRICE_PANE,
)
# The weight of the newest value lies between those of an EMA of 2 and of 30 candles, squared.
_LEAST_KAMA_WEIGHT = (2.0 / 31.0) ** 2
KAMA = talib_indicator(
    name="kama",
    title="KAMA",
    summary="Kaufman's adaptive moving average: as fast as an EMA of 2 candles where the price goes straight "
    "over `period` candles, as slow as one of 30 where it goes to and fro.",
    function="KAMA",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(10), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"],
    settling=lambda params: params["period"] + candles_to_forget(_LEAST_KAMA_WEIGHT),
    pane=PRICE_PANE,
)

MOVING_AVERAGES = (SMA, EMA, WMA, DEMA, TEMA, HMA, KAMA)
