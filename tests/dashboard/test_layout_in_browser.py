"""Pages stand still while they fill, in a real Chromium: on a desktop and on a phone, with slow answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.types import ASGIApp, Receive, Scope, Send

from data.timeframes import SECOND_US, Timeframe
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import BTC, NOW_US
from tests.dashboard.fakes_research import FakeResearch
from tests.dashboard.fakes_tape import say_trades, trades_of
from tests.dashboard.kept_research import kept_run

pytestmark = pytest.mark.browser

ANSWER_S = 0.1  # so long does every panel show what stands in its place
MOST_SHIFT = 0.02  # of the window; Chromium calls 0.1 good
WATCH = """window.shifts = []; new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    if (one.hadRecentInput) continue;
    const moved = one.sources.map(({ node, previousRect, currentRect }) => {
      const element = node && (node.nodeType === 1 ? node : node.parentElement);
      const told = element ? element.id || String(element.className).slice(0, 40) || element.tagName : "gone";
      const box = ({ x, y, width, height }) => [x, y, width, height].map(Math.round).join(" ");
      return `${told} [${box(previousRect)}] to [${box(currentRect)}]`;
    });
    window.shifts.push({ value: one.value, moved });
  }
}).observe({ type: "layout-shift", buffered: true });"""
STANDS = """() => {
  const waits = [
    ".skeleton", ".mantine-Skeleton-root", ".equity-box:not(:has(.trace, .hm, .panel-state))",
    ".bots-grid .ag-body:not(:has(.ag-row))",
  ];
  const pending = [...document.querySelectorAll(`#page :is(${waits.join()})`)];
  const said = (id) => (document.getElementById(id) || { textContent: "-" }).textContent !== "";
  return window.candlewick.ready && document.fonts.status === "loaded" && said("clock-text")
    && document.documentElement.dataset.feed === "live" && said("collectors-text")
    && document.querySelector("#page > *") && !document.getElementById("first-paint")
    && !pending.some((one) => one.offsetParent !== null);
}"""
PAGES = (
    "/market?venue=binance&symbol=BTC-USDT&tf=1m",
    "/bots",
    "/bots?bot=trend_btc",
    "/bots?new=grid",
    "/portfolio",
    "/backtests?run=1",
    "/backtests?new=backtest&strategy=ema_crossover",
    "/strategies?name=ema-crossover",
    "/data",
    "/data?view=history",
    "/system",
    "/settings",
)


class Slowly:
    """ASGI middleware: what a page asks for while it stands comes late."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith(("/_dash-update", "/desk/")) and ".js" not in path:
            await asyncio.sleep(ANSWER_S)
        await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def desk() -> Iterator[tuple[Desk, str]]:
    made = build_desk(now_us=NOW_US)
    research = made.lab.research
    assert isinstance(research, FakeResearch)
    ohlcv = made.market.series[BTC, Timeframe.M5]
    research.kept[1] = kept_run(1, BTC, ohlcv, fast=9)
    made.app.add_middleware(Slowly)
    with Serving(made.app) as serving:
        yield made, serving.url


def shift_of(page: Page) -> tuple[float, list[str]]:
    """How far the page moved by itself until it stood, as a part of the window, and what moved."""
    page.wait_for_function(STANDS)
    page.wait_for_timeout(3_000 * ANSWER_S)  # what stands may be the frame of a view that has yet to come
    page.wait_for_function(STANDS)
    found = page.evaluate("() => window.shifts")
    moved = [f"{one['value']:.4f}: {what}" for one in found for what in one["moved"]]
    return sum(one["value"] for one in found), moved


@pytest.fixture(scope="module", params=["desktop", "phone"])
def window(
    browser: Browser, desk: tuple[Desk, str], request: pytest.FixtureRequest
) -> Iterator[tuple[Page, list[str]]]:
    """One window of each size, so that the scripts are loaded once."""
    with opened(browser, desk[1], phone=request.param == "phone") as (page, bad):
        page.add_init_script(WATCH)
        yield page, bad


def test_trades_that_come_push_nothing_down_the_page(
    window: tuple[Page, list[str]], desk: tuple[Desk, str]
) -> None:
    page, _ = window
    page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
    shift_of(page)
    rows = page.locator(".tape-list li")
    if page.get_by_role("button", name="Trades").is_enabled():  # folded on a phone
        page.get_by_role("button", name="Trades").click()
    expect(rows.first).to_be_visible()
    page.wait_for_timeout(700)  # what moves so soon after a click is the click's doing, and not counted
    page.evaluate("() => { window.shifts = []; }")
    first = 1_000 + (time.time_ns() // 1_000_000) % 10**9
    for step in range(0, 60, 10):
        say_trades(desk[0].bus, trades_of(BTC, 10, first=first + step, at_us=NOW_US + step * SECOND_US))
        expect(rows.first).to_have_attribute("data-id", str(first + step + 9))
    expect(rows).to_have_count(40)
    moved = [one["moved"] for one in page.evaluate("() => window.shifts") if one["value"] > 0.0005]
    assert not moved


@pytest.mark.parametrize("path", PAGES)
def test_a_page_does_not_move_what_it_shows(window: tuple[Page, list[str]], path: str) -> None:
    page, bad = window
    bad.clear()
    page.goto(path)
    shift, moved = shift_of(page)
    assert shift < MOST_SHIFT, moved
    assert not bad, bad
