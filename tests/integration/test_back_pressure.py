"""A collector under load whose database hangs or dies, which is killed itself, or whose bus goes away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
import redis

from data.collectors.journal import Journal, journals_in
from embedded.postgres import EmbeddedPostgres
from embedded.valkey import EmbeddedValkey
from tests.integration.conftest import Desk, StartVenue, Venue
from tests.integration.processes import PATIENCE_S, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SYMBOL = "BTC-USDT"
RATE = "20"  # some hundred trades a second


def last_id(venue: Venue) -> int:
    return next(
        int(row["last_id"])
        for row in venue.state()["markets"]
        if (row["exchange"], row["symbol"]) == ("binance", SYMBOL)
    )


def true_trades(venue: Venue, first_id: int, to_id: int) -> dict[int, tuple[float, float, int]]:
    query = f"exchange=binance&symbol={SYMBOL}&from_id={first_id}&to_id={to_id}"
    with urlopen(f"{venue.url}/sim/truth/trades?{query}", timeout=PATIENCE_S) as reply:
        rows = json.load(reply)
    return {row["id"]: (float(row["price"]), float(row["base_qty"]), row["time"] * 1_000) for row in rows}


def stored_ids(desk: Desk) -> list[int]:
    return [row[0] for row in desk.rows("SELECT trade_id FROM trades ORDER BY trade_id")]


def newest_stored(desk: Desk) -> int:
    rows = desk.rows("SELECT max(trade_id) FROM trades")
    return int(rows[0][0] or 0) if rows else 0


def journalled(desk: Desk) -> int:
    """The newest id in a copy of the collectors' journals; 0 where they are being changed."""
    newest = 0
    for folder in journals_in(desk.home / "journal"):
        with tempfile.TemporaryDirectory(dir=desk.home) as copies:
            try:
                journal = Journal(shutil.copytree(folder, Path(copies) / "journal"))
            except shutil.Error:
                continue  # a part of it was let go meanwhile
            journal.open()
            for record in journal.read(journal.begin, sys.maxsize).records:
                newest = max([newest, *(run.last_id for _, run in record.batch.runs)])
            journal.close()
    return newest


def wait_until_stored(desk: Desk, trade_id: int) -> None:
    wait_for(f"trade {trade_id} in the store", lambda: newest_stored(desk) >= trade_id)


def assert_store_is_true(desk: Desk, venue: Venue) -> None:
    """Every id from the first stored to the newest, once, as the venue has it, in one run without a gap."""
    rows = desk.rows(
        "SELECT trade_id, price, quantity, (extract(epoch FROM traded_at) * 1000000)::bigint"
        " FROM trades ORDER BY trade_id"
    )
    ids = [row[0] for row in rows]
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert {row[0]: row[1:] for row in rows} == true_trades(venue, ids[0], ids[-1])
    runs = desk.rows("SELECT first_id, last_id FROM trade_runs")
    assert runs == [(ids[0], ids[-1])]
    assert desk.count("trade_gaps") == 0
    assert_seconds_are_those_of_the_trades(desk)


def assert_seconds_are_those_of_the_trades(desk: Desk) -> None:
    """Every second wholly inside the run has its candle, and it is that of its trades."""
    wrong = desk.rows(
        """
        WITH inside AS (
            SELECT date_trunc('second', t.traded_at) AS opened_at,
                (array_agg(t.price ORDER BY t.trade_id))[1] AS open, max(t.price) AS high,
                min(t.price) AS low, (array_agg(t.price ORDER BY t.trade_id DESC))[1] AS close,
                count(*) AS trades
            FROM trades t CROSS JOIN trade_runs r
            WHERE date_trunc('second', t.traded_at) > r.first_at
                AND date_trunc('second', t.traded_at) + interval '1 second' <= r.last_at
            GROUP BY 1
        )
        SELECT i.*, c.* FROM inside i LEFT JOIN second_candles c USING (opened_at)
        WHERE (i.open, i.high, i.low, i.close, i.trades)
            IS DISTINCT FROM (c.open, c.high, c.low, c.close, c.trades)
        """
    )
    assert wrong == []


