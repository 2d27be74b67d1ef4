from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings

from data.models import FloatArray, Ohlcv
from data.timeframes import Timeframe, floor_to, to_us
from strategies.indicators.registry import INDICATORS
from tests.strategies.series import MONDAY_US, candle_series, candles_of, ohlcv_of, random_walk

HOUR_US = Timeframe.H1.us


def pivots(ohlcv: Ohlcv, session: str = "day", formula: str = "standard") -> dict[str, FloatArray]:
    return INDICATORS["pivots"].batch(ohlcv, {"session": session, "formula": formula})


def vwap(ohlcv: Ohlcv) -> FloatArray:
    return INDICATORS["vwap_session"].batch(ohlcv, {"source": "hlc3"})["value"]


@given(ohlcv=candle_series(Timeframe.H1))
@settings(max_examples=25, deadline=None)
def test_values_are_those_of_a_naive_reading(ohlcv: Ohlcv) -> None:
    candles = list(candles_of(ohlcv))
    prices, levels = vwap(ohlcv), pivots(ohlcv)["pivot"]
    for i, candle in enumerate(candles):
        today = floor_to(candle.opened_at_us, Timeframe.D1)
        known = [c for c in candles[: i + 1] if c.opened_at_us >= today]
        volume = sum(c.volume for c in known)
        covered = candles[0].opened_at_us <= today
        if covered and volume:
            notional = sum((c.high + c.low + c.close) / 3 * c.volume for c in known)
            assert prices[i] == pytest.approx(notional / volume, rel=1e-12)
        else:
            assert math.isnan(prices[i])
        earlier = [c for c in candles[:i] if c.opened_at_us < today]
        last_day = floor_to(earlier[-1].opened_at_us, Timeframe.D1) if earlier else 0
        day = [c for c in earlier if c.opened_at_us >= last_day]
        if day and candles[0].opened_at_us <= last_day:
            pivot = (max(c.high for c in day) + min(c.low for c in day) + day[-1].close) / 3
            assert levels[i] == pytest.approx(pivot, rel=1e-12)
        else:
            assert math.isnan(levels[i])


def test_the_levels_of_a_day_do_not_move_while_it_lasts() -> None:
    ohlcv = random_walk(96, seed=8, timeframe=Timeframe.H1)
    for values in pivots(ohlcv).values():
        days = values.reshape(4, 24)
        assert np.isnan(days[0]).all()
        assert (days[1:] == days[1:, :1]).all()


def test_weeks_open_on_monday() -> None:
    friday_us = to_us(datetime(2024, 1, 5, tzinfo=UTC))
    ohlcv = random_walk(20, seed=8, timeframe=Timeframe.D1, start_us=friday_us)
    values = pivots(ohlcv, "week")["pivot"]
    # The first week is not covered from its open, the second is known from the third Monday on.
    assert np.isnan(values[:10]).all()
    assert not np.isnan(values[10:]).any()
    week = ohlcv.rows(3, 10)
    assert values[10] == pytest.approx((week.high.max() + week.low.min() + week.close[-1]) / 3)


def test_a_day_without_candles_is_passed_over() -> None:
    row = (10.0, 12.0, 9.0, 11.0, 1.0)
    ohlcv = ohlcv_of([MONDAY_US, MONDAY_US + 50 * HOUR_US], [row, row], Timeframe.H1)
    assert pivots(ohlcv)["r1"][1] == pytest.approx(2 * 32 / 3 - 9)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("standard", (11.0, 13.0, 15.0, 17.0, 9.0, 7.0, 5.0)),
        ("fibonacci", (11.0, 12.528, 13.472, 15.0, 9.472, 8.528, 7.0)),
        ("camarilla", (11.0, 11 + 4.4 / 12, 11 + 4.4 / 6, 11 + 1.1, 11 - 4.4 / 12, 11 - 4.4 / 6, 11 - 1.1)),
    ],
)
def test_levels_by_hand(formula: str, expected: tuple[float, ...]) -> None:
    day = (10.0, 13.0, 9.0, 11.0, 1.0)
    ohlcv = ohlcv_of([MONDAY_US, MONDAY_US + Timeframe.D1.us], [day, day], Timeframe.D1)
    found = tuple(values[1] for values in pivots(ohlcv, formula=formula).values())
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_price_of_the_day_begins_anew_at_midnight() -> None:
    ohlcv = random_walk(60, seed=4, timeframe=Timeframe.H1)
    ohlcv.volume[:] += 1.0
    values = vwap(ohlcv)
    typical = (ohlcv.high + ohlcv.low + ohlcv.close) / 3
    assert values[[0, 24, 48]] == pytest.approx(typical[[0, 24, 48]])
    assert values[25] != pytest.approx(typical[25])
