"""Which way a price goes and where it has been. Source: TA-Lib."""

from __future__ import annotations

from strategies.indicators.sources import source_parameter
from strategies.indicators.spec import PRICE_PANE, IndicatorParameter, ParameterKind, period_parameter
from strategies.indicators.talib_functions import (
    FROM_PARAMETER,
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

TREND_INDICATORS = (DONCHIAN, SUPERTREND, ADX, HIGHEST, LOWEST)
