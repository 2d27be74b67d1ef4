"""A strategy over stored candles under limits and with funding: the very account and gate that a bot steps.

Slower than the compiled run, by some 50 us a candle. Without limits and funding both give the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from backtesting.engine import BacktestResult, check_inputs
from backtesting.metrics import Run, metrics_of
from bots.funding import due
from bots.gates import Violation
from bots.journal import JournalEntry, paid_at
from bots.orders import ClosedTrade, Costs, Fill, Order, OrderReason, OrderStatus, RulesFrom, TradingRules
from bots.paper_account import AccountStep, PaperAccount
from bots.paper_bot import candles_of
from bots.risk.gate import pass_gate
from bots.risk.limits import Limits
from bots.risk.state import begin, observe
from data.models import Candle, FloatArray, FundingRate, Market, Ohlcv
from strategies.base import Decision, Signals, Strategy


class _Told:
    """Everything the account said, in order."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.fills: list[Fill] = []
        self.trades: list[ClosedTrade] = []
        self.entries: list[JournalEntry] = []

    def add(self, step: AccountStep) -> None:
        self.orders.update((order.sequence, order) for order in step.orders)
        self.fills.extend(step.fills)
        self.trades.extend(step.trades)
        self.entries.extend(step.entries)


def run_limited_backtest(
    strategy: Strategy,
    ohlcv: Ohlcv,
    *,
    market: Market,
    capital: Decimal,
    costs: Costs,
    rules: TradingRules,
    limits: Limits,
    funding: Sequence[FundingRate] = (),
    close_at_end: bool = False,
    finer: Ohlcv | None = None,
    later_rules: Sequence[RulesFrom] = (),
) -> tuple[BacktestResult, tuple[Violation, ...]]:
    """The run, and every limit that kept an entry or add-on back. Raises InvalidInput as `run_backtest`.

    Of `funding` the settled rates count; each is paid on the position held at the close of the candle that
    holds its time, or where no candle does, on that held at the last close before.
    """
    check_inputs(strategy, ohlcv, capital, rules, finer)
    says = strategy.signals(ohlcv)
    candles = candles_of(ohlcv, market)

    def walk(*, target_first: bool) -> _Walk:
        account = PaperAccount(
            capital=capital,
            costs=costs,
            rules=rules,
            protection=strategy.protection,
            sizing=strategy.sizing,
            later_rules=later_rules,
            target_first=target_first,
        )
        return _walked(
            account, strategy, says, candles, rules, limits, funding, finer, close_at_end=close_at_end
        )

    made = walk(target_first=False)
    best = walk(target_first=True) if made.undecided else None
    told, account = made.told, made.account
    account.ledger.verify()
    books = account.ledger.state
    refused = tuple(order for order in told.orders.values() if order.status is OrderStatus.REFUSED)
    result = BacktestResult(
        strategy=strategy,
        ohlcv=ohlcv,
        capital=capital,
        costs=costs,
        rules=rules,
        close_at_end=close_at_end,
        finer=finer,
        later_rules=tuple(later_rules),
        equity=made.equity,
        best_case_equity=None if best is None else best.equity,
        fills=tuple(told.fills),
        trades=tuple(told.trades),
        refused=refused,
        pending=tuple(account.pending),
        ledger=books,
        metrics=metrics_of(
            Run(
                capital=float(capital),
                equity=made.equity,
                starts_at_us=int(ohlcv.opened_at_us[0]),
                closes_at_us=ohlcv.opened_at_us + ohlcv.timeframe.us,
                first_open=float(ohlcv.open[0]),
                closes=ohlcv.close,
                trades=told.trades,
                exposed_candles=account.state.exposed_candles,
                turnover=float(books.turnover),
                fees_paid=float(books.fees),
                slippage_paid=float(books.slippage),
                ambiguous_exits=sum(fill.ambiguous for fill in told.fills),
                refused_orders=len(refused),
            )
        ),
        funding=paid_at(told.entries),
        undecided=np.unique(
            np.array([*made.undecided, *(() if best is None else best.undecided)], dtype=np.int64)
        ),
    )
    return result, tuple(made.violations)


@dataclass(slots=True)
class _Walk:
    """One way through all candles, under one reading of what nothing decides."""

    account: PaperAccount
    equity: FloatArray  # at the closes, shape (n,)
    told: _Told
    violations: list[Violation]
    undecided: list[int]  # rows of candles that hold stop and target, where nothing told which was first


def _walked(
    account: PaperAccount,
    strategy: Strategy,
    says: Signals,
    candles: Sequence[Candle],
    rules: TradingRules,
    limits: Limits,
    funding: Sequence[FundingRate],
    finer: Ohlcv | None,
    *,
    close_at_end: bool,
) -> _Walk:
    never = np.zeros(len(candles), dtype=np.bool_)
    columns = {
        "long_entry": says.long_entry,
        "long_exit": says.long_exit,
        "short_entry": says.short_entry,
        "short_exit": says.short_exit,
        "long_add": never if says.long_add is None else says.long_add,
        "short_add": never if says.short_add is None else says.short_add,
    }
    walk = _Walk(account, np.empty(len(candles)), _Told(), [], [])
    risk = begin(account.ledger.cash)
    for row, candle in enumerate(candles):
        if row:
            # Candles without a trade have no row, and funding is paid all the same.
            before = candles[row - 1]
            for rate in due(funding, before.closes_at_us, candle.opened_at_us):
                walk.told.add(account.fund(rate, before.close))
        walk.told.add(account.open_candle(candle.opened_at_us, candle.open))
        step = account.close_candle(candle, _inside(finer, candle.opened_at_us, candle.closes_at_us))
        walk.told.add(step)
        if any(fill.ambiguous for fill in step.fills):
            walk.undecided.append(row)
        for rate in due(funding, candle.opened_at_us, candle.closes_at_us):
            walk.told.add(account.fund(rate, candle.close))
        assert step.equity is not None
        worth = account.ledger.equity(step.equity.price)
        risk = observe(risk, candle.closes_at_us, worth, limits)
        walk.equity[row] = float(worth)
        decision = Decision(
            strategy=strategy.name,
            version=strategy.version,
            opened_at_us=candle.opened_at_us,
            close=candle.close,
            record={},
            **{name: bool(column[row]) for name, column in columns.items()},
        )
        passage = pass_gate(decision, account.proposal(decision), limits=limits, state=risk, rules=rules)
        risk = passage.state
        walk.violations.extend(passage.verdict.violations)
        walk.told.add(account.decide(passage.approved))
    if close_at_end:
        last = candles[-1]
        walk.told.add(account.flatten(last.closes_at_us, last.close, reason=OrderReason.END))
        walk.equity[-1] = float(account.ledger.cash)
    return walk


def _inside(finer: Ohlcv | None, opened_at_us: int, closes_at_us: int) -> Ohlcv | None:
    if finer is None:
        return None
    first, last = finer.opened_at_us.searchsorted([opened_at_us, closes_at_us]).tolist()
    return finer.rows(first, last) if last > first else None
