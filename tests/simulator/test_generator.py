"""Made-up markets: the same trades however, whenever and in whichever order they are asked for."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers

from simulator.columns import MINUTE, TradeColumns, Width, candles_of
from simulator.generator import SyntheticMarket
from simulator.instruments import KNOWN_SYMBOLS, MarketShape, shapes_of

LISTED_AT_MS = 1_732_147_200_000
HOUR_MS = 3_600_000


def market_of(symbol: str, exchange: str = "binance", seed: int = 7, rate: float = 1.0) -> SyntheticMarket:
    shape = next(found for found in shapes_of([symbol]) if found.instrument.exchange == exchange)
    return SyntheticMarket(shape, seed=seed, listed_at_ms=LISTED_AT_MS, rate_multiplier=rate)


def assert_same(left: TradeColumns, right: TradeColumns) -> None:
    for field in fields(TradeColumns):
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name), field.name)


BTC = market_of("BTC-USDT")
HOUR = BTC.trades(1, BTC.count_before(LISTED_AT_MS + HOUR_MS))


@pytest.mark.parametrize("shape", shapes_of(KNOWN_SYMBOLS), ids=lambda shape: shape.instrument.venue_symbol)
def test_every_market_has_ids_without_a_hole_rising_times_and_whole_steps(shape: MarketShape) -> None:
    market = SyntheticMarket(shape, seed=3, listed_at_ms=LISTED_AT_MS)
    count = market.count_before(LISTED_AT_MS + 6 * HOUR_MS)
    trades = market.trades(1, count)
    np.testing.assert_array_equal(trades.ids, np.arange(1, count + 1))
    assert (np.diff(trades.at_ms) >= 0).all()
    assert trades.at_ms[0] >= LISTED_AT_MS
    assert trades.at_ms[-1] < LISTED_AT_MS + 6 * HOUR_MS
    assert trades.price.min() > 0
    assert not (trades.price % shape.instrument.tick).any()
    assert not (trades.size % shape.instrument.lot).any()
    assert trades.size.min() >= shape.instrument.lot
    assert count == pytest.approx(6 * 3600 * shape.trades_per_s, rel=0.35)


@given(first=integers(1, len(HOUR)), length=integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_any_stretch_equals_the_same_stretch_of_the_whole(first: int, length: int) -> None:
    last = min(first + length, len(HOUR))
    assert_same(BTC.trades(first, last), HOUR.rows(first - 1, last))


@given(offset_ms=integers(-5_000, HOUR_MS))
@settings(max_examples=60, deadline=None)
def test_counting_before_a_moment_agrees_with_the_times_of_the_trades(offset_ms: int) -> None:
    at_ms = LISTED_AT_MS + offset_ms
    assert BTC.count_before(at_ms) == int((HOUR.at_ms < at_ms).sum())


def test_a_restart_with_the_same_seed_goes_on_with_the_same_market() -> None:
    later = BTC.count_before(LISTED_AT_MS + 90 * 24 * HOUR_MS)
    assert_same(market_of("BTC-USDT").trades(later, later + 50), BTC.trades(later, later + 50))


def test_another_seed_makes_another_market() -> None:
    other = market_of("BTC-USDT", seed=8).trades(1, 200)
    assert (other.price != HOUR.price[:200]).all()


def test_nothing_trades_before_the_listing() -> None:
    assert BTC.count_before(LISTED_AT_MS) == 0
    assert len(BTC.trades(-10, 0)) == 0
    np.testing.assert_array_equal(BTC.trades(-10, 2).ids, [1, 2])


def test_an_aggregate_is_one_order_at_one_price_and_aggregates_have_no_hole() -> None:
    same = np.diff(HOUR.aggregate_ids) == 0
    assert set(np.diff(HOUR.aggregate_ids).tolist()) == {0, 1}
    assert HOUR.aggregate_ids[0] == 1
    for column in (HOUR.at_ms, HOUR.price, HOUR.buy):
        np.testing.assert_array_equal(column[1:][same], column[:-1][same])


def test_some_orders_sweep_several_prices_at_once() -> None:
    new = np.diff(HOUR.aggregate_ids) == 1
    at_once = new & (np.diff(HOUR.at_ms) == 0) & (np.diff(HOUR.price) != 0)
    assert at_once.sum() > 100


def test_activity_comes_in_bursts() -> None:
    per_second = np.bincount((HOUR.at_ms - LISTED_AT_MS) // 1000, minlength=3600)
    assert per_second.max() >= 3 * per_second.mean()
    assert (per_second == 0).any()


def test_takers_lean_to_the_side_the_price_goes() -> None:
    candles = candles_of(HOUR, Width(5_000))
    move = candles.close - candles.open
    bought = candles.buy_volume / candles.volume
    assert np.corrcoef(np.sign(move), bought)[0, 1] > 0.2


def test_a_faster_rate_makes_that_many_more_trades() -> None:
    fast = market_of("BTC-USDT", rate=10.0).count_before(LISTED_AT_MS + HOUR_MS)
    assert fast == pytest.approx(10 * len(HOUR), rel=0.3)


def test_both_venues_follow_one_price_with_noise_of_their_own() -> None:
    okx = market_of("BTC-USDT", exchange="okx")
    theirs = candles_of(okx.trades(1, okx.count_before(LISTED_AT_MS + HOUR_MS)), MINUTE).close / 10
    ours = candles_of(HOUR, MINUTE).close / 100
    apart = np.abs(theirs / ours - 1)
    assert 0 < apart.max() < 0.002
    assert (apart > 0).all()


@pytest.mark.parametrize(("width", "least"), [(Width(60_000), 8), (Width(1_000), 60)])
def test_moving_averages_cross_often_enough_to_trade_on(width: Width, least: int) -> None:
    last = BTC.count_before(LISTED_AT_MS + 12 * HOUR_MS)
    trades = BTC.trades(1, last) if width.ms == 60_000 else HOUR
    close = candles_of(trades, width).close.astype(float)
    fast, slow = close[0], close[0]
    above = []
    for price in close:
        fast, slow = fast + (price - fast) * 2 / 13, slow + (price - slow) * 2 / 27
        above.append(fast > slow)
    assert np.abs(np.diff(above)).sum() >= least


def test_a_day_of_the_busiest_market_is_made_in_seconds() -> None:
    count = BTC.count_before(LISTED_AT_MS + 24 * HOUR_MS)
    assert count > 400_000
    assert len(BTC.trades(1, count)) == count
