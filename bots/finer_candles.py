"""Stored candles of smaller time frames that may tell what came first inside a candle."""

from __future__ import annotations

import numpy as np

from data.models import BoolArray, IntArray, Market, Ohlcv
from data.stores import CandleReader
from data.timeframes import Timeframe

_VOLUME_TOLERANCE = 1e-9  # relative: sums of doubles


def finer_candles(
    reader: CandleReader, market: Market, ohlcv: Ohlcv, *, most: int | None = None
) -> Ohlcv | None:
    """For each candle of `ohlcv` the stored ones inside it, of the smallest time frame that covers it wholly.

    Those that cover a candle wholly have its volume (to 1e-9), its high and its low between them: a part of
    it, as where recording began in its middle, must not decide. Where no time frame does, that candle has
    none. Ascending; `timeframe` is the smallest that was found. None where there is nothing. A time frame of
    which the span may hold more than `most` candles is not read.
    """
    if len(ohlcv) == 0:
        return None
    start_us, end_us = int(ohlcv.opened_at_us[0]), int(ohlcv.opened_at_us[-1]) + ohlcv.timeframe.us
    open_still = np.ones(len(ohlcv), dtype=np.bool_)
    found: list[Ohlcv] = []
    for timeframe in Timeframe:
        if timeframe.us >= ohlcv.timeframe.us or not open_still.any():
            break
        is_too_much = most is not None and (end_us - start_us) // timeframe.us > most
        if ohlcv.timeframe.us % timeframe.us or is_too_much:
            continue
        parts = reader.candles(market, timeframe, start_us=start_us, end_us=end_us)
        inside = _candle_of(parts, ohlcv)
        decided = open_still & _wholly_covered(parts, inside, ohlcv)
        if decided.any():
            found.append(parts.taken(np.flatnonzero((inside >= 0) & decided[inside])))
            open_still &= ~decided
    return _merged(found) if found else None


def _candle_of(parts: Ohlcv, ohlcv: Ohlcv) -> IntArray:
    """The row of the candle that each part lies in; -1 where it lies in none."""
    row: IntArray = np.searchsorted(ohlcv.opened_at_us, parts.opened_at_us, side="right") - 1
    return np.where(parts.opened_at_us < ohlcv.opened_at_us[row] + ohlcv.timeframe.us, row, -1)


def _wholly_covered(parts: Ohlcv, inside: IntArray, ohlcv: Ohlcv) -> BoolArray:
    covered = np.zeros(len(ohlcv), dtype=np.bool_)
    kept = parts.taken(np.flatnonzero(inside >= 0))
    if len(kept) == 0:
        return covered
    rows, firsts = np.unique(inside[inside >= 0], return_index=True)
    volume = np.add.reduceat(kept.volume, firsts)
    covered[rows] = (
        np.isclose(volume, ohlcv.volume[rows], rtol=_VOLUME_TOLERANCE, atol=0.0)
        & (np.maximum.reduceat(kept.high, firsts) == ohlcv.high[rows])
        & (np.minimum.reduceat(kept.low, firsts) == ohlcv.low[rows])
    )
    return covered


def _merged(found: list[Ohlcv]) -> Ohlcv:
    """All of them in order of time. Each covers candles of its own, so none overlap."""
    if len(found) == 1:
        return found[0]
    names = ("opened_at_us", "open", "high", "low", "close", "volume")
    columns = {name: np.concatenate([getattr(part, name) for part in found]) for name in names}
    every = Ohlcv(timeframe=found[0].timeframe, **columns)
    return every.taken(np.argsort(every.opened_at_us, kind="stable"))
