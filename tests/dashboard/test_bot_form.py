"""The settings of a bot as a form: fields and document are two ways to say the same."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from app.strategy_shelf import StrategyShelf
from bots.bot_manager import strategies_in
from bots.config import as_document, parse_bot
from bots.ladders.settings import RebalanceSettings
from bots.ladders.worst_case import worst_case
from bots.risk.limits import Limits
from bots.risk.profiles import RiskBook
from dashboard.market_day import MarketDays
from dashboard.pages.bot_basket import parts_table, position_words, suggested_weights
from dashboard.pages.bot_check import limit_notes
from dashboard.pages.bot_form import (
    BOT_LIMITS,
    KINDS,
    Choices,
    check_shelf,
    document_of,
    limit_fields,
    parameter_fields,
    parameters_of,
    told,
    values_of,
)
from dashboard.pages.bot_settings import difference, versions_list
from dashboard.pages.bots import view_key
from dashboard.pages.bots_actions import stop_words
from dashboard.pages.bots_clone import free_name
from dashboard.pages.bots_sources import BotSources
from data.errors import InvalidInput, Problem
from data.models import Market
from strategies.versions import StrategyKind
from tests.dashboard.desk import STRATEGIES, build_desk
from tests.dashboard.fakes import BTC, NOW_US, FakeBots, bot_view, position
from tests.dashboard.fakes_safety import safety_desk

FOLLOWER = {
    "name": "trend",
    "venue": "okx",
    "symbol": "BTC-USDT",
    "strategy": "ema_crossover",
    "parameters": {"fast": 9},
    "capital": "10000.50",
    "timeframe": "5m",
    "limits": {"profile": "careful", "max_order_notional": "2000"},
}
DCA = {
    "name": "dca",
    "venue": "binance",
    "symbol": "ETH-USDT",
    "type": "dca",
    "capital": 10_000,
    "settings": {
        "base_notional": 500,
        "safety_notional": 500,
        "safety_orders": 3,
        "step": 0.01,
        "take_profit": 0.012,
    },
}
GRID = {
    "name": "grid",
    "venue": "binance",
    "symbol": "ETH-USDT",
    "type": "grid",
    "capital": 10_000,
    "settings": {"lower": 90, "upper": 110, "levels": 11, "order_notional": 100, "buy_at_start": True},
}


BASKET = {
    "name": "basket",
    "venue": "okx",
    "type": "rebalance",
    "capital": 10_000,
    "settings": {"weights": {"ETH-USDT": 0.4, "BTC-USDT": 0.125}, "threshold": 0.05, "every": "1w"},
}


@pytest.mark.parametrize("document", [FOLLOWER, DCA, GRID, BASKET], ids=["strategy", "dca", "grid", "basket"])
def test_a_bot_that_is_read_into_the_form_comes_out_of_it_unchanged(document: dict[str, Any]) -> None:
    config = parse_bot(document, where="bot")
    kind = str(document.get("type", "strategy"))
    again = document_of(kind, values_of(as_document(config)))
    assert parse_bot(again, where="bot") == config


def test_empty_fields_are_left_out() -> None:
    values = {"name": "x", "limits/max_drawdown": "", "account": "none", "limits/profile": "none"}
    assert document_of("strategy", {**values, "timeframe": "own", "parameters/fast": None}) == {"name": "x"}


def test_what_is_no_number_is_refused_at_its_field() -> None:
    values = values_of(as_document(parse_bot(DCA, where="bot")))
    values |= {"settings/step": "one percent", "capital": "-5"}
    with pytest.raises(InvalidInput) as refused:
        parse_bot(document_of("dca", values), where="bot")
    keys = list(values)
    at, elsewhere = told(refused.value.problems, keys)
    shown = dict(zip(keys, at, strict=True))
    assert shown["settings/step"] is not None
    assert shown["settings/step"].startswith('"one percent": must be a number')
    assert shown["capital"] is not None
    assert elsewhere == []


def test_a_problem_of_the_venue_stands_at_the_market_and_others_are_not_lost() -> None:
    problems = [
        Problem(where="bot", field="venue", value="missing", expected="give one"),
        Problem(where="bot", field="strategy.rules", value="1", expected="is odd"),
    ]
    at, elsewhere = told(problems, ["market", "name"])
    assert at == ["give one", None]
    assert [one.field for one in elsewhere] == ["strategy.rules"]


def test_a_name_from_a_browser_is_no_path() -> None:
    check_shelf(["ema_crossover", "breakout.py"], "ema_crossover.json", "strategy")
    for name in ("../secret", "/etc/passwd", ""):
        with pytest.raises(InvalidInput):
            check_shelf(["ema_crossover"], name, "strategy")


def test_parameters_of_a_strategy_show_their_default_and_bounds() -> None:
    fields = parameter_fields(
        parameters_of("ema_crossover", StrategyShelf(STRATEGIES).text), {"parameters/fast": "7"}
    )
    by_key = {one.key: one for one in fields}
    assert by_key["parameters/fast"].value == "7"
    assert by_key["parameters/slow"].placeholder == "26"
    assert "to" in by_key["parameters/slow"].help


def test_limits_of_the_profile_are_seen_in_the_empty_fields() -> None:
    book = RiskBook(profiles={"careful": Limits(max_order_notional=Decimal(2_000))})
    choices = Choices(strategies=[], markets=[BTC], book=book)
    fields = {one.key: one for one in limit_fields({"limits/profile": "careful"}, choices)}
    assert fields["limits/max_order_notional"].placeholder == "2000 by the profile"
    assert set(fields) == {"limits/profile", *(f"limits/{name}" for name in BOT_LIMITS)}


def test_an_order_that_a_limit_would_keep_back_is_told_before_the_start() -> None:
    limits = Limits(max_order_notional=Decimal(2_000))
    assert limit_notes(limits, Decimal(1_999), "an entry") == []
    assert "it would be kept back" in str(limit_notes(limits, Decimal(10_000), "an entry"))


def test_only_kinds_that_bots_accept_are_offered() -> None:
    assert KINDS == ("strategy", "grid", "dca", "pyramid", "rebalance")


def test_weights_are_read_as_people_write_them_and_a_wrong_one_is_named_at_their_field() -> None:
    values = {"name": "b", "venue": "binance", "capital": "1000", "settings/every": "1d"}
    document = document_of("rebalance", {**values, "settings/weights": "btc-usdt 50%, ETH-USDT: 0.3"})
    config = parse_bot(document, where="bot")
    assert isinstance(config.ladder, RebalanceSettings)
    assert config.ladder.weights == {"BTC-USDT": Decimal("0.5"), "ETH-USDT": Decimal("0.3")}
    wrong = document_of("rebalance", {**values, "settings/weights": "BTC-USDT 50%, ETH-USDT much"})
    with pytest.raises(InvalidInput) as caught:
        parse_bot(wrong, where="bot")
    at, elsewhere = told(caught.value.problems, [*values, "settings/weights"])
    assert at[-1] is not None
    assert at[-1].startswith('ETH-USDT "much": must be a weight')
    assert elsewhere == []


def test_a_basket_begins_with_well_known_symbols_of_one_venue() -> None:
    symbols = ["AVAX-USDT", "ETH-USDT", "BTC-USDT-PERP", "BTC-USDT"]
    markets = [Market("binance", "BTC-USDT"), *(Market("okx", symbol) for symbol in symbols)]
    assert suggested_weights(markets) == ("okx", "BTC-USDT 50%, ETH-USDT 30%, AVAX-USDT 10%")


def test_a_baskets_positions_stand_by_symbol_with_weight_and_share() -> None:
    held = msgspec.structs.replace(position(), symbol="ETH-USDT", quantity=Decimal(2), last_price=1_250.0)
    view = msgspec.structs.replace(
        bot_view("basket"),
        symbols=("BTC-USDT", "ETH-USDT"),
        positions=(held,),
        equity=Decimal(10_000),
        cash=Decimal(7_500),
    )
    weights = {"BTC-USDT": Decimal("0.5"), "ETH-USDT": Decimal("0.3")}
    text = str(parts_table(view, weights, {}))
    assert text.index("BTC-USDT") < text.index("ETH-USDT") < text.index("Cash")
    for words in ("'50.0%'", "'30.0%'", "'20.0%'", "'25.0%'", "'75.0%'", "'2,500.00'"):
        assert words in text
    assert position_words(view) == "▲ 1 symbol"


def test_the_worst_case_of_the_form_is_that_of_the_service() -> None:
    config = parse_bot(document_of("dca", values_of(as_document(parse_bot(DCA, where="bot")))), where="bot")
    original = parse_bot(DCA, where="bot")
    assert config.ladder == original.ladder
    assert worst_case(config.ladder, config.costs) == worst_case(original.ladder, original.costs)  # type: ignore[arg-type]


def test_the_difference_of_two_versions_names_each_setting_with_both_values() -> None:
    before = {"fee_bps": "10", "parameters": {"fast": 12.0}, "limits": {}}
    now = {"fee_bps": "5", "parameters": {"fast": 9.0}, "limits": {"max_drawdown": "0.2"}}
    assert difference(before, now) == [
        ("fee_bps", "10", "5"),
        ("limits.max_drawdown", "-", "0.2"),
        ("parameters.fast", "12.0", "9.0"),
    ]


def test_every_version_but_the_newest_has_a_way_back() -> None:
    bots = FakeBots(bot_view("trend"))
    bots.edit("trend", parse_bot({**FOLLOWER, "fee_bps": 5}, where="bot"), who="anna")
    shown = [str(one) for one in versions_list("trend", bots.versions("trend"))]
    assert len(shown) == 2
    assert "Go back to it" not in shown[0]
    assert "fee_bps" in shown[0]
    assert "Go back to it" in shown[1]


def test_another_tab_of_the_same_bot_is_the_same_view() -> None:
    assert view_key({"bot": "a", "tab": "fills"}) == view_key({"bot": "a"}) == "bot:a"
    assert view_key({"bot": "b"}) != view_key({"bot": "a"})
    assert view_key({"new": "grid"}) == "new:grid"
    assert view_key({}) == view_key({"bot": ""}) == "all"


def test_a_copy_gets_a_name_that_is_free() -> None:
    assert free_name("trend", {"trend"}) == "trend-2"
    assert free_name("trend", {"trend", "trend-2"}) == "trend-3"
    assert free_name("trend-2", {"trend-2", "trend-3"}) == "trend-4"


def test_stopping_several_bots_names_them_and_adds_their_money_up() -> None:
    bots = [bot_view("one", position=position(pnl="10")), bot_view("two", position=position(pnl="-2.5"))]
    shown = str(stop_words(bots, {"one": 1, "two": 1}))
    assert "2 of them hold positions" in shown
    assert "at +7.50 USDT now" in shown
    assert "without stop and target" in shown


def test_a_bot_may_follow_saved_strategies_and_their_parameters_are_known() -> None:
    desk = build_desk()
    document = json.loads(StrategyShelf(STRATEGIES).text("macd"))
    version = desk.lab.strategies.save(
        "mine", json.dumps(document | {"name": "mine"}), StrategyKind.JSON, who="tester"
    )
    sources = BotSources(
        bots=desk.bots,
        market=desk.market,
        days=MarketDays(desk.market, seconds=time.monotonic),
        risk=safety_desk(desk.bots).risk,
        shelf=StrategyShelf(STRATEGIES),
        saved=desk.lab.strategies,
        load_strategy=strategies_in(STRATEGIES),
        now_us=lambda: NOW_US,
        seconds=time.monotonic,
    )
    mine = f"mine@{version.version[:12]}"
    assert mine in sources.strategies()
    assert "macd" in sources.strategies()
    assert parameters_of(mine, sources.rules_of) == parameters_of("macd", sources.rules_of)
    assert parameters_of("breakout.py", sources.rules_of) == {}
