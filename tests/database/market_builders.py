"""Trades and candles with plausible values, for tests that care about a few of their fields."""

from __future__ import annotations

from data.models import Candle, Market, Side, Trade
from data.timeframes import Timeframe


def trade_of(market: Market, trade_id: int, *, at_us: int) -> Trade:
    return Trade(
        exchange=market.exchange,
        symbol=market.symbol,
        trade_id=trade_id,
        price=61_000.1 + trade_id / 100,
        quantity=0.00030006,
        taker_side=Side.BUY if trade_id % 2 else Side.SELL,
        traded_at_us=at_us,
    )


def candle_of(
    market: Market, opened_at_us: int, *, close: float = 5.0, timeframe: Timeframe = Timeframe.M1
) -> Candle:
    return Candle(
        exchange=market.exchange,
        symbol=market.symbol,
        timeframe=timeframe,
        opened_at_us=opened_at_us,
        open=1.1,
        high=9.9,
        low=0.1,
        close=close,
        volume=12.345,
        trades=7,
    )
