"""Recorded frames through the simulated venue, real sockets, the real collector and the real PostgreSQL."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.conftest import Desk, StartVenue
from tests.integration.processes import Program, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

BINANCE_FRAMES = ("spot_btcusdt_20240808.log.gz", "spot_btcusdt_20240809.log.gz")
BINANCE_TRADES = 19_904
FIRST_MINUTE = datetime(2024, 8, 8, 23, 55, tzinfo=UTC)
OKX_FRAMES = [f"cryptofeed_public_20210722_conn{number}.log.gz" for number in (1, 2, 3)]
OKX_SYMBOLS = [
    "OKT-BTC", "PAY-BTC", "FUN-BTC", "XMR-USDT-PERP", "ONT-USDT", "AUCTION-USDT", "TRX-USDT-210924",
    "BTC-USD-210924-66000-C", "DHT-USDT",
]  # fmt: skip


def binance_arguments(shared_data: Path, *, speed: str) -> list[str]:
    folder = shared_data / "frames" / "binance"
    files = [part for name in BINANCE_FRAMES for part in ("--frames", str(folder / name))]
    return [*files, "--speed", speed]


def recorded_trades(shared_data: Path) -> dict[int, tuple[float, float, int, int]]:
    """Price, quantity, taker side (1 buy, -1 sell) and time in us by trade id, straight from the frames."""
    trades = {}
    for name in BINANCE_FRAMES:
        with gzip.open(shared_data / "frames" / "binance" / name, "rt") as lines:
            for line in lines:
                if '"btcusdt@trade"' in line:
                    row = json.loads(line.split(" ", 1)[1])["data"]
                    side = -1 if row["m"] else 1
                    trades[row["t"]] = (float(row["p"]), float(row["q"]), side, row["T"] * 1_000)
    return trades


def recorded_minutes(shared_data: Path) -> list[tuple[Any, ...]]:
    """The venue's own candles of the ten complete minutes."""
    path = shared_data / "candles" / "binance_spot" / "BTCUSDT_1m_20240726_20240825.csv.gz"
    first_ms = int(FIRST_MINUTE.timestamp()) * 1_000
    with gzip.open(path, "rt") as file:
        return [
            (int(row["ts_ms"]), *(float(row[name]) for name in ("open", "high", "low", "close", "volume")))
            for row in csv.DictReader(file)
            if first_ms <= int(row["ts_ms"]) < first_ms + 10 * 60_000
        ]


def stored_trades(desk: Desk) -> list[tuple[Any, ...]]:
    return desk.rows(
        "SELECT trade_id, price, quantity, taker_side,"
        " (extract(epoch FROM traded_at) * 1000000)::bigint FROM trades ORDER BY trade_id"
    )


def stored_minutes(desk: Desk) -> list[tuple[Any, ...]]:
    return desk.rows(
        "SELECT (extract(epoch FROM opened_at) * 1000)::bigint, open, high, low, close, volume"
        " FROM candles WHERE timeframe_s = 60 ORDER BY opened_at"
    )


def assert_stored_equals_recorded(desk: Desk, shared_data: Path) -> None:
    stored = stored_trades(desk)
    assert {row[0]: row[1:] for row in stored} == recorded_trades(shared_data)
    assert len(stored) == BINANCE_TRADES  # each once
    # The first and the last minute are incomplete in the recording: no candle of theirs may stand there.
    minutes, expected = stored_minutes(desk), recorded_minutes(shared_data)
    assert [row[:5] for row in minutes] == [row[:5] for row in expected]
    assert [row[5] for row in minutes] == pytest.approx([row[5] for row in expected], rel=1e-9)
    assert len(minutes) == 10


def wait_for_trades(desk: Desk, count: int, collector: Program) -> None:
    try:
        wait_for(f"{count} stored trades", lambda: desk.count("trades") >= count)
    except AssertionError as error:
        by_symbol = desk.rows("SELECT symbol, count(*) FROM trades JOIN markets USING (market_id) GROUP BY 1")
        raise AssertionError(f"{error}; stored {dict(by_symbol)}\n{collector.told()}") from None


def wait_for_ten_minutes(desk: Desk) -> None:
    wait_for("ten stored minutes", lambda: len(stored_minutes(desk)) >= 10)


def test_every_recorded_binance_trade_is_stored_once_and_the_ten_minutes_equal_the_venues_own(
    shared_data: Path, simulated_venue: StartVenue, desk: Desk
) -> None:
    desk.record({"binance": ["BTC-USDT"]})
    with (
        simulated_venue(*binance_arguments(shared_data, speed="max")) as venue,
        desk.collector(venue, "--venue", "binance") as collector,
    ):
        wait_for_trades(desk, BINANCE_TRADES, collector)
        wait_for_ten_minutes(desk)
        assert collector.end() == 0
    assert_stored_equals_recorded(desk, shared_data)
    assert desk.count("trade_runs") == 1
    assert desk.count("trade_gaps") == 0


def test_three_simultaneous_okx_connections_give_36_trades_not_108(
    shared_data: Path, simulated_venue: StartVenue, desk: Desk
) -> None:
    folder = shared_data / "frames" / "okx"
    files = [part for name in OKX_FRAMES for part in ("--frames", str(folder / name))]
    desk.record({"okx": OKX_SYMBOLS})
    with (
        simulated_venue(*files, "--speed", "max") as venue,
        desk.collector(venue, "--venue", "okx") as collector,
    ):
        wait_for_trades(desk, 36, collector)
        wait_for("the end of the replay", lambda: "finished" in json.dumps(venue.state()))
        assert collector.end() == 0
    by_symbol = dict(
        desk.rows("SELECT symbol, count(*) FROM trades JOIN markets USING (market_id) GROUP BY symbol")
    )
    assert by_symbol == {
        "OKT-BTC": 8, "PAY-BTC": 7, "FUN-BTC": 6, "XMR-USDT-PERP": 6, "ONT-USDT": 3, "AUCTION-USDT": 2,
        "TRX-USDT-210924": 2, "BTC-USD-210924-66000-C": 1, "DHT-USDT": 1,
    }  # fmt: skip


def test_a_collector_killed_in_the_middle_of_a_replay_comes_back_and_nothing_is_missing_or_double(
    shared_data: Path, simulated_venue: StartVenue, desk: Desk
) -> None:
    desk.record({"binance": ["BTC-USDT"]})
    with (
        # 651 s of market in about 11 s.
        simulated_venue(*binance_arguments(shared_data, speed="60")) as venue,
        desk.collector(venue) as manager,
    ):
        with desk.stuck_at(trades=2_000):
            wait_for("a collector in its middle", desk.is_stuck)
            children = psutil.Process(manager.process.pid).children()
            assert len(children) == 1
            children[0].kill()
            at_kill = desk.count("trades")
            assert 2_000 <= at_kill < BINANCE_TRADES
            wait_for("another collector", lambda: _living_child(manager, not_pid=children[0].pid))
        wait_for_trades(desk, BINANCE_TRADES, manager)
        wait_for_ten_minutes(desk)
        assert manager.end() == 0
    assert_stored_equals_recorded(desk, shared_data)
    assert desk.count("trade_gaps") == 0


def _living_child(manager: Program, *, not_pid: int) -> int | None:
    for child in psutil.Process(manager.process.pid).children():
        if child.pid != not_pid and child.status() != psutil.STATUS_ZOMBIE:
            return int(child.pid)
    return None
