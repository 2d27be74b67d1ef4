from __future__ import annotations

import numpy as np

from bots.orders import PositionSide
from bots.views import SignalView
from dashboard.figures.moving_averages import default_overlays
from dashboard.figures.price_chart import (
    MAX_MARKERS,
    candle_rows,
    candle_ticks,
    chart_columns,
    fill_markers,
    line_rows,
    merged_markers,
    overlay_panes,
    overlay_ticks,
    pane_options,
    position_lines,
    price_chart_series,
    series_specs,
    signal_markers,
)
from dashboard.theme import DARK, LIGHT
from data.models import Side
from data.timeframes import SECOND_US, Timeframe
from strategies.base import Overlay
from tests.dashboard.fakes import BTC, NOW_US, fill, forming, position, walk

OHLCV = walk(Timeframe.M1, 60, end_us=NOW_US, start=64_000.0, seed=3, step=0.001)


def _signal(at_us: int, action: str) -> SignalView:
    return SignalView(
        strategy="s",
        version="v",
        market=BTC,
        timeframe=Timeframe.M1,
        opened_at_us=at_us,
        action=action,
        close=1.0,
        record={},
    )


def test_candles_become_rows_in_utc_seconds() -> None:
    rows = candle_rows(OHLCV)
    assert len(rows) == 60
    assert rows[7] == {
        "time": int(OHLCV.opened_at_us[7]) // SECOND_US,
        "open": OHLCV.open[7],
        "high": OHLCV.high[7],
        "low": OHLCV.low[7],
        "close": OHLCV.close[7],
    }


def test_a_line_begins_when_its_warm_up_is_over_and_breaks_where_values_are_missing() -> None:
    times = OHLCV.opened_at_us[:4]
    rows = line_rows(times, np.array([np.nan, 2.0, np.nan, 4.0]))
    seconds = (times // SECOND_US).tolist()
    assert rows == [
        {"time": seconds[1], "value": 2.0},
        {"time": seconds[2]},
        {"time": seconds[3], "value": 4.0},
    ]
    assert line_rows(times, np.full(4, np.nan)) == []


def test_volume_bars_take_the_colour_of_their_candle() -> None:
    series = price_chart_series(OHLCV, [], theme=LIGHT, decimals=2)
    for row, opened, close in zip(series[1]["data"], OHLCV.open, OHLCV.close, strict=True):
        assert row["color"] == (LIGHT.up_soft if close >= opened else LIGHT.down_soft)


def test_overlays_share_the_price_pane_or_get_one_of_their_own() -> None:
    values = np.arange(60.0)
    lines = [
        Overlay(name="fast", label="EMA 12", pane="price", values=values),
        Overlay(name="rsi", label="RSI 14", pane="rsi", values=values),
        Overlay(name="macd", label="MACD", pane="macd", values=values),
        Overlay(name="signal", label="Signal", pane="macd", values=values),
    ]
    series = price_chart_series(OHLCV, lines, theme=DARK, decimals=2)
    assert [one.get("pane", 0) for one in series] == [0, 1, 0, 2, 3, 3]
    assert len({one["id"] for one in series}) == len(series)
    assert len(pane_options(lines)) == 1 + max(overlay_panes(lines).values())
    colours = {one["options"]["color"] for one in series[2:]}
    assert len(colours) == 4
    assert not colours & {DARK.up, DARK.down}


def test_a_tick_moves_the_bar_it_belongs_to() -> None:
    candle = forming(BTC, OHLCV, 64_100.0)
    price, volume = candle_ticks(candle, DARK)
    assert price["bar"]["time"] == volume["bar"]["time"] == candle.opened_at_us // SECOND_US
    assert price["bar"]["close"] == 64_100.0


def test_overlay_ticks_are_the_newest_values_only() -> None:
    ticks = overlay_ticks(OHLCV, default_overlays(OHLCV), 3)
    assert [tick["id"] for tick in ticks] == ["overlay-ema-12"] * 3 + ["overlay-ema-26"] * 3
    assert ticks[2]["bar"]["time"] == int(OHLCV.opened_at_us[-1]) // SECOND_US


def test_columns_hold_what_the_rows_hold() -> None:
    columns = chart_columns(OHLCV, default_overlays(OHLCV), 2)
    rows = candle_rows(OHLCV)
    assert columns["t"].tolist() == [row["time"] for row in rows]
    assert columns["c"].tolist() == [row["close"] for row in rows]
    assert list(columns["lines"]) == ["overlay-ema-12", "overlay-ema-26"]
    line = columns["lines"]["overlay-ema-12"]
    assert np.isnan(line[:11]).all()
    np.testing.assert_allclose(line[11:], default_overlays(OHLCV)[0].values[11:], atol=0.00005)


def test_the_series_of_a_chart_are_the_same_with_and_without_their_data() -> None:
    overlays = default_overlays(OHLCV)
    whole = price_chart_series(OHLCV, overlays, theme=DARK, decimals=2)
    bare = series_specs(overlays, theme=DARK, decimals=2)
    assert [
        {k: v for k, v in one.items() if k not in ("data", "markers", "priceLines")} for one in whole
    ] == bare


def test_fills_and_signals_stand_on_the_candle_that_holds_them() -> None:
    at_us = 1_723_161_725 * SECOND_US  # 00:02:05
    arrows = fill_markers(
        [fill("b", Side.BUY, at_us, 1.0), fill("b", Side.SELL, at_us, 1.0)], Timeframe.M5, DARK
    )
    assert [arrow["time"] for arrow in arrows] == [1_723_161_600] * 2
    assert [arrow["position"] for arrow in arrows] == ["belowBar", "aboveBar"]
    assert signal_markers([_signal(at_us, "long_entry")], Timeframe.M1, DARK)[0]["time"] == 1_723_161_720


def test_markers_are_in_order_within_the_chart_and_bounded() -> None:
    signals = signal_markers(
        [_signal(i * 60 * SECOND_US, "long_entry") for i in range(1_200)], Timeframe.M1, DARK
    )
    fills = fill_markers([fill("b", Side.BUY, 600 * 60 * SECOND_US, 1.0)] * 2, Timeframe.M1, DARK)
    markers = merged_markers(signals, fills, start_us=60 * 60 * SECOND_US)
    times = [marker["time"] for marker in markers]
    assert times == sorted(times)
    assert times[0] >= 3_600
    assert len(markers) == MAX_MARKERS
    assert sum(marker["shape"] == "arrowUp" for marker in markers) == 1


def test_markers_older_than_the_chart_are_left_out() -> None:
    signals = signal_markers(
        [_signal(i * 60 * SECOND_US, "long_entry") for i in range(10)], Timeframe.M1, DARK
    )
    markers = merged_markers(signals, [], start_us=7 * 60 * SECOND_US)
    assert [marker["time"] for marker in markers] == [420, 480, 540]


def test_a_position_shows_its_entry_and_the_levels_it_has() -> None:
    lines = position_lines({"trend": position(PositionSide.SHORT)}, DARK)
    assert [line["title"] for line in lines] == ["trend short", "Stop", "Target"]
    assert lines[1]["price"] > lines[0]["price"] > lines[2]["price"]


def test_on_a_percent_axis_volume_and_the_panes_of_indicators_keep_their_own_numbers() -> None:
    lines = [*default_overlays(OHLCV), Overlay(name="rsi", label="RSI", pane="rsi", values=OHLCV.close)]
    specs = series_specs(lines, theme=DARK, decimals=2, scale="percent")
    assert [spec.get("priceScaleOptions", {}).get("mode") for spec in specs] == [2, 0, None, None, 0]
