"""Files of candles: CSV (also gzipped) or Parquet with `opened_at,open,high,low,close,volume`.

`opened_at` may also be called `ts_ms`, `timestamp`, `time` or `date`, in any case. It is ISO 8601 (UTC where
it names no zone) or a number since 1970: milliseconds by custom, but seconds, microseconds and nanoseconds
are told by their size (from 1e9 up to 1e11 seconds, below 1e14 ms, below 1e17 us). A column `timeframe` that
tells the rows of several time frames apart is understood, too. Other columns are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.candles import BuiltCandles
from data.errors import InvalidInput
from data.files.tables import SourceTable, iso_times, read_table, refusal, time_column, write_table
from data.files.time_numbers import LAST_US
from data.models import BoolArray, FloatArray, IntArray, Ohlcv
from data.timeframes import Timeframe, floor_to, to_datetime

_TIMES = ("opened_at", "ts_ms", "timestamp", "time", "date")
_PRICES = ("open", "high", "low", "close")
_VALUES = (*_PRICES, "volume")
_NAMES: Mapping[str, Sequence[str]] = {
    "opened_at": _TIMES,
    **{name: (name,) for name in _VALUES},
    "timeframe": ("timeframe",),
}


def read_candles(
    path: Path, timeframe: Timeframe | None = None, *, tell: Callable[[str], None] | None = None
) -> Ohlcv:
    """The file's candles, ascending in time; of equal rows one is kept.

    `tell` hears what was put in order or left out, a sentence each.
    Without `timeframe` the file's own column of that name tells it, else the smallest step between two
    candles. Raises InvalidInput, naming the line and the column, for prices that are not finite and above 0,
    volumes below 0, a high that is not the highest or a low that is not the lowest, times off the time
    frame's grid, two different candles of one time, and a time frame that is unknown or cannot be told.
    """
    source = read_table(path, _NAMES, required=("opened_at", *_VALUES), floats=_VALUES)
    if source.has("timeframe"):
        source, timeframe = _of_timeframe(source, timeframe)
    if len(source) == 0:
        raise refusal(path, "", "no rows", "at least one candle")
    in_ms = source.spelled["opened_at"].strip().lower() == "ts_ms"
    opened_at_us = source.times_us("opened_at", unit_us=1_000.0 if in_ms else None)
    values = {name: source.floats(name) for name in _VALUES}
    _check_values(source, values)
    rows = _ascending(source, opened_at_us, values)
    if rows is not None:
        if tell is not None:
            _tell_changes(path, len(source), rows, tell)
        opened_at_us = opened_at_us[rows]
        values = {name: column[rows] for name, column in values.items()}
    if timeframe is None:
        timeframe = _inferred(source, opened_at_us)
    _check_grid(source, opened_at_us, timeframe, rows)
    if int(opened_at_us[-1]) + timeframe.us > LAST_US:
        newest = len(source) - 1 if rows is None else int(rows[-1])
        expected = "a time of which the candle closes before the year 10000"
        raise InvalidInput(source.problem(newest, "opened_at", expected))
    return Ohlcv(timeframe=timeframe, opened_at_us=opened_at_us, **values)


def _tell_changes(path: Path, read: int, kept: IntArray, tell: Callable[[str], None]) -> None:
    if len(kept) < read:
        tell(f"{path}: {read - len(kept)} rows stand there twice and count once")
    if np.any(np.diff(kept) < 0):
        tell(f"{path}: the rows were not in order of time and were sorted")


def write_candles(path: Path, ohlcv: Ohlcv) -> None:
    """Write `opened_at,open,high,low,close,volume`; the file's ending tells the kind. Raises InvalidInput."""
    columns = {"opened_at": time_column(path, ohlcv.opened_at_us)}
    write_table(path, columns | {name: pa.array(getattr(ohlcv, name)) for name in _VALUES})


def write_built_candles(path: Path, built: Sequence[BuiltCandles]) -> None:
    """Write candles of several time frames: `timeframe,opened_at,open,high,low,close,volume,trades`.

    Time frames stand one after the other as given. Raises InvalidInput.
    """
    opened_at_us = np.concatenate([item.ohlcv.opened_at_us for item in built])
    frames = np.concatenate(
        [np.full(len(item.ohlcv), item.ohlcv.timeframe.value, dtype=object) for item in built]
    )
    columns = {
        "timeframe": pa.array(frames, pa.string()),
        "opened_at": time_column(path, opened_at_us),
    }
    for name in _VALUES:
        columns[name] = pa.array(np.concatenate([getattr(item.ohlcv, name) for item in built]))
    columns["trades"] = pa.array(np.concatenate([item.trades for item in built]))
    write_table(path, columns)


