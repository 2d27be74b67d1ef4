"""The pages in a real Chromium, over in-memory fakes: what a person sees and what their clicks do."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute, expect, sync_playwright

from bots.lifecycle import BotState
from data.errors import TransientError
from data.models import Market
from data.timeframes import SECOND_US, Timeframe
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import BTC, ETH, forming, health

pytestmark = pytest.mark.browser

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
expect.set_options(timeout=30_000)  # the machine may be busy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Desk, str]]:
    """One living server for the tests that leave it as it was."""
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with Serving(desk.app) as serving:
        yield desk, serving.url


@pytest.fixture
def own() -> Iterator[tuple[Desk, str]]:
    """A server of one's own, for tests that change what it serves."""
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with Serving(desk.app) as serving:
        yield desk, serving.url


@pytest.fixture
def bad() -> list[str]:
    """What must not happen on any page: errors, and requests that leave the machine."""
    return []


def _context(browser: Browser, url: str, bad: list[str], **options: Any) -> BrowserContext:
    shape = {"viewport": {"width": 1440, "height": 900}, **options}
    context = browser.new_context(
        base_url=url, reduced_motion="reduce", timezone_id="UTC", locale="en-US", **shape
    )

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: bad.append(str(error)))
        page.on("console", lambda message: bad.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((url, "data:", "blob:"))
                else bad.append("left: " + request.url)
            ),
        )

    context.on("page", watch)
    return context


@pytest.fixture(scope="module")
def shared(browser: Browser, served: tuple[Desk, str]) -> Iterator[tuple[BrowserContext, list[str]]]:
    """One browser profile, so that scripts are loaded once."""
    bad: list[str] = []
    context = _context(browser, served[1], bad)
    yield context, bad
    context.close()


@pytest.fixture
def page(shared: tuple[BrowserContext, list[str]]) -> Iterator[Page]:
    context, bad = shared
    bad.clear()
    opened = context.new_page()
    yield opened
    opened.close()
    assert not bad, bad


CHART = "window.candlewick.layoutOf('chart')"


def _series(page: Page, name: str = "price") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(
        "name => window.dash_component_api.getLayout('chart').props.series.find(s => s.id === name).data",
        name,
    )
    return found


def _await_chart(page: Page, name: str) -> None:
    expect(page.locator("#legend-figures b")).to_have_text(name)
    page.wait_for_function("() => window.candlewick.view !== null")


def test_the_market_page_shows_the_market_of_its_address(page: Page, served: tuple[Desk, str]) -> None:
    desk, _ = served
    page.goto("/market?venue=binance&symbol=ETH-USDT&tf=5m")
    _await_chart(page, "ETH-USDT · 5m")
    stored = desk.market.series[ETH, Timeframe.M5]
    rows = _series(page)
    assert rows[-1]["close"] == stored.close[-1]
    assert rows[-1]["time"] == int(stored.opened_at_us[-1]) // SECOND_US
    assert len(_series(page, "overlay-ema-12")) == len(rows) - 11  # its warm-up
    expect(page.locator("#chart canvas").first).to_be_visible()
    expect(page.locator(".watch-row:not(.watch-head)")).to_have_count(7)
    expect(page.locator("#strip-last")).to_have_text(re.compile(r"[\d,]+\.\d\d"))


def test_the_first_page_is_the_market(page: Page) -> None:
    page.goto("/")
    _await_chart(page, "BTC-USDT · 1m")
    expect(page.locator(".rail a[aria-current=page]")).to_have_text("Market")


def test_markers_of_signals_and_fills_and_the_lines_of_a_position_are_on_the_chart(page: Page) -> None:
    page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
    _await_chart(page, "BTC-USDT · 1m")
    price = f"{CHART}.props.series[0]"
    page.wait_for_function(f"() => {price} && ({price}.markers || []).length > 0")
    shapes = page.evaluate(f"() => [...new Set({price}.markers.map(m => m.shape))].sort()")
    assert shapes == ["arrowDown", "arrowUp", "circle"]
    titles = page.evaluate(f"() => {price}.priceLines.map(l => l.title)")
    assert titles == ["trend_btc long", "Stop", "Target"]
    page.get_by_role("button", name="Signals and fills").click()
    page.wait_for_function(f"() => {price}.markers.length === 0")


