"""What a strategy would have drawn and said on stored candles, before it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboard.figures.price_chart import (
    MAX_MARKERS,
    chart_options,
    overlay_colours,
    pane_options,
    price_chart_series,
)
from dashboard.number_formats import price_decimals
from dashboard.readers import MarketReader
from dashboard.theme import Theme
from data.models import BoolArray, Market
from data.timeframes import SECOND_US
from strategies.base import Signals, Strategy

BARS = 1_000
_SETTLED = 2  # times the warm-up are read before the first candle that is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The chart's properties and what stands above it."""

    series: list[dict[str, Any]]
    options: dict[str, Any]
    panes: list[dict[str, Any]]
    legend: list[tuple[str, str]]  # colour and label of each line
    counts: dict[str, int]  # signals by name
    bars: int


def preview(strategy: Strategy, market: Market, reader: MarketReader, theme: Theme) -> Preview:
    """The newest stored candles of a market with the strategy's lines and signals. Reads the store."""
    wanted = BARS + _SETTLED * strategy.warmup
    ohlcv = reader.candles(market, strategy.timeframe, limit=wanted)
    start = max(0, len(ohlcv) - BARS)
    signals, overlays = strategy.signals(ohlcv), strategy.overlays(ohlcv)
    shown = ohlcv.rows(start, len(ohlcv))
    lines = [
        type(line)(name=line.name, label=line.label, pane=line.pane, values=line.values[start:])
        for line in overlays
    ]
    counts, markers = _markers(signals, shown.opened_at_us // SECOND_US, start, theme)
    decimals = price_decimals(reader.instrument(market), shown.close)
    return Preview(
        series=price_chart_series(shown, lines, theme=theme, decimals=decimals, markers=markers),
        options=chart_options(theme, strategy.timeframe),
        panes=pane_options(lines),
        legend=[
            (colour, line.label) for line, colour in zip(lines, overlay_colours(lines, theme), strict=True)
        ],
        counts=counts,
        bars=len(shown),
    )


def _markers(
    signals: Signals, times: Any, start: int, theme: Theme
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """An arrow where a signal begins: up for a purchase, a letter for what it means.

    A rule such as "RSI above 70" speaks on many candles in a row. Each is counted; the first has the arrow.
    """
    kinds: tuple[tuple[str, BoolArray, bool, str], ...] = (
        ("long entry", signals.long_entry, True, "L"),
        ("long exit", signals.long_exit, False, "x"),
        ("short entry", signals.short_entry, False, "S"),
        ("short exit", signals.short_exit, True, "x"),
    )
    counts: dict[str, int] = {}
    markers: list[dict[str, Any]] = []
    for name, said, buys, letter in kinds:
        shown = said[start:]
        if count := int(np.count_nonzero(shown)):
            counts[name] = count
        rows = np.flatnonzero(shown & ~np.concatenate(([False], shown[:-1])))
        markers += [
            {
                "time": int(times[row]),
                "position": "belowBar" if buys else "aboveBar",
                "shape": "arrowUp" if buys else "arrowDown",
                "color": theme.up_text if buys else theme.down_text,
                "text": letter,
            }
            for row in rows[-MAX_MARKERS:].tolist()
        ]
    return counts, sorted(markers, key=lambda one: one["time"])[-MAX_MARKERS:]
