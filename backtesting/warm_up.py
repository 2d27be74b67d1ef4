"""Compiles every kernel for all its callers, so that the first run after an installation need not wait.

Where machine code is kept, `data.kernel_cache` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from backtesting.engine import simulate
from backtesting.equity_json import equity_json
from backtesting.portfolio import Leg, run_portfolio
from backtesting.search.spans import Span
from backtesting.search.trials import Evaluator, Work
from bots.fill_records import flat_state, terms_of
from bots.orders import Costs, TradingRules
from bots.paper_account import PaperAccount
from bots.risk.unlimited import unlimited
from data.exchanges.binance import BinanceAdapter
from data.kernel_cache import mark_warm
from data.models import Candle, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Decision, Protection, Signals, Sizing
from strategies.loader import parse_strategy
from strategies.ordering import order_of

_CROSSED = ["fast", "slow"]
_CROSSOVER: Mapping[str, Any] = {
    "name": "warm-up",
    "timeframe": "1m",
    "parameters": {"fast": {"default": 1, "min": 1, "max": 2, "step": 1}},
    "indicators": {
        "fast": {"type": "ema", "period": {"parameter": "fast"}},
        "slow": {"type": "ema", "period": 2},
    },
    "long": {"entry": {"crosses_above": _CROSSED}, "exit": {"not": {"crosses_above": _CROSSED}}},
    "protection": {},
    "sizing": {"type": "fraction_of_equity", "value": 1.0},
}


def warm_up() -> None:
    """Take every path into compiled code once: seconds when it is cached, a minute when it is not."""
    costs, rules, protection, sizing = Costs(), TradingRules(), Protection(), Sizing()
    price, never = np.ones(2), np.zeros(2, dtype=np.bool_)
    ohlcv = Ohlcv(
        timeframe=Timeframe.M1,
        opened_at_us=np.array([0, Timeframe.M1.us]),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=price,
    )
    simulate(
        Signals(long_entry=~never, long_exit=never, short_entry=never, short_exit=never),
        ohlcv,
        state=flat_state(Decimal(100)),
        terms=terms_of(costs, rules, protection, sizing),
        close_at_end=True,
    )
    account = PaperAccount(
        capital=Decimal(100), costs=costs, rules=rules, protection=protection, sizing=sizing
    )
    account.close_candle(_candle(0))
    account.decide(
        unlimited(
            Decision(
                strategy="warm-up",
                version="",
                opened_at_us=0,
                close=1.0,
                long_entry=True,
                long_exit=False,
                short_entry=False,
                short_exit=False,
                record={},
            )
        )
    )
    account.open_candle(Timeframe.M1.us, 1.0)
    restored = PaperAccount(
        capital=Decimal(100),
        costs=costs,
        rules=rules,
        protection=protection,
        sizing=sizing,
        state=account.state,
    )
    restored.close_candle(_candle(Timeframe.M1.us))
    restored.flatten(2 * Timeframe.M1.us, 1.0)
    equity_json(ohlcv.opened_at_us, price)
    order_of(price, price)
    order_of(price, 1.0)
    strategy = parse_strategy(_CROSSOVER, "warm-up")
    run_portfolio(
        [Leg(symbol="", strategy=strategy, ohlcv=ohlcv, rules=rules)], capital=Decimal(100), costs=costs
    )
    _search(ohlcv)
    BinanceAdapter().make_ready()
    mark_warm()


def _search(ohlcv: Ohlcv) -> None:
    """One trial of a search, whose kernels are its own."""
    work = Work(
        document=_CROSSOVER,
        where="warm-up",
        timeframe=None,
        fixed={},
        varied=("fast",),
        capital=Decimal(100),
        costs=Costs(),
        rules=TradingRules(),
        close_at_end=False,
        spans=(Span(start=0, stop=len(ohlcv)),),
        ohlcv=ohlcv,
        finer=None,
    )
    Evaluator(work).evaluate(np.array([[1.0]]))


def _candle(opened_at_us: int) -> Candle:
    return Candle(
        exchange="",
        symbol="",
        timeframe=Timeframe.M1,
        opened_at_us=opened_at_us,
        open=1.0,
        high=1.0,
        low=1.0,
        close=1.0,
        volume=1.0,
        trades=1,
    )


if __name__ == "__main__":
    warm_up()
