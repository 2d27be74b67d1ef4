"""The reports in a real Chromium: everything is drawn, nothing is fetched, nothing complains."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.commands.backtest import command

pytestmark = [pytest.mark.integration, pytest.mark.browser]

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
STRATEGY = {
    "name": "cross",
    "timeframe": "1h",
    "indicators": {
        "fast": {"type": "ema", "period": 12},
        "slow": {"type": "ema", "period": 26},
        "rsi": {"type": "rsi", "period": 14},
    },
    "long": {
        "entry": {"crosses_above": ["fast", "slow"]},
        "exit": {"any": [{"crosses_below": ["fast", "slow"]}, {"gt": ["rsi", 85]}]},
    },
    "protection": {"stop_loss": 0.02, "take_profit": 0.03},
    "sizing": {"type": "fraction_of_equity", "value": 1.0},
}
LOAD_MS = 60_000


@pytest.fixture(scope="module")
def reports(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A single run's and a portfolio's report, as the command writes them."""
    folder = tmp_path_factory.mktemp("reports")
    strategy = folder / "cross.json"
    strategy.write_text(json.dumps(STRATEGY))
    candles = shared_data / "candles" / "binance_spot"
    asked = {
        "single": ["--candles", candles / "BTCUSDT_1h_2024.csv.gz"],
        "portfolio": [
            *("--candles", candles / "BTCUSDT_1h_2024.csv.gz", "--symbol", "BTC-USDT"),
            *("--candles", candles / "SOLUSDT_1h_2024.csv.gz", "--symbol", "SOL-USDT"),
        ],
    }
    for name, arguments in asked.items():
        words = ["--strategy", strategy, *arguments, "--to", "2024-05-01", "--out", folder / name]
        result = CliRunner().invoke(command, [str(word) for word in words])
        assert result.exit_code == 0, result.output
    return {name: folder / name / "report.html" for name in asked}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine: install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=["dark-desk", "light-phone"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that fails the test for an error, a warning or a request to anywhere."""
    phone = request.param == "light-phone"
    context = browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1440, "height": 900},
        color_scheme="light" if phone else "dark",
        is_mobile=phone,
        has_touch=phone,
        reduced_motion="reduce",
        timezone_id="Asia/Tokyo",
    )
    page, bad = context.new_page(), []
    page.on("pageerror", lambda error: bad.append(str(error)))
    page.on("console", lambda said: bad.append(said.text) if said.type in ("error", "warning") else None)
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else bad.append(asked.url),
    )
    yield page
    context.close()
    assert not bad, bad


def drawn(page: Page) -> None:
    charts = page.locator("[data-figure]")
    for number in range(charts.count()):
        expect(charts.nth(number).locator(".main-svg").first).to_be_attached(timeout=LOAD_MS)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_run_is_drawn_wholly_and_a_trade_can_be_chosen(page: Page, reports: dict[str, Path]) -> None:
    page.goto(reports["single"].as_uri(), timeout=LOAD_MS)
    drawn(page)
    assert page.locator("[data-figure]").count() == 6
    assert page.locator("#chart-price .candlestick, #chart-price .trace.boxes").count() > 0
    assert page.locator("#chart-price").get_by_text("RSI 14").count() == 1
    page.get_by_label("Trade to show").first.select_option(index=7)
    expect(page.locator("#chart-trade")).to_have_attribute("data-figure", "figure-trade-7")
    # Times are UTC, wherever the reader is.
    assert page.evaluate("document.getElementById('chart-equity')._fullLayout.xaxis.range[0]").startswith(
        "2024-01-01"
    )
    expect(page.get_by_role("region", name="Monthly returns")).to_contain_text("2024")


def test_a_portfolio_shows_every_leg(page: Page, reports: dict[str, Path]) -> None:
    page.goto(reports["portfolio"].as_uri(), timeout=LOAD_MS)
    drawn(page)
    legs = page.get_by_role("region", name="Legs")
    expect(legs).to_contain_text("BTC-USDT")
    expect(legs).to_contain_text("SOL-USDT")
    assert page.locator("#chart-price-1 .main-svg").count() > 0
