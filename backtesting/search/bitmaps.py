"""Conditions over many parameter sets as bitmaps: one bit a candle, sixty-four candles a word.

Row i of a series is bit `i % 64` of word `i // 64`. Comparing two series costs one pass over them; joining
the outcomes costs a sixty-fourth of that. All functions are compiled and run without the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from data import kernel_cache

Words = NDArray[np.uint64]
F = TypeVar("F", bound=Callable[..., Any])

WORD: Final = 64  # candles
_ONE = np.uint64(1)
_TOP = np.uint64(63)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


def compiled(function: F) -> F:
    """The function compiled and free of the interpreter's lock, so that threads share the work."""
    return kernel_cache.compiled(function, unlocked=True)


def words_for(candles: int) -> int:
    """How many words hold a bit for each candle."""
    return -(-candles // WORD)


@compiled
def compare_words(left: Any, right: Any, greater: Words, less: Words) -> None:
    """Bits where left > right and where left < right; whole words, NaN gives neither."""
    for word in range(len(greater)):
        above = np.uint64(0)
        below = np.uint64(0)
        first = word * 64
        for bit in range(64):
            above |= np.uint64(left[first + bit] > right[first + bit]) << np.uint64(bit)
        for bit in range(64):
            below |= np.uint64(left[first + bit] < right[first + bit]) << np.uint64(bit)
        greater[word] = above
        less[word] = below


@compiled
def compare_pairs(series: Any, lefts: Any, rights: Any, greater: Any, less: Any) -> None:
    """Compare rows `lefts[k]` and `rights[k]` of `series`, shape (rows, candles), into bitmaps k.

    Block by block, so that a series met in many pairs is read from the cache. The number of candles must be
    a multiple of 64.
    """
    words = greater.shape[1]
    # Sixteen words are 8 KiB of either series: they stay in the innermost cache.
    for start in range(0, words, 16):
        stop = min(words, start + 16)
        for pair in range(len(lefts)):
            compare_words(
                series[lefts[pair], start * 64 : stop * 64],
                series[rights[pair], start * 64 : stop * 64],
                greater[pair, start:stop],
                less[pair, start:stop],
            )


@compiled
def known_words(values: Any, known: Words) -> None:
    """Bits where the value is not missing."""
    for word in range(len(known)):
        bits = np.uint64(0)
        first = word * 64
        for bit in range(64):
            bits |= np.uint64(values[first + bit] == values[first + bit]) << np.uint64(bit)
        known[word] = bits


@compiled
def crossing(now: Words, known: Words, holds: Words) -> None:
    """Where `now` (left beyond right) is set and the candle before was known and not beyond."""
    carry = np.uint64(0)
    for word in range(len(now)):
        apart = known[word] & (now[word] ^ _ALL)
        holds[word] = now[word] & ((apart << _ONE) | carry)
        carry = apart >> _TOP


@compiled
def known_twice(known: Words, both: Words) -> None:
    """Where this candle and the one before are known."""
    carry = np.uint64(0)
    for word in range(len(known)):
        both[word] = known[word] & ((known[word] << _ONE) | carry)
        carry = known[word] >> _TOP


_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_POSITIONS = np.zeros(64, dtype=np.int64)
for _bit in range(64):
    _POSITIONS[((1 << _bit) * int(_DE_BRUIJN) & (2**64 - 1)) >> 58] = _bit
_SIX_HIGHEST = np.uint64(58)


@compiled
def next_set(words: Words, row: int, stop: int) -> int:
    """The first row of `row <= r < stop` whose bit is set, else `stop`."""
    if row >= stop:
        return stop
    word = row >> 6
    bits = (words[word] >> np.uint64(row & 63)) << np.uint64(row & 63)
    last = (stop - 1) >> 6
    while bits == np.uint64(0):
        word += 1
        if word > last:
            return stop
        bits = words[word]
    lowest = bits & (~bits + _ONE)
    found = word * 64 + _POSITIONS[(lowest * _DE_BRUIJN) >> _SIX_HIGHEST]
    return int(min(found, stop))


def as_booleans(words: Words, candles: int) -> NDArray[np.bool_]:
    """The bitmap as one boolean a candle, shape (candles,)."""
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    return bits[:candles].astype(np.bool_)


def from_booleans(values: NDArray[np.bool_]) -> Words:
    """The bitmap of one boolean a candle."""
    packed = np.zeros(words_for(len(values)) * 8, dtype=np.uint8)
    bits = np.packbits(values, bitorder="little")
    packed[: len(bits)] = bits
    return packed.view(np.uint64)
