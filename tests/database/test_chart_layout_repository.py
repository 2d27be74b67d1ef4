from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.saved_views import SavedViews
from dashboard.saved_views import ChartLayout, Watchlist
from database.repositories.chart_layout_repository import ChartLayoutRepository

pytestmark = pytest.mark.integration

LAYOUT = ChartLayout(name="Scalping", tf="5m", overlay="rsi(14,close)", scale="log", panes="6,1.2,1.4")


@pytest.fixture
def shelf(store_url: str) -> Iterator[SavedViews]:
    repository = ChartLayoutRepository(store_url)
    for kind, name, _, _ in repository.documents():
        repository.delete(kind, name)
    yield SavedViews(repository)
    repository.close()


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
