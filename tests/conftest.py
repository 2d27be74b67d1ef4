"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.services import database_url, migrated_database, new_database, postgres, valkey, valkey_server

__all__ = ["database_url", "migrated_database", "new_database", "postgres", "valkey", "valkey_server"]

# How long an example takes says how busy the machine is, and nothing of what is promised.
settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")


@pytest.fixture(autouse=True)
def loggers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that a test runs in this process tells loggers how to speak; no later test hears of it."""
    configure = structlog.configure

    def not_kept(*given: Any, **told: Any) -> None:
        # A logger keeps what it was told at its first use, and no reset reaches it.
        configure(*given, **{**told, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", not_kept)
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded market data; a test that needs it is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "SHA256SUMS").exists():
        pytest.skip("no recorded market data: ../shared/data is not beside the project folder")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests start processes come first, those of whole installations before all others.

    Workers share files out in this order, so that none is left with a long one while the others have ended.
    """
    long = {item.path for item in items if item.get_closest_marker("integration")}
    long |= {item.path for item in items if item.get_closest_marker("browser")}

    def place(item: pytest.Item) -> int:
        if item.path.parent.name == "integration":
            return 0
        return 1 if item.path in long else 2

    items.sort(key=place)
