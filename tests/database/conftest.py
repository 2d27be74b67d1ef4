"""A migrated database for each test module."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(scope="module")
def store_url(migrated_database: Callable[[], str]) -> str:
    """A migrated database that this module alone uses."""
    return migrated_database()
