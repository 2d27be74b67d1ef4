"""One subscription list at a venue, served by one connection after the other for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn, Protocol

import structlog

from data.collectors.backoff import Backoff
from data.collectors.rate_limit import TokenBucket
from data.collectors.tuning import CollectorTuning
from data.collectors.venue_connection import Lost, VenueConnection
from data.errors import MalformedMessage
from data.exchanges.base import (
    AckMessage,
    Channel,
    ErrorMessage,
    ExchangeAdapter,
    OtherMessage,
    ReconnectNotice,
    Subscription,
    TradesMessage,
    VenueMessage,
)
from data.exchanges.waiting_trades import WaitingTrades

log = structlog.get_logger()


class StreamOwner(Protocol):
    """Who gets what a stream brings."""

    def on_trades(self, stream: VenueStream, parsed: TradesMessage, message: bytes) -> None: ...

    def on_waiting(self, stream: VenueStream, waiting: WaitingTrades) -> None:
        """Trades of many messages that waited."""
        ...

    def on_channel(self, parsed: VenueMessage) -> None:
        """Anything that is neither trades nor about the connection itself."""
        ...

    def on_malformed(self, message: str) -> None: ...

    def on_connected(self, stream: VenueStream) -> None:
        """All is subscribed; anything may have been missed before."""
        ...

    def on_lost(self, stream: VenueStream, why: str, retry_in_s: float) -> None: ...

    async def may_connect(self) -> None:
        """Return when what comes can be taken."""
        ...


class _Served:
    """A connection and the task that runs it."""

    def __init__(self, connection: VenueConnection) -> None:
        self.connection = connection
        self.task = asyncio.create_task(connection.run())

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()  # a fault of ours must be heard


class VenueStream:
    """Connects, subscribes, and begins again after any trouble, backing off with jitter.

    Where an end is known beforehand (the venue announces it, or the connection's age) the next connection is
    opened and subscribed first; for a while both bring the same, and only then the old one is closed.
    """

    def __init__(
        self,
        adapter: ExchangeAdapter,
        base_url: str,
        endpoint: str,
        topics: Iterable[Subscription],
        owner: StreamOwner,
        tuning: CollectorTuning,
        *,
        connects: TokenBucket,
        clock_us: Callable[[], int] | None = None,
        on_announced: Callable[[str], None] | None = None,
    ) -> None:
        """`connects` paces the connections of all streams together.

        `on_announced` is told when the venue announces this connection's end, and why.
        `clock_us`, our clock, dates what a venue sends without a time; trades need none.
        """
        self.url = adapter.connection_url(base_url, endpoint)
        self.endpoint = endpoint
        self.topics: dict[Subscription, None] = dict.fromkeys(topics)
        self.venue_time_us = 0  # the newest that any message told
        self.live = False  # subscribed and not lost
        self.connections = 0  # that were used so far, those that took over included
        self._adapter, self._owner, self._tuning = adapter, owner, tuning
        self._connects, self._clock_us, self._on_announced = connects, clock_us, on_announced
        self._backoff = Backoff(tuning.backoff_first_s, tuning.backoff_longest_s)
        self._current: _Served | None = None
        self._successor: _Served | None = None
        self._replace_asked = asyncio.Event()
        self._messages_before = 0  # of connections that have ended

    @property
    def symbols(self) -> tuple[str, ...]:
        """Whose trades it brings."""
        return tuple(symbol for symbol, channel in self.topics if channel is Channel.TRADES)

    @property
    def messages(self) -> int:
        """How many came so far."""
        return self._messages_before + sum(served.connection.messages for served in self._served())

    @property
    def refusals(self) -> dict[str, str]:
        """Topic or request: what the venue said."""
        return self._current.connection.refusals if self._current is not None else {}

    def hears(self, symbol: str) -> bool:
        """Whether the symbol's trades are subscribed to, as the venue says."""
        return (
            self.live
            and self._current is not None
            and self._current.connection.hears((symbol, Channel.TRADES))
        )

    async def run(self) -> NoReturn:
        """Keep a connection up until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._owner.may_connect()
            await self._connects.acquire()
            began_s = clock()
            lost = await self._serve()
            self.live = False
            if clock() - began_s > self._tuning.stable_s:
                # A venue that lets us in and throws us out at once must not be asked twice a second.
                self._backoff.reset()
            retry_in_s = max(self._backoff.next_s(), lost.retry_after_s or 0.0)
            self._tell_lost(lost.why, retry_in_s)
            await asyncio.sleep(retry_in_s)

    def reconnect(self, why: str) -> None:
        """Close the connection, which makes `run` begin a new one."""
        for served in self._served():
            served.connection.abort(why)

    def replace(self, why: str) -> None:
        """Have another connection take over without a hole; nothing to do where one does already."""
        if self._replace_asked.is_set() or self._successor is not None:
            return
        log.info("stream_replaced", exchange=self._adapter.name, url=self.url, why=why)
        self._replace_asked.set()

    def add(self, topics: Iterable[Subscription]) -> None:
        """Bring these as well; nothing else is disturbed."""
        fresh = [topic for topic in topics if topic not in self.topics]
        known = {self._adapter.topic_of(*topic) for topic in self.topics}
        self.topics.update(dict.fromkeys(fresh))
        # Two channels may share a topic: it is asked for once.
        asked = {name: topic for topic in fresh if (name := self._adapter.topic_of(*topic)) not in known}
        if asked:
            for served in self._served():
                served.connection.subscribe(asked.values())

    def drop(self, topics: Iterable[Subscription]) -> None:
        """Bring these no more; nothing else is disturbed."""
        gone = [topic for topic in topics if topic in self.topics]
        for topic in gone:
            del self.topics[topic]
        kept = {self._adapter.topic_of(*topic) for topic in self.topics}
        given_up = [topic for topic in gone if self._adapter.topic_of(*topic) not in kept]
        if given_up:
            for served in self._served():
                served.connection.unsubscribe(given_up)

    def renew(self, topic: Subscription) -> None:
        """Subscribe anew to one topic that is acknowledged and does not come."""
        if self._current is not None:
            self._current.connection.renew(topic)

    # What a connection tells

    def on_messages(self, connection: VenueConnection, messages: Sequence[bytes]) -> None:
        for part in self._adapter.in_turn(messages):
            if isinstance(part, WaitingTrades):
                if part.sent_at_us > self.venue_time_us:
                    self.venue_time_us = part.sent_at_us
                self._owner.on_waiting(self, part)
            else:
                self._on_message(connection, part)

    def _on_message(self, connection: VenueConnection, message: bytes) -> None:
        try:
            if self._clock_us is None:
                parsed = self._adapter.parse(message)
            else:
                parsed = self._adapter.parse(message, self._clock_us())
        except MalformedMessage as error:
            self._owner.on_malformed(error.message)
            return
        if type(parsed) is TradesMessage:
            if parsed.sent_at_us > self.venue_time_us:
                self.venue_time_us = parsed.sent_at_us
            self._owner.on_trades(self, parsed, message)
        elif isinstance(parsed, AckMessage):
            connection.on_ack(parsed)
        elif isinstance(parsed, ErrorMessage):
            connection.on_error(parsed)
        elif isinstance(parsed, ReconnectNotice):
            if self._current is not None and connection is self._current.connection:
                why = f"the venue announced the connection's end: {parsed.reason}"
                self.replace(why)
                if self._on_announced is not None:
                    self._on_announced(why)
        else:
            if parsed.sent_at_us > self.venue_time_us:
                self.venue_time_us = parsed.sent_at_us
            if not isinstance(parsed, OtherMessage):
                self._owner.on_channel(parsed)

    def on_live(self, connection: VenueConnection) -> None:
        if self._current is not None and connection is self._current.connection:
            self._become_live()

    def on_old(self, connection: VenueConnection) -> None:
        if self._current is not None and connection is self._current.connection:
            self.replace("the venue ends connections of this age")

    # Connections

    def _served(self) -> list[_Served]:
        return [served for served in (self._current, self._successor) if served is not None]

    def _open(self) -> _Served:
        return _Served(VenueConnection(self._adapter, self.url, self.topics, self, self._tuning))

    async def _serve(self) -> Lost:
        """Serve by one connection after the other until one is lost that has no successor."""
        self._replace_asked.clear()
        self._current = self._open()
        self.connections += 1
        try:
            while True:
                asked = asyncio.create_task(self._replace_asked.wait())
                try:
                    await asyncio.wait({self._current.task, asked}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    asked.cancel()
                if self._current.task.done():
                    return self._current.task.result()
                self._replace_asked.clear()
                await self._hand_over(self._current)
        finally:
            served = self._served()
            self._current = self._successor = None
            for each in served:
                self._messages_before += each.connection.messages
                each.task.cancel()
            await asyncio.gather(*(each.task for each in served), return_exceptions=True)

    async def _hand_over(self, old: _Served) -> None:
        """Put another connection in the place of `old`; returns early when `old` is lost meanwhile."""
        while not old.task.done():
            await self._connects.acquire()
            self._successor = successor = self._open()
            is_live = asyncio.create_task(successor.connection.became_live.wait())
            try:
                await asyncio.wait({old.task, successor.task, is_live}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                is_live.cancel()
            if successor.task.done():
                lost = successor.task.result()
                self._successor = None
                self._messages_before += successor.connection.messages
                wait_s = max(self._backoff.next_s(), lost.retry_after_s or 0.0)
                log.warning("successor_lost", exchange=self._adapter.name, url=self.url, why=lost.why)
                await asyncio.wait([old.task], timeout=wait_s)
                continue
            if successor.connection.live and not old.task.done():
                # What the old one still brings was sent before the new one was subscribed.
                await asyncio.wait([old.task], timeout=self._tuning.handover_s)
            was_without = not successor.connection.live
            self._current, self._successor = successor, None
            self.connections += 1
            self._messages_before += old.connection.messages
            if was_without:
                self._tell_lost(old.task.result().why, 0.0)
            await old.end()
            return

    def _tell_lost(self, why: str, retry_in_s: float) -> None:
        self.live = False
        log.warning(
            "stream_closed", exchange=self._adapter.name, url=self.url, why=why, retry_in_s=retry_in_s
        )
        self._owner.on_lost(self, why, retry_in_s)

    def _become_live(self) -> None:
        self.live = True
        self._owner.on_connected(self)
