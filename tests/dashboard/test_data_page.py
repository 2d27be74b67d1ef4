"""What the Data page shows and asks for, over fakes."""

from __future__ import annotations

import base64

import pytest

from dashboard.figures.coverage import DAY_US, Shade, days_of, hours_of, shaded
from dashboard.pages.data import DataSources, body_of
from dashboard.pages.data_collectors import collectors_panel
from dashboard.pages.data_coverage import day_name, day_of, market_page_of
from dashboard.pages.data_history import arguments_of, jobs_panel, uploaded
from dashboard.theme import DARK
from data.coverage import MinuteState, StateSpan
from data.errors import InvalidInput
from data.models import Market
from data.timeframes import Timeframe, floor_to
from jobs.arguments import parse_arguments
from jobs.model import JobKind, JobResult, JobState, ResultKind
from tests.dashboard.fakes import BTC, NOW_US, FakeHealth, FakeMarket, health
from tests.dashboard.fakes_research import FakeJobs
from tests.dashboard.fakes_store import MINUTE_US, store_desk

TODAY_US = floor_to(NOW_US, Timeframe.D1)
HOLE_DAY = day_name(TODAY_US - 2 * DAY_US)


def sources(*, empty: bool = False) -> DataSources:
    return DataSources(
        store=store_desk(FakeJobs(), NOW_US, empty=empty),
        market=FakeMarket(),
        health=FakeHealth(),
        now_us=lambda: NOW_US,
        seconds=lambda: 0.0,
    )


def span(start: int, end: int, state: MinuteState, reason: str = "") -> StateSpan:
    return StateSpan(
        start_us=TODAY_US + start * MINUTE_US, end_us=TODAY_US + end * MINUTE_US, state=state, reason=reason
    )


def test_a_day_has_the_colour_of_its_worst_minute_and_counts_every_minute_once() -> None:
    spans = shaded(
        [
            span(-1440, -600, MinuteState.COMPLETE),
            span(-600, -590, MinuteState.MISSING, "history_unavailable"),
            span(-590, 100, MinuteState.COMPLETE),
            span(100, 130, MinuteState.VENUE_DOWN, "halted"),
        ],
        NOW_US,
    )
    yesterday, today = days_of(spans)
    assert (yesterday.day_us, yesterday.worst) == (TODAY_US - DAY_US, Shade.MISSING)
    assert yesterday.minutes[Shade.MISSING] == 10
    assert sum(yesterday.minutes.values()) == 1440
    assert (today.worst, sum(today.minutes.values())) == (Shade.VENUE_DOWN, 130)


def test_what_nobody_recorded_yet_is_no_hole_but_a_collector_that_stopped_leaves_one() -> None:
    before = span(0, 60, MinuteState.MISSING, "before_recording")
    now_us = TODAY_US + 120 * MINUTE_US
    fresh = span(117, 120, MinuteState.MISSING, "not_yet_recorded")
    old = span(90, 120, MinuteState.MISSING, "not_yet_recorded")
    shades = [shaded([one], now_us)[0].shade for one in (before, fresh, old)]
    assert shades == [Shade.NONE, Shade.NONE, Shade.MISSING]


def test_the_hours_of_a_day_hold_its_spans_cut_at_the_full_hour() -> None:
    spans = shaded([span(-30, 70, MinuteState.COMPLETE), span(70, 125, MinuteState.REPAIRED)], NOW_US)
    hours = hours_of(spans, TODAY_US)
    assert [[(one.shade, one.minutes) for one in hour] for hour in hours[:3]] == [
        [(Shade.COMPLETE, 60)],
        [(Shade.COMPLETE, 10), (Shade.REPAIRED, 50)],
        [(Shade.REPAIRED, 5)],
    ]
    assert hours[3] == []


def test_an_address_names_a_day_that_is_past_or_means_today() -> None:
    assert day_of("2026-11-02", NOW_US) < TODAY_US
    assert day_of("2031-01-01", NOW_US) == day_of("soon", NOW_US) == day_of(None, NOW_US) == TODAY_US


def test_the_calendar_leads_to_the_minutes_of_a_day_and_from_a_hole_to_its_fetching() -> None:
    shown = str(body_of(sources(), {"market": "binance:BTC-USDT", "day": HOLE_DAY}))
    assert "1,428 complete, 12 missing minutes" in shown
    assert "14:03 to 14:15" in shown
    assert f"from={HOLE_DAY}T14%3A03&to={HOLE_DAY}T14%3A15&trades=1" in shown


