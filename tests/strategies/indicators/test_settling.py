"""Values must not show where history began, once an indicator's declared settling is over."""

from __future__ import annotations

import numpy as np
import pytest

from data.timeframes import Timeframe
from strategies.indicators.registry import INDICATORS
from tests.strategies.series import random_walk

# Sums over all candles there ever were: their level has no meaning, only how they move.
ADDED_UP = ("obv", "ad")
STARTS = (1, 333, 777)


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.M5, Timeframe.H1, Timeframe.D1])
@pytest.mark.parametrize("name", [name for name in INDICATORS if name not in ADDED_UP])
def test_a_later_start_gives_the_same_values_after_the_declared_settling(
    name: str, timeframe: Timeframe
) -> None:
    spec = INDICATORS[name]
    params = spec.resolve({}, where="test")
    settling = spec.settling(params)
    ohlcv = random_walk(settling + 1_000, seed=23, timeframe=timeframe, gaps=0.01)
    full = spec.batch(ohlcv, params)
    for start in STARTS:
        late = spec.batch(ohlcv.rows(start, len(ohlcv)), params)
        for output, values in late.items():
            settled = full[output][start + settling :]
            np.testing.assert_allclose(values[settling:], settled, rtol=1e-9, atol=1e-9, err_msg=output)
