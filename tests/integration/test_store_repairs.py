"""History fetched, killed and gone on with; damage to the store found and made good, beside a collector."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import urlopen

import pytest
import redis
from click.testing import CliRunner, Result

from app.commands import data
from tests.integration.conftest import Desk, StartVenue, Venue
from tests.integration.processes import PATIENCE_S, running, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

MARKET = ("--symbol", "BTC-USDT")
BUSY = ("--symbols", "BTC-USDT", "--rate", "2", "--history-days", "1")


def run(desk: Desk, venue: Venue, *arguments: str, status: int = 0) -> Any:
    done = invoke(desk, venue, *arguments)
    assert done.exit_code == status, (done.output[-4_000:], done.exception)
    return json.loads(done.stdout)


def invoke(desk: Desk, venue: Venue, *arguments: str) -> Result:
    """A command of `candlewick data` in this process, which spares its start."""
    environment = {**desk.environment(venue), "CANDLEWICK_LOG_LEVEL": "ERROR"}
    return CliRunner(env=environment).invoke(data.command, [*arguments, "--json"])


def truth(venue: Venue, start: datetime, end: datetime) -> dict[int, tuple[float, float, int]]:
    """Price, quantity and taker side (1 buy, -1 sell) by trade id."""
    span = f"start={int(start.timestamp() * 1_000)}&end={int(end.timestamp() * 1_000)}"
    url = f"{venue.url}/sim/truth/trades?exchange=binance&symbol=BTC-USDT&{span}&format=lines"
    with urlopen(url, timeout=PATIENCE_S) as reply:
        rows = [json.loads(line) for line in reply]
    return {
        int(row["id"]): (float(row["price"]), float(row["qty"]), 1 if row["side"] == "buy" else -1)
        for row in rows
    }


def stored(desk: Desk, start: datetime, end: datetime) -> dict[int, tuple[float, float, int]]:
    rows = desk.rows(
        "SELECT trade_id, price, quantity, taker_side FROM trades WHERE traded_at >= %s AND traded_at < %s",
        start,
        end,
    )
    return {row[0]: row[1:] for row in rows}


def minutes_ago(minutes: int) -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=minutes)


def test_a_backfill_that_is_killed_goes_on_where_it_was_and_what_is_stored_is_not_fetched_again(
    simulated_venue: StartVenue, desk: Desk
) -> None:
    start = minutes_ago(60)
    end = start + timedelta(minutes=5)
    command = (
        "backfill", "--venue", "binance", *MARKET, "--from", start.isoformat(),
        "--to", end.isoformat(), "--timeframes", "1m,1h", "--trades",
    )  # fmt: skip
    with simulated_venue(*BUSY) as venue:
        log = desk.home / "backfill.log"
        with (
            desk.stuck_at(trades=2_000),
            running("data", *command, environment=desk.environment(venue), log=log) as program,
        ):
            wait_for("the backfill in its middle", desk.is_stuck)
            program.kill()
        wait_for("the end of its sessions", desk.is_left_alone)
        at_kill = desk.count("trades")
        expected = truth(venue, start, end)
        assert at_kill < len(expected)
        assert "%" in log.read_text()

        second = run(desk, venue, *command)
        third = run(desk, venue, *command)

        assert second["candles"]["1m"] == 0  # they were fetched before the kill
        # A page more at most: the one that was under way.
        assert second["trades"]["trades_stored"] <= len(expected) - at_kill + 2_000
        assert (third["trades"]["ids_missing"], sum(third["candles"].values())) == (0, 0)
        assert stored(desk, start, end) == expected


def test_beside_a_live_collector_history_is_fetched_and_damage_is_found_mended_and_announced(
    simulated_venue: StartVenue, desk: Desk
) -> None:
    start = minutes_ago(5)
    desk.record({"binance": ["BTC-USDT"]})
    listener = redis.Redis.from_url(desk.redis_url).pubsub()  # type: ignore[no-untyped-call]  # it has no types
    listener.psubscribe("repairs.*")
    with simulated_venue(*BUSY) as venue, desk.collector(venue, "--venue", "binance") as collector:
        wait_for("live trades", lambda: desk.count("trades") >= 20)
        end = live_from = datetime.now(UTC)
        run(
            desk, venue, "backfill", "--venue", "binance", *MARKET, "--from", start.isoformat(),
            "--to", end.isoformat(), "--timeframes", "1m", "--trades",
        )  # fmt: skip
        ids = sorted(stored(desk, start, end))
        desk.rows("DELETE FROM trades WHERE trade_id BETWEEN %s AND %s RETURNING 1", ids[900], ids[1_899])
        desk.rows("UPDATE trades SET quantity = quantity * 1.5 WHERE trade_id = %s RETURNING 1", ids[2_500])
        desk.rows("UPDATE trades SET taker_side = -taker_side WHERE trade_id = %s RETURNING 1", ids[2_900])
        desk.rows("UPDATE candles SET high = high * 2 WHERE timeframe_s = 60 AND NOT from_venue RETURNING 1")

        (found,) = run(desk, venue, "verify", status=1)["markets"]
        assert [(row["after_id"], row["next_id"]) for row in found["id_faults"]] == [(ids[899], ids[1_900])]
        assert len(found["altered_minutes"]) in (1, 2)
        (mended,) = run(desk, venue, "repair")["markets"]

        assert (mended["trades_stored"], mended["absent_at_venue"]) == (1_000, 0)
        assert mended["ids_mended"] == mended["ids_altered"] > 0
        # A candle that was in the making during the repair is built by the next one after its end.
        wait_for("a store without a fault", lambda: is_whole_again(desk, venue))
        assert stored(desk, start, end) == truth(venue, start, end)
        assert wait_for("news of the repair", lambda: heard(listener))
        now = datetime.now(UTC) - timedelta(seconds=2)
        wait_for("the live trades", lambda: stored(desk, live_from, now) == truth(venue, live_from, now))
        assert collector.end() == 0
        assert "reconnect" not in collector.told()
    assert desk.count("trade_gaps") == 0
    listener.close()


def is_whole_again(desk: Desk, venue: Venue) -> bool:
    run(desk, venue, "repair")
    return invoke(desk, venue, "verify").exit_code == 0


def heard(listener: Any) -> Any:
    message = listener.get_message(ignore_subscribe_messages=True, timeout=0.1)
    return message and json.loads(message["data"]).get("start_us")
