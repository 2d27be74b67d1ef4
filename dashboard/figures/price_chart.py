"""The price chart as lightweight-charts series: pure functions of candles, overlays, markers and the theme.

Times are UTC seconds, as the chart wants them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bots.orders import PositionSide
from bots.views import FillView, PositionView, SignalView
from dashboard.theme import FONT, Theme
from data.models import Candle, FloatArray, IntArray, Ohlcv, Side
from data.timeframes import SECOND_US, Timeframe, floor_to
from strategies.base import Overlay

PRICE = "price"
VOLUME = "volume"
MAX_MARKERS = 1_000
# A bar wider than a second on the axis needs no seconds there.
_WITH_SECONDS = frozenset({Timeframe.S1})
_SCALES = {"log": 1, "percent": 2}

Row = dict[str, Any]
Series = dict[str, Any]


def candle_rows(ohlcv: Ohlcv) -> list[Row]:
    """One row per candle, in order."""
    columns = (
        (ohlcv.opened_at_us // SECOND_US).tolist(),
        ohlcv.open.tolist(),
        ohlcv.high.tolist(),
        ohlcv.low.tolist(),
        ohlcv.close.tolist(),
    )
    return [
        {"time": time, "open": opened, "high": high, "low": low, "close": close}
        for time, opened, high, low, close in zip(*columns, strict=True)
    ]


def volume_rows(ohlcv: Ohlcv, theme: Theme) -> list[Row]:
    """One bar per candle in the colour of its direction."""
    times = (ohlcv.opened_at_us // SECOND_US).tolist()
    rising = (ohlcv.close >= ohlcv.open).tolist()
    return [
        {"time": time, "value": value, "color": theme.up_soft if up else theme.down_soft}
        for time, value, up in zip(times, ohlcv.volume.tolist(), rising, strict=True)
    ]


def line_rows(opened_at_us: IntArray, values: FloatArray) -> list[Row]:
    """One point per known value; where a value is missing in the middle the line breaks."""
    known = ~np.isnan(values)
    if not known.any():
        return []
    first = int(np.argmax(known))
    times = (opened_at_us[first:] // SECOND_US).tolist()
    return [
        {"time": time, "value": value} if value == value else {"time": time}
        for time, value in zip(times, values[first:].tolist(), strict=True)
    ]


def overlay_id(overlay: Overlay) -> str:
    """The series' id of an overlay; its name is unique within a strategy."""
    return f"overlay-{overlay.name}"


def overlay_colours(overlays: Sequence[Overlay], theme: Theme) -> list[str]:
    """A colour per overlay in order, starting over when they run out."""
    return [theme.overlays[index % len(theme.overlays)] for index in range(len(overlays))]


def overlay_panes(overlays: Sequence[Overlay]) -> dict[str, int]:
    """Pane name to pane index: price is 0, volume 1, own panes follow in order of appearance."""
    panes = {"price": 0}
    for overlay in overlays:
        panes.setdefault(overlay.pane, len(panes) + 1)
    return panes


def series_specs(
    overlays: Sequence[Overlay], *, theme: Theme, decimals: int, scale: str = ""
) -> list[Series]:
    """The series of a chart without their data: candles, volume, then a line per overlay.

    `scale` of the prices is "log", "percent" (of the first candle in view) or anything else for even steps.
    """
    panes = overlay_panes(overlays)
    colours = overlay_colours(overlays, theme)
    return [
        {**_price_spec(theme, decimals), "priceScaleOptions": {"mode": _SCALES.get(scale, 0)}},
        # A pane that comes later begins with the scale of the first: volume would be in percent as well.
        {**_volume_spec(), "priceScaleOptions": {"mode": 0}},
        *(
            {
                **_line_spec(overlay, panes[overlay.pane], colour, decimals),
                **({} if overlay.pane == "price" else {"priceScaleOptions": {"mode": 0}}),
            }
            for overlay, colour in zip(overlays, colours, strict=True)
        ),
    ]


