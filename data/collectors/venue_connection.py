"""One WebSocket to a venue: subscribing at its pace, knowing what it acknowledged, noticing silence."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from data.collectors.tuning import CollectorTuning
from data.exchanges.base import AckMessage, ErrorMessage, ExchangeAdapter, SubscribeRequest, Subscription

log = structlog.get_logger()

_MAX_MESSAGE_BYTES = 4 * 2**20
_TEND_S = 0.5
# The venues' own pings are answered by the library; these find a line that is dead from our side.
_PING_S = 15.0
# A flood of buffered messages must not keep the other tasks waiting.
_MESSAGES_PER_TURN = 200
# Connections that were opened together are not replaced together.
_AGE_JITTER = 0.05
_NOT_ACKNOWLEDGED = "not acknowledged"


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a connection ended, and how long the venue itself asks us to stay away."""

    why: str
    retry_after_s: float | None = None


class ConnectionOwner(Protocol):
    """Who gets what a connection brings."""

    def on_messages(self, connection: VenueConnection, messages: Sequence[bytes]) -> None:
        """All that waited, in the order it came."""
        ...

    def on_live(self, connection: VenueConnection) -> None:
        """What was asked for at the start is acknowledged, or has had its time to be."""
        ...

    def on_old(self, connection: VenueConnection) -> None:
        """The venue would end a connection of this age."""
        ...


@dataclass(slots=True)
class _Asked:
    """A subscription on its way."""

    request: SubscribeRequest
    sent_s: float | None = None  # loop time; None: it waits for its turn


