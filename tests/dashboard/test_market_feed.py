from __future__ import annotations

import json

import pytest

from dashboard.chart_data import FIRST_BARS, HISTORY_BARS, MOST_HISTORY_BARS
from data.errors import TransientError
from data.timeframes import SECOND_US, Timeframe
from tests.dashboard.asgi import request, started
from tests.dashboard.desk import Desk, build_desk
from tests.dashboard.fakes import BTC

BTC_MINUTES = "venue=binance&symbol=BTC-USDT&tf=1m"


async def _read(desk: Desk, path: str, status: int = 200) -> dict[str, object]:
    async with started(desk.app):
        answer = await request(desk.app, "GET", path)
        assert answer.status == status, answer.text
        found: dict[str, object] = json.loads(answer.text)
        return found


async def test_a_chart_is_answered_whole_in_one_request() -> None:
    desk = build_desk()
    body = await _read(desk, f"/desk/chart?{BTC_MINUTES}&overlay=ema,rsi(14,close)")
    stored = desk.market.series[BTC, Timeframe.M1]
    columns = body["columns"]
    assert isinstance(columns, dict)
    assert len(columns["t"]) == len(columns["c"]) == FIRST_BARS
    assert columns["c"][-1] == stored.close[-1]
    assert columns["t"][-1] == stored.opened_at_us[-1] // SECOND_US
    assert list(columns["lines"]) == ["overlay-ema-12", "overlay-ema-26", "overlay-rsi(14,close).value"]
    specs, panes = body["specs"], body["panes"]
    assert isinstance(specs, list)
    assert isinstance(panes, list)
    assert [spec.get("pane", 0) for spec in specs] == [0, 1, 0, 0, 2]
    assert len(panes) == 3


async def test_history_ends_with_the_candle_the_chart_begins_with() -> None:
    desk = build_desk()
    stored = desk.market.series[BTC, Timeframe.M1]
    before = int(stored.opened_at_us[-FIRST_BARS]) // SECOND_US
    body = await _read(desk, f"/desk/history?{BTC_MINUTES}&before={before}")
    columns = body["columns"]
    assert isinstance(columns, dict)
    assert columns["t"][-1] == before
    assert len(columns["t"]) == HISTORY_BARS + 1
    assert body["more"] is True


async def test_history_is_as_long_as_was_asked_for_within_a_bound() -> None:
    desk = build_desk()
    before = int(desk.market.series[BTC, Timeframe.M1].opened_at_us[-FIRST_BARS]) // SECOND_US
    path = f"/desk/history?{BTC_MINUTES}&before={before}"
    columns = (await _read(desk, f"{path}&bars=4000"))["columns"]
    assert isinstance(columns, dict)
    assert columns["t"][-1] == before
    assert len(columns["t"]) == 4_001
    for bars in ("0", "many", str(MOST_HISTORY_BARS + 1)):
        assert "bars" in str((await _read(desk, f"{path}&bars={bars}", 400))["error"])


@pytest.mark.parametrize("before", ["", "x", "-1", "0", str(2**41)])
async def test_history_before_no_time_is_refused_in_words(before: str) -> None:
    body = await _read(build_desk(), f"/desk/history?{BTC_MINUTES}&before={before}", 400)
    assert "before" in str(body["error"])


async def test_a_market_that_does_not_exist_is_named_and_others_are_offered() -> None:
    body = await _read(build_desk(), "/desk/chart?venue=okx&symbol=SOL-USDT&tf=5m")
    cover = body["cover"]
    assert isinstance(cover, dict)
    assert "SOL-USDT on OKX" in cover["text"]
    assert cover["links"][0] == {
        "text": "SOL-USDT · Binance",
        "href": "/market?venue=binance&symbol=SOL-USDT&tf=5m",
    }


async def test_a_store_that_cannot_be_read_is_said_with_its_number_in_the_log() -> None:
    desk = build_desk()
    desk.market.failure = TransientError("the database cannot be reached")
    body = await _read(desk, f"/desk/chart?{BTC_MINUTES}")
    assert body["error"] == "the database cannot be reached"
    assert body["number"]


async def test_markers_are_those_of_the_layers_that_were_chosen() -> None:
    desk = build_desk()
    path = f"/desk/marks?{BTC_MINUTES}&first=0"
    everything = await _read(desk, path)
    none = await _read(desk, f"{path}&layers=none")
    strategy = await _read(desk, f"{path}&layers=strategy:ema_crossover,strategy:unknown,bot:unknown")
    markers = everything["markers"]
    assert isinstance(markers, list)
    assert {marker["shape"] for marker in markers} == {"circle", "arrowUp", "arrowDown"}
    assert set(everything["notes"]) == {marker["id"] for marker in markers}  # type: ignore[call-overload]
    assert none["markers"] == none["lines"] == []
    squares = strategy["markers"]
    assert isinstance(squares, list)
    assert {marker["shape"] for marker in squares} == {"square"}


async def test_a_marker_of_a_strategy_says_why_in_the_words_of_its_rules() -> None:
    desk = build_desk()
    marks = await _read(desk, f"/desk/marks?{BTC_MINUTES}&first=0&layers=strategy:ema_crossover")
    notes = marks["notes"]
    assert isinstance(notes, dict)
    asked = list(notes.values())[-1]["ask"]
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    body = await _read(desk, f"/desk/why?{BTC_MINUTES}&{query}")
    rule = "-> entry" if asked["action"].endswith("entry") else "-> exit"
    assert rule in str(body["lines"])


async def test_a_desk_without_candles_answers_what_to_do() -> None:
    body = await _read(build_desk(empty=True), "/desk/chart")
    assert "candlewick up --demo" in str(body["cover"])
    assert (await _read(build_desk(empty=True), "/desk/watch"))["rows"] == []
