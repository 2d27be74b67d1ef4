"""The simulated venue as a whole: markets, both protocols, faults and the truth behind one port."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from data.errors import InstallationError, InvalidInput, Problem
from simulator.binance_server import BinanceServer
from simulator.connections import Hub
from simulator.faults import MARKET_EVENTS, Fault, FaultBoard
from simulator.instruments import BINANCE, DEFAULT_SYMBOLS, OKX, USDM, VENUES, MarketShape, shapes_of
from simulator.live import LiveFeed, VenueServer
from simulator.market_events import MarketEvents
from simulator.markets import DAY_MS, Market, MarketList, generated_market
from simulator.okx_server import OkxServer
from simulator.recordings import Recording
from simulator.replay import Replay, ReplayClock, replayed_markets
from simulator.scripted_market import ScriptedMarket
from simulator.tapes import Clock, GeneratedTape
from simulator.truth import TruthServer
from simulator.usdm_server import UsdmServer

log = logging.getLogger(__name__)

DEFAULT_SEED = 1
DEFAULT_RATE = 1.0
DEFAULT_HISTORY_DAYS = 3
_SHUTDOWN_S = 1.0


class MarketState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes a made-up market the same at the next start."""

    seed: int
    listed_at_ms: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOptions:
    """How the servers behave, whatever their source."""

    limited: bool = True  # keep the venues' rate limits
    okx_idle_s: float = 30.0
    binance_ping_s: float = 20.0
    binance_life_s: float = 24 * 3600.0  # of a connection, spot and futures alike


