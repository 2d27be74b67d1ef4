"""Time zones and separators: what a browser asks for holds for its request, and for nothing else."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import plotly.graph_objects as go
import pytest
from starlette.types import Receive, Scope, Send

from dashboard.decision_words import why
from dashboard.figures.backtest import backtest_figure
from dashboard.figures.wall_clock import wall_times
from dashboard.number_formats import (
    clock,
    compact,
    day_and_time,
    full_time,
    in_zone,
    money,
    percent,
    plain,
    quantity,
    rewritten,
    utc_clock,
    zone_name,
)
from dashboard.pages.settings_display import number_example
from dashboard.settings_readers import Display
from dashboard.theme import DARK
from dashboard.writing import NUMBERS, known_zone, parse_writing, written_as, zones
from dashboard.writing_cookie import WritingOfRequest
from data.timeframes import SECOND_US

SUMMER_US = 1_784_000_000 * SECOND_US  # 14 July 2026, 03:33:20 UTC
WINTER_US = 1_795_000_000 * SECOND_US  # 18 November 2026, 11:06:40 UTC


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        ("comma-point", "12,843.55"),
        ("point-comma", "12.843,55"),
        ("space-point", "12\N{NO-BREAK SPACE}843.55"),
        ("space-comma", "12\N{NO-BREAK SPACE}843,55"),
        ("quote-point", "12\N{RIGHT SINGLE QUOTATION MARK}843.55"),
        ("none-point", "12843.55"),
        ("nonsense", "12,843.55"),
    ],
)
def test_numbers_are_written_with_the_separators_asked_for(numbers: str, written: str) -> None:
    with written_as(parse_writing(f"UTC|{numbers}")):
        assert plain(12_843.55, 2) == written
    assert plain(12_843.55, 2) == "12,843.55"


def test_every_kind_of_number_follows() -> None:
    with written_as(parse_writing("UTC|point-comma")):
        assert percent(-0.0041) == "\N{MINUS SIGN}0,41%"
        assert money(Decimal("1234.5")) == "1.234,50"
        assert compact(5_823.0) == "5,82K"
        assert quantity(Decimal("1500.1480")) == "1.500,148"
        assert quantity(Decimal("1500.00")) == "1.500"


def test_times_are_those_of_the_zone_which_is_named_with_its_summer_time() -> None:
    with written_as(parse_writing("Europe/Berlin|comma-point")):
        assert clock(SUMMER_US) == "05:33:20"
        assert full_time(SUMMER_US) == "2026-07-14 05:33:20 CEST"
        assert full_time(WINTER_US) == "2026-11-18 12:06:40 CET"
        assert (in_zone("Time, UTC"), in_zone("Time (UTC)"), in_zone("Size")) == (
            "Time, Berlin",
            "Time (UTC)",
            "Size",
        )
        assert (zone_name(), utc_clock(SUMMER_US)) == ("Berlin", "03:33:20")
    with written_as(parse_writing("America/Sao_Paulo|")):
        assert day_and_time(SUMMER_US) == "14 Jul 00:33:20"
        assert full_time(SUMMER_US) == "2026-07-14 00:33:20 UTC-03"
        assert in_zone("Time, UTC") == "Time, Sao Paulo"
    assert (clock(SUMMER_US), in_zone("Time, UTC")) == ("03:33:20", "Time, UTC")


@pytest.mark.parametrize("name", ["", "Berlin", "../../etc/passwd", "/etc/passwd", "Europe", "x" * 300, "\0"])
def test_what_is_no_zone_is_utc(name: str) -> None:
    assert not known_zone(name)
    with written_as(parse_writing(f"{name}|comma-point")):
        assert full_time(SUMMER_US) == "2026-07-14 03:33:20 UTC"


def test_zones_to_choose_from_are_those_of_the_system_and_each_can_be_used() -> None:
    names = zones()
    assert names[0] == "UTC"
    assert {"Europe/Berlin", "Asia/Kolkata", "America/New_York"} <= set(names)
    assert all(known_zone(name) for name in names)


@pytest.mark.parametrize(
    ("cookie", "written"),
    [
        ("candlewick-writing=Europe%2FBerlin%7Cpoint-comma", "1.234,50 05:33:20"),
        ("other=1; candlewick-writing=UTC%7Cnone-point", "1234.50 03:33:20"),
        ("candlewick-writing=" + "x" * 500, "1,234.50 03:33:20"),
        ("candlewick-writing=%FF%00", "1,234.50 03:33:20"),
        ("other=1", "1,234.50 03:33:20"),
    ],
)
async def test_the_cookie_of_a_request_holds_in_its_threads_and_not_after_it(
    cookie: str, written: str
) -> None:
    seen: list[str] = []

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await asyncio.to_thread(lambda: f"{plain(1_234.5, 2)} {clock(SUMMER_US)}"))

    async def nothing(*_: Any) -> Any:
        return {}

    scope = {"type": "http", "headers": [(b"cookie", cookie.encode())]}
    await WritingOfRequest(page)(scope, nothing, nothing)
    await WritingOfRequest(page)({"type": "websocket", "headers": scope["headers"]}, nothing, nothing)
    assert seen == [written, "1,234.50 03:33:20"]
    assert plain(1_234.5, 2) == "1,234.50"


def test_preferences_are_checked_as_they_are_saved() -> None:
    assert msgspec.convert({}, Display).zone == "UTC"
    assert msgspec.convert({"zone": "local", "numbers": "space-comma"}, Display).zone == "local"
    for wrong in ({"zone": "Mars/Olympus"}, {"numbers": "words"}, {"theme": "loud"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Display)


def test_each_way_to_write_numbers_is_shown_by_an_example() -> None:
    assert number_example("point-comma") == "1.234.567,89"
    assert len({number_example(name) for name in NUMBERS}) == len(NUMBERS)


def test_sentences_that_others_wrote_get_the_separators_between_digits_alone() -> None:
    words = "rsi 31.4 < 35 yes · close 61,250.5 > bands.upper 60,900 yes (before: 65,998.1, 66,003.2)"
    assert rewritten(words) == words
    with written_as(parse_writing("UTC|point-comma")):
        assert rewritten(words) == (
            "rsi 31,4 < 35 yes · close 61.250,5 > bands.upper 60.900 yes (before: 65.998,1, 66.003,2)"
        )


def test_why_a_strategy_spoke_is_said_with_the_separators_in_force() -> None:
    record = {
        "rules": {"long.entry": [True, "crosses_above", "fast", "slow"]},
        "values": {"fast": 66_020.4, "slow": 66_001.9, "fast@1": 65_998.1, "slow@1": 66_003.2},
    }
    with written_as(parse_writing("UTC|point-comma")):
        assert "fast 66.020,4 crosses above slow 66.001,9" in why(record)[0]


@pytest.mark.parametrize(
    ("zone", "ahead_s", "name"),
    [("UTC", 0, "UTC"), ("Europe/Berlin", 7_200, "Berlin"), ("America/St_Johns", -9_000, "St Johns")],
)
def test_times_of_figures_are_those_of_the_zone_which_the_axis_names(
    zone: str, ahead_s: int, name: str
) -> None:
    at_us = np.array([SUMMER_US, SUMMER_US + 3_600 * SECOND_US], dtype=np.int64)
    with written_as(parse_writing(f"{zone}|point-comma")):
        figure = backtest_figure(
            at_us,
            np.array([1.0, 2.0]),
            None,
            capital=1.0,
            identity="run 1",
            theme=DARK,
            tests=[("2026-07-14T03:33:20+00:00", "2026-07-14T04:33:20+00:00")],
        )
    curve = figure.data[0]
    assert isinstance(curve, go.Scatter)
    drawn = np.asarray(curve.x, dtype="datetime64[us]").view(np.int64)
    np.testing.assert_array_equal(drawn - at_us, ahead_s * SECOND_US)
    shaded = figure.layout.shapes[0]
    assert np.datetime64(shaded.x0) == np.asarray(curve.x)[0]
    assert figure.layout.xaxis.hoverformat == f"%d %b %Y %H:%M {name}"
    assert figure.layout.separators == ",."


def test_each_moment_of_a_figure_has_its_own_summer_time() -> None:
    with written_as(parse_writing("Europe/Berlin|comma-point")):
        drawn = wall_times(np.array([SUMMER_US, WINTER_US], dtype=np.int64))
        assert len(wall_times(np.array([], dtype=np.int64))) == 0
    assert [str(moment)[11:16] for moment in drawn] == ["05:33", "12:06"]
