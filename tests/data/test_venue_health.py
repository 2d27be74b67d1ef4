from __future__ import annotations

import msgspec

from data.messages import CollectorHealth
from data.venue_health import venue_health

ONE = CollectorHealth(
    exchange="okx",
    state="live",
    detail="",
    symbols=2,
    trades_stored=10,
    trades_per_s=1.5,
    duplicates=1,
    malformed=0,
    gaps_open=0,
    lag_ms=20.0,
    sent_at_us=5,
    shard="collector-okx",
    stale_symbols=("A-USDT",),
)


def test_the_worst_shard_speaks_for_its_venue_and_figures_are_added() -> None:
    other = msgspec.structs.replace(
        ONE,
        shard="collector-okx-2",
        state="reconnecting",
        detail="Lost.",
        lag_ms=50.0,
        stale_symbols=("B-USDT",),
    )
    joined = venue_health([other, ONE])
    assert joined is not None
    assert (joined.state, joined.detail, joined.symbols) == ("reconnecting", "Lost.", 4)
    assert (joined.trades_per_s, joined.lag_ms) == (3.0, 50.0)
    assert joined.stale_symbols == ("A-USDT", "B-USDT")


def test_a_shard_that_ended_in_order_is_not_missed_while_another_records() -> None:
    ended = msgspec.structs.replace(ONE, shard="collector-okx-2", state="stopped")
    assert venue_health([ended, ONE]) == ONE
    assert venue_health([ended]) == ended
    assert venue_health([]) is None


def test_a_shard_that_is_paused_is_told_of() -> None:
    paused = msgspec.structs.replace(
        ONE, shard="collector-okx-2", state="stopped", detail="It keeps crashing."
    )
    joined = venue_health([ONE, paused])
    assert joined is not None
    assert (joined.state, joined.detail) == ("stopped", "It keeps crashing.")
