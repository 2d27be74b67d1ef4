"""The search's kernel against the engine that decides what a run was worth."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtesting.engine import run_backtest
from backtesting.search.bindings import Bindings
from backtesting.search.kernel import COUNTS, blocks_of, run_bitmaps, terms_in_doubles
from backtesting.search.signals import SharedSignals
from backtesting.search.spans import Span
from backtesting.search.trials import FIGURES, Evaluator, Work
from bots.orders import Costs, TradingRules
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.rules import RuleStrategy
from tests.backtesting.search.documents import SHORT_TOO, crossover, walk, work_of
from tests.backtesting.series import recorded

PROTECTIONS: list[dict[str, float]] = [
    {},
    {"stop_loss": 0.02},
    {"take_profit": 0.03},
    {"stop_loss": 0.02, "take_profit": 0.03},
    {"trailing_stop": 0.015},
    {"stop_loss": 0.01, "take_profit": 0.06, "trailing_stop": 0.02},
    {"stop_loss": 0.0005, "take_profit": 0.0005},
]
ROUNDING = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"), min_notional=Decimal(10))


def trips_of(work: Work, values: dict[str, float]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Round trips as rows (entry row, exit row, side), and what was counted."""
    ohlcv = work.ohlcv
    bound = Bindings(work.document, "test", None).of(values)
    [words] = SharedSignals(ohlcv).of([bound.rules])
    trips = np.full((len(ohlcv), 3), -1, dtype=np.int64)
    counts = np.empty(len(COUNTS))
    terms = terms_in_doubles(
        float(work.capital),
        work.costs,
        work.rules,
        bound.protection,
        bound.sizing,
        close_at_end=work.close_at_end,
    )
    columns = (ohlcv.open, ohlcv.high, ohlcv.low, ohlcv.close)
    run_bitmaps(
        *columns,
        blocks_of(*columns[1:]),
        words.long_entry,
        words.long_exit,
        words.short_entry,
        words.short_exit,
        terms,
        0,
        len(ohlcv),
        np.empty(0, dtype=np.int64),
        np.empty(0),
        counts,
        trips,
    )
    return trips[: int(counts[1])], counts


def assert_equal_to_engine(work: Work, values: dict[str, float], *, within: float) -> int:
    """The same trades on the same candles and the same end; how many trades there were."""
    strategy = RuleStrategy(Bindings(work.document, "test", None).definition(values))
    exact = run_backtest(
        strategy,
        work.ohlcv,
        capital=work.capital,
        costs=work.costs,
        rules=work.rules,
        close_at_end=work.close_at_end,
    )
    trips, counts = trips_of(work, values)
    opened = work.ohlcv.opened_at_us
    at_end = int(opened[-1]) + work.ohlcv.timeframe.us
    expected = [
        (
            int(np.searchsorted(opened, trade.entry_at_us)),
            len(opened) - 1 if trade.exit_at_us == at_end else int(np.searchsorted(opened, trade.exit_at_us)),
            1 if trade.side == "long" else -1,
        )
        for trade in exact.trades
    ]
    assert list(map(tuple, trips.tolist())) == expected
    assert counts[0] == pytest.approx(exact.metrics.final_equity, rel=within)
    return len(expected)


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda each: "+".join(each) or "none")
@pytest.mark.parametrize("sides", ["long", "both"])
def test_trades_and_equity_are_the_engines_own(
    protection: dict[str, float], sides: str, shared_data: Path
) -> None:
    path = shared_data / "candles" / "binance_spot" / "BTCUSDT_1h_2024.csv.gz"
    ohlcv = recorded(path, Timeframe.H1, 3_000)
    both = {"short": SHORT_TOO} if sides == "both" else {}
    random = np.random.default_rng(len(protection))
    trades = 0
    for fast, slow in random.integers((2, 10), (10, 60), (4, 2)).tolist():
        work = work_of(crossover(protection=protection, **both), ohlcv)
        trades += assert_equal_to_engine(work, {"fast": fast, "slow": slow}, within=1e-9)
    assert trades > 100


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda each: "+".join(each) or "none")
def test_with_ticks_and_lots_the_trades_are_the_same_too(protection: dict[str, float]) -> None:
    # A lot more or less a trade is what the kernel promises; here not even that happens.
    work = work_of(
        crossover(protection=protection, short=SHORT_TOO, sizing={"value": 0.5}), walk(3_000), rules=ROUNDING
    )
    for fast, slow in ((3, 12), (5, 40), (9, 21)):
        assert assert_equal_to_engine(work, {"fast": fast, "slow": slow}, within=1e-9) > 20


