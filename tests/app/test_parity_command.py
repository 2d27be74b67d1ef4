"""`candlewick parity` and the settings' commands on a real store, with divergences planted in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from click.testing import CliRunner, Result

from app.commands.bots import command as bots_command
from app.commands.parity import command as parity_command
from bots.bot_manager import strategies_in
from bots.bot_runner import BotRunner
from bots.config import as_document, parse_bot
from bots.lifecycle import BotState
from bots.paper_bot import candles_of
from bots.stores import BotEvent
from data.errors import InvalidInput
from data.models import Market, Ohlcv
from data.stores import MarketBatch
from data.timeframes import Timeframe, to_datetime
from database.repositories.bot_repository import BotRepository
from database.repositories.candle_repository import CandleRepository
from database.repositories.market_repository import MarketRepository
from tests.strategies.series import MONDAY_US, random_walk

pytestmark = pytest.mark.integration

BTC = Market("binance", "BTC-USDT")
DAY_US = Timeframe.D1.us
BUSY: dict[str, Any] = {
    "name": "busy",
    "timeframe": "5m",
    "parameters": {"fast": {"default": 3, "min": 2, "max": 10, "step": 1}},
    "indicators": {
        "fast": {"type": "ema", "period": {"parameter": "fast"}},
        "slow": {"type": "ema", "period": 9},
    },
    "long": {"entry": {"crosses_above": ["fast", "slow"]}, "exit": {"crosses_below": ["fast", "slow"]}},
    "protection": {"stop_loss": 0.02, "take_profit": 0.03},
}


class Site:
    """One installation in which a bot has traded for a day."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url
        self.strategies = home / "strategies"
        self.strategies.mkdir(parents=True)
        (self.strategies / "busy.json").write_text(json.dumps(BUSY))
        ohlcv = random_walk(3 * 288, seed=8)
        self.day_us = MONDAY_US + 2 * DAY_US
        self.save(ohlcv.rows(0, 2 * 288))
        self.live(ohlcv.rows(2 * 288, 3 * 288))

    def save(self, ohlcv: Ohlcv) -> None:
        async def save() -> None:
            repository = MarketRepository(self.url)
            try:
                await repository.save(MarketBatch(trades=(), candles=candles_of(ohlcv, BTC), runs=()))
            finally:
                await repository.close()

        asyncio.run(save())

    def live(self, ohlcv: Ohlcv) -> None:
        document = {
            "name": "trend",
            "venue": "binance",
            "symbol": "BTC-USDT",
            "strategy": "busy",
            "capital": 900,
        }
        config = parse_bot(document, where="test")
        with closing(BotRepository(self.url)) as store, closing(CandleRepository(self.url)) as candles:
            event = BotEvent(at_us=1, who="test", what="created")
            assert store.create(
                as_document(config), name="trend", source="", desired=BotState.RUNNING, health="", event=event
            )

            async def serve() -> None:
                stop = asyncio.Event()
                runner = BotRunner(
                    store,
                    candles,
                    load_strategy=strategies_in(self.strategies),
                    clock=lambda: self.day_us + 900 * DAY_US,
                    poll_s=0.02,
                )
                running = asyncio.create_task(runner.run(stop))

                async def reaches(at_us: int) -> None:
                    async with asyncio.timeout(120):
                        while True:
                            view = await asyncio.to_thread(store.view, "trend")
                            assert view is not None
                            assert view.state is not BotState.FAILED, view.health
                            if view.last_candle_us == at_us:
                                return
                            await asyncio.sleep(0.02)

                await reaches(int(ohlcv.opened_at_us[0]) - Timeframe.M5.us)
                await asyncio.to_thread(self.save, ohlcv)
                await reaches(int(ohlcv.opened_at_us[-1]))
                stop.set()
                await running

            with structlog.testing.capture_logs():
                asyncio.run(serve())

    def run(self, command: Any, *arguments: str) -> Result:
        environment = {
            "CANDLEWICK_HOME": str(self.home),
            "CANDLEWICK_STRATEGIES": str(self.strategies),
            "DATABASE_URL": self.url,
        }
        return CliRunner().invoke(command, list(arguments), env=environment)

    def parity(self, *more: str) -> dict[str, Any]:
        found = self.run(parity_command, "--bot", "trend", "--day", "2024-01-03", "--json", *more)
        assert found.exit_code in (0, 1), found.output
        document: dict[str, Any] = json.loads(found.stdout)
        assert (found.exit_code == 0) is document["identical"]
        return document

    def change(self, sql: str, *values: object) -> None:
        with psycopg.connect(self.url.replace("+psycopg", "")) as connection:
            connection.execute(sql, values)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, migrated_database: Callable[[], str]) -> Site:
    return Site(tmp_path_factory.mktemp("parity") / "home", migrated_database())


