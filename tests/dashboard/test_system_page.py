"""The System page, and how the logs and the configuration it shows are read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from app.log_lines import events_of, read_log_events
from dashboard.pages.system import SystemSources, body_of
from dashboard.pages.system_panels import size
from tests.dashboard.browser import chromium, opened
from tests.dashboard.desk import Serving, build_desk
from tests.dashboard.fakes import NOW_US, FakeHealth
from tests.dashboard.fakes_research import FakeJobs
from tests.dashboard.fakes_settings import FakeSettings
from tests.dashboard.fakes_system import FakeSystem

LOG = """2026-11-21T15:03:12.890918Z [info     ] child_started                  child=collector pid=57
2026-11-21T15:03:13.100000Z [error    ] callback_failed                number=4be1c0d2 process=web
Traceback (most recent call last):
ZeroDivisionError: division by zero
2026-11-21T15:03:14.000000Z [warning  ] panel_failed                   number=77aa00ff process=web
2026-11-21T15:03:15.000000Z [info     ] stopped
a line of a library
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def sources(system: FakeSystem) -> SystemSources:
    return SystemSources(
        system=system,
        settings=FakeSettings(empty=True),
        jobs=FakeJobs(),
        health=FakeHealth(),
        now_us=lambda: NOW_US,
    )


def test_a_log_gives_its_warnings_and_errors_with_what_followed_them() -> None:
    failed, warned = events_of(LOG, "web")
    assert (failed.level, failed.event, failed.process) == ("error", "callback_failed", "web")
    assert failed.detail.startswith("number=4be1c0d2")
    assert failed.detail.endswith("division by zero")
    assert (warned.event, warned.detail) == ("panel_failed", "number=77aa00ff process=web")


def test_the_logs_are_searched_by_the_number_that_a_person_was_told(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "web.log").write_text(LOG)
    (tmp_path / "jobs" / "7.log").write_text(LOG.replace("15:03", "16:03"))
    assert [one.process for one in read_log_events(tmp_path, "", 3)] == ["7", "7", "web"]
    (found,) = read_log_events(tmp_path, "web 77AA00FF 15:03", 10)
    assert found.event == "panel_failed"
    assert read_log_events(tmp_path / "nowhere", "", 3) == []


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "–"), (0, "0 B"), (38 * 2**20, "38 MiB"), (1.5 * 2**30, "1.5 GiB")],  # noqa: RUF001
)
def test_sizes_are_written_in_their_unit(count: float | None, words: str) -> None:
    assert size(count) == words


def test_one_service_that_is_away_does_not_hide_the_others() -> None:
    system = FakeSystem()
    system.bus_is_away = True
    shown = str(body_of(sources(system), {"view": "database"}, 0))
    assert "Redis does not answer" in shown
    assert "3.12M" in shown


def test_a_process_that_keeps_dying_is_told_with_its_last_words() -> None:
    shown = str(body_of(sources(FakeSystem()), {}, 0))
    assert "Crash loop" in shown
    assert "MemoryError" in shown
    assert "of 2" in shown


@pytest.mark.parametrize("view", ["", "database", "logs", "configuration"])
def test_every_part_is_shown_of_a_desk_without_supervisor(view: str) -> None:
    assert "cannot be shown" not in str(body_of(sources(FakeSystem(empty=True)), {"view": view}, 0))


@pytest.mark.browser
def test_a_log_number_is_searched_and_its_event_opened(browser: Browser) -> None:
    desk = build_desk(now_us=time.time_ns() // 1_000)
    with Serving(desk.app) as serving, opened(browser, serving.url) as (page, bad):
        page.goto("/system")
        expect(page.get_by_role("table", name="Processes")).to_contain_text("Crash loop")
        page.goto("/system?view=logs")
        page.get_by_label("Search the logs").fill("nothing like it")
        expect(page.locator("#system-body")).to_contain_text("No warning or error holds")
        page.get_by_label("Search the logs").fill("4be1c0d2")
        page.locator(".log-lines summary").click()
        expect(page.locator(".log-lines pre")).to_contain_text("ZeroDivisionError")
        assert not bad, bad
