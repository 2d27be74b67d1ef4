"""The pages of strategies and backtests in a real Chromium, over in-memory fakes and the real engine."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from data.models import Market
from data.timeframes import Timeframe
from jobs.messages import JobUpdate
from jobs.model import JobResult, JobState, ResultKind
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import BTC, NOW_US
from tests.dashboard.fakes_research import FakeJobs, FakeResearch, progress
from tests.dashboard.kept_research import kept_run, kept_search

pytestmark = pytest.mark.browser

RUN_IDS = (1, 2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def desk() -> Iterator[tuple[Desk, FakeJobs, str]]:
    """One living server with two kept runs and a kept search of BTC-USDT."""
    made = build_desk(now_us=NOW_US)
    jobs, research = made.lab.jobs, made.lab.research
    assert isinstance(jobs, FakeJobs)
    assert isinstance(research, FakeResearch)
    ohlcv = made.market.series[BTC, Timeframe.M5]
    for id, fast in zip(RUN_IDS, (9, 12), strict=True):
        research.kept[id] = kept_run(id, BTC, ohlcv, fast=fast)
    found = kept_search(BTC, ohlcv)
    research.found[found.summary.id] = found
    with Serving(made.app) as serving:
        yield made, jobs, serving.url


@pytest.fixture
def page(browser: Browser, desk: tuple[Desk, FakeJobs, str]) -> Iterator[Page]:
    with opened(browser, desk[2]) as (window, bad):
        yield window
    assert not bad, bad


def visit(page: Page, path: str, seen: str) -> None:
    """Open an address and wait until the page stands, however busy the machine is."""
    page.goto(path)
    expect(page.locator(seen).first).to_be_visible(timeout=90_000)


PUT = """([before, after]) => {
  const view = document.getElementById('strategy-editor').editor, text = view.state.doc.toString();
  view.dispatch({changes: {from: 0, to: text.length, insert: text.replace(before, after)}});
}"""


def test_a_strategy_is_written_in_the_form_and_as_text_broken_mended_saved_and_compared(page: Page) -> None:
    visit(page, "/strategies?template=ema_crossover", ".strategy-form")
    head, verdict = page.locator("#strategy-head"), page.locator("#strategy-verdict")
    name = page.get_by_role("textbox", name="Name", exact=True)
    name.fill("my-cross")
    name.press("Tab")
    expect(head).to_contain_text("my-cross")
    expect(page.locator("#strategy-clone")).to_be_hidden()  # of what is saved alone

    page.get_by_role("tab", name="JSON").click()
    expect(page.locator(".cm-content")).to_contain_text('"my-cross"')
    page.evaluate(PUT, ["crosses_above", "crosses_abovee"])
    expect(verdict).to_contain_text("did you mean")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    line = verdict.locator(".problem .num").inner_text()
    broken = page.evaluate("document.getElementById('strategy-editor').editor.state.doc.toString()")
    assert "crosses_abovee" in broken.splitlines()[int(line.removeprefix("Line ")) - 1]
    page.evaluate(PUT, ["crosses_abovee", "crosses_above"])
    expect(verdict).to_contain_text("Valid")
    page.get_by_role("button", name="Save and prove").click()
    expect(head).to_contain_text("Look-ahead free")

    page.evaluate(PUT, ['"default": 12', '"default": 11'])
    expect(head).to_contain_text("Unsaved")
    page.get_by_label("Why this version is saved").fill("slower")
    page.get_by_role("button", name="Save and prove").click()
    expect(head).to_contain_text("v2")
    page.get_by_role("tab", name="Versions").click()
    expect(page.get_by_role("table", name="Versions")).to_contain_text("slower")
    difference = page.locator(".difference")
    expect(difference).to_have_count(1)
    expect(difference).to_contain_text("parameters.fast.default")
    expect(difference.locator("ins")).to_have_text("11")

    page.get_by_role("tab", name="Preview").click()
    expect(page.locator("#preview-chart canvas").first).to_be_visible()
    expect(page.locator("#preview-legend")).to_contain_text("EMA 11")


def test_what_was_typed_and_not_saved_is_there_again_until_it_is_discarded(page: Page) -> None:
    visit(page, "/strategies?name=rsi-reversion", ".strategy-form")
    head = page.locator("#strategy-head")
    stop = page.get_by_role("textbox", name="Stop-loss")
    before = stop.input_value()
    stop.fill("0.055")
    stop.press("Tab")
    expect(head).to_contain_text("Unsaved")
    page.locator(".strategy-row", has_text="ema-crossover").click()
    expect(head).to_contain_text("ema-crossover")
    expect(head).to_contain_text("Saved")
    page.locator(".strategy-row", has_text="rsi-reversion").click()
    expect(head).to_contain_text("Unsaved")
    expect(stop).to_have_value("0.055")
    page.get_by_role("button", name="Discard changes").click()
    page.get_by_role("button", name="Discard for good?").click()
    expect(stop).to_have_value(before)
    expect(head).to_contain_text("Saved")


def test_a_backtest_is_asked_for_followed_cancelled_begun_again_and_leads_to_its_report(
    page: Page, desk: tuple[Desk, FakeJobs, str]
) -> None:
    made, jobs, _ = desk
    visit(page, "/backtests?new=backtest&strategy=ema-crossover", "#run-parameters input")
    slippage = page.get_by_label("Slippage, bps")
    expect(page.locator("#run-stored")).to_contain_text("Stored of BTC-USDT")
    slippage.fill("much")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".run-problem")).to_contain_text("One field above needs another value")
    expect(slippage).to_have_attribute("aria-invalid", "true")
    assert not jobs.known
    slippage.fill("2")
    page.get_by_label("fast").fill("12")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"\?job=1$"))
    assert jobs.known[1].arguments["parameters"]["fast"] == 12

    def say(state: JobState, done: int = 0, result: JobResult | None = None) -> None:
        job = jobs.change(1, state=state, progress=progress(done, 4), result=result)
        update = JobUpdate(
            id=1,
            kind=job.kind,
            title=job.title,
            state=state,
            progress=job.progress,
            result=result,
            error="",
            sent_at_us=NOW_US,
        )
        made.bus.say("jobs.1", update)

    say(JobState.RUNNING, 1)
    expect(page.locator("#job-words-1")).to_contain_text("1 of 4")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("region", name="Job 1")).to_contain_text("Cancelled")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("region", name="Job 1")).to_contain_text("Queued")
    say(JobState.DONE, 4, JobResult(kind=ResultKind.RUN, reference="1", summary={}))
    page.wait_for_url(re.compile(r"\?run=1$"))
    expect(page.get_by_label("Key figures")).to_contain_text("Net result")
    expect(page.locator("#run-curves .main-svg").first).to_be_visible()


def test_a_report_shows_a_trade_on_the_chart_and_becomes_a_bot(
    page: Page, desk: tuple[Desk, FakeJobs, str]
) -> None:
    visit(page, "/backtests?run=2", ".run-canvas")
    expect(page.get_by_label("Key figures")).to_contain_text("Buy and hold")
    page.locator(".run-trades").scroll_into_view_if_needed()
    page.locator(".trades-grid .ag-center-cols-container [row-index='0'] .ag-cell").first.click()
    shown = "window.dash_component_api.getLayout('run-prices').props.visibleLogicalRange"
    page.wait_for_function(f"() => {shown} && {shown}.to > {shown}.from")
    page.get_by_role("button", name="Create a bot").click()
    expect(page.get_by_role("dialog")).to_contain_text("fast 12")
    expect(page.get_by_label("Name of the bot")).to_have_value("ema-crossover-2")
    page.get_by_role("button", name="Create the bot").click()
    page.wait_for_url(re.compile("ema-crossover-2"))
    config = desk[0].bots.created[-1]
    assert config.market == Market("binance", "BTC-USDT")
    assert config.parameters["fast"] == 12


def test_a_report_that_is_opened_in_the_light_scheme_has_light_charts(page: Page) -> None:
    page.add_init_script("localStorage.setItem('mantine-color-scheme-value', 'light')")
    visit(page, "/backtests?run=1", ".run-canvas")
    options = "window.dash_component_api.getLayout('run-prices').props.chartOptions"
    page.wait_for_function(f"() => {options}.layout.background.color === '#ffffff'")


def test_two_runs_are_picked_from_the_list_and_compared(page: Page) -> None:
    visit(page, "/backtests", ".runs-table")
    compare = page.get_by_role("link", name="Compare two")
    expect(compare).to_have_class(re.compile("disabled"))
    for id in RUN_IDS:
        page.get_by_label(f"Pick run {id}").check()
    expect(compare).not_to_have_class(re.compile("disabled"))
    compare.click()
    expect(page.locator(".verdict-banner")).to_contain_text("parameters")
    expect(page.locator("#compare-curves .main-svg").first).to_be_visible()
    expect(page.get_by_role("table", name="Figures")).to_contain_text("Total return")


def test_a_search_shows_its_verdict_its_map_and_what_it_did_out_of_sample(page: Page) -> None:
    visit(page, "/backtests?view=sweeps", "table")
    page.get_by_role("table", name="Searches").get_by_role("link").first.click()
    expect(page.locator(".verdict-banner")).to_be_visible()
    for name in ("sweep-map", "sweep-lines", "sweep-walk"):
        expect(page.locator(f"#{name} .main-svg").first).to_be_attached()
    page.locator("#sweep-cells").get_by_text("Median").click()
    page.wait_for_url(re.compile("cells=median"))
    page.get_by_role("table", name="Best trials").get_by_role("link", name="Backtest").first.click()
    expect(page.locator("#run-parameters").get_by_label("fast")).to_have_value(re.compile(r"^(4|8|12|16)$"))


def test_on_a_phone_nothing_sticks_out(browser: Browser, desk: tuple[Desk, FakeJobs, str]) -> None:
    with opened(browser, desk[2], phone=True) as (page, bad):
        for path, seen in (
            ("/strategies?name=ema-crossover", "#strategy-verdict .verdict"),
            ("/backtests?run=1", ".trade-card"),
            ("/backtests?new=sweep", "#run-parameters input"),
        ):
            visit(page, path, seen)
            assert page.evaluate("() => document.documentElement.scrollWidth") == 390, path
    assert not bad, bad
