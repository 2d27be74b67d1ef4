from __future__ import annotations

from pathlib import Path

import pytest

from app.processes.maintenance import venue_history
from config.settings import Settings
from data.exchanges.base import RestBudget
from data.exchanges.registry import EXCHANGES
from simulator.limits import BINANCE_WEIGHT_LIMIT, OKX_REST_LIMITS, OKX_REST_WINDOW_S


def most_within(budget: RestBudget, window_s: float) -> float:
    """The weight that may pass in a window of so many seconds."""
    return budget.burst + budget.per_s * window_s


@pytest.mark.parametrize("path", OKX_REST_LIMITS)
async def test_a_collector_and_maintenance_together_keep_okx_limits(path: str, tmp_path: Path) -> None:
    async with venue_history(Settings(candlewick_home=tmp_path), "okx") as (adapter, _):
        both = [
            most_within(limits.rest_by_path.get(path, limits.rest), OKX_REST_WINDOW_S)
            for limits in (EXCHANGES["okx"].limits, adapter.limits)
        ]

    assert sum(both) <= OKX_REST_LIMITS[path]
    assert both[1] == both[0] / 2


async def test_a_collector_and_maintenance_together_keep_binance_limits(tmp_path: Path) -> None:
    async with venue_history(Settings(candlewick_home=tmp_path), "binance") as (adapter, _):
        both = [most_within(limits.rest, 60.0) for limits in (EXCHANGES["binance"].limits, adapter.limits)]

    assert sum(both) <= BINANCE_WEIGHT_LIMIT
