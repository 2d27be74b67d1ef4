"""A bot's day and its replay: identical for every strategy, and what was planted is found and named."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.parity_day import OtherTerms, ParityReport, check_parity
from bots.config import BotConfig
from bots.definitions import definition_of, strategy_of
from bots.entry_gates import EntryWish
from bots.gates import PASSED, Gate, GateVerdict
from bots.lifecycle import BotState
from bots.orders import OrderReason
from bots.parity import Cause, DifferenceKind, Evidence
from config.settings import PROJECT
from data.errors import InvalidInput
from data.models import Ohlcv
from data.timeframes import Timeframe, floor_to
from strategies.base import Strategy
from strategies.higher_timeframe import fold
from strategies.loader import load_strategy, parse_strategy
from tests.backtesting.bot_life import BotLife
from tests.bots.bot_fakes import BTC, MemoryCandles
from tests.bots.trade_fakes import MemoryTrades, candles_from, walking_trades
from tests.strategies.series import MONDAY_US, candle_series, random_walk, recorded_candles
from tests.strategies.test_rules import CONDITIONS, document

DAY_US = Timeframe.D1.us
TEMPLATES = sorted(path for path in (PROJECT / "config/strategies").glob("*.json") if path.stem != "schema")
BUSY: dict[str, Any] = {
    "name": "busy",
    "timeframe": "5m",
    "parameters": {"fast": {"default": 3, "min": 2, "max": 10, "step": 1}},
    "indicators": {
        "fast": {"type": "ema", "period": {"parameter": "fast"}},
        "slow": {"type": "ema", "period": 9},
    },
    "long": {"entry": {"crosses_above": ["fast", "slow"]}, "exit": {"crosses_below": ["fast", "slow"]}},
    "short": {"entry": {"crosses_below": ["fast", "slow"]}, "exit": {"crosses_above": ["fast", "slow"]}},
    "protection": {"stop_loss": 0.02, "take_profit": 0.03, "trailing_stop": 0.025},
}


def no_python(_: BotConfig) -> Strategy:
    raise AssertionError("the strategy's text is kept with the bot")


def lived(strategy: Strategy, ohlcv: Ohlcv, day_us: int, **config: Any) -> BotLife:
    """A bot that warmed up before the day and traded on all of it."""
    first = int(ohlcv.opened_at_us.searchsorted(day_us))
    life = BotLife(strategy, ohlcv.rows(0, max(1, first)), **{"fee_bps": 7, "slippage_bps": 2, **config})
    life.live(ohlcv.rows(max(1, first), len(ohlcv)))
    return life


def parity(life: BotLife, stored: Ohlcv, day_us: int, **given: Any) -> ParityReport:
    return check_parity(
        life.store,
        MemoryCandles((BTC, stored)),
        "trend",
        start_us=day_us,
        end_us=day_us + DAY_US,
        load_strategy=given.pop("load_strategy", no_python),
        **given,
    )


def day_of(ohlcv: Ohlcv) -> int:
    """The newest whole day."""
    return floor_to(int(ohlcv.opened_at_us[-1]) + ohlcv.timeframe.us, Timeframe.D1) - DAY_US


@pytest.fixture(scope="module")
def series(shared_data: Path) -> dict[str, Ohlcv]:
    spot, swap = shared_data / "candles/binance_spot", shared_data / "candles/okx_swap"
    minutes = recorded_candles(spot / "BTCUSDT_1m_20240726_20240825.csv.gz", Timeframe.M1, 4 * 1440)
    first_midnight = int(np.flatnonzero(minutes.opened_at_us % DAY_US == 0)[1])
    return {
        "minutes": minutes.rows(first_midnight - 700, first_midnight + 1440),
        "xrp": recorded_candles(spot / "XRPUSDT_5m_2024.csv.gz", Timeframe.M5, 288 * 5),
        "swap": recorded_candles(swap / "BTC-USDT-SWAP_5m_20220501_20221231.csv.gz", Timeframe.M5, 288 * 5),
        "walk": random_walk(288 * 5, seed=5),
        "holes": random_walk(288 * 5, seed=6, gaps=0.1),
    }


@pytest.mark.parametrize("name", ["minutes", "xrp", "swap", "walk", "holes"])
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_templates_day_is_replayed_exactly(path: Path, name: str, series: dict[str, Ohlcv]) -> None:
    ohlcv = series[name]
    day_us = day_of(ohlcv)
    report = parity(lived(load_strategy(path, {}, ohlcv.timeframe), ohlcv, day_us), ohlcv, day_us)
    assert report.differences == ()
    assert report.candles == report.decisions > 200
    assert report.not_replayed == 0


def test_the_days_of_templates_are_not_empty(series: dict[str, Ohlcv]) -> None:
    fills = signals = 0
    for ohlcv in (series["walk"], series["xrp"]):
        for path in TEMPLATES:
            strategy = load_strategy(path, {}, ohlcv.timeframe)
            report = parity(lived(strategy, ohlcv, day_of(ohlcv)), ohlcv, day_of(ohlcv))
            fills += report.fills
            signals += report.signals
    assert fills > 40
    assert signals > 40


@settings(max_examples=40, deadline=None)
@given(entry=CONDITIONS, leave=CONDITIONS, short=CONDITIONS, ohlcv=candle_series(max_size=60))
def test_random_strategies_are_replayed_exactly(
    entry: dict[str, Any], leave: dict[str, Any], short: dict[str, Any], ohlcv: Ohlcv
) -> None:
    if len(ohlcv) < 10:
        return
    strategy = parse_strategy(
        document(
            long={"entry": entry, "exit": leave},
            short={"entry": short},
            protection={"stop_loss": 0.1, "take_profit": 0.2},
        ),
        "test",
    )
    life = BotLife(strategy, ohlcv.rows(0, 5), fee_bps=3)
    life.live(ohlcv.rows(5, len(ohlcv)))
    for day_us in sorted({floor_to(int(at_us), Timeframe.D1) for at_us in ohlcv.opened_at_us[5:]}):
        report = parity(life, ohlcv, day_us)
        assert report.differences == ()


def test_a_day_is_replayed_from_how_the_bot_stood_at_its_midnight(series: dict[str, Ohlcv]) -> None:
    ohlcv = series["walk"]
    life = lived(parse_strategy(BUSY, "test"), ohlcv, MONDAY_US + 2 * DAY_US)
    for day in (2, 3, 4):
        report = parity(life, ohlcv, MONDAY_US + day * DAY_US)
        assert report.differences == ()
        assert report.candles == 288
        assert report.fills > 5


def busy_day(series: dict[str, Ohlcv], **config: Any) -> tuple[BotLife, Ohlcv, int]:
    ohlcv = series["walk"]
    return lived(parse_strategy(BUSY, "test"), ohlcv, day_of(ohlcv), **config), ohlcv, day_of(ohlcv)


def changed_row(ohlcv: Ohlcv, row: int, **values: float) -> Ohlcv:
    columns = {name: getattr(ohlcv, name).copy() for name in values}
    for name, value in values.items():
        columns[name][row] = value
    return replace(ohlcv, **columns)


def without_row(ohlcv: Ohlcv, row: int) -> Ohlcv:
    names = ("opened_at_us", "open", "high", "low", "close", "volume")
    columns: dict[str, Any] = {name: np.delete(getattr(ohlcv, name), row) for name in names}
    return replace(ohlcv, **columns)


def test_a_candle_that_came_late_is_named(series: dict[str, Ohlcv]) -> None:
    ohlcv = series["walk"]
    day_us, row = day_of(ohlcv), len(ohlcv) - 150
    life = lived(parse_strategy(BUSY, "test"), without_row(ohlcv, row), day_us)
    report = parity(life, ohlcv, day_us)
    first = report.differences[0]
    assert (first.kind, first.at_us) == (DifferenceKind.DECISION, int(ohlcv.opened_at_us[row]))
    assert {one.cause for one in report.differences} == {Cause.LATE_CANDLE}
    assert parity(life, without_row(ohlcv, row), day_us).identical


def test_a_candle_that_is_gone_is_named(series: dict[str, Ohlcv]) -> None:
    life, ohlcv, day_us = busy_day(series)
    report = parity(life, without_row(ohlcv, len(ohlcv) - 100), day_us)
    assert report.differences[0].cause is Cause.LOST_CANDLE
    assert {one.cause for one in report.differences} == {Cause.LOST_CANDLE}


def test_a_missing_trade_is_named_with_what_the_candle_was(series: dict[str, Ohlcv]) -> None:
    life, ohlcv, day_us = busy_day(series)
    # The highest of the day came from one trade, which the store has lost.
    row = len(ohlcv) - 200
    lost = changed_row(ohlcv, row, close=float(ohlcv.close[row]) * 0.9, low=float(ohlcv.low[row]) * 0.9)
    lost = changed_row(lost, row, volume=float(ohlcv.volume[row]) + 1.5)
    opened_at_us = int(ohlcv.opened_at_us[row])
    told = Evidence(
        cause=Cause.MISSING_TRADE,
        start_us=opened_at_us,
        end_us=opened_at_us + 1,
        detail="trade 7 was fetched later",
    )
    report = parity(life, lost, day_us, evidence=[told])
    assert report.differences != ()
    assert {one.cause for one in report.differences} == {Cause.MISSING_TRADE}
    assert "trade 7 was fetched later" in report.differences[0].detail
    assert "volume was" in report.differences[0].detail
    plain = parity(life, lost, day_us)
    assert {one.cause for one in plain.differences} == {Cause.CHANGED_CANDLE}


def test_a_changed_parameter_is_named_with_both_values(series: dict[str, Ohlcv]) -> None:
    life, ohlcv, day_us = busy_day(series)
    report = parity(life, ohlcv, day_us, others=OtherTerms(parameters={"fast": 5}))
    assert report.differences != ()
    assert {one.cause for one in report.differences} == {Cause.PARAMETERS}
    assert "fast was 3.0 and is 5.0" in report.differences[0].detail


def test_another_strategy_under_the_bots_name_is_named(series: dict[str, Ohlcv]) -> None:
    life, ohlcv, day_us = busy_day(series)
    other = parse_strategy({**BUSY, "short": {"entry": {"gt": ["close", 1]}}}, "test")
    for step in life.store.steps("trend"):
        if step.definition is not None:
            at = life.store.steps("trend").index(step)
            life.store.steps("trend")[at] = _with_definition(step, other)
    report = parity(life, ohlcv, day_us)
    assert {one.cause for one in report.differences} == {Cause.STRATEGY}


def _with_definition(step: Any, strategy: Strategy) -> Any:
    return msgspec.structs.replace(step, definition=definition_of(strategy))


@pytest.mark.parametrize("fraction", [1.0, 0.3])
def test_another_fee_is_named_with_both_rates(fraction: float, series: dict[str, Ohlcv]) -> None:
    ohlcv = series["walk"]
    strategy = parse_strategy({**BUSY, "sizing": {"type": "fraction_of_equity", "value": fraction}}, "test")
    life = lived(strategy, ohlcv, day_of(ohlcv), maker_fee_bps=7)
    report = parity(life, ohlcv, day_of(ohlcv), others=OtherTerms(fee_bps=Decimal(5)))
    assert report.differences != ()
    assert {one.cause for one in report.differences} == {Cause.FEE}
    assert "the bot paid 7 bps, the replay 5 bps" in report.differences[0].detail


def test_another_slippage_is_named(series: dict[str, Ohlcv]) -> None:
    life, ohlcv, day_us = busy_day(series)
    report = parity(life, ohlcv, day_us, others=OtherTerms(slippage_bps=Decimal(9)))
    fills = [one for one in report.differences if one.kind is DifferenceKind.FILL]
    assert fills[0].cause is Cause.SLIPPAGE
    assert Cause.UNKNOWN not in {one.cause for one in report.differences}


def test_what_gates_held_back_and_people_did_is_taken_over_and_listed(series: dict[str, Ohlcv]) -> None:
    ohlcv = series["walk"]
    day_us = day_of(ohlcv)
    first = int(ohlcv.opened_at_us.searchsorted(day_us))

    def stale(wish: EntryWish) -> GateVerdict:
        if wish.opened_at_us % (4 * Timeframe.M5.us):
            return PASSED
        return GateVerdict(gate=Gate.STALE_DATA, detail="the feed is stale")

    life = BotLife(parse_strategy(BUSY, "test"), ohlcv.rows(0, first), fee_bps=7)
    life.live(ohlcv.rows(first, first + 60), gates=[stale])
    life.bot.move(BotState.PAUSED, at_us=0, why="test")
    life.live(ohlcv.rows(first + 60, first + 120), gates=[stale])
    life.bot.move(BotState.RUNNING, at_us=0, why="test")
    life.live(ohlcv.rows(first + 120, first + 200), gates=[stale])
    life.bot.move(BotState.STOPPING, at_us=0, why="test")
    life.live(ohlcv.rows(first + 200, first + 201))
    stopped = life.bot.state is BotState.STOPPED
    report = parity(life, ohlcv, day_us)
    assert report.differences == ()
    assert stopped
    told = {one.what for one in report.interventions}
    assert {"stale_data", "paused"} <= told
    flattened = [
        fill
        for fill in life.store.fills_between("trend", start_us=day_us, end_us=day_us + DAY_US)
        if fill.reason is OrderReason.FLATTEN
    ]
    assert ("flatten" in told) is bool(flattened)


def test_a_position_closed_at_once_leaves_the_candles_before_it_as_they_were(
    series: dict[str, Ohlcv],
) -> None:
    ohlcv = series["walk"]
    day_us = day_of(ohlcv)
    row = int(ohlcv.opened_at_us.searchsorted(day_us))
    life = BotLife(parse_strategy(BUSY, "test"), ohlcv.rows(0, row), fee_bps=7)
    while not (life.bot.has_position and row % 5 == 0):
        life.live(ohlcv.rows(row, row + 1))
        row += 1
    opened_at_us, price = int(ohlcv.opened_at_us[row]), float(ohlcv.open[row])
    life.bot.flatten_now(opened_at_us, price, round(price * 1.01, 2), why="test", at_us=0)
    life.keep()
    report = parity(life, ohlcv, day_us)
    assert report.differences == ()
    assert report.decisions > 2


def test_finer_candles_decide_in_both(series: dict[str, Ohlcv]) -> None:
    fine = random_walk(288 * 5 * 5, seed=11, timeframe=Timeframe.M1)
    ohlcv = fold(fine, Timeframe.M5).candles
    day_us = day_of(ohlcv)
    first = int(ohlcv.opened_at_us.searchsorted(day_us))
    strategy = parse_strategy({**BUSY, "protection": {"stop_loss": 0.01, "take_profit": 0.01}}, "test")
    both = MemoryCandles((BTC, ohlcv), (BTC, fine))
    life = BotLife(strategy, ohlcv.rows(0, first))
    life.live(ohlcv.rows(first, len(ohlcv)), finer=both)
    span: dict[str, Any] = {"start_us": day_us, "end_us": day_us + DAY_US}
    report = check_parity(life.store, both, "trend", load_strategy=no_python, **span)
    assert report.differences == ()
    without = check_parity(life.store, MemoryCandles((BTC, ohlcv)), "trend", load_strategy=no_python, **span)
    assert without.differences[0].cause is Cause.FINER_CANDLES


def test_trades_decide_in_both_and_when_they_are_gone_smaller_candles_are_named_as_the_cause() -> None:
    start_us = MONDAY_US
    trades = walking_trades(5, start_us, Timeframe.M1, 2 * 1440, step=0.2)
    minutes, ohlcv = candles_from(trades, Timeframe.M1), candles_from(trades, Timeframe.M5)
    first = int(ohlcv.opened_at_us.searchsorted(start_us + DAY_US))
    strategy = parse_strategy({**BUSY, "protection": {"stop_loss": 0.003, "take_profit": 0.003}}, "test")
    stored = MemoryTrades(trades, (BTC, ohlcv), (BTC, minutes))
    life = BotLife(strategy, ohlcv.rows(0, first))
    life.live(ohlcv.rows(first, len(ohlcv)), finer=stored)
    span: dict[str, Any] = {"start_us": start_us + DAY_US, "end_us": start_us + 2 * DAY_US}
    report = check_parity(life.store, stored, "trend", load_strategy=no_python, **span)
    assert report.differences == ()
    assert len(stored.asked) > 4, "the day must hold candles that trades decide"
    aged = MemoryCandles((BTC, ohlcv), (BTC, minutes))
    without = check_parity(life.store, aged, "trend", load_strategy=no_python, **span)
    assert without.differences[0].cause is Cause.FINER_CANDLES
    assert {one.cause for one in without.differences} == {Cause.FINER_CANDLES}


def test_a_day_without_decisions_is_refused(series: dict[str, Ohlcv]) -> None:
    life, ohlcv, day_us = busy_day(series)
    with pytest.raises(InvalidInput, match="decided on no candle"):
        parity(life, ohlcv, day_us + 30 * DAY_US)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_strategy_is_made_again_from_its_text(path: Path) -> None:
    strategy = load_strategy(path, {}, Timeframe.M15)
    text = definition_of(strategy)
    assert text is not None
    assert strategy_of(text).version == strategy.version
    assert json.loads(text)["name"] == strategy.name


@settings(max_examples=20, deadline=None)
@given(values=st.integers(2, 10))
def test_parameters_are_kept_in_the_text(values: int) -> None:
    strategy = parse_strategy(BUSY, "test", {"fast": values})
    text = definition_of(strategy)
    assert text is not None
    assert strategy_of(text).version == strategy.version
