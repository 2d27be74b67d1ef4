"""Faults as clients meet them, over real sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidMessage

from simulator.fault_plans import parse_fault_plan
from simulator.recordings import read_recording
from simulator.venue import SimulatedVenue, VenueOptions
from tests.simulator.venues import RunningVenue, VenueOf, receive, recorded, trade_frame

pytestmark = pytest.mark.integration


TRADES_ALL = json.dumps({"op": "subscribe", "args": [{"channel": "trades-all", "instId": "BTC-USDT"}]})


async def ids_of(socket: ClientConnection, count: int) -> list[int]:
    """Ids of the next trades of a raw Binance trade stream."""
    return [message["t"] for message in await receive(socket, count)]


async def read_until_broken(socket: ClientConnection, seen: list[int]) -> None:
    """Note the ids that come before the connection breaks."""
    async for text in socket:
        seen.append(json.loads(text)["t"])


async def test_a_cut_connection_breaks_without_a_goodbye_and_a_new_one_works(live: RunningVenue) -> None:
    async with live.socket("/ws/btcusdt@trade") as socket:
        await receive(socket, 3)
        await live.post_faults({"fault": "disconnect", "exchange": "binance"})
        with pytest.raises(ConnectionClosed) as broken:
            await receive(socket, 100_000)
        assert broken.value.rcvd is None
    async with live.socket("/ws/btcusdt@trade") as socket:
        assert await ids_of(socket, 2)


async def test_a_connection_can_be_closed_with_a_code_and_others_spared(live: RunningVenue) -> None:
    async with live.socket("/ws/v5/business") as first, live.socket("/ws/v5/business") as second:
        await first.send(TRADES_ALL)
        await second.send(TRADES_ALL)
        await receive(first, 2)
        await live.post_faults({"fault": "disconnect", "exchange": "okx", "code": 4006, "connections": 1})
        with pytest.raises(ConnectionClosed) as closed:
            await receive(first, 100_000)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4006
        await receive(second, 50)


async def test_disconnects_can_be_planned_by_the_number_of_messages(
    start_venue: VenueOf, tmp_path: Path
) -> None:
    path = recorded(tmp_path, *(trade_frame(number, second=number) for number in range(100)))
    plan = parse_fault_plan([{"fault": "disconnect", "after_messages": 40}], where="plan", started_at=0.0)
    options = VenueOptions(limited=False)
    recording = read_recording([path])
    venue = await start_venue(SimulatedVenue.replaying(recording, speed=50.0, options=options), faults=plan)
    seen: list[int] = []
    async with venue.socket("/ws/btcusdt@trade") as socket:
        with pytest.raises(ConnectionClosed):
            await read_until_broken(socket, seen)
    assert seen == list(range(len(seen)))
    assert 30 <= len(seen) <= 40
    async with venue.socket("/ws/btcusdt@trade") as socket:
        (first,) = await ids_of(socket, 1)
    rows = (await venue.get(f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={len(seen)}&limit=1000")).body
    assert [row["id"] for row in rows if row["id"] < first] == list(range(len(seen), first))


async def test_a_half_open_connection_is_silent_stays_open_and_answers_nothing(live: RunningVenue) -> None:
    async with live.socket("/ws/v5/business") as socket:
        await socket.send(TRADES_ALL)
        await receive(socket, 3)
        await live.post_faults({"fault": "half_open", "exchange": "okx"})
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await receive(socket, 100_000, wait_s=0.4)
        await socket.send("ping")
        pong = await socket.ping()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(pong), 0.4)
        state = (await live.get("/sim/state")).body
        assert [one["half_open"] for one in state["connections"]] == [True]
        async with live.socket("/ws/v5/business") as fresh:
            await fresh.send(TRADES_ALL)
            await receive(fresh, 3)
    # The client said goodbye and nobody answered.
    assert socket.close_code == 1006
    async with asyncio.timeout(60):
        while (await live.get("/sim/state")).body["clients"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_what_was_on_its_way_is_lost_when_a_connection_dies(live: RunningVenue) -> None:
    await live.post_faults({"fault": "delay", "ms": 300, "exchange": "binance"})
    async with live.socket("/ws/btcusdt@trade") as socket:
        await receive(socket, 1)
        await live.post_faults({"fault": "half_open", "exchange": "binance"})
        with pytest.raises(TimeoutError):
            await receive(socket, 60, wait_s=0.7)


async def test_delayed_messages_come_late_and_in_order(live: RunningVenue) -> None:
    await live.post_faults({"fault": "delay", "ms": 400, "exchange": "binance"})
    async with live.socket("/ws/btcusdt@trade") as socket:
        messages = await receive(socket, 50)
        (answer,) = [(await live.get("/api/v3/time")).body["serverTime"]]
    ids = [message["t"] for message in messages]
    assert ids == list(range(ids[0], ids[0] + 50))
    assert answer - messages[-1]["T"] >= 390


async def test_duplicates_come_as_often_as_planned(live: RunningVenue) -> None:
    await live.post_faults({"fault": "duplicate", "times": 3, "channel": "trade"})
    async with live.socket("/ws/btcusdt@trade") as socket:
        ids = await ids_of(socket, 60)
    assert ids == [ids[0] + place // 3 for place in range(60)]


async def test_reordered_messages_all_come(live: RunningVenue) -> None:
    await live.post_faults({"fault": "reorder", "ms": 200})
    async with live.socket("/ws/btcusdt@trade") as socket:
        ids = await ids_of(socket, 300)
    assert ids != sorted(ids)
    assert len(set(ids)) == 300
    settled = sorted(ids)[20:200]
    assert settled == list(range(settled[0], settled[0] + len(settled)))


async def test_a_malformed_message_takes_its_places_and_the_rest_is_whole(live: RunningVenue) -> None:
    await live.post_faults({"fault": "malformed", "every": 5})
    broken, whole = 0, []
    async with live.socket("/ws/btcusdt@trade") as socket:
        for _ in range(50):
            try:
                whole.append(json.loads(await asyncio.wait_for(socket.recv(), 60))["t"])
            except json.JSONDecodeError:
                broken += 1
    assert broken == 10
    assert whole[:8] == [whole[0] + number for number in (0, 1, 2, 3, 5, 6, 7, 8)]


async def test_withheld_trades_miss_on_the_stream_and_may_be_fetched(live: RunningVenue) -> None:
    async with live.socket("/ws/btcusdt@trade") as socket:
        (first,) = await ids_of(socket, 1)
        low = first + 600
        plan = {"symbol": "BTC-USDT", "exchange": "binance", "fault": "withhold"}
        await live.post_faults(
            {**plan, "from_id": low, "to_id": low + 4},
            {**plan, "from_id": low + 10, "to_id": low + 12, "permanent": True},
        )
        ids: list[int] = []
        while not ids or ids[-1] < low + 20:
            ids += await ids_of(socket, 1)
    missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids))
    absent = [low + 10, low + 11, low + 12]
    assert missing == [*range(low, low + 5), *absent]
    rows = (await live.get(f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={low}&limit=15")).body
    assert [row["id"] for row in rows] == [n for n in range(low, low + 18) if n not in absent]
    truth = (
        await live.get(f"/sim/truth/trades?exchange=binance&symbol=BTC-USDT&from_id={low}&to_id={low + 17}")
    ).body
    assert [row["id"] for row in truth] == list(range(low, low + 18))
    withheld = (await live.get("/sim/state")).body["withheld"]
    assert [(gap["from_id"], gap["to_id"], gap["permanent"]) for gap in withheld] == [
        (low, low + 4, False),
        (low + 10, low + 12, True),
    ]


async def test_absent_trades_miss_in_okx_history_too(still: RunningVenue) -> None:
    newest = int((await still.okx("/market/trades?instId=BTC-USDT&limit=1"))[0]["tradeId"])
    await still.post_faults(
        {
            "fault": "withhold",
            "exchange": "okx",
            "symbol": "BTC-USDT",
            "from_id": newest - 5,
            "to_id": newest - 2,
            "permanent": True,
        }
    )
    rows = await still.okx("/market/history-trades?instId=BTC-USDT&limit=4")
    assert [int(row["tradeId"]) for row in rows] == [newest, newest - 1, newest - 6, newest - 7]


async def test_a_silent_subscription_is_acknowledged_and_the_others_go_on(live: RunningVenue) -> None:
    await live.post_faults({"fault": "silent", "exchange": "okx", "channel": "trades-all"})
    async with live.socket("/ws/v5/business") as business, live.socket("/ws/v5/public") as public:
        await business.send(TRADES_ALL)
        await public.send(TRADES_ALL.replace("trades-all", "trades"))
        assert (await receive(business, 1))[0]["event"] == "subscribe"
        await receive(public, 5)
        with pytest.raises(TimeoutError):
            await receive(business, 1, wait_s=0.3)


async def test_refused_connections_and_requests_break_until_it_is_over(live: RunningVenue) -> None:
    await live.post_faults({"fault": "refuse", "exchange": "binance", "for_s": 3})
    with pytest.raises((OSError, EOFError, InvalidMessage)):
        async with live.socket("/ws/btcusdt@trade"):
            raise AssertionError("connected")
    with pytest.raises(aiohttp.ClientError):
        await live.get("/api/v3/ping")
    await live.okx("/public/time")
    async with asyncio.timeout(60):
        while True:
            with suppress(aiohttp.ClientError):
                assert (await live.get("/api/v3/ping")).status == 200
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("status", [418, 429, 503])
async def test_rest_errors_have_the_venues_shape(still: RunningVenue, status: int) -> None:
    await still.post_faults({"fault": "rest_error", "status": status, "retry_after_s": 2, "count": 2})
    binance, okx = await still.get("/api/v3/ping"), await still.get("/api/v5/public/time")
    assert (binance.status, okx.status) == (status, status)
    assert binance.headers["Retry-After"] == "2"
    assert "code" in binance.body
    assert okx.body["data"] == []
    assert (await still.get("/api/v3/ping")).status == 200


async def test_an_upgrade_is_announced_and_then_carried_out(live: RunningVenue) -> None:
    async with (
        live.socket("/ws/v5/public") as public,
        live.socket("/ws/v5/business") as business,
        live.socket("/stream") as binance,
    ):
        await live.post_faults({"fault": "upgrade", "close_after_s": 0.2})
        (notice,) = await receive(public, 1)
        assert (notice["event"], notice["code"]) == ("notice", "64008")
        (shutdown,) = await receive(binance, 1)
        assert (shutdown["stream"], shutdown["data"]["e"]) == ("!serverShutdown", "serverShutdown")
        for socket in (public, business, binance):
            with pytest.raises(ConnectionClosed):
                await receive(socket, 1)


async def test_a_wrong_fault_is_refused_with_its_place(still: RunningVenue) -> None:
    answer = await still.post_faults({"fault": "delay", "ms": 5}, {"fault": "delay"})
    assert answer.status == 400
    assert "[1].ms" in answer.body["error"]
    assert (await still.get("/sim/faults")).body == []


async def test_faults_are_listed_and_cleared(still: RunningVenue) -> None:
    await still.post_faults({"fault": "delay", "ms": 5, "at_s": 1000}, {"fault": "silent"})
    faults = (await still.get("/sim/faults")).body
    assert [(fault["fault"], fault["state"]) for fault in faults] == [
        ("delay", "waiting"),
        ("silent", "active"),
    ]
    async with still.session.delete(still.url + "/sim/faults") as response:
        assert response.status == 200
    assert {fault["state"] for fault in (await still.get("/sim/faults")).body} == {"over"}


@pytest.mark.parametrize(
    "path",
    [
        "/sim/truth/trades?exchange=kraken&symbol=BTC-USDT",
        "/sim/truth/trades?exchange=okx&symbol=NO-SUCH",
        "/sim/truth/trades?exchange=okx&symbol=BTC-USDT&from_id=x",
        "/sim/truth/candles?exchange=okx&symbol=BTC-USDT&timeframe=7m",
    ],
)
async def test_wrong_questions_for_the_truth_say_what_is_right(still: RunningVenue, path: str) -> None:
    answer = await still.get(path)
    assert answer.status == 400
    assert "one of" in answer.body["error"] or "whole number" in answer.body["error"]
