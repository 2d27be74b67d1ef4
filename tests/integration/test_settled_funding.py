"""What became of funding that was paid before a collector started, and while none ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.collectors.settings import save_collector_settings
from tests.integration.conftest import Desk, StartVenue
from tests.integration.processes import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SYMBOL = "BTC-USDT-PERP"
HOURS = 8  # between two payments of the simulated venue
_FUNDING = "FROM funding_rates JOIN markets USING (market_id) WHERE exchange = %s"
_EVERY_THIRD = (
    "DELETE FROM funding_rates f USING markets m WHERE f.market_id = m.market_id AND exchange = %s "
    f"AND settled AND extract(epoch FROM funding_at)::bigint / ({HOURS} * 3600) %% 3 = 0"
)


def record(desk: Desk, channels: dict[str, list[str]]) -> None:
    save_collector_settings(
        Path(desk.home / "collectors.json"),
        {
            exchange: {"symbols": {SYMBOL: named}, "history_candles": 0, "timeframes": ["1m"]}
            for exchange, named in channels.items()
        },
    )


def settled(desk: Desk, exchange: str) -> int:
    """How many payments are stored as settled without one missing between the first and the last."""
    rows = desk.rows(
        f"SELECT count(*), max(funding_at) - min(funding_at) = (count(*) - 1) * interval '{HOURS} hours' "
        f"{_FUNDING} AND settled",
        exchange,
    )
    return int(rows[0][0]) if rows and rows[0][1] else 0


def wait_for_settled(desk: Desk, exchange: str, count: int) -> None:
    wait_for(f"funding of {exchange}", lambda: settled(desk, exchange) >= count)


def test_a_collector_fetches_the_funding_that_was_paid_without_it(
    desk: Desk, simulated_venue: StartVenue
) -> None:
    with simulated_venue("--history-days", "10") as venue:
        record(desk, {"okx": ["trades", "mark"], "binance": ["trades", "funding"]})
        with desk.collector(venue):
            wait_for_settled(desk, "binance", 10 * 3)
            assert settled(desk, "okx") == 0
            # A channel that is switched on later has a past as well.
            record(desk, {"okx": ["trades", "funding"], "binance": ["trades", "funding"]})
            wait_for_settled(desk, "okx", 10 * 3)
        before = settled(desk, "okx")

        # As if every third had been paid while no collector ran.
        assert desk.rows(f"{_EVERY_THIRD} RETURNING funding_at", "okx")
        assert settled(desk, "okx") == 0
        with desk.collector(venue, "--venue", "okx"):
            wait_for_settled(desk, "okx", before)