def test_a_trade_is_on_the_screen_within_a_quarter_of_a_second(page: Page, served: tuple[Desk, str]) -> None:
    desk, _ = served
    page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
    _await_chart(page, "BTC-USDT · 1m")
    expect(page.locator("#strip-last")).to_be_visible()
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
    page.goto("/market?venue=okx&symbol=BTC-USDT&tf=1m")
    _await_chart(page, "BTC-USDT · 1m")
    market = Market("okx", "BTC-USDT")
    stored = desk.market.series[market, Timeframe.M1]
    price = float(stored.close[-1])
    for close in (price + 5, price + 10):
        desk.bus.candle(forming(market, stored, close), closed=False)
        expect(page.locator("#legend-figures")).to_contain_text(f"C{close:,.1f}")
    desk.bus.candle(forming(market, stored, price + 20, steps=2), closed=False)
    expect(page.locator("#legend-figures")).to_contain_text(f"C{price + 20:,.1f}")
    times = page.evaluate("() => window.candlewick.liveBars('price').map(bar => bar.time)")
    last = int(stored.opened_at_us[-1]) // SECOND_US
    assert times[-2:] == [last + 60, last + 120]


def test_a_candle_that_was_missed_is_put_where_it_belongs(page: Page, served: tuple[Desk, str]) -> None:
    desk, _ = served
    page.goto("/market?venue=okx&symbol=ETH-USDT&tf=5m")
    _await_chart(page, "ETH-USDT · 5m")
    market = Market("okx", "ETH-USDT")
    stored = desk.market.series[market, Timeframe.M5]
    price = float(stored.close[-1])
    desk.bus.candle(forming(market, stored, price + 3, steps=3), closed=False)
    expect(page.locator("#legend-figures")).to_contain_text(f"C{price + 3:,.2f}")
    desk.bus.candle(forming(market, stored, price + 1, steps=1), closed=True)
    desk.bus.candle(forming(market, stored, price + 2, steps=2), closed=True)
    last = int(stored.opened_at_us[-1]) // SECOND_US
    known = f"last => {CHART}.props.series[0].data.some(row => row.time === last + 600)"
    page.wait_for_function(known, arg=last)
    assert [row["time"] for row in _series(page)[-4:]] == [last, last + 300, last + 600, last + 900]
    assert _series(page)[-2]["close"] == price + 2


def test_a_tick_of_another_chart_is_not_drawn(page: Page, served: tuple[Desk, str]) -> None:
    desk, _ = served
    page.goto("/market?venue=okx&symbol=ETH-USDT&tf=1m")
    _await_chart(page, "ETH-USDT · 1m")
    desk.bus.candle(forming(BTC, desk.market.series[BTC, Timeframe.M1], 1.0), closed=False)
    desk.bus.trade(BTC, 71_234.0)
    expect(page.locator("#watch-last-binance\\:BTC-USDT")).to_have_text("71,234.00")
    prices = page.evaluate("() => window.candlewick.liveBars('price').map(bar => bar.close)")
    assert 1.0 not in prices


def test_scrolling_back_loads_history_and_the_view_stays_where_it_is(page: Page) -> None:
    page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
    _await_chart(page, "BTC-USDT · 1m")
    before = _series(page)
    assert len(before) == 1_500
    page.evaluate(
        "() => window.dash_clientside.set_props('chart', {visibleLogicalRange: {from: 40, to: 140}})"
    )
    layout = f"{CHART}.props"
    page.wait_for_function(f"() => {layout}.series[0].data.length >= 4500")
    page.wait_for_timeout(300)  # the range is reported after the frame that drew the longer series
    left = page.evaluate(f"() => {layout}.visibleRange.from")
    assert abs(left - before[40]["time"]) <= 120
    after = _series(page)
    assert after[3_000:4_500] == before
    assert [row["time"] for row in after] == sorted({row["time"] for row in after})
    assert len(_series(page, "overlay-ema-26")) >= 4_500


def test_the_watchlist_and_the_time_frames_change_the_address_and_the_chart(page: Page) -> None:
    page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
    _await_chart(page, "BTC-USDT · 1m")
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
    page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
    _await_chart(page, "BTC-USDT · 1m")
    page.locator("#symbol-select").fill("doge")
    page.get_by_role("option", name="DOGE-USDT").click()
    _await_chart(page, "DOGE-USDT · 1m")
    page.locator("#venue-select").click()
    page.get_by_role("option", name="OKX").click()
    _await_chart(page, "BTC-USDT · 1m")  # OKX has no DOGE here: its first market
    assert "venue=okx" in page.url
    page.keyboard.press("Control+k")
    page.keyboard.type("trend")
    page.get_by_role("option", name="trend_btc").click()
    expect(page.locator("#detail-head")).to_contain_text("trend_btc")
    page.keyboard.press("Control+k")
    page.keyboard.type("doge")
    expect(page.get_by_role("option", name="DOGE-USDT")).to_be_visible()
    page.keyboard.press("Enter")
    _await_chart(page, "DOGE-USDT · 1m")


