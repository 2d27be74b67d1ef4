"""The same candles give the same backtest, from a file and from the store."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Desk
from tests.integration.processes import candlewick

pytestmark = pytest.mark.integration

STRATEGY = "config/strategies/ema_crossover.json"
FIRST_MS = 1_723_075_200_000  # 2024-08-08


def candle_file(folder: Path, rows: int = 1_500) -> Path:
    """Five-minute candles that swing, so that averages cross."""
    lines = ["opened_at,open,high,low,close,volume"]
    before = 60_000.0
    for row in range(rows):
        close = round(60_000 + 1_500 * math.sin(row / 40) + 200 * math.sin(row / 7), 2)
        high, low = max(before, close) + 25, min(before, close) - 25
        lines.append(f"{FIRST_MS + row * 300_000},{before},{high},{low},{close},{1 + row % 7}")
        before = close
    path = folder / "swings.csv"
    path.write_text("\n".join([*lines, ""]))
    return path


def run(desk: Desk, *arguments: str) -> Any:
    done = candlewick(*arguments, "--json", home=desk.home, DATABASE_URL=desk.database_url)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_store_and_a_file_of_the_same_candles_give_the_same_trades(desk: Desk, tmp_path: Path) -> None:
    path = candle_file(tmp_path)
    market = ("--exchange", "binance", "--symbol", "BTC-USDT")
    run(desk, "data", "import", "--candles", str(path), *market)

    costs = ("--fee-bps", "7", "--slippage-bps", "2", "--tick-size", "0.01", "--lot-size", "0.00001")
    from_file = run(desk, "backtest", "--strategy", STRATEGY, "--candles", str(path), *costs)
    from_store = run(
        desk, "backtest", "--strategy", STRATEGY, "--venue", "binance", "--symbol", "BTC-USDT", *costs
    )

    assert len(from_file["trades"]) >= 3
    assert from_store["trades"] == from_file["trades"]
    assert from_store["metrics"] == from_file["metrics"]
    assert from_store["equity"] == from_file["equity"]
    assert from_store["manifest"]["data_hash"] == from_file["manifest"]["data_hash"]


def test_a_symbol_that_is_not_stored_is_refused_with_those_that_are(desk: Desk, tmp_path: Path) -> None:
    market = ("--exchange", "binance", "--symbol", "BTC-USDT")
    run(desk, "data", "import", "--candles", str(candle_file(tmp_path, rows=50)), *market)
    arguments = ("backtest", "--strategy", STRATEGY, "--venue", "binance", "--symbol", "BTC-USDC")
    refused = candlewick(*arguments, home=desk.home, DATABASE_URL=desk.database_url)
    assert refused.returncode == 2
    assert "BTC-USDC" in refused.stderr
    assert "binance:BTC-USDT" in refused.stderr
