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