def test_a_strategy_draws_its_lines_in_panes_of_their_own(page: Page) -> None:
    page.goto("/market?venue=binance&symbol=BTC-USDT&tf=5m&overlay=macd")
    _await_chart(page, "BTC-USDT · 5m")
    panes = page.evaluate(f"() => {CHART}.props.series.map(s => s.pane || 0)")
    assert max(panes) == 2
    expect(page.locator("#overlay-select")).to_have_value("macd")
    page.locator("#overlay-select").click()
    page.get_by_role("option", name="rsi_reversion").click()
    expect(page.locator("#legend-lines")).to_contain_text("RSI")
    assert "overlay=rsi_reversion" in page.url


def test_a_light_page_has_a_light_chart(page: Page) -> None:
    page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
    _await_chart(page, "BTC-USDT · 1m")
    page.get_by_role("button", name="Light or dark").click()
    background = f"{CHART}.props.chartOptions.layout.background.color"
    page.wait_for_function(f"() => {background} === '#ffffff'")
    page.reload()
    page.wait_for_function(f"() => window.candlewick.view && {background} === '#ffffff'")
    page.get_by_role("button", name="Light or dark").click()  # the other tests share the profile


def test_a_market_without_candles_says_so_and_offers_a_way_on(page: Page) -> None:
    page.goto("/market?venue=okx&symbol=NOPE-USDT&tf=1m")
    expect(page.locator("#chart-cover")).to_contain_text("NOPE-USDT on OKX has no candles here")
    page.get_by_role("link", name="Show the first market").click()
    _await_chart(page, "BTC-USDT · 1m")


def test_an_unknown_page_offers_the_way_back(page: Page) -> None:
    page.goto("/nowhere")
    expect(page.locator("#page")).to_contain_text("There is no page at /nowhere")


def test_the_bots_page_shows_every_bot_and_its_detail(page: Page) -> None:
    page.goto("/bots")
    expect(page.locator(".bots-grid .ag-center-cols-container .ag-row")).to_have_count(5)
    expect(page.locator("#kpis")).to_contain_text("53,908.04")
    expect(page.locator("#bots-fills tbody tr")).to_have_count(10)
    page.locator("#bots-filter").get_by_text(re.compile("Failed")).click()
    expect(page.locator(".bots-grid .ag-center-cols-container .ag-row")).to_have_count(1)
    page.locator("#bots-filter").get_by_text(re.compile("All")).click()
    page.locator(".bots-grid .ag-row", has_text="trend_btc").get_by_text("Long 0.1482").click()
    expect(page.locator("#bot-head")).to_contain_text("trend_btc")
    assert "bot=trend_btc" in page.url
    expect(page.locator("#equity-graph .main-svg").first).to_be_visible()
    expect(page.locator("#bot-chart canvas").first).to_be_visible()
    page.get_by_role("tab", name="Decisions").click()
    expect(page.locator("#bot-body")).to_contain_text("crosses above slow")
    page.get_by_role("tab", name="Fills").click()
    expect(page.locator("#bot-body tbody tr")).to_have_count(10)
    assert "tab=fills" in page.url
    page.get_by_role("link", name="All bots").click()
    expect(page.locator(".bots-grid .ag-center-cols-container .ag-row")).to_have_count(5)


def test_start_and_pause_reach_the_service(browser: Browser, own: tuple[Desk, str], bad: list[str]) -> None:
    desk, url = own
    context = _context(browser, url, bad)
    page = context.new_page()
    page.goto("/bots")
    page.get_by_role("button", name="Start revert_sol").click()
    expect(page.get_by_text("Bot is starting")).to_be_visible()
    page.get_by_role("button", name="Pause swing_eth").click()
    expect(page.get_by_text("Bot is pausing")).to_be_visible()
    expect(page.locator(".bots-grid .ag-row", has_text="swing_eth")).to_contain_text("Paused")
    assert desk.bots.asked == [("start", "revert_sol", False), ("pause", "swing_eth", False)]
    context.close()
    assert not bad, bad


def test_stopping_a_bot_that_holds_a_position_is_confirmed_by_its_name(
    browser: Browser, own: tuple[Desk, str], bad: list[str]
) -> None:
    desk, url = own
    context = _context(browser, url, bad)
    page = context.new_page()
    page.goto("/bots?bot=trend_btc")
    page.locator("#bot-actions").get_by_role("button", name="Stop trend_btc").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Stop trend_btc?")
    expect(dialog).to_contain_text("BTC-USDT long (0.1482)")
    expect(page.get_by_role("button", name="Keep running")).to_be_focused()
    page.get_by_role("button", name="Keep running").click()
    expect(dialog).to_be_hidden()
    assert desk.bots.asked == []

    page.locator("#bot-actions").get_by_role("button", name="Stop trend_btc").click()
    close = page.get_by_role("button", name="Stop and close position")
    expect(close).to_be_disabled()
    page.get_by_label("To close the position, type trend_btc").fill("trend_btc")
    expect(close).to_be_enabled()
    close.click()
    expect(page.get_by_text("Bot closes its position and stops")).to_be_visible()
    assert desk.bots.asked == [("stop", "trend_btc", True)]
    assert desk.bots.bots["trend_btc"].state is BotState.STOPPED
    context.close()
    assert not bad, bad


