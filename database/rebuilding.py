"""Candles anew from stored trades, to store them or to prove those that are stored."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.candles import BuiltCandles, candles_from_trades
from data.coverage import Span, covered, union_of
from data.files.trade_columns import TradeColumns
from data.models import BoolArray, Market, Ohlcv, TradeRun
from data.timeframes import Timeframe, floor_to
from database.market_queries import MarketReads
from database.repositories.candle_repository import CandleRepository
from database.trade_ledger import merge_runs

_VOLUME_TOLERANCE = 1e-9  # relative: sums of doubles depend on their order
CandleReads = CandleRepository | MarketReads  # either serves
_COLUMNS = ("open", "high", "low", "close", "volume", "trades")


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltSpan:
    """All candles of one time frame that open in `[start_us, end_us)` and lie wholly inside a run."""

    start_us: int
    end_us: int
    built: BuiltCandles


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleDifference:
    """One candle that is not stored as the trades make it."""

    timeframe: Timeframe
    opened_at_us: int
    field: str  # "row" where a candle is absent on one side
    stored: float | None
    rebuilt: float | None


def rebuilt_candles(
    reader: CandleReads,
    market: Market,
    runs: Sequence[TradeRun],
    timeframes: Iterable[Timeframe],
    *,
    start_us: int,
    end_us: int,
    look: Callable[[Span, TradeColumns], None] | None = None,
) -> Iterator[RebuiltSpan]:
    """Candles of stored trades, UTC day by UTC day, weeks last.

    They cover every interval that touches `[start_us, end_us)`. A day's trades are in memory at a time;
    `look` is shown them, with the day's bounds.
    """
    wanted = set(timeframes)
    widest = Timeframe.W1 if Timeframe.W1 in wanted else Timeframe.D1
    start_us = floor_to(start_us, widest)
    end_us = floor_to(end_us - 1, widest) + widest.us
    days: list[BuiltCandles] = []
    for day_us in range(start_us, end_us, Timeframe.D1.us):
        day_end_us = day_us + Timeframe.D1.us
        if not any(run.first_at_us < day_end_us and run.last_at_us >= day_us for run in runs):
            continue
        trades = reader.trades(market, start_us=day_us, end_us=day_end_us)
        if look is not None:
            look((day_us, day_end_us), trades)
        built = candles_from_trades(
            trades.price, trades.quantity, trades.traded_at_us, (wanted - {Timeframe.W1}) | {Timeframe.D1}
        )
        days.append(built[Timeframe.D1])
        for timeframe in sorted(wanted - {Timeframe.W1}, key=lambda timeframe: timeframe.us):
            yield RebuiltSpan(start_us=day_us, end_us=day_end_us, built=inside_runs(built[timeframe], runs))
    if Timeframe.W1 in wanted and days:
        yield RebuiltSpan(start_us=start_us, end_us=end_us, built=inside_runs(_weeks(days), runs))


def touched_candles(
    reader: CandleReads,
    market: Market,
    runs: Sequence[TradeRun],
    timeframes: Iterable[Timeframe],
    spans: Iterable[Span],
    *,
    closed_after_us: int,
) -> Iterator[BuiltCandles]:
    """Candles of stored trades that share a moment with one of `spans` and ended after `closed_after_us`.

    Only those that lie wholly inside a run, as everywhere.
    """
    touching = sorted(spans)
    if not touching or not runs:
        return
    last_us = max(run.last_at_us for run in runs)
    windows = {
        timeframe: _windows(touching, timeframe, after_us=closed_after_us, until_us=last_us)
        for timeframe in timeframes
    }
    due = {timeframe for timeframe, found in windows.items() if found}
    for widest, wanted in ((Timeframe.D1, due - {Timeframe.W1}), (Timeframe.W1, due & {Timeframe.W1})):
        chunks = union_of(
            (floor_to(start_us, widest), floor_to(end_us - 1, widest) + widest.us)
            for timeframe in wanted
            for start_us, end_us in windows[timeframe]
        )
        for start_us, end_us in chunks:
            for span in rebuilt_candles(reader, market, runs, wanted, start_us=start_us, end_us=end_us):
                timeframe = span.built.ohlcv.timeframe
                starts, ends = np.array(windows[timeframe]).T
                opened_at_us = span.built.ohlcv.opened_at_us
                at = np.searchsorted(starts, opened_at_us, side="right") - 1
                yield _rows(span.built, (at >= 0) & (opened_at_us < ends[at]))


def checked_runs(
    reader: CandleReads, market: Market, *, expires_us: int
) -> tuple[list[TradeRun], list[tuple[int, int]]]:
    """The runs as far as retention has left their trades, and where their ids are not stored one by one.

    Retention may have taken any trade of before `expires_us`. Faults are as `id_faults` tells them, all.
    """
    oldest_us = reader.oldest_trade_us(market)
    runs, faults = [], []
    for run in merge_runs(reader.runs(market)):
        expired = run.first_at_us < expires_us and (oldest_us is None or run.first_at_us < oldest_us)
        if expired and run.last_at_us < expires_us and (oldest_us is None or run.last_at_us < oldest_us):
            continue
        found = _all_id_faults(reader, market, run)
        if expired and oldest_us is not None:
            if found and found[0][0] == run.first_id - 1:
                del found[0]
            run = TradeRun(
                first_id=run.first_id,
                last_id=run.last_id,
                first_at_us=oldest_us,
                last_at_us=run.last_at_us,
            )
        runs.append(run)
        faults += found
    return runs, faults


def inside_runs(built: BuiltCandles, runs: Sequence[TradeRun]) -> BuiltCandles:
    """The candles that lie wholly inside a run."""
    ohlcv = built.ohlcv
    return _rows(built, covered(ohlcv.opened_at_us, ohlcv.timeframe, runs))


def _rows(built: BuiltCandles, keep: BoolArray) -> BuiltCandles:
    ohlcv = built.ohlcv
    return BuiltCandles(
        ohlcv=Ohlcv(
            timeframe=ohlcv.timeframe,
            opened_at_us=ohlcv.opened_at_us[keep],
            open=ohlcv.open[keep],
            high=ohlcv.high[keep],
            low=ohlcv.low[keep],
            close=ohlcv.close[keep],
            volume=ohlcv.volume[keep],
        ),
        trades=built.trades[keep],
    )


def differences(stored: BuiltCandles, rebuilt: BuiltCandles) -> list[CandleDifference]:
    """Where two series of one time frame differ: prices and trade counts exactly, volumes beyond 1e-9."""
    timeframe = rebuilt.ohlcv.timeframe
    here, there = stored.ohlcv.opened_at_us, rebuilt.ohlcv.opened_at_us
    found = [
        CandleDifference(
            timeframe=timeframe, opened_at_us=int(at_us), field="row", stored=stored_at, rebuilt=rebuilt_at
        )
        for at_us, stored_at, rebuilt_at in (
            *((at_us, None, 1.0) for at_us in np.setdiff1d(there, here)),
            *((at_us, 1.0, None) for at_us in np.setdiff1d(here, there)),
        )
    ]
    common, rows, others = np.intersect1d(here, there, assume_unique=True, return_indices=True)
    for name in _COLUMNS:
        left = _column(stored, name)[rows]
        right = _column(rebuilt, name)[others]
        found += [
            CandleDifference(
                timeframe=timeframe,
                opened_at_us=int(common[row]),
                field=name,
                stored=float(left[row]),
                rebuilt=float(right[row]),
            )
            for row in np.flatnonzero(_unlike(name, left, right))
        ]
    return sorted(found, key=lambda difference: (difference.opened_at_us, difference.field))


def unlike_prices(ours: Ohlcv, theirs: Ohlcv) -> tuple[int, list[CandleDifference]]:
    """How many candles stand on both sides, and where they differ: `rebuilt` is then theirs."""
    common, rows, others = np.intersect1d(
        ours.opened_at_us, theirs.opened_at_us, assume_unique=True, return_indices=True
    )
    found = [
        CandleDifference(
            timeframe=ours.timeframe,
            opened_at_us=int(common[row]),
            field=name,
            stored=float(getattr(ours, name)[rows[row]]),
            rebuilt=float(getattr(theirs, name)[others[row]]),
        )
        for name in _COLUMNS[:-1]
        for row in np.flatnonzero(_unlike(name, getattr(ours, name)[rows], getattr(theirs, name)[others]))
    ]
    return len(common), sorted(found, key=lambda difference: (difference.opened_at_us, difference.field))


def _unlike(name: str, left: NDArray[Any], right: NDArray[Any]) -> BoolArray:
    unlike: BoolArray = left != right
    if name == "volume":
        unlike = np.logical_not(np.isclose(left, right, rtol=_VOLUME_TOLERANCE, atol=0.0))
    return unlike


def _windows(spans: Sequence[Span], timeframe: Timeframe, *, after_us: int, until_us: int) -> list[Span]:
    """Whole intervals that touch the spans and end in `(after_us, until_us]`, as few spans as there are."""
    earliest_us = floor_to(after_us, timeframe)
    latest_us = floor_to(until_us, timeframe)
    return union_of(
        (
            max(floor_to(start_us, timeframe), earliest_us),
            min(floor_to(end_us, timeframe) + timeframe.us, latest_us),
        )
        for start_us, end_us in spans
    )


def _all_id_faults(reader: CandleReads, market: Market, run: TradeRun) -> list[tuple[int, int]]:
    faults: list[tuple[int, int]] = []
    first_id = run.first_id
    while first_id <= run.last_id:
        found = reader.id_faults(market, first_id, run.last_id)
        if not found:
            break
        faults += found
        first_id = found[-1][1] + 1
    return faults


def likely_causes(
    differences: Sequence[CandleDifference], compared: Iterable[Timeframe], absent: Sequence[Span]
) -> list[str]:
    """What probably happened, for each difference, in words. `absent` are times between which ids are absent.

    A trade that was altered shows in the smallest candles at least, whatever it does to larger ones.
    """
    smallest = min(compared, key=lambda timeframe: timeframe.us)
    found: dict[Timeframe, list[int]] = {}
    for difference in sorted(differences, key=lambda difference: difference.opened_at_us):
        found.setdefault(difference.timeframe, []).append(difference.opened_at_us)
    gone = union_of((start_us, end_us + 1) for start_us, end_us in absent)
    ends = [end_us for _, end_us in gone]
    causes = []
    for difference in differences:
        timeframe, opened_at_us = difference.timeframe, difference.opened_at_us
        number = bisect_right(ends, opened_at_us)
        if number < len(gone) and gone[number][0] < opened_at_us + timeframe.us:
            causes.append("trades of it were deleted")
            continue
        small = found.get(smallest, [])
        at = bisect_left(small, opened_at_us)
        in_smallest = at < len(small) and small[at] < opened_at_us + timeframe.us
        larger = any(
            other.us > timeframe.us and floor_to(opened_at_us, other) in openings
            for other, openings in found.items()
        )
        causes.append(_cause(difference, in_smallest=in_smallest, alone=timeframe is smallest and not larger))
    return causes


def _cause(difference: CandleDifference, *, in_smallest: bool, alone: bool) -> str:
    if difference.field == "row" and difference.stored is None:
        return "the candle was deleted or never built"
    if difference.field == "row":
        return "its trades were moved to another time, or the candle was added"
    if alone:
        return "the candle or a trade of it was altered"
    return "a trade of it was altered" if in_smallest else "the candle was altered"


def _weeks(days: Sequence[BuiltCandles]) -> BuiltCandles:
    opened_at_us = np.concatenate([day.ohlcv.opened_at_us for day in days])
    weeks_us, first = np.unique(
        np.array([floor_to(int(at_us), Timeframe.W1) for at_us in opened_at_us], dtype=np.int64),
        return_index=True,
    )
    if len(weeks_us) == 0:
        return days[0]
    last = np.append(first[1:], len(opened_at_us)) - 1
    columns = {name: np.concatenate([_column(day, name) for day in days]) for name in _COLUMNS}
    return BuiltCandles(
        ohlcv=Ohlcv(
            timeframe=Timeframe.W1,
            opened_at_us=weeks_us,
            open=columns["open"][first],
            high=np.maximum.reduceat(columns["high"], first),
            low=np.minimum.reduceat(columns["low"], first),
            close=columns["close"][last],
            volume=np.add.reduceat(columns["volume"], first),
        ),
        trades=np.add.reduceat(columns["trades"], first),
    )


def _column(built: BuiltCandles, name: str) -> NDArray[Any]:
    column: NDArray[Any] = built.trades if name == "trades" else getattr(built.ohlcv, name)
    return column
