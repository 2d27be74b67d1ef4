"""The Data page in a real Chromium: from a hole in the calendar to the job that fetches it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from dashboard.figures.coverage import DAY_US
from dashboard.pages.data_coverage import day_name
from data.timeframes import Timeframe, floor_to
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Serving, build_desk

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def test_from_a_hole_in_the_calendar_to_the_job_that_fetches_it(browser: Browser) -> None:
    now_us = time.time_ns() // 1_000
    desk = build_desk(now_us=now_us)
    hole_day = day_name(floor_to(now_us, Timeframe.D1) - 2 * DAY_US)
    with Serving(desk.app) as serving, opened(browser, serving.url) as (page, bad):
        page.goto("/data")
        expect(page.locator("#data-collectors table tbody tr")).to_have_count(2)
        page.locator(f"a.day[href*='binance'][href*='{hole_day}']").click()
        expect(page.locator("#data-day")).to_contain_text("12 missing minutes")
        page.locator("#data-day a.button").click()
        expect(page.locator("#data-backfill-from")).to_have_value(f"{hole_day}T14:03")
        page.locator("#data-backfill-from").fill("someday")
        page.locator("#data-backfill-start").click()
        expect(page.locator("#data-backfill-problems")).to_contain_text("expected a time like")
        page.locator("#data-backfill-from").fill(f"{hole_day}T14:00")
        page.locator("#data-backfill-start").click()
        expect(page.locator("#data-jobs .data-job")).to_contain_text(
            f"history of binance:BTC-USDT since {hole_day}"
        )
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#data-jobs .data-job")).to_contain_text("Cancelled")
        page.goto("/bots")
        expect(page.locator("h1")).to_have_text("Bots")
        assert not bad, bad
    (job,) = desk.lab.jobs.jobs()
    assert job.arguments["trades"] is True


def test_on_a_phone_nothing_of_the_page_is_wider_than_the_window(browser: Browser) -> None:
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with Serving(desk.app) as serving, opened(browser, serving.url, phone=True) as (page, bad):
        for view, mark in (("", ".data-card"), ("?view=holes", "table"), ("?view=history", ".data-form")):
            page.goto(f"/data{view}")
            page.locator(mark).first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert not bad, bad
