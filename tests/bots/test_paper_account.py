"""A bot's account, candle by candle, equals the backtest over the same candles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.engine import Simulation, run_backtest, simulate
from bots import fill_records
from bots.orders import ClosedTrade, Costs, Fill, Order, OrderReason, OrderStatus, RulesFrom, TradingRules
from bots.paper_account import AccountState, AccountStep, PaperAccount
from bots.risk.unlimited import unlimited
from data.errors import RejectedError
from data.models import Ohlcv
from strategies.base import Decision, Protection, Signals, Sizing
from tests.backtesting.series import GivenSignals, candle_of, ohlcv_of, signals_at
from tests.backtesting.test_engine_against_reference import COSTS, PROTECTIONS, RULES, markets
from tests.backtesting.test_parts_against_reference import PARTS, SIZINGS, growing_markets

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
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    state: AccountState | None = None,
    sizing: Sizing = Sizing(),  # noqa: B008  # frozen
    later_rules: Sequence[RulesFrom] = (),
) -> PaperAccount:
    return PaperAccount(
        capital=CAPITAL,
        costs=costs,
        rules=rules,
        protection=protection,
        sizing=sizing,
        later_rules=later_rules,
        state=state,
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
        long_add=signals.long_add is not None and bool(signals.long_add[row]),
        short_add=signals.short_add is not None and bool(signals.short_add[row]),
        record={},
    )


WAYS = st.sampled_from(["whole", "halved", "restarted"])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(markets(), COSTS, RULES, PROTECTIONS, st.booleans(), WAYS)
def test_stepping_equals_the_backtest_even_with_a_restart_at_every_step(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    rounded: bool,
    way: str,
) -> None:
    assert_stepping_equals_the_backtest(
        market, costs, rules if rounded else TradingRules(), protection, Sizing(), (), way
    )


@settings(max_examples=120, deadline=None, derandomize=True)
@given(growing_markets(), COSTS, RULES, RULES, PARTS, SIZINGS, st.booleans(), WAYS)
def test_stepping_equals_the_backtest_with_parts_add_ons_and_changing_rules(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    later: TradingRules,
    protection: Protection,
    sizing: Sizing,
    rounded: bool,
    way: str,
) -> None:
    changed = RulesFrom(valid_from_us=int(market[0].opened_at_us[len(market[0]) // 2]), rules=later)
    assert_stepping_equals_the_backtest(
        market,
        costs,
        rules if rounded else TradingRules(),
        protection,
        sizing,
        (changed,) if rounded else (),
        way,
    )


@settings(max_examples=80, deadline=None, derandomize=True)
@given(growing_markets(), COSTS, RULES, PARTS, SIZINGS, st.floats(0, 1))
def test_a_run_over_two_halves_with_the_state_carried_across_equals_the_whole(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    sizing: Sizing,
    where: float,
) -> None:
    ohlcv, signals = market
    cut = 1 + int(where * (len(ohlcv) - 2))
    terms = fill_records.terms_of(costs, rules, protection, sizing)

    def part(first: int, last: int, state: fill_records.Records) -> Simulation:
        columns: dict[str, Any] = {
            name: None if column is None else column[first:last] for name, column in asdict(signals).items()
        }
        return simulate(Signals(**columns), ohlcv.rows(first, last), state=state, terms=terms)

    begun = fill_records.flat_state(CAPITAL)
    whole = part(0, len(ohlcv), begun)
    first = part(0, cut, begun)
    second = part(cut, len(ohlcv), first.state)
    assert second.state.tobytes() == whole.state.tobytes()
    assert first.equity.tolist() + second.equity.tolist() == whole.equity.tolist()
    second.events["row"] += cut
    assert np.concatenate([first.events, second.events]).tolist() == whole.events.tolist()


def assert_stepping_equals_the_backtest(
    market: tuple[Ohlcv, Signals],
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    sizing: Sizing,
    later_rules: Sequence[RulesFrom],
    way: str,
) -> None:
    ohlcv, signals = market
    expected = run_backtest(
        GivenSignals(given=signals, protection=protection, sizing=sizing),
        ohlcv,
        capital=CAPITAL,
        costs=costs,
        rules=rules,
        later_rules=later_rules,
    )
    bot = account(costs, rules, protection, None, sizing, later_rules)
    diary = Diary()

    def again() -> PaperAccount:
        if way != "restarted":
            return bot
        saved = msgspec.json.encode(bot.state)
        state = msgspec.json.decode(saved, type=AccountState)
        return account(costs, rules, protection, state, sizing, later_rules)

    for row in range(len(ohlcv)):
        if way != "whole":
            diary.note(bot.open_candle(int(ohlcv.opened_at_us[row]), float(ohlcv.open[row])))
            bot = again()
        diary.note(bot.close_candle(candle_of(ohlcv, row)))
        bot = again()
        diary.note(bot.decide(unlimited(decision_of(ohlcv, signals, row))))
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
    (made,) = bot.decide(unlimited(decision_of(ohlcv, signals_at(2, long_entry=[0]), 0))).orders
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
    bot.decide(unlimited(decision_of(ohlcv, signals_at(3, long_entry=[0]), 0)))
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
    bot.decide(unlimited(decision_of(ohlcv, signals_at(2, long_entry=[0]), 0)))
    bot.close_candle(candle_of(ohlcv, 1))
    bot.decide(unlimited(decision_of(ohlcv, signals_at(2, long_exit=[1]), 1)))
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
        bot.decide(unlimited(decision_of(ohlcv, signals, 0)))
    bot.close_candle(candle_of(ohlcv, 1))
    with pytest.raises(RejectedError, match="comes after"):
        bot.close_candle(candle_of(ohlcv, 0))
    bot.open_candle(int(ohlcv.opened_at_us[2]), 100.0)
    with pytest.raises(RejectedError, match="still open"):
        bot.open_candle(int(ohlcv.opened_at_us[2]), 100.0)
    with pytest.raises(RejectedError, match="not the one just closed"):
        bot.decide(unlimited(decision_of(ohlcv, signals, 1)))


def test_a_candle_is_decided_once() -> None:
    ohlcv = ohlcv_of([(100.0, 100.0, 100.0, 100.0)])
    bot = account(Costs(), CENTS, Protection())
    bot.close_candle(candle_of(ohlcv, 0))
    decision = decision_of(ohlcv, signals_at(1, long_entry=[0]), 0)
    bot.decide(unlimited(decision))
    with pytest.raises(RejectedError, match="decided already"):
        bot.decide(unlimited(decision))


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
        bot.decide(unlimited(decision_of(ohlcv, signals, row)))
    strategy = GivenSignals(given=signals_at(2), protection=protection)
    rest = run_backtest(
        strategy, ohlcv.rows(2, 4), capital=CAPITAL, costs=Costs(), rules=CENTS, initial=bot.state
    )
    whole = run_backtest(
        GivenSignals(given=signals, protection=protection), ohlcv, capital=CAPITAL, costs=Costs(), rules=CENTS
    )
    assert rest.trades == whole.trades
    assert rest.fills == whole.fills[1:]
