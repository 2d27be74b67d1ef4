"""Many messages at once: the plain trades among them are read by compiled code, all else is left alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from data.exchanges import trade_frames as kernel
from data.exchanges.trade_layouts import TradeField, TradeLayout
from data.exchanges.waiting_trades import WaitingTrades
from data.models import FloatArray, IntArray, Side, Trade

_MS_US = 1_000
_BUY, _SELL = Side.BUY, Side.SELL
_PADDING = b"\n" * kernel.PADDING
# A field whose value is a number or a word that compiled code may read. Quotes are part of what is around it.
_FIELD = re.compile(rb'"(\w+)":"?(\d+(?:\.\d+)?|true|false|buy|sell)(?="?[,}])')
_FIELDS = {
    TradeField.TRADE_ID: kernel.TRADE_ID,
    TradeField.TIME: kernel.TIME,
    TradeField.PRICE: kernel.PRICE,
    TradeField.QUANTITY: kernel.QUANTITY,
    TradeField.MAKER_BOUGHT: kernel.MAKER_BOUGHT,
    TradeField.TAKER_SIDE: kernel.TAKER_SIDE,
}
_NO_PART_OF_A_TRADE = (kernel.SKIPPED, kernel.SKIPPED_DECIMAL, kernel.END)
_MOST_LEARNED_AT_ONCE = 8
_MOST_FAILURES = 3
_MOST_HEADS = 1_000
_UNPLAIN = re.compile(rb"[\\\s]")  # an escape or a space, by which a key may hide from `_FIELD`
_MOST_SHAPES_OF_A_SYMBOL = 8

_Piece = tuple[bytes, int]  # text, and the field after it
_Read = tuple[IntArray, FloatArray, int, int]  # as the kernel leaves and returns it


class _Shape(NamedTuple):
    """How a market's messages stand, and the trade it was learned from."""

    pieces: list[_Piece]
    model: Trade
    code: int  # by which the kernel looks it up


# The one trade that a message says, as its adapter reads it; None for any other message.
ReadOne = Callable[[bytes], Trade | None]


class FrameReader:
    """Learns from messages that were read with care how a market's trades stand, and reads the others so.

    A shape is kept only where compiled code makes the very same trade of the message it was learned from.
    """

    def __init__(self, layout: TradeLayout, read_one: ReadOne) -> None:
        """Compiles, unless that was done before."""
        self._layout, self._read_one = layout, read_one
        self._shapes: list[_Shape] = []
        # By the beginnings of messages: what cannot be learned is not read with care again and again.
        self._failures: Counter[bytes] = Counter()
        self._build()
        _read([b""], self._tables)

    def in_turn(self, messages: Sequence[bytes]) -> Iterator[WaitingTrades | bytes] | None:
        """As `ExchangeAdapter.in_turn`; None for messages of which most would be left over."""
        found = _read(messages, self._tables)
        if found is None:
            return None
        whole, real, left, changes = found
        if left:
            if self._learn(messages, whole):
                found = _read(messages, self._tables)
                assert found is not None
                whole, real, left, changes = found
            if left * 2 > len(messages):
                return None
        return self._parts(messages, whole, real, left, changes)

    def _parts(
        self, messages: Sequence[bytes], whole: IntArray, real: FloatArray, left: int, changes: int
    ) -> Iterator[WaitingTrades | bytes]:
        start = 0
        if left:
            for at in np.flatnonzero(whole[kernel.SHAPE] < 0).tolist():
                if start < at:
                    yield self._waiting(whole[:, start:at], real[:, start:at], changes)
                yield messages[at]
                start = at + 1
        if start < len(messages):
            yield self._waiting(whole[:, start:], real[:, start:], changes)

    def _waiting(self, whole: IntArray, real: FloatArray, changes: int) -> WaitingTrades:
        sent_at_us, count = int(whole[kernel.WHOLE_TIME, -1]) * _MS_US, whole.shape[1]
        if not changes:
            model = self._shapes[whole[kernel.SHAPE, 0]].model
            return WaitingTrades({model.symbol: _trades(model, whole, real)}, sent_at_us, count)
        numbers = self._symbol_of[whole[kernel.SHAPE]]
        # Stable: each market's trades stay in the order in which they came.
        order = np.argsort(numbers, kind="stable")
        whole, real, numbers = whole[:, order], real[:, order], numbers[order]
        by_symbol: dict[str, list[Trade]] = {}
        for start, end in pairwise([0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), count]):
            model = self._shapes[whole[kernel.SHAPE, start]].model
            by_symbol[model.symbol] = _trades(model, whole[:, start:end], real[:, start:end])
        return WaitingTrades(by_symbol, sent_at_us, count)

    def _learn(self, messages: Sequence[bytes], whole: IntArray) -> bool:
        """Learn the shapes of some messages that were not read. Whether there are new ones."""
        known = len(self._shapes)
        heads: set[bytes] = set()
        for at in np.flatnonzero(whole[kernel.SHAPE] < 0).tolist():
            message = messages[at]
            head = message[kernel.HEAD_FROM : kernel.HEAD_END]
            if head in heads or self._failures[head] >= _MOST_FAILURES:
                continue
            heads.add(head)
            if len(heads) > _MOST_LEARNED_AT_ONCE:
                break
            trade = self._read_one(message)
            if trade is None or not self._learn_from(message, trade):
                if len(self._failures) >= _MOST_HEADS:
                    self._failures.clear()
                self._failures[head] += 1
        if len(self._shapes) == known:
            return False
        self._build()
        return True

    def _learn_from(self, message: bytes, trade: Trade) -> bool:
        """Whether there is a shape of this message now, by which the same trade is read of it."""
        pieces = _pieces_of(message, self._layout)
        of_symbol = sum(shape.model.symbol == trade.symbol for shape in self._shapes)
        if pieces is not None and of_symbol < _MOST_SHAPES_OF_A_SYMBOL:
            code = int(kernel.head_hash(np.frombuffer(pieces[0][0], dtype=np.uint8), 0))
            shape = _Shape(pieces, trade, code)
            found = _read([message], _tables([shape]))
            if found is not None and found[2] == 0 and _trades(trade, found[0], found[1]) == [trade]:
                self._shapes.append(shape)
                return True
        return False

    def _build(self) -> None:
        """Put the shapes into the kernel's tables."""
        self._tables = _tables(self._shapes)
        numbers: dict[str, int] = {}
        of_shapes = [numbers.setdefault(shape.model.symbol, len(numbers)) for shape in self._shapes]
        self._symbol_of = np.array(of_shapes, dtype=np.int64)


