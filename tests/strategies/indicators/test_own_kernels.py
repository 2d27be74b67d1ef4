from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import PROJECT
from strategies.indicators.reference_page import indicator_page
from strategies.indicators.registry import INDICATORS
from strategies.indicators.windows import mean_deviation, sliding_mean_deviation
from tests.strategies.series import ohlcv_of_closes, random_walk


@given(values=st.lists(st.floats(-1e6, 1e6), max_size=30), period=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_one_window_has_the_bits_of_the_sliding_ones(values: list[float], period: int) -> None:
    means, deviations = sliding_mean_deviation(np.array(values), period)
    for row in range(len(values)):
        if row < period - 1:
            assert math.isnan(means[row])
            assert math.isnan(deviations[row])
        else:
            assert (means[row], deviations[row]) == mean_deviation(values[row - period + 1 : row + 1])


def test_a_small_move_after_a_large_price_keeps_its_score() -> None:
    # Running sums of squares would lose a cent at 60,000.
    closes = [90_000.0] * 5 + [60_000.00, 60_000.01, 60_000.02, 60_000.01]
    score = INDICATORS["zscore"].batch(ohlcv_of_closes(closes), {"period": 4, "source": "close"})["value"][-1]
    last = np.array([0.00, 0.01, 0.02, 0.01])
    assert abs(score - (last[-1] - last.mean()) / last.std()) < 1e-6


def test_equal_values_have_no_score() -> None:
    closes = [0.1] * 7
    values = INDICATORS["zscore"].batch(ohlcv_of_closes(closes), {"period": 3, "source": "close"})["value"]
    assert np.isnan(values).all()


def test_a_span_stands_where_it_is_drawn_and_hangs_on_what_was_known_then() -> None:
    ohlcv = random_walk(120, seed=6)
    params = INDICATORS["ichimoku"].resolve({}, where="test")
    lines = INDICATORS["ichimoku"].batch(ohlcv, params)
    row = 100
    middle = (lines["conversion"][row - 26] + lines["base"][row - 26]) / 2
    assert lines["span_a"][row] == middle
    low, high = ohlcv.low[row - 26 - 51 : row - 25], ohlcv.high[row - 26 - 51 : row - 25]
    assert lines["span_b"][row] == (low.min() + high.max()) / 2
    changed = random_walk(120, seed=6)
    changed.high[row - 25 :] *= 2.0
    assert INDICATORS["ichimoku"].batch(changed, params)["span_b"][row] == lines["span_b"][row]


def test_the_page_of_indicators_is_current() -> None:
    published = (PROJECT / "docs/indicators.md").read_text(encoding="utf-8")
    assert published == indicator_page(INDICATORS.values()), "run: python -m scripts.indicator_docs"
