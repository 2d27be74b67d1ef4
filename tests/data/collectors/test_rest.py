from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from data.collectors.rest import RestTransport, VenueRest
from data.collectors.rest_binance import BinanceTransport
from data.collectors.rest_okx import OkxTransport
from data.errors import BadDataError, RateLimited, TransientError, VenueUnreachable
from data.exchanges.base import RestRequest
from data.exchanges.binance_usdm import BinanceUsdmAdapter
from data.exchanges.okx import OkxAdapter
from data.models import Instrument, InstrumentKind
from data.timeframes import Timeframe

MINUTE_MS = 60_000
REQUEST = RestRequest(path="/api/v5/public/time", params={"a": "1"})


class OkxCandles:
    """Satisfies `RestTransport`: pages of one-minute candles 0 to `count` - 1, the last of them forming."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.requests: list[RestRequest] = []

    async def get(self, request: RestRequest) -> object:
        self.requests.append(request)
        if request.path.endswith("/time"):
            return {"code": "0", "data": [{"ts": str(self.count * MINUTE_MS)}]}
        before_ms = int(request.params.get("after", self.count * MINUTE_MS))
        newest_first = range(before_ms // MINUTE_MS - 1, -1, -1)[: int(request.params["limit"])]
        rows = [
            [str(number * MINUTE_MS), "1", "2", "1", "2", "3", "3", "3", str(int(number < self.count - 1))]
            for number in newest_first
        ]
        return {"code": "0", "data": rows}

    async def close(self) -> None:
        return


def okx_rest(transport: RestTransport) -> VenueRest:
    adapter = OkxAdapter()
    adapter.use(
        [
            Instrument(
                exchange="okx",
                symbol="BTC-USDT",
                venue_symbol="BTC-USDT",
                kind=InstrumentKind.SPOT,
                base="BTC",
                quote="USDT",
                tick_size=Decimal("0.1"),
                lot_size=Decimal("0.00000001"),
                min_quantity=Decimal("0.00001"),
                min_notional=Decimal(0),
            )
        ]
    )
    return VenueRest(adapter, transport)


async def test_candles_are_gathered_over_pages_without_the_one_in_the_making() -> None:
    venue = OkxCandles(2_000)
    candles = await okx_rest(venue).klines("BTC-USDT", Timeframe.M1, 700)
    assert [candle.opened_at_us for candle in candles] == [
        number * MINUTE_MS * 1_000 for number in range(1_299, 1_999)
    ]
    assert len(venue.requests) == 4


async def test_a_young_market_gives_all_the_candles_it_has() -> None:
    candles = await okx_rest(OkxCandles(5)).klines("BTC-USDT", Timeframe.M1, 700)
    assert len(candles) == 4


Answer = Callable[[web.Request], Awaitable[web.Response]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    runners: list[web.AppRunner] = []

    async def start(answer: Answer) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


class Banned:
    """Satisfies `RestTransport`: the first request bans the address, the others are answered."""

    def __init__(self) -> None:
        self.asked_s: list[float] = []

    async def get(self, request: RestRequest) -> object:
        self.asked_s.append(asyncio.get_running_loop().time())
        if len(self.asked_s) == 1:
            raise RateLimited("binance", 0.2, banned=True)
        return {"serverTime": 1}

    async def close(self) -> None:
        return


async def test_a_ban_silences_every_path_of_the_venue() -> None:
    transport = Banned()
    rest = VenueRest(BinanceUsdmAdapter(), transport)
    paths = BinanceUsdmAdapter.limits.rest_by_path
    assert paths
    banned = RestRequest(path=next(iter(paths)), params={})
    with pytest.raises(RateLimited):
        await rest._get(banned)
    await rest.server_time_us()
    first_s, second_s = transport.asked_s
    assert second_s - first_s >= 0.19


async def asked(transport: RestTransport) -> object:
    try:
        return await transport.get(REQUEST)
    finally:
        await transport.close()


TRANSPORTS = [OkxTransport, BinanceTransport]


@pytest.mark.integration
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_reply_comes_decoded_and_the_request_names_its_parameters(
    serve: Any, transport: Callable[[str], RestTransport]
) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path_qs)
        return web.json_response({"code": "0", "data": []})

    assert await asked(transport(await serve(answer))) == {"code": "0", "data": []}
    assert seen in ([["/api/v5/public/time?a=1"], ["/api/v3//api/v5/public/time?a=1"]])


@pytest.mark.integration
@pytest.mark.parametrize(
    ("transport", "status", "body", "error"),
    [
        (OkxTransport, 429, '{"code":"50011","msg":"Too Many Requests","data":[]}', RateLimited),
        (OkxTransport, 200, '{"code":"50011","msg":"Rate limit reached","data":[]}', RateLimited),
        (OkxTransport, 503, '{"code":"50001","msg":"Service unavailable","data":[]}', TransientError),
        (OkxTransport, 503, "<html>maintenance</html>", VenueUnreachable),
        (OkxTransport, 200, '{"code":"51001","msg":"Instrument does not exist","data":[]}', BadDataError),
        (OkxTransport, 200, "[1]", BadDataError),
        (BinanceTransport, 429, '{"code":-1003,"msg":"Too many requests"}', RateLimited),
        (BinanceTransport, 418, '{"code":-1003,"msg":"Banned"}', RateLimited),
        (BinanceTransport, 503, "<html>maintenance</html>", VenueUnreachable),
        (BinanceTransport, 200, "<html>captive portal</html>", VenueUnreachable),
        (BinanceTransport, 400, '{"code":-1121,"msg":"Invalid symbol."}', BadDataError),
    ],
)
async def test_failures_say_what_to_do_about_them(
    serve: Any,
    transport: Callable[[str], RestTransport],
    status: int,
    body: str,
    error: type[Exception],
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={"Retry-After": "7"})

    with pytest.raises(error) as caught:
        await asked(transport(await serve(answer)))
    if isinstance(caught.value, RateLimited) and transport is BinanceTransport:
        assert (caught.value.retry_after_s, caught.value.banned) == (7.0, status == 418)


@pytest.mark.integration
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_host_that_does_not_listen_is_named(transport: Callable[[str], RestTransport]) -> None:
    with pytest.raises(VenueUnreachable, match=r"cannot be reached at http://127\.0\.0\.1:9: "):
        await asked(transport("http://127.0.0.1:9"))


@pytest.mark.integration
async def test_loading_okxs_library_leaves_the_root_logger_alone() -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    with pytest.raises(VenueUnreachable):
        await asked(OkxTransport("http://127.0.0.1:9"))
    assert (list(root.handlers), root.level) == before
