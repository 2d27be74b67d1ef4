"""Figures of closed trades, against plain walks and what other packages publish."""

from __future__ import annotations

import csv
import gzip
import json
import statistics
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtesting.metrics import kelly_fraction, quality_number
from backtesting.trade_statistics import (
    distribution,
    excursions,
    group_figures,
    longest_run,
    trade_columns,
)
from bots.orders import ClosedTrade, OrderReason, PositionSide
from data.timeframes import Timeframe
from tests.backtesting.series import ohlcv_of, recorded

HOUR_US = Timeframe.H1.us
START_US = 1_704_067_200_000_000


def trade(
    entry: int,
    leave: float,
    entry_price: str = "100",
    exit_price: str = "100",
    side: PositionSide = PositionSide.LONG,
    pnl: str = "0",
) -> ClosedTrade:
    """`entry` and `leave` in hours after the first candle's open."""
    return ClosedTrade(
        side=side,
        entry_at_us=START_US + entry * HOUR_US,
        entry_price=Decimal(entry_price),
        exit_at_us=START_US + round(leave * HOUR_US),
        exit_price=Decimal(exit_price),
        quantity=Decimal(1),
        fees=Decimal(0),
        pnl=Decimal(pnl),
        return_rate=Decimal(pnl) / 100,
        exit_reason=OrderReason.EXIT_SIGNAL,
    )


CANDLES = ohlcv_of(
    [
        (100.0, 110.0, 95.0, 100.0),
        (100.0, 105.0, 90.0, 100.0),
        (100.0, 130.0, 70.0, 100.0),
        (100.0, 101.0, 99.0, 100.0),
    ]
)


def test_excursions_come_from_the_candles_a_trade_was_held_through() -> None:
    trades = [
        trade(0, 2),  # left at the open of the wild candle: it does not count
        trade(0, 2, side=PositionSide.SHORT),
        trade(2, 2, exit_price="98"),  # entered and stopped within one candle
        trade(2, 2.5, exit_price="98"),  # the same with the finer candle's time
        trade(1, 4),  # closed at the end: the last candle was held wholly
    ]
    adverse, favourable = excursions(trades, CANDLES)
    assert adverse.tolist() == pytest.approx([-0.10, -0.10, -0.02, -0.02, -0.30])
    assert favourable.tolist() == pytest.approx([0.10, 0.10, 0.0, 0.0, 0.30])


def test_parts_of_one_position_have_excursions_of_their_own() -> None:
    adverse, favourable = excursions([trade(0, 1), trade(0, 3), trade(0, 3)], CANDLES)
    assert adverse.tolist() == pytest.approx([-0.05, -0.30, -0.30])
    assert favourable.tolist() == pytest.approx([0.10, 0.30, 0.30])
    assert [part.shape for part in excursions([], CANDLES)] == [(0,), (0,)]


def test_excursions_lie_within_those_another_program_recorded(shared_data: Path) -> None:
    """freqtrade keeps the lowest and highest price of each trade, of its last candle too."""
    folder = shared_data / "reference" / "backtests" / "freqtrade_2025"
    with gzip.open(folder / "backtest_result.json.gz", "rt") as file:
        (result,) = json.load(file)["strategy"].values()
    equal = 0
    for pair, name in (("BTC/USDT", "BTCUSDT"), ("ETH/USDT", "ETHUSDT")):
        ohlcv = recorded(folder / "candles" / f"{name}_5m.csv.gz", Timeframe.M5)
        rows: list[dict[str, Any]] = [row for row in result["trades"] if row["pair"] == pair]
        trades = [
            ClosedTrade(
                side=PositionSide.LONG,
                entry_at_us=row["open_timestamp"] * 1000,
                entry_price=Decimal(repr(row["open_rate"])),
                exit_at_us=row["close_timestamp"] * 1000,
                exit_price=Decimal(repr(row["close_rate"])),
                quantity=Decimal(1),
                fees=Decimal(0),
                pnl=Decimal(0),
                return_rate=Decimal(0),
                exit_reason=OrderReason.EXIT_SIGNAL,
            )
            for row in rows
        ]
        adverse, favourable = excursions(trades, ohlcv)
        for row, down, up in zip(rows, adverse.tolist(), favourable.tolist(), strict=True):
            lowest, highest = row["min_rate"] / row["open_rate"] - 1, row["max_rate"] / row["open_rate"] - 1
            assert down >= min(lowest, 0) - 1e-9
            assert up <= max(highest, 0) + 1e-9
            equal += abs(down - min(lowest, 0)) < 1e-9
    assert equal >= 45  # the lowest is seldom in the candle of a profitable exit


