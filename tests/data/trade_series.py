"""Trades for tests of candles and sequencing: few words, all times and ids in sight."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st

from data.models import Market, Side, Trade

# On a busy machine one example may take long without being wrong.
UNHURRIED = settings(deadline=None, max_examples=60)
MARKET = Market("okx", "BTC-USDT")
SECOND_US = 1_000_000
# Monday 2024-01-01, so that weeks begin here too.
START_US = 1_704_067_200 * SECOND_US


def trade(trade_id: int, at_us: int, price: float = 100.0, quantity: float = 1.0) -> Trade:
    return Trade(
        exchange=MARKET.exchange,
        symbol=MARKET.symbol,
        trade_id=trade_id,
        price=price,
        quantity=quantity,
        taker_side=Side.BUY,
        traded_at_us=at_us,
    )


def trades_at(*seconds: float) -> list[Trade]:
    """One trade at each of these seconds after START_US, each at its own price."""
    return [
        trade(number, START_US + round(second * SECOND_US), price=100.0 + number)
        for number, second in enumerate(seconds, start=1)
    ]


@st.composite
def trade_series(draw: st.DrawFn, *, min_size: int = 1, max_size: int = 40) -> Sequence[Trade]:
    """Trades in id and time order whose pauses run from nothing to half a week."""
    steps = draw(
        st.lists(
            st.tuples(
                st.one_of(
                    st.integers(0, 2_000_000),
                    st.integers(0, 100 * SECOND_US),
                    st.integers(0, 300_000 * SECOND_US),
                ),
                st.integers(1, 10_000),
                st.integers(1, 1_000_000),
            ),
            min_size=min_size,
            max_size=max_size,
        )
    )
    at_us = START_US
    made = []
    for trade_id, (pause_us, price, quantity) in enumerate(steps, start=1_000):
        at_us += pause_us
        made.append(trade(trade_id, at_us, price=price / 8, quantity=quantity / 1e5))
    return made
