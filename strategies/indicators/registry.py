"""Every indicator a strategy, a chart or the command line can name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from strategies.indicators.ichimoku import ICHIMOKU
from strategies.indicators.momentum import MOMENTUM_INDICATORS
from strategies.indicators.moving_averages import MOVING_AVERAGES
from strategies.indicators.sessions import SESSION_INDICATORS
from strategies.indicators.spec import IndicatorSpec
from strategies.indicators.ta_package import TA_PACKAGE_INDICATORS
from strategies.indicators.trend import TREND_INDICATORS
from strategies.indicators.volatility import VOLATILITY_INDICATORS
from strategies.indicators.volume import VOLUME_INDICATORS
from strategies.indicators.zscore import ZSCORE

INDICATORS: Mapping[str, IndicatorSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            *MOVING_AVERAGES,
            *MOMENTUM_INDICATORS,
            *VOLATILITY_INDICATORS,
            ZSCORE,
            *TREND_INDICATORS,
            ICHIMOKU,
            *VOLUME_INDICATORS,
            *SESSION_INDICATORS,
            *TA_PACKAGE_INDICATORS,
        )
    }
)
