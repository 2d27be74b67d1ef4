"""Candles in the making of which the collector saw the later part alone, completed from smaller ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import structlog

from data.errors import TradingError
from data.messages import CandleUpdate
from data.models import Candle, Market, Ohlcv
from data.stores import CandleReader
from data.timeframes import Timeframe

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Completed:
    """A candle as it is drawn; `note` says what it lacks and is empty when it lacks nothing.

    `since_us` is when what is known of it begins, where that is later than the candle.
    """

    candle: Candle
    note: str = ""
    since_us: int | None = None


def step_of(timeframe: Timeframe) -> Timeframe | None:
    """The smaller time frame a candle is completed from; nothing is smaller than a second."""
    if timeframe is Timeframe.S1:
        return None
    return Timeframe.S1 if timeframe is Timeframe.M1 else Timeframe.M1


def completed(forming: Candle, stored: Ohlcv, live: Iterable[CandleUpdate]) -> Completed:
    """`forming` with the smaller candles of its interval; each of these counts once, a stored one first.

    `live` are smaller candles that came over the bus, at most one per opening, the newest unfinished.
    """
    begin_us, end_us = forming.opened_at_us, forming.closes_at_us
    first, stop = np.searchsorted(stored.opened_at_us, (begin_us, end_us))
    rows = stored.rows(int(first), int(stop))
    known = set(rows.opened_at_us.tolist())
    later = [
        one
        for one in live
        if begin_us <= one.candle.opened_at_us < end_us and one.candle.opened_at_us not in known
    ]
    if not known and not later:
        return Completed(forming, "partial")
    parts = [
        *zip(rows.opened_at_us.tolist(), rows.open.tolist(), strict=True),
        *((one.candle.opened_at_us, one.candle.open) for one in later),
    ]
    since_us, opened = min(parts)
    candles = [one.candle for one in later]
    whole = Candle(
        exchange=forming.exchange,
        symbol=forming.symbol,
        timeframe=forming.timeframe,
        opened_at_us=begin_us,
        open=opened,
        high=max(forming.high, *rows.high.tolist(), *(one.high for one in candles)),
        low=min(forming.low, *rows.low.tolist(), *(one.low for one in candles)),
        close=forming.close,
        volume=max(forming.volume, sum(rows.volume.tolist()) + sum(one.volume for one in candles)),
        trades=forming.trades,
    )
    if since_us > begin_us:
        return Completed(whole, "partial", since_us)
    return Completed(whole, "" if all(one.covered for one in later) else "partial")


@dataclass(slots=True)
class _Interval:
    opened_at_us: int
    stored: Ohlcv | None = None  # None until the store has answered
    read_at_us: int | None = None  # opening of the newest smaller candle when the store was asked
    live: dict[int, CandleUpdate] = field(default_factory=dict)


class BegunIntervals:
    """What is known of the intervals in the making; the store is read in a thread, once a smaller candle."""

    def __init__(self, reader: CandleReader, *, known: Callable[[Market, Timeframe], None]) -> None:
        """`known` is called in the event loop whenever the store has answered."""
        self._reader = reader
        self._known = known
        self._intervals: dict[tuple[Market, Timeframe], _Interval] = {}
        self._reading: dict[tuple[Market, Timeframe], asyncio.Task[None]] = {}

    def completed(self, forming: Candle, newest: CandleUpdate | None) -> Completed | None:
        """The candle completed as far as is known, or None until the store has answered once.

        `newest` is the market's newest candle of the smaller time frame.
        """
        step = step_of(forming.timeframe)
        if step is None:
            return Completed(forming, "partial")
        key = (Market(forming.exchange, forming.symbol), forming.timeframe)
        interval = self._intervals.get(key)
        if interval is None or interval.opened_at_us != forming.opened_at_us:
            interval = self._intervals[key] = _Interval(forming.opened_at_us)
        at_us = forming.opened_at_us
        if newest is not None:
            at_us = newest.candle.opened_at_us
            interval.live[at_us] = newest
        if interval.read_at_us != at_us and key not in self._reading:
            interval.read_at_us = at_us
            self._reading[key] = asyncio.create_task(self._read(key, step, interval, forming.closes_at_us))
        if interval.stored is None:
            return None
        return completed(forming, interval.stored, interval.live.values())

    async def close(self) -> None:
        """End what is being read."""
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    async def _read(
        self, key: tuple[Market, Timeframe], step: Timeframe, interval: _Interval, end_us: int
    ) -> None:
        market, timeframe = key
        begin_us = interval.opened_at_us
        try:
            interval.stored = await asyncio.to_thread(
                self._reader.candles, market, step, start_us=begin_us, end_us=end_us
            )
        except TradingError as error:
            # The next smaller candle asks again; until then nothing is drawn, or what is known.
            log.warning("candle_not_completed", market=str(market), timeframe=timeframe, why=str(error))
            return
        finally:
            del self._reading[key]
        self._known(market, timeframe)
