"""The two moving averages every chart shows until a strategy is chosen."""

from __future__ import annotations

import talib

from data.models import Ohlcv
from strategies.base import Overlay

DEFAULT_PERIODS = (12, 26)  # candles


def default_overlays(ohlcv: Ohlcv) -> list[Overlay]:
    """Exponential moving averages of the close; missing until their warm-up is over."""
    return [
        Overlay(
            name=f"ema-{period}",
            label=f"EMA {period}",
            pane="price",
            values=talib.EMA(ohlcv.close, timeperiod=period),
        )
        for period in DEFAULT_PERIODS
    ]
