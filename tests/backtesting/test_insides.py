"""Trades inside candles decide between stop and target, as the slow reference says, in bots and backtests."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.engine import BacktestResult, run_backtest
from backtesting.insides import run_legs_with_insides, run_with_insides
from backtesting.limited import run_limited_backtest
from backtesting.manifest import Source
from backtesting.portfolio import Leg, PortfolioResult, run_portfolio
from backtesting.portfolio_document import portfolio_document, portfolio_manifest
from backtesting.portfolio_report import portfolio_report_html
from bots.finest_data import FinestReader, FinestRows, finest
from bots.orders import Costs
from bots.risk.limits import NO_LIMITS
from data.models import IntArray, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Protection, Target
from tests.backtesting.bot_life import RULES, BotLife
from tests.backtesting.reference_engine import Bar, Outcome, run_reference
from tests.backtesting.series import bars_of, reference_terms, says_of
from tests.backtesting.test_engine_against_reference import assert_equal
from tests.bots.bot_fakes import BTC, MINUTE, T0, ScriptedStrategy
from tests.bots.trade_fakes import MemoryTrades, candles_from, trades_of, walking_trades

CAPITAL = Decimal(10_000)
COSTS = Costs(fee_bps=Decimal(7), maker_fee_bps=Decimal(2), slippage_bps=Decimal(3))
HISTORY = 5  # candles that only warm a bot up
PROTECTIONS = st.sampled_from(
    [
        Protection(stop_loss=0.01, take_profit=0.01),
        Protection(stop_loss=0.005, take_profit=0.02, trailing_stop=0.008),
        Protection(trailing_stop=0.006, take_profit=0.004),
        Protection(stop_loss=0.008, targets=(Target(at=0.004, fraction=0.5), Target(at=0.009, fraction=0.5))),
    ]
)


class Case:
    """Candles made from trades, of some of which a trade was lost; signals; and what is stored."""

    def __init__(self, seed: int, protection: Protection) -> None:
        rng = np.random.default_rng(seed)
        trades = walking_trades(seed, T0, Timeframe.M1, 30, most=24, step=0.8)
        self.ohlcv = candles_from(trades, Timeframe.M1)
        words = ("", "long_entry", "short_entry", "long_entry", "long_exit")
        script = {at_us: words[rng.integers(len(words))] for at_us in self.ohlcv.opened_at_us.tolist()}
        self.strategy = ScriptedStrategy(script, protection=protection)
        self.traded = self.ohlcv.rows(HISTORY, len(self.ohlcv))
        opened = trades.traded_at_us // MINUTE * MINUTE
        torn = self.ohlcv.opened_at_us[rng.random(len(self.ohlcv)) < 0.2]
        lost = [int(np.flatnonzero(opened == at_us)[0]) for at_us in torn.tolist()]
        self.reader = MemoryTrades(trades.taken(np.delete(np.arange(len(trades)), lost)))
        whole = np.flatnonzero(~np.isin(opened, torn))
        self.known = [
            Bar(at_us, price, price, price, price)
            for at_us, price in zip(
                trades.traded_at_us[whole].tolist(),
                [Decimal(repr(price)) for price in trades.price[whole].tolist()],
                strict=True,
            )
        ]

    @property
    def inside(self) -> FinestReader:
        return partial(finest, self.reader, BTC)

    def run(self, finer: Ohlcv | None) -> BacktestResult:
        return run_backtest(
            self.strategy, self.traded, capital=CAPITAL, costs=COSTS, rules=RULES, finer=finer
        )

    def decided(self) -> BacktestResult:
        return run_with_insides(self.run, self.traded, self.inside)

    def reference(self) -> Outcome:
        return run_reference(
            bars_of(self.traded),
            says_of(self.strategy.signals(self.traded)),
            reference_terms(COSTS, RULES, self.strategy.protection, self.strategy.sizing),
            CAPITAL,
            finer=self.known,
            duration_us=MINUTE,
        )


SEEDS = st.integers(0, 2**32 - 1)
PROMPT = settings(max_examples=60, deadline=None, derandomize=True)


@PROMPT
@given(SEEDS, PROTECTIONS)
def test_trades_decide_as_the_reference_says(seed: int, protection: Protection) -> None:
    case = Case(seed, protection)
    assert_equal(case.decided(), case.reference())


@PROMPT
@given(SEEDS, PROTECTIONS)
def test_reading_where_it_is_needed_is_reading_everything(seed: int, protection: Protection) -> None:
    case = Case(seed, protection)
    lazy, eager = case.decided(), case.run(case.inside(case.traded))
    assert lazy.fills == eager.fills
    assert lazy.equity.tolist() == eager.equity.tolist()
    best = [None if one.best_case_equity is None else one.best_case_equity.tolist() for one in (lazy, eager)]
    assert best[0] == best[1]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(SEEDS, PROTECTIONS)
def test_a_bot_and_its_backtest_are_decided_by_the_same_trades(seed: int, protection: Protection) -> None:
    case = Case(seed, protection)
    costs: dict[str, Any] = {"fee_bps": 7, "maker_fee_bps": 2, "slippage_bps": 3}
    life = BotLife(case.strategy, case.ohlcv.rows(0, HISTORY), capital=10_000, **costs)
    life.live(case.traded, finer=case.reader)
    asked_by_bot = [span for spans in case.reader.asked for span in spans]
    case.reader.asked.clear()
    result = case.decided()
    stored = life.store.fills_between("trend", start_us=0, end_us=2**60)
    made = [(one.filled_at_us, one.reason, one.price, one.quantity, one.ambiguous) for one in result.fills]
    assert [(one.filled_at_us, one.reason, one.price, one.quantity, one.ambiguous) for one in stored] == made
    assert len(asked_by_bot) <= len(case.traded), "a bot asks at most once for a candle"


def test_the_cases_above_are_decided_by_trades_and_some_stay_ambiguous() -> None:
    decided = ambiguous = 0
    for seed in range(20):
        case = Case(seed, Protection(stop_loss=0.01, take_profit=0.01))
        blind, seeing = case.run(None), case.decided()
        decided += blind.metrics.ambiguous_exits - seeing.metrics.ambiguous_exits
        ambiguous += seeing.metrics.ambiguous_exits
    assert decided > 10
    assert ambiguous > 3


def held(path: list[float]) -> tuple[Case, Callable[[FinestRows | None], BacktestResult]]:
    """A long position from 100 with stop and target 5 % away, and a candle whose trades go along `path`."""
    rows = [(T0 + number * MINUTE, 100.0, 1.0) for number in range(HISTORY + 2)]
    last_us = T0 + (HISTORY + 2) * MINUTE
    rows += [(last_us + number * 1_000, price, 1.0) for number, price in enumerate(path)]
    case = Case(0, Protection(stop_loss=0.05, take_profit=0.05))
    trades = trades_of(rows)
    case.ohlcv = candles_from(trades, Timeframe.M1)
    case.traded = case.ohlcv.rows(HISTORY, len(case.ohlcv))
    case.strategy.script = {T0 + HISTORY * MINUTE: "long_entry"}
    case.reader = MemoryTrades(trades)
    return case, case.run


def test_the_first_trade_beyond_a_level_says_which_and_when() -> None:
    up, run = held([100.0, 106.0, 94.0])
    result = run_with_insides(run, up.traded, up.inside)
    assert result.fills[-1].reason == "take_profit"
    assert result.fills[-1].filled_at_us == int(up.traded.opened_at_us[-1]) + 1_000
    assert (result.metrics.ambiguous_exits, result.best_case_equity) == (0, None)
    down, run = held([100.0, 94.0, 106.0])
    assert run_with_insides(run, down.traded, down.inside).fills[-1].reason == "stop_loss"


def test_a_candle_is_asked_for_once_and_others_never() -> None:
    case, run = held([100.0, 106.0, 94.0])
    run_with_insides(run, case.traded, case.inside)
    last_us = int(case.traded.opened_at_us[-1])
    assert case.reader.asked == [[(last_us, last_us + MINUTE)]]
    calm, run = held([100.0, 101.0, 99.0])
    run_with_insides(run, calm.traded, calm.inside)
    assert calm.reader.asked == []


def test_legs_of_a_portfolio_are_decided_each_by_its_own_trades() -> None:
    up, _ = held([100.0, 106.0, 94.0])
    down, _ = held([100.0, 94.0, 106.0])
    cases = {"UP-USDT": up, "DOWN-USDT": down}
    legs = [
        Leg(symbol=symbol, strategy=case.strategy, ohlcv=case.traded, rules=RULES)
        for symbol, case in cases.items()
    ]

    def run(finer: list[FinestRows | None]) -> PortfolioResult:
        given_legs = [
            Leg(symbol=leg.symbol, strategy=leg.strategy, ohlcv=leg.ohlcv, rules=leg.rules, finer=own)
            for leg, own in zip(legs, finer, strict=True)
        ]
        return run_portfolio(given_legs, capital=CAPITAL, costs=COSTS)

    halves = run_legs_with_insides(lambda finer: run(list(finer)), [(leg.ohlcv, None) for leg in legs])
    assert halves.metrics.ambiguous_exits == 1  # the first leg's entry leaves no cash to the other
    assert halves.best_case_equity is not None
    assert halves.best_case_equity[-1] > halves.equity[-1]
    manifest = portfolio_manifest(halves, [Source(strategy="x")] * 2, [(), ()], rounding=True)
    told = portfolio_document(halves, manifest)["ambiguity"]
    assert told["worst_case_return"] == float(halves.equity[-1]) / 10_000 - 1
    assert told["best_case_return"] > 0 > told["worst_case_return"]
    assert "In 1 exit stop and target lay inside one candle" in portfolio_report_html(halves, manifest)
    seen = run_legs_with_insides(
        lambda finer: run(list(finer)), [(case.traded, case.inside) for case in cases.values()]
    )
    assert seen.metrics.ambiguous_exits == 0
    assert seen.best_case_equity is None
    assert seen.legs[0].fills[-1].reason == "take_profit"


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, PROTECTIONS)
def test_a_run_candle_by_candle_has_the_same_readings_as_the_compiled_one(
    seed: int, protection: Protection
) -> None:
    case = Case(seed, protection)

    def slowly(finer: FinestRows | None) -> BacktestResult:
        return run_limited_backtest(
            case.strategy, case.traded, market=BTC, capital=CAPITAL, costs=COSTS, rules=RULES,
            limits=NO_LIMITS, finer=finer,
        )[0]  # fmt: skip

    fast, slow = case.decided(), run_with_insides(slowly, case.traded, case.inside)
    assert slow.fills == fast.fills
    assert rows_of(slow.undecided) == rows_of(fast.undecided)
    assert (slow.best_case_equity is None) == (fast.best_case_equity is None)
    if slow.best_case_equity is not None and fast.best_case_equity is not None:
        np.testing.assert_allclose(slow.best_case_equity, fast.best_case_equity, rtol=1e-12)


def rows_of(rows: IntArray) -> list[int]:
    return [int(row) for row in rows]
