"""A tab that is left open does not grow: what it holds and draws is bounded, whatever it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import pairwise

import msgspec
import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from dashboard import live_hub
from data.timeframes import Timeframe
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import BTC, forming
from tests.dashboard.fakes_tape import quote_of, say_quote, say_trades, trades_of

pytestmark = pytest.mark.browser

CHART = "window.candlewick.chart"
ROUNDS = 20
STRETCHES = 3  # of so many rounds each, after one to warm up
TRADES = 60  # a round, and as many quotes and revisions of the candle that forms
# Of the heap, per round: far below what keeping a round's messages would take.
MOST_BYTES = 12_000


@dataclass(frozen=True, slots=True)
class Held:
    """What a tab holds after its garbage was collected."""

    heap: float
    nodes: int
    listeners: int


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Desk, str]]:
    """A desk that tells its tabs at once, so that thousands of messages take seconds."""
    monkeypatch.setattr(live_hub, "TAB_INTERVAL_S", 0.005)
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with Serving(desk.app) as serving:
        yield desk, serving.url


def held(page: Page, session: CDPSession) -> Held:
    for _ in range(3):  # what one round frees may have kept something else
        session.send("HeapProfiler.collectGarbage")
        page.wait_for_timeout(50)
    counted = session.send("Memory.getDOMCounters")
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    return Held(heap, counted["nodes"], counted["jsEventListeners"])


def assert_no_growth(page: Page, session: CDPSession, tell: Callable[[int], None]) -> None:
    """What is kept of messages grows with each of them; code that the engine compiles late does so once."""
    for number in range(ROUNDS):
        tell(number)
    all_held = [held(page, session)]
    for stretch in range(1, STRETCHES + 1):
        for number in range(stretch * ROUNDS, (stretch + 1) * ROUNDS):
            tell(number)
        all_held.append(held(page, session))
    # A table keeps rows that it has just replaced for a while: what is kept for good grows in each stretch.
    for kind, most in (("nodes", 2), ("listeners", 1), ("heap", MOST_BYTES)):
        grown = min(getattr(after, kind) - getattr(before, kind) for before, after in pairwise(all_held))
        assert grown / ROUNDS < most, (kind, all_held)


def tell_market(desk: Desk, page: Page, number: int) -> None:
    """A round of trades, quotes and revisions of the forming candle; returns when all is on the screen."""
    stored = desk.market.series[BTC, Timeframe.M1]
    first = 10_000 + number * TRADES
    now_us = time.time_ns() // 1_000
    for step, trade in enumerate(trades_of(BTC, TRADES, first=first, price=70_000.0, at_us=now_us)):
        say_trades(desk.bus, [trade])
        say_quote(desk.bus, quote_of(BTC, 70_000.0 + step, 70_003.0 + number, at_us=now_us + step))
        desk.bus.candle(forming(BTC, stored, 70_000.0 + number + step / 100), closed=False)
    close = 70_000.0 + number + (TRADES - 1) / 100
    page.wait_for_function(
        f"""([id, close]) => {{
          const trades = window.candlewick.tape.trades();
          return trades.length && trades[0].i === id && {CHART}.newest('price').close === close;
        }}""",
        arg=[first + TRADES - 1, close],
    )


def test_a_market_tab_holds_no_more_after_thousands_of_messages(
    browser: Browser, own: tuple[Desk, str]
) -> None:
    desk, url = own
    with opened(browser, url) as (page, bad):
        session = page.context.new_cdp_session(page)
        page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
        page.wait_for_function("() => window.candlewick.ready && !document.getElementById('first-paint')")
        expect(page.locator("html[data-feed=live]")).to_be_attached()
        assert_no_growth(page, session, partial(tell_market, desk, page))
        assert page.locator(".tape-list li").count() == 40
        assert not bad, bad


def test_a_chart_of_seconds_that_stays_open_lets_go_of_what_is_far_back(
    browser: Browser, own: tuple[Desk, str]
) -> None:
    with opened(browser, own[1]) as (page, bad):
        page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1s&overlay=none")
        page.wait_for_function(f"() => window.candlewick.ready && {CHART}.range && {CHART}.newest('price')")
        most, at_last = page.evaluate(
            f"""async () => {{
              const chart = {CHART};
              const note = "forming";
              let most = 0;
              for (let told = 0; told < 25000; told += 1000) {{
                const ticks = [];
                const start = chart.newest('price').time;
                for (let second = 1; second <= 1000; second += 1) {{
                  const time = start + second, close = 70000 + (time % 97);
                  const bar = {{time, open: close, high: close + 1, low: close - 1, close}};
                  ticks.push({{key: chart.view.key, id: "price", bar, note}});
                }}
                chart.tick(ticks);
                most = Math.max(most, chart.rows.price.length, Object.keys(chart.notes).length);
                // The view follows the newest bar, and says so a little later.
                do await new Promise((done) => requestAnimationFrame(done));
                while (chart.range.visibleLogicalRange.to < chart.rows.price.length - 1);
                const bar = {{...chart.newest('price'), time: chart.newest('price').time + 1}};
                chart.tick([{{key: chart.view.key, id: "price", bar}}]);
              }}
              return [most, chart.rows.price.length];
            }}"""
        )
        assert 24_000 <= most <= 26_100
        assert at_last < 22_500
        assert not bad, bad


def test_a_bots_tab_holds_no_more_after_it_was_told_of_changes(
    browser: Browser, own: tuple[Desk, str]
) -> None:
    desk, url = own
    with opened(browser, url) as (page, bad):
        session = page.context.new_cdp_session(page)
        page.goto("/bots")
        row = page.locator(".ag-row[row-id=trend_btc]", has_text="12,843.55")
        expect(row.first).to_be_visible()
        expect(page.locator("html[data-feed=live]")).to_be_attached()

        def tell(number: int) -> None:
            view = desk.bots.bots["trend_btc"]
            desk.bots.bots["trend_btc"] = msgspec.structs.replace(view, equity=Decimal(20_000 + number))
            desk.bus.say("bots.trend_btc", b"{}")
            # At once, not when the browser's second is over.
            page.evaluate("at => window.dash_clientside.set_props('nudge-bots', {data: at})", number + 1_000)
            page.wait_for_function(
                """text => [...document.querySelectorAll('.ag-row[row-id=trend_btc]')]
                  .some(row => row.textContent.includes(text))""",
                arg=f"{20_000 + number:,}.00",
            )

        assert_no_growth(page, session, tell)
        assert not bad, bad


def test_what_fails_again_and_again_is_told_once_until_it_is_dismissed(
    browser: Browser, own: tuple[Desk, str]
) -> None:
    desk, url = own
    with opened(browser, url) as (page, _):
        page.goto("/bots")
        expect(page.locator(".ag-row[row-id=trend_btc]").first).to_be_visible()
        desk.bots.failure = RuntimeError("a mistake of ours")
        told = page.locator(".mantine-Notification-root", has_text="Something went wrong here")
        for number in range(4):
            with page.expect_response(
                lambda answer: "kpis" in (answer.request.post_data or ""), timeout=90_000
            ):
                page.evaluate("at => window.dash_clientside.set_props('nudge-bots', {data: at})", number + 5)
            expect(told.first).to_be_visible()
        expect(told).to_have_count(1)
