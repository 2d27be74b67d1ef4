"""After warming up no caller of the kernel has anything left to compile."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from backtesting.engine import simulate
from backtesting.warm_up import warm_up
from bots import fills
from bots.fill_records import flat_state, terms_of
from bots.orders import Costs, TradingRules
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Protection, Sizing
from tests.backtesting.series import signals_at


def test_every_entry_into_the_kernel_is_compiled_for_what_callers_hand_over() -> None:
    warm_up()
    entries = ("run_candles", "open_candle", "close_candle", "decide", "close_position", "arm")
    compiled = {name: len(getattr(fills, name).signatures) for name in entries}
    assert all(compiled.values()), compiled


def test_columns_that_are_read_only_or_strided_need_no_compiling_of_their_own() -> None:
    warm_up()
    before = len(fills.run_candles.signatures)  # type: ignore[attr-defined]  # a numba dispatcher
    prices = np.ones((4, 8))
    prices.flags.writeable = False
    times = np.arange(8, dtype=np.int64) * Timeframe.M1.us
    ohlcv = Ohlcv(
        timeframe=Timeframe.M1,
        opened_at_us=times[::2],
        open=prices[0, ::2],
        high=prices[1, ::2],
        low=prices[2, ::2],
        close=prices[3, :4],
        volume=prices[0, :4],
    )
    terms = terms_of(Costs(), TradingRules(), Protection(), Sizing())
    simulate(signals_at(4, long_entry=[0]), ohlcv, state=flat_state(Decimal(1)), terms=terms)
    assert len(fills.run_candles.signatures) == before  # type: ignore[attr-defined]
