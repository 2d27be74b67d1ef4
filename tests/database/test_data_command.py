from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner, Result

from app.commands.data import command
from data.errors import InvalidInput
from data.files.candle_files import read_candles, write_candles
from data.files.trade_columns import TradeColumns
from data.files.trade_files import read_trades, write_trades
from data.models import InstrumentVersion, Market, Ohlcv
from data.timeframes import Timeframe
from database.engine import libpq_url
from database.repositories.channel_repository import ChannelRepository
from tests.database.test_market_repository import instrument_of

pytestmark = pytest.mark.integration

START_US = 1_723_161_300_000_000
DAY_US = 86_400_000_000
MARKET = ("--exchange", "binance", "--symbol", "BTC-USDT")


class Desk:
    """Runs `candlewick data` against one database."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self._environment = {"DATABASE_URL": url, "CANDLEWICK_HOME": str(home)}

    def run(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(command, [str(item) for item in arguments], env=self._environment)

    def told(self, *arguments: str | Path) -> Any:
        """The one JSON document that the command prints."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def change(self, sql: str) -> None:
        with psycopg.connect(libpq_url(self.url)) as connection:
            connection.execute(sql)


@pytest.fixture
def desk(migrated_database: Callable[[], str], tmp_path: Path) -> Desk:
    return Desk(migrated_database(), tmp_path / "home")


def trades_of(first_id: int, last_id: int) -> TradeColumns:
    """A trade a second, the first at the start's second number `first_id`."""
    ids = np.arange(first_id, last_id + 1)
    return TradeColumns(
        trade_id=ids,
        traded_at_us=START_US + ids * 1_000_000 + 1,
        price=np.round(60_000 + np.sin(ids) * 10, 2),
        quantity=np.full(len(ids), 0.003),
        taker_side=np.where(ids % 2, 1, -1).astype(np.int8),
    )


def write(folder: Path, columns: TradeColumns) -> Path:
    path = folder / f"trades-{columns.trade_id[0]}.parquet"
    write_trades(path, columns)
    return path


def test_imported_trades_make_a_ledger_and_candles_that_verify(desk: Desk, tmp_path: Path) -> None:
    path = write(tmp_path, trades_of(0, 600))

    first = desk.told("import", "--trades", path, *MARKET)
    again = desk.told("import", "--trades", path, *MARKET)

    assert (first["trades"], first["new_trades"], first["runs"]) == (601, 601, 1)
    # 599 whole seconds, 9 whole minutes, and their 3m and 5m candles.
    assert first["candles_built"] == 599 + 9 + 2 + 1
    assert (again["new_trades"], again["candles_built"]) == (0, first["candles_built"])
    verified = desk.told("verify")
    assert verified["ok"]
    assert verified["markets"][0]["candles_compared"] == first["candles_built"]
    (covered,) = desk.told("coverage")["markets"]
    assert covered["minutes"] == {
        "complete": 9,
        "repaired": 0,
        "venue_down": 0,
        "missing": 0,
        "with_venue_candle": 0,
    }


def test_a_hole_is_shown_and_goes_when_its_trades_come(desk: Desk, tmp_path: Path) -> None:
    desk.told("import", "--trades", write(tmp_path, trades_of(0, 290)), *MARKET)
    desk.told("import", "--trades", write(tmp_path, trades_of(400, 900)), *MARKET)
    (row,) = desk.told("coverage")["markets"]
    assert row["minutes"]["missing"] == 3
    assert [span for span in row["spans"] if span["state"] == "missing"] == [
        {
            "from": "2024-08-08T23:59:00Z",
            "to": "2024-08-09T00:02:00Z",
            "state": "missing",
            "reason": "not_recorded",
        }
    ]
    assert [(run["first_id"], run["last_id"]) for run in row["runs"]] == [(0, 290), (400, 900)]

    desk.told("import", "--trades", write(tmp_path, trades_of(250, 450)), *MARKET)

    (row,) = desk.told("coverage")["markets"]
    assert (row["minutes"]["complete"], row["minutes"]["missing"], len(row["runs"])) == (14, 0, 1)
    assert desk.told("verify")["ok"]


