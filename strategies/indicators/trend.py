"""Which way a price goes and where it has been. Source: TA-Lib."""

from __future__ import annotations

from strategies.indicators.sources import source_parameter
from strategies.indicators.spec import (
    PRICE_PANE,
    IndicatorParameter,
    IndicatorParams,
    ParameterKind,
    period_parameter,
)
from strategies.indicators.talib_functions import (
    FROM_PARAMETER,
    TalibFunction,
    joined_indicator,
    period_argument,
    talib_indicator,
    wilder_settling,
)

DONCHIAN = talib_indicator(
    name="donchian",
    title="Donchian",
    summary="Highest high, lowest low and their middle over `period` candles, the newest included: "
    "a breakout compares with the candle before, {of: channel.upper, shift: 1}.",
    function="DONCHIAN",
    inputs=("high", "low"),
    parameters=(period_parameter(20),),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    outputs=("upper", "middle", "lower"),
    pane=PRICE_PANE,
)
SUPERTREND = talib_indicator(
    name="supertrend",
    title="Supertrend",
    summary="A line `multiplier` ATRs from the middle price that only tightens until the close crosses it; "
    "direction is 1 while prices are above it, -1 below.",
    function="SUPERTREND",
    inputs=("high", "low", "close"),
    parameters=(
        period_parameter(10, summary="candles of the ATR"),
        IndicatorParameter(
            name="multiplier",
            summary="distance of the line in ATRs",
            kind=ParameterKind.NUMBER,
            default=3.0,
            minimum=0.01,
            maximum=100.0,
        ),
    ),
    arguments=lambda params: {"timeperiod": params["period"], "multiplier": params["multiplier"]},
    warmup=lambda params: params["period"],
    settling=lambda params: wilder_settling(params["period"]),
    outputs=("line", "direction"),
    pane=PRICE_PANE,
    output_panes={"direction": "supertrend"},
    no_value=0.0,
)
ADX = talib_indicator(
    name="adx",
    title="ADX",
    summary="Average directional index, 0 to 100: how strong a trend is, whichever way it goes.",
    function="ADX",
    inputs=("high", "low", "close"),
    parameters=(period_parameter(14),),
    arguments=period_argument,
    warmup=lambda params: 2 * params["period"] - 1,
    settling=lambda params: 2 * wilder_settling(params["period"]),
    pane="adx",
)
HIGHEST = talib_indicator(
    name="highest",
    title="Highest",
    summary="The highest value of the last `period` candles, the newest included.",
    function="MAX",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(20), source_parameter("high")),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane=PRICE_PANE,
)
LOWEST = talib_indicator(
    name="lowest",
    title="Lowest",
    summary="The lowest value of the last `period` candles, the newest included.",
    function="MIN",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(20), source_parameter("low")),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane=PRICE_PANE,
)
DI = joined_indicator(
    name="di",
    title="DI",
    summary="Directional indicators, 0 to 100: how much of the true range were new highs (plus) and new lows "
    "(minus), by Wilder's averages.",
    functions=(
        TalibFunction(
            function="PLUS_DI",
            inputs=("high", "low", "close"),
            arguments=period_argument,
            outputs=("plus",),
            warmup=lambda params: params["period"],
        ),
        TalibFunction(
            function="MINUS_DI",
            inputs=("high", "low", "close"),
            arguments=period_argument,
            outputs=("minus",),
            warmup=lambda params: params["period"],
        ),
    ),
    parameters=(period_parameter(14),),
    warmup=lambda params: params["period"],
    settling=lambda params: wilder_settling(params["period"]),
    outputs=("plus", "minus"),
    pane="adx",
)
AROON = joined_indicator(
    name="aroon",
    title="Aroon",
    summary="How lately the highest high (up) and the lowest low (down) of `period` candles were, 100 for "
    "this candle, and up minus down (oscillator). Of equal extremes the latest counts.",
    functions=(
        TalibFunction(
            function="AROON",
            inputs=("high", "low"),
            arguments=period_argument,
            outputs=("down", "up"),
            warmup=lambda params: params["period"],
        ),
        TalibFunction(
            function="AROONOSC",
            inputs=("high", "low"),
            arguments=period_argument,
            outputs=("oscillator",),
            warmup=lambda params: params["period"],
        ),
    ),
    parameters=(period_parameter(14),),
    warmup=lambda params: params["period"],
    outputs=("up", "down", "oscillator"),
    pane="aroon",
)
# A reversal forgets all but the extreme of the trend it ends; after several the start no longer shows.
_SAR_SETTLING = 500


def _sar_objection(params: IndicatorParams) -> str:
    # TA-Lib would lower it to the maximum in silence.
    within = params["acceleration"] <= params["maximum"]
    return "" if within else "acceleration must not be above maximum"


PSAR = talib_indicator(
    name="psar",
    title="SAR",
    summary="Parabolic stop and reverse: a stop that closes in on the price, faster with each new extreme, "
    "until it is hit and the other side begins. The first side is that of the first directional movement.",
    function="SAR",
    inputs=("high", "low"),
    parameters=(
        IndicatorParameter(
            name="acceleration",
            summary="step by which it speeds up at each new extreme",
            kind=ParameterKind.NUMBER,
            default=0.02,
            minimum=0.0001,
            maximum=1.0,
        ),
        IndicatorParameter(
            name="maximum",
            summary="the most it speeds up to",
            kind=ParameterKind.NUMBER,
            default=0.2,
            minimum=0.0001,
            maximum=1.0,
        ),
    ),
    arguments=lambda params: {"acceleration": params["acceleration"], "maximum": params["maximum"]},
    warmup=lambda params: 1,
    settling=lambda params: _SAR_SETTLING,
    pane=PRICE_PANE,
    objection=_sar_objection,
)
LINREG_SLOPE = talib_indicator(
    name="linreg_slope",
    title="Slope",
    summary="Slope of the straight line that fits the last `period` values best, per candle.",
    function="LINEARREG_SLOPE",
    inputs=(FROM_PARAMETER,),
    parameters=(period_parameter(14), source_parameter()),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane="linreg_slope",
)

TREND_INDICATORS = (DONCHIAN, SUPERTREND, ADX, HIGHEST, LOWEST, DI, AROON, PSAR, LINREG_SLOPE)
