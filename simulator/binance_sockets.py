"""What Binance's products have in common on the wire: stream sockets, and REST answers with their weight."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import WSCloseCode, web

from simulator.binance_queries import Refused
from simulator.connections import Connection, Hub
from simulator.limits import SlidingWindow, WeightBudget
from simulator.markets import Market
from simulator.tapes import Clock

_CONNECTS, _CONNECTS_WINDOW_S = 300, 300.0
_MAX_STREAMS = 1024
_MAX_REQUEST_BYTES = 4 * 1024 * 1024
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_MILLISECOND_FIELDS = re.compile(
    r'("(?:serverTime|time|T|openTime|closeTime)":|(?<=\[)|(?<=",))(\d{13})(?=[,}\]])'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketRules:
    """How a product treats its connections."""

    messages_per_s: int
    ping_every_s: float
    pong_within_s: float
    life_s: float  # then the venue closes, whatever is going on
    weight_per_minute: int
    limited: bool  # keep the limits


class BinanceSide:
    """Sockets and REST of one product; what streams carry and requests are told is its own."""

    venue: str

    def __init__(self, hub: Hub, rules: SocketRules) -> None:
        self._hub = hub
        self._rules = rules
        self._limited = rules.limited
        self._clock: Clock = hub.clocks[self.venue]
        self._connects: dict[str, SlidingWindow] = {}
        self._incoming: dict[Connection, SlidingWindow] = {}
        self._budgets: dict[str, WeightBudget] = {}
        self._pushed_kline: dict[str, int] = {}  # stream: open of the candle pushed last
        self._pushed_quote: dict[str, int] = {}  # stream: id of the trade pushed last

    def hears_of(self, path: str) -> Callable[[str], bool]:
        """Which streams a socket at `path` carries; all others are acknowledged and stay silent."""
        return lambda stream: True

    def _absent(self, market: Market) -> list[tuple[int, int]]:
        instrument, board = market.instrument, self._hub.board
        absent = board.absent(instrument.exchange, *self._names(market))
        return market.unknown_to_rest(self._clock(), board.added_ms("rest_lag", self.venue), absent)

    def _names(self, market: Market) -> tuple[str, str]:
        """The market's names in a plan of faults: ours and the venue's."""
        return market.instrument.symbol, market.instrument.venue_symbol

    # WebSocket.

    async def _open(self, request: web.Request) -> web.StreamResponse:
        connects = self._connects.setdefault(
            request.remote or "", SlidingWindow(_CONNECTS, _CONNECTS_WINDOW_S)
        )
        if not connects.take(_now()) and self._limited:
            return web.json_response({"code": -1003, "msg": "Too many connections."}, status=429)
        connection = Connection(request, self.venue, request.path, max_message_bytes=_MAX_REQUEST_BYTES)
        connection.combined = request.path.endswith("/stream")
        connection.hears = self.hears_of(request.path)
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
        self._incoming[connection] = SlidingWindow(self._rules.messages_per_s, 1.0)
        try:
            return await self._hub.serve(connection, request, self._on_text, self._keep_alive)
        finally:
            del self._incoming[connection]

    async def _keep_alive(self, connection: Connection) -> None:
        opened_at = _now()
        while not connection.closed:
            left_s = opened_at + self._rules.life_s - _now()
            await asyncio.sleep(min(self._rules.ping_every_s, max(left_s, 0.0)))
            if _now() - opened_at >= self._rules.life_s:
                connection.close(WSCloseCode.GOING_AWAY, "the connection has reached its age")
                return
            if _now() - connection.last_pong_at > max(
                self._rules.pong_within_s, 3 * self._rules.ping_every_s
            ):
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
        self._hub.reply(connection, as_json(reply))

    # REST.

    def _weight(self, request: web.Request, weight: int) -> int:
        """What a request costs, of the path's own weight and the parameters."""
        return weight

    def _over_limit(self, request: web.Request, now: float) -> bool:
        """Whether a limit of its own refuses the request; it counts as made."""
        return False

    def _rest_handler(self, answer: Any, base_weight: int) -> Any:
        async def handle(request: web.Request) -> web.Response:
            weight = self._weight(request, base_weight)
            budget = self._budgets.setdefault(
                request.remote or "", WeightBudget(self._rules.weight_per_minute)
            )
            verdict = budget.take(weight, time.time())
            headers = {"X-MBX-USED-WEIGHT": str(verdict.used), "X-MBX-USED-WEIGHT-1M": str(verdict.used)}
            if self._limited and verdict.status != 200:
                headers["Retry-After"] = str(verdict.retry_after_s)
                message = (
                    f"Too much request weight used; current limit is {budget.limit} request weight "
                    "per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
                )
                body = {"code": -1003, "msg": message}
                return web.json_response(body, status=verdict.status, headers=headers)
            if self._limited and self._over_limit(request, _now()):
                body = {"code": -1003, "msg": "Too many requests."}
                return web.json_response(body, status=429, headers=headers)
            try:
                text = as_json(await answer(request.query))
            except Refused as error:
                body = {"code": error.code, "msg": error.message}
                return web.json_response(body, status=error.status, headers=headers)
            if request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND":
                text = _MILLISECOND_FIELDS.sub(r"\g<1>\g<2>000", text)
            return web.Response(text=text, content_type="application/json", headers=headers)

        return handle


def as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> float:
    return asyncio.get_running_loop().time()
