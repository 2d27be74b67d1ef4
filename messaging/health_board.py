"""The last thing each collector said of itself, for pages and commands that come between two messages."""

from __future__ import annotations

from collections.abc import Sequence

from data.messages import CollectorHealth
from data.topics import ALL_HEALTH
from messaging.encoding import decode
from messaging.redis_bus import RedisBus


class HealthBoard:
    """Reads what `RedisPublisher` has the bus remember."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def last_health(self) -> Sequence[CollectorHealth]:
        """One entry per shard heard of in the last day, by name. Raises TransientError without Redis."""
        found = []
        for topic, payload in (await self._bus.recall_all(ALL_HEALTH)).items():
            health = decode(topic, payload)
            if isinstance(health, CollectorHealth):
                found.append(health)
        return found
