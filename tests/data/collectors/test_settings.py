from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from data.collectors.collector_manager import plan_collectors
from data.collectors.settings import VenueSettings, load_collector_settings, parse_collector_settings
from data.errors import InvalidInput
from data.timeframes import Timeframe

CONFIG = Path(__file__).resolve().parents[3] / "config"


def test_symbols_are_enough() -> None:
    assert parse_collector_settings({"okx": {"symbols": ["BTC-USDT"]}}, "file") == {
        "okx": VenueSettings(
            exchange="okx",
            symbols=("BTC-USDT",),
            channel="trades-all",
            history_candles=1_000,
            timeframes=tuple(Timeframe),
        )
    }


def test_everything_can_be_said() -> None:
    venue = {
        "symbols": ["BTC-USDT", "BTC-USDT-PERP"],
        "channels": ["trades"],
        "history_candles": 0,
        "timeframes": ["1h", "1m"],
    }
    settings = parse_collector_settings({"okx": venue}, "file")["okx"]
    assert (settings.symbols, settings.channel, settings.history_candles) == (
        ("BTC-USDT", "BTC-USDT-PERP"),
        "trades",
        0,
    )
    assert settings.timeframes == (Timeframe.M1, Timeframe.H1)


@pytest.mark.parametrize("name", ["collectors.json", "collectors.example.json"])
def test_the_files_that_come_with_the_program_are_right(name: str) -> None:
    assert set(load_collector_settings(CONFIG / name)) == {"binance", "okx"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], ""),
        ({}, ""),
        ({"kraken": {"symbols": ["BTC-USDT"]}}, "kraken"),
        ({"okx": ["BTC-USDT"]}, "okx"),
        ({"okx": {}}, "okx.symbols"),
        ({"okx": {"symbols": []}}, "okx.symbols"),
        ({"okx": {"symbols": ["BTCUSDT"]}}, "okx.symbols[0]"),
        ({"okx": {"symbols": ["BTC-USDT", "btc-usdt"]}}, "okx.symbols[1]"),
        ({"okx": {"symbols": ["BTC-USDT", "BTC-USDT"]}}, "okx.symbols[1]"),
        ({"okx": {"symbols": ["BTC-USDT", 7]}}, "okx.symbols[1]"),
        ({"okx": {"symbols": ["BTC-USDT"], "symbol": "x"}}, "okx.symbol"),
        ({"okx": {"symbols": ["BTC-USDT"], "channels": ["trades", "trades-all"]}}, "okx.channels"),
        ({"binance": {"symbols": ["BTC-USDT"], "channels": ["aggTrade"]}}, "binance.channels"),
        ({"okx": {"symbols": ["BTC-USDT"], "history_candles": -1}}, "okx.history_candles"),
        ({"okx": {"symbols": ["BTC-USDT"], "history_candles": True}}, "okx.history_candles"),
        ({"okx": {"symbols": ["BTC-USDT"], "history_candles": 1.5}}, "okx.history_candles"),
        ({"okx": {"symbols": ["BTC-USDT"], "timeframes": []}}, "okx.timeframes"),
        ({"okx": {"symbols": ["BTC-USDT"], "timeframes": ["1m", "7m"]}}, "okx.timeframes[1]"),
        ({"okx": {"symbols": ["BTC-USDT"], "timeframes": [["1m"]]}}, "okx.timeframes[0]"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(body: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_collector_settings(body, "collectors.json")
    (problem,) = caught.value.problems
    assert (problem.where, problem.field) == ("collectors.json", field)
    assert problem.expected


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_collector_settings({"okx": {"symbols": ["x"]}, "binance": {}}, "file")
    assert [problem.field for problem in caught.value.problems] == ["okx.symbols[0]", "binance.symbols"]


@pytest.mark.parametrize("text", [None, b"{", b"\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: bytes | None) -> None:
    path = tmp_path / "collectors.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InvalidInput, match=r"collectors\.json"):
        load_collector_settings(path)


def test_each_venue_gets_a_process_of_its_own() -> None:
    venues = parse_collector_settings(
        {"okx": {"symbols": ["BTC-USDT"]}, "binance": {"symbols": ["ETH-USDT"]}}, "file"
    )
    assert [plan.name for plan in plan_collectors(venues)] == ["collector-binance", "collector-okx"]
    (only,) = plan_collectors(venues, ["okx"])
    assert only.settings.symbols == ("BTC-USDT",)
    with pytest.raises(InvalidInput, match="binance, okx"):
        plan_collectors(venues, ["kraken"])


def test_settings_survive_the_way_to_another_process() -> None:
    settings = parse_collector_settings({"okx": {"symbols": ["BTC-USDT"]}}, "file")["okx"]
    assert msgspec.convert(msgspec.to_builtins(settings), VenueSettings) == settings
