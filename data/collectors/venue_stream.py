"""One connection to a venue's streams, kept up for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from data.collectors.backoff import Backoff
from data.collectors.tuning import CollectorTuning
from data.exchanges.base import AckMessage, ErrorMessage, ExchangeAdapter, SubscribeRequest

log = structlog.get_logger()

_MAX_MESSAGE_BYTES = 4 * 2**20
_TEND_S = 0.5
# The venues' own pings are answered by the library; these find a line that is dead from our side.
_PING_S = 15.0
# A flood of buffered messages must not keep the other tasks waiting.
_MESSAGES_PER_TURN = 200


class StreamOwner(Protocol):
    """Who gets what a stream brings."""

    def on_message(self, stream: VenueStream, message: bytes) -> None: ...

    def on_connected(self, stream: VenueStream) -> None:
        """All is subscribed; anything may have been missed before."""
        ...

    def on_lost(self, stream: VenueStream, why: str, retry_in_s: float) -> None: ...

    async def may_connect(self) -> None:
        """Return when what comes can be taken."""
        ...


class VenueStream:
    """Connects, subscribes, notices silence, and begins again after any trouble, backing off with jitter."""

    def __init__(
        self,
        adapter: ExchangeAdapter,
        base_url: str,
        symbols: Sequence[str],
        owner: StreamOwner,
        tuning: CollectorTuning,
    ) -> None:
        self.url = adapter.connection_url(base_url)
        self.symbols = tuple(symbols)
        self.venue_time_us = 0  # the newest that any message told
        self.live = False  # subscribed and not lost
        self.connections = 0  # made so far
        self.messages = 0  # of this connection
        self.refusals: dict[str, str] = {}  # topic or request: what the venue said
        self._adapter, self._owner, self._tuning = adapter, owner, tuning
        self._backoff = Backoff(tuning.backoff_first_s, tuning.backoff_longest_s)
        self._unacknowledged: dict[str, SubscribeRequest] = {}  # by topic
        self._socket: ClientConnection | None = None
        self._why = ""

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        while True:
            await self._owner.may_connect()
            self._why = ""
            began_s = asyncio.get_running_loop().time()
            try:
                await self._session()
            except ConnectionClosed as error:
                why = self._why or f"the connection was closed ({error.rcvd or 'without a word'})"
            except (OSError, TimeoutError, WebSocketException) as error:
                why = str(error) or type(error).__name__
            self.live = False
            self._socket = None
            if asyncio.get_running_loop().time() - began_s > self._tuning.stable_s:
                # A venue that lets us in and throws us out at once must not be asked twice a second.
                self._backoff.reset()
            retry_in_s = self._backoff.next_s()
            log.warning(
                "stream_closed", exchange=self._adapter.name, url=self.url, why=why, retry_in_s=retry_in_s
            )
            self._owner.on_lost(self, why, retry_in_s)
            await asyncio.sleep(retry_in_s)

    def reconnect(self, why: str) -> None:
        """Close the connection, which makes `run` begin a new one."""
        self._why = self._why or why
        if self._socket is not None:
            # The closing handshake may hang on a dead line, and nothing waits for it.
            self._socket.transport.abort()

    def on_ack(self, ack: AckMessage) -> None:
        """The venue accepted a topic, or all of a request."""
        acknowledged = [
            topic
            for topic, request in self._unacknowledged.items()
            if topic == ack.topic or (ack.request_id and request.request_id == ack.request_id)
        ]
        for topic in acknowledged:
            del self._unacknowledged[topic]
            self.refusals.pop(topic, None)
        if acknowledged and not self._unacknowledged:
            self._become_live()

    def on_error(self, error: ErrorMessage) -> None:
        """The venue refused something; which topic, it often does not say."""
        self.refusals[error.request_id or error.code] = f"{error.code} {error.reason}".strip()
        log.warning("subscription_refused", exchange=self._adapter.name, code=error.code, reason=error.reason)

    async def _session(self) -> None:
        async with connect(
            self.url,
            max_size=_MAX_MESSAGE_BYTES,
            open_timeout=self._tuning.connect_timeout_s,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            close_timeout=1.0,
        ) as socket:
            self._socket = socket
            self.connections += 1
            self.messages = 0
            self.refusals.clear()
            requests = self._adapter.subscribe_requests(self.symbols)
            self._unacknowledged = {topic: request for request in requests for topic in request.topics}
            tending = asyncio.create_task(self._tend(socket, requests))
            try:
                while True:
                    message = await socket.recv(decode=False)
                    self.messages += 1
                    self._owner.on_message(self, message)
                    if self.messages % _MESSAGES_PER_TURN == 0:
                        await asyncio.sleep(0)
            finally:
                tending.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                    await tending

    async def _tend(self, socket: ClientConnection, requests: Sequence[SubscribeRequest]) -> None:
        """Subscribe at the venue's pace, then keep the connection open and watch it."""
        clock = asyncio.get_running_loop().time
        for request in requests:
            await socket.send(request.text)
            await asyncio.sleep(1 / self._adapter.limits.requests_per_s)
        opened_s = acknowledge_from_s = heard_s = pinged_s = clock()
        messages = self.messages
        limits = self._adapter.limits
        while True:
            await asyncio.sleep(_TEND_S)
            now_s = clock()
            if self.messages != messages:
                messages, heard_s = self.messages, now_s
            if not self.live and now_s - acknowledge_from_s > self._tuning.ack_timeout_s:
                if len(self._unacknowledged) == sum(len(request.topics) for request in requests):
                    self.reconnect("no subscription was acknowledged")
                    return
                # Some were: record those, and say which were not.
                for topic in self._unacknowledged:
                    self.refusals.setdefault(topic, "not acknowledged")
                self._become_live()
            if now_s - heard_s > self._tuning.dead_s:
                self.reconnect(f"nothing came for {self._tuning.dead_s:g} s")
                return
            keepalive = self._adapter.keepalive()
            quiet_s = now_s - max(heard_s, pinged_s)
            if keepalive is not None and limits.keepalive_s is not None and quiet_s >= limits.keepalive_s:
                pinged_s = now_s
                await socket.send(keepalive)
            if limits.connection_life_s is not None and now_s - opened_s > limits.connection_life_s:
                self.reconnect("the venue ends connections of this age")
                return

    def _become_live(self) -> None:
        self.live = True
        self._owner.on_connected(self)
