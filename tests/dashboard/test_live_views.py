from __future__ import annotations

import msgspec
import pytest

from dashboard.forming_candles import Completed
from dashboard.live_views import ChartView, candle_patches, health_patch, parse_chart_view, quote_patch
from dashboard.market_day import MarketDay, read_market_day
from dashboard.theme import DARK
from data.messages import TradeBatch
from data.models import Side, Trade
from data.timeframes import Timeframe
from tests.dashboard.fakes import BTC, NOW_US, FakeMarket, forming, health, walk


def _day() -> MarketDay:
    market = FakeMarket()
    market.add(BTC, walk(Timeframe.M1, 2_000, end_us=NOW_US, start=64_000.0, seed=2, step=0.001), tick="0.1")
    day = read_market_day(market, BTC)
    assert day is not None
    return day


def _batch(*prices: float) -> bytes:
    trades = [
        Trade(
            exchange="binance",
            symbol="BTC-USDT",
            trade_id=number,
            price=price,
            quantity=1.0,
            taker_side=Side.BUY,
            traded_at_us=NOW_US + number,
        )
        for number, price in enumerate(prices)
    ]
    return msgspec.json.encode(TradeBatch(trades=trades))


def test_a_quote_is_the_newest_trade_written_as_its_market_writes_prices() -> None:
    day = _day()
    high = day.high or 0.0
    made = quote_patch(_batch(1.0, high + 10.0), day, before=high)
    assert made is not None
    patch, price = made
    assert price == high + 10.0
    assert patch.body["m"] == "binance:BTC-USDT"
    assert patch.body["w"] == "up"
    assert patch.body["p"].count(".") == 1
    assert len(patch.body["p"].split(".")[1]) == 1  # the tick is 0.1
    assert patch.body["h"] == patch.body["p"]  # a new high
    assert patch.body["a"] == NOW_US + 1


def test_a_quote_of_a_market_nothing_is_known_of_waits() -> None:
    assert quote_patch(_batch(1.0), None, None) is None
    assert quote_patch(_batch(), _day(), None) is None


def test_a_first_quote_does_not_flash() -> None:
    made = quote_patch(_batch(1.0), _day(), before=None)
    assert made is not None
    assert made[0].body["w"] == "flat"


def test_a_chart_topic_survives_its_own_parsing() -> None:
    view = ChartView(BTC, Timeframe.M5, "ema", "dark")
    assert parse_chart_view(view.topic) == view


@pytest.mark.parametrize(
    "topic",
    ["", "quotes", "chart|a|b|1m|ema", "chart|a|b|7m|ema|dark", "chart||b|1m|ema|dark", "chart|" + "x" * 300],
)
def test_other_topics_are_no_charts(topic: str) -> None:
    assert parse_chart_view(topic) is None


def test_revisions_of_one_bar_share_a_key_and_the_next_bar_has_its_own() -> None:
    view = ChartView(BTC, Timeframe.M1, "ema", "dark")
    series = walk(Timeframe.M1, 5, end_us=NOW_US, start=1.0, seed=1, step=0.001)
    keys = [
        [
            patch.key
            for patch in candle_patches(
                Completed(forming(BTC, series, close, steps=steps)),
                view,
                DARK,
            )
        ]
        for close, steps in ((1.0, 1), (2.0, 1), (2.0, 2))
    ]
    assert keys[0] == keys[1]
    assert not set(keys[0]) & set(keys[2])


def test_the_badge_hears_state_lag_and_age() -> None:
    body = health_patch(health("okx", "unreachable", "no route", sent_at_us=7)).body
    assert body == {"k": "health", "e": "okx", "s": "unreachable", "lag": 38, "a": 7}
