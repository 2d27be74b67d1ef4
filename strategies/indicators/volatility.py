"""How much a price moves about. Source: TA-Lib."""

from __future__ import annotations

from strategies.indicators.sources import source_parameter
from strategies.indicators.spec import PRICE_PANE, IndicatorParameter, ParameterKind, period_parameter
from strategies.indicators.talib_functions import (
    FROM_PARAMETER,
    period_argument,
    talib_indicator,
    wilder_settling,
)

BOLLINGER = talib_indicator(
    name="bollinger",
    title="BB",
    summary="The mean of `period` values (middle) and bands `deviations` population deviations around it.",
    function="BBANDS",
    inputs=(FROM_PARAMETER,),
    parameters=(
        period_parameter(20),
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
    arguments=lambda params: {
        "timeperiod": params["period"],
        "nbdevup": params["deviations"],
        "nbdevdn": params["deviations"],
        "matype": 0,
    },
    warmup=lambda params: params["period"] - 1,
    outputs=("upper", "middle", "lower"),
    pane=PRICE_PANE,
)
ATR = talib_indicator(
    name="atr",
    title="ATR",
    summary="Average true range by Wilder's average, in quote currency.",
    function="ATR",
    inputs=("high", "low", "close"),
    parameters=(period_parameter(14, minimum=1),),
    arguments=period_argument,
    warmup=lambda params: params["period"],
    settling=lambda params: wilder_settling(params["period"]),
    pane="atr",
)
STDEV = talib_indicator(
    name="stdev",
    title="StDev",
    summary="Population standard deviation of the last `period` values.",
    function="STDDEV",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(20), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane="stdev",
)

VOLATILITY_INDICATORS = (BOLLINGER, ATR, STDEV)
