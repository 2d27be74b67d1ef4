"""Which fields of a venue's message are those of a trade, for whoever reads many at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class TradeField(StrEnum):
    """What a field says."""

    TRADE_ID = "trade_id"
    TIME = "time"  # milliseconds
    PRICE = "price"
    QUANTITY = "quantity"
    MAKER_BOUGHT = "maker_bought"  # true or false
    TAKER_SIDE = "taker_side"  # "buy" or "sell"


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeLayout:
    """The fields of a trade by their names, and those that decide whether a message is a plain trade."""

    fields: Mapping[str, TradeField]
    decisive: frozenset[str] = frozenset()  # numbers that must be what they were; others say nothing of it


def binance_layout(trade_id: str) -> TradeLayout:
    """Of `trade` or `aggTrade`."""
    return TradeLayout(
        fields={
            trade_id: TradeField.TRADE_ID,
            "T": TradeField.TIME,
            "p": TradeField.PRICE,
            "q": TradeField.QUANTITY,
            "m": TradeField.MAKER_BOUGHT,
        }
    )


OKX_LAYOUT = TradeLayout(
    fields={
        "tradeId": TradeField.TRADE_ID,
        "ts": TradeField.TIME,
        "px": TradeField.PRICE,
        "sz": TradeField.QUANTITY,
        "side": TradeField.TAKER_SIDE,
    },
    decisive=frozenset({"count"}),  # a row of several trades is none
)
