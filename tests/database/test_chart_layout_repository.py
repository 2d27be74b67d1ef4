from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.saved_views import SavedViews
from dashboard.saved_views import ChartLayout, Watchlist, default_layout
from database.repositories.chart_layout_repository import ChartLayoutRepository

pytestmark = pytest.mark.integration

LAYOUT = ChartLayout(name="Scalping", tf="5m", overlay="rsi(14,close)", scale="log", panes="6,1.2,1.4")


@pytest.fixture
def repository(store_url: str) -> Iterator[ChartLayoutRepository]:
    repository = ChartLayoutRepository(store_url)
    for kind, name, _, _ in repository.documents():
        repository.delete(kind, name)
    yield repository
    repository.close()


@pytest.fixture
def shelf(repository: ChartLayoutRepository) -> SavedViews:
    return SavedViews(repository)


def at_once(*asked: Callable[[], bool]) -> list[bool]:
    """What they answer, begun at the same moment."""
    together = threading.Barrier(len(asked))

    def ask(one: Callable[[], bool]) -> bool:
        together.wait()
        return one()

    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(ask, asked))


def test_layouts_and_lists_come_back_as_they_were_saved_and_a_name_is_taken_once(shelf: SavedViews) -> None:
    majors = Watchlist(name="Majors", markets=("okx:BTC-USDT", "binance:ETH-USDT"))
    assert shelf.save(majors, 1, replace=False)
    assert shelf.save(LAYOUT, 1, replace=False)
    assert shelf.views() == [LAYOUT, majors]
    assert not shelf.save(ChartLayout(name="Scalping", tf="1h"), 2, replace=False)
    assert shelf.views() == [LAYOUT, majors]


def test_the_default_is_one_and_stays_it_when_it_is_saved_over_or_renamed(shelf: SavedViews) -> None:
    for name in ("Scalping", "Swing"):
        shelf.save(ChartLayout(name=name, tf="5m"), 1, replace=False)
        assert shelf.set_default(name)
    assert not shelf.set_default("Nobody")
    shelf.save(ChartLayout(name="Swing", tf="4h"), 2, replace=True)
    assert shelf.rename("layout", "Swing", "Slow")
    assert shelf.views() == [
        ChartLayout(name="Scalping", tf="5m"),
        ChartLayout(name="Slow", tf="4h", default=True),
    ]
    assert shelf.set_default(None)
    assert [view.default for view in shelf.views() if isinstance(view, ChartLayout)] == [False, False]


def test_a_name_that_is_taken_or_gone_is_not_given_and_what_is_deleted_is_gone(shelf: SavedViews) -> None:
    for name in ("Scalping", "Swing"):
        shelf.save(ChartLayout(name=name, tf="5m"), 1, replace=False)
    assert not shelf.rename("layout", "Swing", "Scalping")
    assert not shelf.rename("layout", "Nobody", "Somebody")
    assert shelf.delete("layout", "Swing")
    assert not shelf.delete("layout", "Swing")
    assert [view.name for view in shelf.views()] == ["Scalping"]


@pytest.mark.parametrize("content", [{"zoom": 3}, {"tf": 5}, {"scale": "cubic"}, [], None, "5m"])
def test_a_view_of_another_version_is_left_out_told_once_and_gives_its_place_up(
    repository: ChartLayoutRepository, shelf: SavedViews, content: Any
) -> None:
    shelf.save(LAYOUT, 1, replace=False)
    repository.insert("layout", "Later", content, 1)
    shelf.set_default("Later")
    with capture_logs() as told:
        assert shelf.views() == shelf.views() == [LAYOUT]
        assert default_layout(shelf, {"bare": "1"}) is None
    assert shelf.unreadable() == [("layout", "Later")]
    ((event, count, (why,)),) = [(one["event"], one["count"], one["why"]) for one in told]
    assert (event, count) == ("saved_views_unreadable", 1)
    assert why.startswith("layout 'Later': ")
    assert shelf.save(ChartLayout(name="Later", tf="1h"), 2, replace=True)
    assert shelf.unreadable() == []
    assert shelf.views() == [ChartLayout(name="Later", tf="1h", default=True), LAYOUT]


def test_of_several_defaults_chosen_at_one_instant_one_holds_and_none_fails(shelf: SavedViews) -> None:
    names = ("Scalping", "Swing", "Slow", "Night")
    for name in names:
        shelf.save(ChartLayout(name=name), 1, replace=False)
    for _ in range(10):
        shelf.set_default(None)
        assert at_once(*(partial(shelf.set_default, name) for name in names)) == [True] * 4
        assert sum(view.default for view in shelf.views() if isinstance(view, ChartLayout)) == 1


def test_a_name_wanted_by_several_at_one_instant_is_given_to_one(shelf: SavedViews) -> None:
    names = ("Scalping", "Swing", "Slow", "Night")
    for name in names:
        shelf.save(ChartLayout(name=name), 1, replace=False)
    for turn in range(10):
        wanted = f"wanted {turn}"
        renames = [partial(shelf.rename, "layout", name, wanted) for name in names]
        assert sum(at_once(*renames)) == 1
        left = {view.name for view in shelf.views()}
        (moved,) = set(names) - left
        assert shelf.rename("layout", wanted, moved)
