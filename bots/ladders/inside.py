"""What is stored of the inside of one candle: its trades, else candles of a smaller time frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from bots.ladders.account import Inside
from data.files.trade_columns import TradeColumns
from data.models import Candle, Market, Ohlcv, Trade

_VOLUME_TOLERANCE = 1e-9  # relative: sums of doubles


@runtime_checkable
class TradeReader(Protocol):
    """Stored trades. Synchronous; raises TransientError."""

    def trades(
        self, market: Market, *, start_us: int | None = None, end_us: int | None = None
    ) -> TradeColumns: ...


def inside_of(candle: Candle, trades: TradeReader | None, finer: Ohlcv | None) -> Inside | None:
    """All trades that made the candle, or else `finer`. Trades of a part of it do not decide."""
    if trades is not None:
        market = Market(candle.exchange, candle.symbol)
        found = trades.trades(market, start_us=candle.opened_at_us, end_us=candle.closes_at_us)
        if is_whole(found, candle):
            return in_time_order(found, market)
    return finer


def is_whole(trades: TradeColumns, candle: Candle) -> bool:
    """Whether these trades have the candle's high, low and volume."""
    return bool(
        len(trades)
        and trades.price.max() == candle.high
        and trades.price.min() == candle.low
        and np.isclose(trades.quantity.sum(), candle.volume, rtol=_VOLUME_TOLERANCE, atol=0.0)
    )


def covers(finer: Ohlcv, candle: Candle) -> bool:
    """Whether these smaller candles have the candle's high, low and volume."""
    return bool(
        len(finer)
        and finer.high.max() == candle.high
        and finer.low.min() == candle.low
        and np.isclose(finer.volume.sum(), candle.volume, rtol=_VOLUME_TOLERANCE, atol=0.0)
    )


def in_time_order(trades: TradeColumns, market: Market) -> Sequence[Trade]:
    """As they happened: by the order in which the venue numbered them."""
    return trades.trades(market)