def test_verify_lists_what_was_tampered_with(desk: Desk, tmp_path: Path) -> None:
    desk.told("import", "--trades", write(tmp_path, trades_of(0, 600)), *MARKET)
    desk.change("UPDATE candles SET high = high + 1 WHERE timeframe_s = 180")
    desk.change("DELETE FROM candles WHERE timeframe_s = 300")
    desk.change("DELETE FROM trades WHERE trade_id = 0")

    result = desk.run("verify", "--json")

    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)["markets"]
    assert row["id_faults"] == []  # two years old: retention may have taken the first trade
    kinds = {(found["timeframe"], found["field"]) for found in row["differences"]}
    assert kinds == {("3m", "high"), ("5m", "row")}

    desk.change("DELETE FROM trades WHERE trade_id = 300")
    result = desk.run("verify")
    assert result.exit_code == 1
    assert "ids 300 to 300 are absent" in result.output


@pytest.mark.parametrize(
    "change",
    [
        # Two trades of one second: the second's candle, and so every candle, stays what it was.
        "UPDATE trades SET quantity = 0.003 + CASE trade_id WHEN 65 THEN 0.001 ELSE -0.001 END "
        "WHERE trade_id IN (65, 66)",
        "UPDATE trades SET taker_side = -taker_side WHERE trade_id = 65",
        "UPDATE trades SET traded_at = traded_at + interval '1 microsecond' WHERE trade_id = 65",
    ],
)
def test_a_trade_altered_without_any_candle_changing_is_found(
    desk: Desk, tmp_path: Path, change: str
) -> None:
    columns = trades_of(0, 600)
    columns.traded_at_us[66] = columns.traded_at_us[65] + 1
    columns.price[66] = columns.price[65]
    desk.told("import", "--trades", write(tmp_path, columns), *MARKET)
    assert desk.told("verify")["ok"]
    desk.change(change)

    result = desk.run("verify", "--json")

    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)["markets"]
    assert (row["id_faults"], row["differences"]) == ([], [])
    (altered,) = row["altered_minutes"]
    assert altered["minute"] == "2024-08-08T23:56:00Z"
    assert altered["likely_cause"] == "a trade was altered behind the ledger"


def test_trades_deleted_and_imported_again_are_as_they_were_written(desk: Desk, tmp_path: Path) -> None:
    path = write(tmp_path, trades_of(0, 600))
    desk.told("import", "--trades", path, *MARKET)
    desk.change("DELETE FROM trades WHERE trade_id BETWEEN 70 AND 200")
    assert desk.run("verify").exit_code == 1

    assert desk.told("import", "--trades", path, *MARKET)["new_trades"] == 131

    assert desk.told("verify")["ok"]


def test_candles_from_a_file_stand_where_no_trades_were(desk: Desk, tmp_path: Path) -> None:
    desk.told("import", "--trades", write(tmp_path, trades_of(0, 300)), *MARKET)
    minutes = np.arange(10)
    prices = np.arange(100.0, 110.0)
    ohlcv = Ohlcv(
        timeframe=Timeframe.M1,
        opened_at_us=START_US + minutes * 60_000_000,
        open=prices,
        high=prices,
        low=prices,
        close=prices,
        volume=prices,
    )
    write_candles(tmp_path / "in.csv", ohlcv)

    told = desk.told("import", "--candles", tmp_path / "in.csv", *MARKET)
    assert (told["candles"], told["new_or_changed"], told["timeframe"]) == (10, 6, "1m")
    assert desk.told("import", "--candles", tmp_path / "in.csv", *MARKET)["new_or_changed"] == 0

    out = tmp_path / "out.parquet"
    assert desk.told("export", *MARKET, "--timeframe", "1m", "--out", out)["rows"] == 10
    exported = read_candles(out)
    assert exported.close[[0, 5, 9]].tolist() == [100.0, 105.0, 109.0]
    assert exported.close[1] > 50_000
    assert desk.told("verify")["ok"]


def test_exported_trades_are_those_imported(desk: Desk, tmp_path: Path) -> None:
    columns = trades_of(0, 300)
    desk.told("import", "--trades", write(tmp_path, columns), *MARKET)
    out = tmp_path / "out.csv"

    told = desk.told("export", *MARKET, "--trades", "--from", "2024-08-08T23:55:10", "--out", out)

    exported = read_trades(out).columns
    assert told["rows"] == 291
    np.testing.assert_array_equal(exported.trade_id, columns.trade_id[10:])
    np.testing.assert_array_equal(exported.traded_at_us, columns.traded_at_us[10:])
    np.testing.assert_array_equal(exported.price, columns.price[10:])


