"""Proves on given candles that no signal depends on a later candle, or finds the first bar that does.

The promise is prefix invariance: the signals on the candles up to t equal, at t, the signals on all candles.
What is tried, on every bar unless the badge says otherwise:

- A strategy that can be fed candle by candle without keeping a window (rules, incremental Python) is fed
  all of them: at t it cannot have seen more than the candles up to t, so equality with the batch run *is* the
  promise, bar by bar. Batch runs on prefixes of several lengths are compared as well.
- Any other strategy is a black box with a declared memory of `window` candles. (1) It is run on pieces of
  two windows, one after the other, each without anything later: after its first window a piece must say what
  the whole says. (2) It is run on series that consist of windows alone, those that end in every (2 window)th
  bar, for each offset: of the candles after such a bar a whole window is taken away. Together they take away
  what comes later of every bar, for the price of all windows once; these decide what is `covered`. Some long
  prefixes are compared too. (3) In the time that is left it is run on the window alone, as a bot does, bar
  by bar, those with a signal first. A difference counts only when the plain prefix (or, for the window, the
  run on the window alone) shows it too: an alarm is real. A strategy whose memory is not known either is run
  on ascending prefixes, and on the whole series with every candle replaced except the windows that end in
  every so manieth bar, once with prices moved one way and once the other.
- At last the same candles once more, on the used instance: hidden state would change the answer.

What that proves is a statement about these candles and these replacements, not about all candles there could
be: a dependence that changes no signal here is not seen. A strategy that says nothing is not proven.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from data.errors import InvalidInput
from data.models import BoolArray, Candle, Ohlcv
from data.timeframes import Timeframe, to_us
from strategies.base import Decision, Signals, Strategy
from strategies.versions import Badge, Counterexample, Fault, ProofStatus

# Bit 0 to bit 5 of a code.
SIGNALS = ("long_entry", "long_exit", "short_entry", "short_exit", "long_add", "short_add")
LEAST_CANDLES = 3_000
YEAR_OF_5M = 105_120  # candles; what a strategy that is saved is proven on

_Codes = NDArray[np.uint8]  # what is said on each bar, as bits
_MONDAY_US = to_us(datetime(2024, 1, 1, tzinfo=UTC))
_RULE_CUTS = 12  # prefixes tried beside the stream
_BOX_CUTS = 24  # prefixes tried beside pieces and windows
_LEAST_PIECE = 16  # candles: shorter pieces would cost more calls than they save


def generated_candles(timeframe: Timeframe, count: int, *, seed: int = 7, gaps: float = 0.01) -> Ohlcv:
    """A seeded market that trends, ranges, jumps and pauses; about a share `gaps` of intervals is empty.

    Begins on Monday, 2024-01-01. `count` intervals; those without a candle are missing from the rows.
    """
    random = np.random.default_rng(seed)
    hours = timeframe.seconds / 3600
    regime = np.repeat(random.normal(0, 1, count // 150 + 1), 150)[:count]
    wave = np.sin(np.arange(count) / 17.0) * np.repeat(random.random(count // 400 + 1), 400)[:count]
    scale = 0.004 * max(0.05, hours) ** 0.5 * np.exp(0.5 * np.repeat(regime[::75], 75)[:count])
    steps = scale * (random.normal(0, 1, count) + 0.15 * regime + 0.4 * wave)
    steps[random.random(count) < 0.003] *= 8
    # Pulled back towards where it began, so that a long series stays among plausible prices.
    close = np.empty(count)
    level = 0.0
    for row, step in enumerate(steps.tolist()):
        level = level * 0.9995 + step
        close[row] = level
    close = np.round(20_000.0 * np.exp(close), 2)
    open_ = np.concatenate([[20_000.0], close[:-1]])[:count]
    high = np.round(np.maximum(open_, close) * (1 + random.random(count) * scale), 2)
    low = np.round(np.minimum(open_, close) * (1 - random.random(count) * scale), 2)
    volume = np.round(random.gamma(2.0, 5.0, count) * (1 + 60 * np.abs(steps)), 4)
    opened = _MONDAY_US + np.arange(count, dtype=np.int64) * timeframe.us
    kept = random.random(count) >= gaps
    kept[:1] = True
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=opened[kept],
        open=open_[kept],
        high=high[kept],
        low=low[kept],
        close=close[kept],
        volume=volume[kept],
    )


def candles_to_try(strategy: Strategy, least: int = LEAST_CANDLES) -> Ohlcv:
    """Generated candles, about `least` or more: enough for `strategy` to get warm and to say something."""
    warmup = strategy.warmup
    count = max(least, min(2 * warmup, warmup + LEAST_CANDLES))
    return generated_candles(strategy.timeframe, count)


def prove_streamed(
    strategy: Strategy, ohlcv: Ohlcv, *, clock: Callable[[], float], budget_s: float = 10.0
) -> Badge:
    """The proof for a strategy whose stream holds no window: the stream on every bar against the batch.

    `clock` gives seconds. Bars that the budget does not reach are not covered.
    """
    give_up_at = clock() + budget_s
    given = _read_only(ohlcv)
    total = len(given)
    # Short before long: what a strategy hides between calls can then hold nothing that is yet to come.
    cuts = sorted({total * part // _RULE_CUTS for part in range(1, _RULE_CUTS)} - {0, total})
    found = _chain(lambda: strategy.signals, given, cuts, clock, give_up_at)
    if found.suspect is not None:
        suspects = [(found.suspect, Fault.LOOK_AHEAD)]
        first = _first_confirmed(lambda: strategy.signals, given, found.full, suspects, None)
        if first is not None:
            return _refuted(found.full, given, first)
    try:
        stream = strategy.stream()
    except InvalidInput as whole_only:
        problem = whole_only.problems[0]
        return prove_black_box(
            lambda: strategy.signals,
            ohlcv,
            window=max(1, strategy.warmup),
            is_memory_bounded=False,
            clock=clock,
            budget_s=max(0.0, give_up_at - clock()),
            remark=f"{problem.field} has no stream",
        )
    for row, candle in enumerate(_candles(given)):
        if row % 256 == 0 and clock() > give_up_at:
            return _badge(found.full, total, covered=row, alone=row)
        said = code_of(stream.update(candle))
        if said != found.full[row]:
            return _refuted(
                found.full, given, _counterexample(Fault.STREAM, given, row, int(found.full[row]), said)
            )
    return _badge(found.full, total, covered=total, alone=total)


def prove_black_box(
    fresh: Callable[[], Callable[[Ohlcv], Signals]],
    ohlcv: Ohlcv,
    *,
    window: int,
    clock: Callable[[], float],
    budget_s: float = 10.0,
    is_memory_bounded: bool = True,
    remark: str = "",
) -> Badge:
    """The proof for a strategy of which nothing is known but that it remembers `window` candles.

    `fresh` makes an instance's `signals`. Without `is_memory_bounded` reading older candles is no fault.
    """
    give_up_at = clock() + budget_s
    given = _read_only(ohlcv)
    total = len(given)
    suspects: dict[int, Fault] = {}
    covered = np.zeros(total, dtype=np.bool_)
    speak = fresh()
    if is_memory_bounded:
        # Few of them: they are for what shows on long series alone, as sums that lose their last digits.
        cuts = sorted({total * part // _BOX_CUTS for part in range(1, _BOX_CUTS)} - {0, total})
        found = _chain(fresh, given, cuts, clock, give_up_at)
        full = found.full
        is_complete = _try_pieces(fresh(), given, full, window, suspects, clock, give_up_at)
        covered |= _try_thinned(fresh(), given, full, window, suspects, clock, give_up_at)
    else:
        found = _try_replaced(fresh, given, window, suspects, covered, clock, give_up_at)
        full, is_complete = found.full, found.is_complete
    if found.suspect is not None:
        suspects[found.suspect] = Fault.LOOK_AHEAD
    if not is_complete:
        covered[:] = False
    alone = 0
    if is_memory_bounded:
        for row in _speaking_first(full):
            if clock() > give_up_at:
                break
            alone += 1
            if _alone(speak, given, row, window) != full[row]:
                suspects[row] = Fault.WINDOW
    memory = window if is_memory_bounded else None
    first = _first_confirmed(fresh, given, full, sorted(suspects.items()), memory)
    if first is None:
        first = _hidden_state(speak, given, full)
    if first is not None:
        return _refuted(full, given, first)
    return _badge(full, total, covered=int(covered.sum()), alone=alone, remark=remark)


def _try_pieces(
    speak: Callable[[Ohlcv], Signals],
    ohlcv: Ohlcv,
    full: _Codes,
    window: int,
    suspects: dict[int, Fault],
    clock: Callable[[], float],
    give_up_at: float,
) -> bool:
    """Run on pieces that end every `window` candles and begin two windows before; whether time sufficed.

    After its first window a piece must say what the whole says, although everything later is gone.
    """
    total = len(ohlcv)
    step = max(_LEAST_PIECE, window)
    for stop in range(step, total + step, step):
        if clock() > give_up_at:
            return False
        last = min(stop, total)
        start = max(0, last - step - window + 1)
        said = _codes(speak(_rows(ohlcv, start, last)), last - start)
        first = 0 if start == 0 else window - 1
        differing = np.flatnonzero(said[first:] != full[start + first : last])
        suspects.update((start + first + int(row), Fault.WINDOW) for row in differing)
    return True


def _try_thinned(
    speak: Callable[[Ohlcv], Signals],
    ohlcv: Ohlcv,
    full: _Codes,
    window: int,
    suspects: dict[int, Fault],
    clock: Callable[[], float],
    give_up_at: float,
) -> BoolArray:
    """Run on windows from which the same number of candles is missing to the next; which bars were tried.

    The windows end in every (window + step)th bar, for each offset: what comes next in their series comes
    `step` candles too early. All offsets together are about as many candles as all windows.
    """
    total = len(ohlcv)
    step = max(_LEAST_PIECE, window)
    period = min(total, window + step)
    covered = np.zeros(total, dtype=np.bool_)
    for offset in _spread(period):
        if clock() > give_up_at:
            break
        ends = np.arange(offset, total, period)
        rows = (ends[:, None] + np.arange(1 - window, 1)).ravel()
        rows = rows[rows >= 0]
        # The last window has nothing after it; give it something to look ahead at.
        rows = np.concatenate([rows, np.arange(int(ends[-1]) + 1 + step, total)])
        codes = _codes(speak(_taken(ohlcv, rows)), len(rows))
        places = np.searchsorted(rows, ends)
        suspects.update((int(row), Fault.WINDOW) for row in ends[codes[places] != full[ends]])
        covered[ends] = True
    return covered


def _try_replaced(
    fresh: Callable[[], Callable[[Ohlcv], Signals]],
    ohlcv: Ohlcv,
    window: int,
    suspects: dict[int, Fault],
    covered: BoolArray,
    clock: Callable[[], float],
    give_up_at: float,
) -> _Chain:
    """What a strategy without a bound to its memory can be tried with: prefixes, and other candles around."""
    total = len(ohlcv)
    # Cuts cost n / stride half runs, replacements 2 (window + stride) whole ones: this is the cheapest sum.
    stride = max(8, math.isqrt(total // 4 + 1))
    found = _chain(fresh, ohlcv, list(range(stride, total, stride)), clock, give_up_at)
    others = _moved(ohlcv, np.random.default_rng(11))
    period = min(total, window + stride)
    speak = fresh()
    for offset in _spread(period):
        if clock() > give_up_at:
            break
        ends = np.arange(offset, total, period)
        for other in others:
            codes = _codes(speak(_replaced(ohlcv, other, ends, window)), total)
            suspects.update((int(row), Fault.WINDOW) for row in ends[codes[ends] != found.full[ends]])
        covered[ends] = True
    return found


def prove_window_stream(
    strategy: Strategy, ohlcv: Ohlcv, codes: _Codes, *, clock: Callable[[], float], budget_s: float
) -> tuple[int, Counterexample | None]:
    """Feed a stream and compare with the batch's `codes`: bars compared, and the first that differs.

    `codes` are those of `codes_on`.
    """
    give_up_at = clock() + budget_s
    stream = strategy.stream()
    row = -1
    for row, candle in enumerate(_candles(ohlcv)):
        said = code_of(stream.update(candle))
        if said != codes[row]:
            return row, _counterexample(Fault.STREAM, ohlcv, row, int(codes[row]), said)
        if clock() > give_up_at:
            break
    return row + 1, None


def refuted_by(counterexample: Counterexample, ohlcv: Ohlcv, codes: _Codes) -> Badge:
    """The badge of a strategy that `counterexample` refutes."""
    return _refuted(codes, ohlcv, counterexample)


def codes_on(speak: Callable[[Ohlcv], Signals], ohlcv: Ohlcv) -> _Codes:
    """What is said on each bar as bits, in the order of SIGNALS, shape (n,)."""
    return _codes(speak(_read_only(ohlcv)), len(ohlcv))


def code_of(decision: Decision) -> int:
    """The same bits of one decision."""
    return sum(1 << bit for bit, name in enumerate(SIGNALS) if getattr(decision, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """What runs on ascending prefixes, the last of them the whole series, showed."""

    full: _Codes
    suspect: int | None  # the earliest row on which two prefixes disagree
    is_complete: bool  # the budget reached every cut


def _chain(
    fresh: Callable[[], Callable[[Ohlcv], Signals]],
    ohlcv: Ohlcv,
    cuts: Sequence[int],
    clock: Callable[[], float],
    give_up_at: float,
) -> _Chain:
    """Equality of each prefix with the one before makes all of them equal, hence one comparison a run."""
    before: _Codes = np.zeros(0, dtype=np.uint8)
    suspect: int | None = None
    is_complete = True
    for cut in (*cuts, len(ohlcv)):
        if cut != len(ohlcv) and clock() > give_up_at:
            is_complete = False
            continue
        now = _codes(fresh()(_rows(ohlcv, 0, cut)), cut)
        differing = np.flatnonzero(now[: len(before)] != before)
        if len(differing):
            suspect = int(differing[0]) if suspect is None else min(suspect, int(differing[0]))
        before = now
    return _Chain(full=before, suspect=suspect, is_complete=is_complete)


def _first_confirmed(
    fresh: Callable[[], Callable[[Ohlcv], Signals]],
    ohlcv: Ohlcv,
    full: _Codes,
    suspects: Sequence[tuple[int, Fault]],
    window: int | None,
) -> Counterexample | None:
    """The earliest suspected row on which the plain prefix, or the window alone, really differs."""
    unbounded: Counterexample | None = None
    for row, fault in suspects[:400]:
        on_past = int(_codes(fresh()(_rows(ohlcv, 0, row + 1)), row + 1)[row])
        if on_past != full[row]:
            ahead = _reads_ahead(fresh, ohlcv, full, row)
            return _counterexample(Fault.LOOK_AHEAD, ohlcv, row, int(full[row]), on_past, ahead)
        if fault is Fault.LOOK_AHEAD:
            # Two prefixes disagreed, though neither with the whole: it reads the length, or keeps state.
            on_past = _dissent(fresh, ohlcv, full, row)
            return _counterexample(Fault.LOOK_AHEAD, ohlcv, row, int(full[row]), on_past)
        if window is not None and unbounded is None:
            seen = _alone(fresh(), ohlcv, row, window)
            if seen != full[row]:
                unbounded = _counterexample(Fault.WINDOW, ohlcv, row, int(full[row]), seen)
    return unbounded


def _dissent(fresh: Callable[[], Callable[[Ohlcv], Signals]], ohlcv: Ohlcv, full: _Codes, row: int) -> int:
    """What some prefix says on `row` where it is not what the whole says; a flipped bit if none does now."""
    for cut in np.unique(np.geomspace(row + 1, len(ohlcv), 24).astype(int)).tolist():
        said = int(_codes(fresh()(_rows(ohlcv, 0, cut)), cut)[row])
        if said != full[row]:
            return said
    return int(full[row]) ^ 1


def _reads_ahead(
    fresh: Callable[[], Callable[[Ohlcv], Signals]], ohlcv: Ohlcv, full: _Codes, row: int
) -> int:
    """How many candles beyond `row` it takes to say what it says on all, by bisection."""
    too_few, enough = row + 1, len(ohlcv)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if _codes(fresh()(_rows(ohlcv, 0, middle)), middle)[row] == full[row]:
            enough = middle
        else:
            too_few = middle
    return enough - row - 1


def _alone(speak: Callable[[Ohlcv], Signals], ohlcv: Ohlcv, row: int, window: int) -> int:
    """What is said on `row` when nothing but the window that ends there is given, as live."""
    start = max(0, row + 1 - window)
    return int(_codes(speak(_rows(ohlcv, start, row + 1)), row + 1 - start)[-1])


def _speaking_first(full: _Codes) -> list[int]:
    """Every row: those with a signal, spread out, then the others, spread out."""
    groups = (np.flatnonzero(full), np.flatnonzero(full == 0))
    return [int(rows[at]) for rows in groups if len(rows) for at in _spread(len(rows))]


def _hidden_state(speak: Callable[[Ohlcv], Signals], ohlcv: Ohlcv, full: _Codes) -> Counterexample | None:
    """Ask an instance that has seen other candles again: the answers must not have changed."""
    total = len(ohlcv)
    for stop in (total, total // 2):
        again = _codes(speak(_rows(ohlcv, 0, stop)), stop)
        differing = np.flatnonzero(again != full[:stop])
        if len(differing):
            row = int(differing[0])
            return _counterexample(Fault.STATE, ohlcv, row, int(full[row]), int(again[row]))
    return None


def _spread(period: int) -> list[int]:
    """0 to period - 1 such that any beginning of the list lies spread out over the whole."""
    step = max(1, int(period * 0.618))
    while math.gcd(step, period) != 1:
        step += 1
    return [at * step % period for at in range(period)]


def _moved(ohlcv: Ohlcv, random: np.random.Generator) -> tuple[Ohlcv, Ohlcv]:
    """Two series of other prices and volumes at the same times, each moved against the other.

    What compares with a later candle notices one of the two.
    """
    total = len(ohlcv)
    moved = random.normal(0, 0.2, total)
    wider = 1 + random.random(total) * 0.05
    swap = random.random(total) < 0.5

    def series(factor: NDArray[np.float64]) -> Ohlcv:
        return _frozen(
            timeframe=ohlcv.timeframe,
            opened_at_us=ohlcv.opened_at_us.copy(),
            open=np.where(swap, ohlcv.close, ohlcv.open) * factor,
            high=ohlcv.high * factor * wider,
            low=ohlcv.low * factor / wider,
            close=np.where(swap, ohlcv.open, ohlcv.close) * factor,
            volume=ohlcv.volume * factor * factor,
        )

    return series(np.exp(moved)), series(np.exp(-moved))


def _replaced(ohlcv: Ohlcv, other: Ohlcv, ends: NDArray[np.int64], window: int) -> Ohlcv:
    """The candles with those of `other` everywhere but in the windows that end in `ends`."""
    edges = np.zeros(len(ohlcv) + 1, dtype=np.int64)
    np.add.at(edges, np.maximum(0, ends + 1 - window), 1)
    np.add.at(edges, ends + 1, -1)
    kept = np.cumsum(edges[:-1]) > 0
    return _frozen(
        timeframe=ohlcv.timeframe,
        opened_at_us=ohlcv.opened_at_us.copy(),
        open=np.where(kept, ohlcv.open, other.open),
        high=np.where(kept, ohlcv.high, other.high),
        low=np.where(kept, ohlcv.low, other.low),
        close=np.where(kept, ohlcv.close, other.close),
        volume=np.where(kept, ohlcv.volume, other.volume),
    )


def _taken(ohlcv: Ohlcv, rows: NDArray[np.int64]) -> Ohlcv:
    return _frozen(
        timeframe=ohlcv.timeframe,
        opened_at_us=ohlcv.opened_at_us[rows],
        open=ohlcv.open[rows],
        high=ohlcv.high[rows],
        low=ohlcv.low[rows],
        close=ohlcv.close[rows],
        volume=ohlcv.volume[rows],
    )


def _rows(ohlcv: Ohlcv, start: int, stop: int) -> Ohlcv:
    """Copies: through the base of a view a strategy could reach the rows that it must not see."""
    part = ohlcv.rows(start, stop)
    return _read_only(part)


def _read_only(ohlcv: Ohlcv) -> Ohlcv:
    return _frozen(
        timeframe=ohlcv.timeframe,
        opened_at_us=ohlcv.opened_at_us.copy(),
        open=ohlcv.open.copy(),
        high=ohlcv.high.copy(),
        low=ohlcv.low.copy(),
        close=ohlcv.close.copy(),
        volume=ohlcv.volume.copy(),
    )


def _frozen(
    *,
    timeframe: Timeframe,
    opened_at_us: NDArray[np.int64],
    open: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    volume: NDArray[np.float64],
) -> Ohlcv:
    """Series of which no column can be written to, so that one call cannot change what the next one sees."""
    for column in (opened_at_us, open, high, low, close, volume):
        column.flags.writeable = False
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=opened_at_us,
        open=open,
        high=high,
        low=low,
        close=close,
        volume=volume,
    )


def _codes(signals: Signals, length: int) -> _Codes:
    codes = np.zeros(length, dtype=np.uint8)
    for bit, name in enumerate(SIGNALS):
        column = getattr(signals, name)
        if column is not None:
            codes |= column.astype(np.uint8) << bit
    return codes


def _candles(ohlcv: Ohlcv) -> list[Candle]:
    columns = (ohlcv.opened_at_us, ohlcv.open, ohlcv.high, ohlcv.low, ohlcv.close, ohlcv.volume)
    return [
        Candle(
            exchange="generated",
            symbol="A-B",
            timeframe=ohlcv.timeframe,
            opened_at_us=opened,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            trades=0,
        )
        for opened, open_, high, low, close, volume in zip(*(c.tolist() for c in columns), strict=True)
    ]


def _counterexample(
    fault: Fault, ohlcv: Ohlcv, row: int, on_all: int, on_past: int, reads_ahead: int | None = None
) -> Counterexample:
    bit = ((on_all ^ on_past) & -(on_all ^ on_past)).bit_length() - 1  # the lowest that differs
    return Counterexample(
        fault=fault,
        bar=row,
        opened_at_us=int(ohlcv.opened_at_us[row]),
        signal=SIGNALS[bit],
        on_all=bool(on_all >> bit & 1),
        on_past=bool(on_past >> bit & 1),
        reads_ahead=reads_ahead,
    )


_FAULT_WORDS = {
    Fault.LOOK_AHEAD: "depends on later candles",
    Fault.STREAM: "differs when candles come one by one",
    Fault.WINDOW: "depends on candles older than the declared window",
    Fault.STATE: "changes when the same candles are given again",
}


def _refuted(full: _Codes, ohlcv: Ohlcv, first: Counterexample) -> Badge:
    at = np.datetime64(first.opened_at_us, "us").astype("datetime64[s]")
    words = f"bar {first.bar} ({at}Z): {first.signal} {_FAULT_WORDS[first.fault]}"
    if first.reads_ahead is not None:
        words += f", {first.reads_ahead} {'candle' if first.reads_ahead == 1 else 'candles'} ahead"
    return Badge(
        status=ProofStatus.REFUTED,
        words=words,
        bars=len(ohlcv),
        covered=len(ohlcv),
        signals=int(np.count_nonzero(full)),
        counterexample=first,
    )


def _badge(full: _Codes, total: int, *, covered: int, alone: int, remark: str = "") -> Badge:
    said = int(np.count_nonzero(full))
    if said == 0:
        status, words = ProofStatus.NOT_PROVEN, f"it said nothing on {total:,} candles: nothing to compare"
    elif covered < total:
        status = ProofStatus.NOT_PROVEN
        words = f"no difference found, but time ran out after {covered:,} of {total:,} bars"
    else:
        status = ProofStatus.PROVEN
        words = f"no later candle changes a signal on any of {total:,} bars, {said:,} of them with a signal"
    if remark:
        words += f" ({remark})"
    return Badge(status=status, words=words, bars=total, covered=covered, signals=said, alone=alone)
