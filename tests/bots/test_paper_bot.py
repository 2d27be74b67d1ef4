from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.engine import run_backtest
from bots.lifecycle import BotState
from bots.orders import Fill, OrderReason, OrderStatus, TradingRules
from bots.paper_bot import PaperBot, candles_of, first_traded
from bots.stores import BotRecord, BotStep
from bots.views import EquityPoint
from data.models import Candle, Ohlcv
from data.timeframes import SECOND_US, Timeframe
from strategies.base import Protection
from tests.bots.bot_fakes import BTC, MINUTE, T0, ScriptedStrategy, bot_config, minutes

DAY = 86_400 * SECOND_US
RULES = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.0001"))
CLOSES = [100, 101, 99, 102, 104, 103, 97, 98, 105, 107, 101, 100, 99, 103, 108, 104, 102, 101, 99, 100]
SCRIPT = {
    T0 + 6 * MINUTE: "long_entry",
    T0 + 9 * MINUTE: "long_exit short_entry",
    T0 + 12 * MINUTE: "short_exit",
    T0 + 13 * MINUTE: "long_entry",
}


def no_finer(_: Candle) -> Ohlcv | None:
    return None


def empty_record(**changes: object) -> BotRecord:
    record = BotRecord(
        bot_id=1,
        name="trend",
        config={},
        source="",
        state=BotState.CREATED,
        desired=BotState.RUNNING,
        flatten=False,
        step=0,
        account=None,
        strategy_version="",
        last_candle_us=None,
        opened_candle_us=None,
        started_at_us=None,
        health="",
    )
    return msgspec.structs.replace(record, **changes)


class Stored:
    """What a store would hold of one bot after its steps."""

    def __init__(self) -> None:
        self.record = empty_record()
        self.fills: list[Fill] = []
        self.equity: dict[int, EquityPoint] = {}
        self.records: dict[int, object] = {}

    def add(self, step: BotStep) -> None:
        self.record = msgspec.structs.replace(
            self.record,
            step=step.step,
            state=step.state,
            account=step.account,
            strategy_version=step.strategy_version or self.record.strategy_version,
            last_candle_us=step.last_candle_us,
            started_at_us=step.started_at_us,
        )
        self.fills += step.fills
        self.equity.update((point.at_us, point) for point in step.equity)
        self.records.update((made.decision.opened_at_us, made) for made in step.decisions)


def started(strategy: ScriptedStrategy, history: Ohlcv, **config: Any) -> PaperBot:
    bot = PaperBot(empty_record(), bot_config(**config), strategy)
    bot.restart_clock(T0 + 10 * DAY)
    bot.move(BotState.RUNNING, at_us=T0, why="test")
    bot.begin(history, RULES, T0)
    return bot


def restored(stored: Stored, strategy: ScriptedStrategy, candles: Ohlcv, **config: Any) -> PaperBot:
    bot = PaperBot(stored.record, bot_config(**config), strategy)
    last = stored.record.last_candle_us
    assert last is not None
    bot.replay(candles.rows(0, int(candles.opened_at_us.searchsorted(last, side="right"))))
    return bot


def undisturbed(strategy: ScriptedStrategy, candles: Ohlcv) -> Stored:
    stored = Stored()
    bot = started(strategy, candles.rows(0, 5))
    for candle in candles_of(candles.rows(5, len(candles)), BTC):
        bot.take(candle, no_finer)
    stored.add(bot.step(0))
    return stored


def test_a_bot_fed_candle_by_candle_fills_like_the_backtest_of_the_same_candles() -> None:
    strategy = ScriptedStrategy(SCRIPT, protection=Protection(stop_loss=0.03, trailing_stop=0.05))
    candles = minutes(CLOSES, spread=0.5)
    bot_did = undisturbed(strategy, candles)

    config = bot_config()
    result = run_backtest(
        strategy, candles.rows(5, 20), capital=config.capital, costs=config.costs, rules=RULES
    )

    assert bot_did.fills == list(result.fills)
    assert len(bot_did.fills) >= 4
    curve = [float(point.equity) for point in bot_did.equity.values()]
    assert curve == pytest.approx(result.equity.tolist())


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.sets(st.integers(5, 19), max_size=6),
    live_opens=st.sets(st.integers(5, 19)),
    heap=st.integers(1, 8),
)
def test_killed_anywhere_it_ends_like_its_undisturbed_twin(
    cuts: set[int], live_opens: set[int], heap: int
) -> None:
    """Cuts are kills after a stored step; live opens come before their candle closes, and may be lost too."""
    strategy = ScriptedStrategy(SCRIPT, protection=Protection(stop_loss=0.02, take_profit=0.04))
    candles = minutes(CLOSES, spread=0.5)
    twin = undisturbed(strategy, candles)

    stored = Stored()
    bot = started(strategy, candles.rows(0, 5))
    stored.add(bot.step(0))
    unstored = 0
    for i, candle in enumerate(candles_of(candles, BTC)):
        if i < 5:
            continue
        if i in live_opens and bot.last_candle_us == candle.opened_at_us - MINUTE:
            bot.open(candle.opened_at_us, candle.open)
            stored.add(bot.step(0))
        if i in cuts:
            # What was not stored is lost; the candles since the stored one come again.
            bot = restored(stored, strategy, candles)
        first = int(candles.opened_at_us.searchsorted(bot.last_candle_us or 0, side="right"))
        for late in candles_of(candles.rows(first, i + 1), BTC):
            bot.take(late, no_finer)
        unstored += 1
        if unstored % heap == 0 or i == 19:
            stored.add(bot.step(0))

    assert stored.fills == twin.fills
    assert stored.equity == twin.equity
    assert stored.records == twin.records
    assert msgspec.json.decode(stored.record.account or b"") == msgspec.json.decode(
        twin.record.account or b""
    )


