"""A basket over the stored candles of several symbols, as a portfolio with one leg for each of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import msgspec
import numpy as np

from backtesting.engine import check_inputs
from backtesting.metrics import Run, metrics_of
from backtesting.portfolio import Leg, LegResult, PortfolioResult
from bots.gates import PASSED, Gate, GateVerdict
from bots.ladders.basket import BasketAccount, BasketState, BasketStep
from bots.ladders.strategy import BasketStrategy
from bots.ladders.worst_case import WorstCase, basket_worst_case
from bots.orders import ClosedTrade, Costs, Fill, Order, OrderReason, OrderStatus
from bots.recorded_depth import OpenDepth
from bots.risk.gate import pass_gate_together
from bots.risk.limits import NO_LIMITS, Limits
from bots.risk.state import begin, observe
from data.errors import InvalidInput, Problem
from data.models import FloatArray, IntArray
from strategies.base import Signals

_HELD_BACK = GateVerdict(gate=Gate.LIMIT, detail="held back when it ran")


class BasketFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a basket used of what was promised."""

    worst_case: WorstCase
    most_paid_in: Decimal  # of the capital, at one moment; gains are put to work on top
    most_orders: int
    gap_loss: Decimal  # what the stop lost beyond its level
    rebalances: int  # the first purchase included
    finished: str  # why it ended before the last candle; empty where it did not
    left_out: tuple[int, ...]  # candles of each symbol that another one has not


@dataclass(frozen=True, slots=True, kw_only=True)
class BasketRun:
    """A run with what it said at each candle: an entry where something was to be bought, else an exit."""

    result: PortfolioResult
    figures: BasketFigures
    asked: Signals


class _Told:
    """Everything the account said, by symbol."""

    def __init__(self, parts: int) -> None:
        self.orders: dict[int, tuple[int, Order]] = {}
        self.fills: list[tuple[int, Fill]] = []
        self.trades: list[list[ClosedTrade]] = [[] for _ in range(parts)]

    def add(self, step: BasketStep) -> None:
        self.orders.update((order.sequence, (part, order)) for part, order in step.orders)
        self.fills.extend(step.fills)
        for part, trade in step.trades:
            self.trades[part].append(trade)

    def refused(self, part: int) -> tuple[Order, ...]:
        return tuple(
            order
            for owner, order in self.orders.values()
            if owner == part and order.status is OrderStatus.REFUSED
        )


def run_basket(
    strategy: BasketStrategy,
    legs: Sequence[Leg],
    *,
    capital: Decimal,
    costs: Costs,
    limits: Limits = NO_LIMITS,
    close_at_end: bool = False,
) -> tuple[PortfolioResult, BasketFigures]:
    """Run a basket over the candles that all legs have; a leg for each weight, in their order.

    The legs of the result hold these candles. Raises InvalidInput for legs that do not fit the weights, that
    differ in their time frame, or that have no candle in common.
    """
    run = go_through(strategy, legs, capital=capital, costs=costs, limits=limits, close_at_end=close_at_end)
    return run.result, run.figures


