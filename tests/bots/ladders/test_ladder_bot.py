from __future__ import annotations

import dataclasses
import random
from typing import Any

import msgspec
import numpy as np
import pytest

from backtesting.ladders import run_ladder
from bots.config import BotConfig
from bots.ladders.ladder_bot import LadderBot
from bots.ladders.settings import LadderSettings
from bots.ladders.strategy import LadderStrategy
from bots.lifecycle import BotState
from bots.orders import Fill, OrderStatus, TradingRules
from bots.paper_bot import candles_of
from bots.stores import BotRecord, BotStep
from data.models import Candle, Ohlcv
from data.timeframes import Timeframe
from tests.bots.bot_fakes import BTC, T0, bot_config, minutes
from tests.bots.ladders.ladder_runs import RULES
from tests.bots.test_paper_bot import empty_record

LADDERS: dict[str, dict[str, Any]] = {
    "grid": {
        "lower": 80,
        "upper": 120,
        "levels": 9,
        "order_notional": 500,
        "stop_price": 70,
        "buy_at_start": True,
    },
    "dca": {
        "base_notional": 200,
        "safety_notional": 200,
        "safety_orders": 3,
        "step": 0.02,
        "take_profit": 0.01,
        "stop_loss": 0.2,
    },
    "pyramid": {
        "first_notional": 1000,
        "add_notional": 500,
        "add_ons": 3,
        "every": 0.02,
        "stop_loss": 0.04,
        "losing_rounds": 5,
    },
}
NONE = TradingRules()


def no_finer(candle: Candle) -> Ohlcv | None:
    return None


def config_of(kind: str) -> BotConfig:
    return bot_config(strategy=None, type=kind, settings=LADDERS[kind])


def wander(seed: int, length: int = 60) -> Ohlcv:
    chance = random.Random(seed)
    closes = [100.0]
    for _ in range(length - 1):
        closes.append(round(closes[-1] * (1 + chance.gauss(0, 0.02)), 2))
    return minutes(closes, spread=0.5)


def busy(candles: Ohlcv) -> Ohlcv:
    """The same with more traded than any order wants."""
    return dataclasses.replace(candles, volume=np.full(len(candles), 1e6))


def ladder(kind: str) -> LadderStrategy:
    settings = config_of(kind).ladder
    assert isinstance(settings, LadderSettings)
    return LadderStrategy(settings, Timeframe.M1)


class Stored:
    """What a store would hold of the bot, and everything it ever told."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.record: BotRecord = empty_record()
        self.told: list[Any] = []

    def bot(self) -> LadderBot:
        return LadderBot(self.record, config_of(self.kind), ladder(self.kind))

    def add(self, step: BotStep) -> None:
        assert step.step == self.record.step + 1
        self.record = msgspec.structs.replace(
            self.record,
            step=step.step,
            state=step.state,
            account=step.account,
            strategy_version=step.strategy_version or "",
            last_candle_us=step.last_candle_us,
            started_at_us=step.started_at_us,
        )
        self.told += [*step.orders, *step.fills, *step.trades, *step.equity, *step.entries]


def run(kind: str, candles: Ohlcv, *, killed_at: frozenset[int] = frozenset()) -> Stored:
    """A step for each candle. A kill loses what was not stored yet, and all that was in memory."""
    stored = Stored(kind)
    bot = stored.bot()
    bot.restart_clock(T0 - 1)
    bot.move(BotState.RUNNING, at_us=T0, why="test")
    bot.begin(candles.rows(0, 1), RULES, T0)
    stored.add(bot.step(0))
    for number, candle in enumerate(candles_of(candles.rows(1, len(candles)), BTC)):
        if number in killed_at:
            bot.take(candle, no_finer)  # done, but never stored
            bot = stored.bot()
        if bot.state is not BotState.RUNNING:
            break
        bot.take(candle, no_finer)
        stored.add(bot.step(0))
    return stored


@pytest.mark.parametrize("kind", LADDERS)
def test_killed_between_any_two_steps_it_ends_like_its_twin(kind: str) -> None:
    for seed in range(3):
        candles = wander(seed)
        twin = run(kind, candles)
        assert sum(isinstance(one, Fill) for one in twin.told) >= 3
        everywhere = run(kind, candles, killed_at=frozenset(range(60)))
        assert everywhere.told == twin.told
        assert everywhere.record.account == twin.record.account


@pytest.mark.parametrize("kind", LADDERS)
def test_a_bot_fills_like_the_backtest_of_the_same_candles(kind: str) -> None:
    candles = wander(11)
    stored = run(kind, candles)
    config = config_of(kind)
    result, _ = run_ladder(
        ladder(kind),
        candles.rows(1, len(candles)),
        capital=config.capital,
        costs=config.costs,
        rules=RULES,
        market=BTC,
    )
    fills = [one for one in stored.told if isinstance(one, Fill)]
    assert fills == list(result.fills)
    assert len(fills) > 3


def test_a_paused_grid_buys_nothing_more_and_goes_on_selling() -> None:
    stored = Stored("grid")
    bot = stored.bot()
    bot.restart_clock(T0 - 1)
    bot.move(BotState.RUNNING, at_us=T0, why="test")
    candles = busy(minutes([100.0, 100.0, 94.0, 94.0, 99.0, 101.0, 94.0, 89.0]))
    bot.begin(candles.rows(0, 1), RULES, T0)
    taken = candles_of(candles.rows(1, len(candles)), BTC)
    for candle in taken[:3]:
        bot.take(candle, no_finer)
    assert bot.has_position
    bot.move(BotState.PAUSED, at_us=T0, why="test")
    before = bot.step(0)
    withdrawn = [order for order in before.orders if order.status is OrderStatus.CANCELLED]
    assert withdrawn
    for candle in taken[3:]:
        bot.take(candle, no_finer)
    after = bot.step(0)
    assert {fill.side for fill in after.fills} == {"sell"}


def test_a_stop_asked_for_with_flatten_leaves_no_order_behind() -> None:
    stored = Stored("dca")
    bot = stored.bot()
    bot.restart_clock(T0 - 1)
    bot.move(BotState.RUNNING, at_us=T0, why="test")
    candles = minutes([100.0] * 6)
    bot.begin(candles.rows(0, 1), RULES, T0)
    taken = candles_of(candles.rows(1, 6), BTC)
    for candle in taken[:3]:
        bot.take(candle, no_finer)
    bot.move(BotState.STOPPING, at_us=T0, why="test")
    bot.take(taken[3], no_finer)
    step = bot.step(0)
    assert bot.state is BotState.STOPPED
    assert not bot.has_position
    assert OrderStatus.PENDING not in {order.status for order in step.orders}


def test_a_ladder_that_has_ended_stops_its_bot_and_says_why() -> None:
    stored = run("grid", minutes([100.0, 100.0, 100.0, 60.0, 60.0]))
    assert stored.record.state is BotState.STOPPED
