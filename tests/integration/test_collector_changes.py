"""What changes while a collector runs: its settings, its connections, the venue's list of instruments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import redis

from data.collectors.settings import save_collector_settings
from data.messages import CollectorHealth
from tests.integration.conftest import Desk, StartVenue
from tests.integration.processes import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def save(desk: Desk, exchange: str, symbols: Mapping[str, list[str]]) -> None:
    save_collector_settings(
        Path(desk.home / "collectors.json"),
        {exchange: {"symbols": symbols, "history_candles": 0, "timeframes": ["1s", "1m"]}},
    )


def health(desk: Desk, shard: str) -> CollectorHealth | None:
    client = redis.Redis.from_url(desk.redis_url)
    try:
        payload = client.get(f"health.{shard}")
    finally:
        client.close()
    return msgspec.json.decode(payload, type=CollectorHealth) if isinstance(payload, bytes) else None


def says(desk: Desk, shard: str, words: str) -> CollectorHealth | None:
    found = health(desk, shard)
    return found if found is not None and words in found.detail else None


def ids(desk: Desk, symbol: str) -> list[int]:
    return [
        int(row[0])
        for row in desk.rows(
            "SELECT trade_id FROM trades JOIN markets USING (market_id) WHERE symbol = %s ORDER BY 1", symbol
        )
    ]


def has_grown(desk: Desk, symbol: str, count: int = 15) -> None:
    """Wait for more trades of the symbol."""
    before = len(ids(desk, symbol))
    wait_for(f"trades of {symbol}", lambda: len(ids(desk, symbol)) >= before + count)


def is_whole(desk: Desk, symbol: str) -> None:
    found = ids(desk, symbol)
    assert found == list(range(found[0], found[-1] + 1))
    assert desk.count("trade_gaps") == 0


def test_changed_settings_are_followed_and_what_stays_is_not_interrupted(
    desk: Desk, simulated_venue: StartVenue
) -> None:
    with simulated_venue("--rate", "25") as venue:
        save(desk, "binance", {"BTC-USDT": ["trades"]})
        with desk.collector(venue):
            has_grown(desk, "BTC-USDT")
            save(
                desk,
                "binance",
                {
                    "BTC-USDT": ["trades", "quotes", "klines", "book5"],
                    "ETH-USDT": ["trades"],
                    "BTC-USDT-PERP": ["mark", "funding"],
                },
            )
            for symbol in ("ETH-USDT", "BTC-USDT-PERP", "BTC-USDT"):
                has_grown(desk, symbol)
            wait_for("quotes, books and marks", lambda: desk.count("quotes") * desk.count("books") > 0)
            wait_for("marks and funding", lambda: desk.count("mark_prices") * desk.count("funding_rates"))
            (desk.home / "collectors.json").write_text('{"binance": {"symbols": ["BTC"]}}')
            wait_for("word of it", lambda: says(desk, "collector-binance", "binance.symbols[0]"))
            save(desk, "binance", {"BTC-USDT": ["trades"]})
            wait_for(
                "one market",
                lambda: (
                    (found := health(desk, "collector-binance")) and found.symbols == 1 and not found.detail
                ),
            )
            has_grown(desk, "BTC-USDT")  # and what came of the other before that is stored as well
            stopped_at = len(ids(desk, "ETH-USDT"))
            has_grown(desk, "BTC-USDT")
            assert len(ids(desk, "ETH-USDT")) == stopped_at
            final = health(desk, "collector-binance")
        assert final is not None
        assert (final.reconnects, final.gaps_found, final.restarts) == (0, 0, 0)
        assert final.memory_bytes > 0
        for symbol in ("BTC-USDT", "ETH-USDT", "BTC-USDT-PERP"):
            is_whole(desk, symbol)


def test_an_announced_end_hands_over_to_a_connection_that_is_subscribed_already(
    desk: Desk, simulated_venue: StartVenue
) -> None:
    with simulated_venue("--rate", "25") as venue:
        save(desk, "binance", {"BTC-USDT": ["trades"], "ETH-USDT": ["trades"]})
        with desk.collector(venue, "--venue", "binance") as program:
            has_grown(desk, "BTC-USDT")
            venue.plan({"fault": "upgrade", "exchange": "binance", "close_after_s": 60})
            wait_for(
                "the next one", lambda: (found := health(desk, "collector-binance")) and found.reconnects
            )
            has_grown(desk, "BTC-USDT", 120)
            final = health(desk, "collector-binance")
            told = program.told()
        assert final is not None
        assert (final.state, final.reconnects, final.gaps_found) == ("live", 1, 0)
        assert "stream_closed" not in told
        for symbol in ("BTC-USDT", "ETH-USDT"):
            is_whole(desk, symbol)


def test_a_dead_symbol_disturbs_no_other(desk: Desk, simulated_venue: StartVenue) -> None:
    with simulated_venue("--rate", "25") as venue:
        save(desk, "okx", {"NOPE-USDT": ["trades"], "BTC-USDT": ["trades"], "ETH-USDT": ["trades"]})
        with desk.collector(venue, "--venue", "okx"):
            has_grown(desk, "ETH-USDT")
            wait_for("word of it", lambda: says(desk, "collector-okx", "okx does not trade NOPE-USDT."))
            venue.plan({"fault": "halt", "exchange": "okx", "symbol": "ETH-USDT"})
            has_grown(desk, "BTC-USDT", 120)
            halted_at = len(ids(desk, "ETH-USDT"))
            has_grown(desk, "BTC-USDT", 120)
            assert len(ids(desk, "ETH-USDT")) == halted_at
            venue.plan({"fault": "resume", "exchange": "okx", "symbol": "ETH-USDT"})
            has_grown(desk, "ETH-USDT")
            final = health(desk, "collector-okx")
        assert final is not None
        assert (final.state, final.reconnects) == ("live", 0)
        for symbol in ("BTC-USDT", "ETH-USDT"):
            is_whole(desk, symbol)
