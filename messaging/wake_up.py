"""A word to the bot runner from commands and page threads, which have no event loop of their own."""

from __future__ import annotations

import msgspec
import structlog
from redis import Redis
from redis.exceptions import RedisError

from bots.messages import CONTROL_TOPIC, BotAsked

log = structlog.get_logger()


class RunnerWakeUp:
    """Tells the runner that something was asked of a bot. Safe to call from several threads."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)

    def __call__(self, bot: str) -> None:
        """Never fails: the wish is stored already, and the runner looks for wishes every second anyway."""
        try:
            self._client.publish(CONTROL_TOPIC, msgspec.json.encode(BotAsked(bot=bot)))
        except (RedisError, OSError) as error:
            log.info("runner_not_woken", bot=bot, reason=str(error))

    def close(self) -> None:
        self._client.close()
