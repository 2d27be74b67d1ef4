from __future__ import annotations

import pytest

from bots.messages import signals_topic
from data.messages import CandleUpdate, CollectorHealth, TradeBatch
from data.models import Candle, Market, Side, Trade
from data.timeframes import Timeframe
from data.topics import candles_topic, health_topic, trades_topic
from messaging.encoding import MarketNews, UnreadableNews, decode, encode

MARKET = Market("okx", "BTC-USDT-PERP")
TRADE = Trade(
    exchange="okx",
    symbol="BTC-USDT-PERP",
    trade_id=2**62,
    price=0.1 + 0.2,
    quantity=5e-324,
    taker_side=Side.SELL,
    traded_at_us=1_723_161_300_000_001,
)
CANDLE = Candle(
    exchange="okx",
    symbol="BTC-USDT-PERP",
    timeframe=Timeframe.H4,
    opened_at_us=0,
    open=1.0,
    high=1e300,
    low=0.00000012,
    close=1 / 3,
    volume=0.0,
    trades=0,
)
HEALTH = CollectorHealth(
    exchange="okx",
    state="live",
    detail="",
    symbols=3,
    trades_stored=12,
    trades_per_s=1.5,
    duplicates=0,
    malformed=0,
    gaps_open=0,
    lag_ms=12.5,
    sent_at_us=7,
)


@pytest.mark.parametrize(
    ("topic", "news"),
    [
        (trades_topic(MARKET), TradeBatch(trades=[TRADE])),
        (candles_topic(MARKET, Timeframe.H4), CandleUpdate(candle=CANDLE, closed=True, covered=False)),
        (health_topic("okx"), HEALTH),
    ],
)
def test_news_comes_back_as_it_was_to_the_last_bit(topic: str, news: MarketNews) -> None:
    assert decode(topic, encode(news)) == news


def test_topics_are_named_by_venue_symbol_and_time_frame() -> None:
    assert trades_topic(MARKET) == "trades.okx.BTC-USDT-PERP"
    assert candles_topic(MARKET, Timeframe.M5) == "candles.okx.BTC-USDT-PERP.5m"
    assert signals_topic(MARKET) == "signals.okx.BTC-USDT-PERP"
    assert health_topic("binance") == "health.binance"


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("trades.okx.BTC-USDT", b"{"),
        ("trades.okx.BTC-USDT", encode(HEALTH)),
        ("candles.okx.BTC-USDT.1m", b'{"type":"candle"}'),
        ("weather.london", b"{}"),
    ],
)
def test_a_payload_that_is_not_what_its_topic_promises_is_refused(topic: str, payload: bytes) -> None:
    with pytest.raises(UnreadableNews, match=topic):
        decode(topic, payload)
