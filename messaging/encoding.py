"""Market news as bytes and back: JSON, so that any subscriber in any language can read along."""

from __future__ import annotations

import msgspec

from data.errors import BadDataError
from data.messages import (
    BookUpdate,
    CandleUpdate,
    CollectorHealth,
    FeedNews,
    MarketEventNews,
    News,
    PerpetualUpdate,
    QuoteUpdate,
    RepairNews,
    TradeBatch,
)

MarketNews = TradeBatch | CandleUpdate | CollectorHealth | News

_DECODERS: dict[str, msgspec.json.Decoder[MarketNews]] = {
    "trades": msgspec.json.Decoder(TradeBatch),
    "candles": msgspec.json.Decoder(CandleUpdate),
    "health": msgspec.json.Decoder(CollectorHealth),
    "quotes": msgspec.json.Decoder(QuoteUpdate),
    "books": msgspec.json.Decoder(BookUpdate),
    "perpetuals": msgspec.json.Decoder(PerpetualUpdate),
    "events": msgspec.json.Decoder(MarketEventNews),
    "feeds": msgspec.json.Decoder(FeedNews),
    "repairs": msgspec.json.Decoder(RepairNews),
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
    """What was published under a topic of `data.topics`. Raises UnreadableNews."""
    kind = topic.partition(".")[0]
    if kind not in _DECODERS:
        raise UnreadableNews(topic, f"market news comes under {', '.join(_DECODERS)}")
    try:
        return _DECODERS[kind].decode(payload)
    except msgspec.MsgspecError as error:
        raise UnreadableNews(topic, str(error)) from error