class WallClock:
    """This machine's time in ms, which never goes back even where the machine's does."""

    def __init__(self) -> None:
        self._latest_ms = 0

    def __call__(self) -> int:
        self._latest_ms = max(self._latest_ms, time.time_ns() // 1_000_000)
        return self._latest_ms


class SimulatedVenue:
    """Both venues on one port. Make it with `made_up` or `replaying`, then `start` and `stop` it."""

    def __init__(self, markets: MarketList, clocks: Mapping[str, Clock], options: VenueOptions) -> None:
        self.markets = markets
        self.board = FaultBoard(last_known_id=self._last_known_id)
        self.hub = Hub(self.board, clocks)
        self._okx = OkxServer(markets, self.hub, idle_s=options.okx_idle_s, limited=options.limited)
        self._binance = BinanceServer(
            markets,
            self.hub,
            ping_every_s=options.binance_ping_s,
            life_s=options.binance_life_s,
            limited=options.limited,
        )
        self._usdm = UsdmServer(markets, self.hub, life_s=options.binance_life_s, limited=options.limited)
        self._source: Mapping[str, Any] = {}
        self._replay: Replay | None = None
        self._live: LiveFeed | None = None
        self._events: MarketEvents | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self.url = ""

    @classmethod
    def made_up(
        cls,
        state: MarketState,
        *,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        clock: Clock | None = None,
        options: VenueOptions | None = None,
    ) -> SimulatedVenue:
        """A venue of generated markets. Raises InvalidInput for symbols it does not know."""
        clock = clock or WallClock()

        def make(shape: MarketShape, listed_at_ms: int) -> Market:
            scripted = ScriptedMarket(
                shape, seed=state.seed, listed_at_ms=listed_at_ms, rate_multiplier=state.rate
            )
            return generated_market(scripted, GeneratedTape(scripted, clock))

        markets = MarketList(make(shape, state.listed_at_ms) for shape in shapes_of(symbols))
        venue = cls(markets, dict.fromkeys(VENUES, clock), options or VenueOptions())
        venue._source = {"kind": "made up", "state": "live", **msgspec.to_builtins(state)}
        servers: dict[str, VenueServer] = {OKX: venue._okx, BINANCE: venue._binance, USDM: venue._usdm}
        venue._live = LiveFeed(markets, servers, clock)
        venue._events = MarketEvents(markets, make, clock, venue._live.changed)
        venue.hub.on_market_event = venue._events.happen
        return venue

    @classmethod
    def replaying(
        cls,
        recording: Recording,
        *,
        speed: float | None = 1.0,
        immediately: bool = False,
        options: VenueOptions | None = None,
    ) -> SimulatedVenue:
        """A venue that plays a recording; `speed` times the recorded pace, None as fast as clients read."""
        # Recordings of both venues may be years apart; an exchange that has none stands still.
        earliest = min(recording.first_trade_ms.values())
        clocks = {
            exchange: ReplayClock(recording.first_trade_ms.get(exchange, earliest)) for exchange in VENUES
        }
        markets = replayed_markets(recording)
        venue = cls(markets, clocks, options or VenueOptions())
        venue._replay = Replay(recording, markets, venue.hub, clocks, speed=speed, immediately=immediately)
        venue._source = {
            "kind": "frames",
            "files": [path.name for path in recording.files],
            "frames": dict(recording.frames),
            "lines": recording.counts.lines,
            "malformed": recording.counts.malformed,
            "unrouted": recording.unrouted,
        }
        return venue

    async def start(self, host: str = "127.0.0.1", port: int = 0, faults: Sequence[Fault] = ()) -> str:
        """Listen and begin; returns the base URL. Port 0 takes a free one.

        Raises InstallationError where the port is taken, and InvalidInput for market events that cannot be.
        """
        self._check(faults)
        loop = asyncio.get_running_loop()
        for fault in faults:
            if fault.begins_at is not None:
                fault.begins_at += loop.time()
        self.board.schedule(faults)
        application = web.Application(middlewares=[self._faulty])
        truth = TruthServer(self.markets, self.hub, self._describe_source, self._check)
        sides = (self._okx, self._binance, self._usdm, truth)
        application.add_routes([route for side in sides for route in side.routes()])
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        listener = _listening(host, port)
        await web.SockSite(self._runner, listener).start()
        self.url = f"http://{host}:{listener.getsockname()[1]}"
        self._tasks.append(asyncio.create_task(self.hub.watch_faults()))
        if self._live is not None:
            self._tasks.append(asyncio.create_task(self._live.run()))
        if self._replay is not None:
            self._tasks.append(asyncio.create_task(self._replay.run()))
        log.info("venue_listens url=%s", self.url)
        return self.url

    async def serve(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. A programming error in a feed ends it and is raised."""
        stopped = asyncio.create_task(stop.wait())
        running: set[asyncio.Task[Any]] = {stopped, *self._tasks}
        while not stopped.done():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        stopped.cancel()

    async def stop(self) -> None:
        """Close every connection and the port."""
        for market in self.markets:
            if isinstance(market.tape, GeneratedTape):
                market.tape.closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.hub.close_all()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def replay_state(self) -> str | None:
        """ "waiting", "replaying" or "finished"; None for a made-up market."""
        return self._replay.state if self._replay is not None else None

    def _describe_source(self) -> Mapping[str, Any]:
        if self._replay is None:
            return self._source
        progress = {
            exchange: {"state": state.state, "played": state.frames}
            for exchange, state in self._replay.states.items()
        }
        return {**self._source, "state": self._replay.state, "replay": progress}

    def _check(self, faults: Sequence[Fault]) -> None:
        if self._events is not None:
            self._events.check(faults)
        elif any(fault.name in MARKET_EVENTS for fault in faults):
            raise InvalidInput(
                Problem(
                    where="the plan",
                    field="fault",
                    value="",
                    expected=f"recorded markets stay as they were: no {', '.join(sorted(MARKET_EVENTS))}",
                )
            )

    def _last_known_id(self, exchange: str, symbol: str) -> int | None:
        market = self.markets.find(exchange, symbol)
        bounds = market.tape.bounds() if market else None
        return bounds[1] if bounds else None

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Every request passes the fault board first."""
        exchange = _exchange_of(request.path)
        if exchange is not None:
            if self.board.refuses(exchange):
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=503)
            if request.path.startswith(("/api/", "/fapi/")):
                delay_ms = self.board.added_ms("rest_delay", exchange)
                if delay_ms:
                    await asyncio.sleep(delay_ms / 1000)
                fault = self.board.rest_answer(exchange, request.path)
                if fault is not None:
                    return _error_answer(exchange, fault.status, fault.retry_after_s)
        answer = await handler(request)
        assert isinstance(answer, web.StreamResponse)
        return answer


def default_state(
    *, seed: int = DEFAULT_SEED, rate: float = DEFAULT_RATE, days: int = DEFAULT_HISTORY_DAYS, now_ms: int
) -> MarketState:
    """Markets that were listed `days` before the UTC midnight that precedes `now_ms`."""
    midnight = now_ms - now_ms % DAY_MS
    return MarketState(seed=seed, listed_at_ms=midnight - days * DAY_MS, rate=rate)


def kept_state(path: Path, wanted: MarketState, given: Mapping[str, Any]) -> MarketState:
    """The state kept in `path`, made there from `wanted` at the first start.

    Raises InvalidInput where the file is no such state or says otherwise than an option that was `given`.
    """
    expected = 'a state this command wrote: {"seed": ..., "listed_at_ms": ..., "rate": ...}'
    if not path.exists():
        _write_whole(path, msgspec.json.encode(wanted))
        return wanted
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=MarketState)
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(Problem(where=str(path), field="", value=str(error), expected=expected)) from error
    for name, value in given.items():
        if getattr(kept, name) != value:
            message = f"{getattr(kept, name)}, as the first start chose, or another --state file"
            raise InvalidInput(
                Problem(
                    where=f"--{name}",
                    field="",
                    value=str(value),
                    expected=f"with {path} it must be {message}",
                )
            )
    return kept


def _write_whole(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError as error:
        raise InvalidInput(
            Problem(
                where="--state",
                field="",
                value=str(path),
                expected=f"a file that can be written ({error.strerror})",
            )
        ) from error


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=256)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InstallationError(
                f"port {port} on {host} is taken by another program; end it or give another --port "
                "(0 takes a free one)"
            ) from error
        raise InstallationError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _exchange_of(path: str) -> str | None:
    if path.startswith(("/api/v5/", "/ws/v5/")):
        return OKX
    if path.startswith(("/fapi/", "/fstream/")):
        return USDM
    if path.startswith(("/api/v3/", "/ws/", "/stream")) or path == "/ws":
        return BINANCE
    return None


def _error_answer(exchange: str, status: int, retry_after_s: int | None) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    if exchange != OKX:
        code, message = (-1003, "Too many requests.") if status in (418, 429) else (-1000, "Injected error.")
        return web.json_response({"code": code, "msg": message}, status=status, headers=headers)
    if status == 200:
        code_text, message = (
            "50011",
            "Rate limit reached. Please throttle requests",
        )
    elif status == 429:
        code_text, message = "50011", "Too Many Requests"
    else:
        code_text, message = "50001", "Service unavailable"
    body = {"code": code_text, "msg": message, "data": []}
    return web.json_response(body, status=status, headers=headers)
