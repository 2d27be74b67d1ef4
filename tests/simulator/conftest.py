"""A simulated venue on a free port of this machine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest

from simulator.faults import Fault
from simulator.venue import MarketState, SimulatedVenue, VenueOptions
from tests.simulator.venues import LISTED_AT_MS, STATE, ManualClock, RunningVenue, VenueOf


@pytest.fixture
async def start_venue() -> AsyncIterator[VenueOf]:
    """Starts venues and stops them after the test."""
    running: list[SimulatedVenue] = []
    async with aiohttp.ClientSession() as session:

        async def start(venue: SimulatedVenue, faults: Sequence[Fault] = ()) -> RunningVenue:
            await venue.start(faults=faults)
            running.append(venue)
            return RunningVenue(venue, session)

        yield start
        for venue in running:
            await venue.stop()


@pytest.fixture
def clock() -> ManualClock:
    """Six hours and a bit after the markets were listed."""
    return ManualClock(LISTED_AT_MS + 6 * 3_600_000 + 30_500)


@pytest.fixture
async def still(start_venue: VenueOf, clock: ManualClock) -> RunningVenue:
    """A made-up venue whose time stands still, without rate limits."""
    symbols = ("BTC-USDT", "ATOM-USDT", "BTC-USDT-PERP")
    options = VenueOptions(limited=False)
    return await start_venue(SimulatedVenue.made_up(STATE, symbols=symbols, clock=clock, options=options))


@pytest.fixture
async def live(start_venue: VenueOf) -> RunningVenue:
    """A made-up, busy venue on this machine's time, without rate limits."""
    listed_at_ms = (time.time_ns() // 1_000_000 // 60_000 - 10) * 60_000
    state = MarketState(seed=7, listed_at_ms=listed_at_ms, rate=60.0)
    options = VenueOptions(limited=False)
    return await start_venue(SimulatedVenue.made_up(state, symbols=("BTC-USDT",), options=options))
