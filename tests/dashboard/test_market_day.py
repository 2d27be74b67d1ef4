from __future__ import annotations

import numpy as np
import pytest

from dashboard.market_day import DAY_US, MarketDays, read_market_day, thinned
from data.models import Market
from data.timeframes import Timeframe
from tests.dashboard.fakes import BTC, ETH, NOW_US, FakeMarket, walk


def _market(minutes: int) -> FakeMarket:
    market = FakeMarket()
    market.add(BTC, walk(Timeframe.M1, minutes, end_us=NOW_US, start=64_000.0, seed=5, step=0.001))
    return market


def test_a_day_is_the_last_24_hours_of_minutes_on_the_markets_own_clock() -> None:
    market = _market(3_000)
    minutes = market.series[BTC, Timeframe.M1]
    day = read_market_day(market, BTC)
    assert day is not None
    assert day.at_us == minutes.opened_at_us[-1] + Timeframe.M1.us
    assert day.last == minutes.close[-1]
    assert day.reference == minutes.close[-1_441]
    assert day.high == minutes.high[-1_440:].max()
    assert day.low == minutes.low[-1_440:].min()
    assert day.volume == pytest.approx(minutes.volume[-1_440:].sum())
    assert day.change_rate(day.last) == pytest.approx(minutes.close[-1] / minutes.close[-1_441] - 1)


def test_coarser_candles_stand_in_where_minutes_do_not_reach_back_a_day() -> None:
    market = _market(3_000)
    minutes = market.series[BTC, Timeframe.M1]
    market.series[BTC, Timeframe.M1] = minutes.rows(2_400, 3_000)
    day = read_market_day(market, BTC)
    assert day is not None
    assert day.last == minutes.close[-1]
    five = market.series[BTC, Timeframe.M5]
    start_us = day.at_us - DAY_US
    inside = five.opened_at_us >= start_us
    tail = minutes.opened_at_us >= five.opened_at_us[-1] + Timeframe.M5.us
    assert day.high == max(five.high[inside].max(), minutes.high[tail].max(initial=0.0))
    assert day.reference == five.close[five.opened_at_us + Timeframe.M5.us <= start_us][-1]


def test_figures_of_less_than_a_day_are_unknown_and_not_guessed() -> None:
    day = read_market_day(_market(200), BTC)
    assert day is not None
    assert (day.reference, day.high, day.low, day.volume) == (None, None, None, None)
    assert day.change_rate(day.last) is None
    assert len(day.closes) > 1


def test_a_market_without_candles_has_no_day() -> None:
    assert read_market_day(_market(10), Market("okx", "ETH-USDT")) is None


def test_a_line_keeps_its_ends_when_it_is_thinned() -> None:
    values = np.arange(1_000.0)
    few = thinned(values, 48)
    assert len(few) == 48
    assert (few[0], few[-1]) == (0.0, 999.0)
    assert thinned(values[:10], 48) is not few


def test_days_are_read_again_only_when_they_are_old() -> None:
    market = _market(100)
    now = [0.0]
    days = MarketDays(market, seconds=lambda: now[0], max_age_s=15.0)
    assert days.remembered(BTC) is None
    days.day(BTC)
    reads = market.reads
    now[0] = 14.0
    assert days.day(BTC) is days.remembered(BTC)
    assert market.reads == reads
    now[0] = 15.0
    days.day(BTC)
    assert market.reads > reads


def test_all_days_follow_the_order_of_the_markets() -> None:
    market = _market(100)
    market.add(ETH, walk(Timeframe.M1, 50, end_us=NOW_US, start=3_000.0, seed=6, step=0.001))
    days = MarketDays(market, seconds=lambda: 0.0)
    assert [day.market for day in days.all()] == [BTC, ETH]