class VenueConnection:
    """Lives from one handshake to the end of the socket. `run` returns why it ended; it never comes back."""

    def __init__(
        self,
        adapter: ExchangeAdapter,
        url: str,
        topics: Iterable[Subscription],
        owner: ConnectionOwner,
        tuning: CollectorTuning,
    ) -> None:
        self.url = url
        self.live = False
        self.became_live = asyncio.Event()
        self.messages = 0
        self.refusals: dict[str, str] = {}  # topic, or request of several: what the venue said
        self._adapter, self._owner, self._tuning = adapter, owner, tuning
        self._first_topics = list(topics)
        self._asked: dict[str, _Asked] = {}  # by topic: not acknowledged yet
        self._retry_at_s: dict[str, float] = {}  # loop time at which a refused topic is asked for again
        self._subscription_of: dict[str, Subscription] = {}
        self._outbox: deque[SubscribeRequest] = deque()
        self._to_send = asyncio.Event()
        self._next_number = 1
        self._answers = 0  # acknowledgements and refusals
        self._socket: ClientConnection | None = None
        self._why = ""
        self._waiting: list[bytes] = []  # messages that nobody was told of yet
        self._fault: Exception | None = None

    async def run(self) -> Lost:
        """Serve until the connection ends, for whatever reason of the venue's or the network's."""
        try:
            await self._session()
        except ConnectionClosed as error:
            return Lost(self._why or f"the connection was closed ({error.rcvd or 'without a word'})")
        except InvalidStatus as error:
            return Lost(
                f"the venue answers with HTTP status {error.response.status_code}",
                _seconds(error.response.headers.get("Retry-After", "")),
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            return Lost(self._why or str(error) or type(error).__name__)
        finally:
            self.live = False
            self._socket = None

    def abort(self, why: str) -> None:
        """End it at once. The closing handshake may hang on a dead line, and nothing waits for it."""
        self._why = self._why or why
        if self._socket is not None:
            self._socket.transport.abort()

    def subscribe(self, topics: Iterable[Subscription]) -> None:
        """Ask for more, at the venue's pace."""
        found = list(topics)
        self._subscription_of |= {self._adapter.topic_of(*topic): topic for topic in found}
        for request in self._adapter.subscribe_requests(found, first_number=self._next_number):
            self._asked |= {topic: _Asked(request) for topic in request.topics}
            self._queue(request)

    def unsubscribe(self, topics: Iterable[Subscription]) -> None:
        """Ask for less."""
        for request in self._adapter.unsubscribe_requests(list(topics), first_number=self._next_number):
            for topic in request.topics:
                self._asked.pop(topic, None)
                self._retry_at_s.pop(topic, None)
                self.refusals.pop(topic, None)
                self._subscription_of.pop(topic, None)
            self._queue(request)

    def renew(self, topic: Subscription) -> None:
        """Subscribe anew to what was acknowledged and does not come."""
        self.unsubscribe([topic])
        self.subscribe([topic])

    def hears(self, topic: Subscription) -> bool:
        """Whether the venue has acknowledged the subscription."""
        name = self._adapter.topic_of(*topic)
        return self.live and name in self._subscription_of and name not in self._asked

    def on_ack(self, ack: AckMessage) -> None:
        """The venue accepted a topic, or all of a request."""
        self._answers += 1
        if ack.unsubscribed:
            return
        acknowledged = [
            topic
            for topic, asked in self._asked.items()
            if topic == ack.topic or (ack.request_id and asked.request.request_id == ack.request_id)
        ]
        for topic in acknowledged:
            del self._asked[topic]
            self._retry_at_s.pop(topic, None)
            self.refusals.pop(topic, None)
        if acknowledged and not self._asked:
            self._become_live()

    def on_error(self, error: ErrorMessage) -> None:
        """The venue refused something; which topic, it tells only of a request that has one."""
        self._answers += 1
        topics = [
            topic
            for topic, asked in self._asked.items()
            if error.request_id and asked.request.request_id == error.request_id
        ]
        said = f"{error.code} {error.reason}".strip()
        if len(topics) == 1:
            self._refused(topics[0], said)
        else:
            self.refusals[error.request_id or error.code] = said
        log.warning(
            "subscription_refused",
            exchange=self._adapter.name,
            code=error.code,
            reason=error.reason,
            topics=topics,
        )

    async def _session(self) -> NoReturn:
        async with connect(
            self.url,
            max_size=_MAX_MESSAGE_BYTES,
            open_timeout=self._tuning.connect_timeout_s,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            close_timeout=1.0,
        ) as socket:
            self._socket = socket
            self.subscribe(self._first_topics)
            tasks = [asyncio.create_task(self._send(socket)), asyncio.create_task(self._tend(socket))]
            soon, waiting = asyncio.get_running_loop().call_soon, self._waiting
            try:
                while True:
                    # Returns at once while messages wait, so that the call comes after the last of them.
                    message = await socket.recv(decode=False)
                    self.messages += 1
                    waiting.append(message)
                    if len(waiting) == 1:
                        soon(self._hand_over)
                    elif len(waiting) >= _MESSAGES_PER_TURN:
                        await asyncio.sleep(0)
            finally:
                for task in tasks:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                        await task
                self._hand_over()
                if self._fault is not None:
                    raise self._fault

    def _hand_over(self) -> None:
        """Pass on what waits. A fault of ours ends the session, which raises it."""
        messages = self._waiting[:]
        self._waiting.clear()
        if not messages or self._fault is not None:
            return
        try:
            self._owner.on_messages(self, messages)
        except Exception as error:  # noqa: BLE001  # nobody hears of what a call of the loop's own raises
            self._fault = error
            self.abort("")

    def _queue(self, request: SubscribeRequest) -> None:
        self._next_number += 1
        self._outbox.append(request)
        self._to_send.set()

    async def _send(self, socket: ClientConnection) -> NoReturn:
        """Requests one after the other, at the venue's pace."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while self._outbox:
                request = self._outbox.popleft()
                await socket.send(request.text)
                for topic in request.topics:
                    asked = self._asked.get(topic)
                    if asked is not None and asked.request is request:
                        asked.sent_s = clock()
                await asyncio.sleep(1 / self._adapter.limits.requests_per_s)

    async def _tend(self, socket: ClientConnection) -> None:
        """Keep the connection open and watch it."""
        clock = asyncio.get_running_loop().time
        limits = self._adapter.limits
        heard_s = pinged_s = opened_s = clock()
        life_s = (limits.connection_life_s or 0.0) * random.uniform(1 - _AGE_JITTER, 1.0)
        messages = 0
        told_old = False
        while True:
            await asyncio.sleep(_TEND_S)
            now_s = clock()
            if self.messages != messages:
                messages, heard_s = self.messages, now_s
            self._judge_unanswered(now_s)
            if now_s - heard_s > self._tuning.dead_s:
                self.abort(f"nothing came for {self._tuning.dead_s:g} s")
                return
            keepalive = self._adapter.keepalive()
            quiet_s = now_s - max(heard_s, pinged_s)
            if keepalive is not None and limits.keepalive_s is not None and quiet_s >= limits.keepalive_s:
                pinged_s = now_s
                await socket.send(keepalive)
            if limits.connection_life_s is not None and not told_old and now_s - opened_s > life_s:
                told_old = True
                self._owner.on_old(self)

    def _judge_unanswered(self, now_s: float) -> None:
        """Go on without what is not acknowledged in time, and ask for it again later, each topic alone."""
        overdue = [
            topic
            for topic, asked in self._asked.items()
            if topic not in self._retry_at_s
            and asked.sent_s is not None
            and now_s - asked.sent_s > self._tuning.ack_timeout_s
        ]
        if overdue and not self.live and not self._answers:
            self.abort("no subscription was acknowledged")
            return
        for topic in overdue:
            self._refused(topic, _NOT_ACKNOWLEDGED)
        if not self.live and self._asked and all(topic in self._retry_at_s for topic in self._asked):
            self._become_live()
        for topic, at_s in list(self._retry_at_s.items()):
            if now_s >= at_s:
                del self._retry_at_s[topic]
                self.subscribe([self._subscription_of[topic]])

    def _refused(self, topic: str, said: str) -> None:
        self.refusals[topic] = said
        self._retry_at_s[topic] = asyncio.get_running_loop().time() + self._tuning.resubscribe_s

    def _become_live(self) -> None:
        if not self.live:
            self.live = True
            self.became_live.set()
            self._owner.on_live(self)


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None
