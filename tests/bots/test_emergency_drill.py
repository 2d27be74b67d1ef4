"""The emergency stop, drilled on real processes: a runner full of bots, and the command that people run."""

# The fixtures come from the crash drills, and a test names them as arguments.
# ruff: noqa: F811

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import psycopg
import pytest

from bots.lifecycle import BotState
from bots.paper_bot import candles_of
from data.messages import CandleUpdate
from data.models import Ohlcv
from data.stores import MarketBatch
from database.engine import libpq_url
from database.repositories.market_repository import MarketRepository
from messaging.redis_bus import RedisBus
from messaging.redis_publisher import RedisPublisher
from tests.bots.test_bot_crash import BTC, HISTORY, Site, new_site, recorded, running  # noqa: F401
from tests.integration.processes import Program, wait_for

pytestmark = pytest.mark.integration

BOTS = [f"bot{number}" for number in range(8)]
HOLDERS = BOTS[:2]  # always want to be in the market, and never out of it by themselves
HOLDING = {
    "name": "holding",
    "timeframe": "1m",
    "indicators": {},
    "long": {"entry": {"gt": ["close", 0]}, "exit": {"lt": ["close", 0]}},
}


class Market:
    """Candles that close one after the other, stored and told as a collector would, until it is stopped."""

    def __init__(self, site: Site, candles: Ohlcv) -> None:
        self._site = site
        self._candles = candles
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._move()))

    def __enter__(self) -> Market:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    async def _move(self) -> None:
        bus = RedisBus(self._site.redis_url)
        store = MarketRepository(self._site._database_url)
        publisher = RedisPublisher(bus)
        try:
            for candle in candles_of(self._candles, BTC):
                if self._over.is_set():
                    return
                forming = CandleUpdate(candle=candle, closed=False, covered=True)
                await publisher.publish_candles([forming])
                await asyncio.sleep(0.05)
                await store.save(MarketBatch(trades=(), candles=[candle], runs=()))
                await publisher.publish_candles([CandleUpdate(candle=candle, closed=True, covered=True)])
                await asyncio.sleep(0.05)
        finally:
            await store.close()
            await bus.close()


class EntryWatch:
    """Notes when the number of entries that were ever ordered grew, as another connection sees it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.grew_at: list[float] = []
        self.stopped_at: float | None = None

    def __enter__(self) -> EntryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        known = 0
        with psycopg.connect(libpq_url(self._url), autocommit=True) as connection:
            while not self._over.is_set():
                row = connection.execute(
                    "SELECT (SELECT count(*) FROM bot_orders WHERE reason = 'entry'),"
                    " EXISTS (SELECT FROM emergency_stops WHERE released_at IS NULL)"
                ).fetchone()
                assert row is not None
                now = time.monotonic()
                if row[0] > known:
                    known = row[0]
                    self.grew_at.append(now)
                if row[1] and self.stopped_at is None:
                    self.stopped_at = now
                time.sleep(0.002)


def command(site: Site, *arguments: str) -> tuple[int, Any]:
    """Run `candlewick emergency-stop` as a person would; its exit status and its JSON."""
    program = Program("emergency-stop", "--json", *arguments, environment=site._environment, log=site._log)
    lines = []
    program.process.wait(120)  # it imports the database and more, on a machine with other things to do
    with suppress(AssertionError):
        while True:
            lines.append(program.line(timeout_s=0.5))
    return program.process.returncode, json.loads("".join(lines))


@pytest.fixture
def site(new_site: Callable[[str], Site], recorded: Ohlcv) -> Site:
    site = new_site("drill")
    (site.strategies / "holding.json").write_text(json.dumps(HOLDING))
    for name in BOTS:
        site.add_bot(name, **({"strategy": "holding"} if name in HOLDERS else {}))
    site.save(recorded.rows(0, HISTORY))
    return site


def started(site: Site) -> None:
    """Wait for every bot's first candle; a runner that compiles its kernels anew takes its time."""
    views = site.people.list_bots
    wait_for(
        "the start",
        lambda: len(views()) == len(BOTS) and all(view.last_candle_us is not None for view in views()),
        timeout_s=120,
    )


