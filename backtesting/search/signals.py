"""Rules of many parameter sets over one series of candles, sharing every indicator and every comparison."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backtesting.search.bitmaps import (
    WORD,
    Words,
    compare_pairs,
    crossing,
    known_twice,
    known_words,
    words_for,
)
from data.models import FloatArray, Ohlcv
from data.timeframes import Timeframe
from strategies.definition import (
    PRICE_SERIES,
    Comparison,
    Condition,
    Constant,
    Cross,
    Group,
    IndicatorUse,
    Operand,
    Series,
    SideRules,
    Slope,
)
from strategies.higher_timeframe import FoldedCandles, fold
from strategies.indicators.registry import INDICATORS

_OPPOSITE: Final = {
    "gt": "lte",
    "gte": "lt",
    "lt": "gte",
    "lte": "gt",
    "rising": "not rising",
    "falling": "not falling",
}
CACHE_BYTES: Final = 28_000_000  # of indicator values, where so many series as a chunk needs are smaller
FEWEST_ROWS: Final = 35  # series that are kept at least: two tiles of a grid, and a few that all read

# A price or constant, or an indicator's output: what makes two operands the same values.
SeriesKey = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundRules:
    """The rules of one parameter set with what their indicator names stand for."""

    long: SideRules | None
    short: SideRules | None
    indicators: Mapping[str, IndicatorUse]


@dataclass(frozen=True, slots=True)
class SignalWords:
    """A strategy's signals as bitmaps."""

    long_entry: Words
    long_exit: Words
    short_entry: Words
    short_exit: Words


class CacheTooSmall(Exception):
    """The parameter sets of one call read more series than the cache has room for."""


