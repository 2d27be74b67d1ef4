"""Candles that were in the making while trades of them were repaired."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.processes.maintenance import build_ended
from config.settings import Settings
from data.timeframes import Timeframe
from tests.database.recording import LISTED_US, MARKET, MINUTE_US, Recording, recording
from tests.simulator.conftest import start_venue

__all__ = ["recording", "start_venue"]

pytestmark = pytest.mark.integration


async def test_a_candle_in_the_making_during_a_repair_is_built_after_its_end(
    recording: Recording, tmp_path: Path
) -> None:
    settings = Settings(candlewick_home=tmp_path)
    await recording.record(1.5, 5.5)
    await recording.record(6.2, 6.6)
    await recording.backfill.repair()
    assert minutes_of(recording) == [5]

    assert await build_ended(settings, recording.store) == 0
    await recording.record(6.2, 7.5)
    assert await build_ended(settings, recording.store) > 0

    assert minutes_of(recording) == [5, 6]
    assert await build_ended(settings, recording.store) == 0


def minutes_of(recording: Recording) -> list[int]:
    """Which minutes since the listing have a stored candle."""
    opened_us = recording.reads.candles(MARKET, Timeframe.M1).opened_at_us
    return [(at_us - LISTED_US) // MINUTE_US for at_us in opened_us.tolist()]
