"""One word for a venue whose collectors run in several processes."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from data.messages import CollectorHealth

# From the best to the worst.
_STATES = ("live", "connecting", "reconnecting", "stopped", "unreachable")


def venue_health(shards: Iterable[CollectorHealth]) -> CollectorHealth | None:
    """The worst state of the shards, all they complain of, and their figures together; None for no shard.

    A shard that was ended in order says nothing of a venue that others still record.
    """
    known = sorted(shards, key=lambda health: health.shard)
    current = [health for health in known if health.state != "stopped" or health.detail] or known[-1:]
    if not current:
        return None
    worst = max(current, key=lambda health: _rank(health.state))
    return msgspec.structs.replace(
        worst,
        detail=" ".join(health.detail for health in current if health.detail),
        symbols=sum(health.symbols for health in current),
        trades_stored=sum(health.trades_stored for health in current),
        trades_per_s=sum(health.trades_per_s for health in current),
        duplicates=sum(health.duplicates for health in current),
        malformed=sum(health.malformed for health in current),
        gaps_open=sum(health.gaps_open for health in current),
        lag_ms=max(health.lag_ms for health in current),
        sent_at_us=max(health.sent_at_us for health in current),
        messages_per_s=sum(health.messages_per_s for health in current),
        reconnects=sum(health.reconnects for health in current),
        gaps_found=sum(health.gaps_found for health in current),
        gaps_repaired=sum(health.gaps_repaired for health in current),
        queue_depth=sum(health.queue_depth for health in current),
        journal_depth=sum(health.journal_depth for health in current),
        memory_bytes=sum(health.memory_bytes for health in current),
        stale_symbols=tuple(symbol for health in current for symbol in health.stale_symbols),
        restarts=sum(health.restarts for health in current),
    )


def _rank(state: str) -> int:
    return _STATES.index(state) if state in _STATES else len(_STATES)
