"""A simulated venue on a free port of this machine, and ways to talk to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from simulator.faults import Fault
from simulator.venue import MarketState, SimulatedVenue, VenueOptions

LISTED_AT_MS = 1_732_147_200_000  # 2024-11-21 00:00 UTC
STATE = MarketState(seed=7, listed_at_ms=LISTED_AT_MS, rate=1.0)


class ManualClock:
    """A venue's time that moves when told to."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any


class RunningVenue:
    """A started venue and an HTTP client for it."""

    def __init__(self, venue: SimulatedVenue, session: aiohttp.ClientSession) -> None:
        self.venue, self.session, self.url = venue, session, venue.url

    async def get(self, path: str, **headers: str) -> Answer:
        async with self.session.get(self.url + path, headers=headers) as response:
            text = await response.text()
            return Answer(response.status, json.loads(text) if text else None, response.headers)

    async def okx(self, path: str) -> list[Any]:
        answer = await self.get("/api/v5" + path)
        assert (answer.status, answer.body["code"]) == (200, "0"), answer
        rows: list[Any] = answer.body["data"]
        return rows

    async def post_faults(self, *faults: dict[str, Any]) -> Answer:
        async with self.session.post(self.url + "/sim/faults", json=list(faults)) as response:
            return Answer(response.status, await response.json(), response.headers)

    def socket(self, path: str) -> connect:
        return connect(self.url.replace("http", "ws", 1) + path, close_timeout=0.5)


async def receive(socket: ClientConnection, count: int, wait_s: float = 5.0) -> list[Any]:
    """The next `count` messages as JSON values; fails where they do not come in time."""
    import asyncio

    messages: list[Any] = []
    async with asyncio.timeout(wait_s):
        while len(messages) < count:
            text = await socket.recv()
            messages.append(text if text == "pong" else json.loads(text))
    return messages


VenueOf: TypeAlias = Callable[..., Awaitable[RunningVenue]]


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
    state = MarketState(seed=7, listed_at_ms=LISTED_AT_MS, rate=20.0)
    options = VenueOptions(limited=False)
    return await start_venue(SimulatedVenue.made_up(state, symbols=("BTC-USDT",), options=options))
