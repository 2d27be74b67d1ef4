"""What processes tell each other: frozen, serialisable. The database holds the truth, these bring news."""

from __future__ import annotations

import msgspec

from data.models import Candle, Trade


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


class CollectorHealth(msgspec.Struct, frozen=True, kw_only=True, tag="collector"):
    """How one venue's collector is, in words and figures, sent every second or two and at each change."""

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
