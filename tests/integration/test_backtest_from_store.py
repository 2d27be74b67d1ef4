"""The same candles give the same backtest, from a file and from the store."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from data.models import Instrument, InstrumentKind, InstrumentVersion, Market
from database.repositories.channel_repository import ChannelRepository
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


def instrument(market: Market, tick: str, lot: str) -> Instrument:
    return Instrument(
        exchange=market.exchange,
        symbol=market.symbol,
        venue_symbol="BTCUSDT",
        kind=InstrumentKind.SPOT,
        base="BTC",
        quote="USDT",
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        min_quantity=Decimal(lot),
        min_notional=Decimal(5),
    )


def store_versions(database_url: str, versions: list[InstrumentVersion]) -> None:
    async def save() -> None:
        repository = ChannelRepository(database_url)
        try:
            for version in versions:
                await repository.save_instrument_versions([version])
        finally:
            await repository.close()

    asyncio.run(save())


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


def test_missing_minutes_are_refused_by_name_unless_they_are_allowed_and_then_stamped(
    desk: Desk, tmp_path: Path
) -> None:
    lines = candle_file(tmp_path, rows=900).read_text().splitlines()
    holed = tmp_path / "holed.csv"
    holed.write_text("\n".join([*lines[:301], *lines[307:], ""]))  # candles 300 to 305 are not there
    run(desk, "data", "import", "--candles", str(holed), "--exchange", "binance", "--symbol", "BTC-USDT")
    asked = ("backtest", "--strategy", STRATEGY, "--venue", "binance", "--symbol", "BTC-USDT")
    refused = candlewick(*asked, home=desk.home, DATABASE_URL=desk.database_url)
    assert refused.returncode == 2
    assert "2024-08-09T01:00:00Z to 2024-08-09T01:30:00Z" in refused.stderr
    assert "--allow-missing" in refused.stderr
    allowed = run(desk, *asked, "--allow-missing")
    assert allowed["manifest"]["missing"] == [["2024-08-09T01:00:00Z", "2024-08-09T01:30:00Z"]]

    written = tmp_path / "manifest.json"
    written.write_text(json.dumps(allowed["manifest"]))
    again = run(desk, "backtest", "--manifest", str(written))
    assert again["manifest"]["result_hash"] == allowed["manifest"]["result_hash"]


def test_an_instrument_s_rules_are_those_of_the_time_and_not_of_today(desk: Desk, tmp_path: Path) -> None:
    path = candle_file(tmp_path)
    market = Market("binance", "BTC-USDT")
    run(desk, "data", "import", "--candles", str(path), "--exchange", "binance", "--symbol", market.symbol)
    later_us = (FIRST_MS + 750 * 300_000) * 1_000
    store_versions(
        desk.database_url,
        [
            InstrumentVersion(instrument=instrument(market, "0.01", "0.001"), valid_from_us=0),
            InstrumentVersion(instrument=instrument(market, "10", "0.01"), valid_from_us=later_us),
        ],
    )
    done = run(desk, "backtest", "--strategy", STRATEGY, "--venue", "binance", "--symbol", market.symbol)
    stamp = done["manifest"]
    assert stamp["rules"]["tick_size"] == 0.01
    assert [(later["valid_from_us"], later["rules"]["tick_size"]) for later in stamp["later_rules"]] == [
        (later_us, 10)
    ]
    entries = [(trade["entry_time"], trade["quantity"]) for trade in done["trades"]]
    changed_at = datetime.fromtimestamp(later_us / 1e6, UTC).isoformat().replace("+00:00", "Z")
    assert any(round(quantity * 100, 9) % 1 for at, quantity in entries if at < changed_at)
    assert all(round(quantity * 100, 9) % 1 == 0 for at, quantity in entries if at >= changed_at)
