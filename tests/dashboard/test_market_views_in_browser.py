"""Trades, layouts and watchlists of the Market page in a real Chromium, over in-memory fakes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.saved_views import ChartLayout, Watchlist
from data.models import Market
from data.timeframes import SECOND_US
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import BTC
from tests.dashboard.fakes_tape import quote_of, say_quote, say_trades, trades_of

pytestmark = pytest.mark.browser

CHART = "window.candlewick.chart"
OKX_BTC = Market("okx", "BTC-USDT")
ROW = ".tape-list .tape-row"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Desk, str]]:
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with Serving(desk.app) as serving:
        yield desk, serving.url


@pytest.fixture(scope="module")
def profile(browser: Browser, served: tuple[Desk, str]) -> Iterator[tuple[Page, list[str]]]:
    with opened(browser, served[1]) as (page, bad):
        yield page, bad


@pytest.fixture
def page(profile: tuple[Page, list[str]]) -> Iterator[Page]:
    window, bad = profile
    bad.clear()
    yield window
    assert not bad, bad


def _open(page: Page, query: str) -> None:
    """The page stands with its chart drawn."""
    page.goto(f"/market{query}")
    page.wait_for_function("() => window.candlewick.ready && !document.getElementById('first-paint')")
    expect(page.locator("#legend-figures b")).not_to_be_empty()


def _now_us() -> int:
    return time.time_ns() // 1_000


def test_trades_are_filled_from_the_store_then_told_and_only_so_many_are_held(
    page: Page, served: tuple[Desk, str]
) -> None:
    desk, _ = served
    _open(page, "?venue=okx&symbol=BTC-USDT&tf=1m")
    expect(page.locator(ROW)).to_have_count(30)
    expect(page.locator(".best")).to_contain_text("the quotes channel has said nothing")
    page.wait_for_function("() => document.documentElement.dataset.feed === 'live'")
    for first in range(31, 331, 60):
        say_trades(desk.bus, trades_of(OKX_BTC, 60, first=first, price=70_000.0 + first, at_us=_now_us()))
    newest = page.locator(ROW).first
    expect(newest).to_have_attribute("data-id", "330")
    expect(newest).to_contain_text("▲70,330.0")
    expect(newest).to_contain_text("bought at")
    expect(page.locator(ROW)).to_have_count(40)
    assert page.evaluate("() => window.candlewick.tape.trades().length") == 40
    ids = page.locator(ROW).evaluate_all("rows => rows.map(row => Number(row.dataset.id))")
    assert ids == list(range(330, 290, -1))


def test_a_best_bid_and_ask_stand_with_their_spread_until_they_are_silent(
    page: Page, served: tuple[Desk, str]
) -> None:
    desk, _ = served
    _open(page, "?venue=okx&symbol=BTC-USDT&tf=1m")
    expect(page.locator(ROW).first).to_be_visible()
    say_quote(desk.bus, quote_of(OKX_BTC, 70_000.0, 70_003.5, at_us=_now_us()))
    expect(page.locator(".best")).to_contain_text("70,003.5")
    expect(page.locator(".best")).to_contain_text("0.50 bps")
    old = quote_of(OKX_BTC, 71_000.0, 71_003.5, at_us=_now_us() + SECOND_US)
    say_quote(desk.bus, old)
    expect(page.locator(".best")).to_contain_text("71,003.5")
    page.evaluate("""() => { window.candlewick.serverNow = () => Date.now() + 60000; }""")
    expect(page.locator(".best")).to_contain_text("silent: the last was heard")
    expect(page.locator(".best")).not_to_contain_text("71,003.5")
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m")
    expect(page.locator(".best")).to_contain_text("not recorded for this market")
    expect(page.locator(".best").get_by_role("link", name="Turn it on in Settings")).to_be_visible()


def test_trades_are_folded_under_the_chart_of_a_phone(browser: Browser, served: tuple[Desk, str]) -> None:
    with opened(browser, served[1], phone=True) as (page, bad):
        _open(page, "?venue=okx&symbol=BTC-USDT&tf=1m")
        fold = page.get_by_role("button", name="Trades")
        expect(fold).to_have_attribute("aria-expanded", "false")
        expect(page.locator(ROW).first).to_be_hidden()
        fold.click()
        expect(page.locator(ROW).first).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        assert not bad, bad


def test_a_layout_is_saved_opened_by_a_bare_address_saved_over_renamed_and_deleted(
    page: Page, served: tuple[Desk, str]
) -> None:
    desk, _ = served
    _open(page, "?venue=okx&symbol=BTC-USDT&tf=5m&overlay=rsi(14,close)")
    page.get_by_role("button", name="Layouts").click()
    dialog = page.locator("#layouts-dialog")
    dialog.get_by_label("Price axis").select_option("log")
    page.wait_for_function("() => location.search.includes('scale=log')")
    dialog.get_by_label("Name of the layout").fill("Scalping")
    dialog.get_by_role("button", name="Save this chart", exact=True).click()
    dialog.get_by_role("button", name="Scalping for every new chart").click()
    expect(dialog.get_by_role("button", name="Scalping for every new chart")).to_have_attribute(
        "aria-pressed", "true"
    )
    wanted = ChartLayout(name="Scalping", tf="5m", overlay="rsi(14,close)", scale="log", default=True)
    assert desk.views.views() == [wanted]
    _open(page, "")
    expect(page.locator("#legend-figures b")).to_have_text("BTC-USDT · 5m")
    page.wait_for_function("() => location.search.includes('scale=log')")
    expect(page.get_by_role("button", name="Layouts")).to_contain_text("Scalping")
    page.locator("#tf-15m").click()
    expect(page.locator("#legend-figures b")).to_have_text("BTC-USDT · 15m")
    page.get_by_role("button", name="Layouts").click()
    dialog.get_by_role("button", name="Save this chart over Scalping").click()
    expect(page.get_by_role("button", name="Keep what it holds")).to_be_focused()
    page.get_by_role("button", name="Save over it").click()
    expect(dialog.locator(".view-open")).to_contain_text("15m · rsi(14,close) · log")
    dialog.get_by_role("button", name="Rename Scalping").click()
    dialog.get_by_label("New name of Scalping").fill("Slow")
    dialog.get_by_role("button", name="Rename", exact=True).click()
    dialog.get_by_role("button", name="Delete Slow").click()
    page.get_by_role("button", name="Delete layout").click()
    expect(dialog).to_contain_text("No layout is saved yet")
    assert desk.views.views() == []


def test_what_another_version_saved_is_shown_as_that_and_can_be_deleted(
    page: Page, served: tuple[Desk, str]
) -> None:
    desk, _ = served
    desk.views.of_another_version.extend([("layout", "Later"), ("watchlist", "Alts")])
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m")
    for opener, shown, name in (
        ("Layouts", "#layouts-dialog", "Later"),
        ("Edit watchlists", "#watchlists-dialog", "Alts"),
    ):
        page.get_by_role("button", name=opener).click()
        dialog = page.locator(shown)
        expect(dialog.locator(".view-row")).to_contain_text([f"{name}Saved by another version of Candlewick"])
        dialog.get_by_role("button", name=f"Delete {name}").click()
        page.get_by_role("button", name="Delete it").click()
        expect(dialog.locator(".view-row")).to_have_count(0)
        page.keyboard.press("Escape")
    assert desk.views.of_another_version == []


def test_heights_of_panes_that_are_dragged_stand_in_the_address(page: Page) -> None:
    _open(page, "?venue=okx&symbol=BTC-USDT&tf=5m&overlay=none")
    rows = page.evaluate(
        "() => [...document.querySelector('#chart table').rows].map(r => r.getBoundingClientRect().top)"
    )
    page.mouse.move(500, rows[1])
    page.mouse.down()
    page.mouse.move(500, rows[1] - 80, steps=4)
    page.mouse.up()
    page.wait_for_function("() => /panes=\\d/.test(location.search)")
    page.reload()
    page.wait_for_function("() => window.candlewick.ready && !document.getElementById('first-paint')")
    tops = "() => [...document.querySelector('#chart table').rows][1].getBoundingClientRect().top"
    page.wait_for_function(f"before => Math.abs(({tops})() - before + 80) < 12", arg=rows[1])


def test_a_watchlist_is_made_filled_ordered_and_shown(page: Page, served: tuple[Desk, str]) -> None:
    desk, _ = served
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m")
    page.get_by_role("button", name="Edit watchlists").click()
    dialog = page.locator("#watchlists-dialog")
    dialog.get_by_label("Name of the new list").fill("Majors")
    dialog.get_by_role("button", name="Create").click()
    dialog.get_by_role("button", name="Add ETH-USDT of Binance").click()
    dialog.get_by_label("Search markets to add").fill("btc okx")
    dialog.get_by_role("button", name="Add BTC-USDT of OKX").click()
    dialog.get_by_role("button", name="Move BTC-USDT up").click()
    expect(dialog.locator(".lists-row b")).to_have_text(["BTC", "ETH"])
    page.keyboard.press("Escape")
    rows = page.locator("#watchlist .watch-row:not(.watch-head)")
    expect(rows).to_have_count(2)
    assert "list=Majors" in page.url
    assert desk.views.views() == [Watchlist(name="Majors", markets=("okx:BTC-USDT", "binance:ETH-USDT"))]
    desk.bus.trade(OKX_BTC, 70_500.0, at_us=_now_us())
    expect(page.locator("#watch-last-okx\\:BTC-USDT")).to_have_text("70,500.0")
    rows.last.click()
    expect(page.locator("#legend-figures b")).to_have_text("ETH-USDT · 1m")
    assert "list=Majors" in page.url
    page.get_by_role("combobox", name="Watchlist").select_option("")
    expect(rows).to_have_count(7)
    page.get_by_role("button", name="Edit watchlists").click()
    dialog.get_by_role("button", name="Remove ETH-USDT").click()
    expect(dialog.locator(".lists-row")).to_have_count(1)
    dialog.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete list").click()
    expect(dialog).to_contain_text("No list is saved yet")
    page.keyboard.press("Escape")
    assert desk.views.views() == []


def test_the_address_of_a_list_that_is_gone_says_so(page: Page) -> None:
    _open(page, "?venue=binance&symbol=BTC-USDT&tf=1m&list=Gone")
    expect(page.locator("#watchlist")).to_contain_text("There is no list “Gone”.")
    page.get_by_role("button", name="Show all markets").click()
    expect(page.locator("#watchlist .watch-row:not(.watch-head)")).to_have_count(7)
    assert BTC.symbol in page.url
