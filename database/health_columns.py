"""A collector's health as a row, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.messages import CollectorHealth
from data.timeframes import to_datetime

_PLAIN = (
    "exchange", "state", "detail", "symbols", "trades_stored", "trades_per_s", "duplicates", "malformed",
    "gaps_open", "lag_ms", "messages_per_s", "reconnects", "gaps_found", "gaps_repaired", "queue_depth",
    "journal_depth", "memory_bytes", "restarts",
)  # fmt: skip
HEALTH_COLUMNS = (*_PLAIN, "shard", "sent_at", "stale_symbols")


def health_row(health: CollectorHealth) -> tuple[Any, ...]:
    """The values of `HEALTH_COLUMNS`; a collector that names no shard is its venue's only one."""
    return (
        *(getattr(health, name) for name in _PLAIN),
        health.shard or health.exchange,
        to_datetime(health.sent_at_us),
        list(health.stale_symbols),
    )


def health_of(row: Mapping[str, Any]) -> CollectorHealth:
    """A row's health; `sent_at` in microseconds."""
    return CollectorHealth(
        **{name: row[name] for name in _PLAIN},
        shard=row["shard"],
        sent_at_us=row["sent_at"],
        stale_symbols=tuple(row["stale_symbols"]),
    )