@contextmanager
def stalled(desk: Desk) -> Iterator[None]:
    """Every writer of trades waits as long as this lasts."""
    with psycopg.connect(desk.database_url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.fixture
def recording(desk: Desk) -> Desk:
    desk.record({"binance": [SYMBOL]})
    return desk


def test_what_a_killed_collector_had_received_is_stored_although_the_venue_no_longer_has_it(
    simulated_venue: StartVenue, recording: Desk
) -> None:
    desk = recording
    with simulated_venue("--symbols", SYMBOL, "--rate", RATE) as venue:
        with desk.collector(venue, "--venue", "binance") as collector:
            wait_until_stored(desk, last_id(venue))
            with stalled(desk):
                stored_through = last_id(venue) + 1
                received_through = stored_through + 300
                wait_for("more trades", lambda: last_id(venue) >= received_through)
                wait_for("a journal that has them", lambda: journalled(desk) >= received_through)
                collector.kill()
            # What was received meanwhile is in the journal alone: the venue's history has lost it.
            venue.plan(
                {
                    "fault": "withhold",
                    "exchange": "binance",
                    "symbol": SYMBOL,
                    "from_id": stored_through,
                    "to_id": received_through,
                    "permanent": True,
                }
            )
            wait_for("the end of its sessions", desk.is_left_alone)
            assert newest_stored(desk) < received_through
        with desk.collector(venue, "--venue", "binance"):
            wait_until_stored(desk, last_id(venue))
            wait_until_stored(desk, last_id(venue) + 50)
        assert_store_is_true(desk, venue)


def test_a_database_that_is_killed_under_load_loses_nothing_and_doubles_nothing(
    simulated_venue: StartVenue, desk: Desk, tmp_path: Path
) -> None:
    home = tmp_path / "server"
    server = EmbeddedPostgres(home, log=tmp_path / "postgres.log")
    server.start()
    try:
        server.create_database("desk")
        own = Desk(home=desk.home, database_url=server.url("desk"), redis_url=desk.redis_url)
        own.record({"binance": [SYMBOL]})
        with simulated_venue("--symbols", SYMBOL, "--rate", RATE) as venue:
            with own.collector(venue, "--venue", "binance"):
                wait_until_stored(own, last_id(venue))
                for _ in range(2):
                    assert server.pid is not None
                    os.kill(server.pid, signal.SIGKILL)
                    time.sleep(0.5)
                    server.start()
                    wait_until_stored(own, last_id(venue) + 50)
            assert_store_is_true(own, venue)
    finally:
        server.stop()


def test_a_bus_that_goes_away_stops_no_storing_and_news_come_again(
    simulated_venue: StartVenue, recording: Desk, tmp_path: Path
) -> None:
    server = EmbeddedValkey(tmp_path / "bus", log=tmp_path / "valkey.log")
    server.start()
    try:
        desk = Desk(home=recording.home, database_url=recording.database_url, redis_url=server.url())
        with (
            simulated_venue("--symbols", SYMBOL, "--rate", RATE) as venue,
            desk.collector(venue, "--venue", "binance"),
        ):
            wait_until_stored(desk, last_id(venue))
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            for _ in range(3):
                time.sleep(0.5)
                wait_until_stored(desk, last_id(venue))
            server.start()
            client = redis.Redis.from_url(desk.redis_url)
            heard = client.pubsub()  # type: ignore[no-untyped-call]
            heard.psubscribe("trades.*")
            wait_for(
                "news of trades",
                lambda: (heard.get_message(timeout=0.1) or {}).get("type") == "pmessage",
            )
            client.close()
            wait_until_stored(desk, last_id(venue) + 50)
            ids = stored_ids(desk)
            assert ids == list(range(ids[0], ids[-1] + 1))
    finally:
        server.stop()
