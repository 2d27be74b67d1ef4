"""Binance Spot's public side: `/ws`, `/stream` and `/api/v3`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

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
from simulator.binance_queries import Refused, limit_of, missing, number_of, zone_ms
from simulator.binance_sockets import BinanceSide, SocketRules, as_json
from simulator.columns import TradeColumns, Width
from simulator.connections import Hub
from simulator.faults import Message
from simulator.instruments import BINANCE
from simulator.limits import BINANCE_WEIGHT_LIMIT
from simulator.markets import Market, MarketList, MarketStatus, aggregates_of, newest, page_up

# A symbol that is delisted is in no list.
_STATUSES = {MarketStatus.LIVE: "TRADING", MarketStatus.HALTED: "HALT"}


class BinanceServer(BinanceSide):
    """Speaks Binance Spot; markets, subscribers and faults belong to the others."""

    venue = BINANCE

    def __init__(
        self, markets: MarketList, hub: Hub, *, ping_every_s: float, life_s: float, limited: bool
    ) -> None:
        super().__init__(
            hub,
            SocketRules(
                messages_per_s=5,
                ping_every_s=ping_every_s,
                pong_within_s=60.0,
                life_s=life_s,
                weight_per_minute=BINANCE_WEIGHT_LIMIT,
                limited=limited,
            ),
        )
        self._markets = markets

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
            self._hub.publish(self._message(market, channel), stream, as_json(payload))

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
                payload = as_json(mini_ticker_payload(row, now))
                self._hub.publish(self._message(market, "miniTicker"), stream, payload)

    def push_instrument(self, market: Market) -> None:
        """Nothing: who wants to know asks for the list again."""

    async def _push_kline(self, market: Market, interval: str, width: Width, stream: str) -> None:
        now = self._clock()
        current = width.floor(now)
        candles = await market.dense_candles(width, self._pushed_kline.get(stream, current), current + 1)
        for kline in klines(market.instrument, candles, width):
            kline |= {"i": interval, "x": kline["T"] < now, "B": "0"}
            event = {"e": "kline", "E": now, "s": market.instrument.venue_symbol, "k": kline}
            self._hub.publish(self._message(market, f"kline_{interval}"), stream, as_json(event))
        self._pushed_kline[stream] = current

    def _message(self, market: Market, channel: str, first_id: int = 0, last_id: int = 0) -> Message:
        instrument = market.instrument
        return Message(BINANCE, instrument.symbol, instrument.venue_symbol, channel, first_id, last_id)

    # REST.

    def _weight(self, request: web.Request, weight: int) -> int:
        # More for whole books and for every symbol at once.
        if request.path.endswith("/depth"):
            limit = request.query.get("limit", "")
            depth = int(limit) if limit.isascii() and limit.isdigit() else 100
            prices = ((100, 5), (500, 25), (1000, 50), (10**9, 250))
            return next(cost for most, cost in prices if depth <= most)
        if "/ticker/" in request.path and "symbol" not in request.query:
            return 80 if request.path.endswith("/24hr") else 4
        return weight

    async def _ping(self, query: Mapping[str, str]) -> Any:
        return {}

    async def _time(self, query: Mapping[str, str]) -> Any:
        return {"serverTime": self._hub.told_ms(BINANCE)}

    async def _exchange_info(self, query: Mapping[str, str]) -> Any:
        rows = [symbol_row(market.instrument, _STATUSES[market.status]) for market in self._asked(query)]
        return exchange_info(rows, self._clock())

    async def _trades(self, query: Mapping[str, str]) -> Any:
        market = self._market(query)
        parts = newest(market.tape, limit_of(query), self._absent(market)) if market.single_trades else []
        return [row for part in reversed(parts) for row in trade_rows(market.instrument, part)]

    async def _historical_trades(self, query: Mapping[str, str]) -> Any:
        market, from_id = self._market(query), number_of(query, "fromId")
        if from_id is None:
            return await self._trades(query)
        if not market.single_trades:
            return []
        parts = page_up(market.tape, from_id, limit_of(query), self._absent(market))
        return [row for part in parts for row in trade_rows(market.instrument, part)]

    async def _agg_trades(self, query: Mapping[str, str]) -> Any:
        market, limit = self._market(query), limit_of(query)
        from_id, start, end = (number_of(query, name) for name in ("fromId", "startTime", "endTime"))
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
            raise missing("interval")
        width = INTERVALS.get(interval)
        if width is None:
            raise Refused(-1120, "Invalid interval.")
        width = Width(width.ms, width.anchor_ms - zone_ms(query))
        candles = await market.candle_page(
            width,
            start_ms=number_of(query, "startTime"),
            end_ms=number_of(query, "endTime"),
            limit=limit_of(query),
        )
        return kline_rows(market.instrument, candles, width)

    async def _depth(self, query: Mapping[str, str]) -> Any:
        market = self._market(query)
        depth = limit_of(query, default=100, most=5000)
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
        listed = [market for market in self._markets.of(BINANCE) if market.status in _STATUSES]
        return self._named(query) or listed

    def _named(self, query: Mapping[str, str]) -> list[Market]:
        """The markets a request names by `symbol` or `symbols`; empty where it names none."""
        if query.get("symbol"):
            return [self._market(query)]
        if not query.get("symbols"):
            return []
        try:
            names = msgspec.json.decode(query["symbols"], type=list[str])
        except msgspec.DecodeError as error:
            raise Refused(-1100, "Illegal characters found in parameter 'symbols'.") from error
        return [self._listed(name) for name in names]

    def _market(self, query: Mapping[str, str]) -> Market:
        name = query.get("symbol")
        if not name:
            raise missing("symbol")
        return self._listed(name)

    def _listed(self, name: str) -> Market:
        market = self._markets.listed(BINANCE, name)
        if market is None:
            raise Refused(-1121, "Invalid symbol.")
        return market


# Streams pushed when the market has moved, with the depth of their book; 0 for the best prices alone.
_QUOTE_CHANNELS = {
    "bookTicker": 0,
    **{f"depth{depth}{pace}": depth for depth in (5, 10, 20) for pace in ("", "@100ms")},
}
