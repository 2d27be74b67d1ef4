from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from backtesting.baskets import run_basket
from backtesting.portfolio import Leg
from bots.config import BotConfig
from bots.entry_gates import EntryGate, EntryWish
from bots.gates import PASSED, Gate, GateVerdict
from bots.journal import JournalEntry, differences
from bots.ladders.basket_bot import BasketBot
from bots.ladders.basket_record import basket_sentence
from bots.ladders.settings import RebalanceSettings
from bots.ladders.strategy import BasketStrategy
from bots.lifecycle import BotState
from bots.orders import Fill, Order, OrderReason, OrderStatus
from bots.paper_bot import candles_of
from bots.settings_change import check_fits
from bots.stores import MOST_FRESH, BotRecord, BotStep
from data.errors import InvalidInput
from data.models import Candle, Market, Ohlcv, Side
from data.timeframes import Timeframe
from tests.bots.bot_fakes import MINUTE, T0, bot_config, minutes
from tests.bots.ladders.ladder_runs import RULES
from tests.bots.test_paper_bot import empty_record

D = Decimal
WEIGHTS = {"BTC-USDT": 0.5, "ETH-USDT": 0.3, "SOL-USDT": 0.1}
MARKETS = tuple(Market("binance", symbol) for symbol in WEIGHTS)


def config_of(**settings: Any) -> BotConfig:
    return bot_config(
        strategy=None,
        symbol=None,
        type="rebalance",
        settings={"weights": WEIGHTS, "threshold": 0.01, **settings},
        slippage_bps=2,
    )


def basket(config: BotConfig) -> BasketStrategy:
    assert isinstance(config.ladder, RebalanceSettings)
    return BasketStrategy(config.ladder, Timeframe.M1)


def wander(seed: int, length: int = 80) -> dict[Market, Ohlcv]:
    found = {}
    for number, market in enumerate(MARKETS):
        chance = random.Random(f"{seed} {number}")
        closes = [100.0]
        for _ in range(length - 1):
            closes.append(round(closes[-1] * (1 + chance.gauss(0, 0.02)), 2))
        found[market] = minutes(closes, spread=0.5)
    return found


def flat(*closes: Sequence[float]) -> dict[Market, Ohlcv]:
    return {market: minutes(list(one)) for market, one in zip(MARKETS, closes, strict=True)}


def part(stored: Mapping[Market, Ohlcv], first: int, last: int) -> dict[Market, Ohlcv]:
    return {market: one.rows(first, last) for market, one in stored.items()}


def without(ohlcv: Ohlcv, *rows: int) -> Ohlcv:
    return ohlcv.taken(np.array([row for row in range(len(ohlcv)) if row not in rows]))


def no_finer(candle: Candle) -> Ohlcv | None:
    return None


class Life:
    """A basket as a runner leads it, and all that its store would hold."""

    def __init__(self, history: Mapping[Market, Ohlcv], **settings: Any) -> None:
        self.config = config_of(**settings)
        self.record: BotRecord = empty_record()
        self.steps: list[BotStep] = []
        self.bot = BasketBot(self.record, self.config, basket(self.config))
        self.bot.restart_clock(T0 + MINUTE)
        self.bot.move(BotState.RUNNING, at_us=T0, why="test")
        self.waits = self.bot.begin_on(list(history.values()), [RULES] * len(MARKETS), T0)
        self.keep()

    def kill(self) -> None:
        """What was not stored is lost, and all that was in memory."""
        self.bot = BasketBot(self.record, self.config, basket(self.config))

    def feed(
        self,
        fresh: Mapping[Market, Ohlcv],
        *gates: EntryGate,
        forming: Mapping[Market, Candle] | None = None,
    ) -> bool:
        more = self.bot.feed(fresh, forming or {}, no_finer, gates)
        self.keep()
        return more

    def keep(self) -> None:
        if not self.bot.has_news:
            return
        step = self.bot.step(0)
        assert step.step == self.record.step + 1
        self.steps.append(step)
        self.record = msgspec.structs.replace(
            self.record,
            step=step.step,
            state=step.state,
            health=step.health,
            account=step.account,
            strategy_version=step.strategy_version or "",
            last_candle_us=step.last_candle_us,
            started_at_us=step.started_at_us,
        )

    @property
    def fills(self) -> list[Fill]:
        return [fill for step in self.steps for fill in step.fills]

    def told(self) -> list[Any]:
        return [
            one
            for step in self.steps
            for one in (*step.orders, *step.fills, *step.trades, *step.equity, *step.entries, *step.decisions)
        ]