_Tables = tuple[kernel.Text, IntArray, IntArray, IntArray, kernel.Words]


def _tables(shapes: Sequence[_Shape]) -> _Tables:
    """Texts, pieces, where each shape's begin, and the table by which the kernel finds them."""
    pieces = [piece for shape in shapes for piece in shape.pieces]
    lengths = np.array([len(text) for text, _ in pieces], dtype=np.int64)
    table = np.empty((len(pieces), 3), dtype=np.int64)
    table[:, kernel.PIECE_AT] = np.cumsum(lengths) - lengths
    table[:, kernel.PIECE_LENGTH] = lengths
    table[:, kernel.PIECE_FIELD] = [field for _, field in pieces]
    starts = np.cumsum([0, *(len(shape.pieces) for shape in shapes)], dtype=np.int64)
    slots = np.full(1 << (2 * len(shapes) + 1).bit_length(), -1, dtype=np.int64)
    codes = np.zeros(len(slots), dtype=np.uint64)
    for number, shape in enumerate(shapes):
        slot = shape.code & (len(slots) - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) % len(slots)
        slots[slot], codes[slot] = number, shape.code
    words = np.frombuffer(b"".join(text for text, _ in pieces) + _PADDING, dtype=np.uint8)
    return words, table, starts, slots, codes


def _read(messages: Sequence[bytes], tables: _Tables) -> _Read | None:
    """What the kernel makes of them; None where it could not be told where one ends."""
    text = b"\n".join((*messages, _PADDING))
    count, size = len(messages), len(text) - len(_PADDING)
    if text.count(b"\n") != count + len(_PADDING):
        return None
    whole, real = np.empty((4, count), dtype=np.int64), np.empty((2, count))
    left, changes = kernel.read_trade_frames(np.frombuffer(text, dtype=np.uint8), size, *tables, whole, real)
    return whole, real, left, changes


def _pieces_of(message: bytes, layout: TradeLayout) -> list[_Piece] | None:
    """The message in pieces, the newline after it included; None where it has not each field once."""
    if _UNPLAIN.search(message):
        return None
    pieces: list[_Piece] = []
    start = 0
    for match in _FIELD.finditer(message):
        name, value = match[1].decode(), match[2]
        wanted = layout.fields.get(name)
        if wanted is not None:
            field = _FIELDS[wanted]
        elif name not in layout.decisive and value[:1].isdigit():
            field = kernel.SKIPPED if value.isdigit() else kernel.SKIPPED_DECIMAL
        else:
            continue
        pieces.append((message[start : match.start(2)], field))
        start = match.end(2)
    pieces.append((message[start:] + b"\n", kernel.END))
    found = Counter(field for _, field in pieces if field not in _NO_PART_OF_A_TRADE)
    is_whole = found == Counter(_FIELDS[field] for field in layout.fields.values())
    return pieces if is_whole and len(pieces[0][0]) >= kernel.HEAD_END else None


def _trades(model: Trade, whole: IntArray, real: FloatArray) -> list[Trade]:
    exchange, symbol = model.exchange, model.symbol
    ids, times_us = whole[kernel.WHOLE_ID].tolist(), (whole[kernel.WHOLE_TIME] * _MS_US).tolist()
    sells = whole[kernel.IS_SELL].tolist()
    prices, quantities = real.tolist()
    return [
        Trade(
            exchange=exchange,
            symbol=symbol,
            trade_id=trade_id,
            price=price,
            quantity=quantity,
            taker_side=_SELL if is_sell else _BUY,
            traded_at_us=at_us,
        )
        for trade_id, price, quantity, is_sell, at_us in zip(
            ids, prices, quantities, sells, times_us, strict=True
        )
    ]
