"""The Bots page in a real Chromium: several bots at once, a new one, its settings, and its end."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from bots.lifecycle import BotState
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Desk, Serving, build_desk

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def own() -> Iterator[tuple[Desk, str]]:
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with Serving(desk.app) as serving:
        yield desk, serving.url


def test_several_bots_are_stopped_at_once_after_a_question_with_figures(
    browser: Browser, own: tuple[Desk, str]
) -> None:
    desk, url = own
    with opened(browser, url) as (page, bad):
        page.goto("/bots")
        for name in ("trend_btc", "swing_eth", "revert_sol"):
            page.locator(f".ag-row[row-id={name}] input[type=checkbox]").first.check()
        expect(page.locator("#bulk-count")).to_have_text("3 bots selected")
        page.get_by_role("button", name="Stop the selected bots").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("2 of them hold positions")
        expect(page.get_by_role("button", name="Keep running")).to_be_focused()
        close = page.get_by_role("button", name="Stop and close position")
        expect(close).to_be_disabled()
        page.get_by_label("To close the positions, type close").fill("close")
        close.click()
        expect(page.get_by_text("3 bots are closing positions and stopping")).to_be_visible()
        assert sorted(desk.bots.asked) == [
            ("stop", "revert_sol", True),
            ("stop", "swing_eth", True),
            ("stop", "trend_btc", True),
        ]
        assert not bad, bad


def test_a_new_bot_shows_its_worst_case_is_changed_taken_back_and_deleted(
    browser: Browser, own: tuple[Desk, str]
) -> None:
    desk, url = own
    with opened(browser, url) as (page, bad):
        page.goto("/bots?new=dca")
        expect(page.locator("#wizard-cost")).to_contain_text("Binds at most")
        expect(page.locator("#wizard-cost")).to_contain_text("Safety 5")
        capital = page.get_by_label("Capital", exact=True)
        capital.fill("100")
        capital.blur()
        expect(page.locator(".mantine-InputWrapper-error")).to_contain_text("must be at least")
        capital.fill("10000")
        page.get_by_label("Name", exact=True).fill("averaging")
        page.get_by_role("button", name="Create the bot").click()

        expect(page.locator("#bot-head")).to_contain_text("averaging")
        assert "bot=averaging" in page.url
        (created,) = desk.bots.created
        assert created.ladder is not None
        assert desk.bots.bots["averaging"].state is BotState.CREATED

        page.get_by_role("tab", name="Settings").click()
        fee = page.get_by_label("Taker fee")
        expect(fee).to_have_value("10")
        fee.fill("5")
        page.get_by_role("button", name="Save as a new version").click()
        expect(page.locator(".version")).to_have_count(2)
        expect(page.locator(".version").first).to_contain_text("fee_bps 10 5")
        assert "tab=settings" in page.url
        page.get_by_role("button", name="Go back to version 1").click()
        expect(page.locator(".version")).to_have_count(3)
        assert desk.bots.documents["averaging"][-1]["fee_bps"] == "10"

        page.get_by_role("button", name="Delete averaging").click()
        delete = page.get_by_role("button", name="Delete the bot")
        expect(delete).to_be_disabled()
        page.get_by_label("To delete it, type the bot's name").fill("averaging")
        delete.click()
        expect(page.locator(".bots-grid .ag-center-cols-container .ag-row")).to_have_count(5)
        assert desk.bots.asked == [("delete", "averaging", False)]
        assert not bad, bad


def test_a_basket_is_made_with_its_weights_and_shows_each_symbol(
    browser: Browser, own: tuple[Desk, str]
) -> None:
    desk, url = own
    with opened(browser, url) as (page, bad):
        page.goto("/bots?new=rebalance")
        cost = page.locator("#wizard-cost")
        expect(cost).to_contain_text("Binds at most")
        weights = page.get_by_label("Weights", exact=True)
        weights.fill("BTC-USDT 50%, ETH-USDT much")
        weights.blur()
        expect(page.locator(".mantine-InputWrapper-error")).to_contain_text("ETH-USDT")
        weights.fill("BTC-USDT 50%, ETH-USDT 30%, XYZ-USDT 10%")
        weights.blur()
        expect(cost).to_contain_text("XYZ-USDT: no candle is stored")
        expect(cost.locator("table")).to_contain_text("5,000.00")
        page.get_by_role("button", name="Create the bot").click()
        expect(page.locator("#bot-head")).to_contain_text("basket")
        (created,) = desk.bots.created
        assert created.symbols == ("BTC-USDT", "ETH-USDT", "XYZ-USDT")
        assert not bad, bad


@pytest.mark.parametrize("phone", [False, True])
def test_the_button_that_creates_a_bot_is_in_the_window_wherever_the_form_stands(
    browser: Browser, own: tuple[Desk, str], phone: bool
) -> None:
    with opened(browser, own[1], phone=phone) as (page, bad):
        for kind in ("grid", "dca"):
            page.goto(f"/bots?new={kind}")
            expect(page.locator("#wizard-cost .cost-lines")).to_be_visible()
            button = page.get_by_role("button", name="Create the bot")
            expect(button).to_be_in_viewport(ratio=1)
            page.get_by_role("textbox", name="After its process ended").scroll_into_view_if_needed()
            expect(button).to_be_in_viewport(ratio=1)
            if not phone:
                expect(page.locator("#wizard-cost .cost-lines")).to_be_in_viewport(ratio=1)
        assert not bad, bad
