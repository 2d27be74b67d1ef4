"""Averages of a series over its last candles. Source: TA-Lib."""

from __future__ import annotations

from strategies.indicators.sources import source_parameter
from strategies.indicators.spec import PRICE_PANE, period_parameter
from strategies.indicators.talib_functions import (
    FROM_PARAMETER,
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

MOVING_AVERAGES = (SMA, EMA, WMA)
