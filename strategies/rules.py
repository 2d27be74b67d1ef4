"""Runs a strategy definition, over arrays or candle by candle, with the same booleans.

Missing values. A comparison, cross or slope that reads a missing value (an indicator warming up, a candle
before the first) is unknown. `all` is false if one condition is, else unknown if one is; `any` is true if
one condition is, else unknown if one is; `not` turns true and false around and leaves unknown as it is
(Kleene's logic). A rule that is unknown as a whole is false, so neither `x` nor `not x` trades on what is
not known yet.

`shift`, crosses and slopes count candles of the strategy's own time frame, also for an indicator of a
higher one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from data.errors import InvalidInput, Problem
from data.models import BoolArray, Candle, FloatArray, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Decision, Overlay, Protection, Signals, Sizing, StrategyStream
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
    Slope,
    StrategyDefinition,
)
from strategies.higher_timeframe import FoldedCandles, HigherCandleFold, fold
from strategies.indicators.spec import IndicatorStream

RULES: Final = ("long.entry", "long.exit", "short.entry", "short.exit")  # what every strategy says

_HOLDS_OF_COLUMNS: Mapping[str, Callable[[Any, Any], Any]] = {
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
}
# GREATER 1, LESS 2, EQUAL 4: what `strategies.ordering` says of two columns.
_ORDERS: Mapping[str, int] = {"gt": 1, "gte": 5, "lt": 2, "lte": 6}
_OPPOSITE = {"gt": "lte", "gte": "lt", "lt": "gte", "lte": "gt"}


class RuleStrategy:
    """A strategy written as data. Immutable; satisfies `strategies.base.Strategy`."""

    def __init__(self, definition: StrategyDefinition) -> None:
        self.definition = definition

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def version(self) -> str:
        return self.definition.version

    @property
    def timeframe(self) -> Timeframe:
        return self.definition.timeframe

    @property
    def parameters(self) -> Mapping[str, float]:
        return self.definition.values

    @property
    def protection(self) -> Protection:
        return self.definition.protection

    @property
    def sizing(self) -> Sizing:
        return self.definition.sizing

    @cached_property
    def warmup(self) -> int:
        """Candles of `timeframe` to load before going live: after them no value shows where they began."""
        return self._candles_needed(lambda use: use.spec.settling(use.params))

    @cached_property
    def lookback(self) -> int:
        """Candles of `timeframe` before the first on which everything the rules read has a value."""
        return self._candles_needed(lambda use: use.spec.warmup(use.params))

    def _candles_needed(self, of_indicator: Callable[[IndicatorUse], int]) -> int:
        needed = 0
        for series in self._reads():
            own = 0
            if series.name not in PRICE_SERIES:
                use = self.definition.indicators[series.name.partition(".")[0]]
                own = of_indicator(use)
                if use.timeframe is not None:
                    # One more that has to close, and one that may have begun before the first candle.
                    own = (own + 2) * (use.timeframe.us // self.timeframe.us) - 1
            needed = max(needed, own + series.shift)
        return needed

    @cached_property
    def rules(self) -> Mapping[str, Condition]:
        """The conditions by name, `long.entry` and so on, for the rules the file has."""
        sides = (("long", self.definition.long), ("short", self.definition.short))
        found = {}
        for side, rules in sides:
            if rules is not None:
                found[f"{side}.entry"] = rules.entry
                if rules.exit is not None:
                    found[f"{side}.exit"] = rules.exit
                if rules.add is not None:
                    found[f"{side}.add"] = rules.add
        return found

    def _reads(self) -> list[Series]:
        return list(dict.fromkeys(series for rule in self.rules.values() for series in reads_of(rule)))

    def signals(self, ohlcv: Ohlcv) -> Signals:
        """What the rules say on each candle. Raises InvalidInput for candles of another time frame."""
        self._check_timeframe(ohlcv.timeframe)
        names = dict.fromkeys(series.name for series in self._reads())
        columns = _Columns(ohlcv, self._series(ohlcv, names))
        found = {name: columns.holds(rule) for name, rule in self.rules.items()}
        for name in RULES:
            if name not in found:
                found[name] = np.zeros(len(ohlcv), dtype=np.bool_)
        return Signals(**{name.replace(".", "_"): column for name, column in found.items()})

    def overlays(self, ohlcv: Ohlcv) -> Sequence[Overlay]:
        """Every output of every indicator; those of a higher time frame are joined to the candles given."""
        self._check_timeframe(ohlcv.timeframe)
        names = [name for indicator in self.definition.indicators for name in self._outputs_of(indicator)]
        values = self._series(ohlcv, names)
        return [self._overlay(name, _finite(values[name])) for name in names]

    def _overlay(self, name: str, values: FloatArray) -> Overlay:
        indicator, _, output = name.partition(".")
        use = self.definition.indicators[indicator]
        return Overlay(
            name=name,
            label=f"{use.label} {output}" if output else use.label,
            pane=use.spec.pane_of(output or use.spec.outputs[0], use.params),
            values=values,
        )

    def _outputs_of(self, indicator: str) -> list[str]:
        outputs = self.definition.indicators[indicator].spec.outputs
        return [indicator] if len(outputs) == 1 else [f"{indicator}.{output}" for output in outputs]

    def _series(self, ohlcv: Ohlcv, names: Iterable[str]) -> dict[str, FloatArray]:
        """The named prices and indicator outputs on each candle, shape (n,)."""
        found: dict[str, FloatArray] = {name: getattr(ohlcv, name) for name in PRICE_SERIES}
        folded: dict[Timeframe, FoldedCandles] = {}
        for name in names:
            if name in found:
                continue
            indicator = name.partition(".")[0]
            use = self.definition.indicators[indicator]
            if use.timeframe is not None and use.timeframe not in folded:
                folded[use.timeframe] = fold(ohlcv, use.timeframe)
            higher = None if use.timeframe is None else folded[use.timeframe]
            outputs = use.spec.batch(ohlcv if higher is None else higher.candles, use.params)
            for output_name, output in zip(self._outputs_of(indicator), use.spec.outputs, strict=True):
                values = outputs[output]
                found[output_name] = values if higher is None else _joined(values, higher)
        return found

    def stream(self) -> StrategyStream:
        """A fresh stream. Raises InvalidInput if an indicator can only be computed over a whole series."""
        return RuleStream(self)

    def _check_timeframe(self, timeframe: Timeframe) -> None:
        if timeframe is not self.timeframe:
            raise InvalidInput(
                Problem(
                    where=self.name,
                    field="timeframe",
                    value=self.timeframe.value,
                    expected=f"the candles given are of {timeframe}; the two must be the same",
                )
            )


def reads_of(condition: Condition) -> list[Series]:
    """Every series a condition reads, as shifted as it reads it."""
    match condition:
        case Comparison(_, left, right):
            operands = [left, right]
        case Cross(_, left, right):
            operands = [left, right, _before(left), _before(right)]
        case Slope(_, of, over):
            operands = [of, of.before(over)]
        case Group(_, conditions):
            return [series for inner in conditions for series in reads_of(inner)]
    return [operand for operand in operands if isinstance(operand, Series)]


def _before(operand: Operand) -> Operand:
    return operand.before(1) if isinstance(operand, Series) else operand


def _finite(values: FloatArray) -> FloatArray:
    """Infinite values, quotients by nothing, are missing like any other."""
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def _joined(values: FloatArray, higher: FoldedCandles) -> FloatArray:
    """Each base candle's last closed higher value, NaN before the first."""
    joined = np.full(len(higher.visible), np.nan)
    seen = higher.visible >= 0
    joined[seen] = values[higher.visible[seen]]
    return joined


