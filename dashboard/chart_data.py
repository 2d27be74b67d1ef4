"""Candles with their overlays, read and computed together. Synchronous: call it in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.figures.drawings import (
    DEFAULT_DRAWING,
    NO_DRAWING,
    IndicatorDrawing,
    drawing_items,
    known_drawings,
    parse_indicator,
)
from dashboard.figures.moving_averages import DEFAULT_PERIODS, default_overlays
from dashboard.figures.price_chart import PRICE, VOLUME, candle_rows, overlay_ticks, volume_rows
from dashboard.live_views import Body, ChartView
from dashboard.readers import MarketReader, StrategyShelf
from dashboard.theme import theme_named
from data.models import Market, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Overlay, Strategy

FIRST_BARS = 1_500
HISTORY_BARS = 3_000  # a browser that says nothing else gets so many at a time
MOST_HISTORY_BARS = 24_000
RECENT_BARS = 60  # a minute of the shortest time frame to read a chart and begin to watch it
# An exponential average that began this many periods earlier differs by less than a millionth of the price.
_SETTLED_PERIODS = 8
_MOST_WARMUP = 6_000  # candles read before the first one that is drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRows:
    """Candles and overlays of the same length; `more` says that older candles are stored."""

    ohlcv: Ohlcv
    overlays: Sequence[Overlay]
    more: bool


class ChartData:
    """Reads what a price chart shows."""

    def __init__(self, reader: MarketReader, shelf: StrategyShelf) -> None:
        self._reader = reader
        self._shelf = shelf

    def overlay_choices(self) -> list[str]:
        """Names of strategies whose lines can be drawn."""
        return list(self._shelf.names())

    def knows_overlay(self, text: str) -> bool:
        """Whether a list of drawings, which may come from a browser, is one of ours in its canonical form."""
        return known_drawings(text, self._shelf.names()) == text

    def strategy(self, name: str, timeframe: Timeframe) -> Strategy:
        """A strategy that can be drawn. Raises InvalidInput."""
        return self._shelf.strategy(name, timeframe)

    def candles(self, market: Market, timeframe: Timeframe, *, bars: int, end_us: int | None = None) -> Ohlcv:
        """The newest `bars` candles that open before `end_us`."""
        return self._reader.candles(market, timeframe, end_us=end_us, limit=bars)

    def rows(
        self, market: Market, timeframe: Timeframe, overlay: str, *, bars: int, end_us: int | None = None
    ) -> ChartRows:
        """The newest `bars` candles that open before `end_us`, with overlays computed from earlier ones on.

        Raises InvalidInput for an overlay that cannot be drawn on this time frame.
        """
        # One candle more, even without a line to compute, tells whether there are older ones.
        warmup = max(1, self._warmup(overlay, timeframe))
        ohlcv = self._reader.candles(market, timeframe, end_us=end_us, limit=bars + warmup)
        overlays = self._overlays(overlay, ohlcv)
        start = max(0, len(ohlcv) - bars)
        return ChartRows(
            ohlcv=ohlcv.rows(start, len(ohlcv)),
            overlays=[
                Overlay(
                    name=line.name,
                    label=line.label,
                    pane=line.pane,
                    values=line.values[start:],
                )
                for line in overlays
            ],
            more=start > 0,
        )

    def recent_ticks(self, view: ChartView) -> list[Body]:
        """The newest closed candles of a chart with their overlays, in order of time."""
        rows = self.rows(view.market, view.timeframe, view.overlay, bars=RECENT_BARS)
        theme = theme_named(view.scheme)
        candles = [
            {"id": name, "bar": bar}
            for name, bars in ((PRICE, candle_rows(rows.ohlcv)), (VOLUME, volume_rows(rows.ohlcv, theme)))
            for bar in bars
        ]
        return candles + overlay_ticks(rows.ohlcv, rows.overlays, RECENT_BARS)

    def overlay_ticks(self, view: ChartView, bars: int) -> list[Body]:
        """The overlays' values on a chart's newest `bars` candles."""
        rows = self.rows(view.market, view.timeframe, view.overlay, bars=bars)
        return overlay_ticks(rows.ohlcv, rows.overlays, bars)

    def _warmup(self, overlay: str, timeframe: Timeframe) -> int:
        wanted = (self._warmup_of(item, timeframe) for item in drawing_items(overlay))
        return min(_MOST_WARMUP, max(wanted, default=0))

    def _warmup_of(self, item: str, timeframe: Timeframe) -> int:
        if item == NO_DRAWING:
            return 0
        if item == DEFAULT_DRAWING:
            return _SETTLED_PERIODS * max(DEFAULT_PERIODS)
        if (indicator := parse_indicator(item)) is not None:
            return max(indicator.spec.warmup(indicator.params), indicator.spec.settling(indicator.params))
        return _SETTLED_PERIODS * max(1, self._shelf.strategy(item, timeframe).warmup)

    def _overlays(self, overlay: str, ohlcv: Ohlcv) -> list[Overlay]:
        items = [item for item in drawing_items(overlay) if item != NO_DRAWING]
        return [line for item in items for line in self._lines(item, ohlcv, alone=len(items) == 1)]

    def _lines(self, item: str, ohlcv: Ohlcv, *, alone: bool) -> list[Overlay]:
        if item == DEFAULT_DRAWING:
            return default_overlays(ohlcv)
        indicator: IndicatorDrawing | None = parse_indicator(item)
        if indicator is not None:
            return indicator.overlays(ohlcv)
        lines = self._shelf.strategy(item, ohlcv.timeframe).overlays(ohlcv)
        if alone:
            return list(lines)
        # Two strategies may name a line alike.
        return [
            Overlay(name=f"{item}.{line.name}", label=line.label, pane=line.pane, values=line.values)
            for line in lines
        ]
