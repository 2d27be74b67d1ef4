"""The web server: pages, the live WebSocket and the health check in one ASGI application."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import plotly
import structlog
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse, Response

from bots.bot_loading import StrategyLoader
from dashboard.chart_data import ChartData
from dashboard.dash_app import ShellSources, build_dash
from dashboard.desk_pages import DeskRooms, add_downloads, desk_pages
from dashboard.gate import LOOPBACK_HOSTS, Gate, content_security_policy
from dashboard.live_hub import HEARTBEAT_S, TAB_INTERVAL_S, LiveHub, Tab
from dashboard.market_coverage import coverage_body
from dashboard.market_day import MarketDays
from dashboard.market_feed import chart_body, choices_body, history_body, watch_body
from dashboard.market_marks import marks_body, why_body
from dashboard.market_routes import add_changer, add_reader
from dashboard.market_sources import MarketSources
from dashboard.market_tape import QUOTES_CHANNEL, TapeReader, heard_channels, read_tape
from dashboard.page import Page
from dashboard.pages.backtests import BacktestSources, backtests_page
from dashboard.pages.bots import bots_page
from dashboard.pages.bots_sources import BotSources
from dashboard.pages.market import market_page
from dashboard.pages.portfolio import PortfolioSources, portfolio_page
from dashboard.pages.strategies import StrategySources, strategies_page
from dashboard.readers import (
    BotDesk,
    HealthReader,
    LiveBus,
    MarketReader,
    ResearchDesk,
    SafetyDesk,
    StrategyShelf,
)
from dashboard.saved_views import ViewShelf, change_views, views_body
from dashboard.writing_cookie import WritingOfRequest
from data.errors import TradingError
from data.models import Market
from data.stores import CoverageReader

_MARKET_READERS: dict[str, Callable[[MarketSources, Mapping[str, Any]], Any]] = {
    "/desk/chart": chart_body,
    "/desk/history": history_body,
    "/desk/watch": watch_body,
    "/desk/choices": choices_body,
    "/desk/marks": marks_body,
    "/desk/why": why_body,
    "/desk/coverage": coverage_body,
}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_LONGEST_MESSAGE = 10_000  # characters a browser may send at once

log = structlog.get_logger(__name__)


def build_web(
    *,
    market: MarketReader,
    bots: BotDesk,
    safety: SafetyDesk,
    strategies: StrategyShelf,
    load_strategy: StrategyLoader,
    health: HealthReader,
    bus: LiveBus,
    now_us: Callable[[], int],
    lab: ResearchDesk | None = None,
    rooms: DeskRooms | None = None,
    coverage: CoverageReader | None = None,
    tape: TapeReader | None = None,
    views: ViewShelf | None = None,
    allowed_hosts: Collection[str] = LOOPBACK_HOSTS,
    simulated: bool = False,
) -> FastAPI:
    """The application, ready for uvicorn. It begins to listen to the bus when the server starts.

    `now_us` is our clock in microseconds since the epoch. `allowed_hosts` are the names, without a port,
    under which a browser may open the page. `simulated` marks every page: its prices come from no real venue.
    """
    days = MarketDays(market, seconds=time.monotonic)
    chart = ChartData(market, strategies)

    def quotes_recorded(one: Market) -> bool | None:
        try:
            collectors = {} if rooms is None else rooms.settings.collectors()
        except TradingError:
            return None  # the Settings page says what is wrong with the file
        return QUOTES_CHANNEL in heard_channels(collectors, one) if collectors else None

    hub = LiveHub(
        bus,
        health,
        candles=market,
        day=days.remembered,
        overlay_ticks=chart.overlay_ticks,
        recent_ticks=chart.recent_ticks,
        known_overlay=chart.knows_overlay,
        tape=None if tape is None else partial(read_tape, tape, market, quotes_recorded),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Dash would set itself up at the first request to `/`, and a first visitor of another page would get
        # one without scripts. It has no public name for this.
        dash_app._setup_server()  # type: ignore[no-untyped-call]
        server.state.listening = listening = asyncio.create_task(hub.run())
        listening.add_done_callback(_report)
        yield
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    server = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @server.get("/healthz")
    async def healthz() -> Response:
        if server.state.listening.done():
            return JSONResponse({"status": "live updates ended"}, 503)
        return JSONResponse({"status": "ok"})

    @server.websocket("/ws/ui")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        async with hub.tab() as tab:
            await _serve_tab(socket, hub, tab, now_us)

    sources = MarketSources(
        market=market,
        chart=chart,
        days=days,
        bots=bots,
        hub=hub,
        now_us=now_us,
        coverage=coverage,
        views=views,
    )
    for path, read in _MARKET_READERS.items():
        add_reader(server, path, partial(read, sources))
    add_reader(server, "/desk/views", lambda _query: views_body(views))
    if views is not None:
        add_changer(server, "/desk/views", lambda text: change_views(views, text, now_us()))

    @server.get("/desk/plotly.js")
    async def plotly_script() -> Response:
        path = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        return FileResponse(path, headers={"Cache-Control": "max-age=86400"})

    # The pages' route answers every other path with the application and 200.
    @server.api_route("/api/{rest:path}", methods=_METHODS)
    async def no_such_api(rest: str) -> Response:
        return JSONResponse({"detail": f"there is no /api/{rest}"}, 404)

    if rooms is not None:
        add_downloads(server, rooms)
    research_pages = [] if lab is None else _research_pages(lab, market, strategies, bots, now_us)
    pages = (
        market_page(sources),
        bots_page(
            BotSources(
                bots=bots,
                market=market,
                days=days,
                risk=safety.risk,
                shelf=strategies,
                saved=None if lab is None else lab.strategies,
                load_strategy=load_strategy,
                now_us=now_us,
                seconds=time.monotonic,
            )
        ),
        portfolio_page(PortfolioSources(bots=bots, risk=safety.risk, seconds=time.monotonic)),
        *research_pages,
        *([] if rooms is None else desk_pages(rooms, market, health, now_us)),
    )
    header = ShellSources(market=market, bots=bots, stop=safety.stop, hub=hub, now_us=now_us)
    dash_app = build_dash(server, pages, header, simulated=simulated)
    server.add_middleware(
        Gate, allowed_hosts=allowed_hosts, policy=content_security_policy(dash_app.csp_hashes())
    )
    server.add_middleware(WritingOfRequest)
    return server


def _research_pages(
    lab: ResearchDesk,
    market: MarketReader,
    shelf: StrategyShelf,
    bots: BotDesk,
    now_us: Callable[[], int],
) -> list[Page]:
    strategies = StrategySources(strategies=lab.strategies, shelf=shelf, research=lab.research, market=market)
    backtests = BacktestSources(
        strategies=lab.strategies,
        shelf=shelf,
        jobs=lab.jobs,
        research=lab.research,
        market=market,
        bots=bots,
        now_us=now_us,
    )
    return [backtests_page(backtests), strategies_page(strategies)]


def _report(task: asyncio.Task[None]) -> None:
    """A hub that ended by an error leaves the pages without news: say so, loudly."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("live_updates_ended", error=repr(error), exc_info=error)


