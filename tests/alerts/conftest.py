"""The real server of `tests.services`."""

from __future__ import annotations

from tests.services import new_database, postgres

__all__ = ["new_database", "postgres"]
