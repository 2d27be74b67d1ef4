"""The Settings page: files become forms and forms become the same files."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from alerts.settings import parse_alert_settings
from app.retention import MOST_DAYS, days_of, retention_of
from dashboard.pages.settings import body_of
from dashboard.pages.settings_forms import (
    collectors_body,
    notifications_body,
    retention_days,
    venue_lines,
)
from data.collectors.settings import parse_collector_settings
from data.errors import InvalidInput
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Serving, build_desk
from tests.dashboard.fakes_settings import FakeSettings


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def test_lines_of_venues_become_a_file_that_keeps_what_the_form_does_not_show() -> None:
    before = {"okx": {"symbols": ["BTC-USDT"], "channels": ["trades", "quotes"], "history_candles": 500}}
    lines = [("okx", *line) for line in venue_lines(before["okx"])]
    body = collectors_body(
        before, [*lines, ("okx", " eth-usdt ", ["trades"]), ("okx", "", ["trades"]), ("binance", None, [])]
    )
    assert body == {
        "okx": {
            "symbols": {"BTC-USDT": ["trades", "quotes"], "ETH-USDT": ["trades"]},
            "history_candles": 500,
        }
    }
    assert parse_collector_settings(body, "file")["okx"].symbols == ("BTC-USDT", "ETH-USDT")


def test_lines_of_notifications_become_a_file_without_the_empty_ones() -> None:
    rules = [(["bot_failed"], ["phone"], "trend_*, grid_*", "", 20), (None, [], "*", "*", 60)]
    body = notifications_body([(" phone ", "TELEGRAM_URL"), ("", None)], rules, "06:30")
    parsed = parse_alert_settings(body, "file")
    assert list(parsed.channels) == ["phone"]
    (rule,) = parsed.rules
    assert (rule.bots, rule.markets, rule.at_most_per_hour) == (("trend_*", "grid_*"), ("*",), 20)
    assert parsed.daily_summary_at == "06:30"


def test_an_empty_number_of_days_keeps_for_good_and_what_proves_trades_goes_with_them() -> None:
    kept = retention_of(retention_days({"trades": 7, "quotes": "", "candles": None}))
    assert (kept.trades_days, kept.trade_digests_days, kept.quotes_days) == (7, 7, None)
    assert days_of(kept)["books"] == 7


@pytest.mark.parametrize("days", [{"trades": 0}, {"trades": MOST_DAYS + 1}, {"trades": "soon"}, {"tales": 3}])
def test_days_that_make_no_sense_are_refused(days: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="retention"):
        retention_of(days)


@pytest.mark.parametrize("view", ["", "retention", "notifications", "display"])
def test_every_part_of_a_new_desk_is_shown(view: str) -> None:
    assert "Save" in str(body_of(FakeSettings(empty=True), {"view": view}))


@pytest.mark.browser
def test_a_symbol_is_added_a_wrong_one_told_a_channel_tried_and_the_palette_changed(browser: Browser) -> None:
    desk = build_desk(now_us=time.time_ns() // 1_000)
    settings = desk.rooms.settings
    assert isinstance(settings, FakeSettings)
    with Serving(desk.app) as serving, opened(browser, serving.url) as (page, bad):
        page.goto("/settings")
        new = page.get_by_label("new symbol of okx", exact=True).first
        new.fill("ethusdt")
        page.locator("#settings-collectors-save").click()
        expect(page.locator("#settings-collectors-problems")).to_contain_text("write BASE-QUOTE")
        new.fill("eth-usdt")
        page.locator("#settings-collectors-save").click()
        expect(page.get_by_label("ETH-USDT", exact=True)).to_have_value("ETH-USDT")
        page.goto("/settings?view=notifications")
        page.get_by_role("button", name="Test phone").click()
        expect(page.get_by_role("table", name="Delivery log")).to_contain_text("phone: sent")
        page.goto("/settings?view=display")
        page.locator("#settings-palette").click()
        page.get_by_role("option", name="Blue and amber").click()
        page.locator("#settings-display-save").click()
        expect(page.locator("html")).to_have_attribute("data-palette", "cvd")
        page.goto("/bots")
        expect(page.locator("html")).to_have_attribute("data-palette", "cvd")
        assert not bad, bad
    assert settings.recorded["okx"]["symbols"] == {
        "BTC-USDT": ["trades", "quotes"],
        "ETH-USDT": ["trades"],
    }
    assert settings.look.palette == "cvd"