def lived(stored: Mapping[Market, Ohlcv], **settings: Any) -> Life:
    """A step for each candle."""
    life = Life(part(stored, 0, 1), **settings)
    for row in range(1, len(stored[MARKETS[0]])):
        life.feed(part(stored, row, row + 1))
    return life


def test_killed_between_any_two_steps_it_ends_like_its_twin() -> None:
    for seed in range(3):
        stored = wander(seed)
        twin = lived(stored, every="15m")
        assert len(twin.fills) > 10
        hurt = Life(part(stored, 0, 1), every="15m")
        for row in range(1, len(stored[MARKETS[0]])):
            hurt.bot.feed(part(stored, row, row + 1), {}, no_finer, ())  # done, but never stored
            hurt.kill()
            hurt.feed(part(stored, row, row + 1))
        assert hurt.told() == twin.told()
        assert hurt.record.account == twin.record.account


def test_candles_in_a_heap_give_what_they_gave_one_by_one() -> None:
    stored = wander(5)
    alone, heap = lived(stored), Life(part(stored, 0, 1))
    heap.feed(part(stored, 1, 80))
    assert heap.fills == alone.fills
    assert heap.record.account == alone.record.account


@pytest.mark.parametrize("seed", range(5))
def test_whichever_symbols_candles_come_first_the_fills_are_the_same(seed: int) -> None:
    stored = wander(seed, length=60)
    chance = random.Random(seed)
    life = Life(part(stored, 0, 1))
    known = dict.fromkeys(MARKETS, 1)
    while min(known.values()) < 60:
        market = chance.choice([one for one, rows in known.items() if rows < 60])
        known[market] = min(60, known[market] + chance.randint(1, 4))
        taken = life.bot.taken_until_us
        assert taken is not None
        fresh = {
            one: ohlcv.rows(int(ohlcv.opened_at_us.searchsorted(taken, side="right")), known[one])
            for one, ohlcv in stored.items()
        }
        life.feed({one: ohlcv for one, ohlcv in fresh.items() if len(ohlcv)})
    assert life.fills == lived(stored).fills
    assert life.record.health == ""


def test_it_fills_like_the_backtest_of_the_same_candles() -> None:
    stored = wander(11)
    life = lived(stored, every="1h", stop_loss=0.3)
    strategy = basket(life.config)
    result, figures = run_basket(
        strategy,
        [
            Leg(symbol=market.symbol, strategy=strategy, ohlcv=one.rows(1, len(one)), rules=RULES)
            for market, one in stored.items()
        ],
        capital=life.config.capital,
        costs=life.config.costs,
    )
    assert life.fills == [fill for _, fill in result.fills]
    assert figures.rebalances > 3
    assert float(life.steps[-1].equity[-1].equity) == pytest.approx(result.equity[-1], rel=1e-12)


def test_the_journal_of_all_its_fills_sums_up_to_its_books() -> None:
    life = lived(wander(3))
    entries: list[JournalEntry] = [entry for step in life.steps for entry in step.entries]
    assert len(entries) == len(life.fills)
    assert differences(entries, life.bot._account.books()) == {}


def test_every_order_fill_trade_and_position_names_its_symbol() -> None:
    life = lived(wander(3))
    for step in life.steps:
        assert {order.symbol for order in step.orders} <= set(WEIGHTS)
        assert {fill.symbol for fill in step.fills} <= set(WEIGHTS)
        assert {trade.symbol for trade in step.trades} <= set(WEIGHTS)
    summary = life.steps[-1].summary
    assert summary is not None
    assert [held.symbol for held in summary.positions] == list(WEIGHTS)
    worth = sum(held.quantity * D(repr(held.last_price)) for held in summary.positions)
    assert summary.point.cash + worth == summary.point.equity


