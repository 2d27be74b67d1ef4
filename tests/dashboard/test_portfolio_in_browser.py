"""The Portfolio page in a real Chromium, on a desk and on a phone."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Serving, build_desk

pytestmark = pytest.mark.browser


def test_the_portfolio_shows_exposure_limits_and_what_they_kept_back_also_on_a_phone() -> None:
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with chromium() as browser, Serving(desk.app) as serving:
        with opened(browser, serving.url) as (page, bad):
            page.goto("/portfolio")
            expect(page.locator("#portfolio-kpis")).to_contain_text("53,908.04")
            expect(page.locator("#portfolio-limits tbody tr").first).to_contain_text("98%")
            expect(page.locator("#portfolio-violations")).to_contain_text("2,412.50 of 2,000.00")
            expect(page.locator("#portfolio-exposure tbody tr")).to_have_count(2)
            expect(page.locator("#portfolio-clusters")).to_contain_text("ETH-USDT")
            expect(page.locator("#portfolio-drawdowns tbody tr")).to_have_count(6)
            expect(page.locator("#portfolio-equity .main-svg").first).to_be_visible()
            expect(page.locator("#portfolio-correlations .heatmaplayer image")).to_have_count(1)
            page.get_by_role("link", name="revert_sol").first.click()
            expect(page.locator("#bot-head")).to_contain_text("revert_sol")
            assert not bad, bad
        with opened(browser, serving.url, phone=True) as (page, bad):
            page.goto("/portfolio")
            expect(page.locator("#portfolio-limits tbody tr").first).to_contain_text("98%")
            assert page.evaluate("() => document.documentElement.scrollWidth") == 390
            assert not bad, bad
