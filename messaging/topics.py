"""Names under which news is published. Patterns are Redis's: `candles.okx.*` hears every candle of OKX."""

from __future__ import annotations

from data.models import Market
from data.timeframes import Timeframe

ALL_TRADES = "trades.*"
ALL_CANDLES = "candles.*"
ALL_HEALTH = "health.*"
ALL_SIGNALS = "signals.*"
ALL_BOTS = "bots.*"
CONTROL_BOTS = "control.bots"


def trades_topic(market: Market) -> str:
    return f"trades.{market.exchange}.{market.symbol}"


def candles_topic(market: Market, timeframe: Timeframe) -> str:
    return f"candles.{market.exchange}.{market.symbol}.{timeframe.value}"


def health_topic(exchange: str) -> str:
    return f"health.{exchange}"


def signals_topic(market: Market) -> str:
    return f"signals.{market.exchange}.{market.symbol}"


def bot_topic(name: str) -> str:
    return f"bots.{name}"