def entries(site: Site) -> int:
    """How many entries were ever ordered."""
    with psycopg.connect(libpq_url(site._database_url)) as connection:
        row = connection.execute("SELECT count(*) FROM bot_orders WHERE reason = 'entry'").fetchone()
    assert row is not None
    return int(row[0])


def positions(site: Site) -> list[str]:
    return [view.name for view in site.people.list_bots() if view.position is not None]


def test_once_it_stands_nothing_new_is_ordered_and_everything_is_flat(
    site: Site, recorded: Ohlcv, record_property: Callable[[str, object], None]
) -> None:
    with running(site):
        started(site)
        with Market(site, recorded.rows(HISTORY, 900)), EntryWatch(site._database_url) as watch:
            wait_for("bots that trade", lambda: len(watch.grew_at) > 3 and set(HOLDERS) <= {*positions(site)})
            status, report = command(site, "--why", "a drill", "--wait", "60")
            ordered = entries(site)
            time.sleep(1)  # a market that goes on
            # Once the command has answered, nothing is ordered any more, however slow everything is.
            assert entries(site) == ordered
            assert status == 0, report
            assert report["done"] is True
            assert report["orders"] == report["positions"] == []
            assert positions(site) == []
            assert watch.stopped_at is not None
            late_ms = (max(watch.grew_at) - watch.stopped_at) * 1_000
            reasons = {fill.reason.value for fill in site.people.fills(BOTS[0], 50)}
            assert "flatten" in reasons
            gates = {decision.gate.value for decision in site.people.decisions(BOTS[0], 30)}
            assert "emergency_stop" in gates
            record_property("last_entry_after_stop_ms", round(late_ms))
            record_property("command_took_ms", round(report["took_ms"]))

            before = len(watch.grew_at)
            assert command(site, "--release") == (0, {"engaged": False, "released": True})
            wait_for("bots that trade again", lambda: len(watch.grew_at) > before)


def test_with_every_runner_dead_the_stop_stands_and_names_what_is_left(site: Site, recorded: Ohlcv) -> None:
    with running(site) as program:
        started(site)
        with Market(site, recorded.rows(HISTORY, 900)):
            wait_for("positions", lambda: len(positions(site)) >= len(HOLDERS))
            family = psutil.Process(program.process.pid).children(recursive=True)
            program.kill()
            psutil.wait_procs(family, timeout=20)
        held = positions(site)
        status, report = command(site, "--wait", "0.5")
        assert (status, report["engaged"], report["done"]) == (1, True, False)
        assert [left["bot"] for left in report["positions"]] == held
        assert all("no runner runs" in left["why"] for left in report["positions"])
    # Whoever comes back finds the stop: what waited is called off, and the position closes.
    with running(site), Market(site, recorded.rows(880, 900)):
        wait_for("flat", lambda: not positions(site))
        assert command(site, "--status")[1]["done"] is True
        for name in BOTS:
            assert site.people.bot(name).state is BotState.RUNNING


def test_a_stop_that_does_not_flatten_leaves_positions_protected(site: Site, recorded: Ohlcv) -> None:
    with running(site):
        started(site)
        with Market(site, recorded.rows(HISTORY, 900)):
            wait_for("positions", lambda: len(positions(site)) >= len(HOLDERS))
            status, report = command(site, "--no-flatten")
            assert (status, report["done"], report["flatten"]) == (0, True, False)
            assert all("go on working" in left["why"] for left in report["positions"])
            wait_for("exits of their own", lambda: positions(site) == HOLDERS)
    reasons = {fill.reason.value for name in BOTS for fill in site.people.fills(name, 200)}
    assert "flatten" not in reasons
