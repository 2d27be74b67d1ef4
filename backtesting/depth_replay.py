"""A bot that fills by the recorded order book, run again: the very account that the bot itself steps."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial

import numpy as np

from bots.finest_data import FinestReader
from bots.orders import Costs, Fill, TradingRules
from bots.paper_account import AccountState, PaperAccount
from bots.paper_bot import candles_of
from bots.recorded_depth import NO_BOOK, BookReader, OpenDepth
from bots.risk.gate import pass_gate
from bots.risk.limits import NO_LIMITS
from bots.risk.state import begin
from data.models import BookSnapshot, FloatArray, Market, Ohlcv
from strategies.base import Decision, Signals, Strategy


def replay_by_depth(
    strategy: Strategy,
    said: Signals,
    ohlcv: Ohlcv,
    *,
    capital: Decimal,
    costs: Costs,
    rules: TradingRules,
    market: Market,
    initial: AccountState,
    books: BookReader | None,
    inside: FinestReader | None,
) -> tuple[Sequence[Fill], FloatArray]:
    """The fills, and the equity at the closes, shape (n,), of going on from `initial` over these candles.

    `said` holds at the rows of `ohlcv`, without what gates held back. `books` are asked as the bot asked.
    """
    account = PaperAccount(
        capital=capital,
        costs=costs,
        rules=rules,
        protection=strategy.protection,
        sizing=strategy.sizing,
        state=initial,
    )

    def book_at(at_us: int) -> BookSnapshot | None:
        return (NO_BOOK if books is None else books.book_at(market, at_us)).book

    fills: list[Fill] = []
    equity = np.empty(len(ohlcv))
    for row, candle in enumerate(candles_of(ohlcv, market)):
        at_us = candle.opened_at_us
        fills += account.open_candle(at_us, candle.open, OpenDepth(at_us, partial(book_at, at_us))).fills
        finer = None
        if inside is not None and account.is_undecided(candle):
            finer = inside(ohlcv.rows(row, row + 1))
        closed = account.close_candle(candle, finer)
        assert closed.equity is not None
        fills += closed.fills
        equity[row] = float(closed.equity.equity)
        decision = _decision(strategy, said, row, at_us, candle.close)
        passage = pass_gate(
            decision,
            account.proposal(decision),
            limits=NO_LIMITS,
            state=begin(capital),
            rules=TradingRules(),
        )
        account.decide(passage.approved)
    account.ledger.verify()
    return fills, equity


def _decision(strategy: Strategy, said: Signals, row: int, opened_at_us: int, close: float) -> Decision:
    return Decision(
        strategy=strategy.name,
        version=strategy.version,
        opened_at_us=opened_at_us,
        close=close,
        long_entry=bool(said.long_entry[row]),
        long_exit=bool(said.long_exit[row]),
        short_entry=bool(said.short_entry[row]),
        short_exit=bool(said.short_exit[row]),
        long_add=said.long_add is not None and bool(said.long_add[row]),
        short_add=said.short_add is not None and bool(said.short_add[row]),
        record={},
    )