def go_through(
    strategy: BasketStrategy,
    legs: Sequence[Leg],
    *,
    capital: Decimal,
    costs: Costs,
    limits: Limits = NO_LIMITS,
    close_at_end: bool = False,
    initial: BasketState | None = None,
    held_back: Collection[int] = (),
    untouched: Collection[int] = (),
    shares_money: bool = False,
    depths: Callable[[int], Sequence[OpenDepth]] | None = None,
) -> BasketRun:
    """As `run_basket`, from `initial` on where that is given, with what a bot was kept from.

    `held_back` are opens of candles whose buys never became orders, `untouched` of those after which nothing
    was done at all. `shares_money` as a bot does that has an account together with others. `depths` are
    the recorded books of all legs at an open, for a bot that fills by them.
    """
    _check(strategy, legs, capital)
    common = _in_common(legs)
    duration_us = strategy.timeframe.us
    account = BasketAccount(
        strategy.settings,
        capital=capital,
        costs=costs,
        rules=[leg.rules for leg in legs],
        state=initial,
        shares_money=shares_money,
    )
    symbols = [leg.symbol for leg in legs]
    told = _Told(len(legs))
    risk = begin(capital)
    rows = len(common[0].ohlcv)
    equity = np.empty(rows)
    gains = np.empty((len(legs), rows))
    exposed = np.zeros((len(legs), rows), dtype=np.bool_)
    bought, sold = np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.bool_)
    opens = np.stack([leg.ohlcv.open for leg in common], axis=1).tolist()
    closes = np.stack([leg.ohlcv.close for leg in common], axis=1).tolist()
    for row, opened_at_us in enumerate(common[0].ohlcv.opened_at_us.tolist()):
        recorded = () if depths is None else depths(opened_at_us)
        told.add(account.open_candles(opened_at_us, opens[row], recorded))
        step = account.close_candles(opened_at_us + duration_us, closes[row])
        told.add(step)
        assert step.equity is not None
        equity[row] = float(step.equity)
        for part, ledger in enumerate(account.ledgers):
            exposed[part, row] = ledger.quantity != 0
            gains[part, row] = float(ledger.cash) + float(ledger.quantity) * closes[row][part]
        risk = observe(risk, opened_at_us + duration_us, step.equity, limits)
        moves = account.moves()
        bought[row], sold[row] = any(move > 0 for move in moves), any(move < 0 for move in moves)
        if account.asks() and opened_at_us not in untouched:
            proposals = account.proposals()
            passage = pass_gate_together(
                strategy.silence(opened_at_us, closes[row][0]),
                [(symbols[part], proposal) for part, proposal in proposals],
                limits=limits,
                state=risk,
                rules=[legs[part].rules for part, _ in proposals],
                own=_HELD_BACK if proposals and opened_at_us in held_back else PASSED,
            )
            risk = passage.state
            told.add(account.decide(passage.approved))
    if close_at_end:
        ended = account.flatten(opened_at_us + duration_us, closes[-1], reason=OrderReason.END)
        told.add(ended)
        equity[-1] = float(account.cash)
        gains[:, -1] = [float(ledger.cash) for ledger in account.ledgers]
    account.verify()
    closes_at_us = common[0].ohlcv.opened_at_us + duration_us
    results = tuple(
        _leg_result(leg, part, account, told, gains[part], exposed[part], capital, closes_at_us)
        for part, leg in enumerate(common)
    )
    everything = sorted(
        (trade for trades in told.trades for trade in trades), key=lambda trade: trade.exit_at_us
    )
    books = [ledger.state for ledger in account.ledgers]
    result = PortfolioResult(
        legs=results,
        capital=capital,
        costs=costs,
        close_at_end=close_at_end,
        at_us=closes_at_us,
        equity=equity,
        best_case_equity=None,
        fills=tuple(told.fills),
        cash=account.cash,
        metrics=metrics_of(
            Run(
                capital=float(capital),
                equity=equity,
                starts_at_us=int(common[0].ohlcv.opened_at_us[0]),
                closes_at_us=closes_at_us,
                first_open=1.0,
                closes=_held_at_weights(strategy, common),
                trades=everything,
                exposed_candles=int(exposed.any(axis=0).sum()),
                turnover=float(sum(part.turnover for part in books)),
                fees_paid=float(sum(part.fees for part in books)),
                slippage_paid=float(sum(part.slippage for part in books)),
                ambiguous_exits=0,
                refused_orders=sum(len(part.refused) for part in results),
            )
        ),
    )
    state, never = account.state, np.zeros(rows, dtype=np.bool_)
    asked = Signals(long_entry=bought, long_exit=sold, short_entry=never, short_exit=never)
    figures = BasketFigures(
        worst_case=basket_worst_case(strategy.settings, costs, capital),
        most_paid_in=state.most_paid_in,
        most_orders=state.most_orders,
        gap_loss=state.gap_loss,
        rebalances=state.rebalances,
        finished=state.finished,
        left_out=tuple(len(leg.ohlcv) - rows for leg in legs),
    )
    return BasketRun(result=result, figures=figures, asked=asked)


def _check(strategy: BasketStrategy, legs: Sequence[Leg], capital: Decimal) -> None:
    symbols = [leg.symbol for leg in legs]
    if symbols != list(strategy.settings.weights):
        expected = f"must be those of the weights in their order: {', '.join(strategy.settings.weights)}"
        raise InvalidInput(Problem(where="--symbol", field="", value=", ".join(symbols), expected=expected))
    for leg in legs:
        check_inputs(strategy, leg.ohlcv, capital, leg.rules, None)


def _in_common(legs: Sequence[Leg]) -> list[Leg]:
    """The legs with those candles alone that all of them have."""
    times: IntArray = legs[0].ohlcv.opened_at_us
    for leg in legs[1:]:
        times = np.intersect1d(times, leg.ohlcv.opened_at_us, assume_unique=True)
    if len(times) == 0:
        names = ", ".join(leg.symbol for leg in legs)
        raise InvalidInput(
            Problem(where=names, field="", value="", expected="have no candle of one time in common")
        )
    return [
        replace(leg, ohlcv=leg.ohlcv.taken(np.flatnonzero(np.isin(leg.ohlcv.opened_at_us, times))))
        for leg in legs
    ]


def _held_at_weights(strategy: BasketStrategy, legs: Sequence[Leg]) -> FloatArray:
    """What 1 is worth at each close, spent at the weights at the first opens and left alone."""
    weights = [float(weight) for weight in strategy.settings.weights.values()]
    worth = np.full(len(legs[0].ohlcv), 1.0 - sum(weights))
    for weight, leg in zip(weights, legs, strict=True):
        worth += weight * leg.ohlcv.close / leg.ohlcv.open[0]
    return worth


def _leg_result(
    leg: Leg,
    part: int,
    account: BasketAccount,
    told: _Told,
    gain: FloatArray,
    exposed: np.typing.NDArray[np.bool_],
    capital: Decimal,
    closes_at_us: IntArray,
) -> LegResult:
    ledger = account.ledgers[part].state
    refused = told.refused(part)
    return LegResult(
        leg=leg,
        fills=tuple(fill for owner, fill in told.fills if owner == part),
        trades=tuple(told.trades[part]),
        refused=refused,
        gain=gain,
        ledger=ledger,
        metrics=metrics_of(
            Run(
                capital=float(capital),
                equity=float(capital) + gain,
                starts_at_us=int(leg.ohlcv.opened_at_us[0]),
                closes_at_us=closes_at_us,
                first_open=float(leg.ohlcv.open[0]),
                closes=leg.ohlcv.close,
                trades=told.trades[part],
                exposed_candles=int(exposed.sum()),
                turnover=float(ledger.turnover),
                fees_paid=float(ledger.fees),
                slippage_paid=float(ledger.slippage),
                ambiguous_exits=0,
                refused_orders=len(refused),
            )
        ),
        undecided=np.empty(0, dtype=np.int64),
    )
