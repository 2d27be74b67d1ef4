"""`candlewick data` against the simulated venue and a real database."""

from __future__ import annotations

import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from app.commands.data import command
from database.engine import libpq_url
from tests.integration.processes import running

pytestmark = pytest.mark.integration

MARKET = ("--exchange", "binance", "--symbol", "BTC-USDT")
# Trades are withheld from this one for good, so no test after those may want the same minutes.
OKX = ("--venue", "okx", "--symbol", "BTC-USDT")
BINANCE = ("--venue", "binance", "--symbol", "BTC-USDT")


@cache
def midnight() -> datetime:
    """Yesterday's, for all tests of this session: that of the venue, which asks for it as it starts."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


def clock(text: str) -> str:
    """That time of yesterday, as the command line takes it."""
    hours, minutes = text.split(":")
    return (midnight() + timedelta(hours=int(hours), minutes=int(minutes))).isoformat()


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a simulated venue that has traded since yesterday's midnight, without limits."""
    folder = tmp_path_factory.mktemp("venue")
    arguments = ("--history-days", "1", "--rate", "0.25", "--symbols", "BTC-USDT", "--no-limits")
    with running("simulate", "--port", "0", "--json", *arguments, environment={}, log=folder / "log") as sim:
        url: str = sim.json_line()["url"]
        # Should a day begin between these two, the venue has the one before that as well.
        midnight()
        yield url


