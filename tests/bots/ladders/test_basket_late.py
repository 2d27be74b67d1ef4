"""A basket one of whose symbols does not come: what it passes over, what is sold, what a restart changes."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from bots.bot_loading import BotLoader
from bots.config import BotConfig, as_document
from bots.emergency import EmergencyState, EmergencyWatch
from bots.ladders.basket_bot import BasketBot
from bots.ladders.loading import ladder_strategy
from bots.ladders.strategy import BasketStrategy
from bots.lifecycle import BotState
from bots.orders import OrderReason
from bots.stores import MOST_FRESH
from data.models import Candle, Market, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Strategy
from tests.bots.bot_fakes import MINUTE, T0, MemoryCandles, minutes
from tests.bots.ladders.ladder_runs import RULES
from tests.bots.ladders.test_basket_bot import (
    MARKETS,
    WEIGHTS,
    Life,
    basket,
    config_of,
    no_finer,
    part,
    wander,
)
from tests.bots.test_paper_bot import empty_record

BTC, ETH, SOL = MARKETS


def never(config: BotConfig) -> Strategy:
    raise AssertionError("a basket asks for no strategy")


def forming(row: int, *markets: Market, price: float = 90.0) -> dict[Market, Candle]:
    return {
        market: Candle(
            exchange=market.exchange,
            symbol=market.symbol,
            timeframe=Timeframe.M1,
            opened_at_us=T0 + row * MINUTE,
            open=price,
            high=price,
            low=price,
            close=price,
            volume=1.0,
            trades=1,
        )
        for market in markets
    }


def first(life: Life, stored: dict[Market, Ohlcv], ends: dict[Market, int]) -> dict[Market, Ohlcv]:
    """As a store tells: the oldest that are news, no more than a step's worth."""
    taken = life.bot.taken_until_us
    assert taken is not None
    found = {}
    for market, one in stored.items():
        begin = int(one.opened_at_us.searchsorted(taken, side="right"))
        if begin < ends[market]:
            found[market] = one.rows(begin, min(ends[market], begin + MOST_FRESH))
    return found


def holding(stored: dict[Market, Ohlcv], upto: int = 4) -> Life:
    life = Life(part(stored, 0, 1))
    life.feed(part(stored, 1, upto))
    assert life.bot.has_position
    return life


def left(life: Life) -> list[str]:
    return [held.symbol for held in life.bot.summary().positions]


def emergency() -> EmergencyWatch:
    watch = EmergencyWatch()
    watch.state = EmergencyState(engaged=True, flatten=True, since_us=0, who="anna")
    return watch


def test_a_read_that_another_bot_has_cut_short_opens_nothing_and_calls_nobody_late() -> None:
    stored = wander(2, length=20)
    life = Life(part(stored, 0, 1))
    life.feed(part(stored, 1, 2))
    assert life.bot.waits_for_an_open
    long_ago = minutes([100.0] * MOST_FRESH, start_us=T0 - (MOST_FRESH - 1) * MINUTE)
    cut = {**part(stored, 2, 10), BTC: long_ago}
    assert not life.feed(cut, forming=forming(10, *MARKETS))
    assert life.fills == []
    assert life.record.health == ""
    life.feed(part(stored, 2, 10), forming=forming(10, *MARKETS))
    assert {fill.filled_at_us for fill in life.fills[:3]} == {T0 + 2 * MINUTE}


def test_a_long_read_for_another_bot_makes_it_pass_over_nothing() -> None:
    stored = wander(2, length=20)
    life = Life(part(stored, 0, 1))
    longer = minutes([100.0] * (MOST_FRESH + 9), start_us=T0 - (MOST_FRESH - 1) * MINUTE)
    life.feed({BTC: longer})
    life.feed(part(stored, 1, 10))
    assert life.record.last_candle_us == T0 + 9 * MINUTE
    assert [step.equity[0].at_us for step in life.steps if step.equity] == [T0 + 2 * MINUTE]


@pytest.mark.parametrize("upto", [MOST_FRESH + 300, 2 * MOST_FRESH + 300])
def test_a_symbol_that_was_away_for_long_leaves_the_same_basket_whether_it_was_killed_or_not(
    upto: int,
) -> None:
    stored = wander(4, length=upto)

    def lived(*, killed: bool) -> Life:
        life = Life(part(stored, 0, 1))
        life.feed(first(life, stored, dict.fromkeys(MARKETS, 5)))
        for row in range(100, upto, 100):
            while life.feed(first(life, stored, {BTC: row, ETH: row, SOL: 5})):
                pass
        assert "SOL-USDT: none that closed after 2025-10-09T08:59:00Z" in life.record.health
        if killed:
            life.kill()
        while life.feed(first(life, stored, dict.fromkeys(MARKETS, upto))):
            pass
        return life

    never, killed = lived(killed=False), lived(killed=True)
    assert never.told() == killed.told()
    assert never.record.account == killed.record.account
    assert never.record.health == ""


