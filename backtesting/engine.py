"""A strategy over stored candles: signals, the fill kernel, and every fill through the exact books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from backtesting.metrics import Metrics, Run, metrics_of
from bots import fill_records, fills
from bots.booking import events_of, fill_of, refusal_sentence, rules_at
from bots.finest_data import FinestRows
from bots.ledger import Ledger, LedgerState
from bots.orders import (
    ClosedTrade,
    Costs,
    Fill,
    Order,
    OrderReason,
    OrderStatus,
    PositionSide,
    RulesFrom,
    TradingRules,
)
from bots.paper_account import AccountState, kernel_state
from data.errors import InvalidInput, Problem
from data.models import FloatArray, IntArray, Ohlcv, Side
from strategies.base import Signals, Strategy

# Raised whenever the same input may give other fills or figures than before.
ENGINE_VERSION = "3"

_FIRST_CAPACITY = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What the kernel did: `equity` of shape (n,) at the closes, its events, and its record at the end."""

    equity: FloatArray
    events: fill_records.Records
    state: fill_records.Records


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestResult:
    """One run. Times are UTC microseconds, money is quote currency."""

    strategy: Strategy
    ohlcv: Ohlcv
    capital: Decimal
    costs: Costs
    rules: TradingRules
    close_at_end: bool
    finer: Ohlcv | None
    later_rules: tuple[RulesFrom, ...]  # that replaced `rules` from their times on
    equity: FloatArray  # at each candle's close
    best_case_equity: FloatArray | None  # were each ambiguous exit a target; None where there is none
    fills: tuple[Fill, ...]
    trades: tuple[ClosedTrade, ...]
    refused: tuple[Order, ...]
    pending: tuple[Order, ...]  # decided on the last candle, would be filled at the next open
    ledger: LedgerState  # after the last candle; holds the open position
    metrics: Metrics
    # Rows of candles that hold stop and target, in either reading, where nothing told which came first.
    undecided: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    funding: Mapping[int, Decimal] = field(default_factory=dict)  # what the position got at each time


def simulate(
    signals: Signals,
    ohlcv: Ohlcv,
    *,
    state: fill_records.Records,
    terms: fill_records.Records,
    close_at_end: bool = False,
    finer: Ohlcv | None = None,
) -> Simulation:
    """Run the kernel over all candles, going on from `state`, which is left as it is.

    Raises RejectedError where an amount cannot be counted.
    """
    state = state.copy()
    columns = fill_records.columns_of(ohlcv, signals)
    equity = np.empty(len(ohlcv))
    chunks = []
    row, capacity = 0, _FIRST_CAPACITY
    finer_columns = fill_records.finer_columns(finer)
    while row < len(ohlcv):
        chunk = np.empty(capacity, dtype=fill_records.EVENT)
        row, count = fills.run_candles(
            state, terms, columns, ohlcv.timeframe.us, finer_columns, row, equity, chunk
        )
        fill_records.raise_error(state)
        chunks.append(chunk[:count])
        capacity *= 2
    if close_at_end and len(ohlcv):
        chunk = np.empty(1, dtype=fill_records.EVENT)
        last = len(ohlcv) - 1
        final = fill_records.terms_at(terms, int(ohlcv.opened_at_us[last]))
        closes_at_us = int(ohlcv.opened_at_us[last]) + ohlcv.timeframe.us
        reason = fill_records.REASON_NUMBERS[OrderReason.END]
        close = float(ohlcv.close[last])
        count = fills.close_position(state, final, last, closes_at_us, close, reason, chunk)
        fill_records.raise_error(state)
        chunks.append(chunk[:count])
        equity[last] = state["cash"][0]
    return Simulation(equity=equity, events=np.concatenate(chunks), state=state)


