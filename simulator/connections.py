"""Open WebSockets, who subscribed to what, and the one way out for every message."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import WSCloseCode, WSMsgType, web

from simulator.faults import MARKET_EVENTS, Delivery, Fault, FaultBoard, Message
from simulator.instruments import BINANCE, OKX, USDM, VENUES
from simulator.subscription_keys import parts_of_key
from simulator.tapes import Clock

log = logging.getLogger(__name__)

# A replay as fast as readers take it waits at the first; a live market drops the connection at the second.
_ROOMY = 256
_OVERFULL = 50_000
_OVERFULL_CODE = {
    OKX: 4005,
    BINANCE: int(WSCloseCode.POLICY_VIOLATION),
    USDM: int(WSCloseCode.POLICY_VIOLATION),
}
_CLOSE_TIMEOUT_S = 1.0

_MILLISECONDS = re.compile(r'"(E|T|t)":(\d{13})(?=[,}])')


class Connection:
    """One client's WebSocket. Messages leave in the order of their due times."""

    def __init__(self, request: web.Request, exchange: str, path: str, *, max_message_bytes: int) -> None:
        self.exchange = exchange
        self.path = path  # "/ws/v5/public", "/stream"
        self.connection_id = secrets.token_hex(4)
        self.keys: dict[str, None] = {}  # what it subscribed to, in that order
        self.hears: Callable[[str], bool] = lambda key: True  # what this socket carries at all
        self.combined = False  # Binance's envelope
        self.microseconds = False  # Binance's timeUnit
        self.sent = 0
        self.silent = False  # half open: nothing leaves any more, not even pongs
        self.closed = False
        self.last_traffic_at = self.last_pong_at = asyncio.get_running_loop().time()
        self.socket = web.WebSocketResponse(
            autoping=False,
            autoclose=False,
            compress=False,
            timeout=_CLOSE_TIMEOUT_S,
            max_msg_size=max_message_bytes,
        )
        self._request = request
        self._outbox: list[tuple[float, int, str]] = []
        self._order = 0
        self._latest_due = 0.0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._closing: asyncio.Task[object] | None = None

    @property
    def is_full(self) -> bool:
        return len(self._outbox) >= _ROOMY

    @property
    def waiting(self) -> int:
        return len(self._outbox)

    def push(self, text: str, delay_s: float = 0.0, *, keeps_order: bool = True) -> None:
        """Queue a message. A message that keeps order never overtakes one queued before it."""
        if self.closed or self.silent:
            return
        if len(self._outbox) >= _OVERFULL:
            self.close(_OVERFULL_CODE[self.exchange], "the client reads too slowly")
            return
        due = asyncio.get_running_loop().time() + delay_s
        if keeps_order:
            due = self._latest_due = max(due, self._latest_due)
        self._order += 1
        heapq.heappush(self._outbox, (due, self._order, text))
        self._filled.set()

    async def have_room(self) -> None:
        """Wait until the client has read what makes this connection full."""
        while self.is_full and not self.closed:
            self._emptied.clear()
            await self._emptied.wait()

    async def until_broken(self) -> None:
        """Wait for the client to give up the TCP connection."""
        transport = self._request.transport
        # A transport tells nobody that it has closed.
        while transport is not None and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def have_sent_all(self) -> None:
        """Wait until nothing is queued any more."""
        while self._outbox and not self.closed:
            self._emptied.clear()
            await self._emptied.wait()

    async def write(self) -> None:
        """Send what is due until the connection closes."""
        loop = asyncio.get_running_loop()
        while not self.closed:
            if not self._outbox:
                self._filled.clear()
                await self._filled.wait()
                continue
            wait_s = self._outbox[0][0] - loop.time()
            if wait_s > 0:
                self._filled.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._filled.wait(), wait_s)
                continue
            _, _, text = heapq.heappop(self._outbox)
            if len(self._outbox) < _ROOMY:
                self._emptied.set()
            try:
                await self.socket.send_str(text)
            except ConnectionResetError:
                return
            self.sent += 1
            self.last_traffic_at = loop.time()

    async def ping(self, payload: bytes) -> None:
        """Send a ping frame, unless the connection is silent."""
        if not self.silent and not self.closed:
            await self.socket.ping(payload)

    def fall_silent(self) -> None:
        """Stay open and say nothing more."""
        self.silent = True
        self._outbox.clear()
        self._emptied.set()

    def close(self, code: int, reason: str) -> None:
        """Close with a code, in the background."""
        if self._closing is None:
            self._closing = asyncio.create_task(self.socket.close(code=code, message=reason.encode()))

    def cut(self) -> None:
        """Break the connection without a word."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()
        self.gone()

    def cut_mid_message(self) -> None:
        """Break the connection inside a text frame."""
        transport = self._request.transport
        if transport is not None:
            # A frame of 64 bytes is announced and half of it comes. Source: RFC 6455, section 5.2.
            transport.write(b"\x81\x40" + b'{"arg":{"channel":"trades-all",'[:32])
            transport.close()
        self.gone()

    def gone(self) -> None:
        """Forget what was still to be sent."""
        self.closed = True
        self._outbox.clear()
        self._filled.set()
        self._emptied.set()


class Hub:
    """All connections of both venues. Every data message and every fault goes through here."""

    def __init__(self, board: FaultBoard, clocks: Mapping[str, Clock]) -> None:
        self.board = board
        self.clocks = clocks  # by exchange
        self.connections: dict[str, list[Connection]] = {venue: [] for venue in VENUES}
        self.connected = dict.fromkeys(VENUES, 0)  # since the start
        self.last_subscription_at: dict[str, float] = {}
        self.subscription_changed = asyncio.Event()
        self._subscribers: dict[tuple[str, str], dict[Connection, None]] = {}
        self._goodbyes: set[asyncio.Task[None]] = set()
        self.on_market_event: Callable[[Fault], None] | None = None  # None for recordings

    def subscribe(self, connection: Connection, key: str) -> None:
        connection.keys[key] = None
        if not connection.hears(key):
            return
        self._subscribers.setdefault((connection.exchange, key), {})[connection] = None
        self.last_subscription_at[connection.exchange] = asyncio.get_running_loop().time()
        self.subscription_changed.set()

    def unsubscribe(self, connection: Connection, key: str) -> None:
        connection.keys.pop(key, None)
        subscribers = self._subscribers.get((connection.exchange, key), {})
        subscribers.pop(connection, None)
        if not subscribers:
            self._subscribers.pop((connection.exchange, key), None)

    def wanted(self, exchange: str, key: str) -> bool:
        """Whether anybody listens."""
        return (exchange, key) in self._subscribers

    def keys(self, exchange: str) -> list[str]:
        """Everything anybody listens to on that exchange."""
        return [key for owner, key in self._subscribers if owner == exchange]

    def publish(self, message: Message, key: str, payload: str) -> None:
        """Hand a data message to everyone who subscribed to `key`."""
        subscribers = self._subscribers.get((message.exchange, key))
        if not subscribers:
            return
        for connection in list(subscribers):
            self.send(connection, message, key, payload)

    def send(self, connection: Connection, message: Message, key: str, payload: str) -> None:
        """Hand a data message to one connection, as the faults of the moment let it."""
        exchange = message.exchange
        position = self.connections[exchange].index(connection)
        deliveries = self.board.passes(message, position)
        for delivery in deliveries:
            text = _enveloped(connection, key, payload)
            self._deliver(connection, delivery, text)
        if deliveries:
            self.board.count_sent(exchange)
        self.advance_faults()

    def reply(self, connection: Connection, text: str) -> None:
        """Answer a request that came on the socket."""
        delay_s = self.board.added_ms("slow_acks", connection.exchange) / 1000
        connection.push(text, delay_s, keeps_order=False)

    def told_ms(self, venue: str) -> int:
        """The time a venue tells, which may be wrong."""
        return self.clocks[venue]() + self.board.added_ms("clock_skew", venue)

    async def have_room(self, exchange: str) -> None:
        """Wait until every reader of the exchange keeps up."""
        for connection in list(self.connections[exchange]):
            if connection.is_full:
                await connection.have_room()

    async def drained(self, exchange: str) -> None:
        """Wait until everything queued has left."""
        for connection in list(self.connections[exchange]):
            await connection.have_sent_all()

    def advance_faults(self) -> None:
        """Carry out the faults that are due."""
        for fault in self.board.advance(asyncio.get_running_loop().time()):
            log.info("fault_begins fault=%s exchange=%s", fault.name, fault.exchange or "both")
            for connection in self._targets(fault):
                if fault.name == "disconnect" and "code" in fault.parameters:
                    connection.close(fault.parameters["code"], "closed on purpose")
                elif fault.name == "disconnect" and fault.parameters["mid_message"]:
                    connection.cut_mid_message()
                elif fault.name == "disconnect":
                    connection.cut()
                elif fault.name == "half_open":
                    connection.fall_silent()
            if fault.name in MARKET_EVENTS and self.on_market_event is not None:
                self.on_market_event(fault)
            if fault.name == "upgrade":
                task = asyncio.create_task(self._upgrade(fault))
                self._goodbyes.add(task)
                task.add_done_callback(self._goodbyes.discard)

    async def watch_faults(self) -> None:
        """Begin and end faults by the clock, for as long as this runs."""
        while True:
            self.advance_faults()
            await asyncio.sleep(0.02)

    async def serve(
        self,
        connection: Connection,
        request: web.Request,
        on_text: Callable[[Connection, str], None],
        *guards: Callable[[Connection], Awaitable[None]],
    ) -> web.WebSocketResponse:
        """Run one WebSocket to its end; `guards` run beside it (pings, idle time)."""
        await connection.socket.prepare(request)
        self.connections[connection.exchange].append(connection)
        self.connected[connection.exchange] += 1
        if self.board.opens_dead(connection.exchange):
            connection.fall_silent()
        tasks = [asyncio.create_task(connection.write())]
        tasks += [asyncio.ensure_future(guard(connection)) for guard in guards]
        for key in list(connection.keys):
            self.subscribe(connection, key)
        try:
            async for incoming in connection.socket:
                if incoming.type is WSMsgType.TEXT:
                    on_text(connection, incoming.data)
                elif incoming.type is WSMsgType.BINARY:
                    connection.close(WSCloseCode.UNSUPPORTED_DATA, "text only")
                elif incoming.type is WSMsgType.PING and not connection.silent:
                    await connection.socket.pong(incoming.data)
                elif incoming.type is WSMsgType.PONG:
                    connection.last_pong_at = asyncio.get_running_loop().time()
            if connection.silent:
                # A dead peer does not answer a goodbye either.
                await connection.until_broken()
            else:
                await connection.socket.close()
        except ConnectionResetError:
            log.debug("connection_lost exchange=%s", connection.exchange)
        finally:
            self._forget(connection)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return connection.socket

    async def close_all(self) -> None:
        """Say goodbye to everyone, briefly."""
        everyone = [connection for group in self.connections.values() for connection in group]
        for connection in everyone:
            connection.close(WSCloseCode.GOING_AWAY, "the simulated venue stops")
        for task in list(self._goodbyes):
            task.cancel()

    def _targets(self, fault: Fault) -> list[Connection]:
        targets = []
        for exchange, group in self.connections.items():
            if fault.meets(exchange):
                targets += [found for found in group if _listens(found, fault)][: fault.connections]
        return targets

    def _deliver(self, connection: Connection, delivery: Delivery, text: str) -> None:
        if delivery.cut:
            text = text[: len(text) // 2]
        connection.push(text, delivery.delay_s, keeps_order=delivery.keeps_order)

    async def _upgrade(self, fault: Fault) -> None:
        targets = self._targets(fault)
        for connection in targets:
            notice = _upgrade_notice(connection, self.clocks[connection.exchange]())
            if notice is not None:
                connection.push(notice)
        await asyncio.sleep(fault.parameters["close_after_s"])
        for connection in targets:
            connection.close(WSCloseCode.SERVICE_RESTART, "service upgrade")

    def _forget(self, connection: Connection) -> None:
        connection.gone()
        for key in list(connection.keys):
            self.unsubscribe(connection, key)
        self.connections[connection.exchange].remove(connection)


def _listens(connection: Connection, fault: Fault) -> bool:
    """Whether a fault that names a channel or a symbol concerns this connection at all."""
    if fault.channel is None and fault.symbol is None:
        return True
    for key in connection.keys:
        channel, symbol = parts_of_key(connection.exchange, key)
        if connection.exchange == USDM:
            symbol = f"{symbol}-PERP"
        if fault.channel in (None, channel) and (
            fault.symbol is None or _joined(fault.symbol) == _joined(symbol)
        ):
            return True
    return False


def _joined(symbol: str) -> str:
    return symbol.upper().replace("-PERP", "-SWAP").replace("-", "")


def _enveloped(connection: Connection, key: str, payload: str) -> str:
    if connection.exchange == OKX:
        return payload
    if connection.microseconds:
        payload = _MILLISECONDS.sub(r'"\1":\g<2>000', payload)
    return f'{{"stream":"{key}","data":{payload}}}' if connection.combined else payload


def _upgrade_notice(connection: Connection, now_ms: int) -> str | None:
    if connection.exchange == BINANCE:
        payload = f'{{"e":"serverShutdown","E":{now_ms}}}'
        return f'{{"stream":"!serverShutdown","data":{payload}}}' if connection.combined else payload
    # Nobody has seen Binance's futures announce it.
    if connection.exchange == USDM or connection.path.endswith("/business"):
        return None
    return (
        '{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. '
        f'Please reconnect.","connId":"{connection.connection_id}"}}'
    )
