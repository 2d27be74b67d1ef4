"""Several strategies or symbols that share one capital: the fill rules of single runs, one exact account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from backtesting.buy_and_hold import held_in_equal_parts
from backtesting.engine import check_inputs
from backtesting.metrics import Metrics, Run, metrics_of
from bots import fill_records, fills
from bots.booking import Event, events_of, fill_of, refusal_sentence, rules_at
from bots.ledger import EXACT, Ledger, LedgerState
from bots.orders import ClosedTrade, Costs, Fill, Order, OrderReason, OrderStatus, RulesFrom, TradingRules
from bots.portfolio_fills import Legs, run_legs
from data.errors import InvalidInput, Problem
from data.models import FloatArray, IntArray, Ohlcv
from strategies.base import Strategy

_FIRST_CAPACITY = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One strategy on one symbol."""

    symbol: str
    strategy: Strategy
    ohlcv: Ohlcv
    rules: TradingRules
    later_rules: tuple[RulesFrom, ...] = ()
    finer: Ohlcv | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegResult:
    """What one leg did. Its metrics measure its own gain against the whole capital."""

    leg: Leg
    fills: tuple[Fill, ...]
    trades: tuple[ClosedTrade, ...]
    refused: tuple[Order, ...]
    gain: FloatArray  # at each of its candles' closes, in quote currency
    ledger: LedgerState  # of its own fills alone; capital 0, and cash below 0 where they cost more
    metrics: Metrics
    undecided: IntArray  # rows of candles that hold stop and target in either reading, and nothing told


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioResult:
    """One run of several legs. Times are UTC microseconds, money is quote currency."""

    legs: tuple[LegResult, ...]
    capital: Decimal
    costs: Costs
    close_at_end: bool
    at_us: IntArray  # every instant at which a candle of some leg closes, shape (n,)
    equity: FloatArray  # of the account at those
    best_case_equity: FloatArray | None  # were each ambiguous exit a target; None where there is none
    fills: tuple[tuple[int, Fill], ...]  # number of the leg and fill, as they came
    cash: Decimal  # at the end
    metrics: Metrics


class _Books:
    """The account's exact books: one ledger a leg, and the cash that they share."""

    def __init__(self, legs: Sequence[Leg], capital: Decimal, costs: Costs) -> None:
        self._legs = legs
        self._costs = costs
        self._sequence = 0
        self.cash = capital
        self.ledgers = [Ledger.opened_with(Decimal(0)) for _ in legs]
        self.fills: list[tuple[int, Fill]] = []
        self.trades: list[list[ClosedTrade]] = [[] for _ in legs]
        self.refused: list[list[Order]] = [[] for _ in legs]

    def book(self, number: int, event: Event) -> None:
        """Enter one event of a leg."""
        self._sequence += 1
        ledger, leg = self.ledgers[number], self._legs[number]
        if event.refusal != fill_records.ACCEPTED:
            rules = rules_at(leg.rules, leg.later_rules, event.at_us)
            self.refused[number].append(
                Order(
                    sequence=self._sequence,
                    side=event.side,
                    position_side=event.position_side,
                    reason=event.reason,
                    status=OrderStatus.REFUSED,
                    decided_at_us=event.at_us,
                    quantity=event.quantity,
                    refusal=refusal_sentence(event, self.cash, rules),
                )
            )
            return
        fill = fill_of(event, self._sequence, self._costs)
        before = ledger.cash
        closed = ledger.book(fill).closed
        self.cash = EXACT.add(self.cash, EXACT.subtract(ledger.cash, before))
        self.fills.append((number, fill))
        if closed is not None:
            self.trades[number].append(closed)

    def verify(self, states: fill_records.Records) -> None:
        """Raise AssertionError unless the books balance and the kernel counted the same."""
        for number, ledger in enumerate(self.ledgers):
            ledger.verify()
            counted = fill_records.cash_of(states[number : number + 1])
            if counted != ledger.cash:
                raise AssertionError(f"the kernel counts {counted} for leg {number}, the books {ledger.cash}")


