"""What the browser writes by itself, in a real Chromium: the same as the server, by the preferences saved."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from dashboard.number_formats import clock, compact, plain
from dashboard.writing import NUMBERS, parse_writing, written_as
from data.timeframes import SECOND_US, Timeframe
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Serving, build_desk
from tests.dashboard.fakes import BTC, forming

_VALUES = (0.0, 0.004, -0.004, 7.0, 999.995, 1_234.25, -12_843.55, 65_662.2, 1_234_567.891)
_MOMENTS_S = (1_784_000_000, 1_795_000_000, 1_792_890_000, 0)  # summer, winter, the night the clocks go back


@pytest.mark.browser
def test_a_zone_and_separators_are_saved_and_followed_and_both_sides_write_alike() -> None:
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with chromium() as browser, Serving(desk.app) as serving, opened(browser, serving.url) as (page, bad):
        page.goto("/settings?view=display")
        page.locator("#settings-zone").fill("Kolkata")
        page.get_by_role("option", name="Asia/Kolkata").click()
        page.locator("#settings-numbers").click()
        page.get_by_role("option", name="1.234.567,89").click()
        page.locator("#settings-display-save").click()
        expect(page.locator("#clock-zone")).to_have_text("Kolkata")
        page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
        page.wait_for_function("() => window.candlewick.ready && !document.getElementById('first-paint')")
        expect(page.locator("#strip-last")).to_have_text(re.compile(r"^\d\d\.\d\d\d,\d\d$"))
        expect(page.locator("#legend-figures")).to_contain_text(re.compile(r"C\d\d\.\d\d\d,\d\d"))
        desk.bus.trade(desk.market.markets()[0], 71_234.5, at_us=time.time_ns() // 1_000)
        expect(page.locator("#strip-last")).to_have_text("71.234,50")
        page.locator("#market-tab").get_by_text("Fills").click()
        expect(page.locator("#market-tab-body")).to_contain_text("Time, Kolkata")
        for zone in ("UTC", "Asia/Kolkata", "Europe/Berlin", "America/St_Johns"):
            for numbers in NUMBERS:
                with written_as(parse_writing(f"{zone}|{numbers}")):
                    ours = [
                        *(plain(value, decimals) for value in _VALUES for decimals in (0, 2, 5)),
                        *(compact(value) for value in _VALUES if value >= 1_000),
                        *(clock(at * SECOND_US) for at in _MOMENTS_S),
                    ]
                theirs = page.evaluate(
                    """([zone, numbers, values, moments]) => {
                      window.candlewick.writeAs({zone, numbers});
                      const formats = window.dashTvlwcFunctions;
                      return [
                        ...values.flatMap((value) => [0, 2, 5].map((some) => formats.grouped(value, some))),
                        ...values.filter((value) => value >= 1000).map(formats.compact),
                        ...moments.map((at) => formats.clock(at * 1000)),
                      ];
                    }""",
                    [zone, numbers, _VALUES, _MOMENTS_S],
                )
                assert theirs == ours, (zone, numbers)
        assert not bad, bad


_DRAWN_TOGETHER = "(trace => trace.x[1] - trace.x[0])"


@pytest.mark.browser
def test_prices_drawn_by_plotly_are_windowed_and_follow_the_market() -> None:
    desk = build_desk(now_us=time.time_ns() // 1_000)
    shown = "window.candlewick.chart.range.visibleLogicalRange"
    with chromium() as browser, Serving(desk.app) as serving, opened(browser, serving.url) as (page, bad):
        page.goto("/settings?view=display")
        page.locator("#settings-chart").click()
        page.get_by_role("option", name=re.compile("^Plotly")).click()
        page.locator("#settings-display-save").click()
        page.wait_for_function("() => document.cookie.includes('plotly')")
        page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m&overlay=ema,rsi(14,close)")
        page.wait_for_function("() => (document.getElementById('chart') || {}).data")
        drawn = "() => document.getElementById('chart').data.map(trace => trace.type)"
        assert page.evaluate(drawn) == ["candlestick", "bar", "scatter", "scatter", "scatter", "scatter"]
        count = "() => document.getElementById('chart').data[0].x.length"
        assert page.evaluate(count) <= 800
        box = page.locator("#chart").bounding_box()
        assert box is not None
        page.wait_for_function("() => document.documentElement.dataset.feed === 'live'")
        stored = desk.market.series[BTC, Timeframe.M1]
        price = float(stored.close[-1]) + 40
        desk.bus.candle(forming(BTC, stored, price), closed=False)
        page.wait_for_function(
            "price => document.getElementById('chart').data[0].close.at(-1) === price", arg=price
        )
        page.mouse.move(box["x"] + 400, box["y"] + 200)
        page.mouse.down()
        page.mouse.move(box["x"] + 800, box["y"] + 200, steps=5)
        page.mouse.up()
        page.wait_for_function(f"() => {shown}.to < 1480")
        for _ in range(8):
            page.mouse.wheel(0, 500)
        page.wait_for_function(f"() => {shown}.to - {shown}.from > 300")
        # Further out one candle stands for several: what is drawn stays as much, and hides no price.
        for _ in range(12):
            page.mouse.wheel(0, 700)
        page.wait_for_function(f"() => {shown}.to - {shown}.from > 900")
        page.wait_for_function(f"() => {_DRAWN_TOGETHER}(document.getElementById('chart').data[0]) >= 4")
        assert page.evaluate(count) <= 802
        first, last = page.evaluate(
            """() => {
              const {x, high, low} = document.getElementById('chart').data[0];
              const each = x[1] - x[0], start = x[0] - (each - 1) / 2, end = start + each * x.length;
              const held = window.candlewick.chart.rows.price.slice(start, end);
              return [
                [Math.max(...high), Math.min(...low)],
                [Math.max(...held.map(row => row.high)), Math.min(...held.map(row => row.low))],
              ];
            }"""
        )
        assert first == last
        page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m&scale=percent")
        page.wait_for_function("() => (document.getElementById('chart') || {}).data")
        ticks = page.evaluate("() => document.getElementById('chart').layout.yaxis.ticktext")
        assert "0.00%" in ticks or "0.0%" in ticks
        assert any(one.startswith("+") for one in ticks) or any(one.startswith("−") for one in ticks)  # noqa: RUF001
        assert not bad, bad
