"""What collectors and readers need from a store and a bus; `app` hands over those that exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from data.messages import CandleUpdate, CollectorHealth
from data.models import Candle, Instrument, Market, Ohlcv, Trade, TradeGap, TradeRun
from data.timeframes import Timeframe


class MarketBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored together or not at all. All of it is harmless to repeat."""

    trades: Sequence[Trade]
    candles: Sequence[Candle]  # closed and covered
    runs: Sequence[tuple[Market, TradeRun]]  # each market's current run as it stands after these trades
    gaps: Sequence[tuple[Market, TradeGap]] = ()


class MarketWriter(Protocol):
    """Where collectors put what they receive."""

    async def save_instruments(self, instruments: Sequence[Instrument]) -> None: ...

    async def save(self, batch: MarketBatch) -> None:
        """Store the batch in one transaction. Trades already there stay as they are, candles are replaced.

        A run grows the stored run with the same first_id, or begins a new one.
        Raises TransientError while the database cannot answer.
        """
        ...

    async def save_history(self, candles: Sequence[Candle]) -> None:
        """Store a venue's own candles where no candle built from trades stands."""
        ...

    async def last_run(self, market: Market) -> TradeRun | None:
        """The newest run of stored trade ids, or None for a market never recorded."""
        ...

    async def trades_between(self, market: Market, start_us: int, end_us: int) -> list[Trade]:
        """Stored trades of `[start_us, end_us)`, in id order."""
        ...

    async def candles_between(
        self, market: Market, timeframe: Timeframe, start_us: int, end_us: int
    ) -> list[Candle]:
        """Stored candles built from trades that open in `[start_us, end_us)`, ascending."""
        ...


class CandleReader(Protocol):
    """Stored candles as columns, for charts, bots and backtests. Synchronous: callers choose their thread."""

    def candles(
        self,
        market: Market,
        timeframe: Timeframe,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int | None = None,
    ) -> Ohlcv:
        """Candles that open in `[start_us, end_us)`; with `limit` the newest that many of them."""
        ...

    def instrument(self, market: Market) -> Instrument | None:
        """The newest known rules of the market, or None."""
        ...

    def markets(self) -> list[Market]:
        """Every market that has candles, in order of name."""
        ...


class MarketPublisher(Protocol):
    """Where collectors tell the news. Never blocks storage: what cannot be sent is dropped and counted."""

    async def publish_trades(self, trades: Sequence[Trade]) -> None: ...

    async def publish_candles(self, updates: Sequence[CandleUpdate]) -> None: ...

    async def publish_health(self, health: CollectorHealth) -> None: ...