def test_markets_are_listed_with_what_is_stored_of_them(desk: Desk, tmp_path: Path) -> None:
    assert desk.told("markets") == {"markets": []}
    assert "the store is empty" in desk.run("markets").output
    desk.told("import", "--trades", write(tmp_path, trades_of(0, 300)), *MARKET)

    (row,) = desk.told("markets")["markets"]

    assert row["market"] == "binance:BTC-USDT"
    assert row["trades_since"] == "2024-08-08T23:55:00.000001Z"
    assert row["timeframes"]["1m"] == {"from": "2024-08-08T23:56:00Z", "to": "2024-08-08T23:59:00Z"}


def test_rules_are_told_as_they_were_at_a_time(desk: Desk) -> None:
    assert desk.told("instruments")["markets"] == []
    market = Market("binance", "BTC-USDT")

    async def store() -> None:
        writer = ChannelRepository(desk.url)
        await writer.save_instrument_versions(
            [
                InstrumentVersion(
                    instrument=instrument_of(market, tick), valid_from_us=START_US + days * DAY_US
                )
                for days, tick in ((0, "0.1"), (10, "0.01"), (20, "0.1"))
            ]
        )
        await writer.close()

    asyncio.run(store())

    (row,) = desk.told("instruments", "--symbol", "BTC-USDT")["markets"]
    assert [version["tick_size"] for version in row["versions"]] == ["0.1", "0.01", "0.1"]
    for at, valid_from, tick in (
        ("2020-01-01", "2024-08-08T23:55:00Z", "0.1"),
        ("2024-08-20", "2024-08-18T23:55:00Z", "0.01"),
        ("2030-01-01", "2024-08-28T23:55:00Z", "0.1"),
    ):
        (row,) = desk.told("instruments", "--venue", "binance", "--at", at)["markets"]
        assert [(version["valid_from"], version["tick_size"]) for version in row["versions"]] == [
            (valid_from, tick)
        ]
    result = desk.run("instruments", "--venue", "okx")
    assert isinstance(result.exception, InvalidInput)
    assert "expected a market whose rules are stored: binance:BTC-USDT" in str(result.exception)


def test_recorded_frames_make_the_venues_own_candles(desk: Desk, tmp_path: Path, shared_data: Path) -> None:
    for day in ("20240808", "20240809"):
        told = desk.told(
            "import", "--trades", shared_data / f"frames/binance/spot_btcusdt_{day}.log.gz", *MARKET
        )
        assert (told["malformed"], told["duplicates"]) == (0, 0)
    out = tmp_path / "out.csv"
    desk.told("export", *MARKET, "--timeframe", "1m", "--out", out)

    ours = read_candles(out)
    venue = read_candles(shared_data / "candles/binance_spot/BTCUSDT_1m_20240726_20240825.csv.gz")

    rows = np.isin(venue.opened_at_us, ours.opened_at_us)
    assert len(ours) == 10
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(venue, name)[rows])
    np.testing.assert_allclose(ours.volume, venue.volume[rows], rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import", *MARKET), "either --candles FILE or --trades FILE"),
        (("export", *MARKET, "--out", "x.csv"), "either --timeframe or --trades"),
        (("import", "--trades", "x.csv", "--exchange", "kraken", "--symbol", "BTC-USDT"), "'binance', 'okx'"),
        (("import", "--trades", "x.csv", "--exchange", "okx", "--symbol", "btc/usdt"), "BTC-USDT"),
        (("verify", "--from", "yesterday"), "no time; expected one like"),
        (("verify", "--timeframes", "1m,2m"), "'2m' is no time frame"),
    ],
)
def test_wrong_use_says_what_would_be_right(desk: Desk, arguments: tuple[str, ...], words: str) -> None:
    result = desk.run(*arguments)

    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import", "--trades", "absent.csv", *MARKET), "absent.csv; expected an existing file"),
        (("coverage", "--symbol", "X-Y"), "expected a recorded market: none yet"),
        (("export", *MARKET, "--trades", "--out", "x.csv"), "expected a market with stored trades"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    desk: Desk, arguments: tuple[str, ...], words: str
) -> None:
    result = desk.run(*arguments)

    assert isinstance(result.exception, InvalidInput)
    assert words in str(result.exception)
    assert desk.told("markets") == {"markets": []}
