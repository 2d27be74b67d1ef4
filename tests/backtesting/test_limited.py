from __future__ import annotations

from decimal import Decimal

import pytest

from backtesting.engine import run_backtest
from backtesting.limited import run_limited_backtest
from bots.journal import JournalEntry, differences
from bots.orders import Costs, TradingRules
from bots.paper_bot import candles_of
from bots.risk.limits import NO_LIMITS, Limits
from data.models import FundingRate
from strategies.base import Protection
from tests.bots.bot_fakes import BTC, MINUTE, T0, ScriptedStrategy, bot_config, minutes
from tests.bots.test_paper_bot import CLOSES, SCRIPT, no_finer, started

RULES = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.0001"))
CAPITAL = Decimal(10_000)
TIGHT = Limits(max_drawdown=Decimal("0.02"), cool_down_minutes=3, max_daily_loss=Decimal("0.2"))
STRATEGY = ScriptedStrategy(SCRIPT, protection=Protection(stop_loss=0.03, trailing_stop=0.05))


def test_without_limits_it_is_the_compiled_run() -> None:
    candles = minutes(CLOSES, spread=0.5)
    fast = run_backtest(STRATEGY, candles, capital=CAPITAL, costs=Costs(), rules=RULES)
    slow, violations = run_limited_backtest(
        STRATEGY, candles, market=BTC, capital=CAPITAL, costs=Costs(), rules=RULES, limits=NO_LIMITS
    )
    assert (slow.fills, slow.trades, slow.ledger) == (fast.fills, fast.trades, fast.ledger)
    assert slow.equity.tolist() == pytest.approx(fast.equity.tolist())
    assert violations == ()


def test_limits_give_a_bot_and_a_backtest_the_same_fills_and_the_same_violations() -> None:
    candles = minutes(CLOSES, spread=0.5)
    script = {**SCRIPT, T0 + 15 * MINUTE: "long_entry", T0 + 17 * MINUTE: "long_entry"}
    strategy = ScriptedStrategy(script, protection=Protection(stop_loss=0.03, trailing_stop=0.05))
    limits = {"max_drawdown": 0.02, "cool_down_minutes": 3, "max_daily_loss": 0.2}
    bot = started(strategy, candles.rows(0, 5), limits=limits)
    entries: list[JournalEntry] = []
    for candle in candles_of(candles.rows(5, len(candles)), BTC):
        bot.take(candle, no_finer)
    step = bot.step(0)
    entries += step.entries

    result, violations = run_limited_backtest(
        strategy,
        candles.rows(5, len(candles)),
        market=BTC,
        capital=CAPITAL,
        costs=bot_config().costs,
        rules=RULES,
        limits=TIGHT,
    )
    assert list(step.fills) == list(result.fills)
    assert [broken.violation for broken in step.violations] == list(violations)
    assert violations, "something must have been kept back for the test to say anything"
    assert differences(entries, result.ledger) == {}


def test_funding_is_paid_by_longs_at_its_time_and_balances_in_the_books() -> None:
    strategy = ScriptedStrategy({T0 + 2 * MINUTE: "long_entry"})
    candles = minutes([100.0] * 10)
    rates = [
        FundingRate(
            exchange="binance",
            symbol="BTC-USDT-PERP",
            funding_at_us=at_us,
            rate=0.001,
            settled=settled,
            seen_at_us=at_us,
        )
        # Before there is a position; while there is one, twice; and one that is only expected.
        for at_us, settled in (
            (T0 + 2 * MINUTE, True),
            (T0 + 5 * MINUTE, True),
            (T0 + 6 * MINUTE + 30_000_000, True),
            (T0 + 8 * MINUTE, False),
        )
    ]
    result, _ = run_limited_backtest(
        strategy,
        candles,
        market=BTC,
        capital=CAPITAL,
        costs=Costs(fee_bps=Decimal(0)),
        rules=RULES,
        limits=NO_LIMITS,
        funding=rates,
    )
    assert result.ledger.quantity == 100
    assert result.ledger.funding == -20
    assert result.equity.tolist() == [10_000.0] * 4 + [9_990.0] * 2 + [9_980.0] * 4
