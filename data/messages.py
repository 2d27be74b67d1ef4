"""What processes tell each other: frozen, serialisable. The database holds the truth, these bring news."""

from __future__ import annotations

import msgspec

from data.models import BookSnapshot, Candle, FeedState, FundingRate, MarketEvent, MarkPrice, Quote, Trade


class TradeBatch(msgspec.Struct, frozen=True, kw_only=True, tag="trades"):
    """Trades of one market in id order."""

    trades: list[Trade]


class CandleUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="candle"):
    """A candle as it stands now.

    `closed` candles are stored already when this is sent. `covered` says that every trade since the interval
    opened is in it; a forming candle of a collector that joined half-way is not, and is never stored.
    """

    candle: Candle
    closed: bool
    covered: bool


class QuoteUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="quote"):
    """A market's best bid and ask, at most a few times a second."""

    quote: Quote


class BookUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="book"):
    """A market's nearest levels, at most a few times a second."""

    book: BookSnapshot


class PerpetualUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="perpetual"):
    """What only derivatives have; None for what has not changed."""

    funding: FundingRate | None = None
    mark: MarkPrice | None = None


class MarketEventNews(msgspec.Struct, frozen=True, kw_only=True, tag="market_event"):
    """A market was listed, halted, resumed or delisted, or its rules changed. Stored already."""

    event: MarketEvent


class FeedNews(msgspec.Struct, frozen=True, kw_only=True, tag="feed"):
    """A market's feed became stale or fresh, or still is (repeated while it is stale)."""

    feed: FeedState


class RepairNews(msgspec.Struct, frozen=True, kw_only=True, tag="repair"):
    """Candles of `[start_us, end_us)` were rebuilt, or had from the venue: who read them reads them again."""

    exchange: str
    symbol: str
    start_us: int
    end_us: int


class CollectorHealth(msgspec.Struct, frozen=True, kw_only=True, tag="collector"):
    """How one shard's collector is, in words and figures, sent every second or two and at each change."""

    exchange: str
    state: str  # "connecting", "live", "reconnecting", "unreachable", "stopped"
    detail: str  # plain words for a person; empty when all is well
    symbols: int
    trades_stored: int  # since the process started
    trades_per_s: float
    duplicates: int
    malformed: int
    gaps_open: int
    lag_ms: float  # receive time minus the venue's time of the newest trade
    sent_at_us: int
    shard: str = ""  # the process's name, "collector-okx"
    messages_per_s: float = 0.0
    reconnects: int = 0  # since the process started, planned ones included
    gaps_found: int = 0
    gaps_repaired: int = 0
    queue_depth: int = 0  # trades in memory that wait to be stored
    journal_depth: int = 0  # trades on disk that wait to be stored
    memory_bytes: int = 0  # resident, of the process
    stale_symbols: tuple[str, ...] = ()
    restarts: int = 0  # of the process, since its manager started


News = QuoteUpdate | BookUpdate | PerpetualUpdate | MarketEventNews | FeedNews | RepairNews
