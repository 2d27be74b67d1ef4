from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.retention import NAME, kept_days
from database.features import Retention
from database.repositories.desk_repository import DeskRepository
from database.repositories.ledger_repository import LedgerRepository

pytestmark = pytest.mark.integration


@pytest.fixture
def desk(store_url: str) -> Iterator[DeskRepository]:
    repository = DeskRepository(store_url)
    yield repository
    repository.close()


def test_a_setting_is_what_was_set_last_and_none_before(desk: DeskRepository) -> None:
    assert desk.get("colours") is None
    desk.set("colours", {"up": "blue"}, who="anna", at_us=1)
    desk.set("colours", {"up": None, "days": 3}, who="anna", at_us=2)
    assert desk.get("colours") == {"up": None, "days": 3}


def test_data_is_kept_as_long_as_was_set_and_by_default_before(desk: DeskRepository, store_url: str) -> None:
    assert kept_days(store_url) == Retention()
    desk.set(NAME, {"trades": 30, "books": None}, who="anna", at_us=1)
    try:
        kept = kept_days(store_url)
    finally:
        desk.set(NAME, {}, who="anna", at_us=2)
    assert (kept.trades_days, kept.trade_digests_days, kept.books_days) == (30, 30, None)
    assert kept.quotes_days == Retention().quotes_days


def test_the_ledger_of_a_store_without_trades_is_empty(store_url: str) -> None:
    ledger = LedgerRepository(store_url)
    try:
        assert isinstance(ledger.recorded_markets(), list)
    finally:
        ledger.close()