async def _serve_tab(socket: WebSocket, hub: LiveHub, tab: Tab, now_us: Callable[[], int]) -> None:
    """Send a tab its news and follow what it watches, until it leaves."""
    sending = asyncio.create_task(_send(socket, tab, now_us))
    following = asyncio.create_task(_follow(socket, hub, tab))
    try:
        await asyncio.wait((sending, following), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, following):
            task.cancel()
        outcomes = await asyncio.gather(sending, following, return_exceptions=True)
    for outcome in outcomes:
        left = isinstance(outcome, WebSocketDisconnect | asyncio.CancelledError)
        if isinstance(outcome, BaseException) and not left:
            raise outcome


async def _send(socket: WebSocket, tab: Tab, now_us: Callable[[], int]) -> None:
    while True:
        await tab.news(HEARTBEAT_S)
        message: dict[str, Any] = {"t": now_us(), "m": tab.drain()}
        await socket.send_text(json.dumps(message, separators=(",", ":")))
        await asyncio.sleep(TAB_INTERVAL_S)


async def _follow(socket: WebSocket, hub: LiveHub, tab: Tab) -> None:
    while True:
        text = await socket.receive_text()
        try:
            wanted = json.loads(text)["sub"] if len(text) <= _LONGEST_MESSAGE else None
        except (ValueError, KeyError, TypeError):
            wanted = None
        if not isinstance(wanted, list) or not all(isinstance(topic, str) for topic in wanted):
            await socket.close(1007, "expected a list of topics under sub")
            return
        hub.watch(tab, wanted)