def test_every_market_of_a_venue_can_be_reached_by_turning_pages_or_by_its_name() -> None:
    recorded = [Market(venue, f"C{number:03d}-USDT") for venue in ("binance", "okx") for number in range(150)]
    seen: list[Market] = []
    for number in range(1, market_page_of(recorded, {}).pages + 1):
        seen += market_page_of(recorded, {"page": str(number)}).markets
    assert seen == recorded
    assert market_page_of(recorded, {"q": "okx c149"}).markets == [recorded[-1]]
    assert market_page_of(recorded, {"page": "99"}).markets == market_page_of(recorded, {"page": "8"}).markets
    assert market_page_of(recorded, {"page": "soon"}).first == 0
    none = market_page_of(recorded, {"q": "doge"})
    assert (list(none.markets), none.pages, none.recorded) == ([], 1, 300)


def test_a_day_is_opened_without_losing_what_was_searched_for() -> None:
    wanted = {"q": "btc", "page": "1", "market": "binance:BTC-USDT", "day": HOLE_DAY}
    shown = str(body_of(sources(), wanted))
    assert f"q=btc&page=1&market=binance%3ABTC-USDT&day={HOLE_DAY}" in shown
    assert "Show all markets" in str(body_of(sources(), {"q": "no such market"}))


def test_holes_and_repairs_are_listed_with_their_reasons() -> None:
    shown = str(body_of(sources(), {"view": "holes"}))
    for words in ("history unavailable", "12m 00s", "connection lost", "400"):
        assert words in shown


def test_a_rule_that_changed_is_marked_and_told_as_an_event() -> None:
    shown = str(body_of(sources(), {"view": "instruments", "market": "binance:BTC-USDT"}))
    assert "num warn-text" in shown
    assert "tick size 0.1 to 0.01" in shown
    with pytest.raises(InvalidInput, match="nothing is stored"):
        body_of(sources(), {"view": "instruments", "market": "okx:NO-SUCH"})


@pytest.mark.parametrize("view", ["", "holes", "history", "instruments"])
def test_every_part_of_an_empty_desk_says_so_instead_of_failing(view: str) -> None:
    assert "state" in str(body_of(sources(empty=True), {"view": view})) or view == "history"


def test_collectors_that_fall_silent_or_lag_are_marked() -> None:
    lively = health("okx", sent_at_us=NOW_US)
    silent = health("binance", sent_at_us=NOW_US - 60_000_000)
    shown = str(collectors_panel([lively, silent], {}, DARK, NOW_US))
    assert "silent 1m 00s" in shown
    assert "of 2" in shown


@pytest.mark.parametrize(
    ("kind", "filled"),
    [
        (
            JobKind.BACKFILL,
            {"venue": "okx", "symbol": " btc-usdt ", "from": "2026-11-01", "to": "", "timeframes": []},
        ),
        (
            JobKind.IMPORT,
            {"venue": "okx", "symbol": "BTC-USDT", "content": "trades", "timeframe": "1m", "file": "a.csv"},
        ),
        (
            JobKind.EXPORT,
            {
                "venue": "okx",
                "symbol": "BTC-USDT",
                "content": "trades",
                "timeframe": "1m",
                "format": "parquet",
            },
        ),
        (
            JobKind.EXPORT,
            {
                "venue": "okx",
                "symbol": "BTC-USDT",
                "content": "candles",
                "timeframe": "1h",
                "from": "2026-11-01T10:00",
            },
        ),
    ],
)
def test_a_filled_form_is_what_the_job_takes(kind: JobKind, filled: dict[str, object]) -> None:
    parsed = parse_arguments(kind, arguments_of(kind, filled))
    assert parsed.symbol == "BTC-USDT"  # type: ignore[union-attr]


def test_the_file_of_an_export_is_named_after_what_it_holds() -> None:
    filled = {
        "venue": "okx",
        "symbol": "BTC-USDT",
        "content": "candles",
        "timeframe": "1h",
        "from": "2026-11-01",
    }
    assert arguments_of(JobKind.EXPORT, filled)["file"] == "okx-BTC-USDT-1h-2026-11-01.csv"


def test_an_upload_that_came_incomplete_is_refused() -> None:
    sent = "data:text/csv;base64," + base64.b64encode(b"opened_at,open").decode()
    assert uploaded("a.csv", sent) == ("a.csv", b"opened_at,open")
    assert uploaded(None, None) is None
    with pytest.raises(InvalidInput, match="send it again"):
        uploaded("a.csv", sent[:-3])


def test_a_finished_export_can_be_downloaded() -> None:
    jobs = FakeJobs()
    told = {"venue": "okx", "symbol": BTC.symbol, "trades": True, "file": "t.csv"}
    job = jobs.start(JobKind.EXPORT, told, "anna")
    result = JobResult(kind=ResultKind.FILE, reference="exports/t.csv", summary={"rows": 1200})
    jobs.change(job.id, state=JobState.DONE, result=result, finished_at_us=NOW_US)
    shown = str(jobs_panel(jobs.jobs()))
    assert "href='/exports/t.csv'" in shown
    assert "1,200 rows" in shown
