"""Stored candles, trades and the ledger of trade ids, as columns; blocking, for any thread."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bots.recorded_depth import RecordedBook
from data.candles import BuiltCandles
from data.coverage import TradeRepair, VenueOutage
from data.files.trade_columns import TradeColumns
from data.models import FundingRate, Instrument, Market, Ohlcv, TradeGap, TradeRun
from data.timeframes import Timeframe
from database import book_queries
from database.funding_queries import funding_between
from database.market_queries import MarketReads
from database.trade_digests import MinuteDigests


class CandleRepository:
    """Satisfies `data.stores.CandleReader`. Every read raises TransientError while the database is away.

    A market that was never stored reads as empty.
    """

    def __init__(self, url: str) -> None:
        self._reads = MarketReads(url)

    def close(self) -> None:
        self._reads.close()

    def candles(
        self,
        market: Market,
        timeframe: Timeframe,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int | None = None,
    ) -> Ohlcv:
        """Candles that open in `[start_us, end_us)`, ascending; with `limit` the newest that many of them."""
        return self._reads.candles(market, timeframe, start_us=start_us, end_us=end_us, limit=limit)

    def built_candles(
        self, market: Market, timeframe: Timeframe, *, start_us: int | None = None, end_us: int | None = None
    ) -> BuiltCandles:
        """Candles built from trades, without those the venue gave for the time before recording began."""
        return self._reads.built_candles(market, timeframe, start_us, end_us)

    def venue_candles(
        self, market: Market, timeframe: Timeframe, start_us: int | None = None, end_us: int | None = None
    ) -> BuiltCandles:
        """The venue's own candles as its stream told them, kept for comparing; ascending."""
        return self._reads.venue_candles(market, timeframe, start_us, end_us)

    def trades(
        self, market: Market, *, start_us: int | None = None, end_us: int | None = None
    ) -> TradeColumns:
        """Stored trades of `[start_us, end_us)`, in id order."""
        return self._reads.trades(market, start_us, end_us)

    def trades_within(self, market: Market, spans: Sequence[tuple[int, int]]) -> TradeColumns:
        """Stored trades of any of these times `[start, end)`, in id order (`bots.finest_data`)."""
        return self._reads.trades_within(market, spans)

    def trades_of_ids(self, market: Market, first_id: int, last_id: int) -> TradeColumns:
        """Stored trades from `first_id` to `last_id`, both included, in id order."""
        return self._reads.trades_of_ids(market, first_id, last_id)

    def id_faults(self, market: Market, first_id: int, last_id: int) -> list[tuple[int, int]]:
        """Where ids are not stored one by one from `first_id` to `last_id`: pairs of neighbours, at most 100.

        `(5, 9)`: 6 to 8 are absent; `(5, 5)`: 5 is stored twice.
        """
        return self._reads.id_faults(market, first_id, last_id)

    def digests(self, market: Market, start_us: int, end_us: int) -> MinuteDigests:
        """What was written of the minutes that open in `[start_us, end_us)`, ascending."""
        return self._reads.digests(market, start_us, end_us)

    def times_of_ids(self, market: Market, trade_ids: Collection[int]) -> dict[int, int]:
        """When these trades happened, by id, as far as they are stored."""
        return self._reads.times_of_ids(market, trade_ids)

    def oldest_candle_us(self, market: Market, timeframe: Timeframe) -> int | None:
        """When the oldest stored candle of that length opened, or None."""
        return self._reads.oldest_candle_us(market, timeframe)

    def oldest_trade_us(self, market: Market) -> int | None:
        """When the oldest trade still stored happened: retention removes those before."""
        return self._reads.oldest_trade_us(market)

    def book_at(self, market: Market, at_us: int) -> RecordedBook:
        """The newest stored levels of a market at a moment (`bots.recorded_depth`)."""
        return book_queries.book_at(self._reads, market, at_us)

    def funding(self, market: Market, start_us: int, end_us: int) -> Sequence[FundingRate]:
        """Funding that is paid in `[start_us, end_us)`, ascending (`bots.funding`)."""
        return funding_between(self._reads, market, start_us, end_us)

    def instrument(self, market: Market) -> Instrument | None:
        """The newest known rules of the market, or None."""
        return self._reads.instrument(market)

    def markets(self) -> list[Market]:
        """Every market that has candles, in order of name."""
        return self._reads.markets()

    def recorded_markets(self) -> list[Market]:
        """Every market whose trades were recorded, in order of name."""
        return self._reads.recorded_markets()

    def runs(self, market: Market) -> list[TradeRun]:
        """Runs of stored trade ids, ascending; each gap between two of them is a hole or known to be one."""
        return self._reads.runs(market)

    def gaps(self, market: Market) -> list[TradeGap]:
        """Trade ids known to be missing, ascending."""
        return self._reads.gaps(market)

    def repairs(self, market: Market) -> list[TradeRepair]:
        """Trade ids that were fetched later than they came, or that the store has lost; ascending."""
        return self._reads.repairs(market)

    def outages(self, market: Market) -> list[VenueOutage]:
        """When the venue did not trade this market, as far as that is known; ascending."""
        return self._reads.outages(market)
