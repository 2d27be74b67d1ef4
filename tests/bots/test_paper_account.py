"""A bot's account, candle by candle, equals the backtest over the same candles."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.engine import run_backtest
from bots.orders import ClosedTrade, Costs, Fill, Order, OrderReason, OrderStatus, TradingRules
from bots.paper_account import AccountState, AccountStep, PaperAccount
from data.errors import RejectedError
from data.models import Ohlcv
from strategies.base import Decision, Protection, Signals, Sizing
from tests.backtesting.series import GivenSignals, candle_of, ohlcv_of, signals_at
from tests.backtesting.test_engine_against_reference import COSTS, PROTECTIONS, RULES, markets

CAPITAL = Decimal(10_000)
CENTS = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.001"), min_notional=Decimal(10))


@dataclass
class Diary:
    orders: list[Order] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    trades: list[ClosedTrade] = field(default_factory=list)
    equity: list[Decimal] = field(default_factory=list)

    def note(self, step: AccountStep) -> None:
        self.orders += step.orders
        self.fills += step.fills
        self.trades += step.trades
        if step.equity is not None:
            self.equity.append(step.equity.equity)


def account(
    costs: Costs, rules: TradingRules, protection: Protection, state: AccountState | None = None
) -> PaperAccount:
    return PaperAccount(
        capital=CAPITAL, costs=costs, rules=rules, protection=protection, sizing=Sizing(), state=state
    )


def decision_of(ohlcv: Ohlcv, signals: Signals, row: int) -> Decision:
    return Decision(
        strategy="given",
        version="v1",
        opened_at_us=int(ohlcv.opened_at_us[row]),
        close=float(ohlcv.close[row]),
        long_entry=bool(signals.long_entry[row]),
        long_exit=bool(signals.long_exit[row]),
        short_entry=bool(signals.short_entry[row]),
        short_exit=bool(signals.short_exit[row]),
        record={},
    )


@settings(max_examples=80, deadline=None, derandomize=True)
@given(markets(), COSTS, RULES, PROTECTIONS, st.booleans(), st.sampled_from(["whole", "halved", "restarted"]))
def test_stepping_equals_the_backtest_even_with_a_restart_at_every_step(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    rounded: bool,
    way: str,
) -> None:
    ohlcv, signals = market
    if not rounded:
        rules = TradingRules()
    expected = run_backtest(
        GivenSignals(given=signals, protection=protection), ohlcv, capital=CAPITAL, costs=costs, rules=rules
    )
    bot = account(costs, rules, protection)
    diary = Diary()

    def again() -> PaperAccount:
        if way != "restarted":
            return bot
        saved = msgspec.json.encode(bot.state)
        return account(costs, rules, protection, msgspec.json.decode(saved, type=AccountState))

    for row in range(len(ohlcv)):
        if way != "whole":
            diary.note(bot.open_candle(int(ohlcv.opened_at_us[row]), float(ohlcv.open[row])))
            bot = again()
        diary.note(bot.close_candle(candle_of(ohlcv, row)))
        bot = again()
        diary.note(bot.decide(decision_of(ohlcv, signals, row)))
        bot = again()
    assert tuple(diary.fills) == expected.fills
    assert tuple(diary.trades) == expected.trades
    assert tuple(bot.pending) == expected.pending
    assert bot.state.ledger == expected.ledger
    assert [float(equity) for equity in diary.equity] == pytest.approx(expected.equity.tolist(), rel=1e-12)
    refused = [order for order in diary.orders if order.status is OrderStatus.REFUSED]
    assert [(order.sequence, order.refusal) for order in refused] == [
        (order.sequence, order.refusal) for order in expected.refused
    ]


def test_an_order_is_told_when_it_is_made_and_when_it_is_filled() -> None:
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0), (101.0, 101.0, 101.0, 101.0)])
    bot = account(Costs(), CENTS, Protection())
    bot.close_candle(candle_of(ohlcv, 0))
    (made,) = bot.decide(decision_of(ohlcv, signals_at(2, long_entry=[0]), 0)).orders
    assert (made.sequence, made.status, made.quantity) == (1, OrderStatus.PENDING, None)
    assert made.decided_at_us == ohlcv.opened_at_us[1]
    step = bot.open_candle(int(ohlcv.opened_at_us[1]), 101.0)
    (filled,) = step.orders
    assert filled == msgspec.structs.replace(made, status=OrderStatus.FILLED, quantity=Decimal("98.910"))
    assert step.fills[0].order_sequence == 1
    assert step.equity is None
    assert not bot.pending


def test_an_exit_jumped_over_at_the_open_is_known_at_the_open() -> None:
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0), (100.0, 100.0, 100.0, 100.0), (90.0, 90.0, 90.0, 90.0)])
    bot = account(Costs(), CENTS, Protection(stop_loss=0.02))
    bot.close_candle(candle_of(ohlcv, 0))
    bot.decide(decision_of(ohlcv, signals_at(3, long_entry=[0]), 0))
    bot.close_candle(candle_of(ohlcv, 1))
    step = bot.open_candle(int(ohlcv.opened_at_us[2]), 90.0)
    assert [(trade.exit_reason, trade.exit_price) for trade in step.trades] == [
        (OrderReason.STOP_LOSS, Decimal(90))
    ]
    assert bot.position_side is None


def test_flattening_leaves_at_once_and_cancels_what_waits() -> None:
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0)] * 2)
    bot = account(Costs(slippage_bps=Decimal(100)), CENTS, Protection())
    bot.close_candle(candle_of(ohlcv, 0))
    bot.decide(decision_of(ohlcv, signals_at(2, long_entry=[0]), 0))
    bot.close_candle(candle_of(ohlcv, 1))
    bot.decide(decision_of(ohlcv, signals_at(2, long_exit=[1]), 1))
    at_us = int(ohlcv.opened_at_us[1]) + ohlcv.timeframe.us
    step = bot.flatten(at_us, 102.0)
    assert [(order.sequence, order.status) for order in step.orders] == [
        (2, OrderStatus.CANCELLED),
        (3, OrderStatus.FILLED),
    ]
    assert [(fill.reason, fill.price) for fill in step.fills] == [(OrderReason.FLATTEN, Decimal("100.98"))]
    assert step.equity is not None
    assert step.equity.equity == bot.ledger.cash
    assert bot.flatten(at_us, 102.0).fills == ()


def test_steps_out_of_order_are_rejected() -> None:
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0)] * 3)
    signals = signals_at(3, long_entry=[0])
    bot = account(Costs(), CENTS, Protection())
    with pytest.raises(RejectedError, match="not the one just closed"):
        bot.decide(decision_of(ohlcv, signals, 0))
    bot.close_candle(candle_of(ohlcv, 1))
    with pytest.raises(RejectedError, match="comes after"):
        bot.close_candle(candle_of(ohlcv, 0))
    bot.open_candle(int(ohlcv.opened_at_us[2]), 100.0)
    with pytest.raises(RejectedError, match="still open"):
        bot.open_candle(int(ohlcv.opened_at_us[2]), 100.0)
    with pytest.raises(RejectedError, match="not the one just closed"):
        bot.decide(decision_of(ohlcv, signals, 1))


def test_a_candle_is_decided_once() -> None:
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0)])
    bot = account(Costs(), CENTS, Protection())
    bot.close_candle(candle_of(ohlcv, 0))
    decision = decision_of(ohlcv, signals_at(1, long_entry=[0]), 0)
    bot.decide(decision)
    with pytest.raises(RejectedError, match="decided already"):
        bot.decide(decision)


def test_a_backtest_can_go_on_where_a_bot_stands() -> None:
    rows = [
        (100.0, 101.0, 99.0, 100.0),
        (100.0, 104.0, 99.5, 103.0),
        (103.0, 103.5, 101.0, 102.0),
        (102.0, 102.0, 95.0, 96.0),
    ]
    ohlcv = ohlcv_of(rows)
    signals = signals_at(4, long_entry=[0])
    protection = Protection(trailing_stop=0.03)
    bot = account(Costs(), CENTS, protection)
    for row in range(2):
        bot.close_candle(candle_of(ohlcv, row))
        bot.decide(decision_of(ohlcv, signals, row))
    strategy = GivenSignals(given=signals_at(2), protection=protection)
    rest = run_backtest(
        strategy, ohlcv.rows(2, 4), capital=CAPITAL, costs=Costs(), rules=CENTS, initial=bot.state
    )
    whole = run_backtest(
        GivenSignals(given=signals, protection=protection), ohlcv, capital=CAPITAL, costs=Costs(), rules=CENTS
    )
    assert rest.trades == whole.trades
    assert rest.fills == whole.fills[1:]
