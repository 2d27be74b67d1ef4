"""Names under which market news is published; `candles.okx.*` as a pattern is every candle of OKX."""

from __future__ import annotations

from data.models import Market
from data.timeframes import Timeframe

ALL_TRADES = "trades.*"
ALL_CANDLES = "candles.*"
ALL_HEALTH = "health.*"
ALL_QUOTES = "quotes.*"
ALL_MARKET_EVENTS = "events.*"
ALL_FEEDS = "feeds.*"
ALL_REPAIRS = "repairs.*"


def trades_topic(market: Market) -> str:
    return f"trades.{market.exchange}.{market.symbol}"


def candles_topic(market: Market, timeframe: Timeframe) -> str:
    return f"candles.{market.exchange}.{market.symbol}.{timeframe.value}"


def health_topic(shard: str) -> str:
    """`shard` is a collector process's name, `collector-okx`."""
    return f"health.{shard}"


def quotes_topic(market: Market) -> str:
    return f"quotes.{market.exchange}.{market.symbol}"


def books_topic(market: Market) -> str:
    return f"books.{market.exchange}.{market.symbol}"


def perpetuals_topic(market: Market) -> str:
    return f"perpetuals.{market.exchange}.{market.symbol}"


def events_topic(market: Market) -> str:
    return f"events.{market.exchange}.{market.symbol}"


def feeds_topic(market: Market) -> str:
    return f"feeds.{market.exchange}.{market.symbol}"


def repairs_topic(market: Market) -> str:
    return f"repairs.{market.exchange}.{market.symbol}"