def causes(document: dict[str, Any]) -> set[str]:
    return {one["cause"] for one in document["differences"]}


def test_a_day_of_the_runner_is_identical(site: Site) -> None:
    document = site.parity()
    assert document["differences"] == []
    assert (document["candles"], document["decisions"]) == (288, 288)
    assert document["fills"] > 5
    newest = site.run(parity_command, "--bot", "trend")
    assert newest.exit_code == 0, newest.output
    assert "identical: the replay gave the same signals and the same fills" in newest.output


def test_another_parameter_fee_and_slippage_are_named(site: Site) -> None:
    assert causes(site.parity("--param", "fast=6")) == {"changed parameter"}
    assert causes(site.parity("--fee-bps", "4", "--maker-fee-bps", "4")) == {"another fee"}
    assert "another slippage" in causes(site.parity("--slippage-bps", "20"))


def test_a_fee_that_was_changed_in_the_bots_past_is_named(site: Site) -> None:
    change = "UPDATE bot_checkpoints SET config = jsonb_set(config, '{fee_bps}', %s)"
    site.change(change, '"3"')
    try:
        document = site.parity()
    finally:
        site.change(change, '"10"')
    assert "another fee" in causes(document)
    assert any("the bot paid 10 bps, the replay 3 bps" in one["detail"] for one in document["differences"])


def test_a_candle_that_a_late_trade_changed_is_named_with_the_trade(site: Site) -> None:
    at = to_datetime(site.day_us + 100 * Timeframe.M5.us)
    change = (
        "UPDATE candles SET high = high * %s, close = close * %s WHERE opened_at = %s AND timeframe_s = 300"
    )
    site.change(change, 1.05, 1.05, at)
    site.change(
        "INSERT INTO trade_repairs (market_id, first_id, last_id, start_at, end_at, reason, repaired_at)"
        " SELECT market_id, 41, 41, %s, %s, 'connection lost', now() FROM markets WHERE symbol = 'BTC-USDT'",
        at,
        at,
    )
    try:
        document = site.parity()
    finally:
        site.change("DELETE FROM trade_repairs")
        site.change(change, 1 / 1.05, 1 / 1.05, at)
    assert causes(document) == {"missing trade"}
    assert any(
        "trades 41 to 41 were missing (connection lost)" in one["detail"] for one in document["differences"]
    )


def test_a_candle_that_came_after_the_bot_had_gone_on_is_named(site: Site) -> None:
    at = to_datetime(site.day_us + 200 * Timeframe.M5.us)
    site.change("UPDATE decisions SET opened_at = opened_at - interval '3 years' WHERE opened_at = %s", at)
    try:
        document = site.parity()
    finally:
        site.change(
            "UPDATE decisions SET opened_at = opened_at + interval '3 years' WHERE opened_at < '2022-01-01'"
        )
    assert causes(document) == {"late candle"}


def test_a_day_without_the_bot_and_an_unknown_bot_are_bad_input(site: Site) -> None:
    gone = site.run(parity_command, "--bot", "trend", "--day", "2023-01-01")
    assert isinstance(gone.exception, InvalidInput)
    unknown = site.run(parity_command, "--bot", "trendy")
    assert "did you mean trend" in str(unknown.exception)


def test_settings_are_edited_listed_and_taken_back_from_the_command_line(site: Site) -> None:
    edited = site.run(bots_command, "clone", "trend", "second", "--set", "capital=50", "--json")
    assert json.loads(edited.stdout)["bot"]["capital"] == 50
    changed = site.run(
        bots_command, "edit", "second", "--set", "fee_bps=2.5", "--set", "parameters.fast=4", "--json"
    )
    assert json.loads(changed.stdout)["version"]["config"]["parameters"] == {"fast": 4.0}
    refused = site.run(bots_command, "edit", "second", "--set", "parameters.fast=400")
    assert isinstance(refused.exception, InvalidInput)
    assert "fast" in str(refused.exception)
    back = site.run(bots_command, "revert", "second")
    assert back.exit_code == 0, back.output
    assert "back to version 1" in back.stdout
    listed = site.run(bots_command, "versions", "second", "--json")
    versions = json.loads(listed.stdout)["versions"]
    assert [one["config"]["fee_bps"] for one in versions] == ["10", "2.5", "10"]
    shown = site.run(bots_command, "versions", "second")
    assert 'fee_bps "10" -> "2.5"' in shown.stdout