class _Columns:
    """Evaluates conditions over whole columns. Unknown is where neither `holds` nor `fails` is true."""

    def __init__(self, ohlcv: Ohlcv, series: Mapping[str, FloatArray]) -> None:
        self._length = len(ohlcv)
        self._series = series
        self._orders: dict[tuple[Operand, Operand], NDArray[np.uint8]] = {}

    def holds(self, condition: Condition) -> BoolArray:
        """Where the condition is true, shape (n,)."""
        match condition:
            case Group("not", (only,)):
                return self.fails(only)
            case Group(operator, conditions):
                parts = [self.holds(inner) for inner in conditions]
                return _every(parts) if operator == "all" else _some(parts)
            case Comparison(operator, left, right):
                return self._compare(operator, left, right)
            case Cross(operator, left, right):
                now, then = ("gt", "lte") if operator == "crosses_above" else ("lt", "gte")
                if isinstance(left, Constant) and isinstance(right, Constant):
                    before = self._compare(then, _before(left), _before(right))
                    return self._compare(now, left, right) & before
                # The candle before is the row before of the same outcome.
                order = self._order(left, right)
                crossed = np.zeros(self._length, dtype=np.bool_)
                np.not_equal(order[1:] & np.uint8(_ORDERS[now]), 0, out=crossed[1:])
                crossed[1:] &= (order[:-1] & np.uint8(_ORDERS[then])) != 0
                return crossed
            case Slope(operator, of, over):
                return self._compare("gt" if operator == "rising" else "lt", of, of.before(over))

    def fails(self, condition: Condition) -> BoolArray:
        """Where the condition is known to be false, shape (n,)."""
        match condition:
            case Group("not", (only,)):
                return self.holds(only)
            case Group(operator, conditions):
                parts = [self.fails(inner) for inner in conditions]
                return _some(parts) if operator == "all" else _every(parts)
            case Comparison(operator, left, right):
                return self._compare(_OPPOSITE[operator], left, right)
            case Cross():
                return self._known(condition) & ~self.holds(condition)
            case Slope(operator, of, over):
                return self._compare("lte" if operator == "rising" else "gte", of, of.before(over))

    def _compare(self, operator: str, left: Operand, right: Operand) -> BoolArray:
        found: BoolArray = (self._order(left, right) & np.uint8(_ORDERS[operator])) != 0
        return found

    def _known(self, cross: Cross) -> BoolArray:
        now = self._order(cross.left, cross.right)
        known: BoolArray = (now != 0) & (self._order(_before(cross.left), _before(cross.right)) != 0)
        return known

    def _order(self, left: Operand, right: Operand) -> NDArray[np.uint8]:
        """How left stands to right on each row; 0, which is unknown, where a value is missing."""
        # What both operands are shifted by is done to the outcome: one byte a row instead of two doubles.
        by = min((operand.shift for operand in (left, right) if isinstance(operand, Series)), default=0)
        found = self._order_here(_sooner(left, by), _sooner(right, by))
        if by == 0:
            return found
        later = np.zeros(self._length, dtype=np.uint8)
        later[by:] = found[: max(0, self._length - by)]
        return later

    def _order_here(self, left: Operand, right: Operand) -> NDArray[np.uint8]:
        key = (left, right)
        if key not in self._orders:
            # Numba takes half a second to import: only who evaluates whole columns pays for it.
            from strategies.ordering import order_of

            values = np.full(self._length, left.value) if isinstance(left, Constant) else self._values(left)
            bound = right.value if isinstance(right, Constant) else self._values(right)
            self._orders[key] = order_of(values, bound)
        return self._orders[key]

    def _values(self, series: Series) -> FloatArray:
        if series.shift == 0:
            return self._series[series.name]
        values = np.full(self._length, np.nan)
        values[series.shift :] = self._series[series.name][: max(0, self._length - series.shift)]
        return values


