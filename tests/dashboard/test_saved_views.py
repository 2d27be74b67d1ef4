"""Layouts and lists of markets: what may be saved, and what a bare address begins with."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dashboard.figures.price_chart import pane_options
from dashboard.saved_views import (
    MAX_SAVED,
    ChartLayout,
    Watchlist,
    change_views,
    default_layout,
    shares_of,
    views_body,
)
from dashboard.theme import scheme_in
from data.errors import InvalidInput
from tests.dashboard.asgi import request, started
from tests.dashboard.desk import build_desk
from tests.dashboard.fakes import NOW_US
from tests.dashboard.fakes_views import FakeViews

LAYOUT = ChartLayout(name="Scalping", tf="5m", overlay="rsi(14,close)", scale="log", panes="6,1.2,1.4")


def ask(shelf: FakeViews, **change: Any) -> list[dict[str, Any]]:
    """What is saved after a browser asked for this."""
    views: list[dict[str, Any]] = change_views(shelf, msgspec.json.encode(change), NOW_US)["views"]
    return views


def test_what_is_saved_comes_back_as_it_was() -> None:
    shelf = FakeViews()
    ask(shelf, do="save", view=msgspec.to_builtins(LAYOUT))
    found = ask(
        shelf, do="save", view={"kind": "watchlist", "name": "Majors", "markets": ["okx:BTC-USDT-PERP"]}
    )
    assert msgspec.convert(found[0], ChartLayout) == LAYOUT
    assert msgspec.convert(found[1], Watchlist).markets == ("okx:BTC-USDT-PERP",)
    assert views_body(shelf)["views"] == found
    assert views_body(None) == {"kept": False, "views": [], "unreadable": []}


def test_what_another_version_saved_is_named_and_can_be_deleted() -> None:
    shelf = FakeViews(LAYOUT)
    shelf.of_another_version.append(("layout", "Later"))
    body = views_body(shelf)
    assert [view["name"] for view in body["views"]] == ["Scalping"]
    assert body["unreadable"] == [{"kind": "layout", "name": "Later"}]
    ask(shelf, do="delete", kind="layout", name="Later")
    assert views_body(shelf)["unreadable"] == []


def test_a_name_that_is_taken_is_replaced_only_when_that_is_asked_for() -> None:
    shelf = FakeViews(LAYOUT)
    shelf.set_default("Scalping")
    other = {**msgspec.to_builtins(LAYOUT), "tf": "1h"}
    with pytest.raises(InvalidInput, match="not taken"):
        ask(shelf, do="save", view=other)
    (saved,) = ask(shelf, do="save", view=other, replace=True)
    assert (saved["tf"], saved["default"]) == ("1h", True)


def test_a_view_is_renamed_unless_the_name_is_taken_and_deleted_whether_it_is_there_or_not() -> None:
    shelf = FakeViews(LAYOUT, ChartLayout(name="Swing", tf="4h"))
    with pytest.raises(InvalidInput, match="another name"):
        ask(shelf, do="rename", kind="layout", name="Swing", to="Scalping")
    names = [one["name"] for one in ask(shelf, do="rename", kind="layout", name="Swing", to="Slow")]
    assert names == ["Scalping", "Slow"]
    for _ in range(2):
        assert [one["name"] for one in ask(shelf, do="delete", kind="layout", name="Slow")] == ["Scalping"]


def test_one_layout_at_most_is_the_default() -> None:
    shelf = FakeViews(LAYOUT, ChartLayout(name="Swing", tf="4h"))
    ask(shelf, do="default", name="Scalping")
    assert [one.get("default", False) for one in ask(shelf, do="default", name="Swing")] == [False, True]
    assert [one.get("default", False) for one in ask(shelf, do="default", name=None)] == [False, False]
    with pytest.raises(InvalidInput, match="saved layout"):
        ask(shelf, do="default", name="Nobody")


@pytest.mark.parametrize(
    "view",
    [
        {"kind": "layout", "name": ""},
        {"kind": "layout", "name": " x"},
        {"kind": "layout", "name": "x" * 51},
        {"kind": "layout", "name": "x", "tf": "7m"},
        {"kind": "layout", "name": "x", "scale": "cubic"},
        {"kind": "layout", "name": "x", "panes": "6,one"},
        {"kind": "layout", "name": "x", "overlay": "e" * 401},
        {"kind": "layout", "name": "x", "colour": "red"},
        {"kind": "watchlist", "name": "x", "markets": ["BTC"]},
        {"kind": "watchlist", "name": "x", "markets": ["okx:BTC-USDT", "okx:BTC-USDT"]},
        {"kind": "folder", "name": "x"},
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_kept(view: dict[str, Any]) -> None:
    shelf = FakeViews()
    with pytest.raises(InvalidInput, match="saved views"):
        ask(shelf, do="save", view=view)
    assert not shelf.kept


async def test_bytes_that_are_no_text_are_refused_over_http() -> None:
    desk = build_desk()
    async with started(desk.app):
        for body in (
            b'{"do":"delete","kind":"layout","name":"Scalp\xffing"}',
            b'{"do":"save","view":{"kind":"layout","name":"x","\xed\xa0\x80":""}}',
            b'{"do":"delete","kind":"layout","name":"\\ud800"}',
            b'{"views":' + b"[" * 20_000,
            b"\xff",
            b"",
        ):
            answer = await request(desk.app, "POST", "/desk/views", origin="http://127.0.0.1:8050", body=body)
            assert answer.status == 400, body[:60]
            assert json.loads(answer.text)["error"].startswith("saved views")


@pytest.mark.parametrize("control", ["\0", "\x1b", "\t", "\x7f", "\x85", "\u2028"])
@pytest.mark.parametrize("field", ["name", "overlay", "layers"])
def test_control_characters_are_refused_by_their_number_and_not_repeated(field: str, control: str) -> None:
    shelf = FakeViews(LAYOUT)
    odd = f"Scalp{control}ing"
    with pytest.raises(InvalidInput, match=rf"{field}.*U\+{ord(control):04X}") as refused:
        ask(shelf, do="save", view={"kind": "layout", "name": "x", field: odd})
    assert control not in str(refused.value)
    if field == "name":
        with pytest.raises(InvalidInput, match=r"to .*control character"):
            ask(shelf, do="rename", kind="layout", name="Scalping", to=odd)
    assert views_body(shelf)["views"] == [msgspec.to_builtins(LAYOUT)]


@pytest.mark.parametrize(
    "change",
    [
        {"do": "rename", "kind": "layout", "name": "x\0", "to": "y"},
        {"do": "delete", "kind": "watchlist", "name": "\0"},
        {"do": "default", "name": "x\0"},
    ],
)
def test_a_name_no_store_can_hold_is_not_looked_for(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"U\+0000"):
        ask(FakeViews(LAYOUT), **change)


def test_what_was_saved_with_a_control_character_in_its_name_can_be_renamed_and_deleted() -> None:
    shelf = FakeViews(ChartLayout(name="a\tb"), ChartLayout(name="c\td"))
    ask(shelf, do="rename", kind="layout", name="a\tb", to="a b")
    assert [view["name"] for view in ask(shelf, do="delete", kind="layout", name="c\td")] == ["a b"]


def test_there_is_an_end_to_what_is_kept() -> None:
    shelf = FakeViews(*(Watchlist(name=f"list {number}") for number in range(MAX_SAVED)))
    with pytest.raises(InvalidInput, match="delete one first"):
        ask(shelf, do="save", view={"kind": "watchlist", "name": "one more"})
    ask(shelf, do="save", view={"kind": "watchlist", "name": "list 3"}, replace=True)


async def test_an_address_that_says_nothing_of_its_chart_begins_with_the_default_layout() -> None:
    desk = build_desk()
    desk.views.save(LAYOUT, NOW_US, replace=False)
    assert default_layout(desk.views, {"bare": "1"}) is None
    desk.views.set_default("Scalping")
    async with started(desk.app):
        body = json.loads((await request(desk.app, "GET", "/desk/chart?bare=1&scheme=dark")).text)
        other = json.loads((await request(desk.app, "GET", "/desk/chart?tf=1m")).text)
    assert body["address"] == LAYOUT.words()
    assert (body["view"]["timeframe"], body["view"]["overlay"]) == ("5m", "rsi(14,close)")
    assert [pane["stretchFactor"] for pane in body["panes"]] == [6, 1.2, 1.4]
    assert body["specs"][0]["priceScaleOptions"] == {"mode": 1}
    assert other["address"] is None


async def test_views_are_changed_over_http_and_what_is_wrong_is_told() -> None:
    desk = build_desk()
    wanted = {"do": "save", "view": {"kind": "watchlist", "name": "Majors", "markets": ["okx:BTC-USDT"]}}
    async with started(desk.app):
        for body, status in (
            (wanted, 200),
            (wanted, 400),
            ({"do": "sing"}, 400),
            ({"do": "x" * 50_000}, 413),
        ):
            answer = await request(
                desk.app,
                "POST",
                "/desk/views",
                origin="http://127.0.0.1:8050",
                body=msgspec.json.encode(body),
            )
            assert answer.status == status, answer.text
        kept = json.loads((await request(desk.app, "GET", "/desk/views")).text)
    assert [view["name"] for view in kept["views"]] == ["Majors"]


def test_heights_that_do_not_fit_the_panes_are_left_out() -> None:
    assert shares_of("6,1.2,1.4") == [6, 1.2, 1.4]
    assert shares_of("6;drop") == shares_of(None) == []
    assert pane_options([], [6, 1.2, 1.4]) == pane_options([])
    assert pane_options([], [5, 0]) == pane_options([])


def test_a_palette_of_a_chart_takes_the_place_of_the_desks() -> None:
    assert scheme_in("cvd", "light") == "light-cvd"
    assert scheme_in("default", "dark-cvd") == "dark"
    assert scheme_in("", "dark-cvd") == "dark-cvd"
