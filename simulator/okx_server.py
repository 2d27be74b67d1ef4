"""OKX v5's public side: `/ws/v5/{public,business,private}` and `/api/v5`."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from simulator.columns import TradeColumns, Width
from simulator.connections import Connection, Hub
from simulator.faults import Message
from simulator.instruments import OKX
from simulator.limits import SlidingWindow
from simulator.markets import Market, MarketList, aggregates_of
from simulator.okx_messages import (
    BARS,
    BUSINESS_CHANNELS,
    PUBLIC_CHANNELS,
    RECORDED_CHANNELS,
    book_row,
    candle_rows,
    failure,
    push,
    trades_all_pushes,
    trades_push,
)
from simulator.okx_perpetuals import (
    FUNDING_CHANNEL,
    MARK_CHANNEL,
    funding_row,
    has_channel,
    mark_row,
)
from simulator.okx_rest import INSTRUMENT_TYPES, OkxRest, listed_row
from simulator.subscription_keys import okx_key

_CONNECTS_PER_S = 3
_REQUESTS_PER_HOUR = 480
_MAX_REQUEST_BYTES = 64 * 1024


_FUNDING_EVERY_MS = 30_000


class OkxServer:
    """Speaks OKX; markets, subscribers and faults belong to the others."""

    def __init__(self, markets: MarketList, hub: Hub, *, idle_s: float, limited: bool) -> None:
        self._markets = markets
        self._hub = hub
        self._clock = hub.clocks[OKX]
        self._idle_s = idle_s
        self._limited = limited
        self._connects: dict[str, SlidingWindow] = {}
        self._requests: dict[Connection, SlidingWindow] = {}
        self._rest = OkxRest(markets, hub, limited=limited)
        self._pushed_candle: dict[str, int] = {}  # key: open of the candle pushed last
        self._pushed_quote: dict[str, int] = {}  # key: id of the trade pushed last

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ws/v5/{socket:public|business|private}", self._open),
            *self._rest.routes(),
        ]

    # What a live market pushes.

    def wants_trades(self, market: Market) -> bool:
        """Whether anybody listens to the market's trades."""
        name = market.instrument.venue_symbol
        return self._hub.wanted(OKX, okx_key("trades-all", name)) or self._hub.wanted(
            OKX, okx_key("trades", name)
        )

    def push_trades(self, market: Market, trades: TradeColumns) -> None:
        """Push new trades, singly and by taker order and price."""
        instrument = market.instrument
        singles = okx_key("trades-all", instrument.venue_symbol)
        if self._hub.wanted(OKX, singles):
            for trade_id, text in trades_all_pushes(instrument, trades):
                message = self._message(market, "trades-all", trade_id, trade_id)
                self._hub.publish(message, singles, text)
        grouped = okx_key("trades", instrument.venue_symbol)
        if self._hub.wanted(OKX, grouped):
            for aggregate in aggregates_of(trades):
                message = self._message(market, "trades", aggregate.first_id, aggregate.last_id)
                self._hub.publish(message, grouped, trades_push(instrument, aggregate))

    async def push_quotes(self, market: Market) -> None:
        """Push tickers and small books where the market has moved; called ten times a second."""
        instrument = market.instrument
        for channel in ("tickers", "bbo-tbt", "books5"):
            key = okx_key(channel, instrument.venue_symbol)
            if not self._hub.wanted(OKX, key):
                continue
            bounds = market.tape.bounds()
            if bounds is None or self._pushed_quote.get(key) == bounds[1]:
                continue
            self._pushed_quote[key] = bounds[1]
            row = await self._quote(market, channel)
            if row is not None:
                self._publish_row(market, channel, row)

    async def push_candles(self, market: Market) -> None:
        """Push forming candles and the final ones of intervals that have closed; called every second."""
        self._push_perpetual(market)
        name = market.instrument.venue_symbol
        for bar, width in BARS.items():
            key = okx_key(f"candle{bar}", name)
            if self._hub.wanted(OKX, key):
                await self._push_candle(market, bar, width, key)
            else:
                self._pushed_candle.pop(key, None)

    def _push_perpetual(self, market: Market) -> None:
        """Push the mark price every second, the funding rate to new subscribers and twice a minute."""
        name, now = market.instrument.venue_symbol, self._clock()
        if self._hub.wanted(OKX, okx_key(MARK_CHANNEL, name)):
            row = mark_row(market, now)
            if row is not None:
                self._publish_row(market, MARK_CHANNEL, row)
        key = okx_key(FUNDING_CHANNEL, name)
        if self._hub.wanted(OKX, key) and self._pushed_quote.get(key) != now // _FUNDING_EVERY_MS:
            self._pushed_quote[key] = now // _FUNDING_EVERY_MS
            self._publish_row(market, FUNDING_CHANNEL, funding_row(market, now))

    def push_instrument(self, market: Market) -> None:
        """Tell who listens to its kind of instruments that this one has changed."""
        kind = market.instrument.kind
        key = okx_key("instruments", kind)
        text = (
            f'{{"arg":{{"channel":"instruments","instType":"{kind}"}},"data":[{_json(listed_row(market))}]}}'
        )
        self._hub.publish(self._message(market, "instruments"), key, text)

    def subscribed_late(self, key: str) -> None:
        """Let a new subscriber have the present state with the next push."""
        self._pushed_quote.pop(key, None)

    async def _push_candle(self, market: Market, bar: str, width: Width, key: str) -> None:
        now = self._clock()
        current = width.floor(now)
        candles = await market.dense_candles(width, self._pushed_candle.get(key, current), current + 1)
        for row in candle_rows(market.instrument, candles, width, now):
            self._publish_row(market, f"candle{bar}", row)
        self._pushed_candle[key] = current

    async def _quote(self, market: Market, channel: str) -> dict[str, Any] | None:
        now = self._clock()
        instrument, book = market.instrument, market.book(5)
        if channel == "tickers":
            return await self._rest.ticker_row(market, now)
        if book is None:
            return None
        row = book_row(instrument, book, 1 if channel == "bbo-tbt" else 5)
        row["seqId"] = book.update_id
        if channel == "books5":
            row["instId"] = instrument.venue_symbol
        return row

    def _publish_row(self, market: Market, channel: str, row: object) -> None:
        name = market.instrument.venue_symbol
        text = push(channel, name, msgspec.json.encode(row).decode())
        self._hub.publish(self._message(market, channel), okx_key(channel, name), text)

    def _message(self, market: Market, channel: str, first_id: int = 0, last_id: int = 0) -> Message:
        instrument = market.instrument
        return Message(OKX, instrument.symbol, instrument.venue_symbol, channel, first_id, last_id)

    # WebSocket.

    async def _open(self, request: web.Request) -> web.StreamResponse:
        address = request.remote or ""
        connects = self._connects.setdefault(address, SlidingWindow(_CONNECTS_PER_S, 1.0))
        if not connects.take(_now()) and self._limited:
            return web.json_response(failure("50011", "Too Many Requests"), status=429)
        connection = Connection(request, OKX, request.path, max_message_bytes=_MAX_REQUEST_BYTES)
        self._requests[connection] = SlidingWindow(_REQUESTS_PER_HOUR, 3600.0)
        try:
            return await self._hub.serve(connection, request, self._on_text, self._watch_idle)
        finally:
            del self._requests[connection]

    async def _watch_idle(self, connection: Connection) -> None:
        while not connection.closed:
            idle_s = _now() - connection.last_traffic_at
            if idle_s >= self._idle_s:
                if not connection.silent:
                    connection.close(4004, "No data received in 30s")
                return
            await asyncio.sleep(self._idle_s - idle_s)

    def _on_text(self, connection: Connection, text: str) -> None:
        if text == "ping":
            connection.last_traffic_at = _now()
            self._hub.reply(connection, "pong")
            return
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            request = None
        if not isinstance(request, dict):
            self._error(connection, None, "60012", f"Invalid request: {text}")
            return
        request_id = request.get("id")
        if request_id is not None and not (
            isinstance(request_id, str) and request_id.isalnum() and len(request_id) <= 32
        ):
            self._error(connection, None, "60012", f"Invalid request: {text}")
            return
        if self._limited and not self._requests[connection].take(_now()):
            self._error(connection, request_id, "60014", "Requests too frequent")
            return
        operation = request.get("op")
        if operation == "login":
            self._error(connection, request_id, "60009", "Login failed.")
        elif operation not in ("subscribe", "unsubscribe"):
            code = "60012" if operation is None else "60019"
            self._error(connection, request_id, code, f"Invalid request: {text}")
        elif not isinstance(request.get("args"), list) or not request["args"]:
            self._error(connection, request_id, "60012", f"Invalid request: {text}")
        else:
            for arg in request["args"]:
                self._change(connection, request_id, operation, arg, text)

    def _change(
        self, connection: Connection, request_id: str | None, operation: str, arg: object, text: str
    ) -> None:
        channel = arg.get("channel") if isinstance(arg, dict) else None
        if not isinstance(arg, dict) or not isinstance(channel, str):
            self._error(connection, request_id, "60013", f"Invalid args: {text}")
            return
        name = arg.get("instType") if channel == "instruments" else arg.get("instId")
        problem = self._problem(connection, channel, name)
        if problem is not None:
            self._error(connection, request_id, *problem)
            return
        acknowledgement = {"event": operation, "arg": arg, "connId": connection.connection_id}
        if request_id is not None:
            acknowledgement = {"id": request_id, **acknowledgement}
        self._hub.reply(connection, msgspec.json.encode(acknowledgement).decode())
        key = okx_key(channel, str(name))
        if operation == "unsubscribe":
            self._hub.unsubscribe(connection, key)
            return
        self._hub.subscribe(connection, key)
        self.subscribed_late(key)
        if channel == "instruments":
            rows = self._rest.instrument_rows(str(name))
            text = f'{{"arg":{{"channel":"instruments","instType":"{name}"}},"data":{_json(rows)}}}'
            self._hub.send(connection, Message(OKX, "", "", channel), key, text)

    def _problem(self, connection: Connection, channel: str, name: object) -> tuple[str, str] | None:
        socket = connection.path.rpartition("/")[2]
        if channel in BUSINESS_CHANNELS and socket != "business":
            moved = (
                "This channel has been migrated to the '/business' URL. Please subscribe using the new URL."
            )
            return "64001" if socket == "public" else "60008", moved
        if channel in PUBLIC_CHANNELS | RECORDED_CHANNELS and socket == "business":
            return "64002", (
                "This channel is not supported by '/business' URL. Please use '/private' URL (for private "
                "channels) or '/public' URL (for public channels)."
            )
        if channel in PUBLIC_CHANNELS | RECORDED_CHANNELS and socket == "private":
            return (
                "60008",
                f"The current WebSocket endpoint does not support subscribing to {channel} channels",
            )
        known = channel in PUBLIC_CHANNELS | BUSINESS_CHANNELS | RECORDED_CHANNELS
        if not known and socket == "private":
            return "60011", "Please log in"
        if channel == "instruments":
            found = name in INSTRUMENT_TYPES
        else:
            market = self._markets.listed(OKX, name) if isinstance(name, str) else None
            found = market is not None and has_channel(market.instrument, channel)
        if not known or not found:
            return "60018", (
                f"Wrong URL or channel:{channel},instId:{name} doesn't exist. Please use the correct URL, "
                "channel and parameters referring to API document."
            )
        return None

    def _error(self, connection: Connection, request_id: str | None, code: str, message: str) -> None:
        reply = {"event": "error", "code": code, "msg": message, "connId": connection.connection_id}
        if request_id is not None:
            reply = {"id": request_id, **reply}
        self._hub.reply(connection, msgspec.json.encode(reply).decode())


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> float:
    return asyncio.get_running_loop().time()
