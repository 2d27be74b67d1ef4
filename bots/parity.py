"""What a bot did beside what the replay of its candles did: every difference, and what it comes from. Pure.

The replay itself is `backtesting.parity`; evidence from the store (trades that are missing or came later) is
handed in by whoever reads the store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from bots.depth_words import DepthChange, change_of_depth, depth_in_words
from bots.gates import DATA_GATES, Gate
from bots.orders import Fill, OrderReason
from bots.views import DecisionView, FillView
from data.models import FloatArray, Ohlcv
from data.timeframes import to_datetime
from strategies.base import Signals

ACTIONS = ("long_entry", "long_exit", "short_entry", "short_exit")
# Gates that only say why a signal changes nothing: a replay comes to the same end by itself.
_WITHOUT_EFFECT = frozenset({Gate.NONE, Gate.POSITION_OPEN, Gate.NO_POSITION, Gate.CONTRADICTION})
_PROTECTIVE = frozenset({OrderReason.STOP_LOSS, OrderReason.TAKE_PROFIT, OrderReason.TRAILING_STOP})
# Doubles of the kernel beside decimals of the books.
_EQUITY_TOLERANCE = 1e-9


class Cause(StrEnum):
    """What a difference comes from. Shown and stored: names stay."""

    LATE_CANDLE = "late candle"  # stored after the bot had gone past it
    CHANGED_CANDLE = "changed candle"  # the store holds other numbers than the bot saw
    LOST_CANDLE = "lost candle"  # the bot saw it, the store has it no more
    MISSING_TRADE = "missing trade"  # the candle was made without trades that there were
    PARAMETERS = "changed parameter"
    STRATEGY = "changed strategy"
    FEE = "another fee"
    SLIPPAGE = "another slippage"
    CHANGED_DEPTH = "changed order book"  # the snapshot that filled the order holds other levels now
    LOST_DEPTH = "lost order book"  # the store has that snapshot no more
    LATE_DEPTH = "late order book"  # a newer snapshot was stored after the fill
    FUNDING = "another funding"  # a rate was settled after the bot had gone past it, or is stored no more
    FINER_CANDLES = "finer candles"  # what came first inside a candle was decided by other data, or by none
    UNKNOWN = "unknown"


class DifferenceKind(StrEnum):
    DECISION = "decision"  # one side has no decision on a candle
    SIGNAL = "signal"
    FILL = "fill"
    FUNDING = "funding"
    EQUITY = "equity"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it was when the bot ran."""

    cause: Cause
    start_us: int
    end_us: int  # what happened in `[start_us, end_us)` may come from it directly
    detail: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on which bot and replay do not agree."""

    kind: DifferenceKind
    at_us: int  # the candle's open, the fill's time, or the close of an equity point
    bot: str  # what the bot did, in words
    replay: str
    cause: Cause
    detail: str  # why that is the cause


class Intervention(msgspec.Struct, frozen=True, kw_only=True):
    """What candles alone do not tell: it is taken over into the replay, and named."""

    at_us: int
    what: str  # the gate, or "flatten"
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a bot stored of a stretch of candles."""

    decisions: Sequence[DecisionView]  # ascending
    fills: Sequence[FillView]
    equity: Mapping[int, Decimal]  # by the close of its candle
    funding: Mapping[int, Decimal] = field(default_factory=dict)  # what positions got, by its time


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The same stretch, run again over the candles that are stored now; columns of shape (n,)."""

    version: str  # of the strategy
    parameters: Mapping[str, float]
    ohlcv: Ohlcv
    signals: Signals
    fills: Sequence[Fill]
    equity: FloatArray  # at the closes
    funding: Mapping[int, Decimal] = field(default_factory=dict)  # as of `Recorded`
    others: Mapping[str, Ohlcv] = field(default_factory=dict)  # of a basket: its further symbols, same rows


def untouched(decisions: Sequence[DecisionView]) -> frozenset[int]:
    """Opens of candles after which a basket did nothing, for the data of one of its symbols."""
    return frozenset(one.opened_at_us for one in decisions if one.gate in DATA_GATES)


def held_back(decisions: Sequence[DecisionView]) -> frozenset[int]:
    """Opens of candles whose entry was kept from becoming an order by something else than the rules."""
    return frozenset(one.opened_at_us for one in decisions if one.gate not in _WITHOUT_EFFECT)


def interventions(recorded: Recorded) -> list[Intervention]:
    """Entries that gates held back, and positions that were closed on somebody's wish; ascending."""
    found = [
        Intervention(at_us=one.opened_at_us, what=str(one.gate), detail=one.outcome)
        for one in recorded.decisions
        if one.gate not in _WITHOUT_EFFECT
    ]
    found += [
        Intervention(
            at_us=fill.filled_at_us,
            what="flatten",
            detail=f"{fill.side} {fill.quantity} {fill.market.symbol} at {fill.price}",
        )
        for fill in recorded.fills
        if fill.reason is OrderReason.FLATTEN
    ]
    return sorted(found, key=lambda one: one.at_us)


