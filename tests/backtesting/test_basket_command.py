"""`candlewick backtest --bot` of a basket as a person runs it, on recorded candles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.commands.backtest import command

BASKET: dict[str, Any] = {
    "name": "majors",
    "venue": "binance",
    "type": "rebalance",
    "settings": {"weights": {"BTC-USDT": 0.5, "SOL-USDT": 0.4}, "threshold": 0.05, "stop_loss": 0.4},
    "timeframe": "1h",
    "capital": 5_000,
    "fee_bps": 10,
    "slippage_bps": 2,
}


@pytest.fixture
def basket(tmp_path: Path) -> Path:
    path = tmp_path / "basket.json"
    path.write_text(json.dumps(BASKET))
    return path


@pytest.fixture
def candles(shared_data: Path) -> list[str]:
    folder = shared_data / "candles" / "binance_spot"
    files = [folder / f"{base}USDT_1h_2024.csv.gz" for base in ("BTC", "SOL")]
    return [word for path in files for word in ("--candles", str(path))]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_basket_gives_the_document_of_a_portfolio_and_what_it_used_of_its_worst_case(
    basket: Path, candles: list[str]
) -> None:
    result = run("--bot", basket, *candles, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [leg["symbol"] for leg in document["legs"]] == ["BTC-USDT", "SOL-USDT"]
    assert {trade["symbol"] for trade in document["trades"]} == {"BTC-USDT", "SOL-USDT"}
    used = document["basket"]
    assert used["worst_case"]["loss"] == 2_000
    assert 0 < used["most_paid_in"] <= 5_000
    assert used["rebalances"] > 5
    assert document["manifest"]["capital"] == 5_000
    assert document["metrics"]["fees_paid"] > 0


def test_its_manifest_repeats_it_to_the_same_hash(basket: Path, candles: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert run("--bot", basket, *candles, "--out", folder).exit_code == 0
    repeated = run("--manifest", folder / "manifest.json")
    assert repeated.exit_code == 0, repeated.output
    assert "the same result" in repeated.stderr


def test_symbols_may_stand_in_any_order_and_must_be_all_of_the_basket(
    basket: Path, candles: list[str]
) -> None:
    turned = [*candles[2:], *candles[:2], "--symbol", "SOL-USDT", "--symbol", "BTC-USDT"]
    straight = json.loads(run("--bot", basket, *candles, "--json").stdout)
    other_way = json.loads(run("--bot", basket, *turned, "--json").stdout)
    assert other_way["manifest"]["result_hash"] == straight["manifest"]["result_hash"]
    refused = run("--bot", basket, *candles[:2])
    assert refused.exit_code == 2
    assert "BTC-USDT, SOL-USDT" in refused.output
