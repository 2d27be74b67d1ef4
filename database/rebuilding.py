"""Candles anew from stored trades, to store them or to prove those that are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.candles import BuiltCandles, candles_from_trades
from data.models import Market, Ohlcv, TradeRun
from data.timeframes import Timeframe, floor_to
from data.coverage import covered
from database.repositories.candle_repository import CandleRepository

_VOLUME_TOLERANCE = 1e-9  # relative: sums of doubles depend on their order
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
    reader: CandleRepository,
    market: Market,
    runs: Sequence[TradeRun],
    timeframes: Iterable[Timeframe],
    *,
    start_us: int,
    end_us: int,
) -> Iterator[RebuiltSpan]:
    """Candles of stored trades, UTC day by UTC day, weeks last.

    They cover every interval that touches `[start_us, end_us)`. A day's trades are in memory at a time.
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
        built = candles_from_trades(
            trades.price, trades.quantity, trades.traded_at_us, (wanted - {Timeframe.W1}) | {Timeframe.D1}
        )
        days.append(built[Timeframe.D1])
        for timeframe in sorted(wanted - {Timeframe.W1}, key=lambda timeframe: timeframe.us):
            yield RebuiltSpan(start_us=day_us, end_us=day_end_us, built=inside_runs(built[timeframe], runs))
    if Timeframe.W1 in wanted and days:
        yield RebuiltSpan(start_us=start_us, end_us=end_us, built=inside_runs(_weeks(days), runs))


def inside_runs(built: BuiltCandles, runs: Sequence[TradeRun]) -> BuiltCandles:
    """The candles that lie wholly inside a run."""
    ohlcv = built.ohlcv
    keep = covered(ohlcv.opened_at_us, ohlcv.timeframe, runs)
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
        unlike = (
            ~np.isclose(left, right, rtol=_VOLUME_TOLERANCE, atol=0.0) if name == "volume" else left != right
        )
        found += [
            CandleDifference(
                timeframe=timeframe,
                opened_at_us=int(common[row]),
                field=name,
                stored=float(left[row]),
                rebuilt=float(right[row]),
            )
            for row in np.flatnonzero(unlike)
        ]
    return sorted(found, key=lambda difference: (difference.opened_at_us, difference.field))


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
