"""The emergency stop of the header: two clicks from any page, and a banner on all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from bots.emergency import EmergencyReport, EmergencyState, LeftOver
from dashboard.emergency_stop import banner, question
from data.errors import TransientError
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import bot_view, position
from tests.dashboard.fakes_safety import FakeStop


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def own() -> Iterator[tuple[Desk, str]]:
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with Serving(desk.app) as serving:
        yield desk, serving.url


def test_there_is_no_banner_while_nothing_is_stopped() -> None:
    assert banner(EmergencyReport(state=EmergencyState())) is None


def test_the_banner_says_who_and_why_and_what_is_left() -> None:
    state = EmergencyState(engaged=True, flatten=True, since_us=0, who="anna", why="flash crash")
    left = LeftOver(bot="trend", what="long 0.5 okx:BTC-USDT", why="its bot was never started")
    shown = str(banner(EmergencyReport(state=state, positions=(left,))))
    for words in ("00:00:00 UTC", " by anna: flash crash", "1 order or position not settled yet", "long 0.5"):
        assert words in shown


def test_the_question_counts_bots_and_positions_with_their_money() -> None:
    bots = [bot_view("one", position=position(pnl="-12.5")), bot_view("two")]
    shown = str(question(bots))
    assert "2 bots are at work" in shown
    assert "1 position is open, at −12.50 USDT now." in shown  # noqa: RUF001  minus sign


@pytest.mark.browser
def test_two_clicks_stop_the_desk_from_any_page_and_every_page_says_so(
    browser: Browser, own: tuple[Desk, str]
) -> None:
    desk, url = own
    stop = desk.safety.stop
    assert isinstance(stop, FakeStop)
    with opened(browser, url) as (page, bad):
        page.goto("/market")
        page.get_by_role("button", name="Emergency stop").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("2 positions are open")
        expect(page.get_by_role("button", name="Keep trading")).to_be_focused()
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        assert stop.asked == []

        page.get_by_role("button", name="Emergency stop").click()
        page.get_by_label("Reason, for the audit").fill("flash crash")
        page.get_by_role("button", name="Stop everything").click()
        expect(page.locator("#stop-banner")).to_contain_text("Stopped since")
        assert stop.asked == [("engage", "flash crash", True)]
        page.goto("/bots")
        expect(page.locator("#stop-banner")).to_contain_text("by web page: flash crash")

        page.get_by_role("button", name="Emergency stop").click()
        expect(page.get_by_role("button", name="Stay stopped")).to_be_focused()
        page.get_by_role("button", name="Release the stop").click()
        expect(page.locator("#stop-banner")).to_be_empty()
        assert stop.asked[-1] == ("release", "", False)
        assert not bad, bad


@pytest.mark.browser
def test_a_stop_from_elsewhere_shows_at_once_and_a_failed_one_is_not_claimed(
    browser: Browser, own: tuple[Desk, str]
) -> None:
    desk, url = own
    stop = desk.safety.stop
    assert isinstance(stop, FakeStop)
    with opened(browser, url, phone=True) as (page, bad):
        page.goto("/bots")
        page.wait_for_function("() => document.documentElement.dataset.feed === 'live'")
        stop.failure = TransientError("the database cannot be reached")
        page.get_by_role("button", name="Emergency stop").click()
        page.get_by_role("button", name="Stop everything").click()
        expect(page.locator("#stop-all-problem")).to_contain_text("The desk is NOT stopped")
        page.get_by_role("button", name="Keep trading").click()
        stop.failure = None
        stop.engage("command line", flatten=False)
        desk.bus.say("control.bots", b"{}")
        expect(page.locator("#stop-banner")).to_contain_text("positions stay open, as asked")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        assert not bad, bad