def _sooner(operand: Operand, candles: int) -> Operand:
    return Series(operand.name, operand.shift - candles) if isinstance(operand, Series) else operand


def _every(parts: Sequence[BoolArray]) -> BoolArray:
    found = parts[0].copy()
    for part in parts[1:]:
        found &= part
    return found


def _some(parts: Sequence[BoolArray]) -> BoolArray:
    found = parts[0].copy()
    for part in parts[1:]:
        found |= part
    return found


# An outcome is True, False or None for unknown; a node is what `Decision.record` shows of it.
_Node = tuple[bool | None, list[Any]]
_Evaluate = Callable[[Sequence[float]], _Node]


class RuleStream:
    """A rule strategy fed candle by candle.

    `Decision.record` is `{"values": {...}, "rules": {...}}`. `values` holds what the rules read by name:
    "fast", "fast@1" for one candle earlier; null where missing. `rules` holds a node for each rule of the
    file by name, "long.entry". A node is `[outcome, operator, operand, operand]` with numbers or names in
    `values` as operands (a cross reads each name also at one candle earlier), for slopes `[outcome,
    operator, name, over]` (and reads the name at `over` candles earlier), for groups `[outcome, operator,
    node, ...]`. An outcome is true, false, or null for unknown.
    """

    def __init__(self, strategy: RuleStrategy) -> None:
        definition = strategy.definition
        reads = strategy._reads()
        self._name, self._version = definition.name, definition.version
        self._timeframe = definition.timeframe
        self._feeds = _feeds_of(strategy, dict.fromkeys(series.name for series in reads))
        slots = {name: slot for slot, name in enumerate(PRICE_SERIES)}
        for feed in self._feeds:
            for name in feed.names:
                slots[name] = len(slots)
        self._read_names = [series.text for series in reads]
        self._read_at = [(series.shift, slots[series.name]) for series in reads]
        self._rows: deque[tuple[float, ...]] = deque(
            maxlen=1 + max((series.shift for series in reads), default=0)
        )
        positions = {series: position for position, series in enumerate(reads)}
        self._rules = [(name, _compiled(rule, positions)) for name, rule in strategy.rules.items()]
        self._last_us = -math.inf

    def update(self, candle: Candle) -> Decision:
        """Take the next closed candle. Raises ValueError for one of another time frame or out of order."""
        if candle.timeframe != self._timeframe:
            raise ValueError(f"a candle of {candle.timeframe} for a strategy of {self._timeframe}")
        if candle.opened_at_us <= self._last_us:
            raise ValueError(
                f"candle at {candle.opened_at_us} us does not follow the one at {self._last_us:.0f} us"
            )
        self._last_us = candle.opened_at_us
        # Plain floats, whatever the candle was made from: records are JSON, and outcomes are `True`, not
        # `np.True_`.
        row = [float(value) for value in (candle.open, candle.high, candle.low, candle.close, candle.volume)]
        for feed in self._feeds:
            row.extend(feed.update(candle))
        rows = self._rows
        rows.appendleft(tuple(row))
        seen = len(rows)
        values = [rows[shift][slot] if shift < seen else math.nan for shift, slot in self._read_at]
        if math.inf in values or -math.inf in values:
            values = [value if math.isfinite(value) else math.nan for value in values]
        outcomes, nodes = {}, {}
        for name, evaluate in self._rules:
            outcome, nodes[name] = evaluate(values)
            outcomes[name] = outcome is True
        return Decision(
            strategy=self._name,
            version=self._version,
            opened_at_us=candle.opened_at_us,
            close=row[3],
            long_entry=outcomes.get("long.entry", False),
            long_exit=outcomes.get("long.exit", False),
            short_entry=outcomes.get("short.entry", False),
            short_exit=outcomes.get("short.exit", False),
            long_add=outcomes.get("long.add", False),
            short_add=outcomes.get("short.add", False),
            record={
                "values": {
                    name: None if value != value else value
                    for name, value in zip(self._read_names, values, strict=True)
                },
                "rules": nodes,
            },
        )


