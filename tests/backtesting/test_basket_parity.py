"""A basket's life against its replay, with what held it back, and with candles that are others by now."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pytest

from backtesting.parity_day import OtherTerms, ParityReport, check_parity
from bots.config import BotConfig, parse_bot
from bots.entry_gates import EntryGate, EntryWish
from bots.gates import PASSED, Gate, GateVerdict
from bots.ladders.basket_bot import BasketBot
from bots.ladders.settings import RebalanceSettings
from bots.ladders.strategy import BasketStrategy
from bots.lifecycle import BotState
from bots.paper_bot import candles_of
from bots.parity import Cause, DifferenceKind
from data.models import Candle, Market, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Strategy
from tests.backtesting.bot_life import RULES
from tests.bots.bot_fakes import MINUTE, T0, MemoryBotStore, MemoryCandles, minutes

CONFIG = parse_bot(
    {
        "name": "basket",
        "venue": "binance",
        "type": "rebalance",
        "settings": {
            "weights": {"SOL-USDT": 0.2, "BTC-USDT": 0.5, "ETH-USDT": 0.2},
            "threshold": 0.01,
            "every": "1h",
            "stop_loss": 0.5,
        },
        "capital": 10_000,
        "fee_bps": 10,
        "slippage_bps": 3,
    },
    where="test",
)
MARKETS = tuple(Market("binance", symbol) for symbol in CONFIG.symbols)
SOL, BTC, ETH = MARKETS
Stored = Mapping[Market, Ohlcv]


def load(config: BotConfig) -> Strategy:
    assert isinstance(config.ladder, RebalanceSettings)
    return BasketStrategy(config.ladder, Timeframe.M1)


def wander(seed: int, length: int = 200) -> dict[Market, Ohlcv]:
    found = {}
    for market in MARKETS:
        chance = random.Random(f"{seed} {market}")
        closes = [100.0]
        for _ in range(length - 1):
            closes.append(round(closes[-1] * (1 + chance.gauss(0, 0.008)), 2))
        found[market] = minutes(closes, spread=0.3)
    return found


def part(stored: Stored, first: int, last: int) -> dict[Market, Ohlcv]:
    return {market: one.rows(first, last) for market, one in stored.items()}


def no_finer(candle: Candle) -> Ohlcv | None:
    return None


class Life:
    def __init__(self, history: Stored) -> None:
        self.store = MemoryBotStore()
        self.store.add(CONFIG)
        record = self.store.record(1)
        assert record is not None
        strategy = load(CONFIG)
        assert isinstance(strategy, BasketStrategy)
        self.bot = BasketBot(record, CONFIG, strategy)
        self.bot.restart_clock(T0 + MINUTE)
        self.bot.move(BotState.RUNNING, at_us=0, why="test")
        assert self.bot.begin_on(list(history.values()), [RULES] * 3, 0) == ""
        self.keep()

    def live(self, fresh: Stored, *gates: EntryGate) -> None:
        rows = len(fresh[SOL])
        for first in range(0, rows, 7):
            self.bot.feed(part(fresh, first, min(rows, first + 7)), {}, no_finer, gates)
            self.keep()

    def keep(self) -> None:
        if self.bot.has_news:
            assert self.store.commit([self.bot.step(0)])


def parity(life: Life, stored: Stored, others: OtherTerms | None = None) -> ParityReport:
    return check_parity(
        life.store,
        MemoryCandles(*stored.items()),
        "basket",
        start_us=T0,
        end_us=T0 + 10_000 * MINUTE,
        load_strategy=load,
        others=others,
    )


def now_and_then(wish: EntryWish) -> GateVerdict:
    """Data of one symbol is missing every fourth minute, another gate refuses every third."""
    if wish.opened_at_us // MINUTE % 4 == 0 and wish.market == BTC:
        return GateVerdict(gate=Gate.MISSING_DATA, detail="data is missing")
    if wish.opened_at_us // MINUTE % 3 == 0:
        return GateVerdict(gate=Gate.BUDGET, detail="no money left")
    return PASSED


def test_a_basket_that_was_held_back_now_and_then_is_replayed_to_the_same_fills() -> None:
    stored = wander(1)
    life = Life(part(stored, 0, 1))
    life.live(part(stored, 1, 200), now_and_then)
    report = parity(life, stored)
    assert report.differences == ()
    assert report.fills > 20
    assert report.signals > 10
    assert {one.what for one in report.interventions} == {"missing_data", "budget"}
    assert report.candles == report.decisions == 199


def test_what_people_did_between_two_candles_is_taken_over() -> None:
    stored = wander(2)
    life = Life(part(stored, 0, 1))
    life.live(part(stored, 1, 60))
    life.bot.move(BotState.PAUSED, at_us=0, why="test")
    life.live(part(stored, 60, 90))
    life.bot.move(BotState.RUNNING, at_us=0, why="test")
    life.live(part(stored, 90, 120))
    forming = {market: candles_of(one.rows(120, 121), market)[0] for market, one in stored.items()}
    life.bot.close_now(forming, why="test", at_us=0)
    life.live(part(stored, 120, 200))
    report = parity(life, stored)
    assert report.differences == ()
    assert report.not_replayed == 0
    assert report.stretches > 1
    assert "flatten" in {one.what for one in report.interventions}


def test_a_candle_of_one_symbol_that_became_another_is_named_as_the_cause() -> None:
    stored = wander(3)
    life = Life(part(stored, 0, 1))
    life.live(part(stored, 1, 200))
    changed = stored[ETH]
    close = changed.close.copy()
    close[100] *= 1.03
    later = {**stored, ETH: dataclasses.replace(changed, close=close, high=np.maximum(changed.high, close))}
    report = parity(life, later)
    assert report.differences
    assert {one.cause for one in report.differences} == {Cause.CHANGED_CANDLE}
    assert "the candle of ETH-USDT of" in report.differences[0].detail
    assert report.differences[0].at_us >= T0 + 100 * MINUTE


def test_a_candle_that_came_late_is_named_as_the_cause() -> None:
    stored = wander(4)
    life = Life(part(stored, 0, 1))
    seen = {**stored, BTC: stored[BTC].taken(np.array([row for row in range(200) if row != 50]))}
    life.bot.feed({market: one.rows(1, len(one)) for market, one in seen.items()}, {}, no_finer, ())
    life.keep()
    assert parity(life, seen).differences == ()
    report = parity(life, stored)
    assert report.differences[0].kind is DifferenceKind.DECISION
    assert {one.cause for one in report.differences} == {Cause.LATE_CANDLE}


@pytest.mark.parametrize(
    ("others", "cause"),
    [
        (OtherTerms(fee_bps=Decimal(20)), Cause.FEE),
        (OtherTerms(slippage_bps=Decimal(30)), Cause.SLIPPAGE),
    ],
)
def test_another_fee_or_slippage_is_named_as_the_cause(others: OtherTerms, cause: Cause) -> None:
    stored = wander(5)
    life = Life(part(stored, 0, 1))
    life.live(part(stored, 1, 200))
    report = parity(life, stored, others)
    assert report.differences[0].cause is cause
