"""What a simulated venue knows of a market's trades at this moment, whether they are made up or recorded."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from data.models import FloatArray, IntArray
from simulator.columns import (
    MINUTE,
    CandleColumns,
    TradeColumns,
    Width,
    candles_of,
    concatenated,
    folded,
    no_trades,
)
from simulator.generator import SyntheticMarket
from simulator.instruments import SimInstrument

Clock = Callable[[], int]  # the venue's time in ms

# Minutes of made-up trades are folded once and kept in blocks.
_BLOCK_MS = 3_600_000
_KEPT_BLOCKS = 960  # per market, 40 days

_RECENT_MS = 30_000
_RECENT_AHEAD_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleSpan:
    """The time a venue can tell of. With `edges` also the intervals that hold its first and last moment."""

    first_ms: int
    last_ms: int
    edges: bool

    def first_open(self, width: Width) -> int:
        """The open of the oldest interval that can be told."""
        current = width.floor(self.first_ms)
        return current if self.edges or current == self.first_ms else current + width.ms

    def last_open(self, width: Width) -> int:
        """The open of the newest interval that can be told."""
        current = width.floor(self.last_ms)
        return current if self.edges else current - width.ms


class Tape(Protocol):
    """One market's trades so far. Ids have no hole between the first and the last."""

    @property
    def instrument(self) -> SimInstrument: ...

    def bounds(self) -> tuple[int, int] | None:
        """First and last id known now, or None before the first trade."""
        ...

    def trades(self, first_id: int, last_id: int) -> TradeColumns:
        """Known trades with ids from `first_id` to `last_id`, both included."""
        ...

    def oldest_from(self, first_id: int, count: int) -> TradeColumns:
        """The `count` known trades with the lowest ids from `first_id` on."""
        ...

    def newest_to(self, last_id: int, count: int) -> TradeColumns:
        """The `count` known trades with the highest ids up to `last_id`."""
        ...

    def first_id_at(self, at_ms: int) -> int:
        """The lowest known id traded at `at_ms` or later; one past the last where there is none."""
        ...

    def aggregates(self, first_id: int, last_id: int) -> TradeColumns:
        """Trades of the aggregates `first_id` to `last_id`, both included, as far as known."""
        ...

    def candles(self, width: Width, start_ms: int, end_ms: int) -> CandleColumns:
        """Candles of known trades that open in `[start_ms, end_ms)`, the forming one too.

        `start_ms` is an open of `width`. An interval without trades has no row.
        """
        ...

    def candle_span(self) -> CandleSpan | None:
        """The intervals that can be told now, or None for none."""
        ...


