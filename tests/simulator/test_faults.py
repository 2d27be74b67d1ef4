"""Fault plans: what they may say, and what each fault does to messages. No socket, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from data.errors import InvalidInput
from simulator.fault_plans import parse_fault_plan, read_fault_plan
from simulator.faults import Delivery, FaultBoard, Message, RestAnswer

TRADE = Message("binance", "BTC-USDT", "BTCUSDT", "trade", 100, 100)
PLAIN = Delivery(0.0, True, False)


def board_of(*plan: Mapping[str, Any], last_id: int = 99) -> FaultBoard:
    board = FaultBoard(last_known_id=lambda exchange, symbol: last_id)
    board.schedule(parse_fault_plan([dict(entry) for entry in plan], where="plan.json", started_at=0.0))
    board.advance(0.0)
    return board


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"fault": "explode"}, r"plan.json: \[0\].fault"),
        ({}, r"\[0\].fault is missing"),
        ({"fault": "delay"}, r"\[0\].ms; delay needs"),
        ({"fault": "delay", "ms": "10"}, r"\[0\].ms is \"10\""),
        ({"fault": "delay", "ms": 0}, r"\[0\].ms is 0"),
        ({"fault": "delay", "ms": True}, r"\[0\].ms is true"),
        ({"fault": "delay", "ms": 5, "sm": 5}, r"\[0\].sm is 5; delay knows"),
        ({"fault": "delay", "ms": 5, "exchange": "kraken"}, r"\[0\].exchange is \"kraken\""),
        ({"fault": "disconnect", "at_s": -1}, r"\[0\].at_s is -1"),
        ({"fault": "disconnect", "at_s": 1, "after_messages": 1}, r"\[0\].after_messages; give it or at_s"),
        ({"fault": "disconnect", "for_s": 1}, r"\[0\].for_s; disconnect happens at once"),
        ({"fault": "disconnect", "code": 99}, r"\[0\].code is 99"),
        ({"fault": "rest_error", "status": 200}, r"\[0\].status is 200"),
        ({"fault": "withhold", "count": 5}, r"\[0\].symbol; withhold needs"),
        ({"fault": "withhold", "symbol": "BTC-USDT"}, r"\[0\]; withhold takes from_id and to_id, or count"),
        ({"fault": "withhold", "symbol": "BTC-USDT", "from_id": 5}, r"withhold takes from_id and to_id"),
        (
            {"fault": "withhold", "symbol": "A", "from_id": 5, "to_id": 4},
            r"\[0\].to_id is 4; from_id or more",
        ),
        ("disconnect", r"\[0\] is \"disconnect\""),
    ],
)
def test_a_wrong_plan_is_refused_with_its_place(entry: object, place: str) -> None:
    with pytest.raises(InvalidInput, match=place):
        parse_fault_plan([entry], where="plan.json", started_at=0.0)


def test_every_problem_of_a_plan_is_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_fault_plan([{"fault": "x"}, {"fault": "delay", "ms": 0}], where="plan.json", started_at=0.0)
    assert [problem.field for problem in refused.value.problems] == ["[0].fault", "[1].ms"]


@pytest.mark.parametrize("content", [None, "{", ""])
def test_a_plan_that_cannot_be_read_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInput, match=r"plan\.json"):
        read_fault_plan(path, started_at=0.0)


def test_without_faults_a_message_passes_once_and_at_once() -> None:
    assert tuple(board_of().passes(TRADE, 0)) == (PLAIN,)


def test_delay_keeps_the_order_and_reorder_does_not() -> None:
    assert tuple(board_of({"fault": "delay", "ms": 250}).passes(TRADE, 0)) == (Delivery(0.25, True, False),)
    (held,) = board_of({"fault": "reorder", "ms": 100}).passes(TRADE, 0)
    assert 0 <= held.delay_s <= 0.1
    assert not held.keeps_order


def test_duplicates_and_cut_messages_come_every_nth_time() -> None:
    board = board_of({"fault": "duplicate", "every": 3, "times": 2}, {"fault": "malformed", "every": 2})
    passed = [board.passes(TRADE, 0) for _ in range(6)]
    assert [len(deliveries) for deliveries in passed] == [1, 1, 2, 1, 1, 2]
    assert [deliveries[0].cut for deliveries in passed] == [False, True, False, True, False, True]


@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        ({"exchange": "okx"}, 1),
        ({"exchange": "binance"}, 0),
        ({"symbol": "BTC-USDT"}, 0),
        ({"symbol": "BTCUSDT"}, 0),
        ({"symbol": "ETH-USDT"}, 1),
        ({"channel": "trade"}, 0),
        ({"channel": "aggTrade"}, 1),
        ({"connections": 1}, 1),
        ({"connections": 2}, 0),
    ],
)
def test_a_fault_concerns_only_what_it_names(limits: Mapping[str, Any], passes: int) -> None:
    assert len(board_of({"fault": "silent", **limits}).passes(TRADE, position=1)) == passes


def test_faults_begin_and_end_by_the_clock() -> None:
    board = board_of({"fault": "silent", "at_s": 2, "for_s": 3})
    passed = []
    for now in (1.9, 2.0, 4.9, 5.0):
        board.advance(now)
        passed.append(len(board.passes(TRADE, 0)))
    assert passed == [1, 0, 0, 1]


def test_faults_begin_after_so_many_messages_of_their_exchange() -> None:
    board = board_of({"fault": "silent", "after_messages": 2, "exchange": "binance"})
    passed = []
    for exchange in ("okx", "binance", "binance", "binance"):
        board.count_sent(exchange)
        board.advance(0.0)
        passed.append(len(board.passes(TRADE, 0)))
    assert passed == [1, 1, 0, 0]


def test_messages_are_counted_from_when_a_fault_was_scheduled() -> None:
    board = board_of()
    for _ in range(5):
        board.count_sent("binance")
    board.schedule(parse_fault_plan({"fault": "silent", "after_messages": 1}, where="post", started_at=0.0))
    board.advance(0.0)
    assert board.passes(TRADE, 0)
    board.count_sent("binance")
    board.advance(0.0)
    assert not board.passes(TRADE, 0)


def test_withheld_trades_are_left_out_whether_single_or_grouped() -> None:
    board = board_of({"fault": "withhold", "symbol": "BTC-USDT", "from_id": 100, "to_id": 102})
    assert not board.passes(TRADE, 0)
    assert not board.passes(TRADE._replace(first_id=95, last_id=100), 0)
    assert board.passes(TRADE._replace(first_id=103, last_id=103), 0)
    assert board.passes(TRADE._replace(symbol="ETH-USDT", venue_symbol="ETHUSDT"), 0)
    assert board.passes(TRADE._replace(channel="bookTicker", first_id=0, last_id=0), 0)
    assert board.absent("binance", "BTC-USDT", "BTCUSDT") == []


def test_withholding_by_count_takes_the_next_trades() -> None:
    board = board_of(
        {"fault": "withhold", "symbol": "BTC-USDT", "count": 2, "exchange": "binance", "permanent": True},
        last_id=100,
    )
    passed = [bool(board.passes(TRADE._replace(first_id=n, last_id=n), 0)) for n in (100, 101, 102, 103)]
    assert passed == [True, False, False, True]
    assert board.absent("binance", "BTC-USDT", "BTCUSDT") == [(101, 102)]
    assert board.absent("okx", "BTC-USDT") == []


def test_rest_errors_take_so_many_answers_of_their_path() -> None:
    board = board_of(
        {
            "fault": "rest_error",
            "status": 429,
            "retry_after_s": 3,
            "path": "klines",
            "count": 2,
            "exchange": "binance",
        }
    )
    assert board.rest_answer("okx", "/api/v5/klines") is None
    assert board.rest_answer("binance", "/api/v3/trades") is None
    answers = [board.rest_answer("binance", "/api/v3/klines") for _ in range(3)]
    assert answers == [RestAnswer(429, 3), RestAnswer(429, 3), None]


def test_clearing_ends_what_goes_on_and_what_was_to_come() -> None:
    board = board_of({"fault": "silent"}, {"fault": "refuse", "at_s": 5})
    board.clear()
    board.advance(10.0)
    assert board.passes(TRADE, 0)
    assert not board.refuses("okx")
    assert {fault.describe()["state"] for fault in board.faults} == {"over"}
