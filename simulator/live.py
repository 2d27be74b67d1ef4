"""Pushes made-up markets to their subscribers as time passes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from simulator.columns import TradeColumns, no_trades
from simulator.generator import SyntheticMarket
from simulator.markets import Market, MarketList, MarketStatus
from simulator.tapes import Clock

_TRADES_EVERY_S = 0.01
_QUOTES_EVERY_S = 0.1
_AHEAD_MS = 10_000  # trades are made in stretches of this length


class VenueServer(Protocol):
    """The part of a venue's server that pushes."""

    def wants_trades(self, market: Market) -> bool: ...
    def push_trades(self, market: Market, trades: TradeColumns) -> None: ...
    async def push_quotes(self, market: Market) -> None: ...
    async def push_candles(self, market: Market) -> None: ...
    def push_instrument(self, market: Market) -> None: ...


class LiveFeed:
    """Three rhythms: trades as they happen, quotes ten times a second, candles every second."""

    def __init__(self, markets: MarketList, servers: Mapping[str, VenueServer], clock: Clock) -> None:
        self._servers = servers  # by venue
        self._markets = markets
        self._clock = clock
        self._upcoming: dict[Market, _Upcoming] = {}

    async def run(self) -> None:
        """Push until cancelled."""
        await asyncio.gather(self._trades(), self._quotes(), self._candles())

    def changed(self, market: Market) -> None:
        """Make anew what comes of a market whose course has changed, and tell who listens."""
        upcoming = self._upcoming.get(market)
        if upcoming is not None:
            upcoming.forget()
        self._servers[market.instrument.venue].push_instrument(market)

    def _trading(self) -> list[Market]:
        return [market for market in self._markets if market.status is MarketStatus.LIVE]

    async def _trades(self) -> None:
        while True:
            now = self._clock()
            # A market that rests may still owe the trades of its last moment.
            for market in list(self._markets):
                self._push_due(market, now)
            await asyncio.sleep(_TRADES_EVERY_S)

    def _push_due(self, market: Market, now: int) -> None:
        server = self._servers[market.instrument.venue]
        if not server.wants_trades(market):
            self._upcoming.pop(market, None)
            return
        assert market.synthetic is not None
        upcoming = self._upcoming.get(market)
        if upcoming is None:
            upcoming = self._upcoming[market] = _Upcoming(market.synthetic, now)
        due = upcoming.until(now)
        if len(due):
            server.push_trades(market, due)

    async def _quotes(self) -> None:
        while True:
            for market in self._trading():
                await self._servers[market.instrument.venue].push_quotes(market)
            await asyncio.sleep(_QUOTES_EVERY_S)

    async def _candles(self) -> None:
        while True:
            await asyncio.sleep(1.0 - self._clock() % 1000 / 1000)
            for market in self._trading():
                await self._servers[market.instrument.venue].push_candles(market)


class _Upcoming:
    """One market's trades from now on, made a stretch ahead."""

    def __init__(self, synthetic: SyntheticMarket, now: int) -> None:
        self._synthetic = synthetic
        self._next_id = synthetic.count_before(now + 1) + 1
        self._made_until_ms = now + 1
        self._made = no_trades()

    def forget(self) -> None:
        """Make the next stretch anew."""
        self._made, self._made_until_ms = no_trades(), 0

    def until(self, now: int) -> TradeColumns:
        """Trades up to and including `now` that were not given before."""
        due = int(np.searchsorted(self._made.at_ms, now, side="right"))
        if now >= self._made_until_ms:
            # What is left of the stretch is due as well; one read joins it to the next.
            end_ms = now + _AHEAD_MS
            self._made = self._synthetic.trades(self._next_id, self._synthetic.count_before(end_ms))
            self._made_until_ms = end_ms
            due = int(np.searchsorted(self._made.at_ms, now, side="right"))
        given, self._made = self._made.rows(0, due), self._made.rows(due, len(self._made))
        self._next_id += due
        return given