class Desk:
    """Runs `candlewick data` against one database and one venue."""

    def __init__(self, url: str, home: Path, venue: str) -> None:
        self.url, self.venue = url, venue
        self._environment = {
            "DATABASE_URL": url,
            "CANDLEWICK_HOME": str(home),
            "BINANCE_REST_URL": venue,
            "OKX_REST_URL": venue,
            "CANDLEWICK_LOG_LEVEL": "ERROR",
        }

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(command, arguments, env=self._environment)

    def told(self, *arguments: str, status: int = 0) -> Any:
        """The one JSON document that the command prints."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == status, (result.output, result.exception)
        return json.loads(result.stdout)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(libpq_url(self.url)) as connection:
            return connection.execute(sql).fetchall()

    def change(self, sql: str, *parameters: object) -> None:
        with psycopg.connect(libpq_url(self.url)) as connection:
            connection.execute(sql, parameters)

    def stored(self) -> list[tuple[Any, ...]]:
        """All trades, and all candles that were built from them."""
        trades = self.rows(
            "SELECT trade_id, traded_at, price, quantity, taker_side FROM trades ORDER BY trade_id"
        )
        candles = self.rows(
            "SELECT timeframe_s, opened_at, open, high, low, close, round(volume::numeric, 6), trades "
            "FROM (SELECT * FROM candles UNION ALL SELECT * FROM second_candles) c WHERE NOT from_venue "
            "ORDER BY timeframe_s, opened_at"
        )
        return [*trades, *candles]

    def fault(self, **fault: object) -> None:
        self._ask(urllib.request.Request(f"{self.venue}/sim/faults", json.dumps([fault]).encode()))

    @staticmethod
    def _ask(request: urllib.request.Request) -> None:
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200

    def minutes(self) -> dict[str, int]:
        (row,) = self.told("coverage")["markets"]
        minutes: dict[str, int] = row["minutes"]
        assert sum(minutes[state] for state in ("complete", "repaired", "venue_down", "missing")) == (
            sum(
                (datetime.fromisoformat(span["to"]) - datetime.fromisoformat(span["from"])).seconds // 60
                for span in row["spans"]
            )
        )
        return minutes


@pytest.fixture
def desk(migrated_database: Callable[[], str], tmp_path: Path, venue: str) -> Desk:
    return Desk(migrated_database(), tmp_path / "home", venue)


def fetch_trades(desk: Desk, start: str, end: str, *options: str, market: tuple[str, ...] = BINANCE) -> Any:
    return desk.told("backfill", *market, "--from", clock(start), "--to", clock(end), "--trades", *options)


def test_backfilled_trades_and_candles_are_the_venues_own_and_are_not_fetched_twice(desk: Desk) -> None:
    first = fetch_trades(desk, "10:00", "11:00", "--timeframes", "1m,1h")
    again = fetch_trades(desk, "10:00", "11:00", "--timeframes", "1m,1h")
    wider = fetch_trades(desk, "09:50", "11:10", "--timeframes", "1m")

    assert first["trades"]["trades_stored"] == first["trades"]["ids_missing"] > 100
    assert first["candles"] == {"1m": 60, "1h": 1}
    assert again["trades"]["ids_missing"] == 0
    assert again["candles"] == {"1m": 0, "1h": 0}
    assert 0 < wider["trades"]["trades_stored"] < first["trades"]["trades_stored"]
    assert wider["candles"] == {"1m": 20}
    assert desk.minutes() == {
        "complete": 80,
        "repaired": 0,
        "venue_down": 0,
        "missing": 0,
        "with_venue_candle": 0,
    }
    checked = desk.told("verify", "--against-venue")
    assert checked["ok"]
    (row,) = checked["markets"]
    assert row["venue"]["trades_compared"] == row["ids_in_ledger"]
    assert row["venue"]["candles_compared"] == 80


def test_a_thousand_deleted_trades_are_all_found_and_all_repaired(desk: Desk) -> None:
    fetch_trades(desk, "10:00", "10:30", "--timeframes", "1h")
    before = desk.stored()
    ids = [row[0] for row in desk.rows("SELECT trade_id FROM trades ORDER BY trade_id")]
    gone = random.Random(5).sample(ids, 1_000)
    desk.change("DELETE FROM trades WHERE trade_id = ANY(%s)", gone)

    (row,) = desk.told("verify", status=1)["markets"]
    repaired = desk.told("repair")

    found = {
        trade_id
        for fault in row["id_faults"]
        for trade_id in range(fault["after_id"] + 1, fault["next_id"])
        if fault["kind"] == "absent"
    }
    assert found == set(gone)
    assert {difference["likely_cause"] for difference in row["differences"]} == {"trades of it were deleted"}
    assert repaired["markets"][0]["trades_stored"] == 1_000
    assert desk.stored() == before
    assert desk.told("verify")["ok"]
    minutes = desk.minutes()
    assert minutes["repaired"] > 20
    assert minutes["repaired"] + minutes["complete"] == 30
    assert desk.told("repair")["markets"][0]["ids_missing"] == 0


@pytest.mark.parametrize("exchange", ["binance", "okx"])
def test_a_hole_between_runs_is_repaired_and_its_candles_built(desk: Desk, exchange: str) -> None:
    market = ("--venue", exchange, "--symbol", "BTC-USDT")
    # OKX tells a hundred trades at a time, so that minutes take seconds.
    fetch_trades(desk, "10:00", "10:01", "--timeframes", "5m", market=market)
    fetch_trades(desk, "10:04", "10:07", "--timeframes", "5m", market=market)
    holed = desk.minutes()

    (repaired,) = desk.told("repair")["markets"]

    assert (holed["complete"], holed["missing"]) == (4, 3)
    assert (repaired["holes"], repaired["absent_at_venue"]) == (1, 0)
    minutes = desk.minutes()
    assert (minutes["complete"] + minutes["repaired"], minutes["missing"]) == (7, 0)
    assert 3 <= minutes["repaired"] <= 5
    assert len(desk.rows("SELECT FROM trade_runs")) == 1
    assert desk.told("verify")["ok"]
    built = desk.rows("SELECT opened_at, from_venue FROM candles WHERE timeframe_s = 300 ORDER BY opened_at")
    assert built == [(midnight() + timedelta(hours=10), False)]


def test_what_the_venue_lacks_is_missing_and_asked_for_once(desk: Desk) -> None:
    fetch_trades(desk, "10:00", "10:01", "--timeframes", "5m", market=OKX)
    fetch_trades(desk, "10:04", "10:06", "--timeframes", "5m", market=OKX)
    ((first_id,),) = desk.rows("SELECT min(last_id) + 1 FROM trade_runs")
    desk.fault(
        fault="withhold",
        exchange="okx",
        symbol="BTC-USDT",
        from_id=first_id + 50,
        to_id=first_id + 60,
        permanent=True,
    )
    (once,) = desk.told("repair")["markets"]
    (twice,) = desk.told("repair")["markets"]
    (row,) = desk.told("coverage")["markets"]
    missing = desk.minutes()["missing"]

    assert once["absent_at_venue"] == 11
    assert twice["ids_missing"] == 0
    assert 1 <= missing <= 3
    assert {span["reason"] for span in row["spans"] if span["state"] == "missing"} == {"absent_at_venue"}
    assert desk.told("verify")["ok"]


def test_deleted_trades_that_the_venue_lacks_make_their_minutes_missing(desk: Desk) -> None:
    fetch_trades(desk, "10:20", "10:24", "--timeframes", "1h", market=OKX)
    ((middle,),) = desk.rows("SELECT (first_id + last_id) / 2 FROM trade_runs")
    desk.change("DELETE FROM trades WHERE trade_id BETWEEN %s AND %s", middle, middle + 4)
    desk.fault(
        fault="withhold",
        exchange="okx",
        symbol="BTC-USDT",
        from_id=middle,
        to_id=middle + 4,
        permanent=True,
    )
    (repaired,) = desk.told("repair")["markets"]

    assert (repaired["ids_missing"], repaired["absent_at_venue"]) == (5, 5)
    minutes = desk.minutes()
    assert minutes["missing"] in (1, 2)
    assert minutes["missing"] + minutes["complete"] == 4


def test_an_altered_trade_or_candle_is_found_with_its_likely_cause(desk: Desk) -> None:
    fetch_trades(desk, "10:00", "10:30", "--timeframes", "1h")
    ((middle,),) = desk.rows("SELECT (first_id + last_id) / 2 FROM trade_runs")
    desk.change("UPDATE trades SET quantity = quantity * 2 WHERE trade_id = %s", middle)
    (row,) = desk.told("verify", status=1)["markets"]
    assert {found["likely_cause"] for found in row["differences"]} == {"a trade of it was altered"}
    assert {found["timeframe"] for found in row["differences"]} >= {"1s", "1m", "5m", "15m"}
    desk.change("UPDATE trades SET quantity = quantity / 2 WHERE trade_id = %s", middle)

    desk.change("UPDATE candles SET close = close + 1 WHERE timeframe_s = 900 AND NOT from_venue")
    desk.change("DELETE FROM candles WHERE timeframe_s = 180 AND opened_at = %s", clock("10:03"))
    (row,) = desk.told("verify", status=1)["markets"]
    assert {(found["timeframe"], found["likely_cause"]) for found in row["differences"]} == {
        ("15m", "the candle was altered"),
        ("3m", "the candle was deleted or never built"),
    }


def test_an_altered_side_is_in_no_candle_and_found_all_the_same(desk: Desk) -> None:
    fetch_trades(desk, "10:00", "10:10", "--timeframes", "1h")
    ((middle,),) = desk.rows("SELECT (first_id + last_id) / 2 FROM trade_runs")
    desk.change("UPDATE trades SET taker_side = -taker_side WHERE trade_id = %s", middle)

    (alone,) = desk.told("verify", status=1)["markets"]
    (row,) = desk.told("verify", "--against-venue", status=1)["markets"]

    assert (len(alone["altered_minutes"]), alone["differences"], alone["id_faults"]) == (1, [], [])
    ((difference),) = row["venue"]["differences"]
    assert (difference["kind"], difference["key"], difference["field"]) == ("trade", middle, "taker_side")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backfill", *BINANCE), "say with --from since when"),
        (("backfill", "--venue", "kraken", "--symbol", "BTC-USDT"), "'binance', 'okx'"),
        (("backfill", "--venue", "okx", "--symbol", "btc"), "BTC-USDT"),
        (("coverage", "--from", "soon"), "no time; expected one like"),
    ],
)
def test_wrong_use_says_what_would_be_right(desk: Desk, arguments: tuple[str, ...], words: str) -> None:
    result = desk.run(*arguments)

    assert result.exit_code == 2
    assert words in result.output


def test_a_symbol_that_the_venue_does_not_trade_is_refused_and_nothing_is_stored(desk: Desk) -> None:
    result = desk.run("backfill", "--venue", "binance", "--symbol", "NO-SUCH", "--from", clock("10:00"))

    assert "expected a symbol that binance trades" in str(result.exception)
    assert desk.told("markets") == {"markets": []}


def test_a_time_that_ends_before_it_begins_is_refused(desk: Desk) -> None:
    result = desk.run("coverage", "--from", clock("10:00"), "--to", clock("09:00"))

    assert "expected a time after --from" in str(result.exception)
