"""OKX v5's public side: `/ws/v5/{public,business,private}` and `/api/v5`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from simulator.columns import TradeColumns, Width
from simulator.connections import Connection, Hub
from simulator.faults import Message
from simulator.instruments import OKX
from simulator.limits import OKX_REST_LIMITS, OKX_REST_WINDOW_S, SlidingWindow
from simulator.markets import Market, MarketList, MarketStatus, aggregates_of, newest, page_down
from simulator.okx_messages import (
    BARS,
    BUSINESS_CHANNELS,
    PUBLIC_CHANNELS,
    RECORDED_CHANNELS,
    book_row,
    candle_rows,
    envelope,
    failure,
    instrument_row,
    no_book_row,
    push,
    ticker_row,
    trade_rows,
    trades_all_pushes,
    trades_push,
)
from simulator.okx_perpetuals import (
    FUNDING_CHANNEL,
    MARK_CHANNEL,
    funding_history_rows,
    funding_row,
    has_channel,
    mark_row,
)
from simulator.subscription_keys import okx_key

_CONNECTS_PER_S = 3
_REQUESTS_PER_HOUR = 480
_MAX_REQUEST_BYTES = 64 * 1024
_LATEST_BARS = 1440
_MAX_BARS, _DEFAULT_BARS = 300, 100
_FUNDING_EVERY_MS = 30_000
_FUNDING_PAGE = 100
_STATES = {MarketStatus.LIVE: "live", MarketStatus.HALTED: "suspend"}
_INSTRUMENT_TYPES = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")


class _Refused(Exception):
    """A REST request that gets an error envelope."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


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
        self._rest: dict[tuple[str, str], SlidingWindow] = {}
        self._pushed_candle: dict[str, int] = {}  # key: open of the candle pushed last
        self._pushed_quote: dict[str, int] = {}  # key: id of the trade pushed last

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ws/v5/{socket:public|business|private}", self._open),
            web.get("/api/v5/public/time", self._rest_handler(self._time)),
            web.get("/api/v5/public/instruments", self._rest_handler(self._instruments)),
            web.get("/api/v5/public/funding-rate", self._rest_handler(self._funding_rate)),
            web.get("/api/v5/public/funding-rate-history", self._rest_handler(self._funding_history)),
            web.get("/api/v5/public/mark-price", self._rest_handler(self._mark_price)),
            web.get("/api/v5/market/ticker", self._rest_handler(self._ticker)),
            web.get("/api/v5/market/tickers", self._rest_handler(self._tickers)),
            web.get("/api/v5/market/trades", self._rest_handler(self._trades)),
            web.get("/api/v5/market/history-trades", self._rest_handler(self._history_trades)),
            web.get("/api/v5/market/candles", self._rest_handler(self._candles)),
            web.get("/api/v5/market/history-candles", self._rest_handler(self._history_candles)),
            web.get("/api/v5/market/books", self._rest_handler(self._books)),
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
        text = f'{{"arg":{{"channel":"instruments","instType":"{kind}"}},"data":[{_json(_row_of(market))}]}}'
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
            return await self._ticker_row(market, now)
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
            rows = self._instrument_rows(str(name))
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
            found = name in _INSTRUMENT_TYPES
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

    # REST.

    def _rest_handler(self, answer: Any) -> Any:
        async def handle(request: web.Request) -> web.Response:
            limit = OKX_REST_LIMITS[request.path]
            place = (request.path, request.remote or "")
            window = self._rest.setdefault(place, SlidingWindow(limit, OKX_REST_WINDOW_S))
            if self._limited and not window.take(_now()):
                return web.json_response(failure("50011", "Too Many Requests"), status=429)
            try:
                data = await answer(request.query)
            except _Refused as error:
                return web.json_response(failure(error.code, error.message), status=error.status)
            return web.Response(body=_json(envelope(data)).encode(), content_type="application/json")

        return handle

    async def _time(self, query: Mapping[str, str]) -> list[Any]:
        return [{"ts": str(self._hub.told_ms(OKX))}]

    async def _instruments(self, query: Mapping[str, str]) -> list[Any]:
        kind = _given(query, "instType")
        if kind not in _INSTRUMENT_TYPES:
            raise _Refused(400, "51000", "Parameter instType error")
        rows = self._instrument_rows(kind)
        wanted = query.get("instId")
        if wanted:
            rows = [row for row in rows if row["instId"] == wanted]
            if not rows:
                raise _Refused(200, "51001", "Instrument ID doesn't exist")
        return rows

    async def _funding_rate(self, query: Mapping[str, str]) -> list[Any]:
        return [funding_row(self._perpetual(query), self._clock())]

    async def _funding_history(self, query: Mapping[str, str]) -> list[Any]:
        market, now = self._perpetual(query), self._clock()
        after, before = _number(query, "after"), _number(query, "before")
        rows = funding_history_rows(
            market,
            before_ms=now + 1 if after is None else after,
            now_ms=now,
            count=_limit(query, _FUNDING_PAGE, _FUNDING_PAGE),
        )
        return [row for row in rows if before is None or int(row["fundingTime"]) > before]

    async def _mark_price(self, query: Mapping[str, str]) -> list[Any]:
        kind = _given(query, "instType")
        markets = [self._market(query)] if query.get("instId") else self._markets.of(OKX)
        rows = [
            mark_row(market, self._clock())
            for market in markets
            if market.synthetic is not None
            and market.instrument.kind == kind
            and has_channel(market.instrument, MARK_CHANNEL)
        ]
        return [row for row in rows if row]

    async def _ticker(self, query: Mapping[str, str]) -> list[Any]:
        row = await self._ticker_row(self._market(query), self._clock())
        return [row] if row else []

    async def _tickers(self, query: Mapping[str, str]) -> list[Any]:
        kind = _given(query, "instType")
        rows = [
            await self._ticker_row(market, self._clock())
            for market in self._markets.of(OKX)
            if market.instrument.kind == kind
        ]
        return [row for row in rows if row]

    async def _trades(self, query: Mapping[str, str]) -> list[Any]:
        market = self._market(query)
        return self._newest_first(market, newest(market.tape, _limit(query, 100, 500), self._absent(market)))

    async def _history_trades(self, query: Mapping[str, str]) -> list[Any]:
        market = self._market(query)
        limit = _limit(query, 100, 100)
        after, before = _number(query, "after"), _number(query, "before")
        by_time = query.get("type", "1") or "1"
        if by_time not in ("1", "2"):
            raise _Refused(400, "51000", "Parameter type error")
        if by_time == "2":
            if before is not None:
                raise _Refused(200, "50039", "Parameter before is not supported by timestamp pagination")
            after = None if after is None else market.tape.first_id_at(after)
        parts = (
            newest(market.tape, limit, self._absent(market))
            if after is None
            else page_down(market.tape, after - 1, limit, self._absent(market))
        )
        if before is not None:
            # Newer than X, and of those the newest: not the ones next to X.
            parts = [part.where(part.ids > before) for part in parts]
        return self._newest_first(market, parts)

    async def _candles(self, query: Mapping[str, str]) -> list[Any]:
        width = self._width(query)
        oldest = width.floor(self._clock()) - (_LATEST_BARS - 1) * width.ms
        return await self._candle_page(query, width, oldest, forming=True)

    async def _history_candles(self, query: Mapping[str, str]) -> list[Any]:
        return await self._candle_page(query, self._width(query), 0, forming=False)

    async def _books(self, query: Mapping[str, str]) -> list[Any]:
        market = self._market(query)
        depth = _number(query, "sz") or 1
        book = market.book(min(depth, 400))
        return [book_row(market.instrument, book, depth) if book else no_book_row(self._clock())]

    async def _candle_page(
        self, query: Mapping[str, str], width: Width, oldest_ms: int, *, forming: bool
    ) -> list[Any]:
        market = self._market(query)
        limit = _limit(query, _DEFAULT_BARS, _MAX_BARS)
        after, before = _number(query, "after"), _number(query, "before")
        now = self._clock()
        newest_ms = width.floor(now) if forming else width.floor(now) - width.ms
        end_ms = newest_ms if after is None else min(after - 1, newest_ms)
        candles = await market.candle_page(width, start_ms=None, end_ms=end_ms, limit=limit)
        candles = candles.between(oldest_ms if before is None else max(before + 1, oldest_ms), end_ms + 1)
        rows: list[Any] = list(candle_rows(market.instrument, candles, width, now))
        return rows[::-1]

    def _newest_first(self, market: Market, parts: list[TradeColumns]) -> list[Any]:
        return [row for part in parts for row in trade_rows(market.instrument, part)[::-1]]

    async def _ticker_row(self, market: Market, now: int) -> dict[str, str] | None:
        stats = await market.day_stats(now)
        bounds = market.tape.bounds()
        if stats is None or bounds is None:
            return None
        last = market.tape.trades(bounds[1], bounds[1])
        return ticker_row(market.instrument, last, stats, market.book(1), now)

    def _instrument_rows(self, kind: str) -> list[Mapping[str, Any]]:
        return [
            _row_of(market)
            for market in self._markets.of(OKX)
            if market.instrument.kind == kind and market.status is not MarketStatus.DELISTED
        ]

    def _absent(self, market: Market) -> list[tuple[int, int]]:
        instrument = market.instrument
        board = self._hub.board
        absent = board.absent(OKX, instrument.symbol, instrument.venue_symbol)
        return market.unknown_to_rest(self._clock(), board.added_ms("rest_lag", OKX), absent)

    def _perpetual(self, query: Mapping[str, str]) -> Market:
        market = self._market(query)
        if market.synthetic is None or not has_channel(market.instrument, FUNDING_CHANNEL):
            raise _Refused(200, "51001", "Instrument ID doesn't exist")
        return market

    def _market(self, query: Mapping[str, str]) -> Market:
        market = self._markets.listed(OKX, _given(query, "instId"))
        if market is None:
            raise _Refused(200, "51001", "Instrument ID doesn't exist")
        return market

    def _width(self, query: Mapping[str, str]) -> Width:
        width = BARS.get(query.get("bar") or "1m")
        if width is None:
            raise _Refused(400, "51000", "Parameter bar error")
        return width


def _row_of(market: Market) -> Mapping[str, Any]:
    listed_at_ms = market.synthetic.listed_at_ms if market.synthetic else 0
    # One that ends is told as "suspend" once, and is gone from the list.
    return instrument_row(market.instrument, listed_at_ms, _STATES.get(market.status, "suspend"))


def _given(query: Mapping[str, str], name: str) -> str:
    value = query.get(name)
    if not value:
        raise _Refused(400, "50014", f"Parameter {name} can not be empty")
    return value


def _number(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name)
    if not value:
        return None
    if not (value.isascii() and value.isdigit()):
        raise _Refused(400, "51000", f"Parameter {name} error")
    return int(value)


def _limit(query: Mapping[str, str], default: int, most: int) -> int:
    limit = _number(query, "limit")
    if limit == 0:
        raise _Refused(400, "51000", "Parameter limit error")
    return min(default if limit is None else limit, most)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> float:
    return asyncio.get_running_loop().time()
