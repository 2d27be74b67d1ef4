"""Streams against a venue of a few lines that does exactly what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from data.collectors.stream_set import StreamSet
from data.collectors.tuning import CollectorTuning
from data.collectors.venue_stream import VenueStream
from data.exchanges.base import Channel, TradesMessage, VenueMessage
from data.exchanges.binance import BinanceAdapter
from data.exchanges.waiting_trades import WaitingTrades
from data.models import Instrument, InstrumentKind

pytestmark = pytest.mark.integration

SYMBOLS = ("A-USDT", "B-USDT", "C-USDT")
HURRIED = CollectorTuning(
    backoff_first_s=0.05, backoff_longest_s=0.1, ack_timeout_s=0.6, resubscribe_s=0.7, handover_s=0.3
)


class ScriptedVenue:
    """Acknowledges all but `refuses`, and sends a trade of each subscribed stream all the time."""

    def __init__(self) -> None:
        self.url = ""
        self.refuses: set[str] = set()
        self.turns_away = 0  # handshakes that are answered with 429
        self.asked: list[tuple[int, str, tuple[str, ...]]] = []  # connection, method, topics
        self.connected_at: list[float] = []
        self.open: set[int] = set()
        self.sockets: dict[int, ServerConnection] = {}
        self._trade_id = 0

    def answer_handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        self.connected_at.append(asyncio.get_running_loop().time())
        if self.turns_away:
            self.turns_away -= 1
            response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "slower")
            response.headers["Retry-After"] = "1"
            return response
        return None

    async def talk(self, socket: ServerConnection) -> None:
        number = len(self.connected_at)
        self.open.add(number)
        self.sockets[number] = socket
        topics: set[str] = set()
        feeding = asyncio.create_task(self._feed(socket, topics))
        try:
            async for text in socket:
                request = json.loads(text)
                named = tuple(request["params"])
                self.asked.append((number, request["method"], named))
                if request["method"] == "UNSUBSCRIBE":
                    topics.difference_update(named)
                elif self.refuses & set(named) and len(named) == 1:
                    await socket.send(
                        json.dumps({"error": {"code": 2, "msg": "unknown"}, "id": request["id"]})
                    )
                    continue
                elif self.refuses & set(named):
                    continue
                else:
                    topics.update(named)
                await socket.send(json.dumps({"result": None, "id": request["id"]}))
        finally:
            self.open.discard(number)
            feeding.cancel()

    async def _feed(self, socket: ServerConnection, topics: set[str]) -> None:
        while True:
            await asyncio.sleep(0.02)
            for topic in sorted(topics):
                self._trade_id += 1
                event = {"e": "trade", "E": 1, "s": topic.partition("@")[0].upper(), "t": self._trade_id}
                event |= {"p": "1.0", "q": "1.0", "T": 1, "m": True}
                try:
                    await socket.send(json.dumps({"stream": topic, "data": event}))
                except ConnectionClosed:
                    return


class Owner:
    """Satisfies `StreamOwner` and remembers what it was told."""

    def __init__(self) -> None:
        self.trades: dict[str, int] = {}
        self.lost: list[tuple[str, float]] = []
        self.connected = 0

    def on_trades(self, stream: VenueStream, parsed: TradesMessage, message: bytes) -> None:
        for trade in parsed.trades:
            self.trades[trade.symbol] = self.trades.get(trade.symbol, 0) + 1

    def on_waiting(self, stream: VenueStream, waiting: WaitingTrades) -> None:
        for symbol, trades in waiting.by_symbol.items():
            self.trades[symbol] = self.trades.get(symbol, 0) + len(trades)

    def on_channel(self, parsed: VenueMessage) -> None: ...

    def on_malformed(self, message: str) -> None:
        raise AssertionError(message)

    def on_connected(self, stream: VenueStream) -> None:
        self.connected += 1

    def on_lost(self, stream: VenueStream, why: str, retry_in_s: float) -> None:
        self.lost.append((why, retry_in_s))

    async def may_connect(self) -> None: ...


def adapter(**limits: float | int | None) -> BinanceAdapter:
    made = BinanceAdapter()
    made.limits = replace(made.limits, **{"requests_per_s": 50.0, "connects_per_s": 50.0, **limits})  # type: ignore[arg-type]
    made.use(
        Instrument(
            exchange="binance",
            symbol=symbol,
            venue_symbol=symbol.replace("-", ""),
            kind=InstrumentKind.SPOT,
            base=symbol[0],
            quote="USDT",
            tick_size=Decimal(1),
            lot_size=Decimal(1),
            min_quantity=Decimal(1),
            min_notional=Decimal(0),
        )
        for symbol in SYMBOLS
    )
    return made


@asynccontextmanager
async def venue_of(venue: ScriptedVenue) -> AsyncIterator[ScriptedVenue]:
    async with serve(venue.talk, "127.0.0.1", 0, process_request=venue.answer_handshake) as server:
        venue.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield venue


@asynccontextmanager
async def streaming(
    made: BinanceAdapter, venue: ScriptedVenue, symbols: Iterable[str], owner: Owner
) -> AsyncIterator[StreamSet]:
    tasks: list[asyncio.Task[None]] = []
    streams = StreamSet(
        made,
        venue.url,
        owner,
        HURRIED,
        lambda: 0,
        on_new=lambda stream: tasks.append(asyncio.create_task(stream.run())),
    )
    streams.add((symbol, Channel.TRADES) for symbol in symbols)
    try:
        yield streams
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(holds: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.02)


async def test_where_an_end_is_not_announced_the_word_to_another_connection_counts() -> None:
    owner, made = Owner(), adapter()
    made.unannounced = frozenset({made.endpoint_of(Channel.TRADES)})
    async with (
        venue_of(ScriptedVenue()) as venue,
        streaming(made, venue, SYMBOLS[:1], owner) as streams,
    ):
        await until(lambda: owner.connected == 1)
        streams.add([("A-USDT", Channel.QUOTES)])
        await until(lambda: owner.connected == 2)
        trades, quotes = streams.streams
        (number,) = {number for number, _, topics in venue.asked if "ausdt@bookTicker" in topics}
        await venue.sockets[number].send('{"e": "serverShutdown", "E": 1}')
        await until(lambda: trades.connections == quotes.connections == 2)
        await asyncio.sleep(0.2)
    assert (trades.connections, quotes.connections, owner.lost) == (2, 2, [])


async def test_an_old_connection_is_closed_after_its_successor_brings_everything() -> None:
    owner = Owner()
    async with (
        venue_of(ScriptedVenue()) as venue,
        streaming(adapter(connection_life_s=0.5), venue, SYMBOLS[:2], owner) as streams,
    ):
        (stream,) = streams.streams
        overlapped = False
        async with asyncio.timeout(60):
            while stream.connections < 2 or 1 in venue.open:
                overlapped = overlapped or {1, 2} <= venue.open
                assert stream.live or not owner.connected
                await asyncio.sleep(0.01)
        assert overlapped
        assert owner.lost == []
        assert venue.asked[1][1:] == ("SUBSCRIBE", ("ausdt@trade", "busdt@trade"))


async def test_topics_come_and_go_on_a_running_connection() -> None:
    owner = Owner()
    async with (
        venue_of(ScriptedVenue()) as venue,
        streaming(adapter(), venue, SYMBOLS[:1], owner) as streams,
    ):
        await until(lambda: owner.trades.get("A-USDT"))
        streams.add([("B-USDT", Channel.TRADES)])
        await until(lambda: owner.trades.get("B-USDT"))
        (stream,) = streams.streams
        assert stream.hears("B-USDT")
        assert streams.drop([("A-USDT", Channel.TRADES)]) == []
        await until(lambda: (1, "UNSUBSCRIBE", ("ausdt@trade",)) in venue.asked)
        assert streams.drop([("B-USDT", Channel.TRADES)]) == [stream]
        assert len(venue.connected_at) == 1
        assert owner.lost == []


async def test_a_refused_topic_is_asked_for_alone_and_the_others_are_live() -> None:
    owner = Owner()
    venue = ScriptedVenue()
    venue.refuses = {"busdt@trade"}
    made = adapter(topics_per_request=1)
    async with venue_of(venue), streaming(made, venue, SYMBOLS, owner) as streams:
        await until(lambda: owner.connected)
        (stream,) = streams.streams
        assert stream.hears("A-USDT")
        assert not stream.hears("B-USDT")
        assert stream.refusals == {"busdt@trade": "2 unknown"}
        venue.refuses = set()
        await until(lambda: owner.trades.get("B-USDT"))
        await until(lambda: not stream.refusals)
        assert stream.hears("B-USDT")
        assert len(venue.connected_at) == 1
        assert owner.lost == []


async def test_the_streams_of_a_process_share_one_pace_of_connections_and_its_size() -> None:
    owner = Owner()
    made = adapter(topics_per_connection=1, connects_per_s=2.0)
    async with venue_of(ScriptedVenue()) as venue, streaming(made, venue, SYMBOLS, owner) as streams:
        assert len(streams.streams) == 3
        await until(lambda: owner.connected == 3)
        assert venue.connected_at[2] - venue.connected_at[0] > 0.4


async def test_a_venue_that_turns_us_away_is_left_alone_as_long_as_it_says() -> None:
    owner = Owner()
    venue = ScriptedVenue()
    venue.turns_away = 1
    async with venue_of(venue), streaming(adapter(), venue, SYMBOLS[:1], owner):
        await until(lambda: owner.connected)
        assert venue.connected_at[1] - venue.connected_at[0] >= 1.0
        ((why, retry_in_s),) = owner.lost
        assert "429" in why
        assert retry_in_s >= 1.0
