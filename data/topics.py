"""Names under which market news is published; `candles.okx.*` as a pattern is every candle of OKX."""

from __future__ import annotations

from data.models import Market
from data.timeframes import Timeframe

ALL_TRADES = "trades.*"
ALL_CANDLES = "candles.*"
ALL_HEALTH = "health.*"


def trades_topic(market: Market) -> str:
    return f"trades.{market.exchange}.{market.symbol}"


def candles_topic(market: Market, timeframe: Timeframe) -> str:
    return f"candles.{market.exchange}.{market.symbol}.{timeframe.value}"


def health_topic(exchange: str) -> str:
    return f"health.{exchange}"
