from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bots.lifecycle import BotState
from bots.paper_bot import PaperBot, candles_of
from bots.risk.desk_rules import DeskRules
from bots.risk.profiles import RiskBook, load_risk_book, parse_risk_book
from data.errors import InvalidInput
from tests.bots.bot_fakes import BTC, MINUTE, T0, ScriptedStrategy, bot_config, minutes
from tests.bots.test_paper_bot import CLOSES, no_finer, started

GOOD = {
    "profiles": {
        "careful": {"max_order_notional": 500.1, "max_drawdown": 0.1, "cool_down_minutes": 60},
        "bold": {},
    },
    "accounts": {"main": {"quote": "USDT", "capital": 50_000, "limits": {"max_symbol_notional": 9_000}}},
    "clusters": [["BTC-USDT", "ETH-USDT"]],
}
ENTRY = {T0 + 6 * MINUTE: "long_entry"}


def problems_of(document: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        parse_risk_book(document, where="risk.json")
    return {problem.field: str(problem) for problem in caught.value.problems}


def test_a_bots_own_limits_lie_over_its_profiles() -> None:
    book = parse_risk_book(GOOD, where="risk.json")
    limits = book.limits_of(bot_config(limits={"profile": "careful", "max_drawdown": 0.2}))
    assert limits.max_drawdown == Decimal("0.2")
    assert (limits.max_order_notional, limits.cool_down_minutes) == (Decimal("500.1"), 60)


def test_the_file_is_written_down_as_it_was_read() -> None:
    book = parse_risk_book(GOOD, where="risk.json")
    assert parse_risk_book(book.as_document(), where="stored") == parse_risk_book(GOOD, where="risk.json")


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"profile": {}}, "profile", "known keys are profiles, accounts, clusters"),
        ({"profiles": {"x": {"max_los": 1}}}, "profiles.x.max_los", "max_daily_loss"),
        ({"accounts": {"a": {"quote": "usdt", "capital": 1}}}, "accounts.a.quote", "in capitals"),
        ({"accounts": {"a": {"quote": "USDT", "capital": 0}}}, "accounts.a.capital", "above 0"),
        ({"accounts": {"a": 7}}, "accounts.a", "must be an object"),
        ({"clusters": [["BTC-USDT"]]}, "clusters", "lists of symbols"),
    ],
)
def test_every_bad_value_names_its_field(change: dict[str, Any], field: str, said: str) -> None:
    assert said in problems_of({**GOOD, **change})[field]


def test_an_unknown_profile_or_account_names_those_there_are() -> None:
    book = parse_risk_book(GOOD, where="risk.json")
    with pytest.raises(InvalidInput, match="did you mean careful"):
        book.limits_of(bot_config(limits={"profile": "carefull"}))
    with pytest.raises(InvalidInput, match="the risk file has main"):
        book.account_of(bot_config(account="other"))
    with pytest.raises(InvalidInput, match="is in USDT"):
        book.account_of(bot_config(account="main", symbol="ETH-BTC"))


def write(path: Path, document: object, age_s: int) -> None:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    os.utime(path, (1_000_000 + age_s, 1_000_000 + age_s))


def test_limits_change_while_bots_run_and_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "risk.json"
    rules = DeskRules(path)
    bot = started(ScriptedStrategy(ENTRY), minutes(CLOSES).rows(0, 5), limits={"profile": "careful"})

    rules.refresh()
    rules.apply(bot)
    assert "the risk file has none" in bot.limits_problem
    write(path, GOOD, 1)
    assert rules.refresh()
    rules.apply(bot)
    assert (bot.limits_problem, bot.limits.max_order_notional) == ("", Decimal("500.1"))
    write(path, "{", 2)
    assert not rules.refresh()
    rules.apply(bot)
    assert bot.limits.max_order_notional == Decimal("500.1")
    write(path, {"profiles": {"careful": {"max_order_notional": 20_000}}}, 3)
    assert rules.refresh()
    rules.apply(bot)
    assert ordered(bot)


def ordered(bot: PaperBot) -> bool:
    for candle in candles_of(minutes(CLOSES).rows(5, 8), BTC):
        bot.take(candle, no_finer)
    return bool(bot.step(0).fills)


def test_without_limits_to_be_found_a_bot_enters_nothing() -> None:
    bot = started(ScriptedStrategy(ENTRY), minutes(CLOSES).rows(0, 5))
    bot.limits_problem = "its profile is gone"
    assert not ordered(bot)


def test_a_limit_keeps_an_entry_back_and_is_stored_with_the_decision() -> None:
    script = {**ENTRY, T0 + 7 * MINUTE: "long_entry"}
    bot = started(ScriptedStrategy(script), minutes(CLOSES).rows(0, 5), limits={"max_order_notional": 9_999})
    for candle in candles_of(minutes(CLOSES).rows(5, 8), BTC):
        bot.take(candle, no_finer)
    step = bot.step(0)
    assert bot.state is BotState.RUNNING
    assert not step.orders
    assert [made.gate.value for made in step.decisions] == ["none", "limit", "limit"]
    assert [one.violation for one in step.violations] == [
        violation for made in step.decisions for violation in made.violations
    ]
    assert step.violations[0].at_us == T0 + 7 * MINUTE
    assert "an order of 10000, max_order_notional is 9999" in step.decisions[1].outcome


def test_there_are_no_limits_without_a_file(tmp_path: Path) -> None:
    assert load_risk_book(tmp_path / "risk.json") == RiskBook()


def test_the_example_that_comes_with_the_product_can_be_used() -> None:
    book = load_risk_book(Path(__file__).resolve().parents[3] / "config" / "risk.json")
    assert {"careful", "bold"} <= book.profiles.keys()
