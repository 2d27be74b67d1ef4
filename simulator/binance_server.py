"""Binance Spot's public side: `/ws`, `/stream` and `/api/v3`."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import WSCloseCode, web

from simulator.binance_messages import (
    INTERVALS,
    aggregate_payload,
    aggregate_row,
    book_ticker,
    book_ticker_payload,
    day_ticker,
    depth_body,
    exchange_info,
    kline_rows,
    klines,
    mini_ticker_payload,
    symbol_row,
    trade_payloads,
    trade_rows,
)
from simulator.columns import TradeColumns, Width
from simulator.connections import Connection, Hub
from simulator.faults import Message
from simulator.instruments import BINANCE
from simulator.limits import BINANCE_WEIGHT_LIMIT, SlidingWindow, WeightBudget
from simulator.markets import Market, MarketList, aggregates_of, newest, page_up

_MESSAGES_PER_S = 5
_CONNECTS, _CONNECTS_WINDOW_S = 300, 300.0
_MAX_STREAMS = 1024
_MAX_AGE_S = 24 * 3600.0
_PONG_WITHIN_S = 60.0
_MAX_REQUEST_BYTES = 4 * 1024 * 1024
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_MILLISECOND_FIELDS = re.compile(
    r'("(?:serverTime|time|T|openTime|closeTime)":|(?<=\[)|(?<=",))(\d{13})(?=[,}\]])'
)


class _Refused(Exception):
    """A REST request that gets an error body."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class BinanceServer:
    """Speaks Binance Spot; markets, subscribers and faults belong to the others."""

    def __init__(self, markets: MarketList, hub: Hub, *, ping_every_s: float, limited: bool) -> None:
        self._markets = markets
        self._hub = hub
        self._clock = hub.clocks[BINANCE]
        self._ping_every_s = ping_every_s
        self._limited = limited
        self._connects: dict[str, SlidingWindow] = {}
        self._incoming: dict[Connection, SlidingWindow] = {}
        self._budgets: dict[str, WeightBudget] = {}
        self._pushed_kline: dict[str, int] = {}  # stream: open of the candle pushed last
        self._pushed_quote: dict[str, int] = {}  # stream: id of the trade pushed last

    def routes(self) -> list[web.RouteDef]:
        answers = {
            "ping": (self._ping, 1),
            "time": (self._time, 1),
            "exchangeInfo": (self._exchange_info, 20),
            "trades": (self._trades, 25),
            "historicalTrades": (self._historical_trades, 25),
            "aggTrades": (self._agg_trades, 4),
            "klines": (self._klines, 2),
            "depth": (self._depth, 5),
            "ticker/price": (self._ticker_price, 2),
            "ticker/bookTicker": (self._ticker_book, 2),
            "ticker/24hr": (self._ticker_day, 2),
        }
        return [
            web.get("/ws", self._open),
            web.get("/ws/{streams:.+}", self._open),
            web.get("/stream", self._open),
            *(
                web.get(f"/api/v3/{path}", self._rest_handler(answer, weight))
                for path, (answer, weight) in answers.items()
            ),
        ]

    # What a live market pushes.

    def wants_trades(self, market: Market) -> bool:
        """Whether anybody listens to the market's trades."""
        name = market.instrument.venue_symbol.lower()
        return self._hub.wanted(BINANCE, f"{name}@trade") or self._hub.wanted(BINANCE, f"{name}@aggTrade")

    def push_trades(self, market: Market, trades: TradeColumns) -> None:
        """Push new trades, singly and aggregated."""
        instrument, now = market.instrument, self._clock()
        singles = f"{instrument.venue_symbol.lower()}@trade"
        if self._hub.wanted(BINANCE, singles):
            for trade_id, payload in trade_payloads(instrument, trades, now):
                self._hub.publish(self._message(market, "trade", trade_id, trade_id), singles, payload)
        grouped = f"{instrument.venue_symbol.lower()}@aggTrade"
        if self._hub.wanted(BINANCE, grouped):
            for aggregate in aggregates_of(trades):
                message = self._message(market, "aggTrade", aggregate.first_id, aggregate.last_id)
                self._hub.publish(message, grouped, aggregate_payload(instrument, aggregate, now))

    async def push_quotes(self, market: Market) -> None:
        """Push best prices and small books where the market has moved; called ten times a second."""
        name = market.instrument.venue_symbol.lower()
        for channel, depth in _QUOTE_CHANNELS.items():
            stream = f"{name}@{channel}"
            if not self._hub.wanted(BINANCE, stream):
                continue
            bounds, book = market.tape.bounds(), market.book(max(depth, 1))
            if bounds is None or book is None or self._pushed_quote.get(stream) == bounds[1]:
                continue
            self._pushed_quote[stream] = bounds[1]
            payload = (
                depth_body(market.instrument, book, depth)
                if depth
                else book_ticker_payload(market.instrument, book)
            )
            self._hub.publish(self._message(market, channel), stream, _json(payload))

    async def push_candles(self, market: Market) -> None:
        """Push forming candles, closed ones and mini tickers; called every second."""
        name, now = market.instrument.venue_symbol.lower(), self._clock()
        for interval, width in INTERVALS.items():
            stream = f"{name}@kline_{interval}"
            if self._hub.wanted(BINANCE, stream):
                await self._push_kline(market, interval, width, stream)
            else:
                self._pushed_kline.pop(stream, None)
        stream = f"{name}@miniTicker"
        if self._hub.wanted(BINANCE, stream):
            row = await self._day_row(market)
            if row is not None:
                payload = _json(mini_ticker_payload(row, now))
                self._hub.publish(self._message(market, "miniTicker"), stream, payload)

    async def _push_kline(self, market: Market, interval: str, width: Width, stream: str) -> None:
        now = self._clock()
        current = width.floor(now)
        candles = await market.dense_candles(width, self._pushed_kline.get(stream, current), current + 1)
        for kline in klines(market.instrument, candles, width):
            kline |= {"i": interval, "x": kline["T"] < now, "B": "0"}
            event = {"e": "kline", "E": now, "s": market.instrument.venue_symbol, "k": kline}
            self._hub.publish(self._message(market, f"kline_{interval}"), stream, _json(event))
        self._pushed_kline[stream] = current

    def _message(self, market: Market, channel: str, first_id: int = 0, last_id: int = 0) -> Message:
        instrument = market.instrument
        return Message(BINANCE, instrument.symbol, instrument.venue_symbol, channel, first_id, last_id)

    # WebSocket.

    async def _open(self, request: web.Request) -> web.StreamResponse:
        connects = self._connects.setdefault(
            request.remote or "", SlidingWindow(_CONNECTS, _CONNECTS_WINDOW_S)
        )
        if not connects.take(_now()) and self._limited:
            return web.json_response({"code": -1003, "msg": "Too many connections."}, status=429)
        connection = Connection(request, BINANCE, request.path, max_message_bytes=_MAX_REQUEST_BYTES)
        connection.combined = request.path == "/stream"
        connection.microseconds = request.query.get("timeUnit", "").upper() == "MICROSECOND"
        named = (
            request.query.get("streams", "") if connection.combined else request.match_info.get("streams", "")
        )
        streams = [stream for stream in named.split("/") if stream]
        if len(streams) > _MAX_STREAMS:
            return web.json_response({"code": 2, "msg": "Too many streams."}, status=400)
        connection.keys = dict.fromkeys(streams)
        for stream in streams:
            self._pushed_quote.pop(stream, None)
        self._incoming[connection] = SlidingWindow(_MESSAGES_PER_S, 1.0)
        try:
            return await self._hub.serve(connection, request, self._on_text, self._keep_alive)
        finally:
            del self._incoming[connection]

    async def _keep_alive(self, connection: Connection) -> None:
        opened_at = _now()
        while not connection.closed:
            await asyncio.sleep(self._ping_every_s)
            if _now() - opened_at >= _MAX_AGE_S:
                connection.close(WSCloseCode.GOING_AWAY, "24 hours")
                return
            if _now() - connection.last_pong_at > max(_PONG_WITHIN_S, 3 * self._ping_every_s):
                if not connection.silent:
                    connection.close(WSCloseCode.POLICY_VIOLATION, "Pong timeout")
                return
            await connection.ping(str(self._clock()).encode())

    def _on_text(self, connection: Connection, text: str) -> None:
        if self._limited and not self._incoming[connection].take(_now()):
            connection.close(WSCloseCode.POLICY_VIOLATION, "Too many requests")
            return
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            self._reply(connection, {"code": 3, "msg": f"Invalid JSON: {error}"})
            return
        if not isinstance(request, dict) or "method" not in request:
            self._reply(connection, {"code": 2, "msg": "Invalid request: missing field `method`"})
            return
        request_id, method = request.get("id"), request["method"]
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            message = f"Invalid request: unknown variant `{method}`, expected one of {expected}"
            self._reply(connection, {"code": 2, "msg": message, "id": request_id})
            return
        self._reply(
            connection, {**self._outcome(connection, method, request.get("params")), "id": request_id}
        )

    def _outcome(self, connection: Connection, method: str, params: object) -> dict[str, Any]:
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(connection.keys)}
        if not isinstance(params, list) or not params:
            return {"code": 2, "msg": "Invalid request: missing field `params`"}
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            if params[0] != "combined":
                return {"code": 0, "msg": "Unknown property"}
            if method == "GET_PROPERTY":
                return {"result": connection.combined}
            if len(params) != 2 or not isinstance(params[1], bool):
                return {"code": 1, "msg": "Invalid value type: expected Boolean"}
            connection.combined = params[1]
            return {"result": None}
        if not all(isinstance(stream, str) for stream in params):
            return {"code": 2, "msg": "Invalid request: invalid type: expected a string"}
        if method == "SUBSCRIBE":
            if len(connection.keys | dict.fromkeys(params)) > _MAX_STREAMS:
                return {"code": 2, "msg": f"Invalid request: more than {_MAX_STREAMS} streams"}
            # A stream that does not exist is acknowledged as well, and stays silent.
            for stream in params:
                self._hub.subscribe(connection, stream)
                self._pushed_quote.pop(stream, None)
        else:
            for stream in params:
                self._hub.unsubscribe(connection, stream)
        return {"result": None}

    def _reply(self, connection: Connection, reply: Mapping[str, Any]) -> None:
        connection.push(_json(reply))

    # REST.

    def _rest_handler(self, answer: Any, base_weight: int) -> Any:
        async def handle(request: web.Request) -> web.Response:
            weight = _weight(request, base_weight)
            budget = self._budgets.setdefault(request.remote or "", WeightBudget())
            verdict = budget.take(weight, time.time())
            headers = {"X-MBX-USED-WEIGHT": str(verdict.used), "X-MBX-USED-WEIGHT-1M": str(verdict.used)}
            if self._limited and verdict.status != 200:
                headers["Retry-After"] = str(verdict.retry_after_s)
                message = (
                    f"Too much request weight used; current limit is {BINANCE_WEIGHT_LIMIT} request weight "
                    "per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
                )
                body = {"code": -1003, "msg": message}
                return web.json_response(body, status=verdict.status, headers=headers)
            try:
                text = _json(await answer(request.query))
            except _Refused as error:
                body = {"code": error.code, "msg": error.message}
                return web.json_response(body, status=error.status, headers=headers)
            if request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND":
                text = _MILLISECOND_FIELDS.sub(r"\g<1>\g<2>000", text)
            return web.Response(text=text, content_type="application/json", headers=headers)

        return handle

    async def _ping(self, query: Mapping[str, str]) -> Any:
        return {}

    async def _time(self, query: Mapping[str, str]) -> Any:
        return {"serverTime": self._clock()}

    async def _exchange_info(self, query: Mapping[str, str]) -> Any:
        markets = self._named(query) or self._markets.of(BINANCE)
        return exchange_info([symbol_row(market.instrument) for market in markets], self._clock())

    async def _trades(self, query: Mapping[str, str]) -> Any:
        market = self._market(query)
        parts = newest(market.tape, _limit(query), self._absent(market)) if market.single_trades else []
        return [row for part in reversed(parts) for row in trade_rows(market.instrument, part)]

    async def _historical_trades(self, query: Mapping[str, str]) -> Any:
        market, from_id = self._market(query), _number(query, "fromId")
        if from_id is None:
            return await self._trades(query)
        if not market.single_trades:
            return []
        parts = page_up(market.tape, from_id, _limit(query), self._absent(market))
        return [row for part in parts for row in trade_rows(market.instrument, part)]

    async def _agg_trades(self, query: Mapping[str, str]) -> Any:
        market, limit = self._market(query), _limit(query)
        from_id, start, end = (_number(query, name) for name in ("fromId", "startTime", "endTime"))
        last = market.last_aggregate_id()
        if last is None:
            return []
        if from_id is None and start is None and end is None:
            first: int | None = last - limit + 1
        elif from_id is not None:
            first = from_id
        elif start is not None:
            first = market.aggregate_id_at(start)
        else:
            beyond = market.aggregate_id_at((end or 0) + 1)
            first = (last + 1 if beyond is None else beyond) - limit
        if first is None:
            return []
        found = market.aggregates(first, min(first + limit - 1, last))
        absent = self._absent(market)
        return [
            aggregate_row(market.instrument, aggregate)
            for aggregate in found
            if (end is None or aggregate.at_ms <= end)
            and not any(low <= aggregate.last_id and high >= aggregate.first_id for low, high in absent)
        ]

    async def _klines(self, query: Mapping[str, str]) -> Any:
        market = self._market(query)
        interval = query.get("interval")
        if not interval:
            raise _missing("interval")
        width = INTERVALS.get(interval)
        if width is None:
            raise _Refused(-1120, "Invalid interval.")
        width = Width(width.ms, width.anchor_ms - _zone_ms(query))
        candles = await market.candle_page(
            width,
            start_ms=_number(query, "startTime"),
            end_ms=_number(query, "endTime"),
            limit=_limit(query),
        )
        return kline_rows(market.instrument, candles, width)

    async def _depth(self, query: Mapping[str, str]) -> Any:
        market = self._market(query)
        depth = _limit(query, default=100, most=5000)
        return depth_body(market.instrument, market.book(min(depth, 1000)), depth)

    async def _ticker_price(self, query: Mapping[str, str]) -> Any:
        return self._one_or_all(
            query,
            [
                {"symbol": row["symbol"], "price": row["price"]}
                for row in [self._last_price(market) for market in self._asked(query)]
            ],
        )

    async def _ticker_book(self, query: Mapping[str, str]) -> Any:
        rows = [book_ticker(market.instrument, market.book(1)) for market in self._asked(query)]
        return self._one_or_all(query, rows)

    async def _ticker_day(self, query: Mapping[str, str]) -> Any:
        rows = [await self._day_row(market) for market in self._asked(query)]
        return self._one_or_all(query, [row for row in rows if row is not None])

    async def _day_row(self, market: Market) -> dict[str, Any] | None:
        now = self._clock()
        stats, bounds = await market.day_stats(now), market.tape.bounds()
        if stats is None or bounds is None:
            return None
        last = market.tape.trades(bounds[1], bounds[1])
        return day_ticker(market.instrument, last, stats, market.book(1), now)

    def _last_price(self, market: Market) -> dict[str, Any]:
        rows = [
            row for part in newest(market.tape, 1, ()) for row in trade_rows(market.instrument, part)
        ] or [{"price": "0.00000000"}]
        return {"symbol": market.instrument.venue_symbol, "price": rows[0]["price"]}

    def _one_or_all(self, query: Mapping[str, str], rows: list[dict[str, Any]]) -> Any:
        return rows[0] if "symbol" in query and rows else rows

    def _asked(self, query: Mapping[str, str]) -> list[Market]:
        return self._named(query) or self._markets.of(BINANCE)

    def _named(self, query: Mapping[str, str]) -> list[Market]:
        """The markets a request names by `symbol` or `symbols`; empty where it names none."""
        if query.get("symbol"):
            return [self._market(query)]
        if not query.get("symbols"):
            return []
        try:
            names = msgspec.json.decode(query["symbols"], type=list[str])
        except msgspec.DecodeError as error:
            raise _Refused(-1100, "Illegal characters found in parameter 'symbols'.") from error
        return [self._listed(name) for name in names]

    def _market(self, query: Mapping[str, str]) -> Market:
        name = query.get("symbol")
        if not name:
            raise _missing("symbol")
        return self._listed(name)

    def _listed(self, name: str) -> Market:
        market = self._markets.listed(BINANCE, name)
        if market is None:
            raise _Refused(-1121, "Invalid symbol.")
        return market

    def _absent(self, market: Market) -> list[tuple[int, int]]:
        instrument = market.instrument
        return self._hub.board.absent(BINANCE, instrument.symbol, instrument.venue_symbol)