def compare(
    recorded: Recorded,
    replayed: Replayed,
    *,
    evidence: Sequence[Evidence] = (),
    parameters: Mapping[str, float] | None = None,
) -> list[Difference]:
    """Every difference of one stretch, ascending in time, each with its cause.

    `parameters` are those the bot ran with, where they are known.
    """
    found = [*_of_decisions(recorded, replayed), *_of_signals(recorded, replayed)]
    found += _of_fills(recorded, replayed)
    found += _of_funding(recorded, replayed)
    found += _of_equity(recorded, replayed)
    known = list(_of_candles(recorded, replayed, evidence))
    # What explains a candle is told with that candle.
    known += [one for one in evidence if not any(_overlap(one, candle) for candle in known)]
    known += _of_strategy(recorded, replayed, parameters)
    return _Attribution(known, replayed.ohlcv.timeframe.us).of(sorted(found, key=_in_order))


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """A difference whose cause is not known yet, unless it shows it itself."""

    kind: DifferenceKind
    at_us: int
    bot: str
    replay: str
    own: tuple[Cause, str] | None = None


_ORDER = (
    DifferenceKind.DECISION,
    DifferenceKind.FILL,
    DifferenceKind.FUNDING,
    DifferenceKind.EQUITY,
    DifferenceKind.SIGNAL,
)


def _in_order(found: _Found) -> tuple[int, int]:
    return found.at_us, _ORDER.index(found.kind)


def _of_decisions(recorded: Recorded, replayed: Replayed) -> Iterator[_Found]:
    decided = {one.opened_at_us for one in recorded.decisions}
    stored = set(replayed.ohlcv.opened_at_us.tolist())
    for opened_at_us in sorted(stored - decided):
        yield _Found(
            kind=DifferenceKind.DECISION,
            at_us=opened_at_us,
            bot="never saw this candle",
            replay="has it",
            own=(Cause.LATE_CANDLE, "it was stored after the bot had gone past it"),
        )
    for opened_at_us in sorted(decided - stored):
        yield _Found(
            kind=DifferenceKind.DECISION,
            at_us=opened_at_us,
            bot="decided on this candle",
            replay="has no such candle",
            own=(Cause.LOST_CANDLE, "the store has no such candle any more"),
        )


def _of_signals(recorded: Recorded, replayed: Replayed) -> Iterator[_Found]:
    rows = {at_us: row for row, at_us in enumerate(replayed.ohlcv.opened_at_us.tolist())}
    for one in recorded.decisions:
        row = rows.get(one.opened_at_us)
        if row is None:
            continue
        said = [action for action in ACTIONS if getattr(one, action)]
        says = [action for action in ACTIONS if getattr(replayed.signals, action)[row]]
        if said != says:
            yield _Found(
                kind=DifferenceKind.SIGNAL,
                at_us=one.opened_at_us,
                bot=", ".join(said) or "nothing",
                replay=", ".join(says) or "nothing",
            )


def _of_fills(recorded: Recorded, replayed: Replayed) -> Iterator[_Found]:
    mine: dict[tuple[object, ...], list[Fill | FillView]] = defaultdict(list)
    is_named = any(made.symbol for made in replayed.fills)  # of a basket: each has its symbol
    theirs: dict[tuple[object, ...], list[Fill | FillView]] = defaultdict(list)
    for mark in recorded.fills:
        if mark.reason is not OrderReason.FLATTEN:
            mine[_key(mark, mark.market.symbol if is_named else "")].append(mark)
    for made in replayed.fills:
        theirs[_key(made, made.symbol)].append(made)
    alone: list[tuple[Fill | FillView, bool]] = []
    for key in sorted(mine.keys() | theirs.keys(), key=str):
        ours, others = mine.get(key, []), theirs.get(key, [])
        for one, other in zip(ours, others, strict=False):
            yield from _of_fill(one, other)
        alone += [(one, True) for one in ours[len(others) :]]
        alone += [(other, False) for other in others[len(ours) :]]
    for fill, is_bots in alone:
        yield _Found(
            kind=DifferenceKind.FILL,
            at_us=fill.filled_at_us,
            bot=_filled(fill) if is_bots else "no such fill",
            replay="no such fill" if is_bots else _filled(fill),
            own=_of_another_order(fill, is_bots, alone, replayed.ohlcv.timeframe.us),
        )