def _price_spec(theme: Theme, decimals: int) -> Series:
    return {
        "id": PRICE,
        "type": "candlestick",
        "options": {
            "upColor": theme.up,
            "downColor": theme.down,
            "wickUpColor": theme.up,
            "wickDownColor": theme.down,
            "borderVisible": False,
            "priceFormat": {
                "type": "custom",
                "formatter": f"price{decimals}",
                "minMove": float(f"1e-{decimals}"),
            },
        },
    }


def _volume_spec() -> Series:
    return {
        "id": VOLUME,
        "type": "histogram",
        "pane": 1,
        "options": {
            "priceFormat": {"type": "custom", "formatter": "compact", "minMove": 0.000001},
            "priceLineVisible": False,
            "lastValueVisible": False,
        },
    }


def _line_spec(overlay: Overlay, pane: int, colour: str, decimals: int) -> Series:
    on_price = overlay.pane == "price"
    own = "compact" if np.nanmax(np.abs(overlay.values), initial=0.0) >= 1e5 else "price2"
    return {
        "id": overlay_id(overlay),
        "type": "line",
        "pane": pane,
        "options": {
            "color": colour,
            "lineWidth": 1,
            "priceLineVisible": False,
            "lastValueVisible": not on_price,
            "crosshairMarkerVisible": False,
            "priceFormat": {
                "type": "custom",
                "formatter": f"price{decimals}" if on_price else own,
                "minMove": float(f"1e-{decimals}") if on_price else 0.01,
            },
        },
    }


def price_chart_series(
    ohlcv: Ohlcv,
    overlays: Sequence[Overlay],
    *,
    theme: Theme,
    decimals: int,
    markers: Sequence[Row] = (),
    price_lines: Sequence[Row] = (),
) -> list[Series]:
    """Candles, volume and overlays as the `series` of a chart. An overlay has one value per candle."""
    price, volume, *lines = series_specs(overlays, theme=theme, decimals=decimals)
    price |= {"data": candle_rows(ohlcv), "markers": list(markers), "priceLines": list(price_lines)}
    volume |= {"data": volume_rows(ohlcv, theme)}
    for line, overlay in zip(lines, overlays, strict=True):
        line["data"] = line_rows(ohlcv.opened_at_us, overlay.values)
    return [price, volume, *lines]


def chart_columns(ohlcv: Ohlcv, overlays: Sequence[Overlay], decimals: int) -> Row:
    """Candles and overlays as arrays, a third of the text of rows. Lines on the prices get 2 digits more."""
    lines = {
        overlay_id(overlay): np.round(overlay.values, decimals + 2)
        if overlay.pane == "price"
        else np.round(overlay.values, 6)
        for overlay in overlays
    }
    return {
        "t": ohlcv.opened_at_us // SECOND_US,
        # The writer of JSON takes arrays without gaps alone, and a column may be a slice of a table.
        "o": np.ascontiguousarray(ohlcv.open),
        "h": np.ascontiguousarray(ohlcv.high),
        "l": np.ascontiguousarray(ohlcv.low),
        "c": np.ascontiguousarray(ohlcv.close),
        "v": np.ascontiguousarray(ohlcv.volume),
        "lines": lines,
    }


def candle_ticks(candle: Candle, theme: Theme) -> list[Row]:
    """What moves the last bar of the price and the volume, or appends one."""
    time = candle.opened_at_us // SECOND_US
    colour = theme.up_soft if candle.close >= candle.open else theme.down_soft
    return [
        {
            "id": PRICE,
            "bar": {
                "time": time,
                "open": candle.open,
                "high": candle.high,
                "low": candle.low,
                "close": candle.close,
            },
        },
        {"id": VOLUME, "bar": {"time": time, "value": candle.volume, "color": colour}},
    ]


def overlay_ticks(ohlcv: Ohlcv, overlays: Sequence[Overlay], rows: int) -> list[Row]:
    """The newest `rows` values of each overlay, to extend its line."""
    recent = ohlcv.rows(max(0, len(ohlcv) - rows), len(ohlcv))
    return [
        {"id": overlay_id(overlay), "bar": row}
        for overlay in overlays
        for row in line_rows(recent.opened_at_us, overlay.values[-len(recent) :])
        if "value" in row
    ]


