"""Market news on the Redis bus."""

from __future__ import annotations

from collections.abc import Sequence

from data.messages import CandleUpdate, CollectorHealth, News, TradeBatch
from data.models import Market, Trade
from data.topics import candles_topic, health_topic, trades_topic
from messaging.encoding import encode
from messaging.redis_bus import RedisBus

# Longer than anyone would ask; what is old says so by its own time.
_REMEMBER_S = 86_400


class RedisPublisher:
    """Satisfies `data.stores.MarketPublisher`.

    The last trade of each market and the last health of each shard can be recalled under their topics' names,
    by pages that open before the next one comes.
    """

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def publish_trades(self, trades: Sequence[Trade]) -> None:
        by_market: dict[Market, list[Trade]] = {}
        for trade in trades:
            by_market.setdefault(Market(trade.exchange, trade.symbol), []).append(trade)
        for market, found in by_market.items():
            topic = trades_topic(market)
            await self._bus.publish(topic, encode(TradeBatch(trades=found)))
            await self._bus.remember(topic, encode(TradeBatch(trades=found[-1:])), ttl_s=_REMEMBER_S)

    async def publish_candles(self, updates: Sequence[CandleUpdate]) -> None:
        await self._bus.publish_many(
            [
                (
                    candles_topic(
                        Market(update.candle.exchange, update.candle.symbol), update.candle.timeframe
                    ),
                    encode(update),
                )
                for update in updates
            ]
        )

    async def publish_health(self, health: CollectorHealth) -> None:
        topic = health_topic(health.shard or health.exchange)
        await self._bus.publish(topic, encode(health))
        await self._bus.remember(topic, encode(health), ttl_s=_REMEMBER_S)

    async def publish(self, topic: str, news: News) -> None:
        await self._bus.publish(topic, encode(news))
        await self._bus.remember(topic, encode(news), ttl_s=_REMEMBER_S)
