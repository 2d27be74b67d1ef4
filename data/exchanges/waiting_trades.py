"""Many messages that wait at once, read at the price of few calls: the plain trades among them together.

What is read here is what each adapter's `parse` makes of the same message, but for numbers that stand without
their quotes, with quotes too many or for true and false, and for fields that say nothing of the trade: those
are read all the same. Whatever is not plainly one exact trade of a known market is left to `parse`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec

from data.models import Side, Trade

_MS_US = 1_000
_BUY, _SELL = Side.BUY, Side.SELL

# Every character of a plain number becomes "0", so that a run of them can be searched for. A backslash counts
# as one: it may hide a digit.
_NUMBERS = bytes(ord("0") if chr(code) in "0123456789.\\" else ord("a") for code in range(256))
# A double holds any decimal of fifteen digits. Shorter runs are safe, times and ids with their 13 among them.
_LONG_NUMBER = b"0" * 16
# Fewer messages than these are not worth preparing for.
_FEW = 4

_OKX_AFTER_HEAD = b'"tradeId"'
_NO_HEAD = b"\n"  # begins no message


class WaitingTrades(NamedTuple):
    """One trade of each of some messages: by symbol, each symbol's in the order they came in."""

    by_symbol: dict[str, list[Trade]]
    sent_at_us: int  # the newest trade's time, by the venue's clock
    read: int  # how many messages that were


# Takes messages, from where to read, and whether all their numbers are known to be short.
Take = Callable[[Sequence[bytes], int, bool], WaitingTrades]


# Numbers beyond it are infinite, which the venues' other words for a number may be as well.
_Positive = Annotated[float, msgspec.Meta(gt=0.0, le=sys.float_info.max)]


class _BinanceTrade(msgspec.Struct, gc=False, tag_field="e", tag="trade"):
    s: str
    t: int
    p: _Positive
    q: _Positive
    T: int  # ms
    m: bool


class _BinanceEnvelope(msgspec.Struct, gc=False):
    data: _BinanceTrade


class _OkxRow(msgspec.Struct, gc=False):
    tradeId: int
    px: _Positive
    sz: _Positive
    side: Side
    ts: int  # ms
    count: int = 1


class _OkxPush(msgspec.Struct, gc=False):
    data: tuple[_OkxRow]


# Not strict: both venues write prices as strings, OKX its integers too.
_decode_binance = msgspec.json.Decoder(_BinanceEnvelope, strict=False).decode
_decode_okx = msgspec.json.Decoder(_OkxPush, strict=False).decode


def in_turn(messages: Sequence[bytes], take: Take) -> Iterator[WaitingTrades | bytes]:
    """The plain trades of `messages` together, and in their place between them messages left to `parse`."""
    if len(messages) < _FEW:
        # What prepares the reading of many costs more than `parse` of few.
        yield from messages
        return
    # The numbers are looked at in one go. Only where one is long must its message be found.
    all_short = not has_long_number(b"".join(messages))
    start, end = 0, len(messages)
    while start < end:
        trades = take(messages, start, all_short)
        if trades.read:
            yield trades
            start += trades.read
        if start < end:
            yield messages[start]
            start += 1


def has_long_number(message: bytes) -> bool:
    """Whether some number may have more digits than a double holds."""
    return _LONG_NUMBER in message.translate(_NUMBERS)


def take_binance(
    symbols: Mapping[str, str], messages: Sequence[bytes], start: int, all_short: bool
) -> WaitingTrades:
    """Trades from `messages[start]` up to the first one that must be parsed. `symbols`: ours by theirs."""
    by_symbol: dict[str, list[Trade]] = {}
    trades: list[Trade] = []
    venue_symbol = symbol = ""
    at_ms = count = 0
    try:
        for message in messages[start:] if start else messages:
            event = _decode_binance(message).data
            if not all_short and has_long_number(message):
                break
            if event.s != venue_symbol:
                venue_symbol = event.s
                symbol = symbols[venue_symbol]
                trades = by_symbol.setdefault(symbol, [])
            at_ms = event.T
            trades.append(
                Trade(
                    exchange="binance",
                    symbol=symbol,
                    trade_id=event.t,
                    price=event.p,
                    quantity=event.q,
                    # The buyer was the maker, so the seller's order crossed the spread.
                    taker_side=_SELL if event.m else _BUY,
                    traded_at_us=at_ms * _MS_US,
                )
            )
            count += 1
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        # The next one is no plain trade, or of no known market.
        pass
    return WaitingTrades(by_symbol, at_ms * _MS_US, count)


def okx_heads(channels: Iterable[str], symbols: Mapping[str, str]) -> dict[bytes, str]:
    """How pushes of one trade begin, with the symbol of each. `symbols`: ours by the venue's.

    Whoever begins so names its channel and, twice, its market: neither need be decoded.
    """
    return {
        f'{{"arg":{{"channel":"{channel}","instId":"{theirs}"}},"data":[{{"instId":"{theirs}",'.encode(): ours
        for channel in channels
        for theirs, ours in symbols.items()
    }


def take_okx(
    heads: Mapping[bytes, str], messages: Sequence[bytes], start: int, all_short: bool
) -> WaitingTrades:
    """Like `take_binance`. `heads` lacks contracts, whose number must be multiplied exactly."""
    by_symbol: dict[str, list[Trade]] = {}
    trades: list[Trade] = []
    head = _NO_HEAD
    symbol = ""
    at_ms = count = 0
    try:
        for message in messages[start:] if start else messages:
            if not message.startswith(head):
                head = message.partition(_OKX_AFTER_HEAD)[0]
                symbol = heads[head]
                trades = by_symbol.setdefault(symbol, [])
            (row,) = _decode_okx(message).data
            if row.count > 1 or (not all_short and has_long_number(message)):
                break
            at_ms = row.ts
            trades.append(
                Trade(
                    exchange="okx",
                    symbol=symbol,
                    trade_id=row.tradeId,
                    price=row.px,
                    quantity=row.sz,
                    taker_side=row.side,
                    traded_at_us=at_ms * _MS_US,
                )
            )
            count += 1
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        # The next one is no plain trade, or of no known market.
        pass
    return WaitingTrades(by_symbol, at_ms * _MS_US, count)
