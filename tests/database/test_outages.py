"""Outages of a simulated venue: what coverage says of them, with trades meanwhile and without."""

from __future__ import annotations

import pytest

from data.coverage import MinuteState
from data.errors import TransientError
from data.models import MarketEvent, MarketEventKind
from tests.database.recording import LISTED_US, MARKET, MINUTE_US, Recording, recording
from tests.simulator.conftest import start_venue

__all__ = ["recording", "start_venue"]

pytestmark = pytest.mark.integration


async def test_an_outage_in_which_the_venue_traded_on_is_repaired_and_no_venue_down(
    recording: Recording,
) -> None:
    await recording.record(1.5, 5.5)
    await recording.tell_health(5.5, 9.5, "unreachable")
    await recording.running.post_faults({"fault": "refuse", "exchange": "binance"})
    with pytest.raises(TransientError):
        await recording.backfill.fetch_trades(LISTED_US, LISTED_US + 9 * MINUTE_US)
    async with recording.running.session.delete(recording.running.url + "/sim/faults"):
        pass
    await recording.record(9.6, 12.5)
    await recording.tell_health(9.6, 12.5, "live")
    assert recording.states(2, 12) == [
        (3, MinuteState.COMPLETE, ""),
        (5, MinuteState.MISSING, "not_recorded"),
        (2, MinuteState.COMPLETE, ""),
    ]

    done = await recording.backfill.repair()
    found = await recording.store.note_outages("binance", LISTED_US)

    assert (done.absent, found) == (0, 0)
    assert done.stored == done.wanted > 100
    assert recording.states(2, 12) == [
        (3, MinuteState.COMPLETE, ""),
        (5, MinuteState.REPAIRED, "not_recorded"),
        (2, MinuteState.COMPLETE, ""),
    ]


async def test_an_outage_in_which_nothing_was_traded_is_venue_down(recording: Recording) -> None:
    await recording.record(1.5, 5.5)
    await recording.running.post_faults({"fault": "halt", "symbol": "BTC-USDT", "exchange": "binance"})
    recording.at_minute(9.5)
    await recording.running.post_faults({"fault": "resume", "symbol": "BTC-USDT", "exchange": "binance"})
    await recording.tell_health(5.5, 9.5, "unreachable")
    await recording.record(9.5, 12.5)
    await recording.tell_health(9.6, 12.5, "live")
    await recording.backfill.repair()
    await recording.backfill.fetch_trades(LISTED_US + MINUTE_US, LISTED_US + 12 * MINUTE_US)
    assert recording.states(2, 12) == [(10, MinuteState.COMPLETE, "")]

    await recording.store.note_outages("binance", LISTED_US)

    assert recording.states(2, 12) == [
        (4, MinuteState.COMPLETE, ""),
        (3, MinuteState.VENUE_DOWN, "unreachable"),
        (3, MinuteState.COMPLETE, ""),
    ]
    assert (
        recording.coverage.missing_minutes(MARKET, LISTED_US + 2 * MINUTE_US, LISTED_US + 12 * MINUTE_US)
        == []
    )


async def test_an_outage_ends_with_the_first_trade_although_it_was_told_later(recording: Recording) -> None:
    await recording.record(1.5, 5.5)
    await recording.running.post_faults({"fault": "halt", "symbol": "BTC-USDT", "exchange": "binance"})
    recording.at_minute(9.5)
    await recording.running.post_faults({"fault": "resume", "symbol": "BTC-USDT", "exchange": "binance"})
    # The venue trades again before the collector is back.
    await recording.tell_health(5.5, 11.2, "unreachable")
    await recording.record(9.5, 12.5)
    await recording.tell_health(11.3, 12.5, "live")
    await recording.backfill.repair(check_since_us=0)  # candles are built

    await recording.store.note_outages("binance", LISTED_US)

    assert recording.states(2, 12) == [
        (4, MinuteState.COMPLETE, ""),
        (3, MinuteState.VENUE_DOWN, "unreachable"),
        (3, MinuteState.COMPLETE, ""),
    ]


async def test_minutes_that_were_lost_do_not_speak_for_a_venue_that_seldom_trades(
    recording: Recording,
) -> None:
    await recording.record(1.5, 3.5)
    await recording.record(4.2, 9.5)
    lost, later = await recording.store.runs(MARKET)
    await recording.running.post_faults(
        {
            "fault": "withhold",
            "exchange": "binance",
            "symbol": "BTC-USDT",
            "from_id": lost.last_id + 1,
            "to_id": later.first_id - 1,
            "permanent": True,
        },
        {"fault": "halt", "symbol": "BTC-USDT", "exchange": "binance"},
    )
    recording.at_minute(12.5)
    await recording.running.post_faults({"fault": "resume", "symbol": "BTC-USDT", "exchange": "binance"})
    await recording.tell_health(9.5, 13.2, "unreachable")
    await recording.record(12.5, 15.5)
    await recording.backfill.repair(check_since_us=0)

    await recording.store.note_outages("binance", LISTED_US)

    assert recording.states(2, 15) == [
        (1, MinuteState.COMPLETE, ""),
        (2, MinuteState.MISSING, "absent_at_venue"),
        (5, MinuteState.COMPLETE, ""),
        (2, MinuteState.VENUE_DOWN, "unreachable"),
        (3, MinuteState.COMPLETE, ""),
    ]


async def test_a_halt_that_the_venue_told_is_venue_down_where_nothing_was_traded(
    recording: Recording,
) -> None:
    await recording.record(1.5, 5.5)
    await recording.running.post_faults({"fault": "halt", "symbol": "BTC-USDT", "exchange": "binance"})
    recording.at_minute(9.5)
    await recording.running.post_faults({"fault": "resume", "symbol": "BTC-USDT", "exchange": "binance"})
    await recording.record(1.5, 12.5)
    # Candles that should be there and are not are built.
    assert (await recording.backfill.repair(check_since_us=0)).candles == 10
    # The collector noticed both late, as it asks every few minutes.
    await recording.channels.save_events(
        [
            MarketEvent(market=MARKET, kind=kind, at_us=LISTED_US + minute * MINUTE_US)
            for kind, minute in ((MarketEventKind.HALTED, 7), (MarketEventKind.RESUMED, 11))
        ]
    )
    for first_us in (LISTED_US, LISTED_US + 8 * MINUTE_US):
        await recording.store.note_outages("binance", first_us)

    assert recording.states(2, 12) == [
        (5, MinuteState.COMPLETE, ""),
        (2, MinuteState.VENUE_DOWN, "halted"),
        (3, MinuteState.COMPLETE, ""),
    ]


async def test_what_the_venue_no_longer_has_stays_missing_with_its_reason(recording: Recording) -> None:
    await recording.record(1.5, 5.5)
    await recording.record(9.6, 12.5)
    runs = await recording.store.runs(MARKET)
    await recording.running.post_faults(
        {
            "fault": "withhold",
            "exchange": "binance",
            "symbol": "BTC-USDT",
            "from_id": runs[0].last_id + 1,
            "to_id": runs[1].first_id - 1,
            "permanent": True,
        }
    )

    done = await recording.backfill.repair()

    assert done.absent == done.wanted > 100
    assert recording.states(5, 10) == [(5, MinuteState.MISSING, "absent_at_venue")]
    assert (await recording.backfill.repair()).wanted == 0
    assert recording.coverage.missing_minutes(
        MARKET, LISTED_US + 2 * MINUTE_US, LISTED_US + 12 * MINUTE_US
    ) == [(LISTED_US + 5 * MINUTE_US, LISTED_US + 10 * MINUTE_US)]
