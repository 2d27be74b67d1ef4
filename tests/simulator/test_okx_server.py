"""OKX v5 over real sockets: shapes, errors, paging directions and their quirks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from simulator.venue import SimulatedVenue, VenueOptions
from tests.simulator.venues import LISTED_AT_MS, STATE, ManualClock, RunningVenue, VenueOf, receive

pytestmark = pytest.mark.integration


DAY_MS = 86_400_000


def subscribe(*args: dict[str, str], op: str = "subscribe", **more: str) -> str:
    return json.dumps({**more, "op": op, "args": list(args)})


def arg(channel: str, name: str = "BTC-USDT") -> dict[str, str]:
    return {"channel": channel, "instId": name}


async def test_each_arg_gets_its_own_acknowledgement_with_the_requests_id(still: RunningVenue) -> None:
    async with still.socket("/ws/v5/public") as socket:
        await socket.send(subscribe(arg("trades"), arg("tickers"), id="a1"))
        first, second = await receive(socket, 2)
        assert first == {"id": "a1", "event": "subscribe", "arg": arg("trades"), "connId": first["connId"]}
        assert second["arg"] == arg("tickers")
        assert len(first["connId"]) == 8
        await socket.send(subscribe(arg("trades"), op="unsubscribe"))
        replies = [reply for reply in await receive(socket, 2) if "event" in reply]
        assert replies == [{"event": "unsubscribe", "arg": arg("trades"), "connId": first["connId"]}]


@pytest.mark.parametrize(
    ("path", "request_text", "code"),
    [
        ("public", subscribe(arg("trades", "NO-SUCH")), "60018"),
        ("public", subscribe(arg("no-such")), "60018"),
        ("public", subscribe(arg("trades-all")), "64001"),
        ("public", subscribe(arg("candle1m")), "64001"),
        ("business", subscribe(arg("trades")), "64002"),
        ("private", subscribe(arg("trades")), "60008"),
        ("private", subscribe(arg("orders")), "60011"),
        ("private", json.dumps({"op": "login", "args": [{"apiKey": "x"}]}), "60009"),
        ("public", "{not json", "60012"),
        ("public", json.dumps({"op": "subscribe", "argss": []}), "60012"),
        ("public", json.dumps({"op": "dance", "args": [arg("trades")]}), "60019"),
        ("public", json.dumps({"op": "subscribe", "args": ["trades"]}), "60013"),
    ],
)
async def test_a_wrong_request_gets_the_venues_error(
    still: RunningVenue, path: str, request_text: str, code: str
) -> None:
    async with still.socket(f"/ws/v5/{path}") as socket:
        await socket.send(request_text)
        (error,) = await receive(socket, 1)
        assert (error["event"], error["code"]) == ("error", code)
        assert set(error) == {"event", "code", "msg", "connId"}


async def test_trades_all_brings_every_id_and_trades_its_groups(live: RunningVenue) -> None:
    async with live.socket("/ws/v5/business") as business, live.socket("/ws/v5/public") as public:
        await business.send(subscribe(arg("trades-all")))
        await public.send(subscribe(arg("trades")))
        singles = (await receive(business, 201))[1:]
        groups = (await receive(public, 101))[1:]
    rows = [message["data"][0] for message in singles]
    assert all(message["arg"] == arg("trades-all") and len(message["data"]) == 1 for message in singles)
    assert set(rows[0]) == {"instId", "tradeId", "px", "sz", "side", "ts", "source"}
    ids = [int(row["tradeId"]) for row in rows]
    assert ids == list(range(ids[0], ids[0] + 200))
    by_id = {int(row["tradeId"]): row for row in rows}
    previous = None
    seen_larger = False
    for message in groups:
        (row,) = message["data"]
        last, count = int(row["tradeId"]), int(row["count"])
        assert previous is None or last - count == previous
        previous, seen_larger = last, seen_larger or count > 1
        if last - count + 1 in by_id and last in by_id:
            members = [by_id[trade_id] for trade_id in range(last - count + 1, last + 1)]
            assert {(one["px"], one["side"], one["ts"]) for one in members} == {
                (row["px"], row["side"], row["ts"])
            }
            assert sum(float(one["sz"]) for one in members) == pytest.approx(float(row["sz"]))
    assert seen_larger
    truth = (
        await live.get(f"/sim/truth/trades?exchange=okx&symbol=BTC-USDT&from_id={ids[0]}&to_id={ids[-1]}")
    ).body
    assert [(row["id"], row["price"], row["qty"], row["side"], row["time"]) for row in truth] == [
        (int(row["tradeId"]), row["px"], row["sz"], row["side"], int(row["ts"])) for row in rows
    ]


async def test_the_stream_and_the_history_meet_without_a_hole(live: RunningVenue) -> None:
    async with live.socket("/ws/v5/business") as socket:
        await socket.send(subscribe(arg("trades-all")))
        _, first = await receive(socket, 2)
    live_id = int(first["data"][0]["tradeId"])
    rows = await live.okx(f"/market/history-trades?instId=BTC-USDT&after={live_id}")
    assert [int(row["tradeId"]) for row in rows] == list(range(live_id - 1, live_id - 101, -1))


async def test_text_ping_gets_text_pong(still: RunningVenue) -> None:
    async with still.socket("/ws/v5/public") as socket:
        await socket.send("ping")
        assert await receive(socket, 1) == ["pong"]


async def test_a_quiet_connection_is_closed_unless_it_pings(start_venue: VenueOf, clock: ManualClock) -> None:
    options = VenueOptions(okx_idle_s=2.0)
    venue = await start_venue(SimulatedVenue.made_up(STATE, clock=clock, options=options))
    async with venue.socket("/ws/v5/public") as quiet, venue.socket("/ws/v5/business") as pinging:
        for _ in range(11):
            await asyncio.sleep(0.2)
            await pinging.send("ping")
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(quiet.recv(), 60)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4004, "No data received in 30s")
        assert await receive(pinging, 11) == ["pong"] * 11


async def test_candles_are_pushed_as_they_form_and_once_final(live: RunningVenue) -> None:
    async with live.socket("/ws/v5/business") as socket:
        await socket.send(subscribe(arg("candle1s")))
        await receive(socket, 1)
        rows: list[list[str]] = []
        while sum(row[8] == "1" for row in rows) < 2:
            rows += [push["data"][0] for push in await receive(socket, 1)]
    final = {row[0]: row for row in rows if row[8] == "1"}
    assert len(final) == 2
    assert {len(row) for row in rows} == {9}
    opened = sorted(int(opened_at) for opened_at in final)
    truth = await live.get(
        f"/sim/truth/candles?exchange=okx&symbol=BTC-USDT&timeframe=1s&start={opened[0]}&end={opened[-1] + 1}"
    )
    for candle in truth.body:
        row = final[str(candle["opened_at"])]
        assert row[1:6] == [candle[name] for name in ("open", "high", "low", "close", "volume")]


async def test_tickers_and_small_books_follow_the_trades(live: RunningVenue) -> None:
    async with live.socket("/ws/v5/public") as socket:
        await socket.send(subscribe(arg("tickers"), arg("bbo-tbt"), arg("books5")))
        messages = (await receive(socket, 12))[3:]
    by_channel = {message["arg"]["channel"]: message["data"][0] for message in messages}
    assert {"instType", "last", "askPx", "bidPx", "open24h", "vol24h", "volCcy24h", "sodUtc0", "ts"} <= set(
        by_channel["tickers"]
    )
    assert (len(by_channel["bbo-tbt"]["asks"]), len(by_channel["books5"]["bids"])) == (1, 5)
    ask, bid = by_channel["books5"]["asks"][0], by_channel["books5"]["bids"][0]
    assert float(ask[0]) > float(bid[0])
    assert ask[2] == "0"


async def test_the_instruments_channel_lists_at_once(still: RunningVenue) -> None:
    async with still.socket("/ws/v5/public") as socket:
        await socket.send(subscribe({"channel": "instruments", "instType": "SWAP"}))
        _, listing = await receive(socket, 2)
    assert [row["instId"] for row in listing["data"]] == ["BTC-USDT-SWAP"]


async def test_history_pages_walk_down_from_after_without_a_hole(still: RunningVenue) -> None:
    newest = int((await still.okx("/market/trades?instId=BTC-USDT&limit=1"))[0]["tradeId"])
    seen: list[int] = []
    after = newest + 1
    while after > newest - 450:
        rows = await still.okx(f"/market/history-trades?instId=BTC-USDT&type=1&after={after}&limit=100")
        seen += [int(row["tradeId"]) for row in rows]
        after = seen[-1]
    assert seen == list(range(newest, newest - 500, -1))


async def test_before_alone_gives_the_newest_rows_not_the_next_ones(still: RunningVenue) -> None:
    newest = int((await still.okx("/market/trades?instId=BTC-USDT&limit=1"))[0]["tradeId"])
    far = await still.okx(f"/market/history-trades?instId=BTC-USDT&before={newest - 1000}")
    assert [int(row["tradeId"]) for row in far] == list(range(newest, newest - 100, -1))
    near = await still.okx(f"/market/history-trades?instId=BTC-USDT&before={newest - 3}")
    assert [int(row["tradeId"]) for row in near] == [newest, newest - 1, newest - 2]


async def test_paging_by_time_is_exclusive_and_knows_no_before(still: RunningVenue) -> None:
    rows = await still.okx("/market/history-trades?instId=BTC-USDT&limit=50")
    moment = int(rows[20]["ts"])
    older = await still.okx(f"/market/history-trades?instId=BTC-USDT&type=2&after={moment}")
    assert int(older[0]["ts"]) < moment
    assert int(older[0]["tradeId"]) == max(int(row["tradeId"]) for row in rows if int(row["ts"]) < moment)
    refused = await still.get("/api/v5/market/history-trades?instId=BTC-USDT&type=2&before=5")
    assert (refused.status, refused.body["code"]) == (200, "50039")


async def test_the_history_ends_at_the_listing(still: RunningVenue) -> None:
    rows = await still.okx("/market/history-trades?instId=BTC-USDT&after=4")
    assert [row["tradeId"] for row in rows] == ["3", "2", "1"]
    assert await still.okx("/market/history-trades?instId=BTC-USDT&after=1") == []
    assert int(rows[-1]["ts"]) >= LISTED_AT_MS


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/market/trades", 400, "50014"),
        ("/market/trades?instId=NO-SUCH", 200, "51001"),
        ("/market/trades?instId=BTC-USDT&limit=x", 400, "51000"),
        ("/market/candles?instId=BTC-USDT&bar=7m", 400, "51000"),
        ("/public/instruments", 400, "50014"),
        ("/public/instruments?instType=SHOES", 400, "51000"),
    ],
)
async def test_bad_parameters_get_an_error_envelope(
    still: RunningVenue, path: str, status: int, code: str
) -> None:
    answer = await still.get("/api/v5" + path)
    assert (answer.status, answer.body["code"], answer.body["data"]) == (status, code, [])


async def test_candles_come_newest_first_with_the_forming_one_on_top(
    still: RunningVenue, clock: ManualClock
) -> None:
    rows = await still.okx("/market/candles?instId=BTC-USDT&bar=1m&limit=5")
    minute = clock.now_ms - clock.now_ms % 60_000
    assert [int(row[0]) for row in rows] == [minute - 60_000 * back for back in range(5)]
    assert [row[8] for row in rows] == ["0", "1", "1", "1", "1"]
    history = await still.okx("/market/history-candles?instId=BTC-USDT&bar=1m&limit=4")
    assert history == rows[1:]
    page = await still.okx(f"/market/candles?instId=BTC-USDT&bar=1m&after={rows[1][0]}&before={rows[4][0]}")
    assert page == rows[2:4]


async def test_candles_equal_those_of_the_trades_in_the_history(still: RunningVenue) -> None:
    opened_at, *rest = (await still.okx("/market/history-candles?instId=BTC-USDT&limit=1"))[0]
    rows: list[dict[str, str]] = []
    after = ""
    while not rows or int(rows[-1]["ts"]) >= int(opened_at):
        rows += await still.okx(f"/market/history-trades?instId=BTC-USDT&after={after}")
        after = rows[-1]["tradeId"]
    inside = [row for row in rows if int(opened_at) <= int(row["ts"]) < int(opened_at) + 60_000][::-1]
    prices = [float(row["px"]) for row in inside]
    assert [float(value) for value in rest[:4]] == [prices[0], max(prices), min(prices), prices[-1]]
    assert float(rest[4]) == pytest.approx(sum(float(row["sz"]) for row in inside), rel=1e-9)


async def test_long_bars_open_by_beijings_clock_unless_asked_in_utc(still: RunningVenue) -> None:
    (beijing,) = await still.okx("/market/candles?instId=BTC-USDT&bar=1D&limit=1")
    (utc,) = await still.okx("/market/candles?instId=BTC-USDT&bar=1Dutc&limit=1")
    assert int(beijing[0]) % DAY_MS == 16 * 3_600_000
    assert int(utc[0]) == LISTED_AT_MS


async def test_swaps_count_contracts(still: RunningVenue) -> None:
    (row,) = await still.okx("/public/instruments?instType=SWAP")
    assert (row["ctVal"], row["ctValCcy"], row["settleCcy"], row["ctType"]) == (
        "0.01",
        "BTC",
        "USDT",
        "linear",
    )
    truth = (await still.get("/sim/truth/trades?exchange=okx&symbol=BTC-USDT-PERP&from_id=1&to_id=50")).body
    assert all(float(one["base_qty"]) == pytest.approx(float(one["qty"]) / 100) for one in truth)
    candle = (await still.okx("/market/history-candles?instId=BTC-USDT-SWAP&limit=1"))[0]
    assert float(candle[6]) == pytest.approx(float(candle[5]) / 100)
    assert float(candle[7]) == pytest.approx(float(candle[6]) * float(candle[4]), rel=0.01)


async def test_spot_instruments_carry_the_steps_their_trades_obey(still: RunningVenue) -> None:
    rows = {row["instId"]: row for row in await still.okx("/public/instruments?instType=SPOT")}
    assert (rows["BTC-USDT"]["tickSz"], rows["BTC-USDT"]["lotSz"], rows["BTC-USDT"]["minSz"]) == (
        "0.1",
        "0.00000001",
        "0.00001",
    )
    assert (rows["BTC-USDT"]["baseCcy"], rows["BTC-USDT"]["quoteCcy"]) == ("BTC", "USDT")


async def test_the_ticker_and_the_book_agree_with_the_last_trade(still: RunningVenue) -> None:
    (last,) = await still.okx("/market/trades?instId=BTC-USDT&limit=1")
    (ticker,) = await still.okx("/market/ticker?instId=BTC-USDT")
    (book,) = await still.okx("/market/books?instId=BTC-USDT&sz=3")
    assert (ticker["last"], ticker["lastSz"]) == (last["px"], last["sz"])
    assert last["px"] in (book["asks"][0][0], book["bids"][0][0])
    assert (len(book["asks"]), len(book["bids"])) == (3, 3)
    tickers = await still.okx("/market/tickers?instType=SPOT")
    assert {row["instId"] for row in tickers} == {"BTC-USDT", "ATOM-USDT"}


async def test_too_many_requests_get_429_and_50011(start_venue: VenueOf, clock: ManualClock) -> None:
    venue = await start_venue(SimulatedVenue.made_up(STATE, symbols=["BTC-USDT"], clock=clock))
    answers: list[Any] = [await venue.get("/api/v5/public/time") for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert answers[-1].body == {"code": "50011", "msg": "Too Many Requests", "data": []}


async def test_too_many_connections_at_once_are_refused(start_venue: VenueOf, clock: ManualClock) -> None:
    venue = await start_venue(SimulatedVenue.made_up(STATE, symbols=["BTC-USDT"], clock=clock))
    async with (
        venue.socket("/ws/v5/public"),
        venue.socket("/ws/v5/public"),
        venue.socket("/ws/v5/business"),
    ):
        with pytest.raises(InvalidStatus):
            await venue.socket("/ws/v5/public")
