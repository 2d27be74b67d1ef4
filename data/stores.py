"""What collectors and readers need from a store and a bus; `app` hands over those that exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from data.coverage import Span, StateSpan
from data.messages import CandleUpdate, CollectorHealth, News
from data.models import (
    BookSnapshot,
    Candle,
    FeedState,
    FundingRate,
    Instrument,
    InstrumentVersion,
    Market,
    MarketEvent,
    MarkPrice,
    Ohlcv,
    Quote,
    Trade,
    TradeGap,
    TradeRun,
)
from data.timeframes import Timeframe


class MarketBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored together or not at all. All of it is harmless to repeat."""

    trades: Sequence[Trade]
    candles: Sequence[Candle]  # closed and covered
    runs: Sequence[tuple[Market, TradeRun]]  # each market's current run as it stands after these trades
    gaps: Sequence[tuple[Market, TradeGap]] = ()


class ChannelBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What the other channels brought. All of it is harmless to repeat."""

    venue_candles: Sequence[Candle] = ()  # the venue's own, finished; for comparing with ours
    quotes: Sequence[Quote] = ()
    books: Sequence[BookSnapshot] = ()
    funding: Sequence[FundingRate] = ()
    marks: Sequence[MarkPrice] = ()


class ChannelWriter(Protocol):
    """Where collectors put what is not trades. Raises TransientError while the database cannot answer."""

    async def save_channels(self, batch: ChannelBatch) -> None:
        """Store the batch in one transaction; a row that stands already is replaced."""
        ...

    async def save_instrument_versions(self, versions: Sequence[InstrumentVersion]) -> list[MarketEvent]:
        """Keep each version that differs from the newest kept one, and the events that makes.

        Returns the events: a market's first version, another status, other rules.
        """
        ...

    async def save_events(self, events: Sequence[MarketEvent]) -> None: ...

    async def save_feeds(self, feeds: Sequence[FeedState]) -> None:
        """Keep the newest state of each market's feed, and a history of its changes."""
        ...

    async def save_health(self, health: CollectorHealth) -> None:
        """Keep the newest word of a shard, and its figures over time."""
        ...


class FundingTimesReader(Protocol):
    """What collectors ask before they fetch funding. Raises TransientError while the database is away."""

    async def funding_times(self, market: Market, since_us: int) -> dict[int, bool]:
        """When funding is paid, of what is stored from `since_us` on, and whether it is settled."""
        ...


class InstrumentHistory(Protocol):
    """The rules of a market as they were. Synchronous."""

    def instrument_at(self, market: Market, at_us: int) -> Instrument | None:
        """The version in force at that time; the oldest known one for times before it; None if unknown."""
        ...

    def instrument_versions(self, market: Market) -> list[InstrumentVersion]:
        """Every version, the oldest first."""
        ...


class CoverageReader(Protocol):
    """Which minutes of a market the store can answer for. Synchronous; a year takes milliseconds."""

    def minute_spans(self, market: Market, start_us: int, end_us: int) -> list[StateSpan]:
        """The state of every minute of `[start_us, end_us)`, ascending, without a hole; equals are merged.

        A market whose trades were never recorded is missing throughout. Bounds inside a minute widen to it.
        """
        ...

    def missing_minutes(self, market: Market, start_us: int, end_us: int) -> list[Span]:
        """Minutes of `[start_us, end_us)` that are `missing` and that the venue's own candles do not tell.

        Ascending and apart. Nothing is known of them: not even that no trade happened.
        """
        ...


class MarketWriter(Protocol):
    """Where collectors put what they receive."""

    async def save_instruments(self, instruments: Sequence[Instrument]) -> None: ...

    async def save(self, batch: MarketBatch) -> None:
        """Store the batch in one transaction. Trades already there stay as they are, candles are replaced.

        A run grows the stored run with the same first_id, or begins a new one.
        Raises TransientError while the database cannot answer, and StoreFellBehind when it has lost trades
        that a run says were stored before the batch's own.
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

    async def publish(self, topic: str, news: News) -> None:
        """One message of `data.messages` on a topic of `data.topics`."""
        ...
