"""How much a price moves about. Source: TA-Lib."""

from __future__ import annotations

from strategies.indicators.sources import source_parameter
from strategies.indicators.spec import PRICE_PANE, IndicatorParameter, ParameterKind, period_parameter
from strategies.indicators.talib_functions import (
    FROM_PARAMETER,
    ema_settling,
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
TRUE_RANGE = talib_indicator(
    name="true_range",
    title="TR",
    summary="The candle's range, widened to the close before it, in quote currency.",
    function="TRANGE",
    inputs=("high", "low", "close"),
    arguments=lambda params: {},
    warmup=lambda params: 1,
    pane="atr",
)
KELTNER = talib_indicator(
    name="keltner",
    title="KC",
    summary="The EMA of hlc3 (middle) and bands `multiplier` ATRs around it, as TA-Lib has it; many charts "
    "take the EMA of the close.",
    function="KC",
    inputs=("high", "low", "close"),
    parameters=(
        period_parameter(20, summary="candles of the EMA"),
        period_parameter(10, name="atr_period", summary="candles of the ATR"),
        IndicatorParameter(
            name="multiplier",
            summary="distance of the bands in ATRs",
            kind=ParameterKind.NUMBER,
            default=2.0,
            minimum=0.0,
            maximum=100.0,
        ),
    ),
    arguments=lambda params: {
        "timeperiod": params["period"],
        "atrperiod": params["atr_period"],
        "nbdev": params["multiplier"],
    },
    warmup=lambda params: max(params["period"] - 1, params["atr_period"]),
    # TA-Lib lets the ATR begin with the candles before the first band, however short it is.
    settling=lambda params: (
        params["period"] + max(ema_settling(params["period"]), wilder_settling(params["atr_period"]))
    ),
    outputs=("upper", "middle", "lower"),
    pane=PRICE_PANE,
)

VOLATILITY_INDICATORS = (BOLLINGER, ATR, STDEV, TRUE_RANGE, KELTNER)
