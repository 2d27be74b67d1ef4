"""The Market page in a real Chromium, over in-memory fakes: what a person sees and what their clicks do."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from data.models import Market
from data.timeframes import SECOND_US, Timeframe
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import BTC, ETH, forming, walk

pytestmark = pytest.mark.browser

CHART = "window.candlewick.chart"
OKX_ETH = Market("okx", "ETH-USDT")
OKX_BTC = Market("okx", "BTC-USDT")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Desk, str]]:
    """One living server for the tests, which leave it as it was."""
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with Serving(desk.app) as serving:
        yield desk, serving.url


@pytest.fixture(scope="module")
def profile(browser: Browser, served: tuple[Desk, str]) -> Iterator[tuple[Page, list[str]]]:
    """One window, so that the scripts are loaded once."""
    with opened(browser, served[1]) as (page, bad):
        yield page, bad


@pytest.fixture
def page(profile: tuple[Page, list[str]]) -> Iterator[Page]:
    window, bad = profile
    bad.clear()
    yield window
    assert not bad, bad


def _rows(page: Page, name: str = "price") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(f"name => {CHART}.rows[name]", name)
    return found


def _open(page: Page, query: str, name: str) -> None:
    """The page stands with its chart drawn."""
    page.goto(f"/market{query}")
    _await_chart(page, name)
    page.wait_for_function("() => window.candlewick.ready && !document.getElementById('first-paint')")


def _await_chart(page: Page, name: str) -> None:
    expect(page.locator("#legend-figures b")).to_have_text(name)


def test_the_chart_is_drawn_before_dash_has_started_and_stays_where_it_is(
    page: Page, served: tuple[Desk, str]
) -> None:
    desk, _ = served
    page.add_init_script(
        """new MutationObserver(() => {
          const chart = document.querySelector('#chart canvas');
          const legend = document.getElementById('legend-figures');
          if (window.firstSeen || !chart || !legend || !legend.textContent) return;
          window.firstSeen = {dash: Boolean(window.renderer), at: chart.getBoundingClientRect().toJSON()};
        }).observe(document, {subtree: true, childList: true});
        window.shifts = 0;
        new PerformanceObserver(list => { for (const one of list.getEntries()) window.shifts += one.value; })
          .observe({type: 'layout-shift', buffered: true});"""
    )
    _open(page, "?venue=binance&symbol=ETH-USDT&tf=5m", "ETH-USDT · 5m")
    stored = desk.market.series[ETH, Timeframe.M5]
    rows = _rows(page)
    assert rows[-1]["close"] == stored.close[-1]
    assert rows[-1]["time"] == int(stored.opened_at_us[-1]) // SECOND_US
    assert len(_rows(page, "overlay-ema-12")) == len(rows) - 11  # its warm-up
    expect(page.locator(".watch-row:not(.watch-head)")).to_have_count(7)
    expect(page.locator("#strip-last")).to_have_text(re.compile(r"[\d,]+\.\d\d"))
    seen = page.evaluate("() => window.firstSeen")
    assert seen["dash"] is False
    now = page.locator("#chart canvas").first.bounding_box()
    assert now is not None
    assert abs(now["x"] - seen["at"]["x"]) < 2
    assert abs(now["y"] - seen["at"]["y"]) < 2
    assert page.evaluate("() => window.shifts") < 0.02


def test_the_first_page_is_the_market(page: Page) -> None:
    page.goto("/")
    _await_chart(page, "BTC-USDT · 1m")
    expect(page.locator("#react-entry-point .rail a[aria-current=page]")).to_have_text("Market")


def test_markers_and_the_lines_of_a_position_are_on_the_chart_and_say_why(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    page.wait_for_function(f"() => ({CHART}.marks || {{markers: []}}).markers.length > 0")
    shapes = page.evaluate(f"() => [...new Set({CHART}.marks.markers.map(m => m.shape))].sort()")
    assert shapes == ["arrowDown", "arrowUp", "circle"]
    assert page.evaluate(f"() => {CHART}.marks.lines.map(l => l.title)") == [
        "trend_btc long",
        "Stop",
        "Target",
    ]
    click = f"""shape => {CHART}.onClick(
      {{hoveredObjectId: {CHART}.marks.markers.find(m => m.shape === shape).id}})"""
    page.evaluate(click, "circle")
    expect(page.locator(".mark-note")).to_contain_text("ema-crossover said long")
    expect(page.locator(".mark-note")).to_contain_text("crosses above slow")
    page.evaluate(click, "arrowUp")
    expect(page.locator(".mark-note")).to_contain_text("trend_btc bought 0.1482")
    page.get_by_role("button", name="Layers").click()
    page.get_by_label(re.compile("^trend_btc")).uncheck()
    page.wait_for_function(f"() => {CHART}.marks.markers.length === 0")
    page.get_by_label(re.compile("^ema_crossover")).check()
    page.wait_for_function(f"() => {CHART}.marks.markers.some(m => m.shape === 'square')")
    assert "strategy%3Aema_crossover" in page.url
    page.keyboard.press("Escape")
    page.evaluate(click, "square")
    expect(page.locator(".mark-note")).to_contain_text(re.compile("crosses (above|below) slow"))


def test_an_indicator_is_found_by_its_name_drawn_with_its_parameters_and_taken_away(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    page.get_by_role("button", name="Indicators").click()
    search = page.get_by_role("searchbox", name="Search indicators and strategies")
    search.fill("relative strength")
    search.press("Enter")
    expect(page.locator("#legend-lines")).to_contain_text("RSI 14")
    page.get_by_role("spinbutton", name="period").fill("7")
    page.get_by_role("spinbutton", name="period").press("Tab")
    expect(page.locator("#legend-lines")).to_contain_text("RSI 7")
    assert "rsi%287%2Cclose%29" in page.url
    values = [row["value"] for row in _rows(page, "overlay-rsi(7,close).value")]
    assert 0 <= min(values) < 40
    assert 60 < max(values) <= 100
    page.get_by_role("button", name="Remove EMA 12 and 26").click()
    expect(page.locator("#legend-lines")).not_to_contain_text("EMA")
    page.get_by_role("button", name="Remove RSI").click()
    expect(page.locator("#legend-lines")).to_be_empty()
    assert "overlay=none" in page.url


def test_a_strategy_draws_its_lines_in_panes_of_their_own(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=5m&overlay=macd", "BTC-USDT · 5m")
    assert "macd" in {line["pane"] for line in page.evaluate(f"() => {CHART}.view.overlays")}


def test_a_trade_is_on_the_screen_within_a_quarter_of_a_second(page: Page, served: tuple[Desk, str]) -> None:
    desk, _ = served
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    expect(page.locator("html[data-feed=live]")).to_be_attached()
    page.evaluate(
        """() => { window.seen = {};
        new MutationObserver(() => {
          const text = document.getElementById('strip-last').textContent;
          if (!(text in window.seen)) window.seen[text] = Date.now();
        }).observe(document.body, {subtree: true, childList: true, characterData: true}); }"""
    )
    delays = []
    for number in range(12):
        price = 70_000.0 + number
        sent = time.time()
        desk.bus.trade(BTC, price, at_us=int(sent * SECOND_US))
        text = f"{price:,.2f}"
        page.wait_for_function("text => text in window.seen", arg=text)
        delays.append(page.evaluate("text => window.seen[text]", text) / 1000 - sent)
        time.sleep(0.05)
    delays.sort()
    assert delays[len(delays) // 2] < 0.25, delays
    expect(page.locator("#watch-last-binance\\:BTC-USDT")).to_have_text("70,011.00")


def test_a_forming_candle_moves_the_last_bar_and_a_later_one_appends(
    page: Page, served: tuple[Desk, str]
) -> None:
    desk, _ = served
    _open(page, "?venue=okx&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    stored = desk.market.series[OKX_BTC, Timeframe.M1]
    price = float(stored.close[-1])
    for close in (price + 5, price + 10):
        desk.bus.candle(forming(OKX_BTC, stored, close), closed=False)
        expect(page.locator("#legend-figures")).to_contain_text(f"C{close:,.1f}")
    desk.bus.candle(forming(OKX_BTC, stored, price + 20, steps=2), closed=False)
    expect(page.locator("#legend-figures")).to_contain_text(f"C{price + 20:,.1f}")
    last = int(stored.opened_at_us[-1]) // SECOND_US
    assert [row["time"] for row in _rows(page)[-2:]] == [last + 60, last + 120]


def test_a_candle_that_was_missed_is_put_where_it_belongs(page: Page, served: tuple[Desk, str]) -> None:
    desk, _ = served
    _open(page, "?venue=okx&symbol=ETH-USDT&tf=5m", "ETH-USDT · 5m")
    stored = desk.market.series[OKX_ETH, Timeframe.M5]
    price = float(stored.close[-1])
    desk.bus.candle(forming(OKX_ETH, stored, price + 3, steps=3), closed=False)
    expect(page.locator("#legend-figures")).to_contain_text(f"C{price + 3:,.2f}")
    desk.bus.candle(forming(OKX_ETH, stored, price + 1, steps=1), closed=True)
    desk.bus.candle(forming(OKX_ETH, stored, price + 2, steps=2), closed=True)
    last = int(stored.opened_at_us[-1]) // SECOND_US
    page.wait_for_function(f"last => {CHART}.rows.price.some(row => row.time === last + 600)", arg=last)
    page.wait_for_function(f"last => {CHART}.rows.price.some(row => row.time === last + 300)", arg=last)
    assert [row["time"] for row in _rows(page)[-4:]] == [last, last + 300, last + 600, last + 900]
    assert _rows(page)[-2]["close"] == price + 2


def test_a_tick_of_another_chart_is_not_drawn(page: Page, served: tuple[Desk, str]) -> None:
    desk, _ = served
    _open(page, "?venue=okx&symbol=ETH-USDT&tf=1m", "ETH-USDT · 1m")
    expect(page.locator("html[data-feed=live]")).to_be_attached()
    desk.bus.candle(forming(BTC, desk.market.series[BTC, Timeframe.M1], 1.0), closed=False)
    desk.bus.trade(BTC, 71_234.0)
    expect(page.locator("#watch-last-binance\\:BTC-USDT")).to_have_text("71,234.00")
    assert 1.0 not in [row["close"] for row in _rows(page)]


def test_scrolling_back_loads_history_and_the_view_stays_where_it_is(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    before = _rows(page)
    assert len(before) >= 1_500  # and what came since
    page.evaluate(f"() => {CHART}.look(40, 140)")
    page.wait_for_function(f"() => {CHART}.rows.price.length >= 4500")
    time_of = f"() => {CHART}.range.visibleRange.from"
    page.wait_for_function(f"left => Math.abs(({time_of})() - left) <= 120", arg=before[40]["time"])
    after = _rows(page)
    assert len(after) == 3_000 + len(before)
    assert after[3_000:] == before
    assert [row["time"] for row in after] == sorted({row["time"] for row in after})
    assert len(_rows(page, "overlay-ema-26")) >= 4_500


def test_a_hundred_thousand_candles_are_read_back_in_a_few_steps(browser: Browser) -> None:
    now_us = time.time_ns() // 1_000
    desk = build_desk(now_us=now_us)
    desk.market.series[ETH, Timeframe.M1] = walk(
        Timeframe.M1, 110_000, end_us=now_us, start=3_400.0, seed=3, step=0.0004
    )
    with Serving(desk.app) as serving, opened(browser, serving.url) as (page, bad):
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url) if "/desk/history" in one.url else None)
        _open(page, "?venue=binance&symbol=ETH-USDT&tf=1m&overlay=none", "ETH-USDT · 1m")
        page.evaluate(
            f"""() => {{
              window.drawnAnew = 0;
              const marks = {CHART}.onHistory;
              {CHART}.onHistory = () => {{ window.drawnAnew += 1; marks(); }};
            }}"""
        )
        held = 1_500
        while held < 100_000:
            first = 40 + len(asked)  # the range that was set before would not be set again
            left = page.evaluate(f"first => {CHART}.rows.price[first].time", first)
            page.evaluate(f"first => {CHART}.look(first, first + 100)", first)
            page.wait_for_function(f"held => {CHART}.rows.price.length > held + 1", arg=held)
            page.wait_for_function(
                f"left => Math.abs({CHART}.range.visibleRange.from - left) <= 120", arg=left
            )
            held = page.evaluate(f"() => {CHART}.rows.price.length")
        assert held == 100_000
        assert len(asked) == page.evaluate("() => window.drawnAnew") == 7
        assert page.evaluate(f"() => {CHART}.rows.price[0].time") == (
            int(desk.market.series[ETH, Timeframe.M1].opened_at_us[-100_000]) // SECOND_US
        )
        assert not bad, bad


def test_going_to_a_date_reads_what_is_needed_and_says_where_it_ends(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    first = _rows(page)[0]["time"]
    wanted = first - 3_600 * 24
    page.get_by_role("button", name="Go to a date").click()
    page.get_by_label("Date and time, UTC").fill(time.strftime("%Y-%m-%dT%H:%M", time.gmtime(wanted)))
    page.get_by_role("button", name="Go", exact=True).click()
    middle = f"() => ({CHART}.range.visibleRange.from + {CHART}.range.visibleRange.to) / 2"
    page.wait_for_function(f"wanted => Math.abs(({middle})() - wanted) < 600", arg=wanted)
    page.get_by_role("button", name="Go to a date").click()
    page.get_by_label("Date and time, UTC").fill("2001-01-01T00:00")
    page.get_by_role("button", name="Go", exact=True).click()
    expect(page.get_by_text("The nearest candle stored is of")).to_be_visible()
    page.keyboard.press("Escape")


def test_the_watchlist_and_the_time_frames_change_the_address_and_the_chart(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    page.locator(".watch-row", has_text="SOL").click()
    _await_chart(page, "SOL-USDT · 1m")
    assert "symbol=SOL-USDT" in page.url
    page.locator("#tf-15m").click()
    _await_chart(page, "SOL-USDT · 15m")
    expect(page.locator("#tf-15m")).to_have_attribute("aria-current", "true")
    page.keyboard.press("2")
    _await_chart(page, "SOL-USDT · 1m")
    page.go_back()
    _await_chart(page, "SOL-USDT · 15m")


def test_the_symbol_can_be_searched_and_the_venue_changed(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    expect(page.locator("#symbol-select")).to_have_value("BTC-USDT")
    page.locator("#symbol-select").fill("doge")
    page.get_by_role("option", name="DOGE-USDT").click()
    _await_chart(page, "DOGE-USDT · 1m")
    page.locator("#venue-select").click()
    page.get_by_role("option", name="OKX").click()
    _await_chart(page, "BTC-USDT · 1m")  # OKX has no DOGE here: its first market
    assert "venue=okx" in page.url
    assert "overlay=" not in page.url


def test_a_light_page_has_a_light_chart(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    up = f"{CHART}.view.up"
    dark = page.evaluate(f"() => {up}")
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_function(f"dark => {up} !== dark", arg=dark)
    page.get_by_role("button", name="Light or dark").click()  # the other tests share the profile
    page.wait_for_function(f"dark => {up} === dark", arg=dark)


def test_a_market_without_candles_says_so_and_offers_those_that_have_some(page: Page) -> None:
    page.goto("/market?venue=okx&symbol=NOPE-USDT&tf=5m")
    expect(page.locator("#chart-cover")).to_contain_text("NOPE-USDT on OKX has no candles here")
    expect(page.locator("#venue-select")).to_have_value("OKX")
    page.locator("#chart-cover").get_by_role("link", name="BTC-USDT · Binance").click()
    _await_chart(page, "BTC-USDT · 5m")


def test_a_lost_connection_is_shown_heals_and_the_chart_is_read_again(
    browser: Browser, served: tuple[Desk, str]
) -> None:
    desk, url = served
    with opened(browser, url) as (page, bad):
        connections: list[WebSocketRoute] = []

        def through(route: WebSocketRoute) -> None:
            route.connect_to_server()
            connections.append(route)

        page.route_web_socket(re.compile("/ws/ui"), through)
        _open(page, "?venue=binance&symbol=SOL-USDT&tf=1m", "SOL-USDT · 1m")
        expect(page.locator("html[data-feed=live]")).to_be_attached()
        market = Market("binance", "SOL-USDT")
        read_at = page.evaluate(f"() => {CHART}.view.at")
        desk.market.append(forming(market, desk.market.series[market, Timeframe.M1], 123.45))  # nobody tells
        connections[0].close()
        page.wait_for_function(f"before => {CHART}.view.at > before", arg=read_at)
        assert _rows(page)[-1]["close"] == 123.45
        expect(page.locator("html[data-feed=live]")).to_be_attached()
        assert not bad, bad


def test_a_phone_shows_the_chart_and_nothing_sticks_out(browser: Browser, served: tuple[Desk, str]) -> None:
    with opened(browser, served[1], phone=True) as (page, bad):
        _open(page, "", "BTC-USDT · 1m")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        page.get_by_role("button", name="Indicators").click()
        expect(page.get_by_role("dialog", name="Indicators")).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        assert not bad, bad


def test_keys_are_listed_on_a_question_mark_and_lead_to_filters_and_pages(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m", "BTC-USDT · 1m")
    page.keyboard.press("?")
    listed = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(listed).to_contain_text("Candles of 15m")
    expect(listed).to_contain_text("Bots")
    page.keyboard.press("Escape")
    expect(listed).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("b")
    expect(page.locator("#react-entry-point .rail a[aria-current=page]")).to_have_text("Bots")
    page.keyboard.press("g")
    page.keyboard.press("m")
    _await_chart(page, "BTC-USDT · 1m")
