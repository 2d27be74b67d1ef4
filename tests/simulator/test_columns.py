"""Candles out of trades and out of shorter candles."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from hypothesis import given
from hypothesis.strategies import integers, lists, tuples

from simulator.columns import CandleColumns, TradeColumns, Width, candles_of, concatenated, folded

TEN = Width(10)
FORTY = Width(40, anchor_ms=-20)


def trades_of(rows: list[tuple[int, int, int]]) -> TradeColumns:
    """Trades from (time, price, size), sorted by time."""
    rows = sorted(rows, key=lambda row: row[0])
    columns = np.array(rows, np.int64).reshape(-1, 3)
    ids = np.arange(1, len(rows) + 1)
    return TradeColumns(
        ids=ids,
        at_ms=columns[:, 0],
        price=columns[:, 1],
        size=columns[:, 2],
        buy=columns[:, 2] % 2 == 0,
        aggregate_ids=ids,
    )


some_trades = lists(tuples(integers(0, 500), integers(1, 99), integers(1, 9)), max_size=60).map(trades_of)


def assert_same(left: CandleColumns, right: CandleColumns) -> None:
    for field in fields(CandleColumns):
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name), field.name)


@given(trades=some_trades)
def test_folding_candles_equals_building_them_from_the_trades(trades: TradeColumns) -> None:
    assert_same(folded(candles_of(trades, TEN), FORTY), candles_of(trades, FORTY))


@given(trades=some_trades)
def test_candles_hold_all_the_volume_and_every_price(trades: TradeColumns) -> None:
    candles = candles_of(trades, TEN)
    assert candles.volume.sum() == trades.size.sum()
    assert candles.trades.sum() == len(trades)
    assert (candles.low <= np.minimum(candles.open, candles.close)).all()
    assert (candles.high >= np.maximum(candles.open, candles.close)).all()


def test_a_candle_takes_the_first_and_last_trade_of_its_interval() -> None:
    candles = candles_of(trades_of([(10, 5, 2), (13, 9, 1), (19, 4, 3), (20, 7, 4)]), TEN)
    assert candles.opened_at_ms.tolist() == [10, 20]
    assert [candles.open[0], candles.high[0], candles.low[0], candles.close[0]] == [5, 9, 4, 4]
    assert [candles.volume[0], candles.buy_volume[0], candles.quote[0]] == [6, 2, 5 * 2 + 9 + 4 * 3]
    assert [candles.first_id[0], candles.last_id[0], candles.trades[0]] == [1, 3, 3]


def test_intervals_start_at_their_anchor() -> None:
    assert [FORTY.floor(at) for at in (-21, -20, 19, 20)] == [-60, -20, -20, 20]


def test_no_candles_join_to_none() -> None:
    assert len(concatenated([])) == 0