def test_streaks_are_the_longest_rows_of_neighbours() -> None:
    pnl = ["1", "2", "-1", "3", "4", "5", "0", "6"]
    columns = trade_columns([trade(row, row + 1, pnl=value) for row, value in enumerate(pnl)])
    winning = longest_run(columns, columns.pnl > 0)
    assert winning is not None
    assert (winning.trades, winning.pnl) == (3, 12.0)
    assert (winning.from_us, winning.to_us) == (START_US + 3 * HOUR_US, START_US + 6 * HOUR_US)
    losing = longest_run(columns, columns.pnl < 0)
    assert losing is not None
    assert losing.trades == 1
    assert longest_run(trade_columns([]), np.zeros(0, dtype=np.bool_)) is None


def test_groups_have_the_figures_of_their_trades_alone() -> None:
    trades = [
        trade(0, 2, pnl="10"),
        trade(2, 3, pnl="-4"),
        trade(3, 9, pnl="7", side=PositionSide.SHORT),
    ]
    columns = trade_columns(trades)
    long = group_figures(columns, columns.long)
    assert (long.trades, long.pnl, long.win_rate, long.profit_factor) == (2, 6.0, 0.5, 2.5)
    assert long.average_trade == pytest.approx(0.03)
    assert long.average_duration == 1.5 * 3600
    short = group_figures(columns, ~columns.long)
    assert (short.trades, short.win_rate) == (1, 1.0)
    assert np.isnan(short.profit_factor)
    assert np.isnan(group_figures(columns, np.zeros(3, dtype=np.bool_)).win_rate)


def test_every_trade_is_in_one_bin_and_an_edge_lies_at_zero() -> None:
    rates = np.random.default_rng(3).normal(0.002, 0.02, 500)
    edges, counts = distribution(rates)
    assert counts.sum() == 500
    assert np.abs(edges).min() < 1e-12
    assert 18 <= len(counts) <= 44
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        assert count == sum(low <= rate < high for rate in rates)
    assert distribution(np.zeros(3))[1].tolist() == [3]
    assert len(distribution(np.empty(0))[1]) == 0


@pytest.mark.parametrize("run", ["btcusdt_1h_sma_24_96_long_only", "goog_sma_10_30_long_short"])
def test_figures_of_published_trades_are_the_published_ones(shared_data: Path, run: str) -> None:
    folder = shared_data / "reference" / "backtests" / "backtesting_py"
    stats = json.loads((folder / f"{run}_stats.json").read_text())["stats"]
    with (folder / f"{run}_trades.csv").open() as file:
        rows = list(csv.DictReader(file))
    pnl = np.array([float(row["PnL"]) for row in rows])
    rates = np.array([float(row["ReturnPct"]) for row in rows])
    assert quality_number(pnl) == pytest.approx(stats["SQN"], rel=1e-9)
    assert quality_number(pnl) == pytest.approx(
        statistics.mean(pnl) / statistics.stdev(pnl) * len(pnl) ** 0.5
    )
    # That package's Kelly takes the shares by profit and the payoff by profit too.
    won = float((pnl > 0).mean())
    assert won == pytest.approx(stats["Win Rate [%]"] / 100)
    payoff = pnl[pnl > 0].mean() / -pnl[pnl < 0].mean()
    assert won - (1 - won) / payoff == pytest.approx(stats["Kelly Criterion"], rel=1e-9)
    wins, losses = rates[rates > 0], rates[rates < 0]
    assert kelly_fraction(rates) == pytest.approx(won - (1 - won) / (wins.mean() / -losses.mean()))