def test_news_of_a_bot_change_the_page_without_a_reload(
    browser: Browser, own: tuple[Desk, str], bad: list[str]
) -> None:
    desk, url = own
    context = _context(browser, url, bad)
    page = context.new_page()
    page.goto("/bots")
    row = page.locator(".bots-grid .ag-row", has_text="lab_clone")
    expect(row).to_contain_text("Created")
    desk.bots.start("lab_clone", who="command line")
    desk.bus.say("bots.lab_clone", b"{}")
    expect(row).to_contain_text("Running")
    context.close()
    assert not bad, bad


def test_a_venue_out_of_reach_is_said_in_plain_words(
    browser: Browser, own: tuple[Desk, str], bad: list[str]
) -> None:
    desk, url = own
    context = _context(browser, url, bad)
    page = context.new_page()
    page.goto("/market?venue=okx&symbol=BTC-USDT&tf=1m")
    _await_chart(page, "BTC-USDT · 1m")
    words = "okx cannot be reached; trying again in 8 s. Without a network, start with --demo."
    desk.bus.say("health.okx", health("okx", "unreachable", words, sent_at_us=time.time_ns() // 1_000))
    expect(page.get_by_role("alert")).to_contain_text("--demo")
    expect(page.locator("#feed-text")).to_have_text("Unreachable")
    desk.bus.say("health.okx", health("okx", sent_at_us=time.time_ns() // 1_000))
    expect(page.locator("#venue-banner")).to_be_empty()
    page.locator("#collectors").click()
    expect(page.get_by_role("table", name="Collectors")).to_contain_text("184K")
    context.close()
    assert not bad, bad


def test_a_lost_connection_comes_back_and_reads_again(
    browser: Browser, own: tuple[Desk, str], bad: list[str]
) -> None:
    desk, url = own
    context = _context(browser, url, bad)
    page = context.new_page()
    connections: list[WebSocketRoute] = []

    def through(route: WebSocketRoute) -> None:
        route.connect_to_server()
        connections.append(route)

    page.route_web_socket(re.compile("/ws/ui"), through)
    page.goto("/bots")
    expect(page.locator(".bots-grid .ag-row", has_text="lab_clone")).to_contain_text("Created")
    page.wait_for_function("() => document.documentElement.dataset.feed === 'live'")
    desk.bots.start("lab_clone", who="command line")  # while nobody tells the page
    connections[0].close()
    expect(page.locator(".bots-grid .ag-row", has_text="lab_clone")).to_contain_text("Running")
    assert len(connections) == 2
    context.close()
    assert not bad, bad


def test_a_store_that_cannot_answer_is_said_in_every_panel(
    browser: Browser, own: tuple[Desk, str], bad: list[str]
) -> None:
    desk, url = own
    desk.market.failure = desk.bots.failure = TransientError("the database cannot be reached")
    context = _context(browser, url, bad)
    page = context.new_page()
    page.goto("/market")
    expect(page.locator("#chart-cover")).to_contain_text("the database cannot be reached")
    expect(page.locator("#watchlist")).to_contain_text("Try again")
    page.goto("/bots")
    expect(page.locator("#bots-cover")).to_contain_text("the database cannot be reached")
    context.close()
    assert not bad, bad


def test_an_empty_desk_says_what_to_do_next(browser: Browser, bad: list[str]) -> None:
    with Serving(build_desk(empty=True).app) as serving:
        context = _context(browser, serving.url, bad)
        page = context.new_page()
        page.goto("/market")
        expect(page.locator("#chart-cover")).to_contain_text("candlewick up --demo")
        page.goto("/bots")
        expect(page.locator("#bots-cover")).to_contain_text("candlewick bots create")
        context.close()
    assert not bad, bad


def test_a_phone_gets_cards_and_nothing_sticks_out(
    browser: Browser, served: tuple[Desk, str], bad: list[str]
) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    context = _context(browser, served[1], bad, **phone)
    page = context.new_page()
    page.goto("/bots")
    expect(page.locator(".bot-card")).to_have_count(5)
    expect(page.locator(".grid-panel")).to_be_hidden()
    expect(page.locator(".tabbar a[aria-current=page]")).to_have_text("Bots")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    page.locator(".tabbar").get_by_text("Market").click()
    _await_chart(page, "BTC-USDT · 1m")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    context.close()
    assert not bad, bad
