"""Recordings replayed over real sockets: verbatim, to those who asked, remembered as far as played."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from simulator.recordings import read_recording
from simulator.venue import SimulatedVenue, VenueOptions
from tests.simulator.venues import RunningVenue, VenueOf, receive, recorded, trade_frame

pytestmark = pytest.mark.integration


OKX_2021 = tuple(f"okx/cryptofeed_public_20210722_conn{number}.log.gz" for number in (1, 2, 3))
FREE = VenueOptions(limited=False)


async def played(venue: RunningVenue, exchange: str) -> dict[str, Any]:
    state = (await venue.get("/sim/state")).body
    progress: dict[str, Any] = state["source"]["replay"][exchange]
    return progress


async def until_finished(venue: RunningVenue, exchange: str) -> None:
    async with asyncio.timeout(90):
        while (await played(venue, exchange))["state"] != "finished":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_frames_arrive_as_they_were_recorded_in_the_envelope_asked_for(
    start_venue: VenueOf, tmp_path: Path
) -> None:
    lines = [trade_frame(number, second=number) for number in range(50)]
    path = recorded(tmp_path, *lines)
    venue = await start_venue(SimulatedVenue.replaying(read_recording([path]), speed=None))
    async with (
        venue.socket("/stream?streams=btcusdt@trade") as combined,
        venue.socket("/ws/btcusdt@trade") as raw,
    ):
        wrapped = [await asyncio.wait_for(combined.recv(), 60) for _ in lines]
        bare = [await asyncio.wait_for(raw.recv(decode=True), 60) for _ in lines]
    texts = [line.partition(" ")[2] for line in lines]
    assert wrapped == texts
    assert [f'{{"stream":"btcusdt@trade","data":{text}}}' for text in bare] == texts


async def test_three_recordings_deliver_each_trade_three_times(
    start_venue: VenueOf, shared_data: Path
) -> None:
    recording = read_recording([shared_data / "frames" / name for name in OKX_2021])
    venue = await start_venue(SimulatedVenue.replaying(recording, speed=None, options=FREE))
    names = [name for exchange, name in recording.markets if exchange == "okx"]
    args = [{"channel": "trades-all", "instId": name} for name in names]
    async with venue.socket("/ws/v5/business") as socket, venue.socket("/ws/v5/public") as public:
        await socket.send(json.dumps({"op": "subscribe", "args": args}))
        await public.send(
            json.dumps({"op": "subscribe", "args": [{"channel": "trades", "instId": "XMR-USDT-SWAP"}]})
        )
        messages = (await receive(socket, len(names) + 108))[len(names) :]
        verbatim = (await receive(public, 19))[1:]
    ids = [(one["arg"]["instId"], one["data"][0]["tradeId"]) for one in messages]
    assert (len(ids), len(set(ids))) == (108, 36)
    assert {one["arg"]["channel"] for one in messages} == {"trades-all"}
    assert [one["data"][0] for one in verbatim] == [
        one["data"][0] for one in messages if one["arg"]["instId"] == "XMR-USDT-SWAP"
    ]
    rows = await venue.okx("/market/history-trades?instId=XMR-USDT-SWAP")
    assert [row["tradeId"] for row in rows] == [str(number) for number in range(6845130, 6845124, -1)]


async def test_nothing_is_played_before_somebody_listens(start_venue: VenueOf, tmp_path: Path) -> None:
    path = recorded(tmp_path, *(trade_frame(number, second=number) for number in range(3)))
    venue = await start_venue(SimulatedVenue.replaying(read_recording([path]), speed=None))
    async with venue.socket("/ws") as socket:
        await asyncio.sleep(0.5)
        assert await played(venue, "binance") == {"state": "waiting", "played": 0}
        assert (await venue.get("/api/v3/trades?symbol=BTCUSDT")).body == []
        await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}')
        assert [message.get("t") for message in await receive(socket, 4)] == [None, 0, 1, 2]
        await until_finished(venue, "binance")
        assert (await venue.get("/sim/state")).body["source"]["state"] == "finished"
        await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":2}')
        assert (await receive(socket, 1))[0]["result"] == ["btcusdt@trade"]


async def test_who_was_away_can_fetch_exactly_what_was_played_meanwhile(
    start_venue: VenueOf, tmp_path: Path
) -> None:
    path = recorded(tmp_path, *(trade_frame(number, second=number / 20) for number in range(1, 901)))
    venue = await start_venue(SimulatedVenue.replaying(read_recording([path]), speed=1.0, options=FREE))
    async with venue.socket("/ws/btcusdt@trade") as socket:
        before = [message["t"] for message in await receive(socket, 10)]
    await asyncio.sleep(0.5)
    known = (await venue.get("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1&limit=1000")).body
    assert 10 < len(known) < 900
    async with venue.socket("/ws/btcusdt@trade") as socket:
        after = [message["t"] for message in await receive(socket, 3)]
        gap = (
            await venue.get(f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={before[-1] + 1}&limit=1000")
        ).body
        missed = [row["id"] for row in gap if row["id"] < after[0]]
    assert before + missed + after == list(range(1, after[-1] + 1))


async def test_speed_shortens_the_pauses_of_the_recording(start_venue: VenueOf, tmp_path: Path) -> None:
    path = recorded(tmp_path, *(trade_frame(number, second=10 * number) for number in range(41)))
    venue = await start_venue(SimulatedVenue.replaying(read_recording([path]), speed=1_000.0))
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    async with venue.socket("/ws/btcusdt@trade") as socket:
        await receive(socket, 41)
    assert 0.3 <= loop.time() - started_at < 400  # 400 s, a thousand times as fast


async def test_klines_are_told_for_whole_minutes_of_the_recording_alone(
    start_venue: VenueOf, tmp_path: Path
) -> None:
    path = recorded(tmp_path, *(trade_frame(number, second=30 + 7 * number) for number in range(1, 40)))
    recording = read_recording([path])
    venue = await start_venue(SimulatedVenue.replaying(recording, speed=None, immediately=True, options=FREE))
    await until_finished(venue, "binance")
    rows = (await venue.get("/api/v3/klines?symbol=BTCUSDT&interval=1m")).body
    start = 1_723_161_240_000
    assert [row[0] for row in rows] == [start + 60_000 * minute for minute in (1, 2, 3, 4)]
    trades = (await venue.get("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=0&limit=1000")).body
    inside = [row for row in trades if rows[0][0] <= row["time"] <= rows[0][6]]
    assert rows[0][8] == len(inside)
    assert [rows[0][1], rows[0][4]] == [inside[0]["price"], inside[-1]["price"]]
    truth = (await venue.get("/sim/truth/candles?exchange=binance&symbol=BTC-USDT")).body
    assert [candle["opened_at"] for candle in truth] == [row[0] for row in rows]


async def test_recorded_instruments_are_served_as_they_are(start_venue: VenueOf, shared_data: Path) -> None:
    bodies = [shared_data / "rest/okx/public_instruments_SWAP_20220513.json.gz"]
    recording = read_recording([shared_data / "frames/okx/cryptofeed_public_20220513.log.gz"], bodies)
    venue = await start_venue(SimulatedVenue.replaying(recording, speed=None, options=FREE))
    (swap,) = await venue.okx("/public/instruments?instType=SWAP")
    assert (swap["instId"], swap["ctVal"], swap["maxIcebergSz"]) == ("UNI-USD-SWAP", "10", "100000000")
    (spot,) = await venue.okx("/public/instruments?instType=SPOT")
    assert (spot["instId"], spot["tickSz"], spot["baseCcy"]) == ("BTC-USDT", "0.1", "BTC")


async def test_recorded_aggregates_are_served_as_such(start_venue: VenueOf, shared_data: Path) -> None:
    recording = read_recording([shared_data / "frames/binance/cryptofeed_spot_20210404.log.gz"])
    venue = await start_venue(SimulatedVenue.replaying(recording, speed=None, immediately=True, options=FREE))
    await until_finished(venue, "binance")
    rows = (await venue.get("/api/v3/aggTrades?symbol=ETHUSDT&fromId=291477091&limit=1000")).body
    assert [row["a"] for row in rows] == list(range(291477091, 291477597))
    assert rows[0]["l"] >= rows[0]["f"] > 0
    assert (await venue.get("/api/v3/trades?symbol=ETHUSDT")).body == []


async def test_the_whole_binance_recording_passes_a_socket(start_venue: VenueOf, shared_data: Path) -> None:
    recording = read_recording(
        [shared_data / "frames/binance" / f"spot_btcusdt_2024080{day}.log.gz" for day in (8, 9)]
    )
    venue = await start_venue(SimulatedVenue.replaying(recording, speed=None, options=FREE))
    async with venue.socket("/stream?streams=btcusdt@trade") as socket:
        ids = [message["data"]["t"] for message in await receive(socket, 19_904, wait_s=60)]
        await until_finished(venue, "binance")
    assert ids == list(range(3735683259, 3735703163))
    truth = (await venue.get("/sim/truth/trades?exchange=binance&symbol=BTCUSDT")).body
    assert [row["id"] for row in truth] == ids