def opened_at_text(opened_at_us: int) -> str:
    """As candle files write it: "2024-08-08T23:55:00Z"."""
    text: str = iso_times(np.array([opened_at_us]))[0].as_py()
    return text


def _of_timeframe(source: SourceTable, wanted: Timeframe | None) -> tuple[SourceTable, Timeframe]:
    """The rows of one time frame in a file that holds several."""
    column = source.table.column("timeframe").cast(pa.string())
    found = [str(value) for value in column.unique().to_pylist()]
    known = {timeframe.value: timeframe for timeframe in Timeframe}
    if wanted is None and len(found) == 1 and found[0] in known:
        return source, known[found[0]]
    if wanted is None:
        raise refusal(source.path, "column timeframe", ", ".join(found), "one of them to be chosen")
    if wanted.value not in found:
        raise refusal(source.path, "column timeframe", ", ".join(found), f"also candles of {wanted.value}")
    if len(found) == 1:
        return source, wanted
    return source.where(column.to_numpy(zero_copy_only=False) == wanted.value), wanted


def _check_values(source: SourceTable, values: Mapping[str, FloatArray]) -> None:
    for name in _PRICES:
        # The extremes of a million numbers take a tenth of the time of a million comparisons.
        if not (values[name].min() > 0 and values[name].max() < np.inf):
            _refuse(
                source, name, ~(np.isfinite(values[name]) & (values[name] > 0)), "a finite number above 0"
            )
    volume = values["volume"]
    if not (volume.min() >= 0 and volume.max() < np.inf):
        _refuse(source, "volume", ~(np.isfinite(volume) & (volume >= 0)), "a finite number, 0 or above")
    highest = np.maximum(np.maximum(values["open"], values["close"]), values["low"])
    _refuse(source, "high", values["high"] < highest, "the highest of open, high, low and close")
    lowest = np.minimum(values["open"], values["close"])
    _refuse(source, "low", values["low"] > lowest, "the lowest of open, high, low and close")


def _refuse(source: SourceTable, column: str, bad: BoolArray, expected: str) -> None:
    if bad.any():
        raise InvalidInput(source.problem(int(np.argmax(bad)), column, expected))


def _ascending(
    source: SourceTable, opened_at_us: IntArray, values: Mapping[str, FloatArray]
) -> IntArray | None:
    """The rows to keep, in order of time; None where the file has them so already."""
    if np.all(np.diff(opened_at_us) > 0):
        return None
    order = np.argsort(opened_at_us, kind="stable")
    same_time = np.flatnonzero(np.diff(opened_at_us[order]) == 0)
    for name in _VALUES:
        column = values[name][order]
        differ = column[same_time] != column[same_time + 1]
        if differ.any():
            first = same_time[int(np.argmax(differ))]
            row, other = int(order[first + 1]), int(order[first])
            raise InvalidInput(
                source.problem(
                    row,
                    name,
                    f"the same as in {source.line(other)} ({float(column[first])!r}), which has the same "
                    f"{source.spelled['opened_at']}, or one of the two lines gone",
                )
            )
    return np.delete(order, same_time + 1)


def _inferred(source: SourceTable, opened_at_us: IntArray) -> Timeframe:
    if len(opened_at_us) < 2:
        raise refusal(source.path, "", "one candle", "at least two, or the time frame to be named")
    steps = np.diff(opened_at_us)
    step_us = int(steps.min())
    try:
        seconds, rest = divmod(step_us, 1_000_000)
        return Timeframe.of_seconds(seconds if rest == 0 else 0)
    except KeyError:
        known = " ".join(timeframe.value for timeframe in Timeframe)
        at = to_datetime(int(opened_at_us[int(np.argmin(steps))])).isoformat()
        raise refusal(
            source.path,
            f"column {source.spelled['opened_at']}",
            f"stepping by {step_us / 1_000_000:g} s after {at}",
            f"a smallest step that is one of {known}",
        ) from None


def _check_grid(
    source: SourceTable, opened_at_us: IntArray, timeframe: Timeframe, rows: IntArray | None
) -> None:
    # Weeks open on Mondays, and the epoch was none.
    offset_us = floor_to(0, timeframe) % timeframe.us
    since_us = opened_at_us - offset_us
    if since_us[0] % timeframe.us == 0 and np.all(np.diff(since_us) == timeframe.us):
        return
    off = since_us % timeframe.us != 0
    if not off.any():
        return
    first = int(np.argmax(off))
    right = to_datetime(floor_to(int(opened_at_us[first]), timeframe)).isoformat()
    row = first if rows is None else int(rows[first])
    raise InvalidInput(
        source.problem(row, "opened_at", f"a time at which a {timeframe.value} candle opens, as {right} is")
    )
