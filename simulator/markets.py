"""The markets a simulated venue lists, and what both protocols read from them alike."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from simulator.columns import MINUTE, CandleColumns, TradeColumns, Width, concatenated
from simulator.generator import SyntheticMarket
from simulator.instruments import BINANCE, USDM, SimInstrument
from simulator.noise import noise_key, uniform
from simulator.tapes import GeneratedTape, ReplayedTape, Tape, dense_candles

DAY_MS = 86_400_000
_STATS_KEPT_MS = 10_000


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Trades of one taker order at one price, as venues report them in one row."""

    aggregate_id: int
    first_id: int
    last_id: int
    at_ms: int
    price: int
    size: int
    buy: bool


@dataclass(frozen=True, slots=True)
class Level:
    """One price of an order book."""

    price: int
    size: int
    orders: int


@dataclass(frozen=True, slots=True)
class Book:
    """Best levels first."""

    at_ms: int
    update_id: int
    bids: Sequence[Level]
    asks: Sequence[Level]


@dataclass(frozen=True, slots=True)
class DayStats:
    """The last 24 hours, minute by minute, in the instrument's units."""

    made_at_ms: int
    opened_at_ms: int
    open: int
    high: int
    low: int
    volume: int
    quote: float
    trades: int
    first_id: int
    last_id: int
    open_utc0: int
    open_utc8: int


class MarketStatus(StrEnum):
    """Whether a market trades."""

    LIVE = "live"
    HALTED = "halted"
    DELISTED = "delisted"


