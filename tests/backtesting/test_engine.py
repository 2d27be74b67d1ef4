"""Each rule by hand: small series whose right answer can be worked out on paper."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest

from backtesting.engine import BacktestResult, run_backtest
from bots.orders import Costs, OrderReason, OrderStatus, TradingRules
from data.errors import InvalidInput
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Protection, Signals, Sizing
from tests.backtesting.series import GivenSignals, ohlcv_of, signals_at

FREE = Costs(fee_bps=Decimal(0), maker_fee_bps=Decimal(0))
CENTS = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
CALM = (100.0, 100.0, 100.0, 100.0)


def run(
    rows: Sequence[tuple[float, float, float, float]],
    signals: Signals,
    *,
    protection: Protection = Protection(),  # noqa: B008  # frozen
    costs: Costs = FREE,
    rules: TradingRules = CENTS,
    sizing: Sizing = Sizing(),  # noqa: B008  # frozen
    capital: int = 10_000,
    close_at_end: bool = False,
    finer: Ohlcv | None = None,
) -> BacktestResult:
    strategy = GivenSignals(given=signals, protection=protection, sizing=sizing)
    return run_backtest(
        strategy,
        ohlcv_of(rows),
        capital=Decimal(capital),
        costs=costs,
        rules=rules,
        close_at_end=close_at_end,
        finer=finer,
    )


def exits(result: BacktestResult) -> list[tuple[str, Decimal]]:
    return [(trade.exit_reason.value, trade.exit_price) for trade in result.trades]


def test_a_signal_is_filled_at_the_next_open_and_never_at_its_own_close() -> None:
    rows = [(100, 101, 99, 100.5), (102, 103, 101, 102.5), (104, 105, 103, 104.5)]
    result = run(rows, signals_at(3, long_entry=[0], long_exit=[1]))
    (trade,) = result.trades
    assert (trade.entry_price, trade.exit_price) == (Decimal(102), Decimal(104))
    assert trade.entry_at_us == result.ohlcv.opened_at_us[1]
    assert trade.exit_at_us == result.ohlcv.opened_at_us[2]
    assert result.equity.tolist() == [10_000.0, 10_049.0195, float(result.ledger.cash)]


def test_all_cash_left_after_the_fee_is_spent_and_never_more() -> None:
    costs = Costs(fee_bps=Decimal(10))
    result = run([CALM] * 2, signals_at(2, long_entry=[0]), costs=costs)
    assert result.ledger.quantity == Decimal("99.900")  # 10000 / 100.1 = 99.9000999...
    assert result.ledger.cash == Decimal("10000") - Decimal("9990") - Decimal("9.99")
    assert 0 <= result.ledger.cash < Decimal("0.001") * Decimal("100.1")


def test_slippage_worsens_both_legs_and_is_rounded_to_the_tick_against_us() -> None:
    costs = Costs(fee_bps=Decimal(0), slippage_bps=Decimal("1.5"))
    rows = [CALM, (100.01, 100.01, 100.01, 100.01), (100.01, 100.01, 100.01, 100.01)]
    (trade,) = run(rows, signals_at(3, long_entry=[0], long_exit=[1]), costs=costs).trades
    assert trade.entry_price == Decimal("100.03")  # 100.0250015 up
    assert trade.exit_price == Decimal("99.99")  # 99.9949985 down


def test_a_price_on_the_tick_stays_there() -> None:
    result = run([CALM, (0.3, 0.3, 0.3, 0.3)], signals_at(2, long_entry=[0]))
    assert result.fills[0].price == Decimal("0.30")


def test_below_the_minimum_notional_the_entry_is_refused_with_a_reason() -> None:
    rules = TradingRules(lot_size=Decimal(1), tick_size=Decimal(1), min_notional=Decimal(5_000))
    result = run(
        [CALM] * 3, signals_at(3, long_entry=[0, 1]), rules=rules, sizing=Sizing(value=Decimal("0.3"))
    )
    assert not result.fills
    assert [order.status for order in result.refused] == [OrderStatus.REFUSED] * 2
    assert result.refused[0].refusal == "30 at 100 is worth 3000, below the minimum notional 5000"
    assert result.metrics.refused_orders == 2


def test_an_entry_that_buys_no_lot_is_refused() -> None:
    rules = TradingRules(lot_size=Decimal(1_000), tick_size=Decimal(1))
    result = run([CALM] * 2, signals_at(2, long_entry=[0]), rules=rules)
    assert result.refused[0].refusal == "10000 does not pay for one lot of 1000 at 100"


def test_a_stop_can_trigger_inside_the_entry_candle() -> None:
    rows = [CALM, (100, 101, 97, 100)]
    result = run(rows, signals_at(2, long_entry=[0]), protection=Protection(stop_loss=0.02))
    assert exits(result) == [("stop_loss", Decimal(98))]


def test_levels_hang_on_the_fill_price_and_not_on_the_signal_s_close() -> None:
    rows = [CALM, (110, 110, 107.9, 108), (108, 108, 107.8, 108)]
    result = run(rows, signals_at(3, long_entry=[0]), protection=Protection(stop_loss=0.02))
    assert exits(result) == [("stop_loss", Decimal("107.8"))]
    assert result.trades[0].exit_at_us == result.ohlcv.opened_at_us[2]


def test_an_exit_due_at_the_open_comes_before_a_stop_later_in_that_candle() -> None:
    rows = [CALM, CALM, (101, 101, 90, 95)]
    signals = signals_at(3, long_entry=[0], long_exit=[1])
    assert exits(run(rows, signals, protection=Protection(stop_loss=0.02))) == [("signal", Decimal(101))]


def test_an_exit_due_at_an_open_beyond_the_stop_keeps_the_signal_as_its_reason() -> None:
    rows = [CALM, CALM, (90, 91, 89, 90)]
    signals = signals_at(3, long_entry=[0], long_exit=[1])
    assert exits(run(rows, signals, protection=Protection(stop_loss=0.02))) == [("signal", Decimal(90))]


def test_a_protective_exit_comes_before_the_exit_signal_of_its_own_candle() -> None:
    rows = [CALM, (100, 100, 97, 99), (105, 105, 105, 105)]
    signals = signals_at(3, long_entry=[0], long_exit=[1])
    result = run(rows, signals, protection=Protection(stop_loss=0.02))
    assert exits(result) == [("stop_loss", Decimal(98))]
    assert not result.pending


def test_after_an_exit_a_new_entry_needs_a_new_signal() -> None:
    rows = [CALM, (100, 100, 97, 99), CALM, CALM]
    result = run(rows, signals_at(4, long_entry=[0]), protection=Protection(stop_loss=0.02))
    assert len(result.fills) == 2
    # The candle that was stopped out closes with a signal of its own: that is a new one.
    again = run(rows, signals_at(4, long_entry=[0, 1]), protection=Protection(stop_loss=0.02))
    assert [fill.filled_at_us for fill in again.fills][2] == again.ohlcv.opened_at_us[2]


def test_an_open_beyond_the_stop_fills_at_the_open_and_slips() -> None:
    rows = [CALM, CALM, (90, 95, 89, 94)]
    costs = Costs(fee_bps=Decimal(0), slippage_bps=Decimal(100))
    protection = Protection(stop_loss=0.02)
    assert exits(run(rows, signals_at(3, long_entry=[0]), protection=protection)) == [
        ("stop_loss", Decimal(90))
    ]
    slipped = run(rows, signals_at(3, long_entry=[0]), protection=protection, costs=costs)
    assert slipped.trades[0].exit_price == Decimal("89.1")


def test_an_open_beyond_the_target_fills_at_the_open_without_slippage() -> None:
    rows = [CALM, CALM, (110, 111, 89, 94)]
    costs = Costs(fee_bps=Decimal(0), slippage_bps=Decimal(1))
    result = run(
        rows,
        signals_at(3, long_entry=[0]),
        protection=Protection(stop_loss=0.05, take_profit=0.04),
        costs=costs,
    )
    assert exits(result) == [("take_profit", Decimal(110))]
    assert result.metrics.ambiguous_exits == 0


def test_a_target_fills_at_its_level_as_a_maker_and_rounds_away_from_the_entry() -> None:
    costs = Costs(fee_bps=Decimal(10), maker_fee_bps=Decimal(1), slippage_bps=Decimal(0))
    rows = [CALM, (99.99, 105, 99.99, 104)]
    (trade,) = run(
        rows, signals_at(2, long_entry=[0]), protection=Protection(take_profit=0.0333), costs=costs
    ).trades
    assert trade.exit_price == Decimal("103.32")  # 99.99 * 1.0333 = 103.319667, a limit's tick lies beyond
    assert trade.fees == trade.quantity * (
        Decimal("99.99") * Decimal("0.001") + Decimal("103.32") * Decimal("0.0001")
    )


def test_stop_and_target_in_one_candle_is_a_stop_and_counted() -> None:
    rows = [CALM, (100, 105, 97, 104)]
    result = run(rows, signals_at(2, long_entry=[0]), protection=Protection(stop_loss=0.02, take_profit=0.04))
    assert exits(result) == [("stop_loss", Decimal(98))]
    assert result.metrics.ambiguous_exits == 1
    assert result.fills[-1].ambiguous


@pytest.mark.parametrize(
    ("parts", "reason", "part", "ambiguous"),
    [
        ([(100, 105, 99, 104), (104, 104, 97, 98)], "take_profit", 0, 0),
        ([(100, 101, 97.5, 99), (99, 105, 99, 104)], "stop_loss", 0, 0),
        ([(100, 101, 99, 99), (99, 105, 97, 104)], "stop_loss", 0, 1),
        ([(100, 101, 99, 101), (105, 105, 97, 104)], "take_profit", 1, 0),
        ([], "stop_loss", 0, 1),
    ],
)
def test_finer_candles_decide_which_came_first(
    parts: list[tuple[float, float, float, float]], reason: str, part: int, ambiguous: int
) -> None:
    rows = [CALM, (100, 105, 97, 104)]
    start_us = int(ohlcv_of(rows).opened_at_us[1])
    finer = ohlcv_of(parts, Timeframe.M30, start_us)
    protection = Protection(stop_loss=0.02, take_profit=0.04)
    result = run(rows, signals_at(2, long_entry=[0]), protection=protection, finer=finer)
    (trade,) = result.trades
    assert trade.exit_reason.value == reason
    assert trade.exit_at_us == start_us + part * Timeframe.M30.us
    assert result.metrics.ambiguous_exits == ambiguous


def test_the_trailing_stop_follows_highs_of_completed_candles_and_not_closes() -> None:
    rows = [CALM, (100, 110, 100, 101), (101, 101, 98, 100)]
    result = run(rows, signals_at(3, long_entry=[0]), protection=Protection(trailing_stop=0.1))
    assert exits(result) == [("trailing_stop", Decimal(99))]  # 110 * 0.9, touched in the third candle
    assert result.trades[0].exit_at_us == result.ohlcv.opened_at_us[2]


def test_the_trailing_stop_is_not_raised_by_the_high_of_the_candle_it_judges() -> None:
    rows = [CALM, (100, 110, 98.5, 109)]
    result = run(rows, signals_at(2, long_entry=[0]), protection=Protection(trailing_stop=0.02))
    assert not result.trades  # from the entry: 98; from this candle's high it would be 107.8


def test_the_trailing_stop_starts_at_the_entry_price() -> None:
    rows = [(100, 120, 100, 100), (100, 100, 97.9, 99)]
    result = run(rows, signals_at(2, long_entry=[0]), protection=Protection(trailing_stop=0.02))
    assert exits(result) == [("trailing_stop", Decimal(98))]


def test_of_two_stops_the_nearer_one_acts_and_names_the_exit() -> None:
    rows = [CALM, (100, 101, 100, 101), (101, 101, 90, 95)]
    both = Protection(stop_loss=0.02, trailing_stop=0.015)
    assert exits(run(rows, signals_at(3, long_entry=[0]), protection=both)) == [
        ("trailing_stop", Decimal("99.48"))
    ]
    wide = Protection(stop_loss=0.01, trailing_stop=0.05)
    assert exits(run(rows, signals_at(3, long_entry=[0]), protection=wide)) == [("stop_loss", Decimal(99))]


def test_a_low_that_touches_the_level_exactly_triggers_it() -> None:
    # 43963.73 * 0.98 = 43084.4554 has no double, and neither has its product in floating point.
    rows = [CALM, (43963.73, 43963.73, 43084.4554, 43500.0)]
    result = run(
        rows, signals_at(2, long_entry=[0]), protection=Protection(stop_loss=0.02), rules=TradingRules()
    )
    assert exits(result) == [("stop_loss", Decimal("43084.4554"))]
    above = [CALM, (43963.73, 43963.73, 43084.4555, 43500.0)]
    assert not run(
        above, signals_at(2, long_entry=[0]), protection=Protection(stop_loss=0.02), rules=TradingRules()
    ).trades


def test_a_short_mirrors_a_long() -> None:
    rows = [CALM, (100, 101, 95, 96), (96, 97, 95, 96)]
    result = run(rows, signals_at(3, short_entry=[0]), protection=Protection(trailing_stop=0.02))
    assert exits(result) == [("trailing_stop", Decimal("96.9"))]  # 95 * 1.02
    (trade,) = result.trades
    assert (trade.side.value, trade.pnl) == ("short", Decimal("310.000"))


def test_a_short_holds_its_notional_as_collateral_and_marks_against_it() -> None:
    costs = Costs(fee_bps=Decimal(10))
    result = run([CALM, (100, 110, 100, 110)], signals_at(2, short_entry=[0]), costs=costs)
    assert result.ledger.quantity == Decimal("-99.900")
    assert result.ledger.cash == Decimal(10_000) + Decimal("9990") - Decimal("9.99")
    assert result.equity[-1] == pytest.approx(10_000 - 9.99 - 999, abs=1e-9)


def test_a_reversal_leaves_and_enters_at_the_same_open() -> None:
    rows = [CALM, CALM, (105, 105, 105, 105)]
    result = run(rows, signals_at(3, long_entry=[0], long_exit=[1], short_entry=[1]))
    assert [(fill.side.value, fill.position_side.value, fill.price) for fill in result.fills] == [
        ("buy", "long", Decimal(100)),
        ("sell", "long", Decimal(105)),
        ("sell", "short", Decimal(105)),
    ]


def test_an_entry_signal_in_a_position_is_ignored() -> None:
    result = run([CALM] * 4, signals_at(4, long_entry=[0, 1], short_entry=[1, 2]))
    assert len(result.fills) == 1


def test_long_and_short_entry_on_one_candle_are_refused_together() -> None:
    result = run([CALM] * 3, signals_at(3, long_entry=[0], short_entry=[0]))
    assert not result.fills
    assert result.refused[0].refusal == "long and short entry on the same candle contradict each other"


def test_at_the_end_a_position_stays_open_and_a_signal_waits() -> None:
    result = run([CALM, (100, 101, 100, 101)], signals_at(2, long_entry=[0], long_exit=[1]))
    assert not result.trades
    assert result.equity[-1] == pytest.approx(10_100)
    (waiting,) = result.pending
    assert (waiting.reason, waiting.status, waiting.sequence) == (
        OrderReason.EXIT_SIGNAL,
        OrderStatus.PENDING,
        2,
    )


def test_close_at_end_sells_at_the_last_close_at_its_time() -> None:
    costs = Costs(fee_bps=Decimal(10), slippage_bps=Decimal(100))
    result = run(
        [CALM, (100, 102, 100, 102)],
        signals_at(2, long_entry=[0], long_exit=[1]),
        costs=costs,
        close_at_end=True,
    )
    (trade,) = result.trades
    assert (trade.exit_reason, trade.exit_price) == (OrderReason.END, Decimal("100.98"))
    assert trade.exit_at_us == result.ohlcv.opened_at_us[-1] + Timeframe.H1.us
    assert result.equity[-1] == float(result.ledger.cash)
    assert not result.pending


def test_a_ruined_short_books_its_whole_loss_and_can_not_trade_again() -> None:
    rows = [CALM, CALM, (250, 250, 250, 250), (250, 250, 250, 250), (250, 250, 250, 250)]
    result = run(rows, signals_at(5, short_entry=[0], short_exit=[1], long_entry=[3]))
    assert result.ledger.cash == Decimal(-5_000)
    assert result.refused[0].refusal == "there is no cash to trade with: -5000"
    assert result.metrics.cagr == -1.0


def test_gaps_in_time_do_not_matter_to_fills() -> None:
    ohlcv = ohlcv_of([CALM, (101, 101, 101, 101), (102, 102, 102, 102)])
    gapped = Ohlcv(
        timeframe=ohlcv.timeframe,
        opened_at_us=ohlcv.opened_at_us + np.array([0, 0, 5 * Timeframe.H1.us]),
        open=ohlcv.open,
        high=ohlcv.high,
        low=ohlcv.low,
        close=ohlcv.close,
        volume=ohlcv.volume,
    )
    strategy = GivenSignals(given=signals_at(3, long_entry=[0], long_exit=[1]))
    result = run_backtest(strategy, gapped, capital=Decimal(1_000), costs=FREE, rules=CENTS)
    assert result.trades[0].exit_at_us == gapped.opened_at_us[2]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"capital": Decimal(0)}, "capital"),
        ({"rules": TradingRules(tick_size=Decimal(1_000))}, "tick_size"),
        ({"rules": TradingRules(lot_size=Decimal(-1))}, "lot_size"),
        ({"costs": Costs(fee_bps=Decimal(-1))}, "fee_bps"),
        ({"costs": Costs(slippage_bps=Decimal("NaN"))}, "slippage_bps"),
        ({"finer": ohlcv_of([CALM], Timeframe.D1)}, "timeframe"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(change: dict[str, object], field: str) -> None:
    arguments = {"capital": Decimal(1_000), "costs": FREE, "rules": CENTS, "finer": None} | change
    strategy = GivenSignals(given=signals_at(2))
    with pytest.raises(InvalidInput) as caught:
        run_backtest(strategy, ohlcv_of([CALM] * 2), **arguments)  # type: ignore[arg-type]
    assert caught.value.problems[0].field == field


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_prices_that_are_none_are_refused(price: float) -> None:
    with pytest.raises(InvalidInput):
        run([CALM, (100.0, 100.0, price, 100.0)], signals_at(2))
    with pytest.raises(InvalidInput):
        run([], signals_at(0))


@pytest.mark.parametrize(
    "protection", [Protection(stop_loss=1.0), Protection(take_profit=-0.1), Protection(trailing_stop=0.0)]
)
def test_exits_that_can_not_be_are_refused(protection: Protection) -> None:
    with pytest.raises(InvalidInput):
        run([CALM] * 2, signals_at(2), protection=protection)


def test_candles_of_another_time_frame_are_refused() -> None:
    strategy = GivenSignals(given=signals_at(2), timeframe=Timeframe.M5)
    with pytest.raises(InvalidInput, match="wants candles of 5m"):
        run_backtest(strategy, ohlcv_of([CALM] * 2), capital=Decimal(1), costs=FREE, rules=CENTS)