def _of_another_order(
    fill: Fill | FillView,
    is_bots: bool,
    alone: Sequence[tuple[Fill | FillView, bool]],
    timeframe_us: int,
) -> tuple[Cause, str] | None:
    """Both left inside one candle, told by other data which level came first and when, or by none."""
    candle = fill.filled_at_us // timeframe_us
    for other, is_others in alone:
        is_pair = is_others is not is_bots and other.filled_at_us // timeframe_us == candle
        is_told = fill.reason in _PROTECTIVE and other.reason in _PROTECTIVE
        if is_pair and (is_told or fill.ambiguous or other.ambiguous):
            return _FINER
    return None


def _of_fill(one: Fill | FillView, other: Fill | FillView) -> Iterator[_Found]:
    """Two fills that stand for each other."""
    unlike = [
        name
        for name in ("price", "quantity", "fee", "slippage", "ambiguous")
        if getattr(one, name) != getattr(other, name)
    ]
    own = None
    book = change_of_depth(one.depth, other.depth)
    if book is not None and (unlike or book[0] is not DepthChange.CHANGED):
        # A level that no order reached may have changed: that is no difference.
        own = (_DEPTH[book[0]], book[1])
        unlike.append("depth")
    elif not unlike:
        return
    elif unlike == ["fee"]:
        own = (Cause.FEE, f"the bot paid {_bps(one)} bps, the replay {_bps(other)} bps")
    elif {"price", "slippage"} <= set(unlike) and _slips_otherwise(one, other):
        own = (
            Cause.SLIPPAGE,
            f"slippage cost the bot {one.slippage}, the replay {other.slippage}, from the same price",
        )
    elif _bps(one) != _bps(other):
        own = (Cause.FEE, f"the bot paid {_bps(one)} bps, the replay {_bps(other)} bps")
    elif "ambiguous" in unlike:
        own = _FINER
    yield _Found(
        kind=DifferenceKind.FILL,
        at_us=one.filled_at_us,
        bot=", ".join(_said(one, name) for name in unlike),
        replay=", ".join(_said(other, name) for name in unlike),
        own=own,
    )


def _of_funding(recorded: Recorded, replayed: Replayed) -> Iterator[_Found]:
    for at_us in sorted(recorded.funding.keys() | replayed.funding.keys()):
        ours, theirs = recorded.funding.get(at_us), replayed.funding.get(at_us)
        if ours == theirs:
            continue
        own = "the rate stored now is not the one that the bot booked"
        if ours is None:
            own = "its settled rate was stored after the bot had gone past it"
        elif theirs is None:
            own = "no settled rate of it is stored any more"
        yield _Found(
            kind=DifferenceKind.FUNDING,
            at_us=at_us,
            bot="booked none" if ours is None else f"booked {ours}",
            replay="books none" if theirs is None else f"books {theirs}",
            own=(Cause.FUNDING, own),
        )


def _of_equity(recorded: Recorded, replayed: Replayed) -> Iterator[_Found]:
    """The first point of each stretch of points that differ: the rest of a stretch says nothing new."""
    was_equal = True
    timeframe_us = replayed.ohlcv.timeframe.us
    for opened_at_us, equity in zip(
        replayed.ohlcv.opened_at_us.tolist(), replayed.equity.tolist(), strict=True
    ):
        stored = recorded.equity.get(opened_at_us + timeframe_us)
        if stored is None:
            continue
        is_equal = abs(float(stored) - equity) <= _EQUITY_TOLERANCE * max(1.0, abs(equity))
        if was_equal and not is_equal:
            yield _Found(
                kind=DifferenceKind.EQUITY,
                at_us=opened_at_us + timeframe_us,
                bot=f"{stored}",
                replay=f"{equity!r}",
            )
        was_equal = is_equal