class _OwnFeed:
    """An indicator of the strategy's own time frame."""

    def __init__(self, names: list[str], indicator: IndicatorStream) -> None:
        self.names = names
        self._indicator = indicator

    def update(self, candle: Candle) -> tuple[float, ...]:
        return self._indicator.update(
            candle.opened_at_us, candle.open, candle.high, candle.low, candle.close, candle.volume
        )


class _HigherFeed:
    """The indicators of one higher time frame, holding the values of its last closed candle."""

    def __init__(
        self, names: list[str], base: Timeframe, higher: Timeframe, indicators: list[IndicatorStream]
    ) -> None:
        self.names = names
        self._fold = HigherCandleFold(base, higher)
        self._indicators = indicators
        self._values: tuple[float, ...] = (math.nan,) * len(names)

    def update(self, candle: Candle) -> tuple[float, ...]:
        for closed in self._fold.update(candle):
            self._values = tuple(value for stream in self._indicators for value in stream.update(*closed))
        return self._values


def _feeds_of(strategy: RuleStrategy, names: Iterable[str]) -> list[_OwnFeed | _HigherFeed]:
    """Streams of the indicators that rules read, those of one higher time frame together."""
    definition = strategy.definition
    needed = dict.fromkeys(name.partition(".")[0] for name in names if name not in PRICE_SERIES)
    feeds: list[_OwnFeed | _HigherFeed] = []
    higher: dict[Timeframe, tuple[list[str], list[IndicatorStream]]] = {}
    for indicator in needed:
        use = definition.indicators[indicator]
        if use.spec.stream is None:
            raise InvalidInput(
                Problem(
                    where=definition.name,
                    field=f"indicators.{indicator}.type",
                    value=use.spec.name,
                    expected="it is computed over whole series only: fit for a backtest, not for a bot",
                )
            )
        stream, outputs = use.spec.stream(use.params), strategy._outputs_of(indicator)
        if use.timeframe is None:
            feeds.append(_OwnFeed(outputs, stream))
        else:
            all_names, streams = higher.setdefault(use.timeframe, ([], []))
            all_names.extend(outputs)
            streams.append(stream)
    for timeframe, (all_names, streams) in higher.items():
        feeds.append(_HigherFeed(all_names, definition.timeframe, timeframe, streams))
    return feeds


