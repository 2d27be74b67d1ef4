"""Running simulated venues and what their clients read, for the tests of the protocols."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
from websockets.asyncio.client import ClientConnection, connect

from simulator.venue import MarketState, SimulatedVenue

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


async def receive(socket: ClientConnection, count: int, wait_s: float = 60.0) -> list[Any]:
    """The next `count` messages as JSON values; fails where they do not come in time."""
    messages: list[Any] = []
    async with asyncio.timeout(wait_s):
        while len(messages) < count:
            text = await socket.recv()
            messages.append(text if text == "pong" else json.loads(text))
    return messages


VenueOf: TypeAlias = Callable[..., Awaitable[RunningVenue]]


def trade_frame(number: int, *, second: float) -> str:
    """A Binance trade that was received and made `second` seconds into the recording."""
    at_ms = 1_723_161_240_000 + round(second * 1000)
    return (
        f'{at_ms}000000 {{"stream":"btcusdt@trade","data":{{"e":"trade","E":{at_ms},"s":"BTCUSDT",'
        f'"t":{number},"p":"61837.{number % 100:02d}000000","q":"0.00{number % 7 + 1}00000","T":{at_ms},'
        '"m":true,"M":true}}'
    )


def recorded(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "frames.log"
    path.write_text("\n".join(lines))
    return path
