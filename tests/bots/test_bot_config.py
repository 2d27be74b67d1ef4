from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bots.config import FillRule, OnRestart, as_document, load_bot, parse_bot
from data.errors import InvalidInput
from data.timeframes import Timeframe

GOOD = {
    "name": "trend_btc",
    "venue": "binance",
    "symbol": "BTC-USDT",
    "strategy": "ema_crossover.json",
    "parameters": {"fast": 12},
    "timeframe": "1m",
    "mode": "paper",
    "capital": 10000,
    "fee_bps": 7.5,
    "maker_fee_bps": 2,
    "slippage_bps": 1,
    "limits": {"profile": "careful", "max_order_notional": 500.10, "max_orders_per_minute": 3},
    "account": "main",
    "on_restart": "flatten",
}


def problems_of(document: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        parse_bot(document, where="bot.json")
    assert all(problem.where == "bot.json" for problem in caught.value.problems)
    return {problem.field: str(problem) for problem in caught.value.problems}


def test_a_whole_file_is_read() -> None:
    config = parse_bot(GOOD, where="bot.json")
    assert (config.capital, config.fee_bps, config.maker_fee_bps) == (
        Decimal(10_000),
        Decimal("7.5"),
        Decimal(2),
    )
    assert (config.timeframe, config.on_restart) == (Timeframe.M1, OnRestart.FLATTEN)
    assert config.parameters == {"fast": 12.0}


def test_a_stored_config_is_read_back_unchanged() -> None:
    config = parse_bot({**GOOD, "capital": "0.123456789012345678901"}, where="bot.json")
    stored = json.loads(json.dumps(as_document(config)))
    assert parse_bot(stored, where="stored") == config


def test_money_in_a_file_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "bot.json"
    path.write_text(json.dumps(GOOD).replace("10000", "10000.10000000000000000001"))
    assert load_bot(path).capital == Decimal("10000.10000000000000000001")


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"capitol": 1}, "capitol", "did you mean capital?"),
        ({"venue": "kraken"}, "venue", 'is "kraken"; must be one of binance, okx'),
        ({"symbol": "btc/usdt"}, "symbol", "did you mean BTC-USDT?"),
        ({"symbol": "BTCUSDT"}, "symbol", "BASE-QUOTE"),
        ({"name": "a b"}, "name", "letters, digits"),
        ({"capital": 0}, "capital", "must be above 0"),
        ({"capital": "1e30"}, "capital", "must be below 1e30"),
        ({"capital": "ten"}, "capital", "must be a number"),
        ({"capital": True}, "capital", "must be a number"),
        ({"capital": None}, "capital", "missing"),
        ({"fee_bps": -1}, "fee_bps", "0 to 1000 basis points"),
        ({"fee_bps": "NaN"}, "fee_bps", "must be a number"),
        ({"slippage_bps": 5_000}, "slippage_bps", "basis points"),
        ({"timeframe": "7m"}, "timeframe", 'is "7m"; must be one of 1s, 1m'),
        ({"mode": "live"}, "mode", 'is "live"; must be paper'),
        ({"on_restart": "pray"}, "on_restart", "resume, flatten, freeze"),
        ({"fill": "mid"}, "fill", 'is "mid"; must be one of candle, depth'),
        ({"fill": True}, "fill", "must be one of candle, depth"),
        ({"parameters": {"fast": "12"}}, "parameters.fast", "must be a number"),
        ({"parameters": [12]}, "parameters", "must be an object"),
        ({"limits": {"max_loss": 1}}, "limits.max_loss", "did you mean max_daily_loss? known limits are"),
        ({"limits": {"max_drawdown": 20}}, "limits.max_drawdown", "fraction below 1"),
        ({"limits": {"max_drawdown": 0.2}}, "limits.cool_down_minutes", "one means nothing alone"),
        ({"limits": {"max_orders_per_minute": 0.5}}, "limits.max_orders_per_minute", "whole number"),
        ({"limits": {"max_order_notional": "much"}}, "limits.max_order_notional", "number above 0"),
        ({"limits": {"max_symbol_notional": 1}}, "limits.max_symbol_notional", "account in the risk file"),
        ({"limits": {"profile": 3}}, "limits.profile", "name of a profile"),
        ({"limits": [1]}, "limits", "must be an object"),
        ({"account": "two words"}, "account", "name of an account"),
        ({"strategy": " "}, "strategy", "name of a strategy file"),
    ],
)
def test_every_bad_value_names_its_field_and_what_would_be_right(
    change: dict[str, Any], field: str, said: str
) -> None:
    found = problems_of({**GOOD, **change})
    assert set(found) == {field}
    assert said in found[field]


def test_all_problems_are_told_at_once() -> None:
    assert set(problems_of({"name": "x", "venue": "x", "mode": "x"})) == {
        "venue",
        "symbol",
        "strategy",
        "capital",
        "mode",
    }


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ('{"name": "x",\n "venue" }', "line 2, column 10", "is not JSON"),
        ("[1]", "", "must be a JSON object"),
        ('{"name": "x", "name": "y"}', "name", "given twice"),
    ],
)
def test_a_file_that_is_no_bot_says_where(tmp_path: Path, text: str, field: str, said: str) -> None:
    path = tmp_path / "bot.json"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        load_bot(path)
    (problem,) = caught.value.problems
    assert (problem.where, problem.field) == (str(path), field)
    assert said in str(problem)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        load_bot(tmp_path / "absent.json")


def test_fills_by_depth_are_for_bots_that_follow_a_strategy_and_off_unless_asked_for() -> None:
    assert parse_bot(GOOD, where="x").fill is FillRule.CANDLE
    assert "fill" not in as_document(parse_bot(GOOD, where="x"))
    config = parse_bot({**GOOD, "fill": "depth"}, where="x")
    assert config.fill is FillRule.DEPTH
    assert parse_bot(as_document(config), where="x") == config
    ladder = {key: value for key, value in GOOD.items() if key not in ("strategy", "parameters")}
    basket = {
        **{key: value for key, value in ladder.items() if key != "symbol"},
        "type": "rebalance",
        "settings": {"weights": {"BTC-USDT": 0.5, "ETH-USDT": 0.5}, "every": "1h"},
        "fill": "depth",
    }
    assert parse_bot(basket, where="x").fill is FillRule.DEPTH
    found = problems_of({**ladder, "type": "grid", "settings": {}, "fill": "depth"})
    assert found["fill"].endswith("a grid has limit orders; leave it out")