def test_it_waits_for_a_symbol_that_is_late_says_for_which_and_goes_on_in_step() -> None:
    stored = wander(2, length=10)
    btc, eth, sol = MARKETS
    life = Life(part(stored, 0, 1))
    life.feed({**part(stored, 1, 2), eth: stored[eth].rows(1, 1)})
    assert life.record.last_candle_us == T0
    assert life.record.health == ""  # it may come any moment
    late = part(stored, 1, 4)
    life.feed({btc: late[btc], sol: late[sol]})
    assert life.record.last_candle_us == T0
    assert "waits for candles of ETH-USDT" in life.record.health
    assert life.fills == []
    life.feed({btc: late[btc], sol: late[sol]})
    notes = [event for step in life.steps for event in step.events if event.what == "waits"]
    assert len(notes) == 1
    life.feed(late)
    assert life.record.last_candle_us == T0 + 3 * MINUTE
    assert life.record.health == ""
    assert {fill.symbol for fill in life.fills} == set(WEIGHTS)


def test_a_word_about_who_is_late_outlives_a_restart_and_is_taken_back_after_it() -> None:
    stored = wander(2, length=10)
    btc = MARKETS[0]
    life = Life(part(stored, 0, 1))
    life.feed({btc: stored[btc].rows(1, 5)})
    assert "ETH-USDT, SOL-USDT" in life.record.health
    life.kill()
    assert "ETH-USDT" in life.bot.health
    life.feed(part(stored, 1, 5))
    assert life.record.health == ""


def test_a_candle_that_one_symbol_never_had_is_passed_over_in_all() -> None:
    stored = wander(7)
    gappy = {**stored, MARKETS[1]: without(stored[MARKETS[1]], 20, 21, 40)}
    life = Life(part(stored, 0, 1))
    life.feed({market: one.rows(1, len(one)) for market, one in gappy.items()})
    decided = [made.decision.opened_at_us for step in life.steps for made in step.decisions]
    assert decided == [T0 + row * MINUTE for row in range(1, 80) if row not in (20, 21, 40)]


def test_a_symbol_that_was_halted_for_days_holds_up_nothing_for_ever() -> None:
    halted = MOST_FRESH * 2
    long = minutes([100.0] * (halted + 10))
    stored = dict.fromkeys(MARKETS, long)
    stored[MARKETS[2]] = without(long, *range(5, halted))
    life = Life({market: one.rows(0, 1) for market, one in stored.items()})
    for _ in range(6):
        taken = life.bot.taken_until_us
        assert taken is not None
        # As a store does: the oldest that are news, and no more than a step's worth.
        fresh = {}
        for market, one in stored.items():
            first = int(one.opened_at_us.searchsorted(taken, side="right"))
            fresh[market] = one.rows(first, min(len(one), first + MOST_FRESH))
        if not life.feed(fresh):
            break
    assert life.record.last_candle_us == T0 + (halted + 9) * MINUTE


def stale(symbol: str) -> EntryGate:
    def gate(wish: EntryWish) -> GateVerdict:
        if wish.market.symbol == symbol:
            return GateVerdict(gate=Gate.STALE_DATA, detail="the feed is stale")
        return PASSED

    return gate


def test_where_the_data_of_one_symbol_is_stale_nothing_is_bought_or_sold_in_any() -> None:
    stored = flat([100.0] * 3 + [150.0] * 5, [10.0] * 8, [10.0] * 8)
    life = Life(part(stored, 0, 1))
    life.feed(part(stored, 1, 3))
    assert len(life.fills) == 3
    life.feed(part(stored, 3, 6), stale("SOL-USDT"))
    assert len(life.fills) == 3  # BTC went too far, and not even that is sold
    held = [made for step in life.steps[-1:] for made in step.decisions]
    assert {made.gate for made in held} == {Gate.STALE_DATA}
    assert held[-1].outcome == "SOL-USDT: the feed is stale"
    assert held[-1].decision.long_exit
    life.feed(part(stored, 6, 8))
    assert [fill.side for fill in life.fills[3:]] == [Side.SELL, Side.BUY, Side.BUY]


