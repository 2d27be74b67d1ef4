"""A venue's public REST interface: the adapter's requests, sent within the venue's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from data.collectors.rate_limit import TokenBucket
from data.errors import RateLimited
from data.exchanges.base import (
    DerivativesAdapter,
    ExchangeAdapter,
    RestBudget,
    RestRequest,
    VenueLimits,
)
from data.models import Candle, FundingRate, Instrument, Trade
from data.timeframes import Timeframe

# Where the venue says "slower" but not for how long.
_UNSTATED_PAUSE_S = 5.0
_UNSTATED_BAN_S = 120.0  # the shortest that Binance gives
# Many series are fetched one after the other; asking for the time before each would be half of all requests.
_TIME_KEEPS_S = 5.0


class RestTransport(Protocol):
    """Sends one public GET; the venue's own client library stands behind it."""

    async def get(self, request: RestRequest) -> object:
        """The decoded JSON reply. Raises TransientError (RateLimited among them) or BadDataError."""
        ...

    async def close(self) -> None: ...


def shared_limits(limits: VenueLimits, share: float) -> VenueLimits:
    """A process's part of what the venue allows an address, where several processes ask from it.

    What a connection may carry stays the same.
    """
    return replace(
        limits,
        connects_per_s=limits.connects_per_s * share,
        rest=_part_of(limits.rest, share),
        rest_by_path={path: _part_of(budget, share) for path, budget in limits.rest_by_path.items()},
    )


def _part_of(budget: RestBudget, share: float) -> RestBudget:
    return RestBudget(per_s=budget.per_s * share, burst=budget.burst * share)


class VenueRest:
    """What collectors ask of a venue besides its streams."""

    def __init__(self, adapter: ExchangeAdapter, transport: RestTransport) -> None:
        self._adapter, self._transport = adapter, transport
        self._buckets = {path: TokenBucket(budget) for path, budget in adapter.limits.rest_by_path.items()}
        self._common_bucket = TokenBucket(adapter.limits.rest)
        self._venue_time: tuple[float, int] | None = None  # loop time when it was asked for, and the answer

    async def instruments(self, symbols: Sequence[str]) -> list[Instrument]:
        """These symbols, as far as the venue trades them and we understand them, and others of their kind."""
        return [
            instrument
            for request in self._adapter.instruments_requests(symbols)
            for instrument in self._adapter.parse_instruments(await self._get(request))
        ]

    async def trades_from(self, symbol: str, first_id: int) -> list[Trade]:
        """One page of trades near `first_id`, ascending; ids below it may be among them.

        The page speaks for the ids from `first_id` up, as many as the venue's page holds.
        """
        return self._adapter.parse_history(
            symbol, await self._get(self._adapter.history_request(symbol, first_id))
        )

    async def newest_trades(self, symbol: str) -> list[Trade]:
        """The newest trades, ascending."""
        return self._adapter.parse_history(
            symbol, await self._get(self._adapter.newest_trades_request(symbol))
        )

    async def klines(self, symbol: str, timeframe: Timeframe, count: int) -> list[Candle]:
        """The venue's own newest finished candles, ascending, about `count` of them or all there are."""
        candles: dict[int, Candle] = {}
        before_us: int | None = None
        while True:
            page = await self.klines_before(symbol, timeframe, before_us)
            fresh = [candle for candle in page if candle.opened_at_us not in candles]
            candles.update({candle.opened_at_us: candle for candle in fresh})
            if not fresh or len(candles) >= count:
                return [candles[opened_at_us] for opened_at_us in sorted(candles)][-count:]
            before_us = min(candles)

    async def klines_before(self, symbol: str, timeframe: Timeframe, before_us: int | None) -> list[Candle]:
        """One page of the venue's own finished candles, ascending: the newest that open before that time."""
        venue_time_us = await self.server_time_us()
        reply = await self._get(self._adapter.klines_request(symbol, timeframe, before_us=before_us))
        return self._adapter.parse_klines(symbol, timeframe, reply, venue_time_us)

    async def funding_history(self, symbol: str, seen_at_us: int) -> list[FundingRate]:
        """One page of a perpetual's settled funding rates, ascending: the newest. Of a derivatives' venue."""
        assert isinstance(self._adapter, DerivativesAdapter)
        reply = await self._get(self._adapter.funding_history_request(symbol))
        return self._adapter.parse_funding_history(symbol, reply, seen_at_us)

    async def server_time_us(self) -> int:
        """The venue's clock, a few seconds ago at most; never ahead, so no candle is finished too early."""
        asked_s = asyncio.get_running_loop().time()
        if self._venue_time is None or asked_s - self._venue_time[0] > _TIME_KEEPS_S:
            reply = await self._get(self._adapter.server_time_request())
            self._venue_time = asked_s, self._adapter.parse_server_time(reply)
        return self._venue_time[1]

    async def close(self) -> None:
        await self._transport.close()

    async def _get(self, request: RestRequest) -> object:
        bucket = self._buckets.get(request.path, self._common_bucket)
        await bucket.acquire(request.weight)
        try:
            return await self._transport.get(request)
        except RateLimited as error:
            if error.banned:
                # Whatever is asked meanwhile makes the ban longer.
                for each in (self._common_bucket, *self._buckets.values()):
                    each.pause(error.retry_after_s or _UNSTATED_BAN_S)
            else:
                bucket.pause(error.retry_after_s or _UNSTATED_PAUSE_S)
            raise
