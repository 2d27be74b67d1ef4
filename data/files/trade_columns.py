"""Trades of one market as columns, for files and stores that hold millions of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.models import FloatArray, IntArray, Market, Side, Trade

BUY, SELL = 1, -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeColumns:
    """Each of shape (n,), ascending in `trade_id`, without duplicates; `quantity` is base currency."""

    trade_id: IntArray
    traded_at_us: IntArray
    price: FloatArray
    quantity: FloatArray
    taker_side: NDArray[np.int8]  # BUY or SELL: whose order crossed the spread

    def __len__(self) -> int:
        return len(self.trade_id)

    def rows(self, start: int, stop: int) -> TradeColumns:
        """Rows `start` up to `stop`, as views on the same memory."""
        part = slice(start, stop)
        return TradeColumns(
            trade_id=self.trade_id[part],
            traded_at_us=self.traded_at_us[part],
            price=self.price[part],
            quantity=self.quantity[part],
            taker_side=self.taker_side[part],
        )

    def trades(self, market: Market) -> list[Trade]:
        """The same as values, in the same order."""
        sides = {BUY: Side.BUY, SELL: Side.SELL}
        return [
            Trade(
                exchange=market.exchange,
                symbol=market.symbol,
                trade_id=trade_id,
                price=price,
                quantity=quantity,
                taker_side=sides[side],
                traded_at_us=traded_at_us,
            )
            for trade_id, price, quantity, side, traded_at_us in zip(
                self.trade_id.tolist(),
                self.price.tolist(),
                self.quantity.tolist(),
                self.taker_side.tolist(),
                self.traded_at_us.tolist(),
                strict=True,
            )
        ]

    def taken(self, rows: IntArray) -> TradeColumns:
        """The rows of these numbers, in their order."""
        return TradeColumns(
            trade_id=self.trade_id[rows],
            traded_at_us=self.traded_at_us[rows],
            price=self.price[rows],
            quantity=self.quantity[rows],
            taker_side=self.taker_side[rows],
        )


class ContradictoryTrades(ValueError):
    """Two different trades with one id: in rows `row` and `other` of the columns, differing in `column`."""

    def __init__(self, trade_id: int, row: int, other: int, column: str) -> None:
        super().__init__(f"two different trades with the id {trade_id}")
        self.trade_id, self.row, self.other, self.column = trade_id, row, other, column


def without_repetitions(columns: TradeColumns) -> tuple[TradeColumns, int]:
    """The same trades ascending in id, of equal ones the first, and how many were left out.

    Raises ContradictoryTrades.
    """
    if np.all(np.diff(columns.trade_id) > 0):
        return columns, 0
    order = np.argsort(columns.trade_id, kind="stable")
    ordered = columns.taken(order)
    same_id = np.flatnonzero(np.diff(ordered.trade_id) == 0)
    for name in ("traded_at_us", "price", "quantity", "taker_side"):
        values = getattr(ordered, name)
        differ = values[same_id] != values[same_id + 1]
        if differ.any():
            first = int(same_id[int(np.argmax(differ))])
            raise ContradictoryTrades(
                int(ordered.trade_id[first]), int(order[first + 1]), int(order[first]), name
            )
    return ordered.taken(np.delete(np.arange(len(order)), same_id + 1)), len(same_id)
