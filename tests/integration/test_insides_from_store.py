"""What the real store holds of a candle's inside decides between stop and target, where it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from app.commands import backtest, data, strategy
from app.job_kinds.backtest import run as run_job
from app.job_kinds.context import RUNS, JobContext
from config.settings import load_settings
from data.errors import InvalidInput
from data.files.candle_files import write_candles
from data.files.trade_files import write_trades
from data.models import Market, Ohlcv
from data.timeframes import Timeframe
from database.engine import libpq_url
from database.repositories.candle_repository import CandleRepository
from jobs.arguments import BacktestArguments
from jobs.model import JobProgress
from jobs.progress import ProgressTeller
from tests.bots.bot_fakes import T0
from tests.bots.trade_fakes import candles_from, walking_trades

pytestmark = pytest.mark.integration

MARKET = Market("binance", "BTC-USDT")
START_US = T0 // Timeframe.H1.us * Timeframe.H1.us
TRADES = walking_trades(5, START_US, Timeframe.M1, 600, step=0.1)
STRATEGY: dict[str, Any] = {
    "name": "always-in",
    "timeframe": "5m",
    "indicators": {},
    "long": {"entry": {"gt": ["close", 0]}, "exit": {"lt": ["close", 0]}},
    "protection": {"stop_loss": 0.002, "take_profit": 0.002},
    "sizing": {"type": "fraction_of_equity", "value": 1.0},
}


class Desk:
    """Runs commands against one database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._environment = {"DATABASE_URL": url, "CANDLEWICK_HOME": str(folder / "home")}
        self._strategy = folder / "always-in.json"
        self._strategy.write_text(json.dumps(STRATEGY))

    def backtest(self, *arguments: str | Path, named: str | None = None) -> Any:
        asked = self._strategy if named is None else named
        return self._told(backtest.command, "--strategy", asked, "--no-rounding", *arguments)

    def saved(self, document: dict[str, Any]) -> str:
        """The hash of a strategy that is kept in the store from now on."""
        self._strategy.write_text(json.dumps(document))
        kept: str = self._told(strategy.command, "save", self._strategy)["version"]
        return kept

    def of_store(self) -> Any:
        return self.backtest("--venue", "binance", "--symbol", "BTC-USDT", "--allow-missing")

    def store(self, trades: Path) -> Ohlcv:
        """The five-minute candles that the store has made of these trades."""
        market = ("--exchange", "binance", "--symbol", "BTC-USDT")
        self._told(data.command, "import", "--trades", trades, *market)
        with closing(CandleRepository(self.url)) as repository:
            return repository.candles(MARKET, Timeframe.M5)

    def change(self, sql: str) -> None:
        with psycopg.connect(libpq_url(self.url)) as connection:
            connection.execute(sql)

    def invoke(self, command: Any, *arguments: str | Path) -> Result:
        return CliRunner().invoke(command, [str(item) for item in arguments], env=self._environment)

    def _told(self, command: Any, *arguments: str | Path) -> Any:
        result = self.invoke(command, *arguments, "--json")
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)


@pytest.fixture
def desk(migrated_database: Callable[[], str], tmp_path: Path) -> Desk:
    return Desk(migrated_database(), tmp_path)


