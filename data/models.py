"""The values that flow from a venue to a bot. Frozen, serialisable, without behaviour of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from data.timeframes import Timeframe, to_datetime

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class Market(msgspec.Struct, frozen=True, order=True):
    """One symbol on one venue."""

    exchange: str  # "binance", "okx"
    symbol: str  # BASE-QUOTE, "BTC-USDT"; perpetuals "BTC-USDT-PERP"

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"

    @property
    def is_perpetual(self) -> bool:
        """Whether positions in it pay funding."""
        return self.symbol.endswith("-PERP")


class Trade(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One execution as the exchange reported it; `quantity` is base currency, never contracts."""

    exchange: str
    symbol: str
    trade_id: int  # unique within exchange and symbol, rising by one where the venue promises it
    price: float
    quantity: float
    taker_side: Side  # whose order crossed the spread: BUY lifted the ask
    traded_at_us: int  # the exchange's clock, microseconds since the epoch

    @property
    def traded_at(self) -> datetime:
        return to_datetime(self.traded_at_us)


class Candle(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Trades of `[opened_at, opened_at + timeframe)`; `volume` is base currency."""

    exchange: str
    symbol: str
    timeframe: Timeframe
    opened_at_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int  # how many; 0 where the source does not say

    @property
    def opened_at(self) -> datetime:
        return to_datetime(self.opened_at_us)

    @property
    def closes_at_us(self) -> int:
        return self.opened_at_us + self.timeframe.us


@dataclass(frozen=True, slots=True, kw_only=True)
class Ohlcv:
    """A series of candles as columns, each of shape (n,), ascending in time, without duplicates.

    An interval without trades has no row.
    """

    timeframe: Timeframe
    opened_at_us: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def __len__(self) -> int:
        return len(self.opened_at_us)

    @property
    def opened_at(self) -> NDArray[np.datetime64]:
        """The same times as `datetime64[us]`, in UTC."""
        return self.opened_at_us.view("datetime64[us]")

    def rows(self, start: int, stop: int) -> Ohlcv:
        """Rows `start` up to `stop`, as views on the same memory."""
        part = slice(start, stop)
        return Ohlcv(
            timeframe=self.timeframe,
            opened_at_us=self.opened_at_us[part],
            open=self.open[part],
            high=self.high[part],
            low=self.low[part],
            close=self.close[part],
            volume=self.volume[part],
        )

    def taken(self, rows: IntArray) -> Ohlcv:
        """The rows of these numbers, which ascend."""
        return Ohlcv(
            timeframe=self.timeframe,
            opened_at_us=self.opened_at_us[rows],
            open=self.open[rows],
            high=self.high[rows],
            low=self.low[rows],
            close=self.close[rows],
            volume=self.volume[rows],
        )


class InstrumentKind(StrEnum):
    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    OPTION = "option"


class InstrumentStatus(StrEnum):
    TRADING = "trading"
    HALTED = "halted"
    DELISTED = "delisted"


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue says of a symbol, and the rules its orders obey. Quantities are base currency."""

    exchange: str
    symbol: str
    venue_symbol: str  # as the venue writes it: "BTCUSDT", "BTC-USDT-SWAP"
    kind: InstrumentKind
    base: str
    quote: str
    tick_size: Decimal  # prices are multiples of it
    lot_size: Decimal  # quantities are multiples of it, in base currency
    min_quantity: Decimal
    min_notional: Decimal  # quote currency; 0 where the venue has no such rule
    contract_size: Decimal = Decimal(1)  # base currency of one contract; 1 on spot
    status: InstrumentStatus = InstrumentStatus.TRADING

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


class TradeRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of trade ids without a hole, all of them stored.

    An interval that opens strictly after `first_at_us` and ends by `last_at_us` is wholly inside the run.
    """

    first_id: int
    last_id: int
    first_at_us: int
    last_at_us: int


class TradeGap(msgspec.Struct, frozen=True, kw_only=True):
    """Ids between two runs that could not be had: why, and when that was found."""

    first_id: int
    last_id: int
    # "history_unavailable", "venue_unreachable", "too_long_for_collector", or "too_many_waiting": before the
    # venue brought them, as many later trades waited for these ids as may.
    reason: str
    found_at_us: int


class InstrumentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument's rules as they held from `valid_from_us` until the next version."""

    instrument: Instrument
    valid_from_us: int  # when it was first seen; 0 for what was known before anything was kept


class Quote(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The best bid and ask at one moment; quantities are base currency."""

    exchange: str
    symbol: str
    at_us: int  # the venue's clock, or ours where the venue tells no time
    bid_price: float
    bid_quantity: float
    ask_price: float
    ask_quantity: float


class BookLevel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One price of an order book; `quantity` is base currency."""

    price: float
    quantity: float


class BookSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The nearest levels of an order book at one moment, the best first on both sides."""

    exchange: str
    symbol: str
    at_us: int
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]


class FundingRate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What longs pay shorts of a perpetual at `funding_at_us`, as a fraction of the notional."""

    exchange: str
    symbol: str
    funding_at_us: int  # when it is paid
    rate: float
    settled: bool  # False: as the venue expects it now
    seen_at_us: int


class MarkPrice(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The price by which a venue marks a derivative; `index_price` is NaN where the message has none."""

    exchange: str
    symbol: str
    at_us: int
    mark_price: float
    index_price: float


class MarketEventKind(StrEnum):
    LISTED = "listed"
    HALTED = "halted"
    RESUMED = "resumed"
    DELISTED = "delisted"
    RULES_CHANGED = "rules_changed"


class MarketEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a market as a whole; `detail` says it in words."""

    market: Market
    kind: MarketEventKind
    at_us: int
    detail: str = ""


class FeedState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a market's trades still come as they usually do."""

    market: Market
    stale: bool
    since_us: int  # when this state began
    last_trade_at_us: int  # the venue's clock; 0: none was ever seen
    usual_pause_s: float  # between trades, by the market's own rhythm
    detail: str = ""  # in words
