"""OKX v5's public REST side, `/api/v5`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from simulator.columns import TradeColumns, Width
from simulator.connections import Hub
from simulator.instruments import OKX
from simulator.limits import OKX_REST_LIMITS, OKX_REST_WINDOW_S, SlidingWindow
from simulator.markets import Market, MarketList, MarketStatus, newest, page_down
from simulator.okx_messages import (
    BARS,
    book_row,
    candle_rows,
    envelope,
    failure,
    instrument_row,
    no_book_row,
    ticker_row,
    trade_rows,
)
from simulator.okx_perpetuals import (
    FUNDING_CHANNEL,
    MARK_CHANNEL,
    funding_history_rows,
    funding_row,
    has_channel,
    mark_row,
)

_LATEST_BARS = 1440
_MAX_BARS, _DEFAULT_BARS = 300, 100
_FUNDING_PAGE = 100
_STATES = {MarketStatus.LIVE: "live", MarketStatus.HALTED: "suspend"}
INSTRUMENT_TYPES = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")


class _Refused(Exception):
    """A REST request that gets an error envelope."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class OkxRest:
    """Answers requests about the markets, within OKX's limits."""

    def __init__(self, markets: MarketList, hub: Hub, *, limited: bool) -> None:
        self._markets = markets
        self._hub = hub
        self._clock = hub.clocks[OKX]
        self._limited = limited
        self._taken: dict[tuple[str, str], SlidingWindow] = {}  # by path and address

    def routes(self) -> list[web.RouteDef]:
        return [
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

    def _rest_handler(self, answer: Any) -> Any:
        async def handle(request: web.Request) -> web.Response:
            limit = OKX_REST_LIMITS[request.path]
            place = (request.path, request.remote or "")
            window = self._taken.setdefault(place, SlidingWindow(limit, OKX_REST_WINDOW_S))
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
        if kind not in INSTRUMENT_TYPES:
            raise _Refused(400, "51000", "Parameter instType error")
        rows = self.instrument_rows(kind)
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
        row = await self.ticker_row(self._market(query), self._clock())
        return [row] if row else []

    async def _tickers(self, query: Mapping[str, str]) -> list[Any]:
        kind = _given(query, "instType")
        rows = [
            await self.ticker_row(market, self._clock())
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

    async def ticker_row(self, market: Market, now: int) -> dict[str, str] | None:
        """The day of a market; None before its first whole minute."""
        stats = await market.day_stats(now)
        bounds = market.tape.bounds()
        if stats is None or bounds is None:
            return None
        last = market.tape.trades(bounds[1], bounds[1])
        return ticker_row(market.instrument, last, stats, market.book(1), now)

    def instrument_rows(self, kind: str) -> list[Mapping[str, Any]]:
        """What is listed of that kind."""
        return [
            listed_row(market)
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


def listed_row(market: Market) -> Mapping[str, Any]:
    """The market's row in the list of instruments."""
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