def run_portfolio(
    legs: Sequence[Leg], *, capital: Decimal, costs: Costs, close_at_end: bool = False
) -> PortfolioResult:
    """Run all legs over their candles with one capital.

    An entry's size is a share of the account's equity, as far as the cash goes that positions leave free.
    The order of fills at one instant is that of docs/decisions/0009-portfolios.md, so the order of `legs` is
    part of the input. Raises InvalidInput for legs that cannot be run.
    """
    _check(legs, capital)
    terms = [
        fill_records.terms_of(
            costs, leg.rules, leg.strategy.protection, leg.strategy.sizing, later_rules=leg.later_rules
        )
        for leg in legs
    ]
    table = _table(legs, [len(part) for part in terms])
    finer = _joined_finer(legs)
    run = _simulated(legs, terms, table, finer, capital, target_first=False)
    states, leg_equity, equity = run.states, run.leg_equity, run.equity
    starts = np.cumsum([0, *(len(leg.ohlcv) for leg in legs)])
    books = _Books(legs, capital, costs)
    numbers = np.searchsorted(starts, run.events["row"], side="right") - 1
    for number, event in zip(numbers.tolist(), events_of(run.events), strict=True):
        books.book(number, event)
    undecided, best_case = run.undecided, None
    if len(undecided):
        best = _simulated(legs, terms, table, finer, capital, target_first=True)
        undecided = np.unique(np.concatenate((undecided, best.undecided)))
        best_case = best.equity
        if close_at_end:
            best_case[-1] = _cash_at_the_end(legs, best, terms, capital)
    if close_at_end:
        for number, leg in enumerate(legs):
            closing = _close(leg, states[number : number + 1], terms[number])
            if closing is not None:
                books.book(number, closing)
                leg_equity[starts[number + 1] - 1] = states["cash"][number]
        equity[-1] = float(books.cash)
    books.verify(states)
    closes_at_us = np.unique(
        np.concatenate([leg.ohlcv.opened_at_us + leg.ohlcv.timeframe.us for leg in legs])
    )
    results = tuple(
        _leg_result(
            number,
            leg,
            books,
            leg_equity[first:last],
            states,
            capital,
            undecided[(undecided >= first) & (undecided < last)] - first,
        )
        for number, (leg, first, last) in enumerate(zip(legs, starts[:-1], starts[1:], strict=True))
    )
    everything = [trade for part in books.trades for trade in part]
    everything.sort(key=lambda trade: trade.exit_at_us)
    ledgers = [result.ledger for result in results]
    return PortfolioResult(
        legs=results,
        capital=capital,
        costs=costs,
        close_at_end=close_at_end,
        at_us=closes_at_us,
        equity=equity,
        best_case_equity=best_case,
        fills=tuple(books.fills),
        cash=books.cash,
        metrics=metrics_of(
            Run(
                capital=float(capital),
                equity=equity,
                starts_at_us=min(int(leg.ohlcv.opened_at_us[0]) for leg in legs),
                closes_at_us=closes_at_us,
                # Equal parts of the capital in every leg's symbol, bought at its first open.
                first_open=1.0,
                closes=held_in_equal_parts([leg.ohlcv for leg in legs], closes_at_us),
                trades=everything,
                exposed_candles=run.exposed,
                turnover=float(sum(part.turnover for part in ledgers)),
                fees_paid=float(sum(part.fees for part in ledgers)),
                slippage_paid=float(sum(part.slippage for part in ledgers)),
                ambiguous_exits=sum(fill.ambiguous for _, fill in books.fills),
                refused_orders=sum(map(len, books.refused)),
            )
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Simulation:
    """What the kernel did under one reading of what nothing decides."""

    states: fill_records.Records  # of each leg at the end
    events: fill_records.Records  # their rows counted through all legs
    equity: FloatArray  # of the account, at each instant at which a candle of some leg closes
    leg_equity: FloatArray  # at the closes of the legs' candles, one leg after the other
    exposed: int

    @property
    def undecided(self) -> IntArray:
        """Rows, counted through all legs, of the candles whose exits nothing decided."""
        return np.unique(self.events["row"][self.events["ambiguous"] != 0]).astype(np.int64)


def _simulated(
    legs: Sequence[Leg],
    terms: Sequence[fill_records.Records],
    table: Legs,
    finer: fill_records.Finer,
    capital: Decimal,
    *,
    target_first: bool,
) -> _Simulation:
    states = np.concatenate([fill_records.flat_state(Decimal(0)) for _ in legs])
    every_term = np.concatenate(terms)
    every_term["target_first"] = target_first
    at = np.zeros(4, dtype=np.int64)
    rows = len(table.opening)
    leg_equity, equity = np.empty(rows), np.empty(rows)
    marks = np.array([leg.ohlcv.open[0] for leg in legs])
    paid_in = fill_records.wide_cash(capital)
    chunks, capacity = [], _FIRST_CAPACITY + (fill_records.EVENTS_PER_CANDLE + 1) * len(legs)
    while at[1] < rows:
        chunk = np.empty(capacity, dtype=fill_records.EVENT)
        count = run_legs(states, every_term, table, finer, paid_in, at, marks, equity, leg_equity, chunk)
        for number in range(len(legs)):
            fill_records.raise_error(states[number : number + 1])
        chunks.append(chunk[:count])
        capacity *= 2
    return _Simulation(
        states=states,
        events=np.concatenate(chunks),
        equity=equity[: at[2]],
        leg_equity=leg_equity,
        exposed=int(at[3]),
    )


def _cash_at_the_end(
    legs: Sequence[Leg], run: _Simulation, terms: Sequence[fill_records.Records], capital: Decimal
) -> float:
    """The account's cash once every leg has left its position at its last close."""
    for number, leg in enumerate(legs):
        _close(leg, run.states[number : number + 1], terms[number])
    return float(capital) + float(run.states["cash"].sum())


def _leg_result(
    number: int,
    leg: Leg,
    books: _Books,
    gain: FloatArray,
    states: fill_records.Records,
    capital: Decimal,
    undecided: IntArray,
) -> LegResult:
    ledger = books.ledgers[number].state
    filled = tuple(fill for owner, fill in books.fills if owner == number)
    ohlcv = leg.ohlcv
    return LegResult(
        leg=leg,
        fills=filled,
        trades=tuple(books.trades[number]),
        refused=tuple(books.refused[number]),
        gain=gain,
        ledger=ledger,
        metrics=metrics_of(
            Run(
                capital=float(capital),
                equity=float(capital) + gain,
                starts_at_us=int(ohlcv.opened_at_us[0]),
                closes_at_us=ohlcv.opened_at_us + ohlcv.timeframe.us,
                first_open=float(ohlcv.open[0]),
                closes=ohlcv.close,
                trades=books.trades[number],
                exposed_candles=int(states["exposed"][number]),
                turnover=float(ledger.turnover),
                fees_paid=float(ledger.fees),
                slippage_paid=float(ledger.slippage),
                ambiguous_exits=sum(fill.ambiguous for fill in filled),
                refused_orders=len(books.refused[number]),
            )
        ),
        undecided=undecided,
    )


def _close(leg: Leg, state: fill_records.Records, terms: fill_records.Records) -> Event | None:
    """Leave a leg's position at its last close; None where there is none."""
    chunk = np.empty(1, dtype=fill_records.EVENT)
    last = len(leg.ohlcv) - 1
    opened_at_us = int(leg.ohlcv.opened_at_us[last])
    reason = fill_records.REASON_NUMBERS[OrderReason.END]
    count = fills.close_position(
        state,
        fill_records.terms_at(terms, opened_at_us),
        last,
        opened_at_us + leg.ohlcv.timeframe.us,
        float(leg.ohlcv.close[last]),
        reason,
        chunk,
    )
    fill_records.raise_error(state)
    return next(events_of(chunk[:count]), None)


def _table(legs: Sequence[Leg], term_counts: Sequence[int]) -> Legs:
    says = np.concatenate([fill_records.said(leg.strategy.signals(leg.ohlcv)) for leg in legs])
    leg = np.repeat(np.arange(len(legs)), [len(part.ohlcv) for part in legs])
    opened_at_us = np.concatenate([part.ohlcv.opened_at_us for part in legs])
    duration_us = np.array([part.ohlcv.timeframe.us for part in legs], dtype=np.int64)

    def column(name: str) -> FloatArray:
        return np.concatenate([np.asarray(getattr(part.ohlcv, name), dtype=np.float64) for part in legs])

    finer_counts = [0 if part.finer is None else len(part.finer) for part in legs]
    return Legs(
        opened_at_us=opened_at_us,
        duration_us=duration_us,
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=column("close"),
        says=says,
        leg=leg,
        terms=np.cumsum([0, *term_counts]),
        finer=np.cumsum([0, *finer_counts]),
        # A stable sort keeps the legs in their order at one instant.
        opening=np.argsort(opened_at_us, kind="stable"),
        closing=np.argsort(opened_at_us + duration_us[leg], kind="stable"),
    )


def _joined_finer(legs: Sequence[Leg]) -> fill_records.Finer:
    parts = [fill_records.finer_columns(leg.finer) for leg in legs]
    return fill_records.Finer(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _check(legs: Sequence[Leg], capital: Decimal) -> None:
    problems: list[Problem] = []
    if not legs:
        problems.append(Problem(where="portfolio", field="legs", value="0", expected="give at least one"))
    seen = set()
    for leg in legs:
        name = (leg.symbol, leg.strategy.name)
        if name in seen:
            value = f"{leg.symbol} with {leg.strategy.name}"
            expected = "each symbol runs each strategy once"
            problems.append(Problem(where="portfolio", field="legs", value=value, expected=expected))
        seen.add(name)
        try:
            check_inputs(leg.strategy, leg.ohlcv, capital, leg.rules, leg.finer)
        except InvalidInput as invalid:
            problems.extend(
                Problem(
                    where=f"{leg.symbol}: {problem.where}",
                    field=problem.field,
                    value=problem.value,
                    expected=problem.expected,
                )
                for problem in invalid.problems
            )
    if problems:
        raise InvalidInput(*problems)