@dataclass(slots=True, eq=False)
class Market:
    """One instrument with its trades so far."""

    instrument: SimInstrument
    tape: Tape
    synthetic: SyntheticMarket | None = None  # None for a recording
    recorded_aggregates: ReplayedTape | None = None  # where the recording holds them itself
    single_trades: bool = True  # False where the tape holds aggregates alone
    status: MarketStatus = MarketStatus.LIVE
    _stats: DayStats | None = field(default=None, repr=False)

    async def dense_candles(self, width: Width, start_ms: int, end_ms: int) -> CandleColumns:
        """Candles of every interval that opens in `[start_ms, end_ms)`, flat where nothing traded."""
        if self.synthetic is None:
            # A recording's columns change under the replay, so they are read where it runs.
            return dense_candles(self.tape, width, start_ms, end_ms)
        return await asyncio.to_thread(dense_candles, self.tape, width, start_ms, end_ms)

    async def candle_page(
        self, width: Width, *, start_ms: int | None, end_ms: int | None, limit: int
    ) -> CandleColumns:
        """At most `limit` candles that open from `start_ms` to `end_ms`, both included.

        The oldest where `start_ms` is given, else the newest.
        """
        span = self.tape.candle_span()
        if span is None:
            return concatenated([])
        first, last = span.first_open(width), span.last_open(width)
        if start_ms is not None:
            first = max(first, width.floor(start_ms + width.ms - 1))
        if end_ms is not None:
            last = min(last, width.floor(end_ms))
        if start_ms is not None:
            last = min(last, first + (limit - 1) * width.ms)
        else:
            first = max(first, last - (limit - 1) * width.ms)
        return await self.dense_candles(width, first, last + 1)

    def unknown_to_rest(
        self, now_ms: int, lag_ms: int, absent: Sequence[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Id ranges REST does not have: `absent` for good, and what is younger than `lag_ms`."""
        if not lag_ms:
            return list(absent)
        return [*absent, (self.tape.first_id_at(now_ms - lag_ms), _LAST)]

    def aggregates(self, first_id: int, last_id: int) -> list[Aggregate]:
        """Aggregates by their own ids, both included, as far as known."""
        if self.recorded_aggregates is not None:
            return [
                Aggregate(
                    row.trade_id,
                    row.first_match,
                    row.last_match,
                    row.at_ms,
                    row.price,
                    row.size,
                    row.buy,
                )
                for row in self.recorded_aggregates.recorded(first_id, last_id)
            ]
        return list(aggregates_of(self.tape.aggregates(first_id, last_id)))

    def last_aggregate_id(self) -> int | None:
        """The newest aggregate's id, or None before the first."""
        if self.recorded_aggregates is not None:
            bounds = self.recorded_aggregates.bounds()
            return bounds[1] if bounds else None
        newest = self.tape.newest_to(_LAST, 1)
        return int(newest.aggregate_ids[0]) if len(newest) else None

    def aggregate_id_at(self, at_ms: int) -> int | None:
        """The first aggregate traded at `at_ms` or later; None where there is none."""
        if self.recorded_aggregates is not None:
            found = self.recorded_aggregates.first_id_at(at_ms)
            return found if self.recorded_aggregates.recorded(found, found) else None
        first_id = self.tape.first_id_at(at_ms)
        trade = self.tape.trades(first_id, first_id)
        return int(trade.aggregate_ids[0]) if len(trade) else None

    def book(self, depth: int) -> Book | None:
        """A plausible book of `depth` levels a side around the last trade; None for recordings."""
        last = self.tape.newest_to(_LAST, 1)
        if self.synthetic is None or not len(last):
            return None
        trade_id, price, at_ms = int(last.ids[0]), int(last.price[0]), int(last.at_ms[0])
        tick = self.instrument.tick
        bid, ask = (price - tick, price) if last.buy[0] else (price, price + tick)
        places = np.arange(depth)
        key = noise_key(self.instrument.venue, self.instrument.venue_symbol, "book", trade_id)
        steps = np.cumsum(np.floor(uniform(key, places) * 3).astype(np.int64) + 1) - 1
        steps -= steps[0]
        draws = uniform(key, places + depth), uniform(key, places + 2 * depth)
        scale = self.synthetic.typical_size * 4
        sides = []
        for best, direction, draw in ((bid, -1, draws[0]), (ask, 1, draws[1])):
            levels = [
                Level(
                    max(best + direction * int(step) * tick, tick),
                    max(int(share * scale), 1) * self.instrument.lot,
                    1 + int(share * 9),
                )
                for step, share in zip(steps, draw, strict=True)
            ]
            sides.append(levels)
        return Book(at_ms, trade_id * 4, sides[0], sides[1])

    async def day_stats(self, now_ms: int) -> DayStats | None:
        """The last 24 hours, at most ten seconds old; None before the first whole minute."""
        if self._stats is not None and 0 <= now_ms - self._stats.made_at_ms < _STATS_KEPT_MS:
            return self._stats
        start_ms = MINUTE.floor(now_ms - DAY_MS)
        candles = await self.dense_candles(MINUTE, start_ms, now_ms + 1)
        if not len(candles):
            return None
        midnight, midnight8 = now_ms - now_ms % DAY_MS, Width(DAY_MS, -DAY_MS // 3).floor(now_ms)
        opens = [int(part.open[0]) if len(part) else int(candles.open[0]) for part in (
            candles.between(midnight, now_ms + 1), candles.between(midnight8, now_ms + 1))]  # fmt: skip
        traded = candles.first_id[candles.first_id >= 0]
        self._stats = DayStats(
            made_at_ms=now_ms,
            opened_at_ms=int(candles.opened_at_ms[0]),
            open=int(candles.open[0]),
            high=int(candles.high.max()),
            low=int(candles.low.min()),
            volume=int(candles.volume.sum()),
            quote=float(candles.quote.sum()),
            trades=int(candles.trades.sum()),
            first_id=int(traded[0]) if len(traded) else -1,
            last_id=int(candles.last_id.max()),
            open_utc0=opens[0],
            open_utc8=opens[1],
        )
        return self._stats


_LAST = 2**62  # past any id


def aggregates_of(trades: TradeColumns) -> Iterator[Aggregate]:
    """The aggregates of trades in id order; `trades` must hold each of them whole."""
    if not len(trades):
        return
    starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(np.diff(trades.aggregate_ids)) + 1])
    ends = np.append(starts[1:], len(trades)) - 1
    sizes = np.add.reduceat(trades.size, starts)
    for start, end, size in zip(starts.tolist(), ends.tolist(), sizes.tolist(), strict=True):
        yield Aggregate(
            int(trades.aggregate_ids[start]),
            int(trades.ids[start]),
            int(trades.ids[end]),
            int(trades.at_ms[start]),
            int(trades.price[start]),
            size,
            bool(trades.buy[start]),
        )


class MarketList:
    """All markets, found by the venue's name or Candlewick's."""

    def __init__(self, markets: Iterable[Market]) -> None:
        self._all: list[Market] = []
        self._by_symbol: dict[tuple[str, str], Market] = {}
        self._by_venue_symbol: dict[tuple[str, str], Market] = {}
        for market in markets:
            self.add(market)

    def add(self, market: Market) -> None:
        """List another market."""
        instrument = market.instrument
        self._all.append(market)
        self._by_symbol.setdefault((instrument.venue, instrument.symbol), market)
        self._by_venue_symbol[instrument.venue, instrument.venue_symbol] = market

    def __iter__(self) -> Iterator[Market]:
        return iter(self._all)

    def find(self, exchange: str, name: str) -> Market | None:
        """The market of that name, the venue's or ours."""
        # Spot and futures share the venue's names: there "BTCUSDT" is spot, "BTC-USDT-PERP" is not.
        for venue in (exchange, USDM) if exchange == BINANCE else (exchange,):
            market = self._by_venue_symbol.get((venue, name)) or self._by_symbol.get((venue, name))
            if market is not None:
                return market
        return None

    def listed(self, venue: str, venue_symbol: str) -> Market | None:
        """The market of exactly that venue name, unless it is delisted."""
        market = self._by_venue_symbol.get((venue, venue_symbol))
        return None if market is None or market.status is MarketStatus.DELISTED else market

    def of(self, venue: str) -> list[Market]:
        """The markets of one venue, delisted ones too."""
        return [market for market in self._all if market.instrument.venue == venue]

    def on_exchange(self, exchange: str) -> list[Market]:
        """The markets of all products of an exchange."""
        return [market for market in self._all if market.instrument.exchange == exchange]


def generated_market(synthetic: SyntheticMarket, tape: GeneratedTape) -> Market:
    """A made-up market."""
    return Market(instrument=synthetic.instrument, tape=tape, synthetic=synthetic)


def without(trades: TradeColumns, absent: Sequence[tuple[int, int]]) -> TradeColumns:
    """The trades outside the id ranges `absent`."""
    for first, last in absent:
        trades = trades.where((trades.ids < first) | (trades.ids > last))
    return trades


def page_up(tape: Tape, first_id: int, limit: int, absent: Sequence[tuple[int, int]]) -> list[TradeColumns]:
    """The oldest `limit` trades from `first_id` on, skipping the absent ones, in parts of ascending ids."""
    parts: list[TradeColumns] = []
    missing = limit
    while missing > 0:
        found = tape.oldest_from(first_id, missing)
        if not len(found):
            break
        parts.append(without(found, absent))
        missing -= len(parts[-1])
        first_id = int(found.ids[-1]) + 1
    return parts


def page_down(tape: Tape, last_id: int, limit: int, absent: Sequence[tuple[int, int]]) -> list[TradeColumns]:
    """The newest `limit` trades up to `last_id`, skipping the absent ones, in parts of descending ids."""
    parts: list[TradeColumns] = []
    missing = limit
    while missing > 0:
        found = tape.newest_to(last_id, missing)
        if not len(found):
            break
        parts.append(without(found, absent))
        missing -= len(parts[-1])
        last_id = int(found.ids[0]) - 1
    return parts


def newest(tape: Tape, limit: int, absent: Sequence[tuple[int, int]]) -> list[TradeColumns]:
    """The newest `limit` trades, in parts of descending ids."""
    return page_down(tape, _LAST, limit, absent)
