"""Waiting between attempts, keeping within limits, and keeping what nobody understood."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from data.collectors.backoff import Backoff
from data.collectors.malformed_log import MalformedLog
from data.collectors.rate_limit import TokenBucket
from data.exchanges.base import RestBudget
from tests.data.trade_series import START_US


def test_waits_double_with_jitter_up_to_the_longest_and_begin_again_after_a_success() -> None:
    backoff = Backoff(0.5, 30.0, seed=1)
    waits = [backoff.next_s() for _ in range(12)]
    for number, wait_s in enumerate(waits):
        longest_s = min(30.0, 0.5 * 2**number)
        assert max(0.5, longest_s / 2) <= wait_s <= longest_s
    assert len(set(waits[7:])) > 1
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_a_venue_that_stays_away_for_weeks_is_still_asked() -> None:
    backoff = Backoff()
    assert all(0.5 <= backoff.next_s() <= 30.0 for _ in range(100_000))


async def test_a_burst_passes_at_once_and_what_follows_at_the_steady_pace() -> None:
    clock = asyncio.get_running_loop().time
    bucket = TokenBucket(RestBudget(per_s=200.0, burst=10.0))
    began_s = clock()
    for _ in range(10):
        await bucket.acquire()
    burst_s = clock() - began_s
    for _ in range(10):
        await bucket.acquire()
    assert burst_s < 0.02
    assert clock() - began_s >= 0.045


async def test_a_request_heavier_than_the_bucket_passes_and_is_paid_for() -> None:
    clock = asyncio.get_running_loop().time
    bucket = TokenBucket(RestBudget(per_s=500.0, burst=10.0))
    began_s = clock()
    await bucket.acquire(25.0)
    await bucket.acquire(1.0)
    assert clock() - began_s >= 0.03


async def test_nothing_passes_while_the_venue_wants_silence() -> None:
    clock = asyncio.get_running_loop().time
    bucket = TokenBucket(RestBudget(per_s=1_000.0, burst=10.0))
    bucket.pause(0.05)
    began_s = clock()
    await bucket.acquire()
    assert clock() - began_s >= 0.05


def test_malformed_messages_are_kept_up_to_a_size_and_then_counted(tmp_path: Path) -> None:
    log = MalformedLog(tmp_path / "malformed", "okx", max_bytes=200)
    for number in range(6):
        log.keep(f'{{"broken": {number}', START_US + number)
    (file,) = (tmp_path / "malformed").iterdir()
    assert file.name == "okx-2024-01-01.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0] == {"received_at_us": START_US, "message": '{"broken": 0'}
    assert file.stat().st_size <= 200
    assert log.not_kept == 6 - len(lines) > 0


def test_each_day_has_a_file_of_its_own(tmp_path: Path) -> None:
    log = MalformedLog(tmp_path, "binance")
    log.keep("x", START_US)
    log.keep("y", START_US + 86_400_000_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "binance-2024-01-01.jsonl",
        "binance-2024-01-02.jsonl",
    ]