def test_candles_that_closed_before_the_start_only_warm_up() -> None:
    strategy = ScriptedStrategy({T0 + i * MINUTE: "long_entry" for i in range(20)})
    candles = minutes(CLOSES)
    bot = PaperBot(empty_record(), bot_config(), strategy)
    started_us = T0 + 7 * MINUTE + 10 * SECOND_US
    bot.restart_clock(started_us)
    bot.move(BotState.RUNNING, at_us=started_us, why="test")
    bot.begin(candles.rows(0, 3), RULES, started_us)  # the store lags a few minutes behind

    for candle in candles_of(candles.rows(3, 20), BTC):
        bot.take(candle, no_finer)

    step = bot.step(0)
    assert step.decisions[0].decision.opened_at_us == T0 + 7 * MINUTE
    assert step.decisions[0].decision.record == {"seen": 8, "first": T0}
    assert step.fills[0].filled_at_us == T0 + 8 * MINUTE


def test_a_replayed_recording_is_traded_from_the_candle_after_the_newest() -> None:
    assert first_traded(T0, Timeframe.M1, T0 + 400 * DAY) == T0 + MINUTE
    assert first_traded(T0, Timeframe.M1, T0 + 5 * MINUTE + 1) == T0 + 5 * MINUTE
    assert first_traded(T0, Timeframe.M1, T0 + MINUTE - 1) == T0


def test_a_paused_bot_opens_nothing_and_still_leaves() -> None:
    strategy = ScriptedStrategy(
        {
            T0 + 5 * MINUTE: "long_entry",
            T0 + 7 * MINUTE: "short_entry",
            T0 + 8 * MINUTE: "long_exit short_entry",
            T0 + 10 * MINUTE: "long_entry",
        }
    )
    candles = candles_of(minutes(CLOSES), BTC)
    bot = started(strategy, minutes(CLOSES).rows(0, 5))
    for candle in candles[5:7]:
        bot.take(candle, no_finer)
    assert bot.has_position

    bot.move(BotState.PAUSED, at_us=T0, why="test")
    for candle in candles[7:14]:
        bot.take(candle, no_finer)

    step = bot.step(0)
    assert [fill.reason for fill in step.fills] == [OrderReason.ENTRY, OrderReason.EXIT_SIGNAL]
    assert not bot.has_position
    outcomes = {made.decision.opened_at_us: made.outcome for made in step.decisions}
    assert outcomes[T0 + 8 * MINUTE] == "long exit ordered; paused: no new entries"
    assert outcomes[T0 + 10 * MINUTE] == "paused: no new entries"


def test_an_entry_that_waits_is_called_off_by_a_pause() -> None:
    candles = minutes(CLOSES)
    bot = started(ScriptedStrategy({T0 + 5 * MINUTE: "long_entry"}), candles.rows(0, 5))
    bot.take(candles_of(candles, BTC)[5], no_finer)
    assert bot.waits_for_an_open

    bot.move(BotState.PAUSED, at_us=T0, why="test")
    bot.take(candles_of(candles, BTC)[6], no_finer)

    step = bot.step(0)
    (order,) = step.orders
    assert (order.status, order.refusal) == (OrderStatus.CANCELLED, "the bot was paused")
    assert step.fills == ()


def holder(candles: Ohlcv) -> PaperBot:
    bot = started(ScriptedStrategy({T0 + 5 * MINUTE: "long_entry"}), candles.rows(0, 5))
    for candle in candles_of(candles.rows(5, 8), BTC):
        bot.take(candle, no_finer)
    assert bot.has_position
    return bot


