"""Plain trades of many messages, read by compiled code straight into columns.

A venue writes the trades of a market in one way: the same text around other numbers. A *shape* is that text,
in pieces: what stands before a field, and the field. A message that differs from a shape in anything but the
digits of its fields (and the taker's side) is marked as not read, and somebody who understands all of JSON
reads it. Texts are compared and digits read eight bytes at a time. Source of the latter: D. Lemire, "Quickly
parsing eight digits" (2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.exchanges.byte_words import trailing_zeros, word_at
from data.kernel_cache import compiled
from data.models import FloatArray, IntArray

Text = NDArray[np.uint8]
Words = NDArray[np.uint64]

# Bytes that must follow a text or the texts of shapes, whatever they are.
PADDING = 8

# What a piece ends with.
END, SKIPPED, TRADE_ID, TIME, PRICE, QUANTITY, MAKER_BOUGHT, TAKER_SIDE, SKIPPED_DECIMAL = range(9)
# Columns of `pieces`: where its text stands, how long it is, and the field after it.
PIECE_AT, PIECE_LENGTH, PIECE_FIELD = range(3)

# Rows of `whole`: the number of the shape, -1 for a message that was not read, and what a trade has.
SHAPE, WHOLE_ID, WHOLE_TIME, IS_SELL = range(4)
REAL_PRICE, REAL_QUANTITY = range(2)

# By these bytes of a message its shape is looked up; the first text of every shape covers them.
HEAD_FROM, HEAD_END = 8, 48
HASH_STEP = 0x9E3779B97F4A7C15

_STEP = np.uint64(HASH_STEP)
_HASH_SHIFT = np.uint64(29)
_ALL = np.uint64(2**64 - 1)
_EIGHT, _SIXTEEN, _THIRTY_TWO, _SIXTY_FOUR = (np.uint64(bits) for bits in (8, 16, 32, 64))
_THREE, _TEN = np.uint64(3), np.uint64(10)
_BYTE, _FOUR_BYTES, _FIVE_BYTES = (np.uint64(2**bits - 1) for bits in (8, 32, 40))
_POINT, _ZERO = np.uint64(ord(".")), np.uint64(ord("0"))
_TRUE, _FALSE = (np.uint64(int.from_bytes(word, "little")) for word in (b"true", b"false"))
_BUY, _SELL = (np.uint64(int.from_bytes(word, "little")) for word in (b'buy"', b"sell"))
# For each byte: more than 0x7F after adding where it is above "9", after subtracting where it is below "0".
_ABOVE_NINE, _ZEROS, _TOP_BITS = (
    np.uint64(int.from_bytes(bytes([byte]) * 8, "little")) for byte in (0x46, 0x30, 0x80)
)
_PAIRS = np.uint64(0x000000FF000000FF)
_HIGH_PAIRS, _LOW_PAIRS = np.uint64(0x000F424000000064), np.uint64(0x0000271000000001)

_NEWLINE = 10
_MOST_DIGITS = 18  # that 64 bits hold
_EXACT = 10**15  # a double holds any decimal of fifteen digits. Source: IEEE 754, DBL_DIG
_LATEST_MS = 10**15
_WHOLE_POWERS = np.array([10**power for power in range(_MOST_DIGITS + 1)], dtype=np.int64)
# Powers of ten up to 22 are doubles, so one division of an exact whole number rounds once, as reading does.
_POWERS = np.array([float(10**power) for power in range(_MOST_DIGITS + 1)])


@compiled
def read_trade_frames(
    text: Text,
    size: int,
    words: Text,
    pieces: IntArray,
    shape_at: IntArray,
    slots: IntArray,
    codes: Words,
    whole: IntArray,
    real: FloatArray,
) -> tuple[int, int]:
    """Read `text[:size]`, messages with a newline after each, into the columns of `whole` and `real`.

    Shape *n* has the rows `shape_at[n]` up to `shape_at[n + 1]` of `pieces`, whose texts stand in `words`.
    `slots` finds shapes: a table of their numbers, -1 where free, at most half full, with the heads' hashes
    in `codes`. Times are milliseconds. Returns how many messages were not read, and how often the shape
    changed.
    """
    at = number = left = changes = 0
    last = -1
    while at < size:
        end = -1
        shape = last
        if shape >= 0:
            end = _message(text, at, words, pieces, shape_at[shape], whole, real, number)
        if end < 0 and size - at > HEAD_END:
            code = head_hash(text, at)
            slot = np.int64(code & np.uint64(slots.size - 1))
            while end < 0 and slots[slot] >= 0:
                shape = slots[slot]
                if codes[slot] == code and shape != last:
                    end = _message(text, at, words, pieces, shape_at[shape], whole, real, number)
                slot = (slot + 1) % slots.size
        if end >= 0:
            whole[SHAPE, number] = shape
            changes += last >= 0 and shape != last
            last = shape
            at = end
        else:
            whole[SHAPE, number] = -1
            left += 1
            while text[at] != _NEWLINE:
                at += 1
            at += 1
        number += 1
    return left, changes


@compiled
def head_hash(text: Text, at: int) -> np.uint64:
    """What shapes are looked up by."""
    code = np.uint64(0)
    for place in range(at + HEAD_FROM, at + HEAD_END, 8):
        code = (code ^ word_at(text, place)) * _STEP
        code ^= code >> _HASH_SHIFT
    return code


@compiled
def _message(
    text: Text,
    at: int,
    words: Text,
    pieces: IntArray,
    piece: int,
    whole: IntArray,
    real: FloatArray,
    number: int,
) -> int:
    """Read one message of a shape into column `number`; return where the next one begins, or -1."""
    while True:
        place, left = pieces[piece, PIECE_AT], pieces[piece, PIECE_LENGTH]
        while left >= 8:
            if word_at(text, at) != word_at(words, place):
                return -1
            at += 8
            place += 8
            left -= 8
        if left > 0:
            unwanted = _SIXTY_FOUR - (np.uint64(left) << _THREE)
            if (word_at(text, at) ^ word_at(words, place)) << unwanted:
                return -1
            at += left
        field = pieces[piece, PIECE_FIELD]
        piece += 1
        if field == END:
            return at
        if field in (PRICE, QUANTITY):
            value, at = _decimal(text, at)
            if at < 0:
                return -1
            real[REAL_PRICE if field == PRICE else REAL_QUANTITY, number] = value
        elif field == MAKER_BOUGHT:
            word = word_at(text, at)
            # The buyer was the maker, so the seller's order crossed the spread.
            if word & _FOUR_BYTES == _TRUE:
                whole[IS_SELL, number] = 1
                at += 4
            elif word & _FIVE_BYTES == _FALSE:
                whole[IS_SELL, number] = 0
                at += 5
            else:
                return -1
        elif field == TAKER_SIDE:
            word = word_at(text, at) & _FOUR_BYTES
            if word == _BUY:
                whole[IS_SELL, number] = 0
                at += 3
            elif word == _SELL:
                whole[IS_SELL, number] = 1
                at += 4
            else:
                return -1
        else:
            amount, digits = _digits(text, at)
            if digits == 0 or digits > _MOST_DIGITS:
                return -1
            if digits > 1 and word_at(text, at) & _BYTE == _ZERO:
                return -1
            at += digits
            if field == SKIPPED_DECIMAL and word_at(text, at) & _BYTE == _POINT:
                amount, digits = _digits(text, at + 1)
                if digits == 0 or digits > _MOST_DIGITS:
                    return -1
                at += 1 + digits
            if field == TRADE_ID:
                whole[WHOLE_ID, number] = amount
            elif field == TIME:
                if amount >= _LATEST_MS:
                    return -1
                whole[WHOLE_TIME, number] = amount


@compiled
def _decimal(text: Text, at: int) -> tuple[float, int]:
    """A positive decimal that a double holds, and the place after it; place -1 for others."""
    mantissa, digits = _digits(text, at)
    if digits == 0 or (digits > 1 and word_at(text, at) & _BYTE == _ZERO):
        return 0.0, -1
    at += digits
    places = 0
    if word_at(text, at) & _BYTE == _POINT:
        part, places = _digits(text, at + 1)
        if places == 0 or digits + places > _MOST_DIGITS:
            return 0.0, -1
        mantissa = mantissa * _WHOLE_POWERS[places] + part
        at += 1 + places
    elif digits > _MOST_DIGITS:
        return 0.0, -1
    while mantissa >= _EXACT and places > 0 and mantissa % 10 == 0:
        mantissa //= 10
        places -= 1
    if mantissa >= _EXACT or mantissa == 0:
        return 0.0, -1
    return mantissa / _POWERS[places], at


@compiled
def _digits(text: Text, at: int) -> tuple[int, int]:
    """What the digits from `at` on say, and how many they are. More than eighteen are counted, not read."""
    # Any: for the type checker a whole number of numpy's is no int.
    value: Any = 0
    count: Any = 0
    while True:
        word = word_at(text, at + count)
        others = ((word + _ABOVE_NINE) | (word - _ZEROS)) & _TOP_BITS
        found = np.int64(trailing_zeros(others) >> _THREE)
        if found > 0:
            # What follows the digits is shifted out, and zeros come before them.
            part = (word - _ZEROS) << (_SIXTY_FOUR - (np.uint64(found) << _THREE))
            part = part * _TEN + (part >> _EIGHT)
            high, low = (part & _PAIRS) * _HIGH_PAIRS, ((part >> _SIXTEEN) & _PAIRS) * _LOW_PAIRS
            value = value * _WHOLE_POWERS[found] + np.int64((high + low) >> _THIRTY_TWO)
            count += found
        if found < 8 or count > _MOST_DIGITS:
            return value, count
