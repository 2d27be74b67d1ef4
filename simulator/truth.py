"""The truth of a simulated venue, for tests to compare with: `/sim/...`, which no real venue has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from data.errors import InvalidInput
from data.timeframes import Timeframe
from simulator.columns import Width
from simulator.connections import Hub
from simulator.fault_plans import parse_fault_plan
from simulator.faults import Fault
from simulator.instruments import EXCHANGES, SimInstrument
from simulator.markets import Market, MarketList
from simulator.okx_messages import in_base
from simulator.perpetuals import funding_rate, marks_at, next_funding_ms
from simulator.wire_numbers import plain

_MONDAY_MS = 4 * 86_400_000  # weeks open on Monday; the epoch was a Thursday
_MOST_CANDLES = 100_000


class TruthServer:
    """Everything the venue knows, without limits and without faults."""

    def __init__(
        self,
        markets: MarketList,
        hub: Hub,
        source: Callable[[], Mapping[str, Any]],
        check: Callable[[Sequence[Fault]], None],
    ) -> None:
        self._markets = markets
        self._hub = hub
        self._source = source
        self._check = check  # raises InvalidInput for a plan this venue cannot carry out

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sim/state", self._state),
            web.get("/sim/truth/trades", self._trades),
            web.get("/sim/truth/candles", self._candles),
            web.get("/sim/truth/marks", self._marks),
            web.get("/sim/faults", self._faults),
            web.post("/sim/faults", self._add_faults),
            web.delete("/sim/faults", self._clear_faults),
        ]

    async def _state(self, request: web.Request) -> web.Response:
        hub = self._hub
        connections = [
            {
                "exchange": connection.exchange,
                "path": connection.path,
                "subscriptions": list(connection.keys),
                "sent": connection.sent,
                "waiting": connection.waiting,
                "half_open": connection.silent,
            }
            for group in hub.connections.values()
            for connection in group
        ]
        body = {
            "clock_ms": {exchange: clock() for exchange, clock in hub.clocks.items()},
            "source": self._source(),
            "clients": len(connections),
            "connections": connections,
            "connected": hub.connected,
            "messages": dict(hub.board.sent()),
            "markets": [_market_row(market) for market in self._markets],
            "withheld": [gap._asdict() for gap in hub.board.withheld],
        }
        return _json(body)

    async def _trades(self, request: web.Request) -> web.Response:
        market = self._market(request)
        tape = market.tape
        bounds = tape.bounds()
        if bounds is None:
            return _listing(request, iter(()))
        first = _number(request, "from_id")
        last = _number(request, "to_id")
        start, end = _number(request, "start"), _number(request, "end")
        if start is not None:
            first = max(first or 0, tape.first_id_at(start))
        if end is not None:
            last = min(last if last is not None else bounds[1], tape.first_id_at(end) - 1)
        wanted = (bounds[0] if first is None else first, bounds[1] if last is None else last)
        instrument = market.instrument
        trades = await asyncio.to_thread(tape.trades, *wanted) if market.synthetic else tape.trades(*wanted)
        rows = (
            {
                "id": trade_id,
                "price": plain(price, instrument.price_decimals),
                "qty": plain(size, instrument.size_decimals),
                "base_qty": _base_quantity(instrument, size),
                "side": "buy" if buy else "sell",
                "time": at_ms,
            }
            for trade_id, price, size, buy, at_ms in zip(
                trades.ids.tolist(),
                trades.price.tolist(),
                trades.size.tolist(),
                trades.buy.tolist(),
                trades.at_ms.tolist(),
                strict=True,
            )
        )
        return _listing(request, rows)

    async def _candles(self, request: web.Request) -> web.Response:
        market = self._market(request)
        try:
            timeframe = Timeframe(request.query.get("timeframe", "1m"))
        except ValueError as error:
            raise _bad("timeframe", f"one of {', '.join(Timeframe)}") from error
        width = Width(timeframe.us // 1000, _MONDAY_MS if timeframe is Timeframe.W1 else 0)
        span = market.tape.candle_span()
        if span is None:
            return _listing(request, iter(()))
        # The newest interval may still form; only closed ones are true for good.
        newest = min(
            span.last_open(width), width.floor(self._hub.clocks[market.instrument.venue]()) - width.ms
        )
        start = max(_number(request, "start") or 0, span.first_open(width))
        end = _number(request, "end")
        stop = newest + 1 if end is None else min(end, newest + 1)
        if (stop - start) // width.ms > _MOST_CANDLES:
            raise _bad("start", f"a span of at most {_MOST_CANDLES} candles")
        candles = await market.dense_candles(width, start, stop)
        instrument = market.instrument
        rows = (
            {
                "opened_at": opened_at_ms,
                "open": plain(int(candles.open[place]), instrument.price_decimals),
                "high": plain(int(candles.high[place]), instrument.price_decimals),
                "low": plain(int(candles.low[place]), instrument.price_decimals),
                "close": plain(int(candles.close[place]), instrument.price_decimals),
                "volume": plain(int(candles.volume[place]), instrument.size_decimals),
                "base_volume": _base_quantity(instrument, int(candles.volume[place])),
                "trades": int(candles.trades[place]),
                "first_id": int(candles.first_id[place]),
                "last_id": int(candles.last_id[place]),
            }
            for place, opened_at_ms in enumerate(candles.opened_at_ms.tolist())
            if candles.trades[place]
        )
        return _listing(request, rows)

    async def _marks(self, request: web.Request) -> web.Response:
        market = self._market(request)
        now = self._hub.clocks[market.instrument.venue]()
        at_ms = min(_number(request, "at") or now, now)
        marks = marks_at(market, at_ms) if market.instrument.kind != "SPOT" and market.synthetic else None
        if marks is None:
            raise _bad("symbol", "a made-up derivative that has traded")
        next_ms = next_funding_ms(marks.at_ms)
        return _json(
            {
                "at": marks.at_ms,
                "mark": str(marks.mark),
                "index": str(marks.index),
                "funding_at": next_ms,
                "funding_rate": f"{funding_rate(market, next_ms):f}",
            }
        )

    async def _faults(self, request: web.Request) -> web.Response:
        return _json([fault.describe() for fault in self._hub.board.faults])

    async def _add_faults(self, request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        try:
            plan = parse_fault_plan(
                msgspec.json.decode(await request.read()), where="POST /sim/faults", started_at=now
            )
            self._check(plan)
        except msgspec.DecodeError as error:
            raise _bad("body", f"a JSON list of faults ({error})") from error
        except InvalidInput as error:
            return _json({"error": str(error)}, status=400)
        self._hub.board.schedule(plan)
        self._hub.advance_faults()
        return _json({"scheduled": len(plan)})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._hub.board.clear()
        return _json({"scheduled": 0})

    def _market(self, request: web.Request) -> Market:
        exchange, symbol = request.query.get("exchange", ""), request.query.get("symbol", "")
        if exchange not in EXCHANGES:
            raise _bad("exchange", f"one of {', '.join(EXCHANGES)}")
        market = self._markets.find(exchange, symbol)
        if market is None:
            known = ", ".join(found.instrument.symbol for found in self._markets.on_exchange(exchange))
            raise _bad("symbol", f"one of {known}")
        return market


def _market_row(market: Market) -> dict[str, Any]:
    instrument, bounds = market.instrument, market.tape.bounds()
    return {
        "exchange": instrument.exchange,
        "venue": instrument.venue,
        "symbol": instrument.symbol,
        "venue_symbol": instrument.venue_symbol,
        "status": market.status.value,
        "first_id": bounds[0] if bounds else None,
        "last_id": bounds[1] if bounds else None,
    }


def _base_quantity(instrument: SimInstrument, size: int) -> str | None:
    quantity = in_base(instrument, size)
    return None if quantity is None else f"{quantity.normalize():f}"


def _number(request: web.Request, name: str) -> int | None:
    value = request.query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise _bad(name, "a whole number, times in ms since the epoch")
    return int(value)


def _bad(field: str, expected: str) -> web.HTTPBadRequest:
    text = msgspec.json.encode({"error": f"{field}: {expected}"}).decode()
    return web.HTTPBadRequest(text=text, content_type="application/json")


def _listing(request: web.Request, rows: Iterator[Mapping[str, Any]]) -> web.Response:
    """A JSON list, or with `format=lines` one JSON object a line."""
    if request.query.get("format") == "lines":
        return web.Response(
            body=b"".join(msgspec.json.encode(row) + b"\n" for row in rows),
            content_type="application/x-ndjson",
        )
    return _json(list(rows))


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
