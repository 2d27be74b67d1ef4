from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from backtesting.baskets import run_basket
from backtesting.portfolio import Leg
from bots.ladders.settings import RebalanceSettings
from bots.ladders.strategy import BasketStrategy
from bots.orders import Costs, OrderReason, TradingRules
from data.errors import InvalidInput
from data.models import Ohlcv
from data.timeframes import Timeframe
from tests.bots.bot_fakes import MINUTE, T0, minutes

D = Decimal
CAPITAL = D(10_000)
COSTS = Costs(fee_bps=D(10), slippage_bps=D(5))
RULES = TradingRules(tick_size=D("0.01"), lot_size=D("0.001"), min_notional=D(5))
SETTINGS = RebalanceSettings(weights={"BTC-USDT": D("0.6"), "ETH-USDT": D("0.3")}, threshold=D("0.02"))
STRATEGY = BasketStrategy(SETTINGS, Timeframe.M1)


def wander(seed: int, length: int = 400) -> Ohlcv:
    chance = np.random.default_rng(seed)
    return minutes(np.round(100.0 * np.cumprod(1 + chance.normal(0, 0.01, length)), 2).tolist(), spread=0.5)


def legs(*ohlcvs: Ohlcv, strategy: BasketStrategy = STRATEGY) -> list[Leg]:
    return [
        Leg(symbol=symbol, strategy=strategy, ohlcv=ohlcv, rules=RULES)
        for symbol, ohlcv in zip(strategy.settings.weights, ohlcvs, strict=True)
    ]


def test_the_account_is_the_sum_of_its_legs_to_the_last_digit() -> None:
    result, figures = run_basket(STRATEGY, legs(wander(1), wander(2)), capital=CAPITAL, costs=COSTS)
    assert figures.rebalances > 3
    assert result.cash == CAPITAL + sum(leg.ledger.cash for leg in result.legs)
    gains = result.legs[0].gain + result.legs[1].gain
    np.testing.assert_allclose(result.equity, float(CAPITAL) + gains, rtol=1e-12)
    assert result.metrics.fees_paid == pytest.approx(float(sum(leg.ledger.fees for leg in result.legs)))
    assert result.metrics.trades == sum(len(leg.trades) for leg in result.legs)


def test_at_each_rebalance_the_weights_are_near() -> None:
    cheap = Costs(fee_bps=D(0), maker_fee_bps=D(0))
    result, _ = run_basket(STRATEGY, legs(wander(1), wander(2)), capital=CAPITAL, costs=cheap)
    held = [np.zeros(len(result.at_us)) for _ in result.legs]
    for part, fill in result.fills:
        row = int(np.searchsorted(result.at_us, fill.filled_at_us, side="right"))
        held[part][row:] += float(fill.quantity) * (1 if fill.side == "buy" else -1)
    shares = [held[part] * leg.leg.ohlcv.close / result.equity for part, leg in enumerate(result.legs)]
    # A candle that goes too far is mended at the next open, so its close may lie beyond by its own move.
    for weight, share in zip((0.6, 0.3), shares, strict=True):
        assert np.abs(share[1:] - weight).max() < 0.02 + 0.03
        assert np.abs(share[1:] - weight).mean() < 0.02


def test_candles_that_one_symbol_lacks_are_as_if_nobody_had_them() -> None:
    whole, other = wander(1), wander(2)
    gappy = whole.taken(np.flatnonzero(np.arange(len(whole)) % 7 != 3))
    result, figures = run_basket(STRATEGY, legs(gappy, other), capital=CAPITAL, costs=COSTS)
    assert figures.left_out == (0, len(other) - len(gappy))
    same, _ = run_basket(
        STRATEGY,
        legs(gappy, other.taken(np.flatnonzero(np.arange(len(other)) % 7 != 3))),
        capital=CAPITAL,
        costs=COSTS,
    )
    assert result.fills == same.fills
    np.testing.assert_array_equal(result.equity, same.equity)


def test_a_run_that_is_cut_short_begins_like_the_whole_one() -> None:
    whole, _ = run_basket(STRATEGY, legs(wander(3), wander(4)), capital=CAPITAL, costs=COSTS)
    part, _ = run_basket(
        STRATEGY, legs(wander(3).rows(0, 250), wander(4).rows(0, 250)), capital=CAPITAL, costs=COSTS
    )
    assert part.fills == whole.fills[: len(part.fills)]
    np.testing.assert_array_equal(part.equity, whole.equity[:250])


def test_the_stop_ends_the_run_and_says_what_a_gap_took_on_top() -> None:
    stopped = BasketStrategy(with_stop(D("0.1")), Timeframe.M1)
    falling = minutes([100.0, 100.0, 95.0, 85.0, 60.0, 60.0, 60.0])
    result, figures = run_basket(
        stopped, legs(falling, falling, strategy=stopped), capital=CAPITAL, costs=COSTS
    )
    assert "stop" in figures.finished
    assert {fill.reason for _, fill in result.fills[-2:]} == {OrderReason.STOP_LOSS}
    assert result.equity[-1] == pytest.approx(float(CAPITAL - D(1_000) - figures.gap_loss))
    assert figures.worst_case.loss == 1_000


def with_stop(loss: Decimal) -> RebalanceSettings:
    return RebalanceSettings(weights=SETTINGS.weights, threshold=SETTINGS.threshold, stop_loss=loss)


def test_everything_is_sold_at_the_end_where_that_was_asked_for() -> None:
    result, _ = run_basket(
        STRATEGY, legs(wander(1), wander(2)), capital=CAPITAL, costs=COSTS, close_at_end=True
    )
    assert [leg.ledger.quantity for leg in result.legs] == [0, 0]
    assert result.equity[-1] == float(result.cash)


def test_legs_that_do_not_fit_are_refused() -> None:
    one, other = legs(wander(1), wander(2))
    with pytest.raises(InvalidInput, match="order"):
        run_basket(STRATEGY, [other, one], capital=CAPITAL, costs=COSTS)
    later = minutes([100.0] * 10, start_us=T0 + 10_000 * MINUTE)
    with pytest.raises(InvalidInput, match="in common"):
        run_basket(STRATEGY, [one, replace(other, ohlcv=later)], capital=CAPITAL, costs=COSTS)
    slow = minutes([100.0] * 10, timeframe=Timeframe.M5)
    with pytest.raises(InvalidInput, match="timeframe"):
        run_basket(STRATEGY, [one, replace(other, ohlcv=slow)], capital=CAPITAL, costs=COSTS)