def test_another_gate_keeps_buys_back_and_lets_sells_pass() -> None:
    def refuse(wish: EntryWish) -> GateVerdict:
        return GateVerdict(gate=Gate.BUDGET, detail="no money left")

    stored = flat([100.0] * 3 + [150.0] * 5, [10.0] * 8, [10.0] * 8)
    life = Life(part(stored, 0, 1))
    life.feed(part(stored, 1, 3))
    life.feed(part(stored, 3, 6), refuse)
    assert [(fill.symbol, fill.side) for fill in life.fills[3:]] == [("BTC-USDT", Side.SELL)]
    assert life.steps[-1].decisions[-1].gate is Gate.BUDGET
    assert life.steps[-1].decisions[-1].outcome == "ETH-USDT: no money left"


def test_gates_are_asked_about_each_symbol_with_its_own_amount_and_price() -> None:
    asked: dict[str, tuple[Decimal, float]] = {}

    def gate(wish: EntryWish) -> GateVerdict:
        if wish.notional:
            asked[wish.market.symbol] = (wish.notional, wish.close)
        return PASSED

    stored = flat([100.0] * 2, [10.0] * 2, [20.0] * 2)
    Life(part(stored, 0, 1)).feed(part(stored, 1, 2), gate)
    assert asked == {
        "BTC-USDT": (D(5_000), 100.0),
        "ETH-USDT": (D(3_000), 10.0),
        "SOL-USDT": (D(1_000), 20.0),
    }


def test_a_limit_that_one_order_would_break_keeps_all_of_them_back_and_is_listed_with_its_symbol() -> None:
    stored = flat([100.0] * 4, [10.0] * 4, [20.0] * 4)
    life = Life(part(stored, 0, 1))
    life.bot.limits = msgspec.structs.replace(life.bot.limits, max_order_notional=D(4_000))
    life.feed(part(stored, 1, 4))
    assert life.fills == []
    (broken, *_) = life.steps[-1].violations
    assert broken.violation.limit == "max_order_notional"
    assert broken.violation.detail.startswith("BTC-USDT: ")


def test_a_paused_basket_buys_nothing_and_a_stop_with_flatten_sells_everything() -> None:
    stored = flat([100.0] * 3 + [150.0] * 7, [10.0] * 10, [10.0] * 10)
    life = Life(part(stored, 0, 1))
    life.feed(part(stored, 1, 3))
    life.bot.move(BotState.PAUSED, at_us=T0, why="test")
    life.feed(part(stored, 3, 6))
    assert {fill.side for fill in life.fills[3:]} == {Side.SELL}
    assert life.steps[-1].decisions[-1].gate is Gate.PAUSED
    life.bot.move(BotState.STOPPING, at_us=T0, why="test")
    life.feed(part(stored, 6, 8))
    assert life.record.state is BotState.STOPPED
    assert not life.bot.has_position
    assert {fill.reason for fill in life.steps[-1].fills} == {OrderReason.FLATTEN}
    orders: dict[int, Order] = {order.sequence: order for step in life.steps for order in step.orders}
    assert OrderStatus.PENDING not in {order.status for order in orders.values()}


def test_buys_that_were_called_off_are_asked_for_again() -> None:
    stored = flat([100.0] * 6, [10.0] * 6, [20.0] * 6)
    life = Life(part(stored, 0, 1), threshold=None, every="1w")
    life.feed(part(stored, 1, 2))
    life.bot.halt("a test")
    life.keep()
    assert {order.status for order in life.steps[-1].orders} == {OrderStatus.CANCELLED}
    life.feed(part(stored, 2, 4))
    assert len(life.fills) == 3


