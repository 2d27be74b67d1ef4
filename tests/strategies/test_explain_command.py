from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import cli
from app.commands.strategy_decisions import decision_document, decision_text
from bots.config import as_document, parse_bot
from bots.lifecycle import BotState
from bots.stores import BotEvent, BotStep, DecisionMade
from bots.views import DecisionView
from data.errors import InvalidInput
from data.models import Market
from data.timeframes import Timeframe, to_us
from database.repositories.bot_repository import BotRepository
from strategies.loader import parse_strategy
from tests.strategies.documents import EXAMPLE
from tests.strategies.series import candles_of, random_walk

# Proven on a year of candles in a small part of the time that a proof may take.
TREND: dict[str, Any] = {
    "name": "trend",
    "timeframe": "5m",
    "indicators": {"fast": {"type": "ema", "period": 12}, "slow": {"type": "ema", "period": 26}},
    "long": {"entry": {"crosses_above": ["fast", "slow"]}, "exit": {"crosses_below": ["fast", "slow"]}},
}
RECORD = {
    "values": {"rsi": 31.4, "close": 61_250.0, "trend": 60_900.0},
    "rules": {"long.entry": [True, "all", [True, "lt", "rsi", 35], [True, "gt", "close", "trend"]]},
}


def decision(record: dict[str, object], *, outcome: str = "", long_entry: bool = False) -> DecisionView:
    return DecisionView(
        bot="trend",
        strategy_version="abc",
        opened_at_us=to_us(datetime(2024, 8, 8, 12, tzinfo=UTC)),
        close=61_250.0,
        long_entry=long_entry,
        long_exit=False,
        short_entry=False,
        short_exit=False,
        outcome=outcome,
        record=record,
    )


def test_a_decision_reads_as_sentences_and_what_came_of_it() -> None:
    made = decision(RECORD, outcome="entry ordered", long_entry=True)
    assert decision_text(decision_document(made)).splitlines() == [
        "trend, candle 2024-08-08T12:00:00Z, close 61,250.0",
        "  long.entry: rsi 31.4 < 35 yes · close 61,250 > trend 60,900 yes -> entry",
        "  said: long entry",
        "  outcome: entry ordered",
    ]


def test_a_decision_of_python_code_shows_what_it_had_seen() -> None:
    text = decision_text(decision_document(decision({"values": {"upper": 61_300.5}})))
    assert "decided in Python, having seen upper 61300.5" in text
    assert "said: nothing" in text
    assert "outcome: no signal, nothing to do" in text


@pytest.mark.integration
def test_the_command_tells_what_the_bot_stored(migrated_database: Callable[[], str], tmp_path: Path) -> None:
    url = migrated_database()
    document = {
        "name": "trend",
        "venue": "binance",
        "symbol": "BTC-USDT",
        "strategy": "x.json",
        "capital": "9",
    }
    stream = parse_strategy(EXAMPLE, "f").stream()
    made = [stream.update(candle) for candle in candles_of(random_walk(40, seed=2))]
    repository = BotRepository(url)
    event = BotEvent(at_us=1, who="anna", what="created", why="")
    config = as_document(parse_bot(document, where="test"))
    repository.create(config, name="trend", source="", desired=BotState.CREATED, health="", event=event)
    (wish,) = repository.wishes()
    step = BotStep(
        bot_id=wish.bot_id,
        step=1,
        at_us=2,
        state=BotState.RUNNING,
        health="",
        market=Market("binance", "BTC-USDT"),
        timeframe=Timeframe.M5,
        strategy="ema",
        strategy_version=made[0].version,
        decisions=[DecisionMade(decision=one, outcome="") for one in made[10:]],
    )
    assert repository.commit([step])
    repository.close()

    def run(at: str, *more: str) -> Result:
        environment = {"DATABASE_URL": url, "CANDLEWICK_HOME": str(tmp_path / "home")}
        arguments = ["strategy", "explain", "--bot", "trend", "--at", at, *more]
        return CliRunner(env=environment).invoke(cli, arguments)

    found = run("2024-01-01T02:33:20", "--json")
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["opened_at"] == "2024-01-01T02:30:00Z"
    assert told["record"] == made[30].record
    assert set(told["rules"]) == {"long.entry", "long.exit"}
    assert "long.entry: fast" in run("2024-01-01T02:33:20").stdout
    missing = run("2024-01-01T00:12:00")
    assert isinstance(missing.exception, InvalidInput)
    assert "the nearest are 2024-01-01T00:50:00Z" in str(missing.exception)
    late = run("2024-01-03T00:00:00")
    assert "the nearest are 2024-01-01T03:15:00Z" in str(late.exception)


@pytest.mark.integration
def test_versions_are_kept_from_command_to_command(new_database: Callable[[], str], tmp_path: Path) -> None:
    environment = {"DATABASE_URL": new_database(), "CANDLEWICK_HOME": str(tmp_path / "home")}
    file = tmp_path / "trend.json"

    def told(*arguments: str) -> dict[str, Any]:
        result = CliRunner(env=environment).invoke(cli, ["strategy", *arguments, "--json"])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    for timeframe in ("15m", "5m"):
        file.write_text(json.dumps({**TREND, "timeframe": timeframe}))
        saved = told("save", str(file), "--why", f"on {timeframe}")
    name = TREND["name"]
    assert (saved["number"], saved["why"]) == (2, "on 5m")
    assert [one["number"] for one in told("versions", name)["versions"]] == [2, 1]
    assert told("diff", f"{name}@1", name)["differences"] == [
        {"path": "timeframe", "before": "15m", "after": "5m"}
    ]
    assert told("clone", f"{name}@1", "copy")["name"] == "copy"
    assert told("rename", "copy", "twin")["name"] == "twin"
    assert told("delete", "twin") == {"archived": "twin"}
    (listed,) = told("list", "--saved")["strategies"]
    assert listed["badge"]["status"] == "proven"
    assert json.loads(str(told("show", f"{name}@2")["content"])) == TREND
    assert listed["versions"] == 2