class SharedSignals:
    """Signals of one series of candles. Not safe for several threads at once; each makes its own."""

    def __init__(self, ohlcv: Ohlcv) -> None:
        self._ohlcv = ohlcv
        self._candles = len(ohlcv)
        self._words = words_for(self._candles)
        padded = self._words * WORD
        rows = max(FEWEST_ROWS, CACHE_BYTES // max(1, padded * 8))
        # Rows are touched, and so take memory, only when they are first needed.
        self._rows = np.empty((rows, padded))
        self._known = np.empty((rows, self._words), dtype=np.uint64)
        self._row_of: OrderedDict[SeriesKey, int] = OrderedDict()
        self._free = list(range(rows - 1, -1, -1))
        self._folded: dict[Timeframe, FoldedCandles] = {}
        self._nothing = np.zeros(self._words, dtype=np.uint64)

    def of(self, sets: Sequence[BoundRules]) -> list[SignalWords]:
        """The signals of each parameter set. Raises CacheTooSmall where they read too many series at once."""
        pairs: dict[tuple[SeriesKey, SeriesKey], int] = {}
        reads = []  # the pairs of each set, in the order in which its conditions are walked
        for rules in sets:
            uses = rules.indicators
            found = []
            for condition in _conditions(rules):
                for left, right in _pairs(condition):
                    pair = _key(left, uses), _key(right, uses)
                    found.append(pairs.setdefault(pair, len(pairs)))
            reads.append(found)
        wanted = dict.fromkeys(key for pair in pairs for key in pair)
        if len(wanted) > len(self._rows):
            raise CacheTooSmall
        for key in wanted:
            if key in self._row_of:
                self._row_of.move_to_end(key)
        for key in wanted:
            if key not in self._row_of:
                self._compute(key)
        lefts = np.array([self._row_of[left] for left, _ in pairs], dtype=np.int64)
        rights = np.array([self._row_of[right] for _, right in pairs], dtype=np.int64)
        greater = np.empty((len(pairs), self._words), dtype=np.uint64)
        less = np.empty_like(greater)
        compare_pairs(self._rows, lefts, rights, greater, less)
        known = self._known
        return [
            _Outcomes(iter(found), known, lefts, rights, greater, less).signals(rules, self._nothing)
            for rules, found in zip(sets, reads, strict=True)
        ]

    def _compute(self, key: SeriesKey) -> None:
        """Put a series into a row of the cache."""
        row = self._row_for(key)
        values = self._rows[row]
        values[self._candles :] = np.nan
        match key:
            case ("number", float(number)):
                values[: self._candles] = number
            case ("price", str(name), int(shift)):
                self._write(values, getattr(self._ohlcv, name), shift)
            case _:
                self._write(values, self._indicator(key), int(key[-1]))  # type: ignore[call-overload]
        known_words(values, self._known[row])

    def _write(self, row: FloatArray, values: FloatArray, shift: int) -> None:
        shift = min(shift, self._candles)
        row[:shift] = np.nan
        row[shift : self._candles] = values[: self._candles - shift]

    def _indicator(self, key: SeriesKey) -> FloatArray:
        spec_name, parameters, timeframe, output, _ = key
        spec = INDICATORS[str(spec_name)]
        higher = None
        if isinstance(timeframe, Timeframe):
            if timeframe not in self._folded:
                self._folded[timeframe] = fold(self._ohlcv, timeframe)
            higher = self._folded[timeframe]
        params = dict(parameters)  # type: ignore[call-overload]
        values = spec.batch(self._ohlcv if higher is None else higher.candles, params)[str(output)]
        values = np.where(np.isinf(values), np.nan, values)
        if higher is None:
            return values
        joined = np.full(self._candles, np.nan)
        seen = higher.visible >= 0
        joined[seen] = values[higher.visible[seen]]
        return joined

    def _row_for(self, key: SeriesKey) -> int:
        if self._free:
            row = self._free.pop()
        else:
            _, row = self._row_of.popitem(last=False)
        self._row_of[key] = row
        return row


class _Outcomes:
    """Joins compared pairs into the outcomes of one strategy's rules, met in the order of `_pairs`."""

    def __init__(
        self,
        pairs: Iterator[int],
        known: NDArray[np.uint64],
        lefts: NDArray[np.int64],
        rights: NDArray[np.int64],
        greater: NDArray[np.uint64],
        less: NDArray[np.uint64],
    ) -> None:
        self._next_pair = pairs.__next__
        self._all_known = known
        self._lefts, self._rights = lefts, rights
        self._greater, self._less = greater, less

    def signals(self, rules: BoundRules, nothing: Words) -> SignalWords:
        found = []
        for side in (rules.long, rules.short):
            found.append(nothing if side is None else self._outcome(side.entry, True))
            leaves = None if side is None else side.exit
            found.append(nothing if leaves is None else self._outcome(leaves, True))
        return SignalWords(*found)

    def _outcome(self, condition: Condition, wanted: bool) -> Words:
        """Where the condition is known to be true, or, if that is wanted, known to be false."""
        if isinstance(condition, Group):
            if condition.operator == "not":
                return self._outcome(condition.conditions[0], not wanted)
            parts = [self._outcome(inner, wanted) for inner in condition.conditions]
            every = (condition.operator == "all") is wanted
            joined: Words = reduce(np.bitwise_and if every else np.bitwise_or, parts)
            return joined
        pair = self._next_pair()
        greater: Words = self._greater[pair]
        less: Words = self._less[pair]
        operator = condition.operator if wanted else _OPPOSITE.get(condition.operator, condition.operator)
        if operator in ("gt", "rising"):
            return greater
        if operator in ("lt", "falling"):
            return less
        known: Words = self._all_known[self._lefts[pair]] & self._all_known[self._rights[pair]]
        if operator in ("gte", "not falling"):
            either: Words = known & ~less
            return either
        if operator in ("lte", "not rising"):
            either = known & ~greater
            return either
        crossed = np.empty_like(greater)
        crossing(greater if operator == "crosses_above" else less, known, crossed)
        if wanted:
            return crossed
        twice = np.empty_like(greater)
        known_twice(known, twice)
        either = twice & ~crossed
        return either


def _key(operand: Operand, indicators: Mapping[str, IndicatorUse]) -> SeriesKey:
    if isinstance(operand, Constant):
        return ("number", operand.value)
    if operand.name in PRICE_SERIES:
        return ("price", operand.name, operand.shift)
    name, _, output = operand.name.partition(".")
    use = indicators[name]
    spec = use.spec
    return (spec.name, tuple(use.params.items()), use.timeframe, output or spec.outputs[0], operand.shift)


def _conditions(rules: BoundRules) -> Iterable[Condition]:
    for side in (rules.long, rules.short):
        if side is not None:
            yield side.entry
            if side.exit is not None:
                yield side.exit


def _pairs(condition: Condition) -> list[tuple[Operand, Operand]]:
    """The operands that a condition compares on one candle."""
    match condition:
        case Group(_, conditions):
            return [pair for inner in conditions for pair in _pairs(inner)]
        case Comparison(_, left, right) | Cross(_, left, right):
            return [(left, right)]
        case Slope(_, of, over):
            return [(of, Series(of.name, of.shift + over))]
