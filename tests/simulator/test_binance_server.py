"""Binance Spot over real sockets: envelopes, requests, paging directions and limits."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from itertools import pairwise

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from simulator.venue import SimulatedVenue, VenueOptions
from tests.simulator.venues import LISTED_AT_MS, STATE, ManualClock, RunningVenue, VenueOf, receive

pytestmark = pytest.mark.integration


TRADE_KEYS = ["e", "E", "s", "t", "p", "q", "T", "m", "M"]


async def test_combined_and_raw_streams_carry_the_same_trades(live: RunningVenue) -> None:
    async with (
        live.socket("/stream?streams=btcusdt@trade/btcusdt@aggTrade") as combined,
        live.socket("/ws/btcusdt@trade") as raw,
    ):
        wrapped, bare = await asyncio.gather(receive(combined, 400), receive(raw, 200))
    trades = {one["data"]["t"]: one["data"] for one in wrapped if one["stream"] == "btcusdt@trade"}
    assert list(bare[0]) == TRADE_KEYS
    assert list(trades) == list(range(min(trades), min(trades) + len(trades)))
    shared = [one for one in bare if one["t"] in trades]
    assert len(shared) > 50
    assert all({**one, "E": 0} == {**trades[one["t"]], "E": 0} for one in shared)
    aggregates = [one["data"] for one in wrapped if one["stream"] == "btcusdt@aggTrade"]
    assert [one["a"] for one in aggregates] == list(range(aggregates[0]["a"], aggregates[-1]["a"] + 1))
    assert all(later["f"] == earlier["l"] + 1 for earlier, later in pairwise(aggregates))
    assert any(one["l"] > one["f"] for one in aggregates)


async def test_streamed_trades_equal_the_history_and_the_truth(live: RunningVenue) -> None:
    async with live.socket("/ws/btcusdt@trade") as socket:
        streamed = await receive(socket, 100)
    first = streamed[0]["t"]
    history = (await live.get(f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first}&limit=100")).body
    assert [(row["id"], row["price"], row["qty"], row["time"], row["isBuyerMaker"]) for row in history] == [
        (one["t"], one["p"], one["q"], one["T"], one["m"]) for one in streamed
    ]
    truth = (
        await live.get(f"/sim/truth/trades?exchange=binance&symbol=BTC-USDT&from_id={first}&to_id={first}")
    ).body
    assert truth[0]["side"] == ("sell" if streamed[0]["m"] else "buy")
    assert Decimal(truth[0]["price"]) == Decimal(streamed[0]["p"])


async def test_requests_subscribe_list_and_unsubscribe(still: RunningVenue) -> None:
    async with still.socket("/ws") as socket:
        for number, (method, params) in enumerate(
            [
                ("SUBSCRIBE", ["btcusdt@trade", "nosuch@trade"]),
                ("LIST_SUBSCRIPTIONS", None),
                ("UNSUBSCRIBE", ["btcusdt@trade"]),
                ("LIST_SUBSCRIPTIONS", None),
                ("GET_PROPERTY", ["combined"]),
                ("SET_PROPERTY", ["combined", True]),
                ("GET_PROPERTY", ["combined"]),
            ]
        ):
            await socket.send(json.dumps({"method": method, "params": params, "id": number}))
        replies = await receive(socket, 7)
    assert [reply["result"] for reply in replies] == [
        None,
        ["btcusdt@trade", "nosuch@trade"],
        None,
        ["nosuch@trade"],
        False,
        None,
        True,
    ]
    assert [reply["id"] for reply in replies] == list(range(7))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 3),
        ('{"id":1}', 2),
        ('{"method":"DANCE","id":1}', 2),
        ('{"method":"SUBSCRIBE","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[5],"id":1}', 2),
        ('{"method":"GET_PROPERTY","params":["x"],"id":1}', 0),
        ('{"method":"SET_PROPERTY","params":["combined","x"],"id":1}', 1),
    ],
)
async def test_a_wrong_request_gets_a_code(still: RunningVenue, text: str, code: int) -> None:
    async with still.socket("/ws") as socket:
        await socket.send(text)
        (reply,) = await receive(socket, 1)
        assert reply["code"] == code


async def test_an_unknown_stream_is_silent(live: RunningVenue) -> None:
    async with live.socket("/stream?streams=nosuch@trade/BTCUSDT@trade") as socket:
        with pytest.raises(TimeoutError):
            await receive(socket, 1, wait_s=0.5)


async def test_microseconds_on_request(live: RunningVenue) -> None:
    async with live.socket("/stream?streams=btcusdt@trade&timeUnit=MICROSECOND") as socket:
        (message,) = await receive(socket, 1)
    assert len(str(message["data"]["T"])) == len(str(message["data"]["E"])) == 16
    answer = await live.get("/api/v3/trades?symbol=BTCUSDT&limit=1", **{"X-MBX-TIME-UNIT": "MICROSECOND"})
    assert len(str(answer.body[0]["time"])) == 16
    klines = await live.get(
        "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=2", **{"X-MBX-TIME-UNIT": "MICROSECOND"}
    )
    assert [len(str(row[place])) for row in klines.body for place in (0, 6)] == [16] * 4


async def test_kline_book_and_mini_ticker_streams(live: RunningVenue) -> None:
    streams = "/".join(f"btcusdt@{name}" for name in ("kline_1s", "bookTicker", "depth5", "miniTicker"))
    seen: dict[str, dict[str, object]] = {}
    closed = None
    async with live.socket(f"/stream?streams={streams}") as socket:
        while len(seen) < 4 or closed is None:
            (message,) = await receive(socket, 1)
            seen[message["stream"].split("@")[1]] = message["data"]
            if message["stream"].endswith("kline_1s") and message["data"]["k"]["x"]:
                closed = message["data"]["k"]
    assert set(seen["bookTicker"]) == {"u", "s", "b", "B", "a", "A"}
    assert set(seen["depth5"]) == {"lastUpdateId", "bids", "asks"}
    assert seen["miniTicker"]["e"] == "24hrMiniTicker"
    (row,) = (
        await live.get(f"/api/v3/klines?symbol=BTCUSDT&interval=1s&startTime={closed['t']}&limit=1")
    ).body
    assert [row[1], row[2], row[3], row[4], row[5], row[8]] == [closed[name] for name in "ohlcvn"]
    assert closed["L"] - closed["f"] + 1 == closed["n"]


async def test_the_server_pings_and_drops_who_does_not_answer(
    start_venue: VenueOf, clock: ManualClock
) -> None:
    options = VenueOptions(binance_ping_s=0.1)
    venue = await start_venue(SimulatedVenue.made_up(STATE, clock=clock, options=options))
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(venue.url + "/ws", autoping=False) as socket,
    ):
        pings = [await asyncio.wait_for(socket.receive(), 1) for _ in range(2)]
        assert [ping.type for ping in pings] == [aiohttp.WSMsgType.PING] * 2
        assert pings[0].data.decode() == str(clock.now_ms)


async def test_too_many_requests_on_a_socket_close_it(start_venue: VenueOf, clock: ManualClock) -> None:
    venue = await start_venue(SimulatedVenue.made_up(STATE, clock=clock))
    async with venue.socket("/ws") as socket:
        for number in range(6):
            await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        with pytest.raises(ConnectionClosed):
            await receive(socket, 6)


async def test_historical_trades_start_with_the_id_and_go_up(still: RunningVenue) -> None:
    rows = (await still.get("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=501&limit=1000")).body
    assert [row["id"] for row in rows] == list(range(501, 1501))
    assert list(rows[0]) == ["id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"]
    assert all(
        Decimal(row["quoteQty"]) == Decimal(row["price"]) * Decimal(row["qty"])
        and len(row["price"].partition(".")[2]) == 8
        for row in rows
    )
    latest = (await still.get("/api/v3/historicalTrades?symbol=BTCUSDT&limit=3")).body
    assert latest == (await still.get("/api/v3/trades?symbol=BTCUSDT&limit=3")).body
    assert [row["id"] for row in latest] == sorted(row["id"] for row in latest)
    beyond = latest[-1]["id"] + 1
    assert (await still.get(f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={beyond}")).body == []


async def test_aggregates_page_by_id_and_by_time(still: RunningVenue, clock: ManualClock) -> None:
    rows = (await still.get("/api/v3/aggTrades?symbol=BTCUSDT&fromId=41&limit=100")).body
    assert [row["a"] for row in rows] == list(range(41, 141))
    assert all(later["f"] == row["l"] + 1 for row, later in pairwise(rows))
    start, end = rows[10]["T"], rows[60]["T"]
    by_time = (await still.get(f"/api/v3/aggTrades?symbol=BTCUSDT&startTime={start}&endTime={end}")).body
    assert by_time == [row for row in rows if start <= row["T"] <= end]
    newest = (await still.get("/api/v3/aggTrades?symbol=BTCUSDT&limit=2")).body
    last = (await still.get("/api/v3/trades?symbol=BTCUSDT&limit=1")).body[0]
    assert newest[-1]["l"] == last["id"]
    assert newest[-1]["T"] <= clock.now_ms


async def test_klines_come_oldest_first_with_the_forming_one_last(
    still: RunningVenue, clock: ManualClock
) -> None:
    rows = (await still.get("/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=3")).body
    minute = clock.now_ms - clock.now_ms % 60_000
    assert [row[0] for row in rows] == [minute - 120_000, minute - 60_000, minute]
    assert [row[6] - row[0] for row in rows] == [59_999] * 3
    assert rows[-1][6] > clock.now_ms
    assert {len(row) for row in rows} == {12}
    start = (
        await still.get(f"/api/v3/klines?symbol=BTCUSDT&interval=5m&startTime={LISTED_AT_MS - 10**9}&limit=2")
    ).body
    assert [row[0] for row in start] == [LISTED_AT_MS, LISTED_AT_MS + 300_000]
    window = f"startTime={LISTED_AT_MS + 1}&endTime={LISTED_AT_MS + 600_000}"
    inside = (await still.get(f"/api/v3/klines?symbol=BTCUSDT&interval=5m&{window}")).body
    assert [row[0] for row in inside] == [LISTED_AT_MS + 300_000, LISTED_AT_MS + 600_000]


async def test_klines_equal_the_truth_and_empty_minutes_are_flat(still: RunningVenue) -> None:
    rows = (await still.get("/api/v3/klines?symbol=ATOMUSDT&interval=1m&limit=300")).body[:-1]
    window = f"start={rows[0][0]}&end={rows[-1][0] + 1}"
    truth = (await still.get(f"/sim/truth/candles?exchange=binance&symbol=ATOM-USDT&{window}")).body
    traded = [row for row in rows if row[8]]
    assert len(traded) < len(rows) == 299
    assert [[row[0], *map(Decimal, row[1:6]), row[8]] for row in traded] == [
        [
            one["opened_at"],
            *(Decimal(one[name]) for name in ("open", "high", "low", "close", "volume")),
            one["trades"],
        ]
        for one in truth
    ]
    for earlier, row in pairwise(rows):
        if not row[8]:
            assert row[1:6] == [earlier[4]] * 4 + ["0.00000000"]


async def test_days_may_be_cut_at_another_zones_midnight(still: RunningVenue) -> None:
    rows = (await still.get("/api/v3/klines?symbol=BTCUSDT&interval=1d&timeZone=8&limit=1")).body
    assert rows[0][0] % 86_400_000 == 16 * 3_600_000


async def test_exchange_info_lists_filters_that_trades_obey(still: RunningVenue) -> None:
    body = (await still.get("/api/v3/exchangeInfo")).body
    assert [symbol["symbol"] for symbol in body["symbols"]] == ["BTCUSDT", "ATOMUSDT"]
    filters = {entry["filterType"]: entry for entry in body["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    trades = (await still.get("/api/v3/trades?symbol=BTCUSDT&limit=100")).body
    assert all(Decimal(row["price"]) % Decimal("0.01") == 0 for row in trades)
    assert all(Decimal(row["qty"]) % Decimal("0.00001") == 0 for row in trades)
    one = (await still.get('/api/v3/exchangeInfo?symbols=["ATOMUSDT"]')).body
    assert [symbol["symbol"] for symbol in one["symbols"]] == ["ATOMUSDT"]


async def test_tickers_and_depth_agree_with_the_last_trade(still: RunningVenue, clock: ManualClock) -> None:
    last = (await still.get("/api/v3/trades?symbol=BTCUSDT&limit=1")).body[0]
    assert (await still.get("/api/v3/ticker/price?symbol=BTCUSDT")).body["price"] == last["price"]
    best = (await still.get("/api/v3/ticker/bookTicker?symbol=BTCUSDT")).body
    assert last["price"] in (best["bidPrice"], best["askPrice"])
    day = (await still.get("/api/v3/ticker/24hr?symbol=BTCUSDT")).body
    assert (day["lastPrice"], day["lastId"], day["firstId"]) == (last["price"], last["id"], 1)
    assert day["count"] == last["id"]
    depth = (await still.get("/api/v3/depth?symbol=BTCUSDT&limit=7")).body
    assert (len(depth["bids"]), len(depth["asks"])) == (7, 7)
    bids = [Decimal(level[0]) for level in depth["bids"]]
    assert bids == sorted(set(bids), reverse=True)
    assert {row["symbol"] for row in (await still.get("/api/v3/ticker/price")).body} == {
        "BTCUSDT",
        "ATOMUSDT",
    }
    assert (await still.get("/api/v3/time")).body == {"serverTime": clock.now_ms}
    assert (await still.get("/api/v3/ping")).body == {}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("trades?symbol=NOSUCH", -1121),
        ("klines?symbol=btcusdt&interval=1m", -1121),
        ("trades", -1102),
        ("klines?symbol=BTCUSDT", -1102),
        ("klines?symbol=BTCUSDT&interval=7m", -1120),
        ("historicalTrades?symbol=BTCUSDT&fromId=x", -1100),
        ("klines?symbol=BTCUSDT&interval=1d&timeZone=x", -1130),
        ("exchangeInfo?symbol=NOSUCH", -1121),
    ],
)
async def test_bad_parameters_get_the_venues_code(still: RunningVenue, path: str, code: int) -> None:
    answer = await still.get(f"/api/v3/{path}")
    assert (answer.status, answer.body["code"]) == (400, code)


async def test_weight_is_counted_in_a_header_and_limited(start_venue: VenueOf, clock: ManualClock) -> None:
    venue = await start_venue(SimulatedVenue.made_up(STATE, symbols=["BTC-USDT"], clock=clock))
    # A minute may end meanwhile, where the count starts again.
    first = await venue.get("/api/v3/trades?symbol=BTCUSDT&limit=1")
    second = await venue.get("/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1")
    used = [int(answer.headers["X-MBX-USED-WEIGHT-1M"]) for answer in (first, second)]
    assert used in ([25, 27], [25, 2])
    for _ in range(60):
        answer = await venue.get("/api/v3/depth?symbol=BTCUSDT&limit=5000")
        if answer.status != 200:
            break
    assert (answer.status, answer.body["code"]) == (429, -1003)
    assert 0 < int(answer.headers["Retry-After"]) <= 60