def pane_options(overlays: Sequence[Overlay], shares: Sequence[float] = ()) -> list[Row]:
    """How much of the height each pane takes: `shares` if there is one for each, else what suits most."""
    extra = len(overlay_panes(overlays)) - 1
    suits = [6.0, 1.2, *[1.4] * extra]
    fits = len(shares) == len(suits) and all(share > 0 for share in shares)
    return [{"stretchFactor": share} for share in (shares if fits else suits)]


def chart_options(theme: Theme, timeframe: Timeframe) -> Row:
    """Colours, type and scales of the chart."""
    return {
        "autoSize": True,
        "layout": {
            "background": {"type": "solid", "color": theme.s1},
            "textColor": theme.tx2,
            "fontFamily": FONT,
            "fontSize": 11,
            "attributionLogo": True,
            "panes": {"separatorColor": theme.line, "separatorHoverColor": theme.line2},
        },
        "grid": {"vertLines": {"color": theme.grid}, "horzLines": {"color": theme.grid}},
        "crosshair": {
            "mode": 0,
            "vertLine": {"color": theme.tx3, "labelBackgroundColor": theme.line2},
            "horzLine": {"color": theme.tx3, "labelBackgroundColor": theme.line2},
        },
        "rightPriceScale": {"borderColor": theme.line, "scaleMargins": {"top": 0.14, "bottom": 0.06}},
        "timeScale": {
            "borderColor": theme.line,
            "timeVisible": True,
            "secondsVisible": timeframe in _WITH_SECONDS,
            "rightOffset": 13,
            "barSpacing": 7,
            "minBarSpacing": 0.4,
            "tickMarkFormatter": "axis",
        },
        "localization": {"timeFormatter": "moment"},
    }


def signal_markers(signals: Iterable[SignalView], timeframe: Timeframe, theme: Theme) -> list[Row]:
    """A dot per signal on the candle that made it; arrows of the next candle's fill stay clear of it."""
    return [
        {
            "time": floor_to(signal.opened_at_us, timeframe) // SECOND_US,
            "position": "inBar",
            "shape": "circle",
            "color": theme.warn,
            "size": 0.7,
        }
        for signal in signals
    ]


def fill_markers(fills: Iterable[FillView], timeframe: Timeframe, theme: Theme) -> list[Row]:
    """An arrow per fill on the candle it happened in, up and below for a buy, down and above for a sale."""
    return [
        {
            "time": floor_to(fill.filled_at_us, timeframe) // SECOND_US,
            "position": "belowBar" if fill.side is Side.BUY else "aboveBar",
            "shape": "arrowUp" if fill.side is Side.BUY else "arrowDown",
            "color": theme.up_text if fill.side is Side.BUY else theme.down_text,
            "text": "B" if fill.side is Side.BUY else "S",
        }
        for fill in fills
    ]


def merged_markers(signals: Sequence[Row], fills: Sequence[Row], *, start_us: int) -> list[Row]:
    """All markers from `start_us` on in order of time, the newest MAX_MARKERS of them; alike ones once."""
    start = start_us // SECOND_US
    unique = {
        (row["time"], row["shape"], row["position"]): row
        for row in (*signals, *fills)
        if row["time"] >= start
    }
    return sorted(unique.values(), key=lambda row: row["time"])[-MAX_MARKERS:]


def position_lines(positions: Mapping[str, PositionView], theme: Theme) -> list[Row]:
    """Entry, stop and target of open positions, keyed by bot name, as horizontal lines."""
    lines: list[Row] = []
    for bot, position in positions.items():
        word = "long" if position.side is PositionSide.LONG else "short"
        levels = (
            (position.entry_price, theme.accent, f"{bot} {word}"),
            (position.stop_price, theme.down, "Stop"),
            (position.trailing_price, theme.down, "Trailing stop"),
            (position.target_price, theme.up, "Target"),
        )
        lines.extend(
            {
                "price": float(price),
                "color": colour,
                "lineWidth": 1,
                "lineStyle": 1,
                "axisLabelVisible": True,
                "title": title,
            }
            for price, colour, title in levels
            if price is not None
        )
    return lines


def buys(action: str) -> bool:
    """Whether a signal's action is a purchase: entering long or leaving short."""
    return action in ("long_entry", "short_exit")
