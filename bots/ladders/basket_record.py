"""What a basket says at a common close: a decision whose record explains it, and the words for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from bots.ladders.basket import Asks, BasketAccount
from bots.ladders.settings import RebalanceSettings
from bots.ladders.strategy import BasketStrategy
from bots.stores import PartSaid
from data.models import Candle
from strategies.base import Decision

_ASKED = {
    Asks.BEGIN: "the basket is bought",
    Asks.CALENDAR: "the interval begins",
    Asks.THRESHOLD: "a part is too far from its weight",
}


def basket_decision(
    strategy: BasketStrategy, account: BasketAccount, candles: Sequence[Candle]
) -> tuple[Decision, tuple[PartSaid, ...]]:
    """What is said at the close of these candles, one of each symbol, and what of it is said of which.

    The record holds all that the decision rests on: each symbol's candle, what is held of it and its weight,
    the cash, and what asked for a rebalance.
    """
    asks, moves = account.asks(), account.moves()
    first = candles[0]
    decision = Decision(
        strategy=strategy.name,
        version=strategy.version,
        opened_at_us=first.opened_at_us,
        close=first.close,
        long_entry=any(move > 0 for move in moves),
        long_exit=any(move < 0 for move in moves),
        short_entry=False,
        short_exit=False,
        record=_record(strategy.settings, account, candles, asks, moves),
    )
    said = tuple(
        PartSaid(symbol=candle.symbol, action="long_entry" if move > 0 else "long_exit", close=candle.close)
        for candle, move in zip(candles, moves, strict=True)
        if move
    )
    return decision, said


def _record(
    settings: RebalanceSettings,
    account: BasketAccount,
    candles: Sequence[Candle],
    asks: Asks,
    moves: Sequence[Decimal],
) -> dict[str, Any]:
    return {
        "asks": str(asks),
        "cash": str(account.cash),
        "equity": str(account.equity()),
        "parts": {
            candle.symbol: {
                "candle": [candle.open, candle.high, candle.low, candle.close, candle.volume],
                "held": str(ledger.quantity),
                "weight": str(weight),
                "move": str(move),
            }
            for candle, ledger, weight, move in zip(
                candles, account.ledgers, settings.weights.values(), moves, strict=True
            )
        },
    }


def basket_sentence(record: Mapping[str, Any]) -> str:
    """The record of a basket's decision in words; empty for other records."""
    parts, equity = record.get("parts"), Decimal(record.get("equity", "0"))
    if not isinstance(parts, Mapping) or "asks" not in record:
        return ""
    shares = ", ".join(
        f"{symbol} {_share(Decimal(part['held']) * Decimal(repr(part['candle'][3])), equity)}"
        f" of {_share(Decimal(part['weight']), Decimal(1))}"
        for symbol, part in parts.items()
    )
    asked = _ASKED.get(Asks(record["asks"]), "nothing asks for a rebalance")
    moves = [
        f"{'buy' if Decimal(part['move']) > 0 else 'sell'} {symbol} for {abs(Decimal(part['move'])):.2f}"
        for symbol, part in parts.items()
        if Decimal(part["move"])
    ]
    return f"{shares}: {asked}" + (f"; {', '.join(moves)}" if moves else "")


def _share(amount: Decimal, of: Decimal) -> str:
    return f"{float(amount / of):.2%}" if of else "0.00%"