def test_an_emergency_sells_a_symbol_once_and_is_noted_once() -> None:
    life = holding(wander(2, length=10))
    before = len(life.steps)
    watch = emergency()
    for turn in range(20):
        seen = forming(4, BTC, ETH)
        watch.stop(life.bot, seen, at_us=turn)
        life.feed({}, watch, forming=seen)
    assert left(life) == ["SOL-USDT"]
    (step,) = life.steps[before:]
    assert [event.what for event in step.events] == ["flattened"]
    assert [point.at_us for point in step.equity] == [T0 + 4 * MINUTE]


def test_an_emergency_does_not_sell_at_a_price_of_long_ago_and_dates_each_sale_by_its_own_candle() -> None:
    life = holding(wander(2, length=10))
    watch = emergency()
    watch.stop(life.bot, {**forming(70, BTC, ETH), **forming(4, SOL)}, at_us=0)
    life.keep()
    sold = life.steps[-1].fills
    assert [(fill.symbol, fill.filled_at_us) for fill in sold] == [
        ("BTC-USDT", T0 + 70 * MINUTE),
        ("ETH-USDT", T0 + 70 * MINUTE),
    ]
    watch.stop(life.bot, forming(71, SOL), at_us=0)
    life.keep()
    assert [fill.filled_at_us for fill in life.steps[-1].fills] == [T0 + 71 * MINUTE]
    assert not life.bot.has_position


def test_what_an_emergency_has_left_is_sold_after_a_kill_too() -> None:
    stored = wander(2, length=10)
    life = holding(stored)
    emergency().stop(life.bot, forming(4, BTC, ETH), at_us=0)
    life.keep()
    life.kill()
    assert life.bot.waits_for_an_open
    life.feed(part(stored, 4, 6))
    assert [fill.symbol for fill in life.steps[-1].fills if fill.reason is OrderReason.FLATTEN] == [
        "SOL-USDT"
    ]


def test_what_a_sale_brought_buys_nothing_on_candles_that_come_late_and_are_older() -> None:
    stored = wander(2, length=20)
    life = holding(stored)
    life.bot.close_now(forming(12, *MARKETS), why="a test", at_us=0)
    life.keep()
    life.kill()
    life.feed(part(stored, 4, 20))
    bought = [fill.filled_at_us for fill in life.steps[-1].fills if fill.reason is OrderReason.ENTRY]
    assert bought
    assert min(bought) > T0 + 12 * MINUTE


def test_asked_to_stop_it_sells_what_has_a_price_once_a_symbol_is_late_and_says_what_is_left() -> None:
    stored = wander(2, length=40)
    life = holding(stored)
    life.bot.move(BotState.STOPPING, at_us=0, why="anna")
    life.keep()
    others = {market: stored[market] for market in (BTC, ETH)}
    life.feed({market: one.rows(4, 5) for market, one in others.items()}, forming=forming(5, BTC, ETH))
    assert left(life) == list(WEIGHTS)  # it may come any moment
    for row in range(6, 20):
        fresh = {market: one.rows(4, row) for market, one in others.items()}
        life.feed(fresh, forming=forming(row, BTC, ETH))
    assert left(life) == ["SOL-USDT"]
    held = life.bot._account.ledgers[2].quantity
    assert life.record.health.endswith(f"left to be sold: {held.normalize():f} SOL-USDT")
    assert [event.what for step in life.steps for event in step.events].count("flattened") == 1
    life.feed({market: one.rows(4, 20) for market, one in others.items()}, forming=forming(20, SOL))
    assert life.record.state is BotState.STOPPED
    assert life.record.health == ""
    assert life.bot.summary().point.position == Decimal(0)


@pytest.mark.parametrize("silent", [10, 600])
def test_flattened_after_a_restart_it_sells_however_long_a_symbol_is_away(silent: int) -> None:
    stored = wander(2, length=silent + 20)
    life = holding(stored, upto=6)
    candles = MemoryCandles(
        *((market, one.rows(0, 6) if market == SOL else one) for market, one in stored.items())
    )
    document = {**as_document(life.config), "on_restart": "flatten"}
    record = msgspec.structs.replace(life.record, config=document, state=BotState.RUNNING)
    loader = BotLoader(candles, lambda config, source: ladder_strategy(config, never))
    bot = loader.restart(record, 0)
    assert isinstance(bot, BasketBot)
    assert bot.waits_for_an_open
    rows = {market: stored[market].rows(6, silent + 20) for market in (BTC, ETH)}
    bot.feed(rows, forming(silent + 20, BTC, ETH), no_finer, ())
    assert [held.symbol for held in bot.summary().positions] == ["SOL-USDT"]


def test_started_while_a_symbol_lags_it_does_not_trade_the_past() -> None:
    hour = Timeframe.H1

    def hours(count: int) -> Ohlcv:
        return minutes([100.0] * count, timeframe=hour)

    config = config_of()
    bot = BasketBot(empty_record(), config, BasketStrategy(basket(config).settings, hour))
    now = T0 + 100 * hour.us
    bot.restart_clock(now)
    bot.move(BotState.RUNNING, at_us=now, why="test")
    bot.begin_on([hours(100), hours(100), hours(40)], [RULES] * 3, now)
    bot.feed(dict.fromkeys(MARKETS, hours(104).rows(40, 104)), {}, no_finer, ())
    fills = bot.step(0).fills
    assert len(fills) == 3
    assert min(fill.filled_at_us for fill in fills) > now