def _compiled(condition: Condition, positions: Mapping[Series, int]) -> _Evaluate:
    """A function from the values read, in order of `positions`, to the condition's outcome and node."""
    match condition:
        case Group(operator, conditions):
            return _compiled_group(operator, [_compiled(inner, positions) for inner in conditions])
        case Comparison(operator, left, right):
            return _compiled_comparison(operator, left, right, positions)
        case Cross(operator, left, right):
            return _compiled_cross(operator, left, right, positions)
        case Slope(operator, of, over):
            now_at, then_at = positions[of], positions[of.before(over)]
            name, holds = of.text, _HOLDS_OF_COLUMNS["gt" if operator == "rising" else "lt"]

            def slope(values: Sequence[float]) -> _Node:
                now, then = values[now_at], values[then_at]
                outcome = None if now != now or then != then else holds(now, then)
                return outcome, [outcome, operator, name, over]

            return slope


def _reader(
    operand: Operand, positions: Mapping[Series, int]
) -> tuple[Callable[[Sequence[float]], float], Any]:
    """How to read an operand from the values, and what the record calls it."""
    if isinstance(operand, Constant):
        constant = operand.value
        return lambda values: constant, int(constant) if constant.is_integer() else constant
    position = positions[operand]
    return lambda values: values[position], operand.text


def _compiled_comparison(
    operator: str, left: Operand, right: Operand, positions: Mapping[Series, int]
) -> _Evaluate:
    read_left, left_name = _reader(left, positions)
    read_right, right_name = _reader(right, positions)
    holds = _HOLDS_OF_COLUMNS[operator]

    def comparison(values: Sequence[float]) -> _Node:
        a, b = read_left(values), read_right(values)
        outcome = None if a != a or b != b else holds(a, b)
        return outcome, [outcome, operator, left_name, right_name]

    return comparison


def _compiled_cross(
    operator: str, left: Operand, right: Operand, positions: Mapping[Series, int]
) -> _Evaluate:
    read_left, left_name = _reader(left, positions)
    read_right, right_name = _reader(right, positions)
    read_left_before, _ = _reader(_before(left), positions)
    read_right_before, _ = _reader(_before(right), positions)
    upwards = operator == "crosses_above"

    def cross(values: Sequence[float]) -> _Node:
        a, b = read_left(values), read_right(values)
        c, d = read_left_before(values), read_right_before(values)
        outcome: bool | None = None
        if not (a != a or b != b or c != c or d != d):
            outcome = (a > b and c <= d) if upwards else (a < b and c >= d)
        return outcome, [outcome, operator, left_name, right_name]

    return cross


def _compiled_group(operator: str, conditions: Sequence[_Evaluate]) -> _Evaluate:
    if operator == "not":
        (only,) = conditions

        def negation(values: Sequence[float]) -> _Node:
            inner, node = only(values)
            outcome = None if inner is None else not inner
            return outcome, [outcome, operator, node]

        return negation
    decisive = operator == "any"  # one such outcome settles the group

    def group(values: Sequence[float]) -> _Node:
        outcome: bool | None = not decisive
        nodes: list[Any] = [None, operator]
        for condition in conditions:
            inner, node = condition(values)
            nodes.append(node)
            if inner is decisive:
                outcome = decisive
            elif inner is None and outcome is not decisive:
                outcome = None
        nodes[0] = outcome
        return outcome, nodes

    return group