# Streams pushed when the market has moved, with the depth of their book; 0 for the best prices alone.
_QUOTE_CHANNELS = {
    "bookTicker": 0,
    **{f"depth{depth}{pace}": depth for depth in (5, 10, 20) for pace in ("", "@100ms")},
}


def _missing(name: str) -> _Refused:
    return _Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def _number(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise _Refused(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        )
    number = int(value)
    # Times may be given in microseconds.
    return number // 1000 if name.endswith("Time") and number >= 10**14 else number


def _limit(query: Mapping[str, str], default: int = 500, most: int = 1000) -> int:
    limit = _number(query, "limit")
    if limit == 0:
        raise _Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(default if limit is None else limit, most)


def _zone_ms(query: Mapping[str, str]) -> int:
    """The offset a client wants its days cut at: "0", "8", "-1:30"."""
    zone = query.get("timeZone", "0")
    found = re.fullmatch(r"([+-]?)(\d{1,2})(?::(\d{2}))?", zone)
    if found is None:
        raise _Refused(-1130, "Data sent for parameter 'timeZone' is not valid.")
    sign = -1 if found[1] == "-" else 1
    return sign * (int(found[2]) * 60 + int(found[3] or 0)) * 60_000


def _weight(request: web.Request, weight: int) -> int:
    """What a request costs; more for whole books and for every symbol at once."""
    if request.path.endswith("/depth"):
        limit = request.query.get("limit", "")
        depth = int(limit) if limit.isascii() and limit.isdigit() else 100
        return next(cost for most, cost in ((100, 5), (500, 25), (1000, 50), (10**9, 250)) if depth <= most)
    if "/ticker/" in request.path and "symbol" not in request.query:
        return 80 if request.path.endswith("/24hr") else 4
    return weight


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> float:
    return asyncio.get_running_loop().time()
