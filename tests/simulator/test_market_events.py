"""Markets that halt, go on, end, begin and change their price step, as clients and the truth see it."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from simulator.instruments import shapes_of
from simulator.scripted_market import ScriptedMarket
from simulator.venue import SimulatedVenue, VenueOptions
from tests.simulator.venues import LISTED_AT_MS, STATE, ManualClock, RunningVenue, VenueOf, receive

_HOUR_MS = 3_600_000


def market() -> ScriptedMarket:
    return ScriptedMarket(shapes_of(["BTC-USDT"])[0], seed=7, listed_at_ms=LISTED_AT_MS)


def test_ids_follow_each_other_across_a_rest_and_nothing_trades_inside_it() -> None:
    rested, twin = market(), market()
    start_ms, end_ms = LISTED_AT_MS + _HOUR_MS, LISTED_AT_MS + 2 * _HOUR_MS
    rested.halt(start_ms)
    assert rested.count_before(LISTED_AT_MS + 90 * 60_000) == twin.count_before(start_ms)
    rested.resume(end_ms)
    count = rested.count_before(LISTED_AT_MS + 3 * _HOUR_MS)
    assert count == twin.count_before(end_ms)
    trades, others = rested.trades(1, count), twin.trades(1, count)
    assert trades.ids.tolist() == list(range(1, count + 1))
    assert not np.any((trades.at_ms >= start_ms) & (trades.at_ms < end_ms))
    np.testing.assert_array_equal(trades.price, others.price)
    np.testing.assert_array_equal(np.diff(trades.at_ms) >= 0, True)
    for at_ms in (start_ms - 1, start_ms, end_ms, end_ms + 1_234):
        assert rested.count_before(at_ms) == int(np.searchsorted(trades.at_ms, at_ms, side="left"))


async def state_of(venue: RunningVenue, exchange: str, symbol: str) -> dict[str, Any]:
    rows = (await venue.get("/sim/state")).body["markets"]
    return next(row for row in rows if (row["exchange"], row["symbol"]) == (exchange, symbol))


async def okx_states(venue: RunningVenue) -> dict[str, str]:
    rows = await venue.okx("/public/instruments?instType=SPOT")
    return {row["instId"]: row["state"] for row in rows}


async def test_a_halted_market_stands_still_and_goes_on_without_a_hole(
    still: RunningVenue, clock: ManualClock
) -> None:
    last_id = (await state_of(still, "okx", "BTC-USDT"))["last_id"]
    await still.post_faults({"fault": "halt", "symbol": "BTC-USDT"})
    clock.now_ms += 5_000
    assert (await state_of(still, "okx", "BTC-USDT"))["last_id"] == last_id
    clock.now_ms += 55_000
    halted = await state_of(still, "okx", "BTC-USDT")
    assert (halted["status"], halted["last_id"]) == ("halted", last_id)
    assert (await okx_states(still))["BTC-USDT"] == "suspend"
    symbols = (await still.get("/api/v3/exchangeInfo")).body["symbols"]
    assert {row["symbol"]: row["status"] for row in symbols} == {"BTCUSDT": "HALT", "ATOMUSDT": "TRADING"}

    await still.post_faults({"fault": "resume", "symbol": "BTC-USDT"})
    clock.now_ms += 60_000
    resumed = await state_of(still, "okx", "BTC-USDT")
    assert resumed["status"] == "live"
    assert resumed["last_id"] > last_id
    rows = await still.okx(f"/market/history-trades?instId=BTC-USDT&after={last_id + 3}&limit=4")
    assert [int(row["tradeId"]) for row in rows] == [last_id + 2, last_id + 1, last_id, last_id - 1]
    assert int(rows[1]["ts"]) - int(rows[2]["ts"]) > 60_000


async def test_a_delisted_market_is_gone_for_clients_and_kept_in_the_truth(still: RunningVenue) -> None:
    await still.post_faults(
        {"fault": "delist", "symbol": "BTC-USDT"}, {"fault": "delist", "symbol": "BTC-USDT-PERP"}
    )
    assert "BTC-USDT" not in await okx_states(still)
    assert (await still.get("/api/v5/market/ticker?instId=BTC-USDT")).body["code"] == "51001"
    assert (await still.get("/api/v3/klines?symbol=BTCUSDT&interval=1m")).status == 400
    (row,) = (await still.get("/fapi/v1/exchangeInfo")).body["symbols"]
    assert row["status"] == "CLOSE"
    assert (
        len((await still.get("/sim/truth/trades?exchange=okx&symbol=BTC-USDT&from_id=1&to_id=5")).body) == 5
    )


async def test_a_new_symbol_is_pushed_listed_and_trades_from_its_first_id(
    still: RunningVenue, clock: ManualClock
) -> None:
    async with still.socket("/ws/v5/public") as socket:
        arg = {"channel": "instruments", "instType": "SPOT"}
        await socket.send(json.dumps({"op": "subscribe", "args": [arg]}))
        await receive(socket, 2)
        await still.post_faults({"fault": "list", "symbol": "DOGE-USDT"})
        (news,) = await receive(socket, 1)
        assert [row["instId"] for row in news["data"]] == ["DOGE-USDT"]
        await still.post_faults({"fault": "halt", "symbol": "DOGE-USDT", "exchange": "okx"})
        (news,) = await receive(socket, 1)
        assert [(row["instId"], row["state"]) for row in news["data"]] == [("DOGE-USDT", "suspend")]
    clock.now_ms += 600_000
    assert (await state_of(still, "binance", "DOGE-USDT"))["first_id"] == 1
    assert (await state_of(still, "okx", "DOGE-USDT"))["last_id"] is None


async def test_prices_keep_a_coarser_step_once_it_is_told(still: RunningVenue, clock: ManualClock) -> None:
    changed_at_ms = clock.now_ms
    await still.post_faults({"fault": "tick", "symbol": "BTC-USDT", "tick": "5", "exchange": "okx"})
    clock.now_ms += 120_000
    (row,) = [
        row for row in await still.okx("/public/instruments?instType=SPOT") if row["instId"] == "BTC-USDT"
    ]
    assert row["tickSz"] == "5"
    path = "/sim/truth/trades?exchange=okx&symbol=BTC-USDT"
    after = (await still.get(f"{path}&start={changed_at_ms + 1}")).body
    before = (await still.get(f"{path}&start={changed_at_ms - 60_000}&end={changed_at_ms + 1}")).body
    assert len(after) > 50
    assert all(Decimal(row["price"]) % 5 == 0 for row in after)
    assert any(Decimal(row["price"]) % 5 for row in before)


async def test_a_stream_across_a_halt_brings_every_trade_once(start_venue: VenueOf) -> None:
    venue = await start_venue(
        SimulatedVenue.made_up(
            STATE.__class__(seed=7, listed_at_ms=LISTED_AT_MS, rate=40.0),
            symbols=["BTC-USDT"],
            options=VenueOptions(limited=False),
        )
    )
    async with asyncio.timeout(90), venue.socket("/stream?streams=btcusdt@trade") as socket:
        messages = await receive(socket, 20)
        await venue.post_faults({"fault": "halt", "symbol": "BTC-USDT"})
        await asyncio.sleep(0.3)
        await venue.post_faults({"fault": "resume", "symbol": "BTC-USDT"})
        messages += await receive(socket, 100)
    streamed = [(message["data"]["t"], message["data"]["T"]) for message in messages]
    first, last = streamed[0][0], streamed[-1][0]
    path = f"/sim/truth/trades?exchange=binance&symbol=BTC-USDT&from_id={first}&to_id={last}"
    assert streamed == [(row["id"], row["time"]) for row in (await venue.get(path)).body]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"fault": "halt", "symbol": "LTC-USDT"}, "one of BTC-USDT"),
        ({"fault": "list", "symbol": "BTC-USDT"}, "not listed yet"),
        ({"fault": "list", "symbol": "NO-SUCH"}, "not listed yet"),
        ({"fault": "tick", "symbol": "BTC-USDT", "tick": "0.15", "exchange": "okx"}, "a multiple of"),
        ({"fault": "tick", "symbol": "BTC-USDT", "tick": "x"}, "a multiple of"),
        ({"fault": "halt"}, "halt needs a symbol"),
        ({"fault": "halt", "symbol": "BTC-USDT", "for_s": 3}, "leave it out"),
    ],
)
async def test_an_event_that_cannot_be_is_refused(
    still: RunningVenue, fault: dict[str, Any], expected: str
) -> None:
    answer = await still.post_faults(fault)
    assert answer.status == 400
    assert expected in answer.body["error"]