def test_stored_trades_decide_as_those_of_a_file_and_a_torn_candle_is_left_to_smaller_ones(
    desk: Desk, tmp_path: Path
) -> None:
    trade_file, candle_file = tmp_path / "trades.csv", tmp_path / "candles.csv"
    write_trades(trade_file, TRADES)
    # Without the first and the last candle, of which nobody knows whether the file has all trades.
    write_candles(candle_file, desk.store(trade_file))
    blind = desk.backtest("--candles", candle_file)
    of_file = desk.backtest("--candles", candle_file, "--finer", trade_file)
    assert blind["metrics"]["ambiguous_exits"] > 10
    assert blind["ambiguity"]["best_case_return"] > blind["ambiguity"]["worst_case_return"]
    assert blind["equity_best_case"][-1]["equity"] == blind["ambiguity"]["best_case_equity"]
    assert of_file["metrics"]["ambiguous_exits"] == 0
    assert "equity_best_case" not in of_file

    of_store = desk.of_store()
    assert of_store["trades"] == of_file["trades"]
    for name in ("finer_hash", "finer_trades", "finer_candles", "finer_timeframe", "result_hash"):
        assert of_store["manifest"][name] == of_file["manifest"][name]
    assert of_store["manifest"]["finer_trades"] > 100
    assert of_store["manifest"]["finer_candles"] == 0

    with closing(CandleRepository(desk.url)) as repository:
        spans = [(START_US, START_US + 60_000_000), (START_US + 180_000_000, START_US + 240_000_000)]
        found = repository.trades_within(MARKET, spans)
        parts = [repository.trades(MARKET, start_us=start, end_us=end) for start, end in spans]
        assert found.trade_id.tolist() == [number for part in parts for number in part.trade_id.tolist()]
        assert len(repository.trades_within(MARKET, [])) == 0

    # One trade of each candle is lost: the seconds, which were built when all were there, decide instead.
    desk.change("DELETE FROM trades WHERE trade_id % 10 = 0")
    by_seconds = desk.of_store()["manifest"]
    assert by_seconds["finer_candles"] > 100
    assert by_seconds["finer_timeframe"] == "1s"
    assert by_seconds["finer_trades"] < of_store["manifest"]["finer_trades"]

    desk.change("DELETE FROM trades; DELETE FROM second_candles; DELETE FROM candles WHERE timeframe_s < 300")
    nothing = desk.of_store()
    assert nothing["trades"] == blind["trades"]
    assert nothing["manifest"]["finer_hash"] is None


def test_a_manifest_that_names_a_saved_version_is_repeated_with_that_version(
    desk: Desk, tmp_path: Path
) -> None:
    candle_file = tmp_path / "candles.csv"
    write_candles(candle_file, candles_from(TRADES, Timeframe.M5))
    first = desk.saved({**STRATEGY, "protection": {"stop_loss": 0.004, "take_profit": 0.002}})
    desk.saved({**STRATEGY, "protection": {"stop_loss": 0.002, "take_profit": 0.004}})
    run = desk.backtest("--candles", candle_file, named=f"always-in@{first}")
    assert run["manifest"]["source"]["strategy"] == f"always-in@{first}"
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(run["manifest"]))

    again = desk.invoke(backtest.command, "--manifest", path)
    assert again.exit_code == 0
    assert f"the same result: {run['manifest']['result_hash']}" in again.stderr

    newest = desk.backtest("--candles", candle_file, named="always-in@2")
    assert newest["manifest"]["result_hash"] != run["manifest"]["result_hash"]
    unknown = desk.invoke(backtest.command, "--strategy", "always-in@beef00", "--candles", candle_file)
    assert isinstance(unknown.exception, InvalidInput)
    assert "versions of always-in are 1" in str(unknown.exception)


def test_a_job_is_decided_as_the_command_is_and_its_manifest_is_repeated(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade_file = tmp_path / "trades.csv"
    write_trades(trade_file, TRADES)
    desk.store(trade_file)
    version = desk.saved(STRATEGY)
    by_command = desk.of_store()
    monkeypatch.setenv("DATABASE_URL", desk.url)
    monkeypatch.setenv("CANDLEWICK_HOME", str(tmp_path / "home"))
    settings = load_settings()
    told: list[JobProgress] = []
    teller = ProgressTeller(publish=told.append, store=told.append, now_us=lambda: T0)
    context = JobContext(settings=settings, database_url=desk.url, tell=teller, now_us=lambda: T0)
    arguments = BacktestArguments(
        strategy="always-in",
        venue="binance",
        symbols=("BTC-USDT",),
        rounding=False,
        allow_missing=True,
    )
    made = run_job(arguments, context)
    path = context.folder(RUNS) / made.reference / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["source"]["strategy"] == f"always-in@{version}"
    assert manifest["finer_trades"] > 100
    assert manifest["result_hash"] == by_command["manifest"]["result_hash"]
    assert desk.invoke(backtest.command, "--manifest", path).exit_code == 0
