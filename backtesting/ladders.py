"""A bot with several orders over stored candles: the very account that the bot itself steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from backtesting.engine import BacktestResult, check_inputs
from backtesting.metrics import Run, metrics_of
from bots.funding import PerpetualFunding
from bots.gates import PASSED, Gate, GateVerdict
from bots.journal import JournalEntry, paid_at
from bots.ladders.account import Inside, LadderAccount
from bots.ladders.grid import Grid
from bots.ladders.inside import TradeReader, covers, inside_of
from bots.ladders.plans import ladder_account
from bots.ladders.settings import GridSettings
from bots.ladders.state import GridState, LadderState
from bots.ladders.strategy import LadderStrategy
from bots.ladders.worst_case import WorstCase, worst_case
from bots.ledger import exact_price
from bots.orders import ClosedTrade, Costs, Fill, Order, OrderReason, OrderStatus, TradingRules
from bots.paper_account import AccountStep
from bots.paper_bot import candles_of
from bots.risk.gate import pass_gate
from bots.risk.limits import NO_LIMITS, Limits
from bots.risk.state import begin, observe
from data.models import Candle, Market, Ohlcv

InsideOf = Callable[[Candle], Inside | None]
_HELD_BACK = GateVerdict(gate=Gate.LIMIT, detail="held back, as it was for the bot")


class LadderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a ladder used of what was promised."""

    worst_case: WorstCase
    most_committed: Decimal  # quote currency, fees included
    most_orders: int
    gap_loss: Decimal  # what stops lost beyond their level
    finished: str  # why it ended before the last candle; empty where it did not
    realised: Decimal | None = None  # a grid's gain in its parts; None for others
    inventory: Decimal | None = None
    fees: Decimal | None = None


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


def run_ladder(
    strategy: LadderStrategy,
    ohlcv: Ohlcv,
    *,
    capital: Decimal,
    costs: Costs,
    rules: TradingRules,
    market: Market,
    limits: Limits = NO_LIMITS,
    close_at_end: bool = False,
    finer: Ohlcv | None = None,
    trades: TradeReader | None = None,
    inside: InsideOf | None = None,
    initial: LadderState | None = None,
    history: Ohlcv | None = None,
    held_back: Collection[int] = (),
    funding: PerpetualFunding | None = None,
) -> tuple[BacktestResult, LadderFigures]:
    """Run a ladder over candles of its time frame.

    Stored `trades` of `market` say what filled limit orders where they cover a candle wholly, else `finer`
    candles, else the candle alone; `inside` tells instead of both. The account goes on from `initial`, the
    strategy from `history`. On candles that opened at `held_back` no order is made that would enlarge the
    position. `funding` are the rates of `market`, of which the settled ones count. Raises InvalidInput for
    what cannot be run.
    """
    check_inputs(strategy, ohlcv, capital, rules, finer)
    settings = strategy.settings
    account = ladder_account(settings, capital=capital, costs=costs, rules=rules, state=initial)
    stream = strategy.stream()
    for candle in () if history is None else candles_of(history, market):
        stream.update(candle)
    risk = begin(capital)
    told = _Told()
    equity = np.empty(len(ohlcv))
    parts = _Parts(finer)

    def stored_inside(candle: Candle) -> Inside | None:
        return inside_of(candle, trades, parts.of(candle))

    paid = PerpetualFunding(market, None) if funding is None else funding
    before: Candle | None = None  # what was paid before the first open is in `initial`
    for row, candle in enumerate(candles_of(ohlcv, market)):
        if before is not None:
            for rate in paid.settled(before.closes_at_us, candle.opened_at_us):
                told.add(account.fund(rate, before.close))
        before = candle
        told.add(account.open_candle(candle.opened_at_us, candle.open))
        may_act = account.may_act_inside(candle.low, candle.high)
        step = account.close_candle(candle, (inside or stored_inside)(candle) if may_act else None)
        told.add(step)
        assert step.equity is not None
        for rate in paid.settled(candle.opened_at_us, candle.closes_at_us):
            told.add(account.fund(rate, candle.close))
        worth = account.ledger.equity(step.equity.price)
        risk = observe(risk, candle.closes_at_us, worth, limits)
        equity[row] = float(worth)
        decision = stream.update(candle)
        passage = pass_gate(
            decision,
            account.proposal(decision),
            limits=limits,
            state=risk,
            rules=rules,
            own=_HELD_BACK if candle.opened_at_us in held_back else PASSED,
        )
        risk = passage.state
        told.add(account.decide(passage.approved))
    last_close_us = int(ohlcv.opened_at_us[-1]) + ohlcv.timeframe.us
    if close_at_end:
        ended = account.flatten(last_close_us, float(ohlcv.close[-1]), reason=OrderReason.END)
        told.add(ended)
        assert ended.equity is not None
        equity[-1] = float(ended.equity.equity)
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
        later_rules=(),
        equity=equity,
        best_case_equity=None,
        fills=tuple(told.fills),
        trades=tuple(told.trades),
        refused=refused,
        pending=(*account.pending, *account.resting),
        ledger=books,
        metrics=metrics_of(
            Run(
                capital=float(capital),
                equity=equity,
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
    )
    return result, figures_of(account, strategy, costs, rules, float(ohlcv.close[-1]))


def figures_of(
    account: LadderAccount,
    strategy: LadderStrategy,
    costs: Costs,
    rules: TradingRules,
    mark: float,
) -> LadderFigures:
    """What the account used of its worst case so far; a grid's inventory is marked at `mark`."""
    state = account.state
    split: dict[str, Any] = {}
    if isinstance(state.plan, GridState) and isinstance(strategy.settings, GridSettings):
        profit = Grid(strategy.settings, rules).profit(state.plan, state.ledger, exact_price(mark))
        split = msgspec.structs.asdict(profit)
    return LadderFigures(
        worst_case=worst_case(strategy.settings, costs),
        most_committed=state.most_committed,
        most_orders=state.most_orders,
        gap_loss=state.gap_loss,
        finished=state.finished,
        **split,
    )


class _Parts:
    """The finer candles of one candle after the other."""

    def __init__(self, finer: Ohlcv | None) -> None:
        self._finer = finer

    def of(self, candle: Candle) -> Ohlcv | None:
        """Those inside the candle, where they cover it wholly."""
        finer = self._finer
        if finer is None:
            return None
        ends: Sequence[int] = (candle.opened_at_us, candle.closes_at_us)
        first, last = finer.opened_at_us.searchsorted(np.array(ends, dtype=np.int64)).tolist()
        rows = finer.rows(first, last)
        return rows if covers(rows, candle) else None