class GeneratedTape:
    """A made-up market up to the present."""

    def __init__(self, market: SyntheticMarket, clock: Clock) -> None:
        self._market = market
        self._clock = clock
        self._minutes: OrderedDict[int, tuple[int, CandleColumns]] = OrderedDict()
        self._lock = threading.Lock()  # candles are asked for from worker threads
        self.closed = False  # a venue that stops does not wait for days of candles nobody will read
        self._first_ms = int(market.trades(1, 1).at_ms[0])
        # The trades around now, which are asked for most, and the time up to which they were made.
        self._recent, self._recent_until_ms = no_trades(), 0

    @property
    def instrument(self) -> SimInstrument:
        return self._market.instrument

    def bounds(self) -> tuple[int, int] | None:
        last = self._known_count()
        return (1, last) if last else None

    def trades(self, first_id: int, last_id: int) -> TradeColumns:
        first_id, last_id = max(first_id, 1), min(last_id, self._known_count())
        recent = self._recent
        if len(recent) and recent.ids[0] <= first_id <= last_id:
            start = first_id - int(recent.ids[0])
            return recent.rows(start, start + last_id - first_id + 1)
        return self._market.trades(first_id, last_id)

    def oldest_from(self, first_id: int, count: int) -> TradeColumns:
        first_id = max(first_id, 1)
        return self.trades(first_id, first_id + count - 1)

    def newest_to(self, last_id: int, count: int) -> TradeColumns:
        last_id = min(last_id, self._known_count())
        return self.trades(last_id - count + 1, last_id)

    def first_id_at(self, at_ms: int) -> int:
        return self._market.count_before(min(at_ms, self._clock() + 1)) + 1

    def aggregates(self, first_id: int, last_id: int) -> TradeColumns:
        bounds = self.bounds()
        if bounds is None or last_id < max(first_id, 1):
            return no_trades()
        # Ten aggregates fill a block of sixteen ids; a block too many on each side is cut off below.
        low, high = (max(first_id, 1) - 1) // 10 * 16 + 1, (last_id // 10 + 1) * 16
        found = self._market.trades(low, min(high, bounds[1]))
        return found.where((found.aggregate_ids >= first_id) & (found.aggregate_ids <= last_id))

    def candles(self, width: Width, start_ms: int, end_ms: int) -> CandleColumns:
        now = self._clock()
        end_ms = min(end_ms, now + 1)
        if end_ms <= start_ms:
            return concatenated([])
        if width.ms % MINUTE.ms or width.anchor_ms % MINUTE.ms:
            return candles_of(self._span(start_ms, width.floor(end_ms - 1) + width.ms, now), width)
        last_ms = min(width.floor(end_ms - 1) + width.ms, now + 1)
        closed_ms = MINUTE.floor(last_ms)
        parts = [self._closed_minutes(start_ms, closed_ms)] if start_ms < closed_ms else []
        parts.append(candles_of(self._span(max(closed_ms, start_ms), last_ms, now), MINUTE))
        return folded(concatenated(parts), width)

    def candle_span(self) -> CandleSpan | None:
        now = self._clock()
        if now < self._first_ms:
            return None
        # Nothing came before the first trade, so its interval is whole; the newest one is shown as it forms.
        return CandleSpan(first_ms=self._first_ms, last_ms=now, edges=True)

    def forget_future(self) -> None:
        """Make what comes anew: the market's course has changed from now on."""
        self._recent, self._recent_until_ms = no_trades(), 0

    def _known_count(self) -> int:
        """How many trades there have been until now: the last one's id."""
        now = self._clock()
        if not self._recent_until_ms - _RECENT_AHEAD_MS <= now < self._recent_until_ms:
            first = self._market.count_before(now - _RECENT_MS) + 1
            until_ms = now + _RECENT_AHEAD_MS
            self._recent = self._market.trades(first, self._market.count_before(until_ms))
            self._recent_until_ms = until_ms
        recent = self._recent
        if not len(recent) or recent.at_ms[0] > now:
            return self._market.count_before(now + 1)
        return int(recent.ids[0]) - 1 + int(np.searchsorted(recent.at_ms, now, side="right"))

    def _span(self, start_ms: int, end_ms: int, now: int) -> TradeColumns:
        end_ms = min(end_ms, now + 1)
        first, last = self._market.count_before(start_ms) + 1, self._market.count_before(end_ms)
        return self._market.trades(first, last)

    def _closed_minutes(self, start_ms: int, end_ms: int) -> CandleColumns:
        start_ms = max(start_ms, MINUTE.floor(self._market.listed_at_ms))
        parts = []
        with self._lock:
            for block in range(start_ms // _BLOCK_MS, (end_ms - 1) // _BLOCK_MS + 1):
                if self.closed:
                    break
                wanted_ms = min((block + 1) * _BLOCK_MS, end_ms)
                parts.append(self._block(block, wanted_ms))
        return concatenated(parts).between(start_ms, end_ms)

    def _block(self, block: int, wanted_ms: int) -> CandleColumns:
        """Minutes of one block up to `wanted_ms` at least; only minutes not yet kept are made."""
        reached_ms, candles = self._minutes.get(block, (block * _BLOCK_MS, concatenated([])))
        if reached_ms < wanted_ms:
            first = self._market.count_before(reached_ms) + 1
            more = self._market.trades(first, self._market.count_before(wanted_ms))
            candles = concatenated([candles, candles_of(more, MINUTE)])
            self._minutes[block] = (wanted_ms, candles)
        self._minutes.move_to_end(block)
        if len(self._minutes) > _KEPT_BLOCKS:
            self._minutes.popitem(last=False)
        return candles


@dataclass(frozen=True, slots=True)
class RecordedTrade:
    """One trade, or one aggregate of trades, of a recording in the instrument's units."""

    trade_id: int
    at_ms: int
    price: int
    size: int
    buy: bool
    first_match: int  # ids of the single trades inside; both the trade's own where it is one
    last_match: int


class ReplayedTape:
    """The trades of a recording whose time has come, each once however often it was recorded."""

    def __init__(self, instrument: SimInstrument) -> None:
        self.instrument = instrument
        self._ids: list[int] = []
        self._rows: list[RecordedTrade] = []
        self._columns: TradeColumns | None = None

    def add(self, trade: RecordedTrade) -> bool:
        """Take the next trade; False where it was known already."""
        ids = self._ids
        if not ids or trade.trade_id > ids[-1]:
            place = len(ids)
        else:
            place = bisect_left(ids, trade.trade_id)
            if ids[place] == trade.trade_id:
                return False
        ids.insert(place, trade.trade_id)
        self._rows.insert(place, trade)
        self._columns = None
        return True

    def bounds(self) -> tuple[int, int] | None:
        return (self._ids[0], self._ids[-1]) if self._ids else None

    def trades(self, first_id: int, last_id: int) -> TradeColumns:
        columns = self._known()
        start, stop = np.searchsorted(columns.ids, [first_id, last_id + 1])
        return columns.rows(int(start), int(stop))

    def oldest_from(self, first_id: int, count: int) -> TradeColumns:
        start = bisect_left(self._ids, first_id)
        return self._known().rows(start, start + count)

    def newest_to(self, last_id: int, count: int) -> TradeColumns:
        stop = bisect_left(self._ids, last_id + 1)
        return self._known().rows(max(stop - count, 0), stop)

    def first_id_at(self, at_ms: int) -> int:
        columns = self._known()
        later = np.flatnonzero(columns.at_ms >= at_ms)
        if len(later):
            return int(columns.ids[later[0]])
        return self._ids[-1] + 1 if self._ids else 1

    def aggregates(self, first_id: int, last_id: int) -> TradeColumns:
        columns = self._known()
        return columns.where((columns.aggregate_ids >= first_id) & (columns.aggregate_ids <= last_id))

    def recorded(self, first_id: int, last_id: int) -> list[RecordedTrade]:
        """Known rows with ids from `first_id` to `last_id`, both included."""
        return self._rows[bisect_left(self._ids, first_id) : bisect_left(self._ids, last_id + 1)]

    def candles(self, width: Width, start_ms: int, end_ms: int) -> CandleColumns:
        columns = self._known()
        candles = candles_of(columns, width)
        if not len(candles):
            return candles
        starts = np.searchsorted(columns.ids, candles.first_id)
        first = np.array([row.first_match for row in self._rows], np.int64)
        last = np.array([row.last_match for row in self._rows], np.int64)
        # Aggregates count for the single trades inside them.
        counted = replace(
            candles,
            trades=np.add.reduceat(last - first + 1, starts),
            first_id=first[starts],
            last_id=last[np.append(starts[1:], len(last)) - 1],
        )
        return counted.between(start_ms, end_ms)

    def candle_span(self) -> CandleSpan | None:
        columns = self._known()
        if not len(columns):
            return None
        # The recording began and ended inside an interval: those two are never whole.
        return CandleSpan(
            first_ms=int(columns.at_ms.min()) + 1, last_ms=int(columns.at_ms.max()), edges=False
        )

    def _known(self) -> TradeColumns:
        if self._columns is None:
            self._columns = _columns_of(self._rows)
        return self._columns


def _columns_of(rows: list[RecordedTrade]) -> TradeColumns:
    if not rows:
        return no_trades()
    at_ms = np.array([row.at_ms for row in rows], np.int64)
    price = np.array([row.price for row in rows], np.int64)
    buy = np.array([row.buy for row in rows], np.bool_)
    # Recordings of single trades do not name the taker's order: same time, price and side stand for it.
    new = np.ones(len(rows), np.bool_)
    new[1:] = (np.diff(at_ms) != 0) | (np.diff(price) != 0) | (buy[1:] != buy[:-1])
    return TradeColumns(
        ids=np.array([row.trade_id for row in rows], np.int64),
        at_ms=at_ms,
        price=price,
        size=np.array([row.size for row in rows], np.int64),
        buy=buy,
        aggregate_ids=np.cumsum(new),
    )


def dense_candles(tape: Tape, width: Width, start_ms: int, end_ms: int) -> CandleColumns:
    """Candles for every interval the venue can tell that opens in `[start_ms, end_ms)`, as venues list them.

    An interval without trades is flat at the close before it; before the first trade there is none.
    """
    span = tape.candle_span()
    if span is None:
        return concatenated([])
    first = max(width.floor(start_ms + width.ms - 1), span.first_open(width))
    stop = min(end_ms, span.last_open(width) + 1)
    if stop <= first:
        return concatenated([])
    found = tape.candles(width, first, stop)
    opens = np.arange(first, stop, width.ms)
    if len(found) == len(opens):
        return found
    return _filled(tape, found, opens)


def _filled(tape: Tape, found: CandleColumns, opens: IntArray) -> CandleColumns:
    latest = np.searchsorted(found.opened_at_ms, opens, side="right") - 1
    before = tape.trades(tape.first_id_at(int(opens[0])) - 1, tape.first_id_at(int(opens[0])) - 1)
    close_before = int(before.price[0]) if len(before) else 0
    known = np.append(found.close, close_before)[latest]  # -1, none yet, takes the close before
    real = np.zeros(len(opens), np.bool_)
    real[np.searchsorted(opens, found.opened_at_ms)] = True
    keep = real | (known > 0)

    def column(values: IntArray, flat: IntArray | int) -> IntArray:
        spread = np.broadcast_to(np.asarray(flat, np.int64), opens.shape).copy()
        spread[real] = values
        return spread[keep]

    def amounts(values: FloatArray) -> FloatArray:
        spread = np.zeros(len(opens))
        spread[real] = values
        return spread[keep]

    return CandleColumns(
        opened_at_ms=opens[keep],
        open=column(found.open, known),
        high=column(found.high, known),
        low=column(found.low, known),
        close=column(found.close, known),
        volume=column(found.volume, 0),
        buy_volume=column(found.buy_volume, 0),
        quote=amounts(found.quote),
        buy_quote=amounts(found.buy_quote),
        trades=column(found.trades, 0),
        first_id=column(found.first_id, -1),
        last_id=column(found.last_id, -1),
    )
