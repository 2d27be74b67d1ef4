"""The fast engine against the slow one, trade by trade, to the last digit."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtesting.engine import BacktestResult, run_backtest
from bots.orders import Costs, RulesFrom, TradingRules
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Protection, Signals, Sizing
from tests.backtesting.reference_engine import Outcome, run_reference
from tests.backtesting.series import (
    GivenSignals,
    bars_of,
    ohlcv_of,
    recorded,
    reference_terms,
    says_of,
)

CAPITAL = Decimal(10_000)
ROUNDED = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"), min_notional=Decimal(10))
QUARTERS = TradingRules(tick_size=Decimal("0.25"), lot_size=Decimal("0.003"))
ALL_EXITS = Protection(stop_loss=0.02, take_profit=0.04, trailing_stop=0.015)
SLIPPING = Costs(fee_bps=Decimal("7.5"), maker_fee_bps=Decimal(2), slippage_bps=Decimal("3.3"))


def both(
    signals: Signals,
    ohlcv: Ohlcv,
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    sizing: Sizing = Sizing(),  # noqa: B008  # frozen
    finer: Ohlcv | None = None,
    later_rules: Sequence[RulesFrom] = (),
) -> tuple[BacktestResult, Outcome]:
    strategy = GivenSignals(given=signals, timeframe=ohlcv.timeframe, protection=protection, sizing=sizing)
    fast = run_backtest(
        strategy,
        ohlcv,
        capital=CAPITAL,
        costs=costs,
        rules=rules,
        finer=finer,
        later_rules=later_rules,
    )
    slow = run_reference(
        bars_of(ohlcv),
        says_of(signals),
        reference_terms(costs, rules, protection, sizing, later_rules),
        CAPITAL,
        finer=() if finer is None else bars_of(finer),
        duration_us=ohlcv.timeframe.us,
    )
    return fast, slow


def assert_equal(fast: BacktestResult, slow: Outcome, *, exact: bool = True) -> None:
    with localcontext(Context(prec=100)):
        _assert_equal(fast, slow, exact=exact)


def _assert_equal(fast: BacktestResult, slow: Outcome, *, exact: bool) -> None:
    assert len(fast.trades) == len(slow.trades)
    assert len(fast.refused) == slow.refusals
    near = Decimal(0) if exact else Decimal("1e-14")
    for got, expected in zip(fast.trades, slow.trades, strict=True):
        assert (got.side, got.entry_at_us, got.exit_at_us, got.exit_reason) == (
            expected.side,
            expected.entry_at_us,
            expected.exit_at_us,
            expected.reason,
        )
        for mine, theirs in (
            (got.entry_price, expected.entry_price),
            (got.exit_price, expected.exit_price),
            (got.quantity, expected.quantity),
            (got.fees, expected.fees),
        ):
            assert abs(mine - theirs) <= near * abs(theirs)
        assert abs(got.pnl - expected.pnl) <= near * got.entry_price * got.quantity
    assert abs(fast.ledger.cash - slow.cash) <= near * CAPITAL * 10
    assert fast.metrics.ambiguous_exits == sum(trade.ambiguous for trade in slow.trades)
    np.testing.assert_allclose(fast.equity, [float(value) for value in slow.equity], rtol=1e-12, atol=1e-9)
    if slow.open_trade is None:
        assert fast.ledger.quantity == 0
    else:
        assert abs(abs(fast.ledger.quantity) - slow.open_trade.quantity) <= near * slow.open_trade.quantity


@st.composite
def markets(draw: st.DrawFn) -> tuple[Ohlcv, Signals]:
    count = draw(st.integers(2, 30))
    seed = draw(st.integers(0, 2**32 - 1))
    jumpiness = draw(st.sampled_from([0.002, 0.01, 0.05]))
    decimals = draw(st.sampled_from([0, 2, 4]))
    chance = draw(st.sampled_from([0.1, 0.4]))
    rng = np.random.default_rng(seed)
    closes = np.round(100 * np.exp(np.cumsum(rng.normal(0, jumpiness, count))), decimals)
    opens = np.round(
        np.concatenate(([closes[0]], closes[:-1])) * np.exp(rng.normal(0, jumpiness / 2, count)), decimals
    )
    reach = np.exp(np.abs(rng.normal(0, jumpiness, (2, count))))
    highs = np.round(np.maximum(opens, closes) * reach[0], decimals)
    lows = np.round(np.minimum(opens, closes) / reach[1], decimals)
    ohlcv = ohlcv_of(zip(opens.tolist(), highs.tolist(), lows.tolist(), closes.tolist(), strict=True))
    flags = rng.random((4, count)) < chance
    return ohlcv, Signals(long_entry=flags[0], long_exit=flags[1], short_entry=flags[2], short_exit=flags[3])


FRACTIONS = st.one_of(st.none(), st.sampled_from([0.001, 0.01, 0.02, 0.0375, 0.1]))
PROTECTIONS = st.builds(Protection, stop_loss=FRACTIONS, take_profit=FRACTIONS, trailing_stop=FRACTIONS)
BPS = st.sampled_from([Decimal(0), Decimal(1), Decimal("7.5"), Decimal(10), Decimal(100)])
COSTS = st.builds(Costs, fee_bps=BPS, maker_fee_bps=BPS, slippage_bps=BPS)
STEPS = st.sampled_from(["0.01", "0.25", "0.5", "0.00001", "1", "0.003"]).map(Decimal)
RULES = st.builds(
    TradingRules, tick_size=STEPS, lot_size=STEPS, min_notional=st.sampled_from([Decimal(0), Decimal(9_900)])
)
SIZES = st.sampled_from(["1", "0.5", "0.333", "0.01"]).map(lambda value: Sizing(value=Decimal(value)))
UNHURRIED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@UNHURRIED
@given(markets(), COSTS, RULES, PROTECTIONS, SIZES)
def test_with_steps_every_digit_equals_the_reference(
    market: tuple[Ohlcv, Signals], costs: Costs, rules: TradingRules, protection: Protection, sizing: Sizing
) -> None:
    ohlcv, signals = market
    assert_equal(*both(signals, ohlcv, costs, rules, protection, sizing))


@UNHURRIED
@given(markets(), COSTS, PROTECTIONS, SIZES)
def test_without_steps_prices_and_quantities_equal_the_reference_to_fourteen_digits(
    market: tuple[Ohlcv, Signals], costs: Costs, protection: Protection, sizing: Sizing
) -> None:
    ohlcv, signals = market
    assert_equal(*both(signals, ohlcv, costs, TradingRules(), protection, sizing), exact=False)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(markets(), PROTECTIONS, st.integers(0, 2**32 - 1))
def test_finer_candles_decide_as_the_reference_says(
    market: tuple[Ohlcv, Signals], protection: Protection, seed: int
) -> None:
    ohlcv, signals = market
    assert_equal(*both(signals, ohlcv, SLIPPING, ROUNDED, protection, finer=_inside(ohlcv, seed)))


def _inside(ohlcv: Ohlcv, seed: int) -> Ohlcv:
    """Four quarter-hour candles in each hour, walking from its open over its extremes to its close."""
    rng = np.random.default_rng(seed)
    rows, times = [], []
    for row in range(len(ohlcv)):
        turns = [ohlcv.low[row], ohlcv.high[row]]
        if rng.random() < 0.5:
            turns.reverse()
        middle = (ohlcv.low[row] + ohlcv.high[row]) / 2
        path = [ohlcv.open[row], turns[0], round(middle, 4), turns[1], ohlcv.close[row]]
        for part in range(4):
            if rng.random() < 0.9:
                a, b = float(path[part]), float(path[part + 1])
                rows.append((a, max(a, b), min(a, b), b))
                times.append(int(ohlcv.opened_at_us[row]) + part * Timeframe.M15.us)
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Ohlcv(
        timeframe=Timeframe.M15,
        opened_at_us=np.array(times, dtype=np.int64),
        open=columns[:, 0].copy(),
        high=columns[:, 1].copy(),
        low=columns[:, 2].copy(),
        close=columns[:, 3].copy(),
        volume=np.ones(len(columns)),
    )


def crossings(ohlcv: Ohlcv, fast: int, slow: int) -> Signals:
    """In and out, long and short, where two moving averages cross."""
    quick, calm = (
        np.convolve(ohlcv.close, np.full(period, 1 / period))[: len(ohlcv)] for period in (fast, slow)
    )
    above = quick > calm
    up = np.zeros(len(ohlcv), dtype=np.bool_)
    down = up.copy()
    up[slow:] = above[slow:] & ~above[slow - 1 : -1]
    down[slow:] = ~above[slow:] & above[slow - 1 : -1]
    return Signals(long_entry=up, long_exit=down, short_entry=down, short_exit=up)


@pytest.mark.parametrize(
    ("file", "timeframe"),
    [
        ("binance_spot/BTCUSDT_1h_2024.csv.gz", Timeframe.H1),
        ("binance_spot/XRPUSDT_15m_2024.csv.gz", Timeframe.M15),
        ("okx_swap/BTC-USDT-SWAP_1m_20260101_20260116.csv.gz", Timeframe.M1),
    ],
)
@pytest.mark.parametrize("protection", [Protection(), ALL_EXITS, Protection(trailing_stop=0.01)])
@pytest.mark.parametrize(
    ("costs", "rules"), [(Costs(), ROUNDED), (SLIPPING, QUARTERS), (SLIPPING, TradingRules())]
)
def test_recorded_markets_give_the_reference_s_trades(
    shared_data: Path,
    file: str,
    timeframe: Timeframe,
    protection: Protection,
    costs: Costs,
    rules: TradingRules,
) -> None:
    ohlcv = recorded(shared_data / "candles" / file, timeframe, rows=4_000)
    if "XRP" in file and rules is QUARTERS:
        rules = TradingRules(tick_size=Decimal("0.0005"), lot_size=Decimal(1))
    fast, slow = both(crossings(ohlcv, 5, 20), ohlcv, costs, rules, protection)
    assert len(slow.trades) > 100
    assert_equal(fast, slow, exact=rules.lot_size is not None)
