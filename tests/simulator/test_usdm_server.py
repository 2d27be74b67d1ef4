"""Binance's futures as the simulated venue speaks them: routes, aggregates, limits."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from simulator.usdm_messages import first_single_id, last_single_id, singles_in
from simulator.venue import SimulatedVenue, VenueOptions
from tests.simulator.venues import LISTED_AT_MS, STATE, ManualClock, RunningVenue, VenueOf, receive

_AGGREGATES = "/fapi/v1/aggTrades?symbol=BTCUSDT"


def test_aggregates_follow_each_other_while_single_ids_have_holes() -> None:
    holes = 0
    for number in range(1, 301):
        between = first_single_id(number + 1) - last_single_id(number) - 1
        assert between in (0, 1)
        holes += between
    assert holes == 6
    singles = sum(last_single_id(number) - first_single_id(number) + 1 for number in range(10, 61))
    assert singles == singles_in(10, 60)


async def test_a_stream_on_the_wrong_route_is_acknowledged_and_silent(live: RunningVenue) -> None:
    await live.post_faults({"fault": "list", "symbol": "BTC-USDT-PERP", "exchange": "binance_usdm"})
    subscribe = json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1})
    async with live.socket("/fstream/public/stream") as wrong, live.socket("/fstream/market/stream") as right:
        await wrong.send(subscribe)
        await right.send(subscribe)
        assert await receive(wrong, 1) == [{"result": None, "id": 1}]
        _, first = await receive(right, 2)
        assert first["data"]["e"] == "aggTrade"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wrong.recv(), 0.5)
        await wrong.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 2}))
        assert await receive(wrong, 1) == [{"result": ["btcusdt@aggTrade"], "id": 2}]
        state = (await live.get("/sim/state")).body
    assert {"binance_usdm"} == {connection["exchange"] for connection in state["connections"]}


@pytest.mark.parametrize("path", ["/fstream/ws", "/fstream/stream?streams=btcusdt@aggTrade"])
async def test_addresses_without_a_route_are_dead(still: RunningVenue, path: str) -> None:
    with pytest.raises(InvalidStatus):
        async with still.socket(path):
            pass


async def test_aggregates_older_than_two_days_are_gone(start_venue: VenueOf) -> None:
    clock = ManualClock(LISTED_AT_MS + 3 * 86_400_000)
    options = VenueOptions(limited=False)
    venue = await start_venue(
        SimulatedVenue.made_up(STATE, symbols=["BTC-USDT-PERP"], clock=clock, options=options)
    )
    rows = (await venue.get(f"{_AGGREGATES}&fromId=1&limit=3")).body
    assert len(rows) == 3
    assert rows[0]["T"] >= clock.now_ms - 48 * 3_600_000
    path, older = "/sim/truth/trades?exchange=binance&symbol=BTC-USDT-PERP", rows[0]["a"] - 1
    before = await venue.get(f"{path}&from_id={older}&to_id={older}")
    assert before.body[0]["time"] < clock.now_ms - 48 * 3_600_000


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=1", 400, -1128),
        ("aggTrades?symbol=BTCUSDT&startTime=1&endTime=3600001", 400, -4066),
        ("aggTrades?symbol=NONE", 400, -1121),
        ("klines?symbol=BTCUSDT&interval=1s", 400, -1120),
        ("historicalTrades?symbol=BTCUSDT", 401, -2014),
        ("depth?symbol=BTCUSDT&limit=7", 400, -4021),
    ],
)
async def test_requests_that_are_refused(still: RunningVenue, query: str, status: int, code: int) -> None:
    answer = await still.get(f"/fapi/v1/{query}")
    assert (answer.status, answer.body["code"]) == (status, code)


async def test_weight_is_counted_and_too_much_of_it_refused(start_venue: VenueOf, clock: ManualClock) -> None:
    venue = await start_venue(SimulatedVenue.made_up(STATE, symbols=["BTC-USDT-PERP"], clock=clock))
    used, statuses = [], []
    for _ in range(122):
        answer = await venue.get(f"{_AGGREGATES}&limit=1")
        used.append(int(answer.headers["X-MBX-USED-WEIGHT-1M"]))
        statuses.append(answer.status)
    assert used[:2] == [20, 40]
    assert 429 in statuses[120:]
    assert set(statuses[:119]) == {200}


async def test_futures_are_listed_with_their_filters_and_beside_spot(still: RunningVenue) -> None:
    (row,) = (await still.get("/fapi/v1/exchangeInfo")).body["symbols"]
    filters = {item["filterType"]: item for item in row["filters"]}
    assert (row["symbol"], row["contractType"], row["status"]) == ("BTCUSDT", "PERPETUAL", "TRADING")
    assert (filters["PRICE_FILTER"]["tickSize"], filters["MIN_NOTIONAL"]["notional"]) == ("0.1", "5")
    spot = (await still.get("/sim/truth/trades?exchange=binance&symbol=BTCUSDT&from_id=1&to_id=1")).body
    futures = (
        await still.get("/sim/truth/trades?exchange=binance&symbol=BTC-USDT-PERP&from_id=1&to_id=1")
    ).body
    assert spot != futures


async def test_funding_history_is_paged_by_time(still: RunningVenue, clock: ManualClock) -> None:
    clock.now_ms = LISTED_AT_MS + 3 * 86_400_000
    path = "/fapi/v1/fundingRate?symbol=BTCUSDT&limit=3"
    newest = (await still.get(path)).body
    assert [row["fundingTime"] for row in newest] == [
        clock.now_ms - hours * 3_600_000 for hours in (16, 8, 0)
    ]
    oldest = (await still.get(f"{path}&startTime={LISTED_AT_MS + 1}")).body
    assert oldest[0]["fundingTime"] == LISTED_AT_MS + 8 * 3_600_000
    assert len(oldest) == 3
    history = await still.okx("/public/funding-rate-history?instId=BTC-USDT-SWAP&limit=2")
    older = await still.okx(
        f"/public/funding-rate-history?instId=BTC-USDT-SWAP&after={history[-1]['fundingTime']}"
    )
    assert len(older) == 7
    assert older[0]["fundingTime"] == str(clock.now_ms - 16 * 3_600_000)


async def test_a_connection_ends_at_its_age(start_venue: VenueOf) -> None:
    options = VenueOptions(binance_life_s=0.3)
    venue = await start_venue(SimulatedVenue.made_up(STATE, symbols=["BTC-USDT-PERP"], options=options))
    for path in ("/stream", "/fstream/market/stream"):
        async with asyncio.timeout(60), venue.socket(path) as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
