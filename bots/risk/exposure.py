"""Which markets move together, and what all bots hold of each: pure functions over candles and views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from bots.orders import PositionSide
from bots.risk.views import ExposureView
from bots.views import BotView
from data.models import FloatArray, IntArray, Market, Ohlcv

LEAST_RETURNS = 30  # fewer common candles say nothing of how two markets move
TOGETHER = 0.7  # correlation from which on two markets count as one


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlations:
    """`matrix` has shape (n, n) in the order of `markets`; NaN where two share too few candles."""

    markets: tuple[Market, ...]
    matrix: FloatArray


def correlations(candles: Mapping[Market, Ohlcv]) -> Correlations:
    """Pearson correlation of the log returns of closes, over the candles that both markets of a pair have."""
    markets = tuple(sorted(candles))
    returns = {market: _returns(candles[market]) for market in markets}
    matrix = np.full((len(markets), len(markets)), np.nan)
    for row, market in enumerate(markets):
        if len(returns[market][0]) >= LEAST_RETURNS:
            matrix[row, row] = 1.0
        for column in range(row):
            value = _correlation(returns[market], returns[markets[column]])
            matrix[row, column] = matrix[column, row] = value
    return Correlations(markets=markets, matrix=matrix)


def clusters(found: Correlations, threshold: float = TOGETHER) -> tuple[tuple[Market, ...], ...]:
    """Markets joined by correlations of at least `threshold`, directly or through others; singles included.

    In order of each cluster's first market. A market whose correlations are unknown stands alone.
    """
    left = list(range(len(found.markets)))
    joined: list[tuple[Market, ...]] = []
    while left:
        cluster, edge = {left[0]}, [left[0]]
        while edge:
            near = found.matrix[edge.pop()] >= threshold
            fresh = {int(one) for one in np.flatnonzero(near)} - cluster
            cluster |= fresh
            edge.extend(fresh)
        joined.append(tuple(found.markets[one] for one in sorted(cluster)))
        left = [one for one in left if one not in cluster]
    return tuple(joined)


def exposure_of(views: Sequence[BotView], markets: Sequence[Market]) -> ExposureView:
    """What all bots hold of these markets, marked at each bot's last processed close."""
    long = short = Decimal(0)
    names = set()
    for view in views:
        for held in view.holdings:
            if held.market not in markets:
                continue
            names.add(view.name)
            if held.position.side is PositionSide.LONG:
                long += held.value
            else:
                short += held.value
    return ExposureView(
        symbols=tuple(str(market) for market in markets), long=long, short=short, bots=tuple(sorted(names))
    )


def position_value(view: BotView) -> Decimal:
    """The worth of a bot's largest position, above 0, in quote currency; 0 when flat."""
    return max((held.value for held in view.holdings), default=Decimal(0))


def _returns(ohlcv: Ohlcv) -> tuple[IntArray, FloatArray]:
    """Opens of candles that follow the one before without a gap, and the log return into each."""
    if len(ohlcv) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0)
    follows = np.diff(ohlcv.opened_at_us) == ohlcv.timeframe.us
    return ohlcv.opened_at_us[1:][follows], np.diff(np.log(ohlcv.close))[follows]


def _correlation(one: tuple[IntArray, FloatArray], other: tuple[IntArray, FloatArray]) -> float:
    _, first, second = np.intersect1d(one[0], other[0], assume_unique=True, return_indices=True)
    if len(first) < LEAST_RETURNS:
        return float("nan")
    x, y = one[1][first], other[1][second]
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