def run_backtest(
    strategy: Strategy,
    ohlcv: Ohlcv,
    *,
    capital: Decimal,
    costs: Costs,
    rules: TradingRules,
    close_at_end: bool = False,
    finer: Ohlcv | None = None,
    initial: AccountState | None = None,
    later_rules: Sequence[RulesFrom] = (),
) -> BacktestResult:
    """Run a strategy over candles of its time frame.

    `finer` data (trades, candles of a smaller time frame) decide between stop and target inside one candle;
    `backtesting.insides` reads them only where they are needed. `initial` goes on from an account as a bot
    left it, with `capital` as what it is measured against. `later_rules` replace `rules` for candles that
    open at their times or after. Raises InvalidInput for candles, costs or rules that cannot be used.
    """
    check_inputs(strategy, ohlcv, capital, rules, finer)
    terms = fill_records.terms_of(costs, rules, strategy.protection, strategy.sizing, later_rules=later_rules)
    start = initial or AccountState(ledger=LedgerState(capital=capital, cash=capital))
    signals = strategy.signals(ohlcv)
    begun = kernel_state(start, terms)
    run = simulate(
        signals,
        ohlcv,
        state=begun,
        terms=terms,
        close_at_end=close_at_end,
        finer=finer,
    )
    ledger = Ledger(start.ledger)
    # Orders that waited in `initial` have their numbers already and come first.
    sequence = start.sequence - len(start.pending)
    filled, trades, refused = [], [], []
    for event in events_of(run.events):
        sequence += 1
        if event.refusal == fill_records.ACCEPTED:
            fill = fill_of(event, sequence, costs)
            closed = ledger.book(fill).closed
            filled.append(fill)
            if closed is not None:
                trades.append(closed)
        else:
            refused.append(
                Order(
                    sequence=sequence,
                    side=event.side,
                    position_side=event.position_side,
                    reason=event.reason,
                    status=OrderStatus.REFUSED,
                    decided_at_us=event.at_us,
                    quantity=event.quantity,
                    refusal=refusal_sentence(event, ledger.cash, rules_at(rules, later_rules, event.at_us)),
                )
            )
    ledger.verify()
    if ledger.cash != fill_records.cash_of(run.state):
        raise AssertionError(f"the kernel counts {fill_records.cash_of(run.state)}, the books {ledger.cash}")
    books = ledger.state
    best_case = None
    undecided = run.events["row"][run.events["ambiguous"] != 0]
    if len(undecided):
        terms["target_first"] = 1
        best = simulate(signals, ohlcv, state=begun, terms=terms, close_at_end=close_at_end, finer=finer)
        best_case = best.equity
        undecided = np.concatenate((undecided, best.events["row"][best.events["ambiguous"] != 0]))
    return BacktestResult(
        strategy=strategy,
        ohlcv=ohlcv,
        capital=capital,
        costs=costs,
        rules=rules,
        close_at_end=close_at_end,
        finer=finer,
        later_rules=tuple(later_rules),
        equity=run.equity,
        best_case_equity=best_case,
        undecided=np.unique(undecided).astype(np.int64),
        fills=tuple(filled),
        trades=tuple(trades),
        refused=tuple(refused),
        pending=_pending(run.state, ohlcv, books, sequence),
        ledger=books,
        metrics=metrics_of(
            Run(
                capital=float(capital),
                equity=run.equity,
                starts_at_us=int(ohlcv.opened_at_us[0]),
                closes_at_us=ohlcv.opened_at_us + ohlcv.timeframe.us,
                first_open=float(ohlcv.open[0]),
                closes=ohlcv.close,
                trades=trades,
                exposed_candles=int(run.state["exposed"][0]) - start.exposed_candles,
                turnover=float(books.turnover - start.ledger.turnover),
                fees_paid=float(books.fees - start.ledger.fees),
                slippage_paid=float(books.slippage - start.ledger.slippage),
                ambiguous_exits=sum(fill.ambiguous for fill in filled),
                refused_orders=len(refused),
            )
        ),
    )


def _pending(
    kernel: fill_records.Records, ohlcv: Ohlcv, books: LedgerState, sequence: int
) -> tuple[Order, ...]:
    orders = []
    closes_at_us = int(ohlcv.opened_at_us[-1]) + ohlcv.timeframe.us
    if kernel["pending_exit"][0]:
        sequence += 1
        long = books.quantity > 0
        orders.append(
            Order(
                sequence=sequence,
                side=Side.SELL if long else Side.BUY,
                position_side=PositionSide.LONG if long else PositionSide.SHORT,
                reason=OrderReason.EXIT_SIGNAL,
                status=OrderStatus.PENDING,
                decided_at_us=closes_at_us,
                quantity=books.quantity.copy_abs(),
            )
        )
    if kernel["pending_add"][0]:
        sequence += 1
        long = books.quantity > 0
        orders.append(
            Order(
                sequence=sequence,
                side=Side.BUY if long else Side.SELL,
                position_side=PositionSide.LONG if long else PositionSide.SHORT,
                reason=OrderReason.ADD_ON,
                status=OrderStatus.PENDING,
                decided_at_us=closes_at_us,
            )
        )
    entry = int(kernel["pending_entry"][0])
    if entry:
        long = entry == fill_records.LONG
        orders.append(
            Order(
                sequence=sequence + 1,
                side=Side.BUY if long else Side.SELL,
                position_side=PositionSide.LONG if long else PositionSide.SHORT,
                reason=OrderReason.ENTRY,
                status=OrderStatus.PENDING,
                decided_at_us=closes_at_us,
            )
        )
    return tuple(orders)


def check_inputs(
    strategy: Strategy, ohlcv: Ohlcv, capital: Decimal, rules: TradingRules, finer: Ohlcv | None
) -> None:
    """Raise InvalidInput for what would give a result that means nothing."""
    problems = []
    if not (capital.is_finite() and capital > 0):
        problems.append(
            Problem(where="account", field="capital", value=str(capital), expected="give an amount above 0")
        )
    if ohlcv.timeframe is not strategy.timeframe:
        expected = f"the strategy {strategy.name!r} wants candles of {strategy.timeframe}"
        problems.append(
            Problem(where="candles", field="timeframe", value=str(ohlcv.timeframe), expected=expected)
        )
    is_trades = isinstance(finer, FinestRows) and finer.candles == 0
    if finer is not None and not is_trades and finer.timeframe.us >= ohlcv.timeframe.us:
        expected = f"give candles of a smaller time frame than {ohlcv.timeframe}"
        problems.append(
            Problem(where="finer candles", field="timeframe", value=str(finer.timeframe), expected=expected)
        )
    if len(ohlcv) == 0:
        problems.append(
            Problem(
                where="candles", field="", value="", expected="there are none in this span; give at least one"
            )
        )
    else:
        prices = (ohlcv.open, ohlcv.high, ohlcv.low, ohlcv.close)
        lowest = float(np.min([column.min() for column in prices]))
        highest = float(np.max([column.max() for column in prices]))
        if not (lowest > 0 and highest < 1e12):  # NaN fails too
            value = f"{lowest:g} to {highest:g}"
            expected = "prices must be above 0 and below 1e12"
            problems.append(Problem(where="candles", field="price", value=value, expected=expected))
        elif rules.tick_size is not None and float(rules.tick_size) > lowest:
            expected = f"the lowest price is {lowest:g}: give a smaller tick"
            problems.append(
                Problem(where="rules", field="tick_size", value=str(rules.tick_size), expected=expected)
            )
    if problems:
        raise InvalidInput(*problems)
