"""Market news as bytes and back: JSON, so that any subscriber in any language can read along."""

from __future__ import annotations

import msgspec

from data.errors import BadDataError
from data.messages import CandleUpdate, CollectorHealth, TradeBatch

MarketNews = TradeBatch | CandleUpdate | CollectorHealth

_DECODERS: dict[str, msgspec.json.Decoder[MarketNews]] = {
    "trades": msgspec.json.Decoder(TradeBatch),
    "candles": msgspec.json.Decoder(CandleUpdate),
    "health": msgspec.json.Decoder(CollectorHealth),
}
_ENCODER = msgspec.json.Encoder()


class UnreadableNews(BadDataError):
    """A payload that is not what its topic promises: from another version, or from another program."""

    def __init__(self, topic: str, why: str) -> None:
        super().__init__(f"{topic} carries a message that cannot be read: {why}")
        self.topic, self.why = topic, why


def encode(news: MarketNews) -> bytes:
    return _ENCODER.encode(news)


def decode(topic: str, payload: bytes) -> MarketNews:
    """What was published under a `trades.`, `candles.` or `health.` topic. Raises UnreadableNews."""
    kind = topic.partition(".")[0]
    if kind not in _DECODERS:
        raise UnreadableNews(topic, "market news comes under trades, candles and health")
    try:
        return _DECODERS[kind].decode(payload)
    except msgspec.MsgspecError as error:
        raise UnreadableNews(topic, str(error)) from error