def _of_candles(recorded: Recorded, replayed: Replayed, evidence: Sequence[Evidence]) -> Iterator[Evidence]:
    """Candles of which the store holds other numbers than the bot saw, or which only one of them had."""
    ohlcv = replayed.ohlcv
    rows = {at_us: row for row, at_us in enumerate(ohlcv.opened_at_us.tolist())}
    decided = {one.opened_at_us for one in recorded.decisions}
    for opened_at_us in sorted(rows.keys() - decided):
        cause, detail = Cause.LATE_CANDLE, f"the candle of {iso(opened_at_us)} came after the bot had gone on"
        yield _candle(cause, opened_at_us, ohlcv, evidence, detail)
    for one in recorded.decisions:
        row = rows.get(one.opened_at_us)
        if row is None:
            detail = f"the candle of {iso(one.opened_at_us)} is no more in the store"
            yield _candle(Cause.LOST_CANDLE, one.opened_at_us, ohlcv, evidence, detail)
            continue
        now = {name: float(getattr(ohlcv, name)[row]) for name in ("open", "high", "low", "close", "volume")}
        then = {"close": one.close}
        if one.seen is not None:
            then |= dict(zip(("open", "high", "low", "volume"), one.seen, strict=True))
        unlike = [name for name in now if name in then and now[name] != then[name]]
        if unlike:
            numbers = ", ".join(f"{name} was {then[name]!r} and is {now[name]!r}" for name in unlike)
            detail = f"the candle of {iso(one.opened_at_us)}: {numbers}"
            yield _candle(Cause.CHANGED_CANDLE, one.opened_at_us, ohlcv, evidence, detail)
        for symbol, other in replayed.others.items():
            numbers = _changed(one.record, symbol, other, row)
            if numbers:
                detail = f"the candle of {symbol} of {iso(one.opened_at_us)}: {numbers}"
                yield _candle(Cause.CHANGED_CANDLE, one.opened_at_us, ohlcv, evidence, detail)


def _changed(record: Mapping[str, Any], symbol: str, ohlcv: Ohlcv, row: int) -> str:
    """What is not as a basket's record says of that symbol's candle."""
    seen = record.get("parts", {}).get(symbol, {}).get("candle")
    if seen is None:
        return ""
    names = ("open", "high", "low", "close", "volume")
    pairs = ((name, then, float(getattr(ohlcv, name)[row])) for name, then in zip(names, seen, strict=True))
    return ", ".join(f"{name} was {then!r} and is {now!r}" for name, then, now in pairs if then != now)


def _candle(
    cause: Cause, opened_at_us: int, ohlcv: Ohlcv, evidence: Sequence[Evidence], detail: str
) -> Evidence:
    """A candle's evidence; missing trades explain it where they are known of."""
    end_us = opened_at_us + ohlcv.timeframe.us
    for other in evidence:
        if other.start_us < end_us and other.end_us > opened_at_us:
            cause, detail = other.cause, f"{detail}; {other.detail}"
    return Evidence(cause=cause, start_us=opened_at_us, end_us=end_us, detail=detail)


def _overlap(one: Evidence, other: Evidence) -> bool:
    return one.start_us < other.end_us and one.end_us > other.start_us


def _of_strategy(
    recorded: Recorded, replayed: Replayed, parameters: Mapping[str, float] | None
) -> Iterator[Evidence]:
    others = [one for one in recorded.decisions if one.strategy_version != replayed.version]
    if not others:
        return
    changed = []
    if parameters is not None:
        changed = [
            f"{name} was {parameters.get(name)} and is {replayed.parameters.get(name)}"
            for name in sorted({*parameters, *replayed.parameters})
            if parameters.get(name) != replayed.parameters.get(name)
        ]
    versions = f"version {others[0].strategy_version[:12]} ran, {replayed.version[:12]} was replayed"
    yield Evidence(
        cause=Cause.PARAMETERS if changed else Cause.STRATEGY,
        start_us=others[0].opened_at_us,
        end_us=others[-1].opened_at_us + replayed.ohlcv.timeframe.us,
        detail=f"{'; '.join(changed)} ({versions})" if changed else versions,
    )