def test_an_emergency_sells_what_has_a_price_at_once_and_the_rest_at_the_next_open() -> None:
    stored = flat([100.0] * 6, [10.0] * 6, [20.0] * 6)
    life = Life(part(stored, 0, 1))
    life.feed(part(stored, 1, 3))
    forming = {
        market: candles_of(one.rows(3, 4), market)[0]
        for market, one in stored.items()
        if market != MARKETS[2]
    }
    life.bot.close_now(forming, why="a test", at_us=T0)
    life.keep()
    assert [fill.symbol for fill in life.steps[-1].fills] == ["BTC-USDT", "ETH-USDT"]
    assert life.bot.has_position
    # A runner asks at each of its turns.
    life.bot.close_now(forming, why="a test", at_us=T0)
    assert not life.bot.has_news

    def engaged(wish: EntryWish) -> GateVerdict:
        return GateVerdict(gate=Gate.EMERGENCY, detail="a test")

    life.feed(part(stored, 3, 5), engaged)
    assert not life.bot.has_position
    assert life.steps[-1].fills[0].symbol == "SOL-USDT"


def test_orders_are_filled_at_the_first_trades_once_all_symbols_have_one() -> None:
    stored = wander(4, length=6)
    life = Life(part(stored, 0, 1))
    first = {market: candles_of(one.rows(2, 3), market)[0] for market, one in stored.items()}
    two = {market: first[market] for market in MARKETS[:2]}
    life.feed(part(stored, 1, 2), forming=two)
    assert life.fills == []
    life.feed(part(stored, 1, 2), forming=first)
    assert len(life.fills) == 3
    life.feed(part(stored, 2, 6))
    assert life.fills == lived(stored).fills


def test_a_basket_that_reached_its_stop_ends_and_stays_ended() -> None:
    stored = flat([100.0] * 3 + [50.0] * 5, [10.0] * 8, [20.0] * 8)
    life = Life(part(stored, 0, 1), stop_loss=0.1)
    life.feed(part(stored, 1, 6))
    assert life.record.state is BotState.STOPPED
    assert "the stop was reached" in life.record.health
    assert not life.bot.has_position
    sold = len(life.fills)
    life.kill()
    life.bot.move(BotState.RUNNING, at_us=T0, why="again")
    life.bot.restart_clock(T0 + 6 * MINUTE)
    life.bot.begin_on(list(part(stored, 0, 6).values()), [RULES] * 3, T0)
    life.feed(part(stored, 6, 8))
    assert life.record.state is BotState.STOPPED
    assert len(life.fills) == sold


def test_without_a_candle_in_common_it_does_not_begin() -> None:
    stored = flat([100.0] * 4, [10.0] * 4, [20.0] * 4)
    stored[MARKETS[1]] = minutes([10.0] * 4, start_us=T0 + 30_000_000)
    life = Life(stored)
    assert life.waits == "waits for a candle that all its symbols have"
    assert not life.bot.is_warm


def test_its_decisions_say_what_they_rest_on() -> None:
    stored = flat([100.0] * 3 + [150.0], [10.0] * 4, [20.0] * 4)
    life = Life(part(stored, 0, 1))
    life.feed(part(stored, 1, 4))
    first, second, third = (made for step in life.steps for made in step.decisions)
    assert first.decision.long_entry
    assert [(one.symbol, one.action, one.close) for one in first.parts] == [
        ("BTC-USDT", "long_entry", 100.0),
        ("ETH-USDT", "long_entry", 10.0),
        ("SOL-USDT", "long_entry", 20.0),
    ]
    assert basket_sentence(second.decision.record).endswith("nothing asks for a rebalance")
    words = basket_sentence(third.decision.record)
    assert "BTC-USDT 60.01% of 50.00%" in words
    assert "a part is too far from its weight; sell BTC-USDT for" in words
    assert third.outcome.startswith("BTC-USDT exit ordered; ETH-USDT add-on ordered")


def test_settings_that_would_change_its_symbols_are_refused_once_it_has_traded() -> None:
    before = config_of()
    check_fits(before, config_of(threshold=0.05), where="test", has_traded=True, has_position=True)
    other = config_of(weights={"BTC-USDT": 0.5, "ETH-USDT": 0.3})
    check_fits(before, other, where="test", has_traded=False, has_position=False)
    with pytest.raises(InvalidInput, match=r"weights may change"):
        check_fits(before, other, where="test", has_traded=True, has_position=False)
    with pytest.raises(InvalidInput, match=r"must stay rebalance"):
        check_fits(before, bot_config(), where="test", has_traded=True, has_position=False)
