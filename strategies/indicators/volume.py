"""What the traded volume says. Source: TA-Lib."""

from __future__ import annotations

from strategies.indicators.sources import source_parameter
from strategies.indicators.spec import PRICE_PANE, period_parameter
from strategies.indicators.talib_functions import FROM_PARAMETER, period_argument, talib_indicator

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
VWAP = talib_indicator(
    name="vwap",
    title="VWAP",
    summary="Mean price of the last `period` candles weighted by volume; none where nothing was traded.",
    function="VWMA",
    inputs=(FROM_PARAMETER, "volume"),
    parameters=(period_parameter(20, minimum=1), source_parameter("hlc3")),
    arguments=period_argument,
    warmup=lambda params: params["period"] - 1,
    pane=PRICE_PANE,
    no_value=0.0,
)

VOLUME_INDICATORS = (OBV, VWAP)