class _Attribution:
    """Goes through differences in order of time and finds what each comes from."""

    def __init__(self, evidence: Sequence[Evidence], timeframe_us: int) -> None:
        self._evidence = sorted(evidence, key=lambda one: one.start_us)
        self._timeframe_us = timeframe_us

    def of(self, found: Sequence[_Found]) -> list[Difference]:
        told: list[Difference] = []
        for one in found:
            cause, detail = self._why(one, told)
            told.append(
                Difference(
                    kind=one.kind,
                    at_us=one.at_us,
                    bot=one.bot,
                    replay=one.replay,
                    cause=cause,
                    detail=detail,
                )
            )
        return told

    def _why(self, found: _Found, told: Sequence[Difference]) -> tuple[Cause, str]:
        direct = self._direct(found)
        # A changed or late candle explains its fills better than what the fills look like.
        if found.kind is DifferenceKind.DECISION and found.own is not None:
            return direct or found.own
        if direct is not None and direct[0] not in (Cause.PARAMETERS, Cause.STRATEGY):
            return direct
        if found.own is not None and found.own[0] in _SURE:
            return found.own
        if found.kind is DifferenceKind.SIGNAL:
            return direct or self._carried(found) or self._earlier(found, told) or _UNKNOWN
        return self._earlier(found, told) or found.own or direct or self._carried(found) or _UNKNOWN

    def _direct(self, found: _Found) -> tuple[Cause, str] | None:
        """Evidence of the very candle; a fill at an open also comes from the candle that decided it."""
        since_us = found.at_us
        until_us = found.at_us + 1
        if found.kind is DifferenceKind.EQUITY:
            since_us, until_us = found.at_us - self._timeframe_us, found.at_us
        best: Evidence | None = None
        for one in self._evidence:
            is_there = one.start_us < until_us and one.end_us > since_us
            if is_there and (best is None or one.end_us - one.start_us < best.end_us - best.start_us):
                best = one
        return None if best is None else (best.cause, best.detail)

    def _carried(self, found: _Found) -> tuple[Cause, str] | None:
        """The newest evidence before: averages remember it."""
        before = [one for one in self._evidence if one.start_us <= found.at_us]
        if not before:
            return None
        return before[-1].cause, f"values go on from it: {before[-1].detail}"

    def _earlier(self, found: _Found, told: Sequence[Difference]) -> tuple[Cause, str] | None:
        """The newest difference before: the account goes on from it."""
        before = [one for one in told if one.at_us <= found.at_us and one.cause is not Cause.UNKNOWN]
        if not before:
            return None
        root = before[-1].detail.removeprefix(_FOLLOWS)
        return before[-1].cause, f"{_FOLLOWS}{root}"


_DEPTH = {
    DepthChange.CHANGED: Cause.CHANGED_DEPTH,
    DepthChange.LOST: Cause.LOST_DEPTH,
    DepthChange.LATE: Cause.LATE_DEPTH,
}
# What a fill itself shows, whatever happened before.
_SURE = frozenset({Cause.FEE, Cause.SLIPPAGE, *_DEPTH.values()})
_FOLLOWS = "follows from an earlier difference: "
_FINER = (Cause.FINER_CANDLES, "stop and target lie inside one candle: other data decided between them")
_UNKNOWN = (Cause.UNKNOWN, "nothing that is known of explains it")


def _key(fill: Fill | FillView, symbol: str) -> tuple[object, ...]:
    return fill.filled_at_us, symbol, str(fill.reason), str(fill.side), str(fill.position_side)


def _said(fill: Fill | FillView, name: str) -> str:
    return depth_in_words(fill.depth) if name == "depth" else f"{name} {getattr(fill, name)}"


def _filled(fill: Fill | FillView) -> str:
    symbol = fill.market.symbol if isinstance(fill, FillView) else fill.symbol
    return f"{fill.reason}: {fill.side} {fill.quantity} {symbol}".rstrip() + f" at {fill.price}"


def _bps(fill: Fill | FillView) -> str:
    rate = fill.fee / (fill.price * fill.quantity) * 10_000
    return f"{rate.quantize(Decimal('0.0001')).normalize():f}"


def _slips_otherwise(one: Fill | FillView, other: Fill | FillView) -> bool:
    """Whether slippage makes their prices differ: from the same open, or behind the levels of one book."""
    if one.depth is not None and other.depth is not None and one.depth.digest:
        behind = one.depth.behind, other.depth.behind
        return 0 not in behind and behind[0] != behind[1]
    return _reference(one) == _reference(other)


def _reference(fill: Fill | FillView) -> Decimal:
    """The price before slippage and rounding."""
    lost = fill.slippage / fill.quantity
    return (fill.price - lost if fill.side == "buy" else fill.price + lost).quantize(Decimal("1e-12"))


def iso(at_us: int) -> str:
    """A time as people and JSON write it."""
    return to_datetime(at_us).isoformat().replace("+00:00", "Z")
