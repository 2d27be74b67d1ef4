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
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import health

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
    context.set_default_timeout(90_000)

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


def _await_chart(page: Page, name: str) -> None:
    expect(page.locator("#legend-figures b")).to_have_text(name)


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
    page.goto("/bots")
    page.locator(".bots-grid").get_by_role("button", name="Stop trend_btc").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Stop trend_btc?")
    expect(dialog).to_contain_text("BTC-USDT long (0.1482)")
    expect(page.get_by_role("button", name="Keep running")).to_be_focused()
    page.get_by_role("button", name="Keep running").click()
    expect(dialog).to_be_hidden()
    assert desk.bots.asked == []

    page.locator(".bots-grid").get_by_role("button", name="Stop trend_btc").click()
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
