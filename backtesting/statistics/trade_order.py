"""What the same trades would have felt like in another order: the drawdown is mostly luck of the order."""

from __future__ import annotations

import msgspec
import numpy as np

from data.models import FloatArray

RUIN = 0.5  # a drawdown that few sit through
_MOST_CELLS = 2_000_000


class TradeOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Largest drawdowns over shuffled trades, as fractions, measured after each trade."""

    median_drawdown: float
    drawdown_95: float  # exceeded in one order of twenty
    worst_drawdown: float
    probability_of_ruin: float  # share of orders that lost half of a peak or more
    shuffles: int
    trades: int


def shuffled_trades(gains: FloatArray, *, seed: int, shuffles: int = 1_000) -> TradeOrder | None:
    """Shuffle what each trade made as a fraction of the equity before it. None below five trades."""
    count = len(gains)
    if count < 5:
        return None
    random = np.random.default_rng(seed)
    falls = []
    growth = 1 + np.maximum(gains, -1.0)
    at_once = max(1, _MOST_CELLS // count)
    for start in range(0, shuffles, at_once):
        rows = min(at_once, shuffles - start)
        equity = np.cumprod(random.permuted(np.tile(growth, (rows, 1)), axis=1), axis=1)
        peaks = np.maximum(np.maximum.accumulate(equity, axis=1), 1.0)
        falls.append((1 - equity / peaks).max(axis=1))
    fall = np.concatenate(falls)
    return TradeOrder(
        median_drawdown=float(np.median(fall)),
        drawdown_95=float(np.quantile(fall, 0.95)),
        worst_drawdown=float(fall.max()),
        probability_of_ruin=float((fall >= RUIN).mean()),
        shuffles=shuffles,
        trades=count,
    )
