from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bots.config import BotConfig, as_document, load_bot, parse_bot
from bots.ladders.fields import FIELDS, settings_schema
from bots.ladders.loading import ladder_strategy
from bots.ladders.settings import SETTINGS, GridSettings
from bots.ladders.strategy import BasketStrategy
from data.errors import InvalidInput
from strategies.base import Strategy

EXAMPLES = Path("config/bots/examples")
BASE = {"name": "g", "venue": "binance", "symbol": "BTC-USDT", "type": "grid", "capital": 10_000}
GRID = {"lower": 80, "upper": 120, "levels": 9, "order_notional": 500}


def never(config: BotConfig) -> Strategy:
    raise AssertionError("a basket asks for no strategy")


def problems(**changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        parse_bot({**BASE, "settings": GRID, **changes}, where="bot")
    return {problem.field: problem.expected for problem in caught.value.problems}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_every_example_is_read_and_written_back_unchanged(path: Path) -> None:
    config = load_bot(path)
    assert config.ladder is not None
    assert parse_bot(as_document(config), where="stored") == config


def test_every_problem_is_named_at_once() -> None:
    found = problems(
        strategy="ema", settings={"lower": 80, "uper": 120, "levels": 1, "order_notional": "much"}
    )
    assert found["settings.uper"] == "did you mean upper?"
    assert set(found) == {
        "settings.uper",
        "settings.upper",
        "settings.levels",
        "settings.order_notional",
        "strategy",
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"settings": {**GRID, "upper": 70}}, "settings.upper"),
        ({"settings": {**GRID, "stop_price": 80}}, "settings.stop_price"),
        ({"settings": {**GRID, "levels": 201}}, "settings.levels"),  # less than both fees apart
        ({"capital": 3_000}, "capital"),
        ({"type": "gird"}, "type"),
        ({"settings": []}, "settings"),
        (
            {
                "type": "dca",
                "settings": {
                    "base_notional": 100,
                    "safety_notional": 100,
                    "safety_orders": 3,
                    "step": 0.1,
                    "take_profit": 0.01,
                    "stop_loss": 0.2,
                },
            },
            "settings.stop_loss",
        ),
        (
            {
                "type": "dca",
                "settings": {
                    "base_notional": 100,
                    "safety_notional": 100,
                    "safety_orders": 3,
                    "step": 0.1,
                    "take_profit": 0.001,
                },
            },
            "settings.take_profit",
        ),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(changes: dict[str, Any], field: str) -> None:
    assert field in problems(**changes)


BASKET = {"weights": {"BTC-USDT": 0.6, "ETH-USDT": 0.3}, "threshold": 0.05}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"weights": {"BTC-USDT": 0.7, "ETH-USDT": 0.4}}, "settings.weights"),
        ({"weights": {"BTC-USDT": 0.5, "ETH-BTC": 0.4}}, "settings.weights"),
        ({"weights": {"BTC-USDT-PERP": 0.5}}, "settings.weights.BTC-USDT-PERP"),
        ({"weights": {"btc": 0.5}}, "settings.weights.btc"),
        ({"weights": {"BTC-USDT": 0}}, "settings.weights.BTC-USDT"),
        ({"weights": {}}, "settings.weights"),
        ({"threshold": None}, "settings.threshold"),
        ({"every": "2d"}, "settings.every"),
        ({"stop_loss": 0.001}, "settings.stop_loss"),
    ],
)
def test_a_basket_that_makes_no_sense_is_refused(changes: dict[str, Any], field: str) -> None:
    assert field in problems(symbol=None, type="rebalance", settings={**BASKET, **changes})


def test_a_basket_trades_the_symbols_of_its_weights() -> None:
    document = {**BASE, "type": "rebalance", "settings": BASKET}
    with pytest.raises(InvalidInput, match="a basket has weights instead"):
        parse_bot(document, where="bot")
    del document["symbol"]
    assert parse_bot(document, where="bot").symbols == ("BTC-USDT", "ETH-USDT")


def test_a_basket_becomes_a_strategy_of_its_own() -> None:
    config = parse_bot({**BASE, "symbol": None, "type": "rebalance", "settings": BASKET}, where="bot")
    assert isinstance(ladder_strategy(config, never), BasketStrategy)


def test_a_stored_basket_keeps_the_order_of_its_weights() -> None:
    weights = {"SOL-USDT": 0.2, "BTC-USDT": 0.5, "AVAX-USDT": 0.1}
    document = {**BASE, "symbol": None, "type": "rebalance", "settings": {**BASKET, "weights": weights}}
    config = parse_bot(document, where="bot")
    # As a database keeps documents: the keys of an object in an order of its own.
    stored = json.loads(json.dumps(as_document(config)), object_pairs_hook=lambda pairs: dict(sorted(pairs)))
    again = parse_bot(stored, where="bot")
    assert again == config
    assert again.symbols == ("SOL-USDT", "BTC-USDT", "AVAX-USDT")


def test_a_weight_that_is_listed_twice_is_refused() -> None:
    weights = [["BTC-USDT", "0.5"], ["BTC-USDT", "0.2"]]
    settings = {**BASKET, "weights": weights}
    assert "settings.weights.BTC-USDT" in problems(symbol=None, type="rebalance", settings=settings)


def test_settings_of_a_ladder_without_a_type_are_refused() -> None:
    document = {**BASE, "type": "strategy", "strategy": "ema", "settings": GRID}
    with pytest.raises(InvalidInput, match="needs a type"):
        parse_bot(document, where="bot")


def test_money_keeps_every_digit() -> None:
    config = parse_bot({**BASE, "settings": {**GRID, "lower": "80.123456789012345678"}}, where="bot")
    assert isinstance(config.ladder, GridSettings)
    assert str(config.ladder.lower) == "80.123456789012345678"


def test_the_schema_file_is_what_the_parser_knows() -> None:
    stored = msgspec.json.decode((Path("config/bots/schema") / "ladders.json").read_bytes())
    assert stored == settings_schema()


def test_every_setting_has_a_field() -> None:
    for kind, made in SETTINGS.items():
        assert set(FIELDS[kind]) == set(made.__struct_fields__)