def test_a_position_closed_at_the_end_counts_as_a_trade() -> None:
    work = work_of(crossover(), walk(700), close_at_end=True)
    for fast in range(2, 12):
        assert_equal_to_engine(work, {"fast": fast, "slow": 20}, within=1e-9)


def test_an_account_that_cannot_pay_a_lot_is_refused_as_often() -> None:
    work = work_of(crossover(), walk(800), rules=TradingRules(lot_size=Decimal(100)))
    _, counts = trips_of(work, {"fast": 3, "slow": 9})
    assert counts[COUNTS.index("trades")] == 0
    assert counts[COUNTS.index("refused_orders")] > 20


@pytest.mark.parametrize("rules", [TradingRules(), ROUNDING], ids=["exact", "rounded"])
@pytest.mark.parametrize("protection", [PROTECTIONS[0], PROTECTIONS[3], PROTECTIONS[5]], ids=str)
@pytest.mark.parametrize("candles", [400, 2_000])  # judged by candles, and by days
def test_every_figure_is_that_of_the_metrics(
    rules: TradingRules, protection: dict[str, float], candles: int
) -> None:
    document = crossover(protection=protection, short=SHORT_TOO)
    spans = (Span(start=0, stop=candles), Span(start=100, stop=candles - 77))
    work = work_of(document, walk(candles), rules=rules, spans=spans, costs=Costs())
    values = np.array([(2.0, 5.0), (3, 15), (5, 20), (9, 40), (50, 200)])
    quick = Evaluator(work).evaluate(values)
    exact = Evaluator(replace(work, engine_only=True)).evaluate(values)
    assert (quick.by_engine, exact.by_engine) == (0, len(values))
    for column, name in enumerate(FIGURES):
        np.testing.assert_allclose(
            quick.figures[:, :, column], exact.figures[:, :, column], rtol=1e-9, atol=1e-12, err_msg=name
        )
    np.testing.assert_allclose(quick.blocks, exact.blocks, atol=1e-12)


def test_missing_candles_do_not_shift_the_days() -> None:
    whole = walk(2_000)
    kept = np.ones(2_000, dtype=np.bool_)
    kept[300:420] = kept[1_000:1_003] = False
    ohlcv = Ohlcv(
        timeframe=whole.timeframe,
        opened_at_us=whole.opened_at_us[kept],
        open=whole.open[kept],
        high=whole.high[kept],
        low=whole.low[kept],
        close=whole.close[kept],
        volume=whole.volume[kept],
    )
    work = work_of(crossover(short=SHORT_TOO), ohlcv)
    values = np.array([(3.0, 15.0), (5, 20)])
    quick = Evaluator(work).evaluate(values)
    exact = Evaluator(replace(work, engine_only=True)).evaluate(values)
    np.testing.assert_allclose(quick.figures, exact.figures, rtol=1e-9, atol=1e-12)


def test_finer_candles_decide_for_trials_with_ambiguous_exits() -> None:
    ohlcv = walk(600)
    finer = walk(2_400, timeframe=Timeframe.M15)
    document = crossover(protection={"stop_loss": 0.003, "take_profit": 0.003})
    values = np.array([(3.0, 15.0), (2, 5)])
    with_finer = Evaluator(work_of(document, ohlcv, finer=finer)).evaluate(values)
    assert with_finer.by_engine == 2
    without = Evaluator(work_of(document, ohlcv)).evaluate(values)
    assert (without.figures[:, 0, FIGURES.index("ambiguous_exits")] > 0).all()
