"""The last thing each collector said of itself, for pages and commands that come between two messages."""

from __future__ import annotations

from collections.abc import Sequence

from data.messages import CollectorHealth
from data.topics import health_topic
from messaging.encoding import decode
from messaging.redis_bus import RedisBus


class HealthBoard:
    """Reads what `RedisPublisher` has the bus remember."""

    def __init__(self, bus: RedisBus, exchanges: Sequence[str]) -> None:
        self._bus = bus
        self._exchanges = exchanges

    async def last_health(self) -> Sequence[CollectorHealth]:
        """One entry per venue that was ever heard of in the last day. Raises TransientError without Redis."""
        found = []
        for exchange in self._exchanges:
            topic = health_topic(exchange)
            payload = await self._bus.recall(topic)
            if payload is None:
                continue
            health = decode(topic, payload)
            if isinstance(health, CollectorHealth):
                found.append(health)
        return found
