"""The real server of `tests.services`, and a migrated database on it for each test module."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from database.migrate import migrate
from tests.services import database_url, new_database, postgres

__all__ = ["database_url", "new_database", "postgres"]


@pytest.fixture(scope="module")
def store_url(new_database: Callable[[], str]) -> str:
    """A migrated database that this module alone uses."""
    url = new_database()
    migrate(url)
    return url
