"""Publish and subscribe over Redis (or Valkey), for processes that must not wait for each other."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from urllib.parse import urlsplit

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError

from data.errors import InstallationError, TransientError

log = structlog.get_logger()

_BATCH = 500  # commands in one round trip
_TIMEOUT_S = 5.0
_FAREWELL_S = 1.0
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.1, 5.0
# A subscriber that hears nothing asks whether the server is there, and without an answer connects anew.
_ASK_AFTER_S, _GIVE_UP_AFTER_S = 10.0, 20.0

_Command = tuple[str | bytes | int, ...]


class RedisBus:
    """News for whoever listens; the database keeps what must not be lost.

    Sending never waits: commands go through a queue that a task empties in round trips of many. While Redis
    is away the queue fills, then its oldest commands are dropped and counted. What was under way when a
    connection broke is sent again, so a subscriber may hear it twice.
    """

    def __init__(self, url: str, *, queue_limit: int = 20_000) -> None:
        """Connects at first use. Raises InstallationError for what is no Redis URL."""
        try:
            self._client = _client(url)
        except ValueError as error:
            raise InstallationError(
                "the Redis URL cannot be read; give REDIS_URL as redis://[:password@]host:6379/0"
            ) from error
        self._url = url
        self._place = _place(url)
        self._queue: deque[_Command] = deque()
        self._queue_limit = queue_limit
        self._filled = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._sent = asyncio.Event()
        self.dropped = 0  # commands that found no room or that Redis refused, since the start
        self.connected = False  # as of the last round trip

    async def publish(self, topic: str, payload: bytes) -> None:
        """Hand one message to the queue; returns at once."""
        self._put(("PUBLISH", topic, payload))

    async def publish_many(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Hand messages to the queue, to be sent in this order; returns at once."""
        for topic, payload in messages:
            self._put(("PUBLISH", topic, payload))

    async def remember(self, key: str, payload: bytes, *, ttl_s: int) -> None:
        """Keep the last known value of `key` for `ttl_s` seconds; returns at once."""
        self._put(("SET", key, payload, "EX", ttl_s))

    async def recall(self, key: str) -> bytes | None:
        """The last known value, or None. Raises TransientError while Redis is away."""
        try:
            found = await self._client.get(key)
        except (RedisError, OSError) as error:
            raise TransientError(f"Redis at {self._place} cannot be reached: {error}") from error
        return found.encode() if isinstance(found, str) else found

    async def recall_all(self, pattern: str) -> dict[str, bytes]:
        """The last known values of keys that match, by key. Raises TransientError while Redis is away."""
        try:
            keys = [_as_text(key) async for key in self._client.scan_iter(match=pattern, count=1_000)]
        except (RedisError, OSError) as error:
            raise TransientError(f"Redis at {self._place} cannot be reached: {error}") from error
        found = {key: await self.recall(key) for key in sorted(keys)}
        return {key: value for key, value in found.items() if value is not None}

    async def check(self) -> None:
        """Ask whether Redis answers. Raises InstallationError for a wrong password, else TransientError."""
        try:
            await self._client.ping()
        except (AuthenticationError, AuthorizationError) as error:
            raise InstallationError(f"Redis at {self._place} does not let us in: {error}") from error
        except (RedisError, OSError) as error:
            raise TransientError(f"Redis at {self._place} cannot be reached: {error}") from error

    async def subscribe(
        self, patterns: Sequence[str], *, on_connected: Callable[[], None] | None = None
    ) -> AsyncIterator[tuple[str, bytes]]:
        """Topic and payload of every message that matches, for ever; reconnects by itself, with backoff.

        What was published while the connection was down is lost: `on_connected` is called each time all
        patterns are heard (again), so that a caller who must not miss anything reads the database then. A
        message that matches two patterns comes twice.
        """
        delays = _delays()
        while True:
            client = _client(self._url)
            pubsub = client.pubsub()
            try:
                await pubsub.psubscribe(*patterns)
                unconfirmed = len(set(patterns))
                heard_at = monotonic()
                asked = False
                while True:
                    message = await pubsub.get_message(timeout=1.0)
                    if message is None:
                        silent_s = monotonic() - heard_at
                        if silent_s > _GIVE_UP_AFTER_S:
                            raise ConnectionResetError(f"no answer for {silent_s:.0f} s")
                        if silent_s > _ASK_AFTER_S and not asked:
                            await pubsub.ping()
                            asked = True
                        continue
                    heard_at, asked = monotonic(), False
                    if message["type"] == "pmessage":
                        yield message["channel"].decode(), message["data"]
                    elif message["type"] == "psubscribe":
                        unconfirmed -= 1
                        if unconfirmed == 0:
                            delays = _delays()
                            if on_connected is not None:
                                on_connected()
            except (RedisError, OSError) as error:
                delay_s = next(delays)
                log.warning(
                    "subscription_lost", redis=self._place, reason=str(error), retry_in_s=round(delay_s, 2)
                )
            finally:
                # Closing a broken connection may fail with the same error again.
                with suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
                with suppress(RedisError, OSError):
                    await client.aclose()
            await asyncio.sleep(delay_s)

    async def close(self) -> None:
        """Send what waits if that is a matter of moments, then disconnect."""
        if self._sender is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sent.wait(), _FAREWELL_S)
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender
            self._sender = None
        with suppress(RedisError, OSError):
            await self._client.aclose()

    def _put(self, command: _Command) -> None:
        if len(self._queue) >= self._queue_limit:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(command)
        self._filled.set()
        self._sent.clear()
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send(), name="redis-sender")

    async def _send(self) -> None:
        delays = _delays()
        batch: list[_Command] = []
        while True:
            if not batch:
                if not self._queue:
                    self._sent.set()
                    self._filled.clear()
                    await self._filled.wait()
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            try:
                await self._send_batch(batch)
            except (RedisError, OSError) as error:
                self.connected = False
                delay_s = next(delays)
                log.warning(
                    "publishing_waits",
                    redis=self._place,
                    reason=str(error),
                    waiting=len(self._queue) + len(batch),
                    dropped=self.dropped,
                    retry_in_s=round(delay_s, 2),
                )
                await asyncio.sleep(delay_s)
                continue
            self.connected = True
            batch = []
            delays = _delays()

    async def _send_batch(self, batch: Sequence[_Command]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for command in batch:
            pipeline.execute_command(*command)
        results = await pipeline.execute(raise_on_error=False)
        failures = [result for result in results if isinstance(result, Exception)]
        for failure in failures:
            if not isinstance(failure, ResponseError):
                raise failure
        if failures:
            # Sending these again would be refused again, and hold up all that comes behind.
            self.dropped += len(failures)
            log.warning("publishing_refused", reason=str(failures[0]), count=len(failures))


def _client(url: str) -> Redis:
    # Retrying is ours: the library's would hold a batch for an unknown while.
    return Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        client_name="candlewick",
    )


def _delays() -> Iterator[float]:
    """Seconds before each further attempt: doubling, with jitter, lest all processes come back at once."""
    longest_s = _FIRST_DELAY_S
    while True:
        yield random.uniform(longest_s / 2, longest_s)
        longest_s = min(longest_s * 2, _LONGEST_DELAY_S)


def _place(url: str) -> str:
    """The address without user and password, for logs."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _as_text(key: str | bytes) -> str:
    return key if isinstance(key, str) else key.decode()