@pytest.mark.parametrize("live", [True, False])
def test_a_stop_that_flattens_closes_at_the_next_open_and_then_stands_still(live: bool) -> None:
    candles = minutes(CLOSES)
    bot = holder(candles)
    bot.step(0)

    bot.move(BotState.STOPPING, at_us=T0, why="test")
    assert bot.waits_for_an_open
    if live:
        bot.open(T0 + 8 * MINUTE, 98.0)
    else:
        bot.take(candles_of(candles, BTC)[8], no_finer)

    assert bot.state is BotState.STOPPED
    step = bot.step(0)
    (fill,) = step.fills
    assert (fill.reason, fill.price, fill.filled_at_us) == (
        OrderReason.FLATTEN,
        Decimal("98.00"),
        T0 + 8 * MINUTE,
    )
    assert step.settle == (BotState.STOPPED, BotState.STOPPED)
    # The closing fill shows in the curve: it changes the point at that very moment.
    assert [(point.at_us, point.position) for point in step.equity] == [(T0 + 8 * MINUTE, Decimal(0))]
    assert step.equity[0].equity == step.equity[0].cash
    assert [event.what for event in step.events] == ["stopping", "stopped"]


def test_after_an_outage_flatten_lets_nothing_in_and_closes_at_the_next_open() -> None:
    candles = minutes(CLOSES)
    strategy = ScriptedStrategy({T0 + 5 * MINUTE: "long_entry", T0 + 9 * MINUTE: "short_entry"})
    stored = Stored()
    bot = started(strategy, candles.rows(0, 5))
    for candle in candles_of(candles.rows(5, 8), BTC):
        bot.take(candle, no_finer)
    stored.add(bot.step(0))

    back = restored(stored, strategy, candles)
    back.hold_entries_until(T0 + 11 * MINUTE)
    for candle in candles_of(candles.rows(8, 12), BTC):
        back.take(candle, no_finer)
    assert back.step(0).fills == ()
    assert back.waits_for_an_open
    back.take(candles_of(candles, BTC)[12], no_finer)

    (fill,) = back.step(0).fills
    assert (fill.reason, fill.filled_at_us) == (OrderReason.FLATTEN, T0 + 12 * MINUTE)
    assert back.state is BotState.RUNNING


def test_a_forming_candle_that_was_never_stored_does_not_hold_the_bot_up() -> None:
    candles = minutes(CLOSES)
    bot = started(ScriptedStrategy({T0 + 5 * MINUTE: "long_entry"}), candles.rows(0, 5))
    bot.take(candles_of(candles, BTC)[5], no_finer)
    bot.open(T0 + 6 * MINUTE, 103.0)
    bot.take(candles_of(candles, BTC)[8], no_finer)  # 6 and 7 fell into a hole

    (fill,) = bot.step(0).fills
    assert fill.filled_at_us == T0 + 6 * MINUTE
    assert bot.last_candle_us == T0 + 8 * MINUTE


def test_finer_candles_are_asked_for_only_where_stop_and_target_may_both_lie_inside() -> None:
    asked: list[int] = []

    def finer(candle: Candle) -> Ohlcv | None:
        asked.append(candle.opened_at_us)
        # Up first, then down: the target comes first.
        path = [100.0, 106.0, 94.0]
        return minutes(path, start_us=candle.opened_at_us, timeframe=Timeframe.S1)

    strategy = ScriptedStrategy(
        {T0 + 5 * MINUTE: "long_entry"}, protection=Protection(stop_loss=0.05, take_profit=0.05)
    )
    flat = minutes([100.0] * 8)
    wild = minutes([100.0] * 8, spread=8.0)
    bot = started(strategy, flat.rows(0, 5))
    for candle in [*candles_of(flat.rows(5, 7), BTC), *candles_of(wild.rows(7, 8), BTC)]:
        bot.take(candle, finer)

    _entry, leaving = bot.step(0).fills
    assert asked == [T0 + 7 * MINUTE]
    assert (leaving.reason, leaving.ambiguous) == (OrderReason.TAKE_PROFIT, False)


def test_the_summary_shows_the_levels_of_the_open_position() -> None:
    candles = minutes([100.0] * 6 + [110.0, 120.0])
    strategy = ScriptedStrategy(
        {T0 + 5 * MINUTE: "long_entry"},
        protection=Protection(stop_loss=0.05, take_profit=0.5, trailing_stop=0.1),
    )
    bot = started(strategy, candles.rows(0, 5), fee_bps=0)
    for candle in candles_of(candles.rows(5, 8), BTC):
        bot.take(candle, no_finer)

    summary = bot.summary()
    position = summary.position
    assert position is not None
    assert (position.entry_price, position.quantity) == (Decimal(100), Decimal(100))
    assert (position.stop_price, position.target_price) == (Decimal("95"), Decimal("150"))
    assert position.trailing_price == Decimal("108")
    assert position.unrealised_pnl == Decimal(2_000)
    assert summary.point.equity == Decimal(12_000)
