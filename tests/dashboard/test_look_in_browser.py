"""How pages behave to the eye, in a real Chromium: colours, phones, forms that are filled wrongly."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from dashboard.theme import LIGHT
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Serving, build_desk

pytestmark = pytest.mark.browser
SHOWN_SCHEME = "window.dash_component_api.getLayout('scheme').props.data"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Serving(build_desk(now_us=time.time_ns() // 1_000).app) as serving:
        yield serving.url


def test_a_palette_that_one_tab_chooses_is_the_other_tabs_at_once(browser: Browser, url: str) -> None:
    with opened(browser, url) as (page, bad):
        page.goto("/portfolio")
        expect(page.locator("#portfolio-limits")).not_to_be_empty()
        other = page.context.new_page()
        other.goto("/healthz")
        other.evaluate("localStorage.setItem('candlewick-palette', 'cvd')")
        expect(page.locator("html")).to_have_attribute("data-palette", "cvd")
        page.wait_for_function(f"{SHOWN_SCHEME} === 'dark-cvd'")  # the figures are drawn in it
        assert not bad, bad


def test_a_page_that_is_opened_in_light_colours_draws_nothing_in_dark_ones(
    browser: Browser, url: str
) -> None:
    with opened(browser, url) as (page, bad):
        page.add_init_script("localStorage.setItem('mantine-color-scheme-value', 'light')")
        page.goto("/bots?bot=trend_btc")
        expect(page.locator("#bot-chart canvas").first).to_be_visible()
        chart = "window.dash_component_api.getLayout('bot-chart').props.chartOptions"
        page.wait_for_function(f"() => {chart} && {chart}.layout")
        assert page.evaluate(f"() => {SHOWN_SCHEME}") == "light"
        assert page.evaluate(f"() => {chart}.layout.textColor") == LIGHT.tx2
        assert not bad, bad


def test_on_a_phone_the_emergency_stop_is_within_the_window(browser: Browser, url: str) -> None:
    with opened(browser, url, phone=True) as (page, bad):
        page.goto("/bots")
        expect(page.locator("#bot-cards .bot-card").first).to_be_visible()
        for element in ("#stop-all", ".tabbar button"):
            box = page.locator(element).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
        assert page.evaluate("document.querySelector('.head').scrollWidth") <= 390
        assert not bad, bad


def test_every_wrong_field_of_a_form_says_what_would_be_right(browser: Browser, url: str) -> None:
    with opened(browser, url) as (page, bad):
        page.goto("/backtests?new=backtest&strategy=ema_crossover")
        parameter = page.locator("#run-parameters input").first
        expect(parameter).to_be_visible()
        parameter.fill("quick")
        page.locator("#run-capital").fill("lots")
        page.locator("#run-from").fill("someday")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.locator("#run-problems")).to_contain_text("3 fields above need another value")
        expect(page.locator(".mantine-InputWrapper-error")).to_have_count(3)
        assert not bad, bad
