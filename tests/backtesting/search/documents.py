"""Strategies and candles for tests of searches."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from backtesting.search.spans import Span
from backtesting.search.trials import Work
from bots.orders import Costs, TradingRules
from data.models import Ohlcv
from data.timeframes import Timeframe

START_US = 1_704_067_200_000_000


def crossover(**changes: Any) -> dict[str, Any]:
    """An EMA crossover with two parameters."""
    document: dict[str, Any] = {
        "name": "crossover",
        "timeframe": "1h",
        "parameters": {
            "fast": {"default": 5, "min": 2, "max": 50, "step": 1},
            "slow": {"default": 20, "min": 3, "max": 200, "step": 1},
        },
        "indicators": {
            "fast": {"type": "ema", "period": {"parameter": "fast"}},
            "slow": {"type": "ema", "period": {"parameter": "slow"}},
        },
        "long": {
            "entry": {"crosses_above": ["fast", "slow"]},
            "exit": {"crosses_below": ["fast", "slow"]},
        },
    }
    return document | changes


SHORT_TOO: dict[str, Any] = {
    "entry": {"crosses_below": ["fast", "slow"]},
    "exit": {"crosses_above": ["fast", "slow"]},
}


def walk(candles: int, seed: int = 1, timeframe: Timeframe = Timeframe.H1) -> Ohlcv:
    """A random walk of prices with two decimals."""
    random = np.random.default_rng(seed)
    closes = np.round(1_000 * np.exp(np.cumsum(random.standard_t(4, candles) * 0.006)), 2)
    opens = np.concatenate(([closes[0]], closes[:-1]))
    reach = 1 + np.abs(random.normal(0, 0.004, (2, candles)))
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=START_US + np.arange(candles, dtype=np.int64) * timeframe.us,
        open=opens,
        high=np.round(np.maximum(opens, closes) * reach[0], 2),
        low=np.round(np.minimum(opens, closes) / reach[1], 2),
        close=closes,
        volume=np.ones(candles),
    )


def work_of(
    document: dict[str, Any],
    ohlcv: Ohlcv,
    varied: Sequence[str] = ("fast", "slow"),
    **changes: Any,
) -> Work:
    """A search's work over all candles."""
    terms: dict[str, Any] = {
        "fixed": {},
        "capital": Decimal(10_000),
        "costs": Costs(fee_bps=Decimal(10), maker_fee_bps=Decimal(4), slippage_bps=Decimal(3)),
        "rules": TradingRules(),
        "close_at_end": False,
        "spans": (Span(start=0, stop=len(ohlcv)),),
        "finer": None,
    }
    return Work(
        document=document,
        where="test",
        timeframe=None,
        varied=tuple(varied),
        ohlcv=ohlcv,
        **(terms | changes),
    )
