"""A ladder's life against its replay, with gates that held it back and a pause between two candles."""

from __future__ import annotations

import random

import pytest

from backtesting.parity_day import ParityReport, check_parity
from bots.config import BotConfig
from bots.entry_gates import EntryWish
from bots.gates import PASSED, Gate, GateVerdict
from bots.ladders.ladder_bot import LadderBot
from bots.lifecycle import BotState
from bots.parity import Cause
from data.models import Ohlcv
from strategies.base import Strategy
from tests.backtesting.bot_life import RULES, BotLife
from tests.bots.bot_fakes import BTC, MINUTE, T0, MemoryBotStore, MemoryCandles, minutes
from tests.bots.ladders.test_ladder_bot import LADDERS, config_of, ladder


class LadderLife(BotLife):
    """As a paper bot's."""

    def __init__(self, kind: str, history: Ohlcv) -> None:
        config = config_of(kind)
        self.store = MemoryBotStore()
        self.store.add(config)
        record = self.store.record(1)
        assert record is not None
        self.bot = LadderBot(record, config, ladder(kind))
        self.bot.restart_clock(int(history.opened_at_us[-1]) + 400 * 86_400_000_000)
        self.bot.move(BotState.RUNNING, at_us=0, why="test")
        self.bot.begin(history, RULES, 0)
        self.keep()


def wander(seed: int, length: int = 300) -> Ohlcv:
    chance = random.Random(seed)
    closes = [100.0]
    for _ in range(length - 1):
        closes.append(round(closes[-1] * (1 + chance.gauss(0, 0.008)), 2))
    return minutes(closes, spread=0.3)


def parity(life: LadderLife, kind: str, candles: Ohlcv) -> ParityReport:
    def load(config: BotConfig) -> Strategy:
        return ladder(kind)

    stored = MemoryCandles((BTC, candles))
    return check_parity(
        life.store, stored, "trend", start_us=T0, end_us=T0 + 10_000 * MINUTE, load_strategy=load
    )


def now_and_then(wish: EntryWish) -> GateVerdict:
    """Something refuses every third minute."""
    if wish.opened_at_us // MINUTE % 3 == 0:
        return GateVerdict(gate=Gate.MISSING_DATA, detail="data is missing")
    return PASSED


@pytest.mark.parametrize("kind", LADDERS)
def test_a_ladder_that_was_held_back_now_and_then_is_replayed_to_the_same_fills(kind: str) -> None:
    candles = wander(5)
    life = LadderLife(kind, candles.rows(0, 1))
    life.live(candles.rows(1, len(candles)), gates=(now_and_then,))
    report = parity(life, kind, candles)
    assert report.differences == ()
    assert report.fills > 5
    assert report.interventions
    assert report.candles == report.decisions > 100


def test_a_ladder_that_was_paused_between_two_candles_is_replayed_from_there() -> None:
    candles = wander(6)
    life = LadderLife("grid", candles.rows(0, 1))
    life.live(candles.rows(1, 100))
    life.bot.move(BotState.PAUSED, at_us=0, why="test")
    life.live(candles.rows(100, 150))
    life.bot.move(BotState.RUNNING, at_us=0, why="test")
    life.live(candles.rows(150, 300))
    report = parity(life, "grid", candles)
    assert report.differences == ()
    assert report.stretches > 1


def test_candles_that_became_others_are_told_as_the_cause() -> None:
    candles = wander(5)
    life = LadderLife("grid", candles.rows(0, 1))
    life.live(candles.rows(1, len(candles)))
    report = parity(life, "grid", wander(7))
    assert report.differences
    assert {one.cause for one in report.differences} == {Cause.CHANGED_CANDLE}
