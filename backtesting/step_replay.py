"""A bot run again step by step: the very account that the bot itself steps.

For what the compiled run over arrays knows nothing of: orders that go through the recorded book, and funding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from bots.finest_data import FinestReader
from bots.funding import PerpetualFunding
from bots.journal import JournalEntry, paid_at
from bots.orders import Costs, Fill, TradingRules
from bots.paper_account import AccountState, PaperAccount
from bots.paper_bot import candles_of
from bots.recorded_depth import MarketDepth
from bots.risk.gate import pass_gate
from bots.risk.limits import NO_LIMITS
from bots.risk.state import begin
from data.models import Candle, FloatArray, Market, Ohlcv
from strategies.base import Decision, Signals, Strategy


def replay_by_steps(
    strategy: Strategy,
    said: Signals,
    ohlcv: Ohlcv,
    *,
    capital: Decimal,
    costs: Costs,
    rules: TradingRules,
    market: Market,
    initial: AccountState,
    depth: MarketDepth | None,
    funding: PerpetualFunding,
    inside: FinestReader | None,
) -> tuple[Sequence[Fill], FloatArray, Mapping[int, Decimal]]:
    """The fills, the equity at the closes, shape (n,), and what was paid at funding times.

    Of going on from `initial` over these candles.

    `said` holds at the rows of `ohlcv`, without what gates held back. `depth` and `funding` are asked as the
    bot asked. `initial` has paid for all times up to the first open.
    """
    account = PaperAccount(
        capital=capital,
        costs=costs,
        rules=rules,
        protection=strategy.protection,
        sizing=strategy.sizing,
        state=initial,
    )

    fills: list[Fill] = []
    entries: list[JournalEntry] = []
    equity = np.empty(len(ohlcv))
    before: Candle | None = None
    for row, candle in enumerate(candles_of(ohlcv, market)):
        at_us = candle.opened_at_us
        if before is not None:
            for rate in funding.settled(before.closes_at_us, at_us):
                entries += account.fund(rate, before.close).entries
        before = candle
        opening = None if depth is None else depth.at(at_us)
        fills += account.open_candle(at_us, candle.open, opening).fills
        finer = None
        if inside is not None and account.is_undecided(candle):
            finer = inside(ohlcv.rows(row, row + 1))
        closed = account.close_candle(candle, finer)
        assert closed.equity is not None
        fills += closed.fills
        for rate in funding.settled(at_us, candle.closes_at_us):
            entries += account.fund(rate, candle.close).entries
        equity[row] = float(account.ledger.equity(closed.equity.price))
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
    return fills, equity, paid_at(entries)


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
