from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from data.collectors.collector_manager import plan_collectors, plan_named
from data.collectors.settings import (
    VenueSettings,
    load_collector_settings,
    parse_collector_settings,
    save_collector_settings,
)
from data.collectors.settings_file import SettingsFile
from data.errors import InvalidInput
from data.exchanges.base import Channel
from data.timeframes import Timeframe

CONFIG = Path(__file__).resolve().parents[3] / "config"


def test_symbols_are_enough() -> None:
    assert parse_collector_settings({"okx": {"symbols": ["BTC-USDT"]}}, "file") == {
        "okx": VenueSettings(
            exchange="okx",
            symbols=("BTC-USDT",),
            channels={"BTC-USDT": ()},
            history_candles=1_000,
            timeframes=tuple(Timeframe),
        )
    }


def test_everything_can_be_said() -> None:
    venue = {
        "symbols": ["BTC-USDT", "BTC-USDT-PERP"],
        "channels": ["trades-all", "quotes", "funding"],
        "history_candles": 0,
        "timeframes": ["1h", "1m"],
    }
    settings = parse_collector_settings({"okx": venue}, "file")["okx"]
    assert (settings.symbols, settings.channel, settings.history_candles) == (
        ("BTC-USDT", "BTC-USDT-PERP"),
        "trades-all",
        0,
    )
    # Funding is for the perpetual alone, which is no mistake in what is said of all symbols.
    assert settings.channels == {
        "BTC-USDT": (Channel.QUOTES,),
        "BTC-USDT-PERP": (Channel.QUOTES, Channel.FUNDING),
    }
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
        ({"okx": {"symbols": ["BTC-USDT"], "channels": ["trades", "funding"]}}, "okx.channels"),
        ({"okx": {"symbols": ["BTC-USDT"], "channels": ["trades", "tradez"]}}, "okx.channels[1]"),
        ({"okx": {"symbols": ["BTC-USDT"], "channels": ["quotes", "quotes"]}}, "okx.channels[1]"),
        ({"okx": {"symbols": ["BTC-USDT"], "channels": [["quotes"]]}}, "okx.channels[0]"),
        ({"okx": {"symbols": ["BTC-USDT"], "channels": "quotes"}}, "okx.channels"),
        ({"okx": {"symbols": {}}}, "okx.symbols"),
        ({"okx": {"symbols": {"btc": ["quotes"]}}}, "okx.symbols.btc"),
        ({"okx": {"symbols": {"BTC-USDT": "quotes"}}}, "okx.symbols.BTC-USDT"),
        ({"okx": {"symbols": {"BTC-USDT": ["quotes", "depth"]}}}, "okx.symbols.BTC-USDT[1]"),
        ({"okx": {"symbols": {"BTC-USDT": ["mark"]}}}, "okx.symbols.BTC-USDT"),
        ({"binance": {"symbols": {"BTC-USDT": ["aggTrade"]}}}, "binance.symbols.BTC-USDT"),
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


def test_each_symbol_may_have_its_own_channels_and_trades_need_not_be_named() -> None:
    body = {"binance": {"symbols": {"BTC-USDT": ["book5", "klines"], "BTC-USDT-PERP": ["trades", "mark"]}}}
    settings = parse_collector_settings(body, "file")["binance"]
    assert settings.symbols == ("BTC-USDT", "BTC-USDT-PERP")
    assert settings.channels == {
        "BTC-USDT": (Channel.KLINES, Channel.BOOK5),
        "BTC-USDT-PERP": (Channel.MARK,),
    }


def test_what_is_saved_is_whole_and_right_or_the_old_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "collectors.json"
    body = {"okx": {"symbols": {"BTC-USDT": ["quotes"]}}}
    assert save_collector_settings(path, body) == load_collector_settings(path)
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match=r"okx\.symbols"):
        save_collector_settings(path, {"okx": {"symbols": []}})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_broken_change_is_told_and_the_next_good_one_taken(tmp_path: Path) -> None:
    path = tmp_path / "collectors.json"
    save_collector_settings(path, {"okx": {"symbols": ["BTC-USDT"]}})
    file = SettingsFile(path)
    assert file.changed() is None
    path.write_text('{"okx": {"symbols": ["btc"]}}')
    assert file.changed() is None
    assert "okx.symbols[0]" in file.problem
    path.unlink()
    assert file.changed() is None
    assert "cannot be read" in file.problem
    save_collector_settings(path, {"okx": {"symbols": ["ETH-USDT"]}})
    changed = file.changed()
    assert changed is not None
    assert changed["okx"].symbols == ("ETH-USDT",)
    assert file.problem == ""


def test_a_process_that_begins_while_the_file_is_broken_has_the_last_good_settings(tmp_path: Path) -> None:
    path, last_good = tmp_path / "collectors.json", tmp_path / "last-good.json"
    path.write_text('{"okx": {}}')
    with pytest.raises(InvalidInput):
        SettingsFile(path, last_good).load_or_last_good()
    save_collector_settings(path, {"okx": {"symbols": ["BTC-USDT"]}})
    SettingsFile(path, last_good).load_or_last_good()
    path.write_text('{"okx": {}}')
    file = SettingsFile(path, last_good)
    assert file.load_or_last_good()["okx"].symbols == ("BTC-USDT",)
    assert "okx.symbols" in file.problem
    with pytest.raises(InvalidInput):
        file.load()
    assert sorted(tmp_path.iterdir()) == [path, last_good]


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


def test_products_are_apart_and_many_symbols_are_spread_over_shards_that_keep_them() -> None:
    many = [f"C{number}-USDT" for number in range(350)]
    venues = parse_collector_settings({"binance": {"symbols": [*many, "BTC-USDT-PERP"]}}, "file")
    plans = plan_collectors(venues)
    assert [plan.name for plan in plans] == [
        "collector-binance",
        "collector-binance-2",
        "collector-binance-usdm",
    ]
    spread = [symbol for plan in plans for symbol in plan.settings.symbols]
    assert sorted(spread) == sorted([*many, "BTC-USDT-PERP"])
    assert [plan.share for plan in plans] == [0.5, 0.5, 1.0]
    assert all(len(plan.settings.symbols) > 100 for plan in plans[:2])
    fewer = parse_collector_settings({"binance": {"symbols": many[20:]}}, "file")
    for plan in plans[:2]:
        found = plan_named(fewer, plan.name)
        assert found is not None
        assert set(found.settings.symbols) <= set(plan.settings.symbols)
    assert plan_named(fewer, "collector-binance-usdm") is None


def test_settings_survive_the_way_to_another_process() -> None:
    settings = parse_collector_settings({"okx": {"symbols": ["BTC-USDT"]}}, "file")["okx"]
    assert msgspec.convert(msgspec.to_builtins(settings), VenueSettings) == settings
