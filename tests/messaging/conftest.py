"""The real server of `tests.services`."""

from __future__ import annotations

from tests.services import valkey

__all__ = ["valkey"]
