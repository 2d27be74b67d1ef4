"""Faults of REST, of acknowledgements and of the clock, seen through a running venue."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosed

from tests.simulator.venues import ManualClock, RunningVenue, receive

_SUBSCRIBE = json.dumps({"op": "subscribe", "args": [{"channel": "trades-all", "instId": "BTC-USDT"}]})


async def seconds(waited: asyncio.Future[object] | asyncio.Task[object]) -> float:
    began = asyncio.get_running_loop().time()
    await waited
    return asyncio.get_running_loop().time() - began


async def test_rest_answers_come_later(still: RunningVenue) -> None:
    await still.post_faults({"fault": "rest_delay", "ms": 300, "exchange": "binance_usdm"})
    assert await seconds(asyncio.ensure_future(still.get("/fapi/v1/time"))) >= 0.3
    assert await seconds(asyncio.ensure_future(still.get("/api/v3/time"))) < 0.3


@pytest.mark.parametrize(
    ("path", "field", "exchange"),
    [
        ("/api/v5/market/history-trades?instId=BTC-USDT&limit=1", "ts", "okx"),
        ("/api/v3/trades?symbol=BTCUSDT&limit=1", "time", "binance"),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1", "T", "binance_usdm"),
    ],
)
async def test_rest_does_not_know_the_newest_trades_yet(
    still: RunningVenue, clock: ManualClock, path: str, field: str, exchange: str
) -> None:
    await still.post_faults({"fault": "rest_lag", "ms": 60_000, "exchange": exchange})
    body = (await still.get(path)).body
    (row,) = body["data"] if exchange == "okx" else body
    assert clock.now_ms - 70_000 < int(row[field]) < clock.now_ms - 60_000


async def test_okx_limits_inside_an_answer_that_looks_fine(still: RunningVenue) -> None:
    await still.post_faults({"fault": "rest_error", "status": 200, "exchange": "okx", "count": 1})
    refused = await still.get("/api/v5/public/time")
    assert (refused.status, refused.body["code"]) == (200, "50011")
    assert (await still.get("/api/v5/public/time")).body["code"] == "0"


async def test_acknowledgements_come_later_than_data(live: RunningVenue) -> None:
    await live.post_faults({"fault": "slow_acks", "ms": 400})
    async with live.socket("/ws/v5/business") as socket:
        await socket.send(_SUBSCRIBE)
        first, *_ = messages = await receive(socket, 3)
        assert "data" in first
        while "event" not in messages[-1]:
            messages += await receive(socket, 1)
        assert messages[-1]["event"] == "subscribe"


async def test_the_venue_tells_a_wrong_time(still: RunningVenue, clock: ManualClock) -> None:
    await still.post_faults({"fault": "clock_skew", "ms": -2_000, "exchange": "binance"})
    assert (await still.get("/api/v3/time")).body["serverTime"] == clock.now_ms - 2_000
    assert (await still.get("/fapi/v1/time")).body["serverTime"] == clock.now_ms - 2_000
    assert (await still.okx("/public/time"))[0]["ts"] == str(clock.now_ms)


async def test_a_connection_breaks_inside_a_message(still: RunningVenue) -> None:
    async with still.socket("/ws/v5/business") as socket:
        await socket.send(_SUBSCRIBE)
        await receive(socket, 1)
        await still.post_faults({"fault": "disconnect", "mid_message": True})
        with pytest.raises(ConnectionClosed) as broken:
            await asyncio.wait_for(socket.recv(), 5)
        assert broken.value.rcvd is None
