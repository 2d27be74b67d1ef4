"""Binance USD-M futures' public side: `/fstream/{public,market}` and `/fapi/v1`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from simulator.binance_messages import INTERVALS
from simulator.binance_queries import Refused, limit_of, missing, number_of
from simulator.binance_sockets import BinanceSide, SocketRules, as_json
from simulator.columns import TradeColumns, Width
from simulator.connections import Hub
from simulator.faults import Message
from simulator.instruments import USDM
from simulator.limits import SlidingWindow
from simulator.markets import Market, MarketList, MarketStatus, newest, page_up, without
from simulator.perpetuals import FUNDING_MS, funding_rate, marks_at, next_funding_ms, settled_fundings
from simulator.subscription_keys import parts_of_key
from simulator.usdm_messages import (
    USDM_WEIGHT_LIMIT,
    aggregate_payloads,
    aggregate_rows,
    book_ticker_event,
    book_ticker_row,
    depth_body,
    depth_event,
    exchange_info,
    futures_kline_rows,
    futures_klines,
    mark_event,
    symbol_row,
)

# Trades of single orders and all that is of the book; everything else is on the market's route.
_BOOK_CHANNELS = ("bookTicker", "depth", "rpiDepth", "trade")
_HISTORY_MS = 48 * 3_600_000
_WINDOW_MS = 3_600_000
_DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
_STATUSES = {MarketStatus.LIVE: "TRADING", MarketStatus.HALTED: "SETTLING", MarketStatus.DELISTED: "CLOSE"}
# These two share a limit of their own.
_FUNDING_PATHS = ("/fapi/v1/fundingRate", "/fapi/v1/premiumIndex")
_FUNDING_REQUESTS, _FUNDING_WINDOW_S = 500, 300.0
_QUOTE_CHANNELS = {
    "bookTicker": 0,
    **{f"depth{depth}{pace}": depth for depth in (5, 10, 20) for pace in ("", "@100ms", "@250ms", "@500ms")},
}
_MARK_CHANNELS = {"markPrice": 3, "markPrice@1s": 1}  # every so many seconds


class UsdmServer(BinanceSide):
    """Speaks Binance's futures; markets, subscribers and faults belong to the others."""

    venue = USDM

    def __init__(self, markets: MarketList, hub: Hub, *, life_s: float, limited: bool) -> None:
        rules = SocketRules(
            messages_per_s=10,
            ping_every_s=180.0,
            pong_within_s=600.0,
            life_s=life_s,
            weight_per_minute=USDM_WEIGHT_LIMIT,
            limited=limited,
        )
        super().__init__(hub, rules)
        self._markets = markets
        self._funding_requests: dict[str, SlidingWindow] = {}

    def routes(self) -> list[web.RouteDef]:
        answers = {
            "ping": (self._ping, 1),
            "time": (self._time, 1),
            "exchangeInfo": (self._exchange_info, 1),
            "aggTrades": (self._agg_trades, 20),
            "trades": (self._keyed, 5),
            "historicalTrades": (self._keyed, 200),
            "klines": (self._klines, 5),
            "depth": (self._depth, 2),
            "premiumIndex": (self._premium_index, 1),
            "fundingRate": (self._funding_rate, 1),
            "ticker/bookTicker": (self._ticker_book, 2),
            "ticker/price": (self._ticker_price, 1),
        }
        return [
            # The addresses without a route are switched off: nothing answers there.
            web.get("/fstream/{route:public|market}/ws", self._open),
            web.get("/fstream/{route:public|market}/ws/{streams:.+}", self._open),
            web.get("/fstream/{route:public|market}/stream", self._open),
            *(
                web.get(f"/fapi/v1/{path}", self._rest_handler(answer, weight))
                for path, (answer, weight) in answers.items()
            ),
        ]

    def hears_of(self, path: str) -> Callable[[str], bool]:
        of_the_book = path.startswith("/fstream/public/")

        def hears(stream: str) -> bool:
            channel, _ = parts_of_key(USDM, stream)
            return channel.startswith(_BOOK_CHANNELS) is of_the_book

        return hears

    # What a live market pushes.

    def wants_trades(self, market: Market) -> bool:
        """Whether anybody listens to the market's trades."""
        return self._hub.wanted(USDM, _stream(market, "aggTrade"))

    def push_trades(self, market: Market, trades: TradeColumns) -> None:
        """Push new aggregates."""
        stream = _stream(market, "aggTrade")
        for number, payload in aggregate_payloads(market.instrument, trades, self._clock()):
            self._hub.publish(self._message(market, "aggTrade", number), stream, payload)

    async def push_quotes(self, market: Market) -> None:
        """Push best prices and small books where the market has moved; called ten times a second."""
        for channel, depth in _QUOTE_CHANNELS.items():
            stream = _stream(market, channel)
            if not self._hub.wanted(USDM, stream):
                continue
            bounds, book = market.tape.bounds(), market.book(max(depth, 1))
            if bounds is None or book is None or self._pushed_quote.get(stream) == bounds[1]:
                continue
            self._pushed_quote[stream] = bounds[1]
            event = (
                depth_event(market.instrument, book, depth, self._clock())
                if depth
                else book_ticker_event(market.instrument, book, self._clock())
            )
            self._hub.publish(self._message(market, channel), stream, as_json(event))

    async def push_candles(self, market: Market) -> None:
        """Push forming candles, closed ones and mark prices; called every second."""
        now = self._clock()
        for interval, width in INTERVALS.items():
            stream = _stream(market, f"kline_{interval}")
            if self._hub.wanted(USDM, stream):
                await self._push_kline(market, interval, width, stream)
            else:
                self._pushed_kline.pop(stream, None)
        for channel, every_s in _MARK_CHANNELS.items():
            stream = _stream(market, channel)
            if now // 1000 % every_s == 0 and self._hub.wanted(USDM, stream):
                event = self._mark(market)
                if event is not None:
                    self._hub.publish(self._message(market, "markPrice"), stream, as_json(event))

    def push_instrument(self, market: Market) -> None:
        """Nothing: who wants to know asks for the list again."""

    async def _push_kline(self, market: Market, interval: str, width: Width, stream: str) -> None:
        now = self._clock()
        current = width.floor(now)
        candles = await market.dense_candles(width, self._pushed_kline.get(stream, current), current + 1)
        for kline in futures_klines(market.instrument, candles, width):
            kline |= {"i": interval, "x": kline["T"] < now, "B": "0"}
            event = {"e": "kline", "E": now, "s": market.instrument.venue_symbol, "k": kline, "st": 1}
            self._hub.publish(self._message(market, f"kline_{interval}"), stream, as_json(event))
        self._pushed_kline[stream] = current

    def _mark(self, market: Market) -> dict[str, Any] | None:
        marks = marks_at(market, self._clock())
        if marks is None:
            return None
        next_ms = next_funding_ms(marks.at_ms)
        return mark_event(market.instrument, marks, f"{funding_rate(market, next_ms):f}", next_ms)

    def _message(self, market: Market, channel: str, number: int = 0) -> Message:
        return Message(USDM, *self._names(market), channel, number, number)

    def _names(self, market: Market) -> tuple[str, str]:
        # "BTCUSDT" alone means the spot market.
        return market.instrument.symbol, market.instrument.symbol

    # REST.

    def _weight(self, request: web.Request, weight: int) -> int:
        text = request.query.get("limit", "")
        rows = int(text) if text.isascii() and text.isdigit() else 500
        if request.path.endswith("/klines"):
            prices = ((99, 1), (499, 2), (1000, 5), (10**9, 10))
        elif request.path.endswith("/depth"):
            prices = ((50, 2), (100, 5), (500, 10), (10**9, 20))
        else:
            return weight
        return next(cost for most, cost in prices if rows <= most)

    def _over_limit(self, request: web.Request, now: float) -> bool:
        if request.path not in _FUNDING_PATHS:
            return False
        window = self._funding_requests.setdefault(
            request.remote or "", SlidingWindow(_FUNDING_REQUESTS, _FUNDING_WINDOW_S)
        )
        return not window.take(now)

    async def _ping(self, query: Mapping[str, str]) -> Any:
        return {}

    async def _time(self, query: Mapping[str, str]) -> Any:
        return {"serverTime": self._hub.told_ms(USDM)}

    async def _exchange_info(self, query: Mapping[str, str]) -> Any:
        rows = [
            symbol_row(
                market.instrument,
                _STATUSES[market.status],
                market.synthetic.listed_at_ms if market.synthetic else 0,
            )
            for market in self._markets.of(USDM)
        ]
        return exchange_info(rows, self._clock())

    async def _keyed(self, query: Mapping[str, str]) -> Any:
        raise Refused(-2014, "API-key format invalid.", status=401)

    async def _agg_trades(self, query: Mapping[str, str]) -> Any:
        market, rows = self._market(query), limit_of(query)
        from_id, start, end = (number_of(query, name) for name in ("fromId", "startTime", "endTime"))
        if from_id is not None and (start is not None or end is not None):
            raise Refused(-1128, "Combination of optional parameters invalid.")
        if start is not None and end is not None and end - start >= _WINDOW_MS:
            raise Refused(-4066, "The time range must be shorter than 1 hour.")
        oldest_ms = self._clock() - _HISTORY_MS
        oldest_id = market.tape.first_id_at(oldest_ms)
        absent = self._absent(market)
        if from_id is not None or start is not None:
            wanted = from_id if from_id is not None else market.tape.first_id_at(start or 0)
            # What is older is not refused: the answer begins where the history does.
            parts = page_up(market.tape, max(wanted, oldest_id), rows, absent)
        elif end is not None:
            last = market.tape.first_id_at(end + 1) - 1
            parts = [without(market.tape.trades(max(last - rows + 1, oldest_id), last), absent)]
        else:
            parts = newest(market.tape, rows, absent)[::-1]
        found = [row for part in parts for row in aggregate_rows(market.instrument, part)]
        return [row for row in found if (end is None or row["T"] <= end) and row["T"] >= oldest_ms]

    async def _klines(self, query: Mapping[str, str]) -> Any:
        market, interval = self._market(query), query.get("interval")
        if not interval:
            raise missing("interval")
        width = INTERVALS.get(interval)
        # One second is an interval of spot alone.
        if width is None or interval == "1s":
            raise Refused(-1120, "Invalid interval.")
        candles = await market.candle_page(
            width,
            start_ms=number_of(query, "startTime"),
            end_ms=number_of(query, "endTime"),
            limit=limit_of(query, most=1500),
        )
        return futures_kline_rows(market.instrument, candles, width)

    async def _depth(self, query: Mapping[str, str]) -> Any:
        market, depth = self._market(query), number_of(query, "limit") or 500
        if depth not in _DEPTHS:
            raise Refused(-4021, f"{depth} is not valid depth limit.")
        return depth_body(market.instrument, market.book(depth), depth, self._clock())

    async def _premium_index(self, query: Mapping[str, str]) -> Any:
        named = bool(query.get("symbol"))
        markets = [self._market(query)] if named else self._markets.of(USDM)
        events = [event for market in markets if (event := self._mark(market)) is not None]
        rows = [
            {
                "symbol": event["s"],
                "markPrice": event["p"],
                "indexPrice": event["i"],
                "estimatedSettlePrice": event["P"],
                "lastFundingRate": event["r"],
                "interestRate": "0.00010000",
                "nextFundingTime": event["T"],
                "time": event["E"],
            }
            for event in events
        ]
        return rows[0] if named and rows else rows

    async def _funding_rate(self, query: Mapping[str, str]) -> Any:
        market, now = self._market(query), self._clock()
        rows = limit_of(query, default=100)
        start, end = number_of(query, "startTime"), number_of(query, "endTime")
        last_ms = now if end is None else min(end, now)
        # With a start the oldest from there on, else the newest.
        if start is not None:
            last_ms = min(last_ms, (-(-start // FUNDING_MS) + rows - 1) * FUNDING_MS)
        found = settled_fundings(market, before_ms=last_ms + 1, now_ms=now, count=rows)
        return [
            {
                "symbol": market.instrument.venue_symbol,
                "fundingTime": at_ms,
                "fundingRate": f"{rate:f}",
                "markPrice": f"{marks.mark:.8f}" if (marks := marks_at(market, at_ms)) else "",
            }
            for at_ms, rate in reversed(found)
            if start is None or at_ms >= start
        ]

    async def _ticker_book(self, query: Mapping[str, str]) -> Any:
        rows = [
            book_ticker_row(market.instrument, market.book(1), self._clock()) for market in self._asked(query)
        ]
        return rows[0] if query.get("symbol") and rows else rows

    async def _ticker_price(self, query: Mapping[str, str]) -> Any:
        rows = [
            {"symbol": row["s"], "price": row["p"], "time": row["T"]}
            for market in self._asked(query)
            for part in newest(market.tape, 1, ())
            for row in [
                {"s": market.instrument.venue_symbol, **found}
                for found in aggregate_rows(market.instrument, part)
            ]
        ]
        return rows[0] if query.get("symbol") and rows else rows

    def _asked(self, query: Mapping[str, str]) -> list[Market]:
        return [self._market(query)] if query.get("symbol") else self._markets.of(USDM)

    def _market(self, query: Mapping[str, str]) -> Market:
        name = query.get("symbol")
        if not name:
            raise missing("symbol")
        market = self._markets.listed(USDM, name)
        if market is None:
            raise Refused(-1121, "Invalid symbol.")
        return market


def _stream(market: Market, channel: str) -> str:
    return f"{market.instrument.venue_symbol.lower()}@{channel}"
