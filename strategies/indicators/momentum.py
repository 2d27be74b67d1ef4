"""How fast and how far a price has moved. Source: TA-Lib."""

from __future__ import annotations

from strategies.indicators.sources import source_parameter
from strategies.indicators.spec import IndicatorParams, period_parameter
from strategies.indicators.talib_functions import (
    FROM_PARAMETER,
    ema_settling,
    period_argument,
    talib_indicator,
    wilder_settling,
)


def _macd_objection(params: IndicatorParams) -> str:
    # TA-Lib would swap them in silence.
    return "" if params["fast"] < params["slow"] else "fast must be below slow"


def _ultimate_objection(params: IndicatorParams) -> str:
    # TA-Lib would sort them in silence.
    in_order = params["fast"] < params["medium"] < params["slow"]
    return "" if in_order else "fast must be below medium, and medium below slow"


RSI = talib_indicator(
    name="rsi",
    title="RSI",
    summary="Relative strength index, 0 to 100, by Wilder's averages of rises and falls.",
    function="RSI",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(14), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"],
    settling=lambda params: wilder_settling(params["period"]),
    pane="rsi",
)
MACD = talib_indicator(
    name="macd",
    title="MACD",
    summary="Fast EMA minus slow EMA (macd), its own EMA (signal), and their difference (histogram).",
    function="MACD",
    inputs=(FROM_PARAMETER,),
    parameters=(
        period_parameter(12, name="fast", summary="candles of the fast EMA"),
        period_parameter(26, name="slow", summary="candles of the slow EMA"),
        period_parameter(9, name="signal", minimum=1, summary="candles of the signal's EMA"),
        source_parameter(),
    ),
    arguments=lambda params: {
        "fastperiod": params["fast"],
        "slowperiod": params["slow"],
        "signalperiod": params["signal"],
    },
    warmup=lambda params: params["slow"] + params["signal"] - 2,
    settling=lambda params: ema_settling(params["slow"]) + ema_settling(params["signal"]),
    outputs=("macd", "signal", "histogram"),
    pane="macd",
    objection=_macd_objection,
)
ROC = talib_indicator(
    name="roc",
    title="ROC",
    summary="Rate of change over `period` candles, in percent.",
    function="ROC",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(10, minimum=1), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"],
    pane="roc",
)
MOMENTUM = talib_indicator(
    name="momentum",
    title="Momentum",
    summary="The value minus the value `period` candles ago.",
    function="MOM",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(10, minimum=1), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"],
    pane="momentum",
)
STOCHASTIC = talib_indicator(
    name="stochastic",
    title="Stochastic",
    summary="Where the close stands between the lowest low and the highest high, 0 to 100: "
    "smoothed (k) and its mean (d).",
    function="STOCH",
    inputs=("high", "low", "close"),
    parameters=(
        period_parameter(14, minimum=1, summary="candles of the range"),
        period_parameter(
            3, name="smoothing", minimum=1, summary="candles of the mean that makes k; 1 for the fast one"
        ),
        period_parameter(3, name="signal", minimum=1, summary="candles of the mean of k that makes d"),
    ),
    arguments=lambda params: {
        "fastk_period": params["period"],
        "slowk_period": params["smoothing"],
        "slowk_matype": 0,
        "slowd_period": params["signal"],
        "slowd_matype": 0,
    },
    warmup=lambda params: params["period"] + params["smoothing"] + params["signal"] - 3,
    outputs=("k", "d"),
    pane="stochastic",
)
CCI = talib_indicator(
    name="cci",
    title="CCI",
    summary="Commodity channel index: how far hlc3 is from its mean, in units of 0.015 mean deviations.",
    function="CCI",
    inputs=("high", "low", "close"),
    parameters=(period_parameter(20),),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane="cci",
)
STOCHASTIC_RSI = talib_indicator(
    name="stochastic_rsi",
    title="StochRSI",
    summary="Where the RSI stands between its own lowest and highest, 0 to 100 (k), and its mean (d). "
    "k is not smoothed, as TA-Lib has it: charts that smooth k by 3 show our d as their k.",
    function="STOCHRSI",
    inputs=(FROM_PARAMETER,),
    parameters=(
        period_parameter(14, summary="candles of the RSI"),
        period_parameter(14, name="range", minimum=1, summary="candles of the RSI's range"),
        period_parameter(3, name="signal", minimum=1, summary="candles of the mean of k that makes d"),
        source_parameter(),
    ),
    arguments=lambda params: {
        "timeperiod": params["period"],
        "fastk_period": params["range"],
        "fastd_period": params["signal"],
        "fastd_matype": 0,
    },
    warmup=lambda params: params["period"] + params["range"] + params["signal"] - 2,
    # Twice: where the RSI hardly moves, its place in its own range shows what the RSI itself has forgotten.
    settling=lambda params: 2 * wilder_settling(params["period"]) + params["range"] + params["signal"],
    outputs=("k", "d"),
    pane="stochastic_rsi",
)
WILLIAMS_R = talib_indicator(
    name="williams_r",
    title="%R",
    summary="Williams %R: how far the close is below the highest high, from 0 (at it) to -100 (at the "
    "lowest low).",
    function="WILLR",
    inputs=("high", "low", "close"),
    parameters=(period_parameter(14),),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane="williams_r",
)
TRIX = talib_indicator(
    name="trix",
    title="TRIX",
    summary="The change of a triple EMA from the candle before, in percent.",
    function="TRIX",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(15), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: 3 * (params["period"] - 1) + 1,
    settling=lambda params: 3 * ema_settling(params["period"]) + 1,
    pane="trix",
)
ULTIMATE = talib_indicator(
    name="ultimate",
    title="UO",
    summary="Ultimate oscillator, 0 to 100: buying pressure over three lengths, weighing 4, 2 and 1.",
    function="ULTOSC",
    inputs=("high", "low", "close"),
    parameters=(
        period_parameter(7, name="fast", minimum=1, summary="candles of the shortest length"),
        period_parameter(14, name="medium", summary="candles of the middle length"),
        period_parameter(28, name="slow", summary="candles of the longest length"),
    ),
    arguments=lambda params: {
        "timeperiod1": params["fast"],
        "timeperiod2": params["medium"],
        "timeperiod3": params["slow"],
    },
    warmup=lambda params: params["slow"],
    pane="ultimate",
    objection=_ultimate_objection,
)

MOMENTUM_INDICATORS = (
    RSI,
    MACD,
    ROC,
    MOMENTUM,
    STOCHASTIC,
    CCI,
    STOCHASTIC_RSI,
    WILLIAMS_R,
    TRIX,
    ULTIMATE,
)
