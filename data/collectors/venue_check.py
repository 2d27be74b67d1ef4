"""Comparing what is stored with what the venue itself tells of the same time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from data.collectors.rest import VenueRest
from data.models import Candle, Market, Trade
from data.timeframes import Timeframe, floor_to

_VOLUME_TOLERANCE = 1e-9  # relative: sums of doubles depend on their order
_PRICES = ("open", "high", "low", "close")
_TRADE_FIELDS = ("traded_at_us", "price", "quantity", "taker_side")
# Trades of this much time are in memory at once.
_CHUNK_US = Timeframe.H1.us


class StoredMarket(Protocol):
    """What is read of the store."""

    async def trades_between(self, market: Market, start_us: int, end_us: int) -> list[Trade]: ...

    async def candles_between(
        self, market: Market, timeframe: Timeframe, start_us: int, end_us: int
    ) -> list[Candle]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueDifference:
    """One value that is not stored as the venue tells it."""

    kind: str  # "trade", or the time frame of a candle
    key: int  # the trade's id, or when the candle opened in microseconds
    field: str  # "row" where the store has none
    stored: str
    venue: str


@dataclass(slots=True, kw_only=True)
class VenueCheck:
    """What was compared, and what differs."""

    trades: int = 0
    trades_not_told: int = 0  # stored, and the venue no longer gives them
    candles: int = 0
    differences: list[VenueDifference] = field(default_factory=list)


async def check_against_venue(
    rest: VenueRest,
    store: StoredMarket,
    market: Market,
    start_us: int,
    end_us: int,
    *,
    page_ids: int,
    on_progress: Callable[[int, int], None],
) -> VenueCheck:
    """Compare the stored trades and one-minute candles of `[start_us, end_us)` with the venue's own.

    A page of the venue's trades speaks for `page_ids` ids. Raises TransientError, BadDataError.
    """
    check = VenueCheck()
    for chunk_us in range(start_us, end_us, _CHUNK_US):
        trades = await store.trades_between(market, chunk_us, min(chunk_us + _CHUNK_US, end_us))
        await _check_trades(check, rest, market, trades, page_ids)
        on_progress(min(chunk_us + _CHUNK_US, end_us) - start_us, end_us - start_us)
    await _check_candles(check, rest, store, market, start_us, end_us)
    return check


async def _check_trades(
    check: VenueCheck, rest: VenueRest, market: Market, stored: Sequence[Trade], page_ids: int
) -> None:
    at = 0
    while at < len(stored):
        first_id = stored[at].trade_id
        told = {trade.trade_id: trade for trade in await rest.trades_from(market.symbol, first_id)}
        while at < len(stored) and stored[at].trade_id < first_id + page_ids:
            ours = stored[at]
            theirs = told.get(ours.trade_id)
            at += 1
            if theirs is None:
                check.trades_not_told += 1
                continue
            check.trades += 1
            check.differences += [
                VenueDifference(
                    kind="trade",
                    key=ours.trade_id,
                    field=name,
                    stored=str(getattr(ours, name)),
                    venue=str(getattr(theirs, name)),
                )
                for name in _TRADE_FIELDS
                if getattr(ours, name) != getattr(theirs, name)
            ]


async def _check_candles(
    check: VenueCheck, rest: VenueRest, store: StoredMarket, market: Market, start_us: int, end_us: int
) -> None:
    timeframe = Timeframe.M1
    first_us = floor_to(start_us - 1, timeframe) + timeframe.us
    before_us = floor_to(end_us, timeframe)
    while before_us > first_us:
        page = await rest.klines_before(market.symbol, timeframe, before_us)
        page = [candle for candle in page if candle.opened_at_us < before_us]
        if not page:
            return
        from_us = max(first_us, page[0].opened_at_us)
        ours = {
            candle.opened_at_us: candle
            for candle in await store.candles_between(market, timeframe, from_us, before_us)
        }
        for theirs in page:
            stored = ours.get(theirs.opened_at_us)
            # A minute that was never recorded has no candle of ours; coverage tells of it.
            if stored is not None:
                check.candles += 1
                check.differences += _candle_differences(stored, theirs)
        before_us = page[0].opened_at_us


def _candle_differences(ours: Candle, theirs: Candle) -> list[VenueDifference]:
    names = [name for name in _PRICES if getattr(ours, name) != getattr(theirs, name)]
    if not math.isclose(ours.volume, theirs.volume, rel_tol=_VOLUME_TOLERANCE):
        names.append("volume")
    return [
        VenueDifference(
            kind=ours.timeframe.value,
            key=ours.opened_at_us,
            field=name,
            stored=repr(getattr(ours, name)),
            venue=repr(getattr(theirs, name)),
        )
        for name in names
    ]
